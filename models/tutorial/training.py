"""Fits the recipe's network: LSTM -> dense -> mean squared error, Adam, clipped gradients, one epoch a compiled call.

Batches of seven are so small that calling a framework costs more than their arithmetic. So the gradient is written out
once for all backends, and a test compares it with automatic differentiation and Keras's Adam
(docs/decisions/0010-tutorial-gradient.md has the figures of the other ways).

Shapes: B windows a batch, T moments a window, N hidden units; a network's weights are `models.tutorial.cell`'s, with
`head` (N, 1) and `head_bias` (1,).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from models.errors import TrainingFailed
from models.lstm.backend import Tensor, array, compiled, ops, tensor
from models.tutorial.cell import run_lstm
from models.tutorial.recipe import Recipe
from models.tutorial.windows import Windows

Weights = dict[str, NDArray[np.float32]]
WEIGHT_NAMES = ("input", "recurrent", "bias", "head", "head_bias")
# Weights, and Adam's running means of gradients and of their squares.
State = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]
# Called after each epoch with (epochs done, epochs in all, each fit's loss in it).
EpochReport = Callable[[int, int, Sequence[float]], None]

# Batches are filled up to a multiple of this, unused, so that trainings of nearly one length share a compiled graph.
BATCHES_TOGETHER = 64

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
# The spread of the tutorial's initial weights, drawn from a normal cut at two standard deviations.
_INITIAL = 0.05


@dataclass(frozen=True)
class Fit:
    """One network to train: on which windows, from which seed, or from which weights."""

    windows: Windows
    seed: int
    start: Mapping[str, NDArray[np.float32]] | None = None


@dataclass(frozen=True)
class Fitted:
    """A trained network: its weights, and the mean squared error of its steps, epoch by epoch, (epochs,)."""

    weights: Weights
    losses: NDArray[np.float64] = field(repr=False)


@dataclass
class _Running:
    """A network in training: weights, Adam's two means, steps done, and its batches."""

    state: State
    step: int
    batches: int
    x: Tensor  # (at least that many batches, B, T, 1)
    y: Tensor  # (the same, B, 1)
    losses: list[float]


def no_report(done: int, epochs: int, losses: Sequence[float]) -> None:
    """Report an epoch to nobody."""


def fresh_weights(hidden: int, seed: int) -> Weights:
    """Return untrained weights as the tutorial draws them: truncated normal with deviation 0.05, biases zero."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return np.asarray(truncnorm.rvs(-2, 2, scale=_INITIAL, size=shape, random_state=rng), np.float32)

    return {
        "input": drawn(1, 4 * hidden),
        "recurrent": drawn(hidden, 4 * hidden),
        "bias": np.zeros(4 * hidden, np.float32),
        "head": drawn(hidden, 1),
        "head_bias": np.zeros(1, np.float32),
    }


def train_networks(fits: Sequence[Fit], recipe: Recipe, report: EpochReport = no_report) -> list[Fitted]:
    """Return each fit trained for `recipe.epochs` epochs, in order; all go through an epoch before any begins the next.

    Windows stay in their order and what fills no batch is left out, as in the tutorial. Unlike there, gradients are
    clipped before they are applied. Fits are independent: each comes out as it would alone.

    Raises TrainingFailed for fewer windows than a batch, or when a loss is no longer a number.
    """
    running = [_start(fit, recipe) for fit in fits]
    run_epoch = _compiled_epoch(recipe.learning_rate, recipe.clip_margin)

    def go_on(one: _Running) -> float:
        count, before = tensor(np.int32(one.batches)), tensor(np.float32(one.step))
        one.state, losses = run_epoch(one.state, one.x, one.y, count, before)
        one.step += one.batches
        return float(array(losses)[: one.batches].mean())

    with ThreadPoolExecutor(max(1, min(len(fits), os.cpu_count() or 1))) as pool:
        for epoch in range(1, recipe.epochs + 1):
            losses = list(pool.map(go_on, running))
            for number, (one, loss) in enumerate(zip(running, losses, strict=True)):
                if not np.isfinite(loss):
                    raise TrainingFailed(f"fit {number} of {len(fits)} has a loss of {loss} in epoch {epoch}")
                one.losses.append(loss)
            report(epoch, recipe.epochs, losses)
    return [
        Fitted({name: array(values) for name, values in one.state[0].items()}, np.array(one.losses)) for one in running
    ]


def predict_next(weights: Mapping[str, NDArray[np.float32]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scaled value after each of the scaled windows x (n, T, 1), (n,), by `models.tutorial.cell`."""
    exact = {name: np.asarray(values, np.float64) for name, values in weights.items()}
    return np.asarray((run_lstm(x, exact) @ exact["head"] + exact["head_bias"])[:, 0])


