"""The study: all models are judged on the same days, errors equal a loop's, no model is newer than its origins."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import MARKET, close_times, random_walk

from models.forecasts import QUANTILE_LEVELS
from models.interface import TrainedModel
from models.naive import Naive
from models.tutorial.recipe import DONE_RIGHT, Recipe
from models.tutorial.study import beyond_training, judge_published, judge_trials, run_trials, walk_forward

RECIPE = Recipe(hidden_layers=8, epochs=2, learning_rate=0.01)


@pytest.fixture(scope="module")
def candles():
    return random_walk(700, seed=31)


@pytest.fixture(scope="module")
def reports():
    return []


@pytest.fixture(scope="module")
def trials(candles, reports):
    closes = candles["close"].to_numpy()
    return run_trials(closes, RECIPE, window_sizes=(7, 3), seeds=2, report=lambda *report: reports.append(report))


@pytest.mark.slow
def test_each_setup_window_and_seed_is_one_trial_with_losses(trials):
    assert len(trials) == 8
    assert len({(trial.label, trial.seed) for trial in trials}) == 8
    assert all(trial.losses.shape == (2,) for trial in trials)
    assert all(trial.losses[1] < trial.losses[0] for trial in trials)


@pytest.mark.slow
def test_losses_are_reported_by_epoch_as_the_mean_over_seeds(trials, reports):
    assert [(done, epochs) for done, epochs, _ in reports] == [(1, 2), (2, 2)]
    losses = [trial.losses[1] for trial in trials if trial.label == "done right, window 7"]
    assert reports[1][2]["done right, window 7"] == pytest.approx(np.mean(losses))


@pytest.mark.slow
def test_the_table_equals_a_loop_over_days(candles, trials):
    lines = {(line.rows, line.model): line for line in judge_trials(trials)}
    assert len(lines) == 6
    closes = candles["close"].to_numpy()
    first = len(closes) - lines["done right", "the row before"].days
    assert first == int(0.8 * 700) + 7
    squares = [(closes[row] - closes[row - 1]) ** 2 for row in range(first, 700)]
    assert lines["done right", "the row before"].rmse == pytest.approx(np.sqrt(np.mean(squares)))
    one, two = (t for t in trials if t.label == "done right, window 3")
    errors = [
        np.sqrt(np.mean([(s - c) ** 2 for s, c in zip(t.predicted_in_test, closes[first:], strict=True)]))
        for t in (one, two)
    ]
    line = lines["done right", "recipe, window 3"]
    assert (line.rmse_low, line.rmse_high) == (pytest.approx(min(errors)), pytest.approx(max(errors)))
    assert line.rmse == pytest.approx(np.mean(errors))
    assert line.rmse_to_naive == pytest.approx(line.rmse / lines["done right", "the row before"].rmse)
    # As published the last rows are the oldest days, so the row before a day is the next day.
    squares = [(closes[day] - closes[day + 1]) ** 2 for day in range(700 - first)]
    assert lines["as published", "the row before"].rmse == pytest.approx(np.sqrt(np.mean(squares)))


@pytest.mark.slow
def test_naive_and_blend_are_judged_on_the_recipes_test_days(candles, trials):
    naive, blend = judge_published(candles, series=MARKET, window_size=7, quick=True)
    before = next(line for line in judge_trials(trials) if line.rows == DONE_RIGHT.name)
    assert (naive.model, blend.model) == ("naive", "blend")
    assert naive.days == blend.days == before.days
    # Both medians are the last close; the models differ in their bands.
    assert naive.rmse == pytest.approx(before.rmse)
    assert blend.rmse == pytest.approx(before.rmse)
    assert naive.crps < before.crps
    assert 0.6 < naive.coverage80 < 0.95


def test_a_series_too_short_for_blend_is_judged_without_it():
    lines = judge_published(random_walk(300), series=MARKET, window_size=7, quick=True)
    assert [line.model for line in lines] == ["naive"]


class _Spy(Naive):
    """Naive with a training; records the cutoff and origin of each forecast."""

    def __init__(self):
        self.forecasts_made = []

    def train(self, requests, progress=None):
        return [TrainedModel("spy", {"window": 365}, request.cutoff, 0, "") for request in requests]

    def forecast(self, trained, candles, origins, horizon=7):
        self.forecasts_made += [(trained.cutoff, origin) for origin in origins]
        return super().forecast(trained, candles, origins, horizon)


def test_no_model_is_newer_than_the_day_it_forecasts_from(candles):
    spy = _Spy()
    quantiles = walk_forward(spy, candles, 500, series=MARKET)
    assert quantiles.shape == (200, len(QUANTILE_LEVELS))
    assert [origin for _, origin in spy.forecasts_made] == close_times(candles)[499:-1]
    assert all(cutoff <= origin for cutoff, origin in spy.forecasts_made)
    assert len({cutoff for cutoff, _ in spy.forecasts_made}) == 3


def test_beyond_training_is_the_share_of_test_days_above_the_training_closes():
    (rising,) = run_trials(np.linspace(100, 200, 200), Recipe(hidden_layers=8, epochs=1), window_sizes=(7,), seeds=1)[
        1:
    ]
    assert rising.setup == DONE_RIGHT
    assert beyond_training(rising) == 1
    # Of four test days one lies above the highest close of the training, and one equals it.
    closes = rising.prepared.closes.copy()
    first = int(rising.prepared.test_rows[0])
    closes[first:] = np.resize([closes[:first].max(), 90.0, 300.0, 90.0], len(closes) - first)
    expected = sum(close == 300.0 for close in closes[first:]) / (len(closes) - first)
    assert 0.2 < expected < 0.3
    assert beyond_training(replace(rising, prepared=rising.prepared._replace(closes=closes))) == pytest.approx(expected)
