"""Features and volatility: exact small cases, and no look-ahead."""

from datetime import timedelta

import numpy as np
import pytest
from synthetic import MARKET, close_times, random_walk

from models import prior
from models.features import CLIP, FEATURE_NAMES, make_features
from models.frames import closed_by
from models.interface import TrainRequest
from models.metrics import LEVELS
from models.quantiles import expanding_quantiles
from models.range_ewma import PRIOR_SURPRISES, PRIOR_WIDTHS, WARM_UP, RangeEwma, range_ewma_quantiles
from models.volatility import SEASON_PRIOR, START, _factors, ahead, ewma, forecast_volatility, garman_klass, log_returns


@pytest.fixture(scope="module")
def candles():
    return random_walk(500, seed=2, drop=slice(300, 312))


def test_there_is_a_name_for_every_feature_and_all_are_finite_and_bounded(candles):
    features = make_features(candles, horizon=7)
    assert features.features.shape == (len(candles), len(FEATURE_NAMES)) == (488, 21)
    assert np.isfinite(features.features).all()
    assert np.abs(features.features).max() <= CLIP
    assert (features.features[:, -7:].sum(axis=1) == 1).all()
    assert (features.sigma[START - 1 :] > 0).all()
    assert np.isnan(features.sigma[: START - 1]).all()


def test_the_weekday_is_that_of_the_next_candle(candles):
    weekdays = make_features(candles, horizon=1).features[:, -7:].argmax(axis=1)
    assert (weekdays == candles["close_time"].dt.day_of_week.to_numpy()).all()


@pytest.mark.parametrize("row", [5, START - 1, START, 60, 250, 311, 400])
def test_later_candles_change_no_feature_of_a_row(candles, row):
    changed = candles.copy()
    for column in ("open", "high", "low", "close", "volume_base", "volume_quote"):
        changed.loc[row + 1 :, column] *= 3.0
    before, after = make_features(candles, horizon=7), make_features(changed, horizon=7)
    cut = make_features(candles.iloc[: row + 1].reset_index(drop=True), horizon=7)
    for other in (after, cut):
        assert np.array_equal(other.features[: row + 1], before.features[: row + 1])
        assert np.array_equal(other.sigma[: row + 1], before.sigma[: row + 1], equal_nan=True)
    # Targets are returns to later rows, so they must change where those rows have changed.
    if row > START + 3:
        assert not np.array_equal(after.targets[row - 3], before.targets[row - 3])
    assert np.array_equal(before.targets[: max(row - 7, 0)], after.targets[: max(row - 7, 0)], equal_nan=True)


def test_targets_are_future_returns_divided_by_sigma(candles):
    features = make_features(candles, horizon=3)
    close = np.log(candles["close"].to_numpy())
    row = 200
    for step in (1, 2, 3):
        expected = (close[row + step] - close[row]) / features.sigma[row, step - 1]
        assert features.targets[row, step - 1] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(features.targets[-1]).all()
    assert np.isnan(features.targets[-2]).tolist() == [False, True, True]


def test_no_return_spans_a_gap(candles):
    gap = int(np.flatnonzero(np.diff(candles["open_time"].astype("int64").to_numpy()) > 86_400_000_000)[0])
    returns = log_returns(candles)
    assert np.isnan(returns[[0, gap + 1]]).all()
    assert np.isfinite(np.delete(returns, [0, gap + 1])).all()
    coming = ahead(candles, 2)
    assert np.isnan(coming[gap]).all()
    assert np.isnan(coming[gap - 1]).tolist() == [False, True]


def test_a_series_without_volume_has_finite_features(candles):
    without_volume = candles.assign(volume_base=np.nan, volume_quote=np.nan)
    assert np.isfinite(make_features(without_volume, horizon=7).features).all()


def test_garman_klass_by_hand():
    candles = random_walk(3, seed=1)
    candles.loc[1, ["open", "high", "low", "close"]] = [100.0, 110.0, 95.0, 105.0]
    candles.loc[0, "close"] = 120.0
    candles.loc[2, ["open", "high", "low", "close"]] = [105.0, 105.0, 105.0, 105.0]
    variance = garman_klass(candles)
    by_hand = np.log(120 / 95) ** 2 / 2 - (2 * np.log(2) - 1) * np.log(105 / 120) ** 2
    assert variance[1] == pytest.approx(by_hand)
    assert 0 < variance[2] < 1e-9


def test_ewma_equals_a_slow_loop():
    values = np.random.default_rng(0).random(40)
    slow = [sum(0.9**k * values[t - k] for k in range(t + 1)) / sum(0.9**k for k in range(t + 1)) for t in range(40)]
    np.testing.assert_allclose(ewma(values, 0.9), slow)


