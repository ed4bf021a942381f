"""The tutorial's recipe: its windows, split and training, with the gradient clipping that the tutorial forgot."""

import numpy as np
import pytest

from models.errors import NotEnoughCandles, TrainingFailed
from models.lstm.backend import array, keras, tensor
from models.tutorial.recipe import AS_PUBLISHED, DONE_RIGHT, SETUPS, Recipe, count_training_rows, prepare
from models.tutorial.training import (
    WEIGHT_NAMES,
    Fit,
    fresh_weights,
    loss_and_gradient,
    predict_next,
    train_networks,
)
from models.tutorial.windows import make_windows

SMALL = Recipe(hidden_layers=8, epochs=4)
WALK = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.03, 1273))) * 400


def _close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-4, atol=1e-6)


def test_the_hyperparameters_are_the_tutorials():
    assert vars(Recipe()) == {
        "batch_size": 7,
        "window_size": 7,
        "hidden_layers": 256,
        "clip_margin": 4.0,
        "learning_rate": 0.001,
        "epochs": 200,
    }


@pytest.mark.parametrize(
    "name", ["batch_size", "window_size", "hidden_layers", "clip_margin", "learning_rate", "epochs"]
)
def test_a_hyperparameter_that_is_not_positive_is_refused(name):
    with pytest.raises(ValueError, match=f"expected {name} above 0, got 0"):
        Recipe(**{name: 0})


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)
def test_the_tutorials_rows_give_1018_training_and_248_test_windows(setup):
    prepared = prepare(WALK, setup, window_size=7, train_rows=count_training_rows(len(WALK), 7))
    assert prepared.train.X.shape == (1018, 7, 1)
    assert prepared.test.X.shape == (248, 7, 1)
    assert prepared.test_rows.tolist() == list(range(1025, 1273))


def test_a_window_of_one_pairs_every_day_but_the_last_with_the_next():
    windows = make_windows(WALK, 1)
    assert np.array_equal(windows.X[:, 0, 0], WALK[:-1])
    assert np.array_equal(windows.y[:, 0], WALK[1:])


def test_windows_of_another_length_have_the_same_test_days():
    rows = count_training_rows(len(WALK), 7)
    seven, three = (prepare(WALK, DONE_RIGHT, window_size=size, train_rows=rows) for size in (7, 3))
    assert seven.test_rows.tolist() == three.test_rows.tolist()
    _close(seven.test.y, three.test.y)
    assert len(three.train.X) == 1022


def test_test_days_do_not_reach_the_training_windows_done_right_and_do_as_published():
    rows = count_training_rows(len(WALK), 7)
    changed = WALK.copy()
    changed[rows:] *= 3
    ours, theirs = (prepare(closes, DONE_RIGHT, window_size=7, train_rows=rows).train for closes in (WALK, changed))
    assert np.array_equal(ours.X, theirs.X)
    assert np.array_equal(ours.y, theirs.y)
    # As published the newest row comes first, so the test days are the oldest, and the scaler was fitted on them too.
    oldest = WALK.copy()
    oldest[: len(WALK) - rows] *= 3
    ours, theirs = (prepare(closes, AS_PUBLISHED, window_size=7, train_rows=rows).train for closes in (WALK, oldest))
    assert not np.allclose(ours.X, theirs.X)


def test_as_published_the_rows_run_backwards():
    prepared = prepare(WALK, AS_PUBLISHED, window_size=7, train_rows=1025)
    _close(prepared.closes, WALK[::-1])
    _close(prepared.scaling.invert(prepared.test.y)[-1], WALK[:1])


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_too_few_rows_for_the_split_are_refused(rows):
    with pytest.raises(NotEnoughCandles, match=f"got {rows}"):
        count_training_rows(rows, 7)


def test_the_loss_is_the_error_of_the_spelled_out_cell():
    rng = np.random.default_rng(6)
    weights = {name: values * 5 for name, values in fresh_weights(6, 0).items()}
    x, y = (rng.normal(size=shape).astype(np.float32) for shape in ((7, 5, 1), (7, 1)))
    loss, _ = loss_and_gradient([tensor(weights[name]) for name in WEIGHT_NAMES], tensor(x), tensor(y))
    _close(array(loss), np.mean((predict_next(weights, x) - y[:, 0]) ** 2))


