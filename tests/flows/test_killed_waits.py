"""A served day is killed while it waits, and another waits beside its successor: each forecast is stored once."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cdd_server import CddServer
from prefect_parts import BIN, environment, free_port
from processes import processes_of, resident_mb
from synthetic import random_walk
from waiting import Published

pytestmark = pytest.mark.slow

# A candle an hour is due at any time of day, and is waited for as long as a day's.
SERIES = "Bitstamp_BTCUSD_1h"
HOUR = timedelta(hours=1)


class Served:
    """`candlecast serve` in a folder, its pages on one port, and days that people start beside it."""

    def __init__(self, folder: Path, source: CddServer) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = folder / "log"
        self.started: list[subprocess.Popen[bytes]] = []
        self.env = environment(folder / "home") | {
            "CANDLECAST_DATABASE_URL": f"sqlite:///{folder / 'candlecast.db'}",
            "CANDLECAST_SOURCE": source.url,
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "naive",
            "CANDLECAST_POLL_INTERVAL_S": "2",
            "CANDLECAST_WAIT_HOURS": "23",
            "CANDLECAST_REPORTS": str(folder / "reports"),
        }

    def start(self, *command: str, **more: str) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(BIN / "candlecast"), *command], cwd=self.folder, env=self.env | more, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def serve(self) -> "subprocess.Popen[bytes]":
        return self.start("serve", "--port", str(self.port))

    def processes(self) -> dict[int, str]:
        """The processes of this installation, by id: their commands."""
        return processes_of(self.folder)

    def kill_everything(self) -> None:
        """Kill -9 all processes at once, as a machine that loses power."""
        while pids := [pid for pid, command in self.processes().items() if command]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        for process in self.started:
            process.wait(20)

    def runs(self) -> dict[str, str]:
        """The days that have begun, oldest first: their states by id."""
        body = json.dumps({"flows": {"name": {"any_": ["daily"]}}, "sort": "START_TIME_ASC"}).encode()
        request = urllib.request.Request(f"{self.url}/flow_runs/filter", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                runs: list[dict[str, Any]] = json.load(answer)
        except OSError:
            return {}
        return {run["id"]: run["state_type"] for run in runs if run["state_type"] not in ("SCHEDULED", "PENDING")}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "candlecast.db")) as database:
            return database.execute(query).fetchall()

    def until(self, is_true: Callable[[], bool], wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while not is_true():
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.5)


@pytest.fixture
def source() -> Iterator[CddServer]:
    with CddServer() as server:
        yield server


@pytest.fixture
def served(tmp_path: Path, source: CddServer) -> Iterator[Served]:
    one = Served(tmp_path, source)
    yield one
    one.kill_everything()


def test_a_killed_wait_and_two_waits_at_once_store_each_forecast_once(served: Served, source: CddServer) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = hour - 397 * HOUR
    # The newest row of a file is a candle that no later row shows to have closed.
    market = Published(source, SERIES, random_walk(400, start=start, length=HOUR))
    source.put(SERIES, market.file(396, partial=True))
    stored = "SELECT model, origin, created_at FROM forecasts ORDER BY id"
    waits = "waiting since"
    served.serve()
    served.until(lambda: served.log.read_text().count(waits) == 1, 240)
    (run,) = [pid for pid, command in served.processes().items() if "prefect.engine" in command]
    assert resident_mb(run) < 200
    before = served.rows(stored)
    (killed,) = served.runs()
    served.kill_everything()
    again = served.serve()
    served.until(lambda: served.log.read_text().count(waits) == 2, 240)
    (second,) = set(served.runs()) - {killed}
    # By hand, with the same database and with a Prefect server of its own.
    beside = served.start("daily", "--wait", PREFECT_HOME=str(served.folder / "home-beside"))
    served.until(lambda: served.log.read_text().count(waits) == 3, 120)
    assert served.rows(stored) == before

    source.put(SERIES, market.file((datetime.now(UTC) - start) // HOUR, partial=True))
    assert beside.wait(120) == 0, served.log.read_text()[-4000:]
    # A killed run sends no heartbeat, so it is marked; the run after it ends as any other.
    served.until(lambda: served.runs().get(killed) == "CRASHED", 240)
    served.until(lambda: served.runs().get(second) == "COMPLETED", 60)
    after = served.rows(stored)
    assert after[: len(before)] == before
    keys = [(model, origin) for model, origin, _ in after]
    assert len(set(keys)) == len(keys)
    assert {model for model, _ in keys[len(before) :]} == {model for model, _ in keys[: len(before)]} != set()
    assert again.poll() is None
