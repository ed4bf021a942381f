"""Trains the recipe's network: LSTM -> dense -> mean squared error, Keras's Adam on clipped gradients.

Batches of seven windows are so small that calling a framework costs more than their arithmetic. So an epoch is one
compiled call (docs/decisions/0010-tutorial-gradient.md has the figures).

Shapes: B windows a batch, T moments a window, N hidden units; a network's weights are `models.tutorial.cell`'s, with
`head` (N, 1) and `head_bias` (1,).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from models.errors import TrainingFailed
from models.lstm.backend import Tensor, array, compiled_descent, differentiated, keras, ops, tensor
from models.tutorial.cell import run_lstm
from models.tutorial.recipe import Recipe
from models.tutorial.windows import Windows

Weights = dict[str, NDArray[np.float32]]
WEIGHT_NAMES = ("input", "recurrent", "bias", "head", "head_bias")
# Called after each epoch with (epochs done, epochs in all, each fit's loss in it).
EpochReport = Callable[[int, int, Sequence[float]], None]

# Standard deviation of the tutorial's initial weights, drawn from a normal cut at two standard deviations.
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
    """A network in training: its weights as variables, its batches, and the compiled function that trains an epoch."""

    variables: "list[keras.Variable]"
    train_epoch: Callable[[Tensor, Tensor], Tensor]
    x: Tensor  # (n_batches, B, T, 1)
    y: Tensor  # (n_batches, B, 1)
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
    """Return each fit trained for `recipe.epochs` epochs, in order; all end an epoch before any begins the next.

    Windows stay in their order, and windows that fill no batch are left out, as in the tutorial. All gradients of a
    step are shrunk together so that their global norm is at most `recipe.clip_margin` (Pascanu, Mikolov and Bengio,
    2013, "On the difficulty of training recurrent neural networks", ICML). The tutorial computes these clipped
    gradients and then applies the unclipped ones. Fits are independent: each has the same result as alone.

    Raises TrainingFailed for fewer windows than a batch, or when a loss is no longer a number.
    """
    running = [_start(fit, recipe) for fit in fits]

    def train_epoch(one: _Running) -> float:
        return float(array(one.train_epoch(one.x, one.y)).mean())

    with ThreadPoolExecutor(max(1, min(len(fits), os.cpu_count() or 1))) as pool:
        for epoch in range(1, recipe.epochs + 1):
            losses = list(pool.map(train_epoch, running))
            for number, (one, loss) in enumerate(zip(running, losses, strict=True)):
                if not np.isfinite(loss):
                    raise TrainingFailed(f"fit {number} of {len(fits)} has a loss of {loss} in epoch {epoch}")
                one.losses.append(loss)
            report(epoch, recipe.epochs, losses)
    return [
        Fitted(
            {name: array(ops.copy(variable.value)) for name, variable in zip(WEIGHT_NAMES, one.variables, strict=True)},
            np.array(one.losses),
        )
        for one in running
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
    x, y = (
        tensor(values[: batches * size].reshape(batches, size, *values.shape[1:]).astype(np.float32))
        for values in (fit.windows.X, fit.windows.y)
    )
    first = fit.start if fit.start is not None else fresh_weights(recipe.hidden_layers, fit.seed)
    variables = [keras.Variable(np.asarray(first[name], np.float32)) for name in WEIGHT_NAMES]
    adam = keras.optimizers.Adam(recipe.learning_rate, epsilon=1e-8, global_clipnorm=recipe.clip_margin)
    return _Running(variables, compiled_descent(loss_and_gradient, adam, variables), x, y, [])


def loss_and_gradient(weights: Sequence[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """Return the mean squared error of a batch x (B, T, 1), y (B, 1), and its gradient for each of WEIGHT_NAMES.

    This is `models.tutorial.cell.run_lstm` with the backend's operations. Automatic differentiation goes as far as what
    enters the gates. From there one product over all moments gives the gradients of the LSTM's weights: automatic
    differentiation would make one as large as the weights at each moment, and add them up.
    """
    of_input, recurrent, bias, head, head_bias = weights
    n, moments = recurrent.shape[0], x.shape[1]

    def loss(changed: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        added, head, head_bias = changed
        output = state = ops.zeros((x.shape[0], n))
        outputs_before = []
        for moment in range(moments):
            outputs_before.append(output)
            z = ops.matmul(x[:, moment], of_input) + ops.matmul(output, recurrent) + bias + added[moment]
            for_input, for_forget, for_candidate, for_output = (z[:, i * n : (i + 1) * n] for i in range(4))
            state = ops.sigmoid(for_forget) * state + ops.sigmoid(for_input) * ops.tanh(for_candidate)
            output = ops.sigmoid(for_output) * ops.tanh(state)
        return ops.mean(ops.square(ops.matmul(output, head) + head_bias - y)), ops.stack(outputs_before)

    nothing = ops.zeros((moments, x.shape[0], 4 * n))
    value, outputs_before, (of_gates, *of_head) = differentiated(loss, [nothing, head, head_bias])
    inputs, outputs_before, of_gates = (
        ops.reshape(one, (-1, one.shape[-1])) for one in (ops.transpose(x, (1, 0, 2)), outputs_before, of_gates)
    )
    of_lstm = [ops.matmul(ops.transpose(one), of_gates) for one in (inputs, outputs_before)]
    return value, [*of_lstm, ops.sum(of_gates, axis=0), *of_head]
