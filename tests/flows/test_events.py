"""Events arrive in Prefect's server, where automations can act upon them."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from markets import NOW, live_through, write_csv
from synthetic import random_walk

pytestmark = pytest.mark.usefixtures("prefect_server")


def arrived(event: str, series: str, *, count: int = 1, wait_s: float = 60) -> list[dict[str, Any]]:
    """Return the payloads of the events that the server has stored; they travel by websocket, so some patience."""
    from prefect.client.orchestration import get_client

    wanted = {"filter": {"event": {"name": [event]}, "resource": {"id": [f"candlecast.series.{series}"]}}}
    deadline = time.monotonic() + wait_s
    with get_client(sync_client=True) as client:
        while True:
            found = client._client.post("/events/filter", json=wanted).json()["events"]
            if len(found) >= count or time.monotonic() > deadline:
                return [one["payload"] for one in found]
            time.sleep(0.3)


def test_a_drifting_champion_is_an_event_that_says_how_sure_it_is(installation: Path) -> None:
    from prefect import flow

    from storage.database.engine import open_database
    from tasks.policies import watch_task

    series = "Bitstamp_XRPUSD_d"
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    live_through(engine, installation / "source", wild=True, series=series)

    @flow(name="only-watching")
    def only_watching() -> list[str]:
        return watch_task(engine, series=series, now=NOW)

    assert any("the champion has drifted" in trouble for trouble in only_watching())
    engine.dispose()
    (payload,) = arrived("candlecast.drift", series)
    assert payload["message"].startswith(f"{series}: the champion has drifted: ")
    assert 0 <= payload["p_value"] < 0.01


def test_a_new_forecast_and_stale_data_are_events(installation: Path) -> None:
    from flows.daily import daily

    # Its own: the server is shared with the other files of this folder.
    series = "Bitstamp_BCHUSD_d"
    candles = random_walk(620, seed=1)
    write_csv(installation / "source", series, candles)
    daily(series=[series], now=datetime(2030, 1, 1, tzinfo=UTC))
    assert len(arrived("candlecast.forecast", series, count=2)) == 2
    (stale,) = arrived("candlecast.stale", series)
    assert "no candle has closed since" in stale["message"]
