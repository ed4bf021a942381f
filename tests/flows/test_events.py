"""Events arrive in Prefect's server, where automations can act upon them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from events import arrived
from markets import NOW, store_live_days, write_csv
from synthetic import random_walk

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_drifting_champion_is_an_event_with_its_p_value(installation: Path) -> None:
    from prefect import flow

    from storage.database.engine import open_database
    from tasks.policies import watch_task
    from tasks.steps.elsewhere import InThisProcess

    series = "Bitstamp_XRPUSD_d"
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    store_live_days(engine, installation / "source", wild=True, series=series)

    @flow(name="only-watching")
    def only_watching() -> list[str]:
        return watch_task(InThisProcess(engine), series=series, now=NOW)

    assert any("the champion has drifted" in trouble for trouble in only_watching())
    engine.dispose()
    (payload,) = arrived("candlecast.drift", series)
    assert payload["message"].startswith(f"{series}: the champion has drifted: ")
    assert 0 <= payload["p_value"] < 0.01


def test_a_new_forecast_and_stale_data_are_events(installation: Path) -> None:
    from flows.daily import daily

    # A series of this test only, because the other files of this folder use the same server.
    series = "Bitstamp_LINKUSD_d"
    candles = random_walk(620, seed=1)
    write_csv(installation / "source", series, candles)
    daily(series=[series], now=datetime(2030, 1, 1, tzinfo=UTC))
    assert len(arrived("candlecast.forecast", series, count=2)) == 2
    (stale,) = arrived("candlecast.stale", series)
    assert "no candle is stored after the close of" in stale["message"]
