"""One absurd candle neither owns the volatility nor the bands."""

import numpy as np
import pytest
from bad_prints import FIELDS, with_bad_print
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import random_walk

from models.features import CLIP, VOLUME_BOUND, make_features
from models.metrics import LEVELS
from models.naive import naive_quantiles
from models.range_ewma import range_ewma_quantiles
from models.volatility import (
    LASTING,
    LEAST_VARIANCE,
    SLOW,
    START,
    SURPRISE_CLIP,
    VARIANCE_CAP,
    bounded_variance,
    garman_klass,
)

# What docs/forecasting.md states. However absurd one candle is, it changes the width of tomorrow's 80 % band (the
# logarithm of its upper over its lower end) at most by this factor, on the day it closes and on every later one.
MOST_FACTOR = {"naive": 1.5, "range-ewma": 2.5}
# So many days later the width is within this share of what it would be without it, given three years of candles.
TRACE_DAYS, TRACE = 120, {"naive": 0.05, "range-ewma": 0.02}
QUANTILES = {"naive": naive_quantiles, "range-ewma": range_ewma_quantiles}
WALKS = [random_walk(1500, seed=seed) for seed in range(3)]


def _width(model, candles, rows, step=1):
    quantiles = QUANTILES[model](candles, np.array(rows), 7)[:, step - 1]
    return quantiles[:, np.searchsorted(LEVELS, 0.9)] - quantiles[:, np.searchsorted(LEVELS, 0.1)]


def _factor(model, candles, changed, rows):
    ratio = _width(model, changed, rows) / _width(model, candles, rows)
    return np.maximum(ratio, 1 / ratio)


def _slow_bounded(variance):
    """The definition, row by row."""
    bounded = []
    moved = variance > LEAST_VARIANCE
    for row, value in enumerate(variance):
        if row < START:
            bounded.append(min(value, VARIANCE_CAP * np.median(variance[:START][moved[:START]])))
            continue
        weights = [SLOW**age for age in range(moved[:row].sum(), 0, -1)]
        average = np.dot(weights, np.array(bounded)[moved[:row]]) / sum(weights)
        bounded.append(min(value, max(VARIANCE_CAP * average, min(variance[row - LASTING : row]))))
    return bounded


@pytest.mark.parametrize("n", [0, 1, START - 1, START, START + 1, 300])
def test_the_bounded_variance_equals_a_slow_loop(n):
    rng = np.random.default_rng(n)
    variance = np.exp(rng.standard_normal(n)) * np.where(rng.random(n) < 0.1, 1000, 1)
    variance[150:160] *= 500
    variance[3:9] = variance[200:230] = LEAST_VARIANCE
    np.testing.assert_allclose(bounded_variance(variance), _slow_bounded(variance))


def test_a_single_large_variance_is_cut_and_a_lasting_change_of_level_is_not():
    calm, wild = np.full(200, 1.0), np.full(200, 1e4)
    wick = np.concatenate([calm, [1e4, 1e4], calm])
    # Two in a row, as a wrong close leaves, raise the bound by the weight they have in the average.
    assert bounded_variance(wick).max() <= VARIANCE_CAP * (1 + 9 * (1 - SLOW))
    assert bounded_variance(np.concatenate([calm, wild]))[200 + LASTING :].tolist() == wild[LASTING:].tolist()
    # The level may fall at once.
    assert bounded_variance(np.concatenate([wild, calm]))[200:].tolist() == calm.tolist()


def test_a_market_that_did_not_move_at_first_is_not_bounded_by_that():
    flat, variance = np.full(40, LEAST_VARIANCE), np.exp(np.random.default_rng(0).standard_normal(40))
    assert bounded_variance(np.concatenate([flat, variance])).tolist() == [*flat, *bounded_variance(variance)]


def test_the_first_candle_does_not_own_the_first_averages():
    variance = np.concatenate([[1e6], np.full(60, 1.0)])
    assert bounded_variance(variance)[0] == VARIANCE_CAP


bad_prints = st.tuples(st.sampled_from(WALKS), st.sampled_from(FIELDS), st.sampled_from([1e-3, 0.03, 30.0, 1e3]))


@pytest.mark.parametrize("model", ["naive", "range-ewma"])
@pytest.mark.parametrize("history", [59, 250, 1000])
@given(bad_prints, st.integers(0, 6))
@settings(max_examples=25)
def test_one_absurd_candle_moves_tomorrows_band_by_a_stated_factor(model, history, bad_print, weekday):
    candles, field, factor = bad_print
    candles, row = candles.iloc[: history + 40].reset_index(drop=True), history + weekday
    changed = with_bad_print(candles, row, field, factor)
    assert _factor(model, candles, changed, [row, row + 1, row + 2, row + 7, row + 30]).max() < MOST_FACTOR[model]


@pytest.mark.parametrize("model", ["naive", "range-ewma"])
@given(bad_prints, st.integers(0, 6))
@settings(max_examples=25)
def test_the_trace_of_an_absurd_candle_is_gone_after_the_stated_days(model, bad_print, weekday):
    candles, field, factor = bad_print
    row = 1100 + weekday
    changed = with_bad_print(candles, row, field, factor)
    assert _factor(model, candles, changed, [row + TRACE_DAYS, row + 200, row + 300]).max() < 1 + TRACE[model]
    if model == "naive":
        assert _factor(model, candles, changed, [row + 366]).max() == 1


@given(bad_prints, st.integers(40, 900))
@settings(max_examples=25)
def test_an_absurd_candle_stays_within_the_bounds_of_every_input(bad_print, row):
    candles, field, factor = bad_print
    candles = candles.iloc[:1000].reset_index(drop=True)
    before, after = (
        make_features(candles, horizon=7),
        make_features(with_bad_print(candles, row, field, factor), horizon=7),
    )
    assert np.abs(after.features).max() <= CLIP
    assert np.nanmax(np.abs(after.targets)) <= SURPRISE_CLIP
    assert np.array_equal(np.isnan(after.targets), np.isnan(before.targets))
    # The scale of every target and forecast.
    ratio = after.sigma[START:] / before.sigma[START:]
    assert np.maximum(ratio, 1 / ratio).max() < MOST_FACTOR["range-ewma"]
    raw = garman_klass(with_bad_print(candles, row, field, factor))
    assert (bounded_variance(raw) <= raw).all()


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_an_absurd_volume_counts_as_the_bound(factor):
    candles = WALKS[0].iloc[:400].reset_index(drop=True)
    volume = candles["volume_base"]
    usual = volume.where(volume.index != 300).iloc[271:301].median()
    bound = usual * (VOLUME_BOUND if factor > 1 else 1 / VOLUME_BOUND)
    at_bound, absurd = (candles.copy() for _ in range(2))
    at_bound.loc[300, "volume_base"] = bound
    absurd.loc[300, "volume_base"] *= factor
    ours, theirs = (make_features(frame, horizon=7).features[300:] for frame in (absurd, at_bound))
    # The median of 30 shifts by half a rank with the candle itself.
    np.testing.assert_allclose(ours, theirs, atol=0.2)