def _by_keras_fit(windows, weights, recipe, *, clip):
    """Return the weights after the same training with Keras's layers, loss and `fit`."""
    layers = [keras.layers.LSTM(recipe.hidden_layers), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input(windows.X.shape[1:]), *layers])
    margin = recipe.clip_margin if clip else None
    model.compile(keras.optimizers.Adam(recipe.learning_rate, epsilon=1e-8, global_clipnorm=margin), "mse")
    model.set_weights([weights[name] for name in WEIGHT_NAMES])
    whole = len(windows.X) // recipe.batch_size * recipe.batch_size
    model.fit(
        windows.X[:whole], windows.y[:whole], recipe.batch_size, epochs=recipe.epochs, shuffle=False, verbose=0
    )  # fmt: skip
    return {
        name: array(keras.ops.copy(variable.value)) for name, variable in zip(WEIGHT_NAMES, model.weights, strict=True)
    }


def test_a_training_equals_keras_fit_with_clipping_in_the_order_of_the_windows():
    # The targets are far off, so that gradients are clipped, and the last windows do not fill a batch.
    windows = make_windows(np.sin(np.arange(60.0) / 5), 5)
    windows = windows._replace(y=windows.y * 40)
    recipe = Recipe(hidden_layers=4, epochs=2, clip_margin=0.5, learning_rate=0.01)
    (fitted,) = train_networks([Fit(windows, 3)], recipe)
    start = fresh_weights(4, 3)
    for name, values in _by_keras_fit(windows, start, recipe, clip=True).items():
        np.testing.assert_allclose(fitted.weights[name], values, rtol=1e-3, atol=1e-5)
    unclipped = _by_keras_fit(windows, start, recipe, clip=False)
    assert not np.allclose(unclipped["head"], fitted.weights["head"], atol=1e-4)


def test_the_loss_on_a_wave_falls_and_the_next_values_are_predicted():
    wave = np.sin(np.arange(300) / 4)
    windows = make_windows(wave, 7)
    reports = []
    recipe = Recipe(hidden_layers=16, epochs=30, learning_rate=0.01)
    (fitted,) = train_networks(
        [Fit(windows, 0)], recipe, lambda done, epochs, losses: reports.append((done, epochs, *losses))
    )
    assert [report[:2] for report in reports] == [(epoch, 30) for epoch in range(1, 31)]
    assert np.array_equal([report[2] for report in reports], fitted.losses)
    assert fitted.losses[-1] < 0.01 * fitted.losses[0]
    assert np.abs(predict_next(fitted.weights, windows.X) - windows.y[:, 0]).max() < 0.2


@pytest.mark.slow
def test_a_fit_is_the_same_alone_and_beside_others():
    seven, three = (make_windows(WALK[:200] / 400, size) for size in (7, 3))
    (alone,) = train_networks([Fit(seven, 1)], SMALL)
    _, beside, _ = train_networks([Fit(three, 1), Fit(seven, 1), Fit(seven, 2)], SMALL)
    for name, values in alone.weights.items():
        assert np.array_equal(values, beside.weights[name])


@pytest.mark.slow
def test_training_starts_from_the_given_weights():
    windows = make_windows(WALK[:200] / 400, 7)
    (once,) = train_networks([Fit(windows, 1)], SMALL)
    (again,) = train_networks([Fit(windows, 9, start=once.weights)], SMALL)
    assert again.losses[0] < once.losses[0]


def test_a_training_without_a_full_batch_or_with_nan_fails():
    with pytest.raises(TrainingFailed, match="at least 7 windows"):
        train_networks([Fit(make_windows(np.arange(10.0), 7), 0)], SMALL)
    with pytest.raises(TrainingFailed, match="loss of nan in epoch 1"):
        train_networks([Fit(make_windows(np.full(40, np.nan), 7), 0)], SMALL)
