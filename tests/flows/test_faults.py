"""A day that is stopped, runs out of memory or loses its database is run again, and its results are then complete."""

import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from disturbed import BACKFILL, DAILY, SERIES, Installation, Undisturbed, as_sqlite, assert_same
from markets import write_csv
from postgresql_parts import Cluster
from prefect_parts import PrefectServer, Worker
from processes import flow_processes_of
from synthetic import random_walk

from storage.database.engine import open_database

pytestmark = pytest.mark.slow

# The log line with which each stage of a day begins, and the share of a whole day to wait before stopping it there.
STAGES = {
    "starting": ("", 0.05),
    "before the flow": ("", 0.2),
    "fetching and storing": ("Beginning flow run", 0.0),
    "storing, a little later": ("Beginning flow run", 0.03),
    "forecasting": ("Task run 'ingest-", 0.0),
    "scoring": ("champion is version", 0.0),
    "the chart": ("Task run 'watch-", 0.0),
    "before training": ("for flow 'retrain'", 0.0),
    "training": ("training lstm (scratch)", 0.03),
    "training, well into it": ("training lstm (scratch)", 0.15),
    "walk-forward": ("Task run 'train-", 0.0),
    "walk-forward, between two models": ("naive: 91 of 91 origins", 0.0),
    # The run before may have stored range-ewma's origins before it heard the signal: then their number is 0.
    "walk-forward, the networks": (f"{SERIES} range-ewma: ", 0.03),
    "the gate": ("Task run 'backfill-", 0.0),
    "after the gate": ("Task run 'gate-", 0.0),
    "the end": ("no training is due", 0.0),
}


def wait_for_marker(installation: Installation, process: "subprocess.Popen[bytes]", marker: str, offset: int) -> bool:
    """Wait until a command's log contains `marker`; returns False if the command ended without it."""
    while marker not in installation.log()[offset:]:
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return True


def test_a_day_stopped_at_every_stage_is_completed_by_the_next_run(
    server: PrefectServer, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    installation = Installation(server, tmp_path)
    ends: dict[str, int] = {}
    # One after the other in one installation, so that each starts from the rows that the ones before it left.
    for stage, (marker, share) in STAGES.items():
        offset = installation.log_size()
        process = installation.start(DAILY)
        assert wait_for_marker(installation, process, marker, offset), f"{stage}: {installation.log()[offset:][-3000:]}"
        time.sleep(share * undisturbed.daily_s)
        process.terminate()
        ends[stage] = process.wait(30)
    print(ends)
    stopped = [stage for stage, code in ends.items() if code == -signal.SIGTERM]
    # A run that was almost over may have completed first, but none may have failed.
    assert set(ends.values()) <= {-signal.SIGTERM, 0}, ends
    assert len(stopped) >= len(STAGES) - 3, ends
    installation.run(DAILY)
    assert_same(installation.tables(), undisturbed.after_day)
    # Prefect knows that they were stopped: no run is left in a state that looks like running.
    assert "RUNNING" not in {run["state_type"] for run in server.flow_runs("daily")}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for this module only, so that its tests may stop it."""
    with Cluster() as cluster:
        yield cluster


def test_a_postgresql_restarted_in_the_middle_of_transactions_loses_nothing(
    server: PrefectServer, undisturbed: Undisturbed, cluster: Cluster, tmp_path: Path
) -> None:
    installation = Installation(server, tmp_path, f"{cluster.url}/postgres")
    open_database(installation.url).dispose()
    # Another connection locks a table, so the command's transaction waits there when the server stops.
    for command, table in ((["ingest"], "findings"), (DAILY, "forecast_values"), (BACKFILL, "forecast_values")):
        offset = installation.log_size()
        process = restarted_in_transaction(installation, cluster, command, table)
        code = process.wait(240)
        output = installation.log()[offset:]
        # A day goes on, and where the database is back at once it makes the lost forecast after its training.
        assert code == 1 or (command == DAILY and "no forecast: the database" in output), output[-3000:]
        assert "is the server running, and are host, port, user and password right?" in output
        if command == ["ingest"]:
            assert "Traceback" not in output
            assert installation.tables()["candles"] == []
        installation.run(command) if command != ["ingest"] else installation.start(command).wait(60)
    assert_same(as_sqlite(installation.tables()), as_sqlite(undisturbed.after_all))


def restarted_in_transaction(
    installation: Installation, cluster: Cluster, command: list[str], table: str
) -> "subprocess.Popen[bytes]":
    """Start a command and restart PostgreSQL while it waits for `table` in a transaction that has already written."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'candlecast' AND backend_xid IS NOT NULL AND wait_event_type = 'Lock'"
    )
    address = installation.url.replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as watch, psycopg.connect(address) as holder:
        holder.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        process = installation.start(command)
        deadline = time.monotonic() + 120
        while watch.execute(waiting).fetchone() != (1,):
            assert process.poll() is None, installation.log()[-3000:]
            assert time.monotonic() < deadline, installation.log()[-3000:]
            time.sleep(0.05)
        cluster.stop(immediately=True)
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")
    cluster.start()
    return process