def _start(fit: Fit, recipe: Recipe) -> _Running:
    size = recipe.batch_size
    batches = len(fit.windows.X) // size
    if batches == 0:
        raise TrainingFailed(f"expected at least {size} windows, one batch, to learn from, got {len(fit.windows.X)}")
    padded = -(-batches // BATCHES_TOGETHER) * BATCHES_TOGETHER
    x = np.zeros((padded, size, *fit.windows.X.shape[1:]), np.float32)
    y = np.zeros((padded, size, 1), np.float32)
    for table, values in ((x, fit.windows.X), (y, fit.windows.y)):
        table[:batches] = values[: batches * size].reshape(batches, *table.shape[1:])
    first = fit.start if fit.start is not None else fresh_weights(recipe.hidden_layers, fit.seed)
    weights, means, squares = (
        {name: tensor(change(np.asarray(first[name], np.float32))) for name in WEIGHT_NAMES}
        for change in (np.array, np.zeros_like, np.zeros_like)
    )
    return _Running((weights, means, squares), 0, batches, tensor(x), tensor(y), [])


def loss_and_gradients(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean squared error of a batch and its gradient: x (B, T, 1), y (B, 1), the weights' shapes out."""
    batch, moments = x.shape[:2]
    n = weights["head"].shape[0]
    output = state = ops.zeros((batch, n))
    kept = []
    for t in range(moments):
        z = ops.matmul(x[:, t], weights["input"]) + ops.matmul(output, weights["recurrent"]) + weights["bias"]
        let_in, forget, show = (ops.sigmoid(z[:, i * n : (i + 1) * n]) for i in (0, 1, 3))
        candidate = ops.tanh(z[:, 2 * n : 3 * n])
        before = output, state
        state = forget * state + let_in * candidate
        squashed = ops.tanh(state)
        output = show * squashed
        kept.append((let_in, forget, candidate, show, squashed, *before))
    error = ops.matmul(output, weights["head"]) + weights["head_bias"] - y
    by_prediction = error * (2 / batch)

    # Back through time (Werbos, 1990, "Backpropagation through time", Proc. IEEE 78).
    by_output = ops.matmul(by_prediction, ops.transpose(weights["head"]))
    by_state = ops.zeros((batch, n))
    back = ops.transpose(weights["recurrent"])
    by_z = []
    for let_in, forget, candidate, show, squashed, _, state_before in reversed(kept):
        by_state = by_state + by_output * show * (1 - squashed * squashed)
        gates = [
            by_state * candidate * let_in * (1 - let_in),
            by_state * state_before * forget * (1 - forget),
            by_state * let_in * (1 - candidate * candidate),
            by_output * squashed * show * (1 - show),
        ]
        by_z.append(ops.concatenate(gates, axis=-1))
        by_output, by_state = ops.matmul(by_z[-1], back), by_state * forget
    # One product over all moments at once: adding one a moment writes the largest matrix T times.
    all_z = ops.concatenate(by_z[::-1], axis=0)
    outputs_before = ops.concatenate([moment[5] for moment in kept], axis=0)
    inputs = ops.concatenate([x[:, t] for t in range(moments)], axis=0)
    gradients = {
        "input": ops.matmul(ops.transpose(inputs), all_z),
        "recurrent": ops.matmul(ops.transpose(outputs_before), all_z),
        "bias": ops.sum(all_z, axis=0),
        "head": ops.matmul(ops.transpose(output), by_prediction),
        "head_bias": ops.sum(by_prediction, axis=0),
    }
    return ops.mean(ops.square(error)), gradients


def clipped(gradients: dict[str, Tensor], margin: float) -> dict[str, Tensor]:
    """Return gradients shrunk together so that their global norm is at most `margin`; their direction stays.

    Pascanu, Mikolov and Bengio, 2013, "On the difficulty of training recurrent neural networks", ICML. The tutorial
    computes the same by TensorFlow's `clip_by_global_norm`, and then applies the gradients it had before.
    """
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients.values()))
    # An untouched gradient is multiplied by exactly one.
    shrink = margin / ops.maximum(norm, margin)
    return {name: gradient * shrink for name, gradient in gradients.items()}


@lru_cache(maxsize=8)
def _compiled_epoch(learning_rate: float, clip_margin: float) -> Callable[..., tuple[State, Tensor]]:
    """Return the compiled loop over an epoch's first `count` batches, after `before` steps in earlier epochs."""

    def one_step(state: State, x: Tensor, y: Tensor, number: Tensor) -> tuple[State, Tensor]:
        weights, means, squares = state
        loss, gradients = loss_and_gradients(weights, x, y)
        # Adam (Kingma and Ba, 2015, arXiv 1412.6980), with the bias correction in the rate as TensorFlow has it.
        bias1, bias2 = 1 - ops.power(_BETA1, number), 1 - ops.power(_BETA2, number)
        rate = learning_rate * ops.sqrt(bias2) / bias1
        news: State = ({}, {}, {})
        for name, gradient in clipped(gradients, clip_margin).items():
            mean = _BETA1 * means[name] + (1 - _BETA1) * gradient
            square = _BETA2 * squares[name] + (1 - _BETA2) * ops.square(gradient)
            news[0][name] = weights[name] - rate * mean / (ops.sqrt(square) + _EPSILON)
            news[1][name], news[2][name] = mean, square
        return news, loss

    def epoch(state: State, x: Tensor, y: Tensor, count: Tensor, before: Tensor) -> tuple[State, Tensor]:
        def body(i: Tensor, carried: tuple[State, Tensor]) -> tuple[State, Tensor]:
            state, losses = carried
            state, loss = one_step(state, x[i], y[i], before + ops.cast(i, "float32") + 1)
            return state, ops.slice_update(losses, (i,), loss[None])

        result: tuple[State, Tensor] = ops.fori_loop(0, count, body, (state, ops.zeros(x.shape[:1])))
        return result

    return compiled(epoch)
