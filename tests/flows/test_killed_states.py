"""Real runs in every state that a run can have, killed or with their server restarted: what is shown, what the webhook
hears, and that the next day runs."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hooks import WebhookReceiver
from postgresql_parts import Cluster
from prefect_parts import PrefectServer, Worker
from processes import kill_session
from states import Day, in_every_state, until

from candlecast.orchestrator.defaults import DEFAULTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LEASES = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
CANCELLING_S = "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS"
# Within this time a run that has missed three heartbeats, one every 30 s, is marked, also by a busy server.
NOTICED_S = 180


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with Cluster() as cluster:
        database = f"{cluster.url}/postgres".replace("+psycopg", "+asyncpg")
        # Instead of five minutes.
        more = {CANCELLING_S: "20", LEASES: DEFAULTS[LEASES], "PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
        with PrefectServer(tmp_path_factory.mktemp("server"), **more) as server:
            yield server


@pytest.fixture
def until_the_end() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def client(server: PrefectServer, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the server, on which `setup` has created the automations."""
    from other_days import RETRY_AFTER_S
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from candlecast.orchestrator import setup

    # Instead of a quarter of an hour and a day. A living run starts within this time on a busy machine.
    monkeypatch.setattr(setup, "STARTS_WITHIN", timedelta(seconds=90))
    monkeypatch.setattr(setup, "RETRIES_WITHIN", timedelta(seconds=RETRY_AFTER_S + 60))
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        setup.prepare(notify=receiver.url)
        yield client


def ends(receiver: WebhookReceiver) -> list[tuple[str, str]]:
    """Return which runs the webhook has heard of, and in which state: "daily run NAME STATE: ..."."""
    heard = sorted(tuple(text.split(": ")[0].split()[2:4]) for text in receiver.texts(wait_s=0))
    return [(name, state) for name, state in heard]


def names_of_states(days: dict[str, Day]) -> dict[str, str]:
    return {state: day.state_of_run()[1] for state, day in days.items()}


def run_the_next_day(days: dict[str, Day], log: Path) -> None:
    """Start a run of every deployment, which has one slot, and wait until all have completed."""
    following = {state: day.begin(f"{state}-next") for state, day in days.items()}
    for state, day in days.items():
        day.run = following[state]
    until(days, dict.fromkeys(days, "Completed"), 400, log)


def test_killed_runs_end_in_their_true_state_and_the_next_day_runs(
    server: PrefectServer, client: Any, receiver: WebhookReceiver, until_the_end: ExitStack, tmp_path: Path
) -> None:
    with Worker(server, "default", tmp_path / "worker-1.log") as worker:
        days = in_every_state(client, tmp_path / "killed", worker, until_the_end)
        # Worker and runs die together, as when a machine loses power.
        assert worker.process is not None
        kill_session(worker.process)
        for day in days.values():
            day.kill()
    at_once = names_of_states(days)
    # Its name tells how far the worker had come.
    assert at_once.pop("pending") in ("Pending", "Submitting", "InfrastructurePending")
    assert at_once == {
        "waiting": "Running", "running": "Running", "cancelling": "Cancelling",
        "retrying": "AwaitingRetry", "timed-out": "TimedOut",
    }  # fmt: skip
    true = dict.fromkeys(days, "Crashed") | {"cancelling": "Cancelled", "timed-out": "TimedOut"}
    # The lost retry is marked when it is a minute overdue.
    until(days, true, 2 * NOTICED_S, worker.log)
    for day in days.values():
        day.go_on()
    with Worker(server, "default", tmp_path / "worker-2.log") as worker:
        run_the_next_day(days, worker.log)
    assert ends(receiver) == [
        ("pending", "Crashed"), ("retrying", "Crashed"), ("running", "Crashed"), ("timed-out", "TimedOut"),
        ("waiting", "Crashed"),
    ]  # fmt: skip


def test_a_restart_of_the_server_ends_no_living_run_and_the_next_day_runs(
    server: PrefectServer, client: Any, receiver: WebhookReceiver, until_the_end: ExitStack, tmp_path: Path
) -> None:
    with Worker(server, "default", tmp_path / "worker.log") as worker:
        days = in_every_state(client, tmp_path / "restarted", worker, until_the_end)
        # Its retry may be due before the server is back.
        days["retrying"].go_on()
        server.kill()
        server.__enter__()
        assert worker.process is not None
        os.kill(worker.process.pid, signal.SIGCONT)
        living = ("pending", "waiting", "running", "retrying")
        until(days, {"cancelling": "Cancelled"}, 120, worker.log)
        days["cancelling"].wait_for_the_end_of_its_process(worker.log)
        # For longer than a silent run would be called alive.
        time.sleep(NOTICED_S - 30)
        states = names_of_states(days)
        assert not {states[name] for name in living} & {"Crashed", "Failed", "Cancelled"}, states
        assert states["waiting"] == states["running"] == "Running"
        for day in days.values():
            day.go_on()
        until(days, dict.fromkeys(living, "Completed"), 240, worker.log)
        run_the_next_day(days, worker.log)
    assert ends(receiver) == [("timed-out", "TimedOut")]
