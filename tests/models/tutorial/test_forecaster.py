"""The tutorial's recipe as a forecaster: no look-ahead, repeatable numbers, and bands as wide as its errors."""

import json

import numpy as np
import pytest
from synthetic import MARKET, changed_after, close_times, random_walk

from models.catalog import forecaster
from models.errors import BadWeights, NotEnoughCandles
from models.frames import closed_by
from models.interface import TrainRequest
from models.quantiles import MEDIAN
from models.tutorial.forecaster import LEAST_SHARE, Tutorial, point_forecasts
from models.tutorial.recipe import Recipe

QUICK = Recipe(hidden_layers=8, epochs=5, learning_rate=0.01)


@pytest.fixture(scope="module")
def candles():
    return random_walk(900, seed=21)


@pytest.fixture(scope="module")
def trained(candles):
    return Tutorial(QUICK).train([TrainRequest({MARKET: candles}, close_times(candles)[799], seed=3)])[0]


def _same_weights(ours, theirs):
    return ours.weights.keys() == theirs.weights.keys() and all(
        np.array_equal(values, theirs.weights[name]) for name, values in ours.weights.items()
    )


def test_the_catalog_has_tutorial_with_the_tutorials_hyperparameters():
    tutorial = forecaster("tutorial")
    assert (tutorial.name, tutorial.recipe) == ("tutorial", Recipe())


def test_a_training_records_its_mode_cutoff_and_recipe_as_json(candles, trained):
    assert json.loads(json.dumps(trained.config))["recipe"]["hidden_layers"] == 8
    assert trained.config["mode"] == "scratch"
    assert trained.cutoff == close_times(candles)[799]
    assert trained.seconds > 0


def test_forecasts_are_ordered_positive_and_centred_on_the_networks_output(candles, trained):
    origins = close_times(candles)[800:]
    forecasts = Tutorial().forecast(trained, candles, origins)
    assert [forecast.origin for forecast in forecasts] == origins
    values = np.array([forecast.values for forecast in forecasts])
    assert values.shape == (100, 7, 23)
    assert (values > 0).all()
    assert (np.diff(values, axis=-1) > 0).all()
    rows = np.arange(800, 900)
    closes = candles["close"].to_numpy()
    points = point_forecasts(closes, rows, trained.weights, QUICK, 7)
    np.testing.assert_allclose(values[..., MEDIAN], points)
    assert not np.allclose(values[:, 0, MEDIAN], closes[rows], rtol=1e-3)
    width = np.log(values[..., 19] / values[..., 3])
    assert (width[:, 6] > width[:, 0]).all()


def test_later_steps_read_the_networks_forecasts_of_earlier_steps(candles, trained):
    closes = candles["close"].to_numpy()
    first, second = point_forecasts(closes, np.array([850]), trained.weights, QUICK, 2)[0]
    extended = np.append(closes[:851], first)
    assert point_forecasts(extended, np.array([851]), trained.weights, QUICK, 1)[0, 0] == pytest.approx(second)


@pytest.mark.slow
def test_nothing_after_the_cutoff_changes_a_training(candles, trained):
    changed = changed_after(candles, trained.cutoff)
    again = Tutorial(QUICK).train([TrainRequest({MARKET: changed}, trained.cutoff, seed=3)])[0]
    assert _same_weights(again, trained)
    assert again.data_fingerprint == trained.data_fingerprint
    cut = Tutorial(QUICK).train([TrainRequest({MARKET: closed_by(candles, trained.cutoff)}, trained.cutoff, seed=3)])[0]
    assert _same_weights(cut, trained)
    before = changed_after(candles, close_times(candles)[798])
    assert not _same_weights(
        Tutorial(QUICK).train([TrainRequest({MARKET: before}, trained.cutoff, seed=3)])[0], trained
    )


