"""Every series at a glance: numbers of the stored rows, and a mark where a person is needed."""

import math
from datetime import timedelta

import pytest
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine
from stores import Store

from models.candles import Finding, Severity
from models.forecasts import Kind
from storage.database.engine import reading, writing
from storage.downloads import insert_download
from storage.findings import record_findings
from storage.query import ForecastFilter
from storage.scores import SkillRow, read_skill
from tasks.steps.glance import GlanceRow, glance
from tasks.steps.score import score_matured

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(engine: Engine) -> Store:
    """Forty backfilled days and one live one of naive and of lstm, which serves and whose newest band is wider."""
    store = Store(engine)
    days = [store.origin - n * DAY for n in range(1, 41)]
    for day in [*days, store.origin]:
        store.add_candle(day - DAY, 100.0 + day.day % 5, fetched_at=day + HOUR)
    for model, centre in (("naive", 100.0), ("lstm", 200.0)):
        version = store.add_version(model)
        store.add_forecasts(version, days, model=model, centre=centre, kind=Kind.BACKFILL)
        store.add_forecasts(version, [store.origin], model=model, centre=50.0)
        if model == "lstm":
            store.promote(version)
    score_matured(engine, series=store.series, now=store.origin + HOUR)
    return store


def row_of(store: Store, *, after: timedelta = HOUR) -> GlanceRow:
    with reading(store.engine) as conn:
        (row,) = glance(conn, now=store.origin + after)
    return row


def test_the_row_has_the_champions_newest_band_and_its_width_against_the_year(store: Store) -> None:
    row = row_of(store)
    assert (row.champion, row.quote, row.close, row.last_close) == (
        "lstm",
        "USD",
        100.0 + store.origin.day % 5,
        store.origin,
    )
    assert (row.q10, row.q50, row.q90) == pytest.approx((51.0, 55.0, 59.0))
    assert row.before_close is True
    assert row.width == pytest.approx(math.log(59 / 51))
    assert row.width_ratio == pytest.approx(math.log(59 / 51) / math.log(209 / 201))


def test_skill_is_that_of_step_one_live_before_backfilled(store: Store) -> None:
    row = row_of(store)
    with reading(store.engine) as conn:
        expected: list[SkillRow] = read_skill(conn, ForecastFilter(store.series, model="lstm"), step=1)
    assert (row.skill, row.skill_kind, row.skill_n) == (expected[0].skill, "backfill", expected[0].n)
    store.add_candle(store.origin, 55.0, fetched_at=store.origin + DAY + HOUR)
    score_matured(store.engine, series=store.series, now=store.origin + 2 * DAY)
    assert row_of(store, after=DAY + HOUR)[15:18] == (0.0, "live", 1)


def test_a_mark_says_what_needs_a_person(store: Store) -> None:
    assert row_of(store).attention is None
    gap = Finding("gap", Severity.WARNING, "a day is missing", "none")
    drift = Finding("drift", Severity.ERROR, "the bands are too narrow", "train")
    late = Finding("late", Severity.WARNING, "no candle", "wait")
    with writing(store.engine) as conn:
        record_findings(conn, series=store.series, codes={"gap"}, seen=[gap], now=store.now)
    assert (row_of(store).findings, row_of(store).attention) == (1, None)
    with writing(store.engine) as conn:
        record_findings(conn, series=store.series, codes={"drift", "late"}, seen=[drift, late], now=store.now)
    assert row_of(store).attention == "drift, and 1 more"
    with writing(store.engine) as conn:
        insert_download(conn, series=store.series, url="u", fetched_at=store.now, outcome="held")
    assert row_of(store).attention == "a file is held"
    assert row_of(store, after=9 * DAY).stale is True


def test_a_series_without_a_forecast_has_a_row(store: Store) -> None:
    store.add_series("Kraken_ETHUSD_d")
    with reading(store.engine) as conn:
        rows = glance(conn, now=store.origin)
    assert [row.series for row in rows] == ["Bitstamp_BTCUSD_d", "Kraken_ETHUSD_d"]
    assert rows[1][3:18] == (None, None, True, *[None] * 12)
    assert rows[1].attention == "stale"
