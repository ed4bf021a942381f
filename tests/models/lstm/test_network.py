"""The network's arithmetic, compared with slow loops, with slopes of the loss, with Keras and with SciPy."""

import math

import keras
import numpy as np
import pytest
from scipy import special, stats

from models.errors import BadWeights
from models.lstm.backend import array, compiled, tensor
from models.lstm.network import (
    LEAST_FREEDOM,
    NetworkConfig,
    _digamma,
    _log_gamma,
    check_weights,
    fresh_weights,
    loss_and_gradients,
    run_forward,
    stacked,
    student_t,
)

CONFIG = NetworkConfig(n_features=3, hidden=4, horizon=2)


def _some_weights(members, seed=0):
    """Random weights. The head, which starts at zero, is not zero here, so that no gradient is zero."""
    rng = np.random.default_rng(seed)
    weights = [fresh_weights(CONFIG, rng) for _ in range(members)]
    for member in weights:
        for name in ("head", "head_bias", "bias"):
            member[name] = member[name] + rng.normal(scale=0.3, size=member[name].shape).astype(np.float32)
    return stacked(weights)


def _some_batch(members, moments=6, scored=4, batch=5, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((moments, members, batch, CONFIG.n_features), np.float32)
    y = rng.standard_normal((scored, members, batch, CONFIG.horizon), np.float32)
    share = (rng.random(y.shape) < 0.8).astype(np.float32)
    share /= share.sum(axis=(0, 2, 3), keepdims=True)
    keep = (rng.random((members, batch, CONFIG.hidden)) < 0.8).astype(np.float32) / 0.8
    return x, y, share, keep


def _slow_loss(weights, x, y, share, keep, member):
    """One member's loss, chunk by chunk and moment by moment, in double precision."""
    own = {name: values[member].astype(np.float64) for name, values in weights.items()}
    n = CONFIG.hidden
    total = 0.0
    for chunk in range(x.shape[2]):
        hidden, cell = np.zeros(n), np.zeros(n)
        for t in range(len(x)):
            z = x[t, member, chunk] @ own["input"] + hidden @ own["recurrent"] + own["bias"]
            enter, forget, leave = (1 / (1 + np.exp(-z[k * n : (k + 1) * n])) for k in range(3))
            cell = forget * cell + enter * np.tanh(z[3 * n :])
            hidden = leave * np.tanh(cell)
            s = t - (len(x) - len(y))
            if s < 0:
                continue
            out = (hidden * keep[member, chunk]) @ own["head"] + own["head_bias"]
            for h in range(CONFIG.horizon):
                freedom = LEAST_FREEDOM + math.log1p(math.exp(out[CONFIG.horizon + h]))
                density = stats.t.logpdf(y[s, member, chunk, h], freedom, scale=math.exp(out[h]))
                total -= share[s, member, chunk, h] * density
    return total


def _loss_and_gradients(weights, x, y, share, keep):
    run = compiled(loss_and_gradients)
    placed = {name: tensor(values) for name, values in weights.items()}
    loss, gradients = run(placed, *(tensor(values) for values in (x, y, share, keep)))
    return array(loss), {name: array(values) for name, values in gradients.items()}


def test_the_loss_equals_the_student_t_density_of_a_slow_loop():
    weights, batch = _some_weights(2), _some_batch(2)
    loss, _ = _loss_and_gradients(weights, *batch)
    assert loss == pytest.approx([_slow_loss(weights, *batch, member) for member in range(2)], rel=1e-5)


def test_each_gradient_is_the_slope_of_the_slow_loss():
    weights, batch = _some_weights(2), _some_batch(2)
    _, gradients = _loss_and_gradients(weights, *batch)
    rng = np.random.default_rng(5)
    for name, values in weights.items():
        for _ in range(6):
            at = tuple(int(rng.integers(size)) for size in values.shape)
            losses = []
            for sign in (1, -1):
                other = {key: array_.astype(np.float64) for key, array_ in weights.items()}
                other[name][at] += sign * 1e-5
                losses.append(_slow_loss(other, *batch, at[0]))
            slope = (losses[0] - losses[1]) / 2e-5
            assert gradients[name][at] == pytest.approx(slope, rel=2e-4, abs=2e-6), (name, at)


def test_a_member_gets_the_same_gradient_alone_and_among_others():
    weights, (x, y, share, keep) = _some_weights(3), _some_batch(3)
    loss, gradients = _loss_and_gradients(weights, x, y, share, keep)
    one = slice(1, 2)
    alone_loss, alone = _loss_and_gradients(
        {name: values[one] for name, values in weights.items()}, x[:, one], y[:, one], share[:, one], keep[one]
    )
    assert alone_loss == pytest.approx(loss[one], rel=1e-6)
    for name, values in alone.items():
        np.testing.assert_allclose(values, gradients[name][one], rtol=1e-5, atol=1e-7)


def test_the_states_equal_those_of_a_keras_lstm_layer():
    weights, (x, *_) = _some_weights(1), _some_batch(1)
    n = CONFIG.hidden
    # Keras orders the gates: input, forget, candidate, output.
    order = np.concatenate([np.arange(2 * n), np.arange(3 * n, 4 * n), np.arange(2 * n, 3 * n)])
    layer = keras.layers.LSTM(n, return_sequences=True)
    layer.build((None, None, CONFIG.n_features))
    layer.set_weights([weights[name][0][..., order] for name in ("input", "recurrent", "bias")])
    theirs = array(layer(tensor(np.swapaxes(x[:, 0], 0, 1))))
    placed = {name: tensor(values) for name, values in weights.items()}
    _, _, ours = compiled(run_forward)(placed, tensor(x))
    np.testing.assert_allclose(np.swapaxes(array(ours)[:, 0], 0, 1), theirs, rtol=1e-5, atol=1e-6)


def test_an_untrained_member_forecasts_the_volatility_base_itself():
    fresh = stacked([fresh_weights(NetworkConfig(21), np.random.default_rng(0))])
    hidden = tensor(np.random.default_rng(1).standard_normal((1, 9, 32), np.float32))
    log_scale, freedom = student_t({name: tensor(values) for name, values in fresh.items()}, hidden)
    assert not array(log_scale).any()
    assert array(freedom) == pytest.approx(np.full((1, 9, 7), LEAST_FREEDOM + math.log(2)))


def test_gamma_functions_agree_with_scipy_where_they_are_used():
    x = np.concatenate([np.linspace(1, 20, 400), [50.0, 1e3, 1e5]]).astype(np.float32)
    assert array(_log_gamma(tensor(x))) == pytest.approx(special.gammaln(x.astype(float)), rel=2e-6, abs=4e-6)
    assert array(_digamma(tensor(x))) == pytest.approx(special.digamma(x.astype(float)), rel=2e-6, abs=2e-6)


def test_weights_of_another_network_are_refused():
    weights = _some_weights(2)
    assert check_weights(CONFIG, weights) == 2
    with pytest.raises(BadWeights, match="recurrent"):
        check_weights(CONFIG, weights | {"recurrent": weights["recurrent"][:, :-1]})
    with pytest.raises(BadWeights, match="expected weights"):
        check_weights(CONFIG, {"input": weights["input"]})
    with pytest.raises(BadWeights, match="not finite"):
        check_weights(CONFIG, weights | {"bias": weights["bias"] * np.float32(np.nan)})
