"""The written-out LSTM cell gives Keras's numbers, and remembers longer than a plain recurrent network."""

import keras
import numpy as np
import pytest

from models.tutorial.cell import influence, lstm_cell, run_lstm, run_plain_rnn, sigmoid


def _weights(features, units, *, seed=0, columns=4):
    rng = np.random.default_rng(seed)
    return {
        "input": rng.normal(0, 0.5, (features, columns * units)),
        "recurrent": rng.normal(0, 0.5, (units, columns * units)),
        "bias": rng.normal(0, 0.5, columns * units),
    }


@pytest.mark.parametrize(("features", "units", "moments"), [(1, 5, 7), (3, 4, 12)])
def test_keras_lstm_with_the_same_weights_gives_the_same_outputs(features, units, moments):
    x = np.random.default_rng(1).normal(size=(6, moments, features))
    weights = _weights(features, units)
    layer = keras.layers.LSTM(units)
    layer.build(x.shape)
    layer.set_weights([weights[name] for name in ("input", "recurrent", "bias")])
    theirs = keras.ops.convert_to_numpy(layer(x.astype(np.float32)))
    np.testing.assert_allclose(run_lstm(x, weights), theirs, atol=1e-6)


def test_keras_simple_rnn_with_the_same_weights_gives_the_same_outputs():
    x = np.random.default_rng(1).normal(size=(6, 9, 2))
    weights = _weights(2, 5, columns=1)
    layer = keras.layers.SimpleRNN(5)
    layer.build(x.shape)
    layer.set_weights([weights[name] for name in ("input", "recurrent", "bias")])
    theirs = keras.ops.convert_to_numpy(layer(x.astype(np.float32)))
    np.testing.assert_allclose(run_plain_rnn(x, weights), theirs, atol=1e-6)


def test_the_input_gate_adds_and_the_forget_gate_keeps():
    closed, opened = -50.0, 50.0
    old = np.array([[0.7]])

    def state_after(to_input, to_forget):
        # One unit with weights of zero: the biases alone set its gates, and its candidate is one.
        bias = np.array([to_input, to_forget, opened, opened])
        weights = {"input": np.zeros((1, 4)), "recurrent": np.zeros((1, 4)), "bias": bias}
        output, state = lstm_cell(np.zeros((1, 1)), np.zeros((1, 1)), old, weights)
        np.testing.assert_allclose(output, np.tanh(state))
        return state[0, 0]

    assert state_after(closed, opened) == pytest.approx(0.7)
    assert state_after(closed, closed) == pytest.approx(0.0)
    assert state_after(opened, closed) == pytest.approx(1.0)
    assert state_after(opened, opened) == pytest.approx(1.7)


def test_the_state_starts_at_zero():
    x, weights = np.random.default_rng(2).normal(size=(3, 1, 1)), _weights(1, 4)
    first, _ = lstm_cell(x[:, 0], np.zeros((3, 4)), np.zeros((3, 4)), weights)
    assert np.array_equal(run_lstm(x, weights), first)


def test_the_derivative_by_an_imaginary_step_equals_the_slope():
    x, weights = np.random.default_rng(3).normal(size=(1, 5, 1)), _weights(1, 4)
    for moment, derivative in enumerate(influence(run_lstm, x, weights)):
        up, down = x.copy(), x.copy()
        up[:, moment] += 1e-6
        down[:, moment] -= 1e-6
        slope = np.linalg.norm(run_lstm(up, weights) - run_lstm(down, weights)) / 2e-6
        assert derivative == pytest.approx(slope, rel=1e-6)


@pytest.mark.slow
def test_a_plain_networks_gradient_vanishes_where_the_lstms_does_not():
    """Both networks read the same hundred days with weights of the same spread; the plain one forgets within thirty."""
    moments, units = 100, 32
    x = np.random.default_rng(4).normal(size=(1, moments, 1))
    plain = {name: 0.2 * values for name, values in _weights(1, units, columns=1).items()}
    gated = {name: 0.2 * values for name, values in _weights(1, units).items()}
    # The forget gate starts open, as is usual since Gers et al. 2000 and Jozefowicz et al. 2015.
    gated["bias"] = np.repeat([0.0, 4.0, 0.0, 0.0], units)
    of_plain, of_lstm = influence(run_plain_rnn, x, plain), influence(run_lstm, x, gated)
    # The influence of the first day relative to that of the last.
    remembered_by_plain, remembered_by_lstm = (influences[0] / influences[-1] for influences in (of_plain, of_lstm))
    assert 0 < remembered_by_plain < 1e-12
    assert remembered_by_lstm > 1e-2
    # A plain network forgets by about the same factor every day.
    assert (of_plain[:-30] < 1e-4 * of_plain[-1]).all()


def test_the_sigmoid_is_exact_and_does_not_overflow():
    z = np.array([-1000.0, -2.0, 0.0, 2.0, 1000.0])
    np.testing.assert_allclose(sigmoid(z), [0, 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-2)), 1], atol=1e-16)
