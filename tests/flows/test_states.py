"""What the automations of `setup` make of each state of a run, on a real server, and what the webhook hears.

Runs are driven through the server's API as Prefect's engine drives them, so that each state lasts as long as the test
wants; tests/flows/test_kills.py and test_killed_waits.py kill real processes.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hooks import WebhookReceiver
from prefect_parts import PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Instead of minutes. A busy machine delivers an event within this time.
WINDOW_S = 30


class Runs:
    """Runs of the flow `daily`, of a deployment with one slot or of none."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.flow = UUID(client._client.post("/flows/", json={"name": "daily"}).json()["id"])

    def deployment(self, name: str) -> str:
        body = {"name": name, "flow_id": str(self.flow), "concurrency_limit": 1}
        row: dict[str, str] = self.client._client.post("/deployments/", json=body).json()
        return row["id"]

    def create(self, name: str, *states: Any, deployment: str | None = None) -> UUID:
        """Create a run and take it through `states`."""
        path = f"/deployments/{deployment}/create_flow_run" if deployment else "/flow_runs/"
        body = {"name": name, "state": {"type": "SCHEDULED"}} | ({} if deployment else {"flow_id": str(self.flow)})
        run = UUID(self.client._client.post(path, json=body).json()["id"])
        for state in states:
            assert self.set(run, state) == "ACCEPT", (name, state)
        return run

    def set(self, run: UUID, state: Any) -> str:
        return str(self.client.set_flow_run_state(run, state).status.value)

    def state_of(self, run: UUID) -> tuple[str, str]:
        state = self.client.read_flow_run(run).state
        return state.type.value, state.name

    def heartbeat(self, run: UUID) -> None:
        from prefect.events.schemas.events import RelatedResource
        from prefect.events.utilities import emit_event

        flow = {"prefect.resource.id": f"prefect.flow.{self.flow}", "prefect.resource.role": "flow"}
        emit_event(
            "prefect.flow-run.heartbeat",
            resource={"prefect.resource.id": f"prefect.flow-run.{run}"},
            related=[RelatedResource(flow | {"prefect.resource.name": "daily"})],
        )


@pytest.fixture
def runs(
    tmp_path: Path, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, postgresql_url: str
) -> Iterator["tuple[PrefectServer, Runs]"]:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from candlecast.orchestrator import setup
    from candlecast.orchestrator.defaults import DEFAULTS

    lease = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
    # On SQLite the server itself drops an event that it cannot count at once, because another of its transactions
    # writes ("database is locked"), after three tries (docs/operating.md).
    database = postgresql_url.replace("+psycopg", "+asyncpg")
    more = {lease: DEFAULTS[lease], "PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
    monkeypatch.setattr(setup, "HEARTBEAT_S", WINDOW_S / setup.MISSED_HEARTBEATS)
    monkeypatch.setattr(setup, "STARTS_WITHIN", timedelta(seconds=WINDOW_S))
    monkeypatch.setattr(setup, "TAKEN_WITHIN", timedelta(seconds=WINDOW_S))
    with (
        PrefectServer(tmp_path / "server", **more) as server,
        temporary_settings({PREFECT_API_URL: server.url}),
        get_client(sync_client=True) as client,
    ):
        setup.prepare(notify=receiver.url)
        yield server, Runs(client)


def test_only_runs_whose_process_is_gone_are_crashed_and_the_webhook_hears_what_is_true(
    runs: "tuple[PrefectServer, Runs]", receiver: WebhookReceiver
) -> None:
    from prefect.states import AwaitingRetry, Completed, Failed, Pending, Running, Scheduled

    _, driven = runs
    soon = datetime.now(UTC) + timedelta(hours=1)
    paths = {
        "scheduled": [Scheduled(scheduled_time=soon)],
        "retrying": [Pending(), Running(), AwaitingRetry(scheduled_time=soon)],
        "completed": [Pending(), Running(), Completed()],
        "timed-out": [Pending(), Running(), Failed(name="TimedOut", message="too long")],
        "failed": [Pending(), Running(), Failed(message="late")],
        "alive": [Pending(), Running()],
        "killed": [Pending(), Running()],
        "never-started": [Pending()],
        # It is due at once, and there is no worker.
        "left": [],
    }
    created = {name: driven.create(name) for name in paths}
    # No engine changes a run's state twice within milliseconds. If one did, Prefect's server could handle two events of
    # a run at once, and keep the later one back for a quarter of an hour (prefect.server.events.ordering).
    for moment in range(3):
        for name, states in paths.items():
            if moment < len(states):
                assert driven.set(created[name], states[moment]) == "ACCEPT", (name, states[moment])
        time.sleep(2)
    wanted = {
        "scheduled": ("SCHEDULED", "Scheduled"),
        "retrying": ("SCHEDULED", "AwaitingRetry"),
        "completed": ("COMPLETED", "Completed"),
        "timed-out": ("FAILED", "TimedOut"),
        "failed": ("FAILED", "Failed"),
        "alive": ("RUNNING", "Running"),
        "killed": ("CRASHED", "Crashed"),
        "never-started": ("CRASHED", "Crashed"),
        "left": ("SCHEDULED", "Late"),
    }
    # These two heartbeats travelled for longer than the run's end.
    driven.heartbeat(created["completed"])
    driven.heartbeat(created["timed-out"])
    for _ in range(15):
        driven.heartbeat(created["alive"])
        time.sleep(WINDOW_S / 6)
    assert {name: driven.state_of(run) for name, run in created.items()} == wanted
    deadline = time.monotonic() + 30
    while len(receiver.texts(wait_s=0)) < 5 and time.monotonic() < deadline:
        time.sleep(0.5)
    heard = {tuple(text.split(": ")[0].split()[2:]) for text in receiver.texts(wait_s=0)}
    ends = {("timed-out", "TimedOut"), ("failed", "Failed"), ("killed", "Crashed"), ("never-started", "Crashed")}
    assert heard == ends | {("left", "Late")}
    assert len(receiver.texts(wait_s=0)) == 5


def test_after_a_restart_of_the_server_what_died_is_crashed_and_what_lives_keeps_its_slot(
    runs: "tuple[PrefectServer, Runs]",
) -> None:
    from prefect.states import Pending, Running

    from candlecast.orchestrator import setup

    server, driven = runs
    deployments = {name: driven.deployment(name) for name in ("running", "pending", "lives")}
    first, following = {}, {}
    for name, deployment in deployments.items():
        states = [Pending()] if name == "pending" else [Pending(), Running()]
        first[name] = driven.create(name, *states, deployment=deployment)
        following[name] = driven.create("following", deployment=deployment)
        assert driven.set(following[name], Pending()) == "REJECT"
        assert driven.state_of(following[name])[1] == "AwaitingConcurrencySlot"
    lease = driven.client.read_flow_run(first["lives"]).state.state_details.deployment_concurrency_lease_id
    server.kill()
    server.__enter__()
    # Prefect's engine ends the run when this fails.
    driven.client.renew_concurrency_lease(lease, 300)
    setup.prepare()
    deadline = time.monotonic() + 150
    while {driven.state_of(first[name])[0] for name in ("running", "pending")} != {"CRASHED"}:
        assert time.monotonic() < deadline, {name: driven.state_of(run) for name, run in first.items()}
        driven.heartbeat(first["lives"])
        time.sleep(WINDOW_S / 10)
    assert driven.state_of(first["lives"]) == ("RUNNING", "Running")
    assert {name: driven.set(run, Pending()) for name, run in following.items()} == {
        "running": "ACCEPT",
        "pending": "ACCEPT",
        "lives": "REJECT",
    }
