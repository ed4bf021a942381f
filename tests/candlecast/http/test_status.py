"""What the API and the metrics tell about each series, with many series as with one."""

from datetime import timedelta

import pytest
from engines import (
    collected_statements,
    engine_of_each_kind,  # noqa: F401 - the fixture `engine`
)
from sqlalchemy import Engine, update
from stores import Store

from candlecast.http.metrics import metrics
from candlecast.http.status import SeriesStatus, series_status
from models.candles import Finding, Severity
from models.forecasts import Kind
from storage.database.engine import reading, writing
from storage.findings import record_findings
from storage.tables import series as stored_series

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NEWS, CHANGED, BARE = "Kraken_ETHEUR_d", "Kraken_XRPEUR_d", "Kraken_LTCEUR_d"


@pytest.fixture
def store(engine: Engine) -> Store:
    """Four series: one was loaded at once, one came day by day, one changed its model, and one has nothing."""
    store = Store(engine)
    for name in (NEWS, CHANGED, BARE):
        store.add_series(name)
    for number in range(12, 0, -1):
        close = store.origin - (number - 1) * DAY
        store.add_candle(close - DAY, 100.0, fetched_at=store.now)
        store.add_candle(close - DAY, 100.0, series=NEWS, fetched_at=close + 2 * HOUR, file_time=close + HOUR)
    store.add_candle(store.origin - 9 * DAY, 100.0, series=CHANGED, fetched_at=store.now)
    for name, models, champion, origin in (
        (store.series, ("naive", "range-ewma", "blend"), "naive", store.origin),
        (NEWS, ("naive", "lstm"), "lstm", store.origin),
        (CHANGED, ("naive", "blend", "lstm"), "blend", store.origin - 2 * DAY),
    ):
        for model in models:
            version = store.add_version(model, series=name)
            store.add_forecasts(version, [origin - DAY, origin], model=model, series=name)
            if model == champion:
                store.promote(version, series=name)
    # A backfill is no sign of the model that was asked for.
    store.add_forecasts(store.add_version("lstm"), [store.origin], model="lstm", kind=Kind.BACKFILL)
    late = Finding("late", Severity.WARNING, "no candle", "wait")
    with writing(engine) as conn:
        record_findings(conn, series=CHANGED, codes={"late"}, seen=[late], now=store.now)
    return store


def rows_of(store: Store) -> dict[str, SeriesStatus]:
    with reading(store.engine) as conn:
        return {row.name: row for row in series_status(conn, now=store.origin + 3 * HOUR)}


def samples_of(store: Store) -> list[tuple[str, dict[str, str], float]]:
    with reading(store.engine) as conn:
        families = list(metrics(conn, now=store.origin + 3 * HOUR))
    return [(sample.name, dict(sample.labels), sample.value) for family in families for sample in family.samples]


def test_each_series_has_its_own_champion_publication_and_asked_for_model(store: Store) -> None:
    rows = rows_of(store)
    assert {name: (row.champion, row.asked_for) for name, row in rows.items()} == {
        store.series: ("naive", "blend"),
        NEWS: ("lstm", "lstm"),
        CHANGED: ("blend", "lstm"),
        BARE: (None, None),
    }
    assert {name: row.usual_median_s for name, row in rows.items()} == {
        store.series: None,
        NEWS: 3600.0,
        CHANGED: None,
        BARE: None,
    }
    assert (rows[NEWS].published_at, rows[NEWS].seen_at) == (store.origin + HOUR, store.origin + 2 * HOUR)
    assert (rows[store.series].published_at, rows[store.series].seen_at) == (None, store.now)
    assert {name for name, row in rows.items() if row.stale} == {CHANGED, BARE}


def test_all_series_together_get_the_rows_that_each_gets_on_a_page_alone(store: Store) -> None:
    alone = []
    with reading(store.engine) as conn:
        while page := series_status(
            conn, now=store.origin + 3 * HOUR, after=alone[-1].name if alone else None, limit=1
        ):
            alone += page
    assert alone == list(rows_of(store).values())


def test_the_metrics_have_the_samples_of_each_series(store: Store) -> None:
    samples = samples_of(store)

    def of(name: str) -> list[tuple[dict[str, str], float]]:
        return [(labels, value) for sample, labels, value in samples if sample == f"candlecast_{name}"]

    assert of("publication_seconds") == [
        ({"series": store.series}, (store.now - store.origin).total_seconds()),
        ({"series": NEWS}, 3600.0),
        ({"series": CHANGED}, (store.now - store.origin + 8 * DAY).total_seconds()),
    ]
    usual = [({"series": NEWS, "time": time}, 3600.0) for time in ("earliest", "median", "latest")]
    assert of("usual_publication_seconds") == usual
    ahead = (DAY - 20 * MINUTE).total_seconds()
    assert of("forecast_before_close_seconds") == [
        ({"series": store.series, "model": "naive"}, ahead),
        ({"series": NEWS, "model": "lstm"}, ahead),
        ({"series": CHANGED, "model": "blend"}, ahead),
    ]
    assert of("open_findings") == [({"series": CHANGED, "code": "late", "severity": "warning"}, 1.0)]


def test_more_series_are_not_more_questions(store: Store) -> None:
    def questions() -> tuple[int, int]:
        with collected_statements(store.engine) as of_rows:
            rows_of(store)
        with collected_statements(store.engine) as of_metrics:
            samples_of(store)
        return len(of_rows), len(of_metrics)

    before = questions()
    for name in ("Kraken_ADAEUR_d", "Kraken_DOTEUR_d"):
        store.add_series(name)
        store.add_candle(store.origin - DAY, 100.0, series=name)
        version = store.add_version("naive", series=name)
        store.add_forecasts(version, [store.origin], series=name)
        store.promote(version, series=name)
    assert questions() == before


def test_a_series_named_by_hand_costs_the_others_nothing(store: Store) -> None:
    others = {name: row for name, row in rows_of(store).items() if name != BARE}
    samples = [sample for sample in samples_of(store) if sample[1]["series"] != BARE]
    with store.engine.begin() as conn:
        conn.execute(update(stored_series).where(stored_series.c.name == BARE).values(name="by hand"))
    store.add_candle(store.origin - DAY, 100.0, series="by hand")
    rows = rows_of(store)
    assert (rows.pop("by hand").candles, rows) == (1, others)
    assert [sample for sample in samples_of(store) if sample[1]["series"] != "by hand"] == samples
