"""Paths of stored forecasts: the same again whatever is stored later, and what they say about a week and a basket."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from markets import NOW, forecast_now, ingest
from sqlalchemy import Engine
from stores import Store
from synthetic import random_walk

from models.errors import NotEnoughCandles
from models.forecasts import Kind
from models.times import RunClock
from storage.database.engine import reading
from storage.errors import NotFound
from storage.forecasts import load_forecast
from tasks.steps.chosen import ForecastChoice
from tasks.steps.gate import ensure_champion
from tasks.steps.paths import PathQuestion, _known_closes, drawn_paths, path_rows, path_summary

ONE, OTHER = "Bitstamp_BTCUSD_d", "Kraken_ETHUSD_d"
DAY = timedelta(days=1)


@pytest.fixture
def filled(engine: Engine, tmp_path: Path) -> Engine:
    """Two series with 400 candles and a live forecast of naive from the same origin."""
    for seed, name in enumerate((ONE, OTHER)):
        candles = random_walk(400, seed=seed)
        now = candles["close_time"].iloc[-1].to_pydatetime() + timedelta(hours=1)
        ingest(engine, tmp_path / "files", name, candles, now=now)
        naive = ensure_champion(engine, series=name, baseline="naive", now=now)
        forecast_now(engine, series=name, versions=[naive], clock=RunClock(now))
    return engine


def question(*names: str, **more) -> PathQuestion:
    return PathQuestion(tuple(ForecastChoice(name) for name in names), **more)


def test_later_candles_and_corrections_change_no_path(filled: Engine, tmp_path: Path) -> None:
    with reading(filled) as conn:
        before = path_rows(conn, question(ONE, seed=3, samples=200))
    later = random_walk(430, seed=0)
    later.loc[:380, ["open", "high", "low", "close"]] *= np.linspace(1.0, 1.009, 381)[:, None]
    ingest(filled, tmp_path / "files", ONE, later, now=NOW)
    with reading(filled) as conn:
        assert path_rows(conn, question(ONE, seed=3, samples=200)) == before
        assert path_rows(conn, question(ONE, seed=4, samples=200)) != before
    assert [before[0].sample, before[-1].sample, len(before)] == [1, 200, 1400]
    assert {(row.series, row.model, row.kind) for row in before} == {(ONE, "naive", "live")}
    assert before[6].target_time == before[0].origin + 6 * DAY


def test_closes_are_those_known_at_the_origin_and_stored_before_the_forecast(engine: Engine) -> None:
    """A backfill is stored long after its origin; what was corrected in between was not known at the origin."""
    store = Store(engine)
    day, origin, stored_at = store.origin - 3 * DAY, store.origin, store.origin + 30 * DAY
    store.add_candle(day, 1.0, fetched_at=day + DAY)
    store.add_candle(day, 2.0, fetched_at=origin)
    store.add_candle(day, 3.0, fetched_at=stored_at)
    store.add_candle(day + 2 * DAY, 4.0, fetched_at=origin + DAY)
    store.add_candle(day + 2 * DAY, 5.0, fetched_at=origin + 2 * DAY)
    store.add_candle(day + 3 * DAY, 6.0, fetched_at=origin + DAY)
    store.add_forecasts(store.add_version(), [origin], kind=Kind.BACKFILL, created_at=stored_at)
    with reading(engine) as conn:
        closes = _known_closes(conn, [load_forecast(conn, forecast=1)])
    np.testing.assert_array_equal(closes, [[2.0], [np.nan], [4.0]])


def test_a_forecast_without_candles_has_no_paths(engine: Engine) -> None:
    store = Store(engine)
    store.add_forecasts(store.add_version(), [store.origin])
    with reading(engine) as conn, pytest.raises(NotEnoughCandles, match="there are 0$"):
        drawn_paths(conn, PathQuestion((ForecastChoice(store.series, model="naive"),)))


def test_each_step_keeps_its_stored_distribution(filled: Engine) -> None:
    with reading(filled) as conn:
        (stored,), paths = drawn_paths(conn, question(ONE, samples=1000))
    medians = np.median(paths[:, 0], axis=0)
    np.testing.assert_allclose(medians, stored.forecast.values[:, 11], rtol=0.002)


def test_the_summary_is_that_of_the_paths(filled: Engine) -> None:
    with reading(filled) as conn:
        (stored,), paths = drawn_paths(conn, question(ONE))
        level = float(stored.forecast.values[6, 6])
        rows = path_summary(conn, question(ONE, below=level))
    closes = paths[:, 0]
    by_quantity = {row.quantity: row for row in rows}
    assert by_quantity["lowest close"].q10 == pytest.approx(np.quantile(closes.min(axis=1), 0.1))
    assert by_quantity["highest close"].q90 == pytest.approx(np.quantile(closes.max(axis=1), 0.9))
    assert by_quantity["last close"].q50 == pytest.approx(np.median(closes[:, -1]))
    reached = rows[-1]
    assert (reached.quantity, reached.level) == ("any close below", level)
    assert (reached.chance, reached.bound) == (pytest.approx((closes < level).any(axis=1).mean()), "exact")
    # On any day is likelier than on the last day, and less likely than on seven independent days.
    assert reached.chance is not None
    assert 0.25 < reached.chance < 0.6


def test_a_chance_under_one_percent_is_told_as_a_bound(filled: Engine) -> None:
    with reading(filled) as conn:
        assert path_summary(conn, question(ONE, above=1e9))[-1][9:11] == (0.01, "at most")
        assert path_summary(conn, question(ONE, above=1e-9))[-1][9:11] == (0.99, "at least")


def test_a_basket_is_the_weighted_sum_of_paths_that_belong_together(filled: Engine) -> None:
    with reading(filled) as conn:
        _, paths = drawn_paths(conn, question(ONE, OTHER))
        rows = path_summary(conn, question(ONE, OTHER, weights=(0.5, 20.0)))
    values = 0.5 * paths[:, 0] + 20 * paths[:, 1]
    assert rows[0].series == f"{ONE}+{OTHER}"
    assert rows[0].q05 == pytest.approx(np.quantile(values.min(axis=1), 0.05))


def test_what_cannot_be_answered_is_refused_with_a_reason(filled: Engine, tmp_path: Path) -> None:
    for wrong, reason in (
        ({"samples": 10}, "expected 100 to 10000 samples, got 10"),
        ({"weights": (1.0, 2.0)}, "expected a weight for each of 1 series, got 2"),
        ({"above": 1.0, "below": 2.0}, "expected one of above and below"),
    ):
        with pytest.raises(ValueError, match=reason):
            question(ONE, **wrong)
    with pytest.raises(ValueError, match=f"different series, got {ONE}, {ONE}"):
        question(ONE, ONE)
    with reading(filled) as conn, pytest.raises(NotFound, match="has no backfill forecast of naive"):
        drawn_paths(conn, PathQuestion((ForecastChoice(ONE, kind=Kind.BACKFILL),)))
    candles = random_walk(401, seed=0)
    now = candles["close_time"].iloc[-1].to_pydatetime() + timedelta(hours=1)
    ingest(filled, tmp_path / "files", ONE, candles, now=now)
    naive = ensure_champion(filled, series=ONE, baseline="naive", now=now)
    forecast_now(filled, series=ONE, versions=[naive], clock=RunClock(now))
    with (
        reading(filled) as conn,
        pytest.raises(ValueError, match="need forecasts of the same origin: .* has 2016-02-06"),
    ):
        drawn_paths(conn, question(ONE, OTHER))


def test_too_few_candles_for_paths_are_named(engine: Engine, tmp_path: Path) -> None:
    candles = random_walk(62, seed=1)
    now = candles["close_time"].iloc[-1].to_pydatetime() + timedelta(hours=1)
    ingest(engine, tmp_path / "files", ONE, candles, now=now)
    naive = ensure_champion(engine, series=ONE, baseline="naive", now=now)
    forecast_now(engine, series=ONE, versions=[naive], clock=RunClock(now))
    with reading(engine) as conn, pytest.raises(NotEnoughCandles, match="60 past windows of 7 candles .* there are 55"):
        drawn_paths(conn, question(ONE))