def test_nothing_after_the_origin_changes_a_forecast(candles, trained):
    origin = close_times(candles)[850]
    (expected,) = Tutorial().forecast(trained, candles, [origin])
    assert Tutorial().forecast(trained, changed_after(candles, origin), [origin]) == [expected]
    assert Tutorial().forecast(trained, closed_by(candles, origin), [origin]) == [expected]
    assert Tutorial().forecast(trained, changed_after(candles, close_times(candles)[849]), [origin]) != [expected]


def test_a_forecast_is_the_same_alone_and_among_others(candles, trained):
    origins = close_times(candles)[750:]
    together = Tutorial().forecast(trained, candles, origins)
    for number in (0, 1, 63, 64, 149):
        assert Tutorial().forecast(trained, candles, [origins[number]]) == [together[number]]


@pytest.mark.slow
def test_folds_trained_together_are_the_folds_trained_alone(candles, trained):
    cutoffs = [close_times(candles)[row] for row in (760, 799)]
    together = Tutorial(QUICK).train([TrainRequest({MARKET: candles}, cutoff, seed=3) for cutoff in cutoffs])
    assert _same_weights(together[1], trained)
    assert not _same_weights(together[0], trained)


@pytest.mark.slow
def test_another_seed_is_another_model(candles, trained):
    other = Tutorial(QUICK).train([TrainRequest({MARKET: candles}, trained.cutoff, seed=4)])[0]
    assert not _same_weights(other, trained)


@pytest.mark.slow
def test_the_80_percent_band_covers_about_80_percent_of_a_random_walk(candles):
    """The bands come from the errors of a second network on days after its training; in-sample errors are smaller."""
    origins = close_times(candles)[800:]
    recipe = Recipe(hidden_layers=8, epochs=30, learning_rate=0.01)
    fitted = Tutorial(recipe).train([TrainRequest({MARKET: candles}, close_times(candles)[799], seed=3)])[0]
    values = np.array([forecast.values for forecast in Tutorial().forecast(fitted, candles, origins)])[:-1, 0]
    actual = candles["close"].to_numpy()[801:]
    inside = np.mean((values[:, 3] <= actual) & (actual <= values[:, 19]))
    # Three standard errors of 99 days are 0.12.
    assert inside == pytest.approx(0.8, abs=0.12)


def test_fine_tuning_changes_the_network_and_keeps_scaling_and_calibration(candles, trained):
    tuned = Tutorial(QUICK).train(
        [TrainRequest({MARKET: candles}, close_times(candles)[-1], seed=3, init_from=trained)]
    )[0]
    assert tuned.config["mode"] == "fine-tune"
    for name, values in trained.weights.items():
        kept = name in ("calibration", "scaling_shift", "scaling_scale")
        assert np.array_equal(tuned.weights[name], values) == kept, name


def test_a_forecast_below_zero_becomes_a_small_price(candles, trained):
    below_zero = {**trained.weights, "head_bias": np.array([-1e3], np.float32)}
    closes = candles["close"].to_numpy()
    points = point_forecasts(closes, np.array([850]), below_zero, QUICK, 7)
    np.testing.assert_allclose(points[0], LEAST_SHARE * closes[850])


def test_too_few_candles_foreign_weights_and_too_many_steps_are_refused(candles, trained):
    closes = close_times(candles)
    with pytest.raises(NotEnoughCandles, match="tutorial needs 730"):
        Tutorial(QUICK).train([TrainRequest({MARKET: candles}, closes[700])])
    with pytest.raises(NotEnoughCandles, match=closes[700].isoformat()[:10]):
        Tutorial(QUICK).forecast(trained, candles, [closes[700]])
    with pytest.raises(BadWeights, match="shapes"):
        Tutorial(Recipe(hidden_layers=9)).train([TrainRequest({MARKET: candles}, closes[-1], init_from=trained)])
    with pytest.raises(ValueError, match="at most the 7 steps"):
        Tutorial().forecast(trained, candles, [closes[-1]], 8)
    assert Tutorial().train([]) == []
    assert Tutorial().forecast(trained, candles, []) == []