def short_of_memory(pid: int, spare: int = 200 * 2**20) -> None:
    """Limit a process to `spare` bytes more memory than it has now."""
    status = Path(f"/proc/{pid}/status").read_text()
    (size,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
    resource.prlimit(pid, resource.RLIMIT_AS, (size + spare, size + spare))


def test_a_training_in_the_days_own_process_that_runs_out_of_memory_costs_no_forecast(
    server: PrefectServer, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    installation, other = Installation(server, tmp_path), "Bitstamp_ETHUSD_d"
    write_csv(tmp_path / "source", other, random_walk(300, seed=4))
    # So that the networks are those of the undisturbed day, which has only one series.
    installation.settings["CANDLECAST_LEARN_EXCEPT"] = other
    process = installation.start([*DAILY, SERIES, other])
    assert wait_for_marker(installation, process, "training lstm (scratch)", 0), installation.log()[-3000:]
    short_of_memory(process.pid)
    # TensorFlow ends the process. Every series has its forecast, also the one that was not yet trained.
    assert process.wait(120) != 0
    live = sql(installation, "SELECT series, model FROM forecasts WHERE kind = 'live' ORDER BY series, model")
    assert live == [(series, model) for series in (SERIES, other) for model in ("naive", "range-ewma")]
    assert sql(installation, "SELECT count(*) FROM model_versions WHERE model = 'lstm'") == [(0,)]
    installation.run(DAILY)
    tables = installation.tables()
    for name, wanted in undisturbed.after_day.items():
        assert set(wanted) <= set(tables[name]), name


def test_a_training_on_the_pool_that_runs_out_of_memory_costs_the_training_and_not_the_forecast(
    server: PrefectServer, tmp_path: Path
) -> None:
    for pool in ("default", "gpu"):
        server.prefect("work-pool", "create", pool, "--type", "process")
    server.prefect("deploy", "--all")
    installation = Installation(server, tmp_path)
    installation.settings |= {"CANDLECAST_TRAIN_DEPLOYMENT": "retrain/gpu", "CANDLECAST_TRAIN_TIMEOUT_S": "100"}
    with Worker(server, "gpu", tmp_path / "worker.log", installation.settings) as worker:
        process = installation.start(DAILY)
        while "training lstm (scratch)" not in worker.log.read_text():
            assert process.poll() is None, installation.log()[-3000:]
            time.sleep(0.02)
        (trainer,) = flow_processes_of(installation.folder)
        short_of_memory(trainer)
        assert process.wait(240) == 1, installation.log()[-3000:]
        # Without memory its threads can only spin: the worker ends the process of a run that is cancelled.
        deadline = time.monotonic() + 90
        while Path(f"/proc/{trainer}").exists():
            assert time.monotonic() < deadline, worker.log.read_text()[-3000:]
            time.sleep(0.5)
    assert "training did not finish, the champion stays" in installation.log()
    assert "close forecast by naive" in installation.log()
    tables = installation.tables()
    assert {row[0] for row in tables["forecasts"] if row[1] == "live"} == {"naive", "range-ewma"}
    assert {row[0] for row in tables["versions"]} == {"naive", "range-ewma"}
    installation.settings["CANDLECAST_TRAIN_TIMEOUT_S"] = "250"
    with Worker(server, "gpu", tmp_path / "worker-2.log", installation.settings):
        installation.run(DAILY)
    assert {row[0] for row in installation.tables()["versions"]} == {"naive", "range-ewma", "lstm"}


def test_a_bit_that_flips_in_the_champions_weights_is_named_and_stops_nothing_else(
    server: PrefectServer, tmp_path: Path
) -> None:
    installation, market = Installation(server, tmp_path), random_walk(724, seed=3)
    installation.run(DAILY)
    ((version, weights),) = sql(
        installation, "SELECT id, weights FROM model_versions WHERE model = 'lstm' AND purpose = 'live'"
    )
    candlecast(installation, 0, "promote", str(version))
    write_csv(tmp_path / "source", SERIES, market.iloc[:721])
    installation.run(DAILY)
    # From its first training on, and again as the champion.
    (_, (forecast,)) = sql(installation, "SELECT id FROM forecasts WHERE model = 'lstm' AND kind = 'live' ORDER BY id")
    damaged = bytearray(weights)
    damaged[len(damaged) // 2] ^= 1
    sql(installation, "UPDATE model_versions SET weights = ? WHERE id = ?", bytes(damaged), version)
    named = f"version {version} (lstm of all d series): stored weights"

    # A day later: no forecast of the damaged model is stored, those of the others are, and matured steps are scored.
    scored = "SELECT count(*) FROM scores s JOIN forecasts f ON f.id = s.forecast WHERE f.kind = 'live'"
    ((before,),) = sql(installation, scored)
    write_csv(tmp_path / "source", SERIES, market.iloc[:722])
    output = candlecast(installation, 1, "daily")
    assert f"candlecast: {SERIES}: no forecast: {named}" in output
    assert "restore a backup (candlecast restore FILE), make the previous champion serve again" in output
    newest = "SELECT model FROM forecasts WHERE kind = 'live' ORDER BY origin DESC, model LIMIT 2"
    assert sql(installation, newest) == [("naive",), ("range-ewma",)]
    # Step 1 of the three models' last forecasts, and step 2 of their earlier ones.
    assert sql(installation, scored) == [(before + 6,)]
    assert named in candlecast(installation, 1, "replay", str(forecast))
    assert f"version {version} (lstm, live)" in candlecast(installation, 1, "doctor")

    # The champion before serves again; the model of the settings still cannot be heard, and the day says so.
    candlecast(installation, 0, "rollback", SERIES)
    assert f"no forecast: {named}" in candlecast(installation, 1, "daily")
    # A fine-tuning would start from the damaged weights, so the model is trained from scratch instead.
    write_csv(tmp_path / "source", SERIES, market.iloc[:723])
    candlecast(installation, 0, "ingest")
    assert "training lstm (scratch)" in candlecast(installation, 0, "train", SERIES, "--mode", "fine-tune")


def candlecast(installation: Installation, code: int, *command: str) -> str:
    """Run a command that must end with `code`; returns its output."""
    offset = installation.log_size()
    assert installation.start(command).wait(300) == code, installation.log()[offset:][-3000:]
    return installation.log()[offset:]


def sql(installation: Installation, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement directly on the database."""
    with closing(sqlite3.connect(installation.folder / "candlecast.db")) as conn, conn:
        return conn.execute(query, values).fetchall()
