"""`candlecast setup`: creates the pools, queues and automations that the deployments need on a Prefect server."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import RelatedResource, ResourceSpecification
from prefect.events.utilities import emit_event
from prefect.exceptions import ObjectAlreadyExists

from candlecast.orchestrator.defaults import HEARTBEAT_S
from tasks.show.events import DEMOTED, DRIFT, LATE, NOTE, ODD_BAND, STALE

POOLS = ("default", "gpu")
FLOWS = ("daily", "retrain", "backfill", "study", "verify")
# A worker takes the queue with the lower number first, so a day's run does not wait behind a backfill of years.
QUEUES = {"daily": 1, "backfill": 2}
# A run is marked Crashed after this many missed heartbeats.
MISSED_HEARTBEATS = 3
# A run that is given to a process starts within this time, also on a slow machine; else it is marked Crashed.
STARTS_WITHIN = timedelta(minutes=15)
# A run that waits for its retry goes on within this time; else it is marked Crashed. None of our flows has a retry, but
# a deployment may give one to them.
RETRIES_WITHIN = timedelta(days=1)
# People are told of a run that is due and that nobody has started within this time.
TAKEN_WITHIN = timedelta(minutes=15)
# A crashed day is run again after this time.
AGAIN = timedelta(minutes=1)

_HEARTBEAT = "prefect.flow-run.heartbeat"
_AWAITING_RETRY = "prefect.flow-run.AwaitingRetry"


def _events(*states: str) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


# The events of a run's states by their names. A process is running, or is being started, only in the first two sets.
_RUNNING = _events("Running", "Retrying")
_STARTING = _events("Pending", "Submitting", "InfrastructurePending")
_WAITING = _events("Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Paused", "Suspended", "Resuming")
_LATE = _events("Late")
_ENDED = _events("Completed", "Cached", "RolledBack", "Failed", "TimedOut", "Cancelling", "Cancelled", "Crashed")


class Prepared(NamedTuple):
    """A pool, queue or automation that the setup has checked, and whether it was created, updated or already there."""

    what: str
    name: str
    outcome: str


def prepare(*, notify: str | None = None, notes: bool = False, pools: bool = True) -> list[Prepared]:
    """Create or update the pools, queues and automations on the server of PREFECT_API_URL; may be repeated.

    With `notify`, the server sends a JSON object with a `text` to that URL when a champion drifts or is demoted, a band
    is odd, a candle is late, data is stale, a run fails or nobody starts one that is due. Slack, Mattermost and many
    other services accept it.
    With `notes` it also gets the morning note of each series.
    `pools=False` creates no pools and queues, for a server without workers. A run that the server calls Running is from
    now on expected to send heartbeats.
    """
    prepared: list[Prepared] = []
    with get_client(sync_client=True) as client:
        if pools:
            prepared += [_pool(client, name) for name in POOLS]
            prepared += [_queue(client, name, priority) for name, priority in QUEUES.items()]
        automations = [_crash_zombies(), _crash_what_never_started(), _crash_lost_retries(), _run_crashed_days_again()]
        if notify is not None:
            block = Webhook(url=notify).save("candlecast-notify", overwrite=True)
            automations += [_notify_of_data(block, notes=notes), _notify_of_runs(block), _notify_of_no_worker(block)]
        prepared += [_put(client, automation) for automation in automations]
        _expect_signs_of_life(client)
    return prepared


def _expect_signs_of_life(client: SyncPrefectClient) -> None:
    """Begin the wait for a sign of life of each run that the server calls Running, Pending or AwaitingRetry.

    A server that was killed together with a run may have lost the event that begins this wait. The run would then keep
    its state for ever, although its process is gone. A living process goes on sending heartbeats, or starts, so it is
    not touched. A run that is Cancelling needs no wait: the server itself calls it Cancelled after five minutes.
    """
    for state, event in ((StateType.RUNNING, _HEARTBEAT), (StateType.PENDING, "prefect.flow-run.Pending")):
        _emit_for_all(client, FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])), event)
    retrying = FlowRunFilterState(name=FlowRunFilterStateName(any_=["AwaitingRetry"]))
    _emit_for_all(client, retrying, _AWAITING_RETRY)


def _emit_for_all(client: SyncPrefectClient, state: FlowRunFilterState, event: str) -> None:
    in_state = FlowRunFilter(state=state)
    for name in FLOWS:
        flow = FlowFilter(name=FlowFilterName(any_=[name]))
        for run in client.read_flow_runs(flow_filter=flow, flow_run_filter=in_state):
            emit_event(
                event,
                resource={"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name},
                related=[
                    RelatedResource(
                        {
                            "prefect.resource.id": f"prefect.flow.{run.flow_id}",
                            "prefect.resource.role": "flow",
                            "prefect.resource.name": name,
                        }
                    )
                ],
            )


def _created(what: str, name: str, create: Callable[[], object]) -> Prepared:
    try:
        create()
    except ObjectAlreadyExists:
        return Prepared(what, name, "was there")
    return Prepared(what, name, "created")


def _pool(client: SyncPrefectClient, name: str) -> Prepared:
    return _created("work pool", name, lambda: client.create_work_pool(WorkPoolCreate(name=name, type="process")))


def _queue(client: SyncPrefectClient, name: str, priority: int) -> Prepared:
    outcome = _created(
        "work queue",
        f"default/{name}",
        lambda: client.create_work_queue(name, priority=priority, work_pool_name="default"),
    )
    if outcome.outcome == "was there":
        # `prefect deploy` creates the queues that its deployments name, with the next free priority.
        queue = client.read_work_queue_by_name(name, work_pool_name="default")
        client.update_work_queue(queue.id, priority=priority)
    return outcome


def _put(client: SyncPrefectClient, automation: AutomationCore) -> Prepared:
    known = client.read_automations_by_name(automation.name)
    if not known:
        client.create_automation(automation)
        return Prepared("automation", automation.name, "created")
    client.update_automation(known[0].id, automation)
    return Prepared("automation", automation.name, "brought up to date")


def _crash_zombies() -> AutomationCore:
    """Mark killed runs: they would otherwise stay Running for ever and block the next run of their deployment."""
    return _crash(
        "candlecast: crash runs whose process is gone",
        "A run that sends no heartbeat any more is marked Crashed, so that the next one may start.",
        # A process that is killed at once never sends a heartbeat; the server itself emits the event Running.
        after={_HEARTBEAT} | _RUNNING,
        # A run that waits for its retry sends none either.
        expect={_HEARTBEAT} | _STARTING | _WAITING | _ENDED,
        within=timedelta(seconds=MISSED_HEARTBEATS * HEARTBEAT_S),
        message="no heartbeat any more: its process is gone",
    )


def _crash_what_never_started() -> AutomationCore:
    """Mark runs that a worker had taken when it was killed: no other worker takes them."""
    return _crash(
        "candlecast: crash runs that never started",
        "A run that stays Pending is marked Crashed, so that the next one may start.",
        after=_STARTING,
        expect={_HEARTBEAT} | _RUNNING | _WAITING | _ENDED,
        within=STARTS_WITHIN,
        message="it has not started in time: the worker that had taken it is gone",
    )


def _crash_lost_retries() -> AutomationCore:
    """Mark runs whose process was killed while they waited for a retry: Prefect leaves the retry to that process."""
    return _crash(
        "candlecast: crash runs whose retry did not begin",
        "A run that has waited for its retry for a day is marked Crashed.",
        after={_AWAITING_RETRY},
        expect={_HEARTBEAT} | _RUNNING | _STARTING | _WAITING - {_AWAITING_RETRY} | _ENDED,
        within=RETRIES_WITHIN,
        message="its retry has not begun: its process is gone",
    )


def _crash(
    name: str, description: str, *, after: set[str], expect: set[str], within: timedelta, message: str
) -> AutomationCore:
    """Return the automation that crashes a run for which no event of `expect` follows one of `after` in time.

    The state is not forced: the server refuses to crash a run that has ended, as after a heartbeat that came too late.
    """
    return AutomationCore(
        name=name,
        description=description,
        trigger=_not_followed(after=after, expect=expect, within=within),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def _not_followed(*, after: set[str], expect: set[str], within: timedelta) -> EventTrigger:
    """Return the trigger that fires for a run when no event of `expect` follows one of `after` in time."""
    return EventTrigger(
        after=after,
        expect=expect,
        match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
        # Flows of other projects on the same server may send heartbeats less often.
        match_related=ResourceSpecification({"prefect.resource.role": ["flow"], "prefect.resource.name": list(FLOWS)}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _run_crashed_days_again() -> AutomationCore:
    """Run a day again after its process or machine went down; nothing is stored twice.

    The second run trains nothing: otherwise a training that kills its process each time would be repeated for ever.
    """
    return AutomationCore(
        name="candlecast: run a crashed day again",
        description="A crashed day is run again, without its trainings: the next day trains what is due.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": ["flow"], "prefect.resource.name": ["daily"]}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment(source="inferred", parameters={"wait": True, "train": False}, schedule_after=AGAIN)],
    )


def _notify_of_data(block: object, *, notes: bool) -> AutomationCore:
    return AutomationCore(
        name="candlecast: tell of drift and stale data",
        trigger=EventTrigger(
            expect={DEMOTED, DRIFT, LATE, ODD_BAND, STALE, *([NOTE] if notes else [])},
            match=ResourceSpecification({"prefect.resource.id": ["candlecast.series.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload='{"text": {{ event.payload.message | tojson }}}')],
    )


def _notify_of_runs(block: object) -> AutomationCore:
    text = 'flow.name ~ " run " ~ flow_run.name ~ " " ~ flow_run.state.name ~ ": " ~ flow_run.state.message'
    return AutomationCore(
        name="candlecast: tell of failed runs",
        trigger=EventTrigger(
            expect=_events("Failed", "TimedOut", "Crashed"),
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=f'{{"text": {{{{ ({text}) | tojson }}}}}}')],
    )


def _notify_of_no_worker(block: object) -> AutomationCore:
    """Report a run that is due and that nobody starts: without a worker no day runs that could report it."""
    text = 'flow.name ~ " run " ~ flow_run.name ~ " Late: nobody has started it; is a worker running?"'
    return AutomationCore(
        name="candlecast: tell of runs that nobody starts",
        trigger=_not_followed(
            after=_LATE, expect={_HEARTBEAT} | _RUNNING | _STARTING | _WAITING - _LATE | _ENDED, within=TAKEN_WITHIN
        ),
        actions=[CallWebhook(block_document_id=block, payload=f'{{"text": {{{{ ({text}) | tojson }}}}}}')],
    )
