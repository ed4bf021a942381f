"""The LSTM cell written out in numpy, and a plain recurrent network, whose gradient vanishes, to compare it with.

This code is meant for reading; a test compares it with Keras's own layer. The `tutorial` model also forecasts with it.
Shapes: n windows, T moments, F features, N hidden units. A cell's weights have N columns each for the input gate, the
forget gate, the candidate and the output gate, in this order, which is Keras's.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.inexact]
CellWeights = Mapping[str, Array]
"""input (F, 4N), recurrent (N, 4N), bias (4N,)."""


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * z)))


def lstm_cell(x: Array, output: Array, state: Array, weights: CellWeights) -> tuple[Array, Array]:
    """Return the next output and state, (n, N) each, from one moment's x (n, F) and the last output and state.

    Hochreiter and Schmidhuber, 1997, "Long short-term memory", Neural Computation 9(8), with the forget gate of
    Gers, Schmidhuber and Cummins, 2000, "Learning to forget", Neural Computation 12(10).
    """
    z = x @ weights["input"] + output @ weights["recurrent"] + weights["bias"]
    for_input, for_forget, for_candidate, for_output = np.split(z, 4, axis=-1)
    forget_gate = sigmoid(for_forget)  # how much of the old state stays
    input_gate = sigmoid(for_input)  # how much of the candidate is let in
    candidate = np.tanh(for_candidate)  # the new content that this moment offers to the state
    output_gate = sigmoid(for_output)  # how much of the state goes into the output
    state = forget_gate * state + input_gate * candidate
    return np.asarray(output_gate * np.tanh(state)), np.asarray(state)


def run_lstm(x: Array, weights: CellWeights) -> Array:
    """Return the output after the last moment, (n, N), of windows x (n, T, F); output and state start at zero."""
    output: Array = np.zeros((len(x), weights["recurrent"].shape[0]))
    state = np.zeros_like(output)
    for moment in range(x.shape[1]):
        output, state = lstm_cell(x[:, moment], output, state, weights)
    return output


def run_plain_rnn(x: Array, weights: CellWeights) -> Array:
    """Return the same as `run_lstm` for a network without gates or state: output = tanh(x U + output W + b).

    `weights`: input (F, N), recurrent (N, N), bias (N,) (Elman, 1990, "Finding structure in time", Cogn. Science 14).
    """
    output: Array = np.zeros((len(x), weights["recurrent"].shape[0]))
    for moment in range(x.shape[1]):
        output = np.tanh(x[:, moment] @ weights["input"] + output @ weights["recurrent"] + weights["bias"])
    return output


def influence(run: Callable[[Array, CellWeights], Array], x: Array, weights: CellWeights) -> NDArray[np.float64]:
    """Return how much each moment moves the last output, (T,): the length of d output / d x_t, all features together.

    `x`: one window (1, T, F). The derivative is taken with an imaginary step. It subtracts no close numbers, so it is
    exact down to the smallest gradient (Squire and Trapp, 1998, "Using complex variables to estimate derivatives of
    real functions", SIAM Review 40(1)).
    """
    step = 1e-100
    lengths = np.empty(x.shape[1])
    for moment in range(x.shape[1]):
        moved = x.astype(np.complex128)
        moved[:, moment] += 1j * step
        lengths[moment] = np.linalg.norm(run(moved, weights).imag / step)
    return lengths
