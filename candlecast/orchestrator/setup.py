"""`candlecast setup`: what a Prefect server needs beside the deployments - pools, queues and automations."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists

from candlecast.orchestrator.defaults import HEARTBEAT_S
from tasks.show.events import DEMOTED, DRIFT, LATE, ODD_BAND, STALE

POOLS = ("default", "gpu")
FLOWS = ("daily", "retrain", "backfill", "study", "verify")
# A backfill of years waits while the day's run is due; lower is served first.
QUEUES = {"daily": 1, "backfill": 2}
# After this many missed heartbeats a run's process is taken for dead.
MISSED_HEARTBEATS = 3
# So long after a day crashed it is run again.
AGAIN = timedelta(minutes=1)

_RUN_ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}


class Prepared(NamedTuple):
    """One thing that the setup looked after."""

    what: str
    name: str
    outcome: str


def prepare(*, notify: str | None = None, pools: bool = True) -> list[Prepared]:
    """Create or bring up to date what the Prefect server of PREFECT_API_URL needs; may be repeated at any time.

    `notify` is a URL that is sent a JSON object with a `text` when a champion drifts, a candle is late, data is stale
    or a run fails, as Slack's, Mattermost's and many other services' incoming webhooks take it. `pools` is off where
    nothing is deployed to workers.
    """
    done: list[Prepared] = []
    with get_client(sync_client=True) as client:
        if pools:
            done += [_pool(client, name) for name in POOLS]
            done += [_queue(client, name, priority) for name, priority in QUEUES.items()]
        automations = [_crash_zombies(), _run_crashed_days_again()]
        if notify is not None:
            block = Webhook(url=notify).save("candlecast-notify", overwrite=True)
            automations += [_tell_of_data(block), _tell_of_runs(block)]
        return done + [_put(client, automation) for automation in automations]


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
        # A deployment makes the queue it names, with whatever priority is next.
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
    """A run whose process was killed would stay Running for ever, and hold its deployment's place."""
    return AutomationCore(
        name="candlecast: crash runs whose process is gone",
        description="A run that sends no heartbeat any more is marked Crashed, so that the next one may start.",
        trigger=EventTrigger(
            # A process that is killed at once has no heartbeat to miss; that the run began is the server's own event.
            after={"prefect.flow-run.heartbeat", "prefect.flow-run.Running"},
            expect={"prefect.flow-run.heartbeat"} | _RUN_ENDS,
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            # Others' flows on the same server may send theirs less often.
            match_related=ResourceSpecification(
                {"prefect.resource.role": ["flow"], "prefect.resource.name": list(FLOWS)}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED_HEARTBEATS * HEARTBEAT_S),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="no heartbeat any more: its process is gone", force=True
            )
        ],
    )


def _run_crashed_days_again() -> AutomationCore:
    """A day whose process or machine went down while it waited goes on waiting; what is stored is not stored again.

    The second run trains nothing: a training that kills its process every time would be run for ever.
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


def _tell_of_data(block: object) -> AutomationCore:
    return AutomationCore(
        name="candlecast: tell of drift and stale data",
        trigger=EventTrigger(
            expect={DEMOTED, DRIFT, LATE, ODD_BAND, STALE},
            match=ResourceSpecification({"prefect.resource.id": ["candlecast.series.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload='{"text": {{ event.payload.message | tojson }}}')],
    )


def _tell_of_runs(block: object) -> AutomationCore:
    text = 'flow.name ~ " run " ~ flow_run.name ~ " " ~ flow_run.state.name ~ ": " ~ flow_run.state.message'
    return AutomationCore(
        name="candlecast: tell of failed runs",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=f'{{"text": {{{{ ({text}) | tojson }}}}}}')],
    )
