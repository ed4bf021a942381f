"""What ends the process of a run that its time-out could not end."""

from contextlib import AbstractContextManager

from prefect.context import FlowRunContext

from tasks.steps.termination import ended_after

# Between the time-out, which a run that does not hang obeys within seconds, and the end of the process.
GRACE_S = 900.0


def ended_if_it_hangs() -> AbstractContextManager[None]:
    """End the process of this flow run if the block still runs a quarter of an hour after the flow's time-out."""
    context = FlowRunContext.get()
    time_out_s = None if context is None or context.flow is None else context.flow.timeout_seconds
    return ended_after(None if time_out_s is None else time_out_s + GRACE_S)
