"""kill -9 at random points of a day and of a backfill: after another run the tables equal those of an undisturbed one.

Each test prints its seed; CANDLECAST_TEST_SEED=N repeats one.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from disturbed import BACKFILL, DAILY, SERIES, Installation, Undisturbed, as_sqlite, assert_same
from prefect_parts import BIN, PrefectServer, Worker
from processes import flow_processes_of, kill_session

pytestmark = pytest.mark.slow


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("CANDLECAST_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: CANDLECAST_TEST_SEED={seed} repeats this")
    return random.Random(seed)


def test_a_day_and_a_backfill_killed_twenty_times_end_with_the_same_rows(
    server: PrefectServer, undisturbed: Undisturbed, chance: random.Random, tmp_path: Path
) -> None:
    installation = Installation(server, tmp_path)
    for _ in range(10):
        installation.kill_at_random(DAILY, chance, undisturbed.daily_s)
    installation.run(DAILY)
    assert_same(installation.tables(), undisturbed.after_day)
    for _ in range(10):
        installation.kill_at_random(BACKFILL, chance, undisturbed.backfill_s)
    installation.run(BACKFILL)
    assert_same(installation.tables(), undisturbed.after_all)


def test_a_database_whose_connections_are_killed_loses_nothing(
    server: PrefectServer, undisturbed: Undisturbed, chance: random.Random, tmp_path: Path, postgresql_url: str
) -> None:
    installation = Installation(server, tmp_path, postgresql_url)
    kills = 0
    for command in (DAILY, BACKFILL):
        for _ in range(3):
            offset = installation.log_size()
            process = installation.start(command)
            installation.wait_for_flow(process, offset)
            while process.poll() is None:
                time.sleep(chance.uniform(0, 4))
                kills += _kill_connections(postgresql_url, process)
            # The run may have gone on or failed; a failed one says why, and nothing is half-written.
            assert process.returncode in (0, 1), installation.log()[-3000:]
        installation.run(command)
    print(f"{kills} connections killed")
    assert kills >= 5
    assert_same(as_sqlite(installation.tables()), as_sqlite(undisturbed.after_all))


def _kill_connections(url: str, process: "subprocess.Popen[bytes]") -> int:
    """Kill the open connections, waiting until there is one; returns how many."""
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


def test_a_server_killed_in_the_middle_costs_a_run_and_nothing_else(
    undisturbed: Undisturbed, chance: random.Random, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PrefectServer(tmp_path_factory.mktemp("own-server")) as own:
        installation = Installation(own, tmp_path)
        times = [(DAILY, undisturbed.daily_s)] * 2 + [(BACKFILL, undisturbed.backfill_s)]
        for command, lasts in times:
            offset = installation.log_size()
            process = installation.start(command)
            installation.wait_for_flow(process, offset)
            time.sleep(chance.uniform(0, lasts))
            own.kill()
            time.sleep(1)
            own.__enter__()
            # The process of the run ends by itself in any case.
            process.wait(240)
        installation.run(DAILY)
        installation.run(BACKFILL)
        assert_same(installation.tables(), undisturbed.after_all)


def test_runs_whose_worker_was_killed_are_crashed_and_do_not_block_the_next(
    undisturbed: Undisturbed, chance: random.Random, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with PrefectServer(tmp_path_factory.mktemp("own-server"), PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as own:
        installation = Installation(own, tmp_path)
        subprocess.run(
            [str(BIN / "candlecast"), "setup"], env=own.env | installation.settings, check=True, timeout=120,
            capture_output=True,
        )  # fmt: skip
        own.prefect("deploy", "--all")
        own.prefect("deployment", "run", "daily/scheduled", "--param", "wait=false")
        # The worker and the flow's process die together, as when the machine loses power.
        with Worker(own, "default", tmp_path / "worker-1.log", installation.settings) as worker:
            _until(lambda: _states(own) == ["RUNNING"], 120, worker.log)
            # From here to its end a first day trains and looks back: well over the four seconds.
            _until(lambda: "for flow 'daily'" in worker.log.read_text(), 120, worker.log)
            time.sleep(chance.uniform(0, 4))
            assert worker.process is not None
            kill_session(worker.process)
            _kill_children_of_flow(installation)
        assert _states(own) == ["RUNNING"]
        own.prefect("deployment", "run", "daily/scheduled", "--param", "wait=false")
        with Worker(own, "default", tmp_path / "worker-2.log", installation.settings) as worker:
            _until(lambda: _states(own) == ["COMPLETED", "CRASHED"], 400, worker.log)
            # A worker that lives notices at once that a flow's process died.
            own.prefect("deployment", "run", "backfill/on-demand", "--param", f'series=["{SERIES}"]',
                        "--param", "start=2016-06-01", "--param", "end=2016-11-30")  # fmt: skip
            _until(lambda: _states(own, "backfill") == ["RUNNING"], 120, worker.log)
            time.sleep(chance.uniform(1, undisturbed.backfill_s))
            _kill_children_of_flow(installation)
            _until(lambda: _states(own, "backfill")[0] in ("CRASHED", "COMPLETED"), 120, worker.log)
        installation.run(BACKFILL)
        assert_same(installation.tables(), undisturbed.after_all)


def _states(server: PrefectServer, flow: str = "daily") -> list[str]:
    """Return the states of the runs of a flow that were asked for by hand, sorted.

    A crashed day is also run again by an automation.
    """
    runs = [run for run in server.flow_runs(flow) if not run["auto_scheduled"]]
    return sorted(run["state_type"] for run in runs if (run["created_by"] or {}).get("type") != "AUTOMATION")


def _until(is_true: Any, wait_s: float, log: Path) -> None:
    deadline = time.monotonic() + wait_s
    while not is_true():
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.5)


def _kill_children_of_flow(installation: Installation) -> None:
    """Kill -9 every process that runs a flow of this installation."""
    for pid in flow_processes_of(installation.folder):
        os.kill(pid, signal.SIGKILL)


def test_of_two_days_at_once_one_does_the_work_and_the_other_waits(
    server: PrefectServer, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    installation = Installation(server, tmp_path)
    both = [installation.start(DAILY), installation.start(DAILY)]
    assert [process.wait(300) for process in both] == [0, 0], installation.log()[-4000:]
    assert_same(installation.tables(), undisturbed.after_day)
    log = installation.log()
    # Once for the forecast, and perhaps once more for the training.
    assert 1 <= log.count("another run works on it; waiting") <= 2
    assert log.count("training lstm (scratch)") == 1
