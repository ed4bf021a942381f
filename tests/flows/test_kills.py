"""kill -9 at random points of a day and of a backfill: run again, the tables are those of an undisturbed run.

Each test prints its seed; CANDLECAST_TEST_SEED=N repeats one.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from markets import write_csv
from prefect_parts import BIN, PrefectServer, Worker
from sqlalchemy import create_engine, text
from synthetic import random_walk

pytestmark = pytest.mark.slow

SERIES = "Bitstamp_BTCUSD_d"
DAILY = ["daily"]
BACKFILL = ["backfill", SERIES, "--start", "2016-06-01", "--end", "2016-11-30"]

# What an installation holds, without what differs between any two runs: row numbers, the clock, the run's id.
TABLES = {
    "candles": "SELECT open_time, open, high, low, close, volume_base, volume_quote, provisional FROM candles",
    "quarantine": "SELECT line_number, raw_text, reason FROM quarantine",
    "versions": "SELECT model, purpose, cutoff, seed, data_fingerprint, weights_sha256 FROM model_versions",
    "decisions": "SELECT m.model, p.outcome FROM promotions p JOIN model_versions m ON m.id = p.model_version",
    "forecasts": "SELECT f.model, f.kind, f.origin, f.data_fingerprint, v.step, v.quantile, v.value "
    "FROM forecasts f JOIN forecast_values v ON v.forecast = f.id",
    "scores": "SELECT f.model, f.kind, f.origin, s.step, s.actual, s.crps, s.pit FROM scores s "
    "JOIN forecasts f ON f.id = s.forecast",
}


class Installation:
    """A database and a source; commands run as processes of their own against one Prefect server."""

    def __init__(self, server: PrefectServer, folder: Path, url: str | None = None) -> None:
        self.folder, self.server = folder, server
        self.url = url or f"sqlite:///{folder / 'candlecast.db'}"
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "source", SERIES, random_walk(720, seed=3))
        self.settings = {
            "CANDLECAST_DATABASE_URL": self.url,
            "CANDLECAST_SOURCE": str(folder / "source"),
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "lstm",
            "CANDLECAST_SKILL_DAYS": "90",
            "CANDLECAST_REPORTS": str(folder / "reports"),
        }

    def start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(BIN / "candlecast"), *command], cwd=self.folder, env=self.server.env | self.settings, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, command: Sequence[str]) -> float:
        """Run a command to its good end; returns the seconds from the beginning of its flow."""
        offset = self.log_size()
        process = self.start(command)
        began = self.begun(process, offset)
        assert process.wait(300) == 0, self.log()[-4000:]
        return time.monotonic() - began

    def begun(self, process: "subprocess.Popen[bytes]", offset: int) -> float:
        """Return the moment at which the flow of a command began: before it there are imports only."""
        while "Beginning flow run" not in self.log()[offset:] and process.poll() is None:
            time.sleep(0.02)
        return time.monotonic()

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def log_size(self) -> int:
        return len(self.log())

    def kill_at_random(self, command: Sequence[str], chance: random.Random, lasts: float) -> None:
        """Kill -9 a run of `command` while it is at it; a run that was over before is not counted and done again."""
        for _ in range(5):
            offset = self.log_size()
            process = self.start(command)
            self.begun(process, offset)
            time.sleep(chance.uniform(0, lasts))
            alive = process.poll() is None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
            if alive:
                return
            # How long an undisturbed run lasts was measured when the machine had more to do.
            lasts /= 2
        raise AssertionError("no run lived long enough to be killed")

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        engine = create_engine(self.url)
        with engine.connect() as conn:
            found = {
                name: sorted((tuple(row) for row in conn.execute(text(query))), key=repr)
                for name, query in TABLES.items()
            }
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with PrefectServer(tmp_path_factory.mktemp("server")) as server:
        yield server


class Undisturbed:
    """What one day and one backfill give when nobody interferes, and how long each lasts."""

    def __init__(self, server: PrefectServer, folder: Path) -> None:
        made = Installation(server, folder)
        self.daily_s = made.run(DAILY)
        self.after_day = made.tables()
        self.backfill_s = made.run(BACKFILL)
        self.after_all = made.tables()


@pytest.fixture(scope="module")
def undisturbed(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(server, tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("CANDLECAST_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: CANDLECAST_TEST_SEED={seed} repeats this")
    return random.Random(seed)


def assert_same(found: dict[str, list[tuple[Any, ...]]], wanted: dict[str, list[tuple[Any, ...]]]) -> None:
    assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in wanted.items()}
    for name, rows in wanted.items():
        assert found[name] == rows, name


def test_a_day_and_a_backfill_killed_twenty_times_end_as_if_nothing_had_happened(
    server: PrefectServer, undisturbed: Undisturbed, chance: random.Random, tmp_path: Path
) -> None:
    made = Installation(server, tmp_path)
    for _ in range(10):
        made.kill_at_random(DAILY, chance, undisturbed.daily_s)
    made.run(DAILY)
    assert_same(made.tables(), undisturbed.after_day)
    for _ in range(10):
        made.kill_at_random(BACKFILL, chance, undisturbed.backfill_s)
    made.run(BACKFILL)
    assert_same(made.tables(), undisturbed.after_all)


def test_a_database_whose_connections_are_killed_loses_nothing(
    server: PrefectServer, undisturbed: Undisturbed, chance: random.Random, tmp_path: Path, postgresql_url: str
) -> None:
    made = Installation(server, tmp_path, postgresql_url)
    kills = 0
    for command in (DAILY, BACKFILL):
        for _ in range(3):
            offset = made.log_size()
            process = made.start(command)
            made.begun(process, offset)
            while process.poll() is None:
                time.sleep(chance.uniform(0, 4))
                kills += _kill_connections(postgresql_url, process)
            # It may have gone on, or ended as failed; it says why and leaves nothing half-written.
            assert process.returncode in (0, 1), made.log()[-3000:]
        made.run(command)
    print(f"{kills} connections killed")
    assert kills >= 5
    assert_same(_as_sqlite(made.tables()), _as_sqlite(undisturbed.after_all))


def _kill_connections(url: str, process: "subprocess.Popen[bytes]") -> int:
    """Kill the connections that are there, waiting for one if need be; returns how many."""
    import psycopg

    plain = url.replace("+psycopg", "")
    name = plain.rsplit("/", 1)[1]
    query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(plain.rsplit("/", 1)[0] + "/postgres", autocommit=True) as conn:
        while process.poll() is None:
            row = conn.execute(query, [name]).fetchone()
            assert row is not None
            if row[0]:
                return int(row[0])
            time.sleep(0.005)
    return 0


def _as_sqlite(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return rows as text without what the drivers show differently: zones of instants, whole floats, booleans."""

    def plain(value: Any) -> Any:
        if hasattr(value, "isoformat"):
            return value.isoformat(sep=" ").removesuffix("+00:00")
        if isinstance(value, str):
            return value.removesuffix(".000000")
        return float(value) if isinstance(value, (int, float)) else value

    return {
        name: sorted((tuple(plain(value) for value in row) for row in rows), key=repr) for name, rows in tables.items()
    }