def test_season_factors_have_mean_one_and_are_handed_over_from_many_markets_to_the_series():
    ratio = 1.0 + 0.1 * np.arange(7)
    own, borrowed = ratio / ratio.mean(), prior.season(7)
    for weeks in (1, 60, 6000):
        factors = _factors(np.tile(ratio, weeks), np.tile(np.arange(7), weeks), 7)
        share = 7 * weeks / (7 * weeks + SEASON_PRIOR)
        np.testing.assert_allclose(factors, share * own + (1 - share) * borrowed)
        assert factors.mean() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(factors, own, rtol=0.01)


def test_the_borrowed_season_and_surprises_are_distributions():
    for slots in (7, 24):
        assert prior.season(slots).shape == (slots,)
        assert prior.season(slots).mean() == pytest.approx(1, abs=1e-3)
    for step in range(1, 9):
        assert prior.surprises(step).shape == LEVELS.shape
        assert (np.diff(prior.surprises(step)) > 0).all()
    assert prior.surprises(8).tolist() == prior.surprises(7).tolist()


def test_volatility_follows_the_market_up_and_a_weekly_season():
    calm, wild = random_walk(300, seed=1, sigma=0.01), random_walk(300, seed=1, sigma=0.05)
    ratio = forecast_volatility(wild, horizon=7).sigma[-1] / forecast_volatility(calm, horizon=7).sigma[-1]
    np.testing.assert_allclose(ratio, 5, rtol=0.2)
    assert (np.diff(forecast_volatility(calm, horizon=7).sigma[-1]) > 0).all()


def test_range_ewma_has_the_nominal_coverage_on_a_random_walk():
    candles = random_walk(1500, seed=5)
    origins = close_times(candles)[600:-7]
    model = RangeEwma()
    trained = model.train([TrainRequest({MARKET: candles}, origins[0])])[0]
    values = np.array([forecast.values for forecast in model.forecast(trained, candles, origins)])
    assert (np.diff(values, axis=-1) >= 0).all()
    for step in (1, 7):
        actual = candles["close"].to_numpy()[600 + step : len(candles) - 7 + step]
        inside = (values[:, step - 1, 3] <= actual) & (actual <= values[:, step - 1, -4])
        assert inside.mean() == pytest.approx(0.8, abs=0.06)


def test_range_ewma_sees_nothing_after_the_origin(candles):
    model = RangeEwma()
    origin = candles["close_time"].iloc[350].to_pydatetime()
    trained = model.train([TrainRequest({MARKET: candles}, origin)])[0]
    (expected,) = model.forecast(trained, candles, [origin])
    assert model.forecast(trained, closed_by(candles, origin), [origin]) == [expected]


def test_expanding_quantiles_equal_numpys_for_any_order_of_counts():
    rng = np.random.default_rng(0)
    values, counts = rng.standard_normal(80), np.append(rng.permutation(80), [80, 3, 3])
    quantiles = expanding_quantiles(values, counts)
    for count, row in zip(counts, quantiles, strict=True):
        expected = np.quantile(values[:count], LEVELS) if count else np.full(len(LEVELS), np.nan)
        np.testing.assert_allclose(row, expected, rtol=1e-14, atol=1e-15)


def test_range_ewma_hands_over_from_borrowed_surprises_to_those_of_the_series():
    """From 60 candles on it forecasts; a slow loop gives the same mixture of borrowed and own quantiles."""
    candles = random_walk(500, seed=3, drop=slice(300, 303))
    rows = np.array([WARM_UP - 1, WARM_UP, 150, 302, 496])
    sigma = forecast_volatility(candles, horizon=7).sigma
    quantiles = range_ewma_quantiles(candles, rows, 7)
    surprises = ahead(candles, 7) / sigma
    for i, row in enumerate(rows):
        for step in (1, 4, 7):
            known = [surprises[t, step - 1] for t in range(WARM_UP, row - step + 1)]
            own = np.array([surprise for surprise in known if np.isfinite(surprise)])
            n, expected = len(own), prior.surprises(step)
            if n:
                low, high = np.searchsorted(LEVELS, (0.25, 0.75))
                width = 1.0
                if n > 1:
                    width = (np.quantile(own, 0.75) - np.quantile(own, 0.25)) / (expected[high] - expected[low])
                expected = expected * width ** (n / (n + PRIOR_WIDTHS))
                share = n / (n + PRIOR_SURPRISES)
                expected = share * np.quantile(own, LEVELS) + (1 - share) * expected
            expected = (expected - expected[len(LEVELS) // 2]) * sigma[row, step - 1]
            np.testing.assert_allclose(quantiles[i, step - 1], expected, rtol=1e-12, atol=1e-14)


def test_an_hourly_market_of_three_days_has_a_forecast():
    candles = random_walk(72, seed=1, length=timedelta(hours=1))
    origin = candles["close_time"].iloc[-1].to_pydatetime()
    (forecast,) = RangeEwma().forecast(
        RangeEwma().train([TrainRequest({MARKET: candles}, origin)])[0], candles, [origin]
    )
    assert np.isfinite(forecast.values).all()
