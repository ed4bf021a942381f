"""The pins of Prefect, FastAPI and SQLAlchemy break each other in ways `pip check` does not see: with some the
server does not start, with some its scheduler silently creates no runs. So a schedule is watched until it fires."""

import json
import sqlite3
import sys
import time
from pathlib import Path

from prefect_parts import ROOT, PrefectServer, Worker

sys.path  # noqa: B018


def test_a_deployed_cron_schedule_fires_and_its_worker_stores_a_forecast(tmp_path: Path) -> None:
    database = tmp_path / "candlecast.db"
    with PrefectServer(
        tmp_path / "home",
        PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="5",
        CANDLECAST_DATABASE_URL=f"sqlite:///{database}",
        CANDLECAST_SOURCE=str(ROOT / "sample"),
        CANDLECAST_SERIES="Coinbase_BTCUSD_d",
        CANDLECAST_MODEL="naive",
        CANDLECAST_REPORTS=str(tmp_path / "reports"),
    ) as server:
        server.prefect("work-pool", "create", "default", "--type", "process")
        server.prefect("work-pool", "create", "gpu", "--type", "process")
        server.prefect("deploy", "--all")
        server.prefect(
            "deployment", "schedule", "create", "daily/scheduled", "--cron", "* * * * *", "--timezone", "UTC"
        )
        with Worker(server, "default", tmp_path / "worker.log") as worker:
            deadline = time.monotonic() + 240
            runs = []
            while time.monotonic() < deadline:
                runs = json.loads(server.prefect("flow-run", "ls", "--flow-name", "daily", "--output", "json"))
                if any(run["state_name"] == "Completed" for run in runs):
                    break
                time.sleep(2)
            log = worker.log.read_text()
    assert any(run["state_name"] == "Completed" for run in runs), log[-4000:]
    assert all(run["auto_scheduled"] for run in runs)
    with sqlite3.connect(database) as conn:
        (live,) = conn.execute("SELECT count(*) FROM forecasts WHERE kind = 'live' AND model = 'naive'").fetchone()
    assert live == 1
