"""Training on another pool with a real server: the worker is present, absent, late or killed, and the day forecasts."""

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from markets import write_csv
from prefect_parts import BIN, ROOT, PrefectServer, Worker
from processes import kill_session
from synthetic import random_walk

pytestmark = pytest.mark.slow

SERIES = "Coinbase_BTCUSD_d"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with PrefectServer(tmp_path_factory.mktemp("server")) as server:
        server.prefect("work-pool", "create", "default", "--type", "process")
        server.prefect("work-pool", "create", "gpu", "--type", "process")
        server.prefect("deploy", "--all")
        yield server


class Installation:
    """A separate database on the shared server; trainings go to the pool `gpu`."""

    def __init__(self, server: PrefectServer, folder: Path) -> None:
        self.folder, self.server = folder, server
        self.settings = {
            "CANDLECAST_DATABASE_URL": f"sqlite:///{folder / 'candlecast.db'}",
            "CANDLECAST_SOURCE": str(ROOT / "sample"),
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "lstm",
            "CANDLECAST_TRAIN_DEPLOYMENT": "retrain/gpu",
        }

    def daily(self, timeout_s: float) -> "subprocess.CompletedProcess[str]":
        env = self.server.env | self.settings | {"CANDLECAST_TRAIN_TIMEOUT_S": str(timeout_s)}
        return subprocess.run(
            [str(BIN / "candlecast"), "daily"], cwd=self.folder, env=env, capture_output=True, text=True, timeout=400,
            check=False,
        )  # fmt: skip

    def start_daily(self, timeout_s: float) -> "subprocess.Popen[str]":
        env = self.server.env | self.settings | {"CANDLECAST_TRAIN_TIMEOUT_S": str(timeout_s)}
        return subprocess.Popen(
            [str(BIN / "candlecast"), "daily"], cwd=self.folder, env=env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def worker(self) -> Worker:
        return Worker(self.server, "gpu", self.folder / "worker.log", self.settings)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.folder / "candlecast.db") as conn:
            return conn.execute(query).fetchall()

    def live(self) -> list[str]:
        return [str(model) for (model,) in self.rows("SELECT model FROM forecasts WHERE kind = 'live' ORDER BY model")]


@pytest.fixture
def installation(server: PrefectServer, tmp_path: Path) -> Installation:
    return Installation(server, tmp_path)


def test_a_worker_of_the_pool_trains_and_the_day_goes_on_with_its_version(installation: Installation) -> None:
    with installation.worker() as worker:
        done = installation.daily(300)
        log = worker.log.read_text()
    assert done.returncode == 0, done.stderr[-3000:] + log[-3000:]
    assert "training lstm (scratch)" in log
    assert "training lstm" not in done.stderr
    assert installation.live() == ["lstm", "naive", "range-ewma"]
    assert installation.rows("SELECT count(*) FROM model_versions WHERE purpose = 'live' AND model = 'lstm'") == [(1,)]


def test_the_deployed_day_runs_on_one_pool_and_its_training_on_the_other(
    installation: Installation, server: PrefectServer
) -> None:
    before = {run["id"] for run in server.flow_runs("daily")}
    settings = installation.settings | {
        "CANDLECAST_TRAIN_TIMEOUT_S": "300", "CANDLECAST_REPORTS": str(installation.folder / "reports"),
    }  # fmt: skip
    with (
        Worker(server, "default", installation.folder / "default.log", settings) as ordinary,
        installation.worker() as training,
    ):
        server.prefect("deployment", "run", "daily/scheduled", "--param", "wait=false")
        deadline = time.monotonic() + 300
        runs: list[dict[str, object]] = []
        while time.monotonic() < deadline and not any(run["state_type"] == "COMPLETED" for run in runs):
            time.sleep(1)
            runs = [run for run in server.flow_runs("daily") if run["id"] not in before]
        logs = ordinary.log.read_text(), training.log.read_text()
    assert [run["state_type"] for run in runs] == ["COMPLETED"], logs[0][-3000:]
    assert "training lstm (scratch)" in logs[1]
    assert "training lstm (scratch)" not in logs[0]
    assert installation.live() == ["lstm", "naive", "range-ewma"]


def test_without_a_worker_the_queued_training_is_cancelled_and_the_champion_forecasts(
    installation: Installation,
) -> None:
    before = len(installation.server.flow_runs("retrain"))
    other = "Bitstamp_ETHUSD_d"
    write_csv(installation.folder / "source", other, random_walk(420, seed=4))
    shutil.copy(ROOT / "sample" / f"{SERIES}.csv", installation.folder / "source")
    installation.settings |= {
        "CANDLECAST_SOURCE": str(installation.folder / "source"), "CANDLECAST_SERIES": f"{SERIES},{other}",
    }  # fmt: skip
    done = installation.daily(6)
    assert done.returncode == 1
    assert "is a worker of its pool running?" in done.stderr
    assert installation.live() == ["naive", "naive", "range-ewma", "range-ewma"]
    # One run trains for all series, so nobody waits twice for the same worker.
    assert len(installation.server.flow_runs("retrain")) == before + 1
    assert "close forecast by naive" in done.stdout
    # A worker that comes later has nothing to do: the run is not left in the queue to train beside tomorrow's.
    with installation.worker() as worker:
        time.sleep(15)
        log = worker.log.read_text()
    assert "training lstm" not in log
    states = {run["state_type"] for run in installation.server.flow_runs("retrain")}
    assert states <= {"CANCELLED", "COMPLETED"}, states


def test_a_worker_killed_in_the_middle_costs_the_training_and_not_the_forecast(installation: Installation) -> None:
    with installation.worker() as worker:
        running = installation.start_daily(60)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and "training lstm (scratch)" not in worker.log.read_text():
            time.sleep(0.2)
        assert worker.process is not None
        kill_session(worker.process)
        _, stderr = running.communicate(timeout=300)
    assert running.returncode == 1, stderr[-3000:]
    assert "training did not finish, the champion stays" in stderr
    assert installation.live() == ["naive", "range-ewma"]
    # The next day's training runs as usual.
    with installation.worker():
        again = installation.daily(300)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "lstm" in installation.live()
    assert installation.rows("SELECT count(*) FROM model_versions WHERE purpose = 'live' AND model = 'lstm'") == [(1,)]
