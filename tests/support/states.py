"""Days of real deployments, each brought into one of the states that a run can have, by real processes."""

import contextlib
import os
import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cdd_server import CddServer, Reply, Request
from prefect_parts import ROOT, Worker
from processes import processes_of
from synthetic import random_walk
from waiting import Published

from storage.database.engine import open_database
from storage.database.locks import locked

SERIES = "Bitstamp_BTCUSD_1h"
HOUR = timedelta(hours=1)
DAILY = "flows/daily.py:daily"
# The flow that is deployed for each state, and the type or name that the server shows when the state is reached.
STATES = {
    "pending": (DAILY, "PENDING"),
    "waiting": (DAILY, "RUNNING"),
    "running": (DAILY, "RUNNING"),
    "cancelling": (DAILY, "RUNNING"),
    "retrying": ("tests/support/other_days.py:retried", "AwaitingRetry"),
    "timed-out": ("tests/support/other_days.py:limited", "FAILED"),
}
# States that end by themselves are reached last, the shortest at the end: a run waits RETRY_AFTER_S for its retry, and
# is pending until its process has imported what it needs.
PASSING = ("retrying", "pending")


class Day:
    """A deployment with one slot, its source and database, and the run that reaches `state`."""

    def __init__(self, client: Any, folder: Path, state: str, until_the_end: ExitStack) -> None:
        self.client, self.folder, self.state = client, folder / state, state
        self.folder.mkdir(parents=True)
        self.is_published = False
        self.url = f"sqlite:///{self.folder / 'candlecast.db'}"
        self.start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 397 * HOUR
        self.source = CddServer()
        self.source.answer = self._answer
        self.market = Published(self.source, SERIES, random_walk(424, start=self.start, length=HOUR))
        until_the_end.enter_context(self.source)
        # Another run of the same series: this one is Running until that one ends.
        self.other_run = until_the_end.enter_context(ExitStack())
        if state in ("running", "cancelling", "timed-out"):
            engine = open_database(self.url)
            engine.dispose()
            self.other_run.enter_context(locked(engine, f"daily-{SERIES}"))
        self.deployment = self._deployed()
        self.run = self.begin(state, wait=state == "waiting")

    def _answer(self, request: Request) -> Reply:
        """Return the file up to this hour or, until it is published, the one that this state needs."""
        if self.is_published or self.state not in ("waiting", "retrying"):
            newest = (datetime.now(UTC) - self.start) // HOUR
        elif self.state == "waiting":
            newest = 396
        else:
            return Reply(404)
        return Reply(200, self.market.file(newest, partial=True), {"Content-Type": "text/csv"})

    def _deployed(self) -> UUID:
        environment = {
            "CANDLECAST_DATABASE_URL": self.url,
            "CANDLECAST_SOURCE": self.source.url,
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "naive",
            "CANDLECAST_POLL_INTERVAL_S": "2",
            "CANDLECAST_WAIT_HOURS": "23",
            "CANDLECAST_REPORTS": str(self.folder / "reports"),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        }
        deployment: UUID = self.client.create_deployment(
            self.client.create_flow_from_name("daily"),
            f"{self.folder.parent.name}-{self.state}",
            entrypoint=STATES[self.state][0],
            # As `prefect deploy` does. With a path instead, each run would copy the checkout, with 3 GB of libraries.
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            work_pool_name="default",
            concurrency_limit=1,
            job_variables={"env": environment},
            parameter_openapi_schema={},
        )
        return deployment

    def begin(self, name: str, *, wait: bool = False) -> UUID:
        """Start a run of the deployment."""
        run = self.client.create_flow_run_from_deployment(self.deployment, name=name, parameters={"wait": wait})
        identity: UUID = run.id
        return identity

    def go_on(self) -> None:
        """Publish what the run waits for, and end the other run."""
        self.is_published = True
        self.other_run.close()

    def state_of_run(self) -> tuple[str, str]:
        """Return the type and name of the run's state."""
        state = self.client.read_flow_run(self.run).state
        return state.type.value, state.name

    def wait_for_its_state(self, log: Path) -> None:
        deadline = time.monotonic() + 240
        # A day that waits has asked, and asked again.
        while STATES[self.state][1] not in self.state_of_run() or (
            self.state == "waiting" and len(self.source.requests) < 3
        ):
            assert time.monotonic() < deadline, f"{self.state}: {self.state_of_run()}\n{log.read_text()[-6000:]}"
            time.sleep(0.2)

    def wait_for_the_end_of_its_process(self, log: Path) -> None:
        deadline = time.monotonic() + 60
        while processes := processes_of(self.folder):
            assert time.monotonic() < deadline, f"{processes}\n{log.read_text()[-6000:]}"
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill -9 every process of this deployment's runs."""
        for pid in processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def in_every_state(client: Any, folder: Path, worker: Worker, until_the_end: ExitStack) -> dict[str, Day]:
    """Return a day in each of the states, by its name, with sources that answer until the end.

    The worker is stopped (SIGSTOP), so that nothing ends the day that is being cancelled; continue or kill it.
    """
    from prefect.states import Cancelling

    days = {state: Day(client, folder, state, until_the_end) for state in STATES if state not in PASSING}
    for day in days.values():
        day.wait_for_its_state(worker.log)
    for state in PASSING:
        days[state] = Day(client, folder, state, until_the_end)
        days[state].wait_for_its_state(worker.log)
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    client.set_flow_run_state(days["cancelling"].run, Cancelling())
    return days


def until(days: dict[str, Day], wanted: dict[str, str], wait_s: float, log: Path) -> None:
    """Wait until the runs are in the states of these names; fails with the states that they have, and a log."""
    deadline = time.monotonic() + wait_s
    while wanted.items() - (states := {name: day.state_of_run()[1] for name, day in days.items()}).items():
        assert time.monotonic() < deadline, f"{states}, not {wanted}\n{log.read_text()[-6000:]}"
        time.sleep(0.5)
