"""Handing a training to another machine's pool, and taking it back when it does not start in time."""

from collections.abc import Sequence
from dataclasses import asdict

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelled, Cancelling

from tasks.steps.train import Due


class TrainingElsewhereFailed(RuntimeError):
    """The training deployment did not finish well; the champion forecasts without it."""


def train_elsewhere(deployment: str, *, due: Sequence[Due], timeout_s: float) -> None:
    """Run the trainings that are due in one run of the deployment and wait for it, `timeout_s` seconds at most.

    A run that is not done by then is cancelled before the caller goes on: a queued run that is left alone
    trains later, beside the one that the next day starts. Raises TrainingElsewhereFailed, saying why.
    """
    plain = [asdict(one) | {"cutoff": one.cutoff.isoformat(), "judged": list(one.judged)} for one in due]
    run = run_deployment(deployment, parameters={"due": plain}, timeout=timeout_s, as_subflow=True)
    assert isinstance(run, FlowRun)
    state = run.state
    if state is not None and state.is_completed():
        return
    if state is None or not state.is_final():
        with get_client(sync_client=True) as client:
            started = state is not None and state.is_running()
            client.set_flow_run_state(run.id, Cancelling() if started else Cancelled(), force=True)
        if started:
            raise TrainingElsewhereFailed(f"{deployment} was still training after {timeout_s:g} s and is cancelled")
        raise TrainingElsewhereFailed(
            f"{deployment} was {state.name if state else 'not started'} after {timeout_s:g} s and is cancelled; "
            f"is a worker of its pool running?"
        )
    raise TrainingElsewhereFailed(f"{deployment} ended as {state.name}: {state.message}")