def test_a_server_killed_in_the_middle_costs_a_run_and_nothing_else(
    undisturbed: Undisturbed, chance: random.Random, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PrefectServer(tmp_path_factory.mktemp("own-server")) as own:
        made = Installation(own, tmp_path)
        times = [(DAILY, undisturbed.daily_s)] * 2 + [(BACKFILL, undisturbed.backfill_s)]
        for command, lasts in times:
            offset = made.log_size()
            process = made.start(command)
            made.begun(process, offset)
            time.sleep(chance.uniform(0, lasts))
            own.kill()
            time.sleep(1)
            own.__enter__()
            # Whatever became of the run, its process ends by itself.
            process.wait(240)
        made.run(DAILY)
        made.run(BACKFILL)
        assert_same(made.tables(), undisturbed.after_all)


def test_runs_whose_worker_was_killed_are_crashed_and_do_not_block_the_next(
    undisturbed: Undisturbed, chance: random.Random, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PrefectServer(tmp_path_factory.mktemp("own-server"), PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as own:
        made = Installation(own, tmp_path)
        subprocess.run(
            [str(BIN / "candlecast"), "setup"], env=own.env | made.settings, check=True, timeout=120,
            capture_output=True,
        )  # fmt: skip
        own.prefect("deploy", "--all")
        own.prefect("deployment", "run", "daily/scheduled")
        # The worker and the flow's process die together, as when the machine loses power.
        with Worker(own, "default", tmp_path / "worker-1.log", made.settings) as worker:
            _until(lambda: _states(own) == ["RUNNING"], 120, worker.log)
            # From here to its end a first day trains and looks back: well over the four seconds.
            _until(lambda: "for flow 'daily'" in worker.log.read_text(), 120, worker.log)
            time.sleep(chance.uniform(0, 4))
            assert worker.process is not None
            os.killpg(worker.process.pid, signal.SIGKILL)
            _kill_children_of_flow(made)
        assert _states(own) == ["RUNNING"]
        own.prefect("deployment", "run", "daily/scheduled")
        with Worker(own, "default", tmp_path / "worker-2.log", made.settings) as worker:
            _until(lambda: _states(own) == ["COMPLETED", "CRASHED"], 400, worker.log)
            # A flow's process that dies under a worker that lives is noticed at once.
            own.prefect("deployment", "run", "backfill/on-demand", "--param", f'series=["{SERIES}"]',
                        "--param", "start=2016-06-01", "--param", "end=2016-11-30")  # fmt: skip
            _until(lambda: _states(own, "backfill") == ["RUNNING"], 120, worker.log)
            time.sleep(chance.uniform(1, undisturbed.backfill_s))
            _kill_children_of_flow(made)
            _until(lambda: _states(own, "backfill")[0] in ("CRASHED", "COMPLETED"), 120, worker.log)
        made.run(BACKFILL)
        assert_same(made.tables(), undisturbed.after_all)


def _states(server: PrefectServer, flow: str = "daily") -> list[str]:
    """Return the states of the runs of a flow that were asked for by hand, sorted."""
    return sorted(run["state_type"] for run in server.flow_runs(flow) if not run["auto_scheduled"])


def _until(what: Any, wait_s: float, log: Path) -> None:
    deadline = time.monotonic() + wait_s
    while not what():
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.5)


def _kill_children_of_flow(made: Installation) -> None:
    """Kill -9 every process that runs a flow of this installation."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"prefect" in command and b"worker" not in command and str(made.folder).encode() in environment:
            os.kill(int(folder.name), signal.SIGKILL)


def test_of_two_days_at_once_one_does_the_work_and_the_other_waits(
    server: PrefectServer, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    made = Installation(server, tmp_path)
    both = [made.start(DAILY), made.start(DAILY)]
    assert [process.wait(300) for process in both] == [0, 0], made.log()[-4000:]
    assert_same(made.tables(), undisturbed.after_day)
    log = made.log()
    assert log.count("another run is at it; waiting") == 1
    assert log.count("training lstm (scratch)") == 1
