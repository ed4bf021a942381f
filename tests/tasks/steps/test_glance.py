"""Every series at a glance: numbers of the stored rows, and a mark where a person is needed."""

import math
from datetime import timedelta
from statistics import median

import pytest
from engines import (
    collected_statements,
    engine_of_each_kind,  # noqa: F401 - the fixture `engine`
)
from sqlalchemy import Connection, Engine
from stores import Store

from models.candles import Finding, SeriesName, Severity
from models.forecasts import Kind
from models.freshness import is_stale
from storage.arrivals import read_usual_time
from storage.candles import latest_close_time, read_candle_rows
from storage.database.engine import reading, writing
from storage.decisions import champion
from storage.downloads import insert_download
from storage.findings import read_findings, record_findings
from storage.forecasts import read_bands
from storage.query import ForecastFilter
from storage.scores import SkillRow, read_skill
from tasks.steps.glance import LEAST_WIDTHS, GlanceRow, attention, glance
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


def add_others(store: Store) -> None:
    """Add a market that is a day behind and served by naive, which has live scores, and one that only has forecasts."""
    behind, bare = "Kraken_ETHEUR_d", "Kraken_XRPEUR_1h"
    for name in (behind, bare):
        store.add_series(name)
        version = store.add_version("naive", series=name)
        store.promote(version, series=name)
        store.add_forecasts(version, [store.origin - n * DAY for n in range(1, 4)], series=name, centre=300.0)
    for n in range(9):
        day = store.origin - n * DAY
        # The newest was closed in one file and revised in the next; the one after it is not closed yet.
        store.add_candle(day - 2 * DAY, 300.0 + n, series=behind, fetched_at=day - DAY + (n + 1) * HOUR)
    store.add_candle(store.origin - 2 * DAY, 299.0, series=behind, fetched_at=store.origin)
    store.add_candle(store.origin - DAY, 298.0, series=behind, fetched_at=store.origin, provisional=True)
    score_matured(store.engine, series=behind, now=store.origin)
    late = Finding("late", Severity.WARNING, "no candle", "wait")
    with writing(store.engine) as conn:
        record_findings(conn, series=behind, codes={"late"}, seen=[late], now=store.now)
        insert_download(conn, series=bare, url="u", fetched_at=store.now, outcome="held")


def asked_alone(conn: Connection, name: str, store: Store) -> GlanceRow:
    """The row of one series by the functions that read one series."""
    parsed = SeriesName.parse(name)
    closed = latest_close_time(conn, series=name)
    candles = read_candle_rows(conn, series=name)
    serving = champion(conn, series=name)
    assert serving is not None
    first = read_bands(conn, ForecastFilter(name, latest=True))[0]
    earlier = read_bands(conn, ForecastFilter(name, end=first.origin - parsed.interval.length, model=serving.model))
    widths = [math.log(row.q90 / row.q10) for row in earlier if row.step == 1]
    width = math.log(first.q90 / first.q10)
    # Live before backfill.
    skills = sorted(read_skill(conn, ForecastFilter(name, model=serving.model), step=1), key=lambda row: row.kind)
    skill = skills[-1] if skills else None
    return GlanceRow(
        series=name,
        interval=parsed.interval.value,
        quote=parsed.quote,
        last_close=closed,
        close=candles[-1].close if candles else None,
        stale=is_stale(closed, parsed.interval, store.now, read_usual_time(conn, series=name)),
        champion=serving.model,
        origin=first.origin,
        created_at=first.created_at,
        before_close=first.before_close,
        q10=first.q10,
        q50=first.q50,
        q90=first.q90,
        width=width,
        width_ratio=width / median(widths) if len(widths) >= LEAST_WIDTHS else None,
        skill=skill.skill if skill else None,
        skill_kind=skill.kind if skill else None,
        skill_n=skill.n if skill else None,
        findings=len(read_findings(conn, series=name)),
        attention=attention(conn, series=name, now=store.now),
    )


def test_all_series_together_get_the_rows_that_each_gets_alone(store: Store) -> None:
    add_others(store)
    with reading(store.engine) as conn:
        rows = glance(conn, now=store.now)
        assert rows == [asked_alone(conn, row.series, store) for row in rows]
    lstm, behind, bare = rows
    assert (lstm.champion, lstm.skill_kind, lstm.width_ratio is None) == ("lstm", "backfill", False)
    assert (behind.champion, behind.skill_kind, behind.attention) == ("naive", "live", "late")
    assert (behind.last_close, behind.close) == (store.origin - DAY, 299.0)
    assert (bare.close, bare.skill, bare.q50, bare.attention) == (None, None, 305.0, "a file is held")


def test_more_series_of_the_same_state_are_not_more_questions(store: Store) -> None:
    def questions() -> int:
        with collected_statements(store.engine) as statements, reading(store.engine) as conn:
            glance(conn, now=store.now)
        return len(statements)

    alone = questions()
    for name in ("Kraken_ETHEUR_d", "Kraken_XRPEUR_d"):
        store.add_series(name)
        store.add_candle(store.origin - DAY, 100.0, series=name)
        for model in ("naive", "lstm"):
            version = store.add_version(model, series=name)
            store.add_forecasts(version, [store.origin], model=model, series=name)
        store.promote(version, series=name)
    assert questions() == alone
