"""Where Prefect has the limit `cdd`, no more tasks than it allows ask a source at a time; a folder needs no sparing."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cdd_server import CddServer
from markets import write_csv
from synthetic import random_walk

pytestmark = pytest.mark.usefixtures("prefect_server")

SERIES = "Bitstamp_LTCUSD_d"
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def test_a_task_waits_for_the_slot_before_it_asks_a_remote_source(installation: Path) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client

    from storage.database.engine import open_database
    from storage.source.client import CddClient
    from tasks.policies import ingest_task

    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    file = write_csv(installation / "source", SERIES, random_walk(30, seed=2))
    with CddServer() as server, get_client(sync_client=True) as client:
        server.put(SERIES, file.read_bytes())

        @flow(name="only-ingest")
        def only_ingest(source: str) -> None:
            ingest_task(engine, series=SERIES, client=CddClient(source), now=NOW)

        client.upsert_global_concurrency_limit_by_name("cdd", 1)
        held = client._client.post(
            "/v2/concurrency_limits/increment", json={"names": ["cdd"], "slots": 1, "mode": "concurrency"}
        )
        assert held.status_code == 200
        only_ingest(str(installation / "source"))
        released: list[float] = []

        def release() -> None:
            time.sleep(2)
            released.append(time.monotonic())
            client._client.post(
                "/v2/concurrency_limits/decrement",
                json={"names": ["cdd"], "slots": 1, "occupancy_seconds": 2.0, "mode": "concurrency"},
            ).raise_for_status()

        releasing = threading.Thread(target=release)
        releasing.start()
        only_ingest(server.url)
        releasing.join()
        assert server.requests
        assert server.requests[0].at >= released[0]
        client.delete_global_concurrency_limit_by_name("cdd")
    engine.dispose()
