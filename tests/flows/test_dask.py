"""The same backfill on an existing Dask cluster: a scheduler and two workers, each a separate process."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from markets import ingest_walk
from prefect_parts import BIN, PrefectServer

from storage.database.engine import open_database

pytestmark = pytest.mark.slow

NAMES = ["Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d", "Bitstamp_LTCUSD_d", "Bitstamp_XRPUSD_d"]
CLUSTER = """
from dask.distributed import LocalCluster
import time
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        print(cluster.scheduler_address.removeprefix("tcp://"), flush=True)
        time.sleep(600)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.stdout.close()
    process.wait(30)


def stored(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as conn:
        return conn.execute(
            "SELECT f.series, f.model, f.origin, v.step, v.quantile, v.value FROM forecasts f "
            "JOIN forecast_values v ON v.forecast = f.id ORDER BY 1, 2, 3, 4, 5"
        ).fetchall()


def test_a_backfill_on_a_cluster_stores_the_rows_of_one_process(tmp_path: Path, cluster: str) -> None:
    tables = {}
    with PrefectServer(tmp_path / "home") as server:
        for runner in ("", f"dask://{cluster}"):
            path = tmp_path / f"{'dask' if runner else 'here'}.db"
            engine = open_database(f"sqlite:///{path}")
            for seed, name in enumerate(NAMES):
                ingest_walk(engine, tmp_path / "source", seed=seed, series=name)
            engine.dispose()
            settings = {
                "CANDLECAST_DATABASE_URL": f"sqlite:///{path}",
                "CANDLECAST_SERIES": NAMES[0],
                "CANDLECAST_MODEL": "range-ewma",
                "CANDLECAST_TASK_RUNNER": runner,
            }
            began = time.monotonic()
            done = subprocess.run(
                [str(BIN / "candlecast"), "backfill", *NAMES, "--start", "2015-10-01", "--end", "2016-03-31"],
                cwd=tmp_path, env=server.env | settings, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            print(f"{runner or 'here'}: {time.monotonic() - began:.0f} s")
            assert done.returncode == 0, done.stderr[-4000:]
            tables[runner] = stored(path)
    here, dask = tables.values()
    assert len(here) == len(NAMES) * 2 * 183 * 161
    assert dask == here
