"""The lstm forecaster: it uses no candle after the cutoff or origin, refuses wrong input and repeats its numbers."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scipy import stats
from synthetic import MARKET, changed_after, close_times, random_walk

from models.catalog import forecaster
from models.errors import BadWeights, NotEnoughCandles
from models.forecasts import QUANTILE_LEVELS
from models.frames import closed_by, fingerprint
from models.interface import TrainRequest
from models.lstm.backend import device, keras, on_accelerator
from models.lstm.forecaster import Lstm, LstmConfig, student_t_quantiles

QUICK = LstmConfig(members=2, epochs=1, epochs_alone=2)


@pytest.fixture(scope="module")
def candles():
    return random_walk(620, seed=4)


@pytest.fixture(scope="module")
def trained(candles):
    return Lstm(QUICK).train([TrainRequest({MARKET: candles}, close_times(candles)[560], seed=3)])[0]


def _same_weights(a, b):
    return all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights)


def test_the_catalog_has_lstm():
    assert isinstance(forecaster("lstm"), Lstm)


def test_a_training_returns_a_json_config_arrays_and_its_lineage(candles, trained):
    cutoff = close_times(candles)[560]
    assert json.loads(json.dumps(trained.config)) == trained.config
    assert trained.model == "lstm"
    assert trained.cutoff == cutoff
    assert trained.seed == 3
    learnt = f"{MARKET} {fingerprint(closed_by(candles, cutoff))}"
    assert trained.data_fingerprint == hashlib.sha256(learnt.encode()).hexdigest()
    assert {values.dtype for values in trained.weights.values()} == {np.dtype(np.float32)}
    assert {len(values) for values in trained.weights.values()} == {2}
    assert trained.device == device()
    if not on_accelerator():
        assert trained.device == f"{keras.backend.backend()} on cpu"
    assert trained.seconds > 0


def test_forecasts_are_ordered_positive_and_centred_on_the_last_close(candles, trained):
    origins = close_times(candles)[560:]
    forecasts = Lstm().forecast(trained, candles, origins)
    assert [forecast.origin for forecast in forecasts] == list(origins)
    values = np.array([forecast.values for forecast in forecasts])
    assert values.shape == (60, 7, 23)
    assert (values > 0).all()
    assert (np.diff(values, axis=-1) > 0).all()
    np.testing.assert_allclose(values[:, :, 11], candles["close"].to_numpy()[560:, None].repeat(7, 1), rtol=1e-12)
    width = np.log(values[..., 19] / values[..., 3])
    assert (width[:, 6] > width[:, 0]).all()


def test_nothing_after_the_cutoff_changes_a_training(candles, trained):
    changed = changed_after(candles, trained.cutoff)
    again = Lstm(QUICK).train([TrainRequest({MARKET: changed}, trained.cutoff, seed=3)])[0]
    assert _same_weights(again, trained)
    assert again.data_fingerprint == trained.data_fingerprint
    cut = Lstm(QUICK).train([TrainRequest({MARKET: closed_by(candles, trained.cutoff)}, trained.cutoff, seed=3)])[0]
    assert _same_weights(cut, trained)


def test_nothing_after_the_origin_changes_a_forecast(candles, trained):
    origin = close_times(candles)[590]
    (expected,) = Lstm().forecast(trained, candles, [origin])
    assert Lstm().forecast(trained, changed_after(candles, origin), [origin]) == [expected]
    assert Lstm().forecast(trained, closed_by(candles, origin), [origin]) == [expected]
    before = changed_after(candles, close_times(candles)[589])
    assert Lstm().forecast(trained, before, [origin]) != [expected]


def test_a_forecast_is_the_same_alone_and_among_others(candles, trained):
    origins = close_times(candles)[500:]
    together = Lstm().forecast(trained, candles, origins)
    for number in (0, 1, 63, 64, 119):
        assert Lstm().forecast(trained, candles, [origins[number]]) == [together[number]]


def test_folds_trained_together_are_the_folds_trained_alone(candles, trained):
    cutoffs = [close_times(candles)[row] for row in (480, 560)]
    together = Lstm(QUICK).train([TrainRequest({MARKET: candles}, cutoff, seed=3) for cutoff in cutoffs])
    assert _same_weights(together[1], trained)
    assert not _same_weights(together[0], trained)


def test_another_seed_is_another_model(candles, trained):
    other = Lstm(QUICK).train([TrainRequest({MARKET: candles}, trained.cutoff, seed=4)])[0]
    assert not _same_weights(other, trained)


def test_fine_tuning_moves_the_weights_a_little_and_is_recorded_in_the_config(candles, trained):
    cutoff = close_times(candles)[-1]
    tuned = Lstm(QUICK).train([TrainRequest({MARKET: candles}, cutoff, seed=3, init_from=trained)])[0]
    moved = max(np.abs(tuned.weights[name] - trained.weights[name]).max() for name in tuned.weights)
    assert 0 < moved < 1e-3
    assert tuned.config["mode"] == "fine-tune"
    assert tuned.config["epochs"] == [1, 1]


OTHER = "Bitstamp_ETHUSD_d"


def test_every_network_learns_from_all_markets_up_to_the_same_cutoff(candles, trained):
    other = random_walk(620, seed=8, sigma=0.05)
    first, second = (
        Lstm(QUICK).train([TrainRequest({MARKET: candles, OTHER: market}, trained.cutoff, seed=3)])[0]
        for market in (other, changed_after(other, trained.cutoff))
    )
    assert [len(values) for values in first.weights.values()] == [2] * 5
    assert not any(np.array_equal(first.weights["head"][0], weights) for weights in trained.weights["head"])
    assert not np.array_equal(first.weights["head"][0], first.weights["head"][1])
    assert _same_weights(first, second)
    assert first.config["learnt_from"] == [MARKET, OTHER]
    assert first.data_fingerprint == second.data_fingerprint != trained.data_fingerprint
    assert trained.config["learnt_from"] == [MARKET]


def test_the_order_in_which_markets_are_given_changes_no_bit(candles, trained):
    markets = {MARKET: candles, OTHER: random_walk(620, seed=8)}
    first, second = (
        Lstm(QUICK).train([TrainRequest(dict(order), trained.cutoff, seed=3)])[0]
        for order in (markets.items(), reversed(markets.items()))
    )
    assert _same_weights(first, second)
    assert first.data_fingerprint == second.data_fingerprint


def test_a_coin_that_two_exchanges_list_counts_once(candles, trained):
    listed_twice = {MARKET: candles, "Kraken_XBTUSD_d": candles.iloc[20:].reset_index(drop=True)}
    again = Lstm(QUICK).train([TrainRequest(listed_twice, trained.cutoff, seed=3)])[0]
    assert again.config["learnt_from"] == [MARKET]
    assert _same_weights(again, trained)


def test_one_ensemble_forecasts_a_market_that_it_has_never_seen(candles, trained):
    unseen = random_walk(300, seed=12, sigma=0.08)
    (forecast,) = Lstm().forecast(trained, unseen, [close_times(unseen)[-1]])
    assert np.isfinite(forecast.values).all()


def test_too_few_candles_are_refused_with_the_instant(candles, trained):
    early = close_times(candles)[Lstm.min_training - 2]
    with pytest.raises(NotEnoughCandles, match=early.isoformat().replace("+", r"\+")):
        Lstm(QUICK).train([TrainRequest({MARKET: candles}, early)])
    early = close_times(candles)[Lstm.min_candles - 2]
    with pytest.raises(NotEnoughCandles, match=early.isoformat().replace("+", r"\+")):
        Lstm().forecast(trained, candles, [early])


def test_weights_of_another_network_are_refused(candles, trained):
    cut = replace(trained, weights={name: values[:, :-1] for name, values in trained.weights.items()})
    with pytest.raises(BadWeights, match="expected input of shape"):
        Lstm().forecast(cut, candles, [close_times(candles)[600]])
    with pytest.raises(BadWeights, match="expected input of shape"):
        Lstm(QUICK).train([TrainRequest({MARKET: candles}, trained.cutoff, init_from=cut)])


def test_more_steps_than_trained_for_and_origins_between_candles_are_refused(candles, trained):
    origin = close_times(candles)[600]
    with pytest.raises(ValueError, match="7 steps"):
        Lstm().forecast(trained, candles, [origin], horizon=8)
    with pytest.raises(ValueError, match="a candle closes"):
        Lstm().forecast(trained, candles, [origin + timedelta(hours=1)])
    assert Lstm().forecast(trained, candles, []) == []
    assert Lstm(QUICK).train([]) == []


def test_student_t_quantiles_equal_scipys_and_are_symmetric():
    log_scale, freedom = np.array([0.0, -1.0, 0.5], np.float32), np.array([2.2, 5.0, 400.0], np.float32)
    ours = student_t_quantiles(log_scale, freedom)
    for i in range(3):
        theirs = stats.t.ppf(QUANTILE_LEVELS, freedom[i], scale=np.exp(log_scale[i]))
        np.testing.assert_allclose(ours[i], theirs, rtol=1e-6, atol=1e-12)
    assert np.array_equal(ours, -ours[:, ::-1])
