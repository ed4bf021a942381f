"""Events arrive in Prefect's server, where automations can act upon them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from events import arrived
from markets import NOW, store_live_days, write_csv
from sqlalchemy import Engine
from stores import Store
from synthetic import random_walk

from models.candles import Finding, Severity
from storage.database.engine import open_database, writing
from storage.findings import record_findings

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_drifting_champion_is_an_event_with_its_p_value(installation: Path) -> None:
    from prefect import flow

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


def test_a_day_has_one_note_also_when_a_new_champion_forecasts_on_it(installation: Path) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

    from tasks.policies import publish_task
    from tasks.show.events import LATE, emit_event
    from tasks.steps.elsewhere import InThisProcess

    series = "Bitstamp_UNIUSD_d"
    engine = open_database(f"sqlite:///{installation / 'candlecast.db'}")
    store = Store(engine)
    store.add_series(series)

    @flow(name="only-showing")
    def show() -> None:
        publish_task(InThisProcess(engine), series=series, reports=installation, with_note=True)

    def forecast(model: str, origin: datetime) -> None:
        version = store.add_version(model, series=series)
        store.promote(version, series=series)
        store.add_forecasts(version, [origin], model=model, series=series)
        show()

    store.add_candle(store.origin - timedelta(days=1), 100.0, series=series)
    forecast("naive", store.origin)
    forecast("range-ewma", store.origin)
    record_late(engine, series)
    show()
    show()
    forecast("naive", store.origin + timedelta(days=1))
    engine.dispose()
    # Events arrive in their order.
    emit_event(LATE, series=series, message="the last one")
    assert len(arrived(LATE, series)) == 1
    firsts = [payload["message"].split(" expects")[0] for payload in arrived("candlecast.note", series)]
    title = f"{series}, after the close of 2020-01-"
    # The second one of the first day says what came to need a person.
    assert sorted(firsts) == [f"{title}09\n  naive", f"{title}09\n  range-ewma", f"{title}10\n  naive"]
    notes = ArtifactFilter(key=ArtifactFilterKey(any_=["note-bitstamp-uniusd-d"]))
    with get_client(sync_client=True) as client:
        assert len(client.read_artifacts(artifact_filter=notes)) == 3


def record_late(engine: Engine, series: str) -> None:
    late = Finding("late", Severity.WARNING, "no candle", "wait")
    with writing(engine) as conn:
        record_findings(conn, series=series, codes={"late"}, seen=[late], now=Store.now)
