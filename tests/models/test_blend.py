"""The blend is the weighted mean of its parts, and uses no candle after the cutoff or origin."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bad_prints import FIELDS, with_bad_print
from synthetic import MARKET, random_walk

from models.blend import Blend, anchor_shares
from models.boosting import NAMES, BoostingConfig, boosted
from models.catalog import forecaster
from models.errors import NotEnoughCandles
from models.features import make_features
from models.frames import closed_by
from models.interface import TrainRequest
from models.lstm.forecaster import Lstm, LstmConfig
from models.naive import Naive
from models.quantiles import symmetric
from models.range_ewma import RangeEwma

QUICK = LstmConfig(members=2, epochs_alone=2)
FEW = BoostingConfig(rounds=5)
# As in docs/forecasting.md: one candle changes the width of tomorrow's 80 % band by less than this factor.
MOST_FACTOR = 2.5


@pytest.fixture(scope="module")
def candles():
    return random_walk(900, seed=4)


@pytest.fixture(scope="module")
def trained(candles):
    return Blend(QUICK, FEW).train(
        [TrainRequest({MARKET: candles}, candles["close_time"].iloc[850].to_pydatetime(), seed=3)]
    )[0]


def _log_quantiles(candles, forecasts, rows):
    return np.log([forecast.values for forecast in forecasts]) - np.log(candles["close"].to_numpy())[rows, None, None]


def test_the_catalog_has_blend_and_its_config_is_json(trained):
    assert isinstance(forecaster("blend"), Blend)
    assert json.loads(json.dumps(trained.config)) == trained.config
    assert trained.model == "blend"


def test_blend_is_the_weighted_mean_of_its_parts(candles, trained):
    rows = np.arange(860, 880)
    origins = [candles["close_time"].iloc[row].to_pydatetime() for row in rows]
    network_weights = {name: values for name, values in trained.weights.items() if name not in NAMES}
    networks = replace(trained, model="lstm", config=trained.config["lstm"], weights=network_weights)
    trees = boosted(trained.weights, make_features(candles, horizon=7), rows, 7)
    parts = [Lstm().forecast(networks, candles, origins)]
    for model in (RangeEwma(), Naive()):
        parts.append(model.forecast(model.train([TrainRequest({MARKET: candles}, origins[0])])[0], candles, origins))
    lstm, base, naive = (_log_quantiles(candles, part, rows) for part in parts)
    anchor = np.linspace(0, 0.3, 7)[None, :, None]
    even = symmetric(0.4 * lstm + 0.4 * trees.quantiles + 0.2 * base)
    expected = (1 - anchor) * (even + 0.75 * trees.skew[:, None]) + anchor * symmetric(naive)
    blended = _log_quantiles(candles, Blend().forecast(trained, candles, origins), rows)
    np.testing.assert_allclose(blended, expected, atol=1e-12)


def test_the_share_of_naive_rises_from_zero_to_its_maximum(candles):
    np.testing.assert_allclose(anchor_shares(7), [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
    assert anchor_shares(9)[-1] == 0.3


def test_nothing_after_the_origin_or_the_cutoff_reaches_a_forecast(candles, trained):
    origin = candles["close_time"].iloc[870].to_pydatetime()
    (expected,) = Blend().forecast(trained, candles, [origin])
    assert Blend().forecast(trained, closed_by(candles, origin), [origin]) == [expected]
    again = Blend(QUICK, FEW).train(
        [TrainRequest({MARKET: closed_by(candles, trained.cutoff)}, trained.cutoff, seed=3)]
    )[0]
    assert all(np.array_equal(again.weights[name], trained.weights[name]) for name in trained.weights)


@pytest.mark.parametrize("model", ["lstm", "blend"])
def test_one_absurd_candle_moves_the_bands_by_a_stated_factor(candles, trained, model):
    """Their bands are multiples of the volatility that range-ewma uses, and their inputs are cut."""
    networks = replace(
        trained,
        model="lstm",
        config=trained.config["lstm"],
        weights={name: values for name, values in trained.weights.items() if name not in NAMES},
    )
    forecaster_of = {"blend": (Blend(), trained), "lstm": (Lstm(), networks)}[model]

    def width(frame, rows):
        origins = [frame["close_time"].iloc[row].to_pydatetime() for row in rows]
        values = np.log(
            [forecast.values[0] for forecast in forecaster_of[0].forecast(forecaster_of[1], frame, origins)]
        )
        return values[:, -4] - values[:, 3]

    rows = [860, 861, 867, 890]
    usual = width(candles, rows)
    for field in FIELDS:
        for factor in (1e-3, 1e3):
            ratio = width(with_bad_print(candles, 860, field, factor), rows) / usual
            assert np.maximum(ratio, 1 / ratio).max() < MOST_FACTOR, (field, factor)


def test_blend_can_be_fine_tuned(candles, trained):
    cutoff = candles["close_time"].iloc[-1].to_pydatetime()
    tuned = Blend(QUICK, FEW).train([TrainRequest({MARKET: candles}, cutoff, seed=3, init_from=trained)])[0]
    assert tuned.config["lstm"]["mode"] == "fine-tune"
    assert not np.array_equal(tuned.weights["head"], trained.weights["head"])


def test_a_forecast_looks_up_its_origins_rows_once(candles, trained, monkeypatch):
    """The parts of a blend get the rows, so they do not look them up again."""
    from models import blend, naive, quantiles, range_ewma
    from models.lstm import forecaster as lstm

    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return quantiles.origin_rows(*arguments)

    for module in (blend, naive, range_ewma, lstm):
        monkeypatch.setattr(module, "origin_rows", counted)
    origin = candles["close_time"].iloc[870].to_pydatetime()
    for model in (Blend(QUICK, FEW), Naive(), RangeEwma()):
        calls.clear()
        given = trained if model.name == "blend" else model.train([TrainRequest({MARKET: candles}, origin)])[0]
        model.forecast(given, candles, [origin])
        assert len(calls) == 1, model.name


def test_a_market_of_sixty_candles_has_a_forecast_by_networks_of_others(candles, trained):
    young = candles.iloc[-60:].reset_index(drop=True)
    origin = young["close_time"].iloc[-1].to_pydatetime()
    (forecast,) = Blend().forecast(trained, young, [origin])
    assert np.isfinite(forecast.values).all()
    assert (np.diff(forecast.values, axis=-1) > 0).all()
    with pytest.raises(NotEnoughCandles, match="60 closed candles are needed"):
        Blend().forecast(trained, young.iloc[1:], [origin])
