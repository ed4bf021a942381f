"""Replay computes a stored forecast again bit for bit, ignores later data and finds changed rows."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from markets import NOW, backfill_alone, forecast_now, ingest, ingest_walk
from sqlalchemy import Engine, text
from synthetic import MARKET, close_times, random_walk

from models.catalog import scope
from models.code_version import code_version
from models.errors import BadWeights, NotEnoughCandles
from models.interface import TrainRequest
from models.naive import Naive
from models.times import RunClock
from storage import registry
from storage.database.copying import copy_database
from storage.database.engine import open_for_reading
from storage.errors import NotFound
from tasks.steps.backfill import BackfillJob
from tasks.steps.replay import replay
from tasks.steps.train import baseline_version, trained_models

SERIES = "Bitstamp_BTCUSD_d"


def numbers(engine: Engine) -> list[int]:
    with engine.connect() as conn:
        return list(conn.execute(text("SELECT id FROM forecasts ORDER BY id")).scalars())


def make_forecasts(engine: Engine, folder: Path) -> None:
    candles = ingest_walk(engine, folder, n=700)
    closes = close_times(candles)
    for model in ("naive", "range-ewma", "lstm"):
        backfill_alone(engine, BackfillJob(SERIES, (model,), closes[670], closes[690], NOW))
    versions = trained_models(
        engine, scope=scope("lstm", SERIES), model="lstm", cutoffs=[closes[-1]], purpose="live", seed=0, now=NOW
    )
    for version in (baseline_version(engine, series=SERIES, model="naive", now=NOW), versions[closes[-1]][0]):
        forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(NOW))
    changed = candles.copy()
    changed.loc[600, "close"] *= 1.01
    changed.loc[600, "high"] *= 1.05
    assert ingest(engine, folder, SERIES, changed, now=NOW + timedelta(days=1)).rows_revised == 1


def test_random_forecasts_replay_bit_for_bit_after_later_revisions_and_from_a_copy(
    engine: Engine, tmp_path: Path, postgresql_url: str
) -> None:
    make_forecasts(engine, tmp_path / "source")
    every = numbers(engine)
    assert len(every) == 65
    for number in [*np.random.default_rng(0).choice(every[:-2], 6, replace=False).tolist(), *every[-2:]]:
        result = replay(engine, forecast=int(number))
        assert result.exact, (number, result)
        assert result.matches
        assert result.differences == ()
    # To PostgreSQL and back: naive's, range-ewma's and the networks' backfilled forecasts, and two live ones.
    back = f"sqlite:///{tmp_path / 'back.db'}"
    for source, target in ((str(engine.url), postgresql_url), (postgresql_url, back)):
        copy_database(source, to=target)
        copy = open_for_reading(target)
        results = [replay(copy, forecast=every[place]) for place in (0, 30, 62, -2, -1)]
        copy.dispose()
        assert [one for one in results if not one.exact or one.differences] == []


def test_a_replay_keeps_a_gap_that_was_filled_later(engine: Engine, tmp_path: Path) -> None:
    candles = random_walk(700, seed=1)
    ingest(engine, tmp_path, SERIES, candles.drop(index=[640, 695]).reset_index(drop=True))
    closes = close_times(candles)
    backfill_alone(engine, BackfillJob(SERIES, ("range-ewma",), closes[680], closes[689], NOW))
    version = baseline_version(engine, series=SERIES, model="range-ewma", now=NOW)
    # This machine's clock is one hour behind that of the machine that stored the candles.
    slow_clock = RunClock(NOW - timedelta(hours=1))
    assert forecast_now(engine, series=SERIES, versions=[version], clock=slow_clock) == [version]
    assert ingest(engine, tmp_path, SERIES, candles, now=NOW + timedelta(days=1)).rows_new == 2
    results = [replay(engine, forecast=number) for number in numbers(engine)]
    assert len(results) == 11
    assert [one for one in results if not one.exact or not one.matches] == []


def test_a_replay_ignores_candles_stored_while_the_forecast_was_computed(engine: Engine, tmp_path: Path) -> None:
    """Two revisions are stored after the forecast with times before its time; the replay must not use them."""
    candles = random_walk(400, seed=1)
    ingest(engine, tmp_path, SERIES, candles)
    version = baseline_version(engine, series=SERIES, model="range-ewma", now=NOW)
    written = NOW + timedelta(hours=2)
    forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(written))
    for minute in (30, 60):
        candles.loc[390, ["high", "close"]] *= 1.01
        assert ingest(engine, tmp_path, SERIES, candles, now=NOW + timedelta(minutes=minute)).rows_revised == 1
    replayed = replay(engine, forecast=1)
    assert replayed.exact
    assert replayed.matches


def test_a_forecast_whose_candles_were_changed_does_not_replay(engine: Engine, tmp_path: Path) -> None:
    make_forecasts(engine, tmp_path / "source")
    first = numbers(engine)[0]
    nth = text("SELECT open_time FROM candles ORDER BY open_time LIMIT 1 OFFSET 660")
    # candlecast itself has no way to do this.
    change = text("UPDATE candles SET close = close * 1.0000001 WHERE open_time = :day")
    with engine.begin() as conn:
        conn.execute(change, {"day": conn.execute(nth).scalar()})
    result = replay(engine, forecast=first)
    assert not result.matches
    assert "candles are not those" in result.differences[0]


def test_a_replay_of_a_forecast_by_other_code_names_that_code(engine: Engine, tmp_path: Path) -> None:
    candles = ingest_walk(engine, tmp_path, n=400)
    (trained,) = Naive().train([TrainRequest({MARKET: candles}, NOW)])
    with engine.begin() as conn:
        version = registry.register(
            conn, scope=scope("naive", SERIES), model="naive", config=trained.config, seed=0, cutoff=None,
            data_fingerprint=trained.data_fingerprint, device="cpu", seconds=0.0, purpose="live",
            code_version="0.0.1+abc", created_at=NOW, weights=None,
        )  # fmt: skip
    forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(NOW))
    result = replay(engine, forecast=1)
    assert result.matches
    assert result.exact
    assert result.differences == (f"it was made by 0.0.1+abc, this is {code_version('naive')}",)


def test_a_forecast_that_lacks_a_quantile_does_not_replay(engine: Engine, tmp_path: Path) -> None:
    ingest_walk(engine, tmp_path, n=400)
    version = baseline_version(engine, series=SERIES, model="naive", now=NOW)
    forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(NOW))
    with engine.begin() as conn:
        # candlecast itself has no way to do this, and its triggers would refuse it.
        conn.execute(text("DROP TRIGGER forecast_values_no_delete"))
        conn.execute(text("DELETE FROM forecast_values WHERE step = 7 AND quantile > 0.98"))
    result = replay(engine, forecast=1)
    assert (result.matches, result.largest_difference) == (False, math.inf)


def test_a_series_without_a_closed_candle_has_no_origin(engine: Engine, tmp_path: Path) -> None:
    ingest(engine, tmp_path, SERIES, random_walk(1).iloc[:1])
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM candles WHERE NOT provisional"))
    with pytest.raises(NotEnoughCandles, match=f"{SERIES} has no closed candle yet to forecast from"):
        forecast_now(engine, series=SERIES, versions=[1], clock=RunClock(NOW))


def test_damaged_weights_are_refused(engine: Engine, tmp_path: Path) -> None:
    make_forecasts(engine, tmp_path / "source")
    with engine.begin() as conn:
        number, version = conn.execute(
            text("SELECT id, model_version FROM forecasts WHERE model = 'lstm' ORDER BY id LIMIT 1")
        ).one()
        stored = conn.execute(text("SELECT weights FROM model_versions WHERE id = :v"), {"v": version}).scalar_one()
        weights = bytearray(stored)
        weights[len(weights) // 2] ^= 1
        conn.execute(text("UPDATE model_versions SET weights = :w WHERE id = :v"), {"w": bytes(weights), "v": version})
    with pytest.raises(BadWeights, match="damaged or replaced"):
        replay(engine, forecast=number)


def test_a_replay_of_a_missing_forecast_names_it(engine: Engine) -> None:
    with pytest.raises(NotFound, match="no forecast 7"):
        replay(engine, forecast=7)


def test_a_live_forecast_is_replayed_from_the_candles_known_when_it_was_made(engine: Engine, tmp_path: Path) -> None:
    """One candle is revised between origin and forecast, which counts, and once more after it, which does not."""
    candles = random_walk(400, seed=1)
    for days_before in (2, 1):
        ingest(engine, tmp_path, SERIES, candles, now=NOW - timedelta(days=days_before))
        candles.loc[390, ["high", "close"]] *= 1.01
    version = baseline_version(engine, series=SERIES, model="range-ewma", now=NOW)
    forecast_now(engine, series=SERIES, versions=[version], clock=RunClock(NOW))
    assert ingest(engine, tmp_path, SERIES, candles, now=NOW + timedelta(days=1)).rows_revised == 1
    with engine.connect() as conn:
        kind, created = conn.execute(text("SELECT kind, created_at FROM forecasts")).one()
    assert kind == "live"
    assert datetime.fromisoformat(str(created)).date() == NOW.date()
    replayed = replay(engine, forecast=1)
    assert replayed.exact
    assert replayed.matches
