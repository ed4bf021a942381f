"""Trains a fleet of networks as one batched graph, and runs trained ones: numpy in, numpy out.

A year of backfill needs hundreds of small networks (members x folds x series). Trained one by one, they would spend
most of the time in tracing; here they share a compiled graph. Each member has its own training rows, random generator
(initial weights, order of chunks, dropout), learning rates and number of steps, so it ends with the weights it would
have if trained alone. Data are shared: one table holds the features of all series one below the other, and members
hold row numbers.
"""

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.errors import TrainingFailed
from models.interface import Progress, silent
from models.lstm.backend import Tensor, array, compiled, on_accelerator, ops, tensor
from models.lstm.network import (
    NetworkConfig,
    Weights,
    fresh_weights,
    loss_and_gradients,
    run_forward,
    stacked,
    student_t,
)
from models.lstm.threads import StallCheck, in_threads

# Members that share one graph on a CPU. A smaller fleet is filled up with members that learn nothing, so that every
# training of a process, of one network or a thousand, runs the same compiled graph and gives a member the same bits.
# With eight members the arrays of one moment fit the processor's cache; measured, larger groups are not cheaper.
CPU_GROUP = 8
# On an accelerator a group is the whole fleet, rounded up to a power of two, at most this many for its memory.
ACCELERATOR_GROUP = 1024
# Steps in one call of the compiled graph; progress is reported between calls.
STEPS_PER_CALL = 16
# Origins forecast in one call. Fewer are filled up to this number, so an origin gets the same bits alone and among
# others.
ORIGINS_PER_CALL = 64

# Weights and AdamW's two running means, each by name with a leading member axis.
State = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class TrainingConfig:
    """How a member is trained. Lengths are in candles.

    A chunk is `burn_in` candles that warm the state up and `scored` candles whose targets count.
    """

    burn_in: int = 30
    scored: int = 60
    batch: int = 32
    weight_decay: float = 1e-3
    clip_norm: float = 1.0

    @property
    def chunk(self) -> int:
        """Candles in a chunk. A trained network looks back on as many."""
        return self.burn_in + self.scored


@dataclass(frozen=True)
class Member:
    """One network to train: its rows, its seed and its number of epochs.

    `parts` are (first, stop) row spans of the shared tables, one a series. The member learns from no row at or past
    `stop`, and a target h steps ahead counts only in rows before stop - h: those targets are realised before `stop`.
    `seed` feeds the member's own generator. With `start` the training goes on from these weights instead of fresh ones.
    """

    parts: tuple[tuple[int, int], ...]
    seed: tuple[int, ...]
    epochs: int
    learning_rate: float = 3e-3
    start: Weights | None = None


@dataclass(frozen=True)
class Fitted:
    """A trained member: its weights, and its loss at each step (mean negative log density per target)."""

    weights: Weights
    losses: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class _Plan:
    """A member's whole training, planned before it starts: S steps, B chunks a batch, N hidden units."""

    weights: Weights
    starts: NDArray[np.int32]  # (S, B): first row of each chunk, -1 where a batch is not full
    stops: NDArray[np.int32]  # (S, B): the row before which the chunk's part ends
    keep: NDArray[np.bool_]  # (S, B, N): units that dropout lets through
    rates: NDArray[np.float32]  # (S,): learning rate


def train_fleet(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    members: Sequence[Member],
    *,
    network: NetworkConfig,
    training: TrainingConfig | None = None,
    progress: Progress = silent,
) -> list[Fitted]:
    """Return each member trained, in order.

    features: (n_rows, n_features) float32, finite; targets: (n_rows, horizon) float32, NaN where there is none; the
    target of row r and step h is realised at row r + h. Rows of several series stand one below the other in time order;
    members point into them. On a CPU the same seed gives the same bits, whatever other members are in the fleet.

    Raises TrainingFailed when a member has no chunk to learn from, when no step is made for a quarter of an hour, and
    when a member ends with weights that are not finite.
    """
    training = training or TrainingConfig()
    if not np.isfinite(features).all():
        raise ValueError("expected finite features: rows without them belong outside every part, filled with zeros")
    tables = _padded_rows(features, 0.0), _padded_rows(targets, np.nan)
    size = min(ACCELERATOR_GROUP, 1 << (len(members) - 1).bit_length()) if on_accelerator() else CPU_GROUP
    groups = [range(i, min(i + size, len(members))) for i in range(0, len(members), size)]
    steps = [max(_n_steps(members[i], training) for i in group) for group in groups]
    done = [0] * len(groups)
    stop = threading.Event()

    def train(number: int) -> list[Fitted]:
        plans = [_plan(members[i], network, training) for i in groups[number]]

        def report(step: int) -> bool:
            done[number] = step
            return stop.is_set()

        return _train_group(tables, plans, size, training, network.dropout, report)

    # The matrices of one group are too small for several cores. Groups are independent, so one runs on each core.
    workers = 1 if on_accelerator() else min(len(groups), _cores())
    check = StallCheck()
    with in_threads(train, len(groups), workers=workers, stop=stop) as futures:
        running = set(futures)
        while running:
            # Progress is reported from here because its receiver may belong to this thread.
            finished, running = wait(running, timeout=0.5)
            for future in finished:
                future.result()
            check(sum(done))
            progress(sum(done), sum(steps), f"training {len(members)} nets")
    fitted = [member for future in futures for member in future.result()]
    for number, member in enumerate(fitted):
        if not all(np.isfinite(values).all() for values in member.weights.values()):
            raise TrainingFailed(f"net {number + 1} of {len(members)} ended with weights that are not finite numbers")
    return fitted


def predict(
    features: NDArray[np.float32], rows: NDArray[np.int64], weights: Weights, *, lookback: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return log-scale and degrees of freedom of each member's Student-t: each (members, n_origins, horizon).

    `rows` are the last rows the forecasts may see. From a state of zeros each network reads the `lookback` rows that
    end there and nothing else, so a forecast does not depend on the other rows asked for. `weights` are stacked.
    """
    if len(rows) and rows.min() < lookback - 1:
        raise ValueError(f"expected rows from {lookback - 1} on, the first with {lookback} rows up to it")
    run = _compiled_forecast(lookback)
    table = tensor(_padded_rows(features, 0.0))
    placed = {name: tensor(values) for name, values in weights.items()}
    parts = []
    for start in range(0, len(rows), ORIGINS_PER_CALL):
        chosen = rows[start : start + ORIGINS_PER_CALL]
        filled = np.resize(chosen, ORIGINS_PER_CALL).astype(np.int32)
        parts.append([array(values)[:, : len(chosen)] for values in run(placed, table, tensor(filled))])
    log_scale, freedom = (np.concatenate(values, axis=1) for values in zip(*parts, strict=True))
    return log_scale, freedom


def one_cycle(peak: float, steps: int) -> NDArray[np.float32]:
    """Return the learning rate of each step: it rises from peak / 25 over the first 30 %, then falls to nearly zero.

    Both ways follow a cosine: Smith and Topin, 2018, "Super-convergence" (arXiv 1708.07120), with the defaults of
    PyTorch's OneCycleLR.
    """
    top = max(0.3 * steps - 1, 1e-9)
    step = np.arange(steps)
    rising = np.minimum(step / top, 1.0)
    falling = np.clip((step - top) / max(steps - 1 - top, 1e-9), 0.0, 1.0)
    low, end = peak / 25, peak / 25e4
    up = low + (peak - low) * (1 - np.cos(np.pi * rising)) / 2
    down = end + (peak - end) * (1 + np.cos(np.pi * falling)) / 2
    return np.where(step <= top, up, down).astype(np.float32)


def _chunk_starts(first: int, stop: int, offset: int, training: TrainingConfig) -> NDArray[np.int32]:
    """Return the first rows of the chunks with at least one target that counts; their scored parts do not overlap."""
    return np.arange(first + offset, stop - 1 - training.burn_in, training.scored, dtype=np.int32)


def _steps_per_epoch(member: Member, training: TrainingConfig) -> int:
    chunks = sum(len(_chunk_starts(first, stop, 0, training)) for first, stop in member.parts)
    if chunks == 0:
        raise TrainingFailed(
            f"no training rows: none of the spans {member.parts} is longer than {training.burn_in + 1} candles"
        )
    return math.ceil(chunks / training.batch)


def _n_steps(member: Member, training: TrainingConfig) -> int:
    return member.epochs * _steps_per_epoch(member, training)


def _plan(member: Member, network: NetworkConfig, training: TrainingConfig) -> _Plan:
    rng = np.random.default_rng(member.seed)
    weights = fresh_weights(network, rng)
    per_epoch = _steps_per_epoch(member, training)
    steps = member.epochs * per_epoch
    starts = np.full((steps, training.batch), -1, np.int32)
    stops = np.zeros((steps, training.batch), np.int32)
    step = 0
    for _ in range(member.epochs):
        chunks = []
        for first, stop in member.parts:
            # Every epoch shifts the chunks' borders, so a candle comes at different distances from a chunk's start.
            first_rows = _chunk_starts(first, stop, int(rng.integers(training.scored)), training)
            chunks.append(np.stack([first_rows, np.full_like(first_rows, stop)]))
        shuffled = rng.permutation(np.concatenate(chunks, axis=1), axis=1)
        for part in np.array_split(shuffled, per_epoch, axis=1):
            starts[step, : part.shape[1]], stops[step, : part.shape[1]] = part
            step += 1
    keep = rng.random((steps, training.batch, network.hidden), dtype=np.float32) >= network.dropout
    start = member.start if member.start is not None else weights
    return _Plan(start, starts, stops, keep, one_cycle(member.learning_rate, steps))


def _train_group(
    tables: tuple[NDArray[np.float32], NDArray[np.float32]],
    plans: list[_Plan],
    size: int,
    training: TrainingConfig,
    dropout: float,
    report: Callable[[int], bool],
) -> list[Fitted]:
    """Return the group's trained members; `report(step)` takes the steps done and returns whether to stop early."""
    run = _compiled_steps(training, dropout)
    n_steps = max(len(plan.rates) for plan in plans)
    batch, hidden = plans[0].keep.shape[1:]
    padded = -(-n_steps // STEPS_PER_CALL) * STEPS_PER_CALL
    starts = np.full((padded, size, batch), -1, np.int32)
    stops = np.zeros((padded, size, batch), np.int32)
    keep = np.zeros((padded, size, batch, hidden), np.bool_)
    rates = np.zeros((padded, size), np.float32)
    for number, plan in enumerate(plans):
        own = slice(len(plan.rates)), number
        starts[own], stops[own], keep[own], rates[own] = plan.starts, plan.stops, plan.keep, plan.rates
    first = stacked([plan.weights for plan in plans] + [plans[0].weights] * (size - len(plans)))
    zeros = {name: np.zeros_like(values) for name, values in first.items()}
    start, means, squares = ({n: tensor(values) for n, values in part.items()} for part in (first, zeros, zeros))
    state: State = start, means, squares
    features, targets = (tensor(table) for table in tables)
    losses = []
    for at in range(0, n_steps, STEPS_PER_CALL):
        if report(at):
            break
        now = slice(at, at + STEPS_PER_CALL)
        count = np.int32(min(STEPS_PER_CALL, n_steps - at))
        plan_now = [tensor(table[now]) for table in (starts, stops, keep, rates)]
        state, loss = run(state, features, targets, *plan_now, tensor(np.int32(at)), tensor(count))
        losses.append(array(loss))
    report(n_steps)
    weights = {name: array(values) for name, values in state[0].items()}
    loss_table = np.concatenate(losses) if losses else np.zeros((0, size), np.float32)
    return [
        Fitted({name: values[i].copy() for name, values in weights.items()}, loss_table[: len(plan.rates), i].copy())
        for i, plan in enumerate(plans)
    ]


def targets_known(rows: Tensor, starts: Tensor, stops: Tensor, horizon: int) -> Tensor:
    """Return which targets a training may use, (S, G, B, H): those realised before the member's stop.

    rows: (S, G, B) scored rows; starts, stops: (G, B) of their chunks; a start of -1 marks an empty place in a batch.
    """
    ahead = tensor(np.arange(1, horizon + 1, dtype=np.int32))
    realised = rows[..., None] + ahead < stops[None, ..., None]
    return ops.logical_and(realised, starts[None, ..., None] >= 0)


@lru_cache(maxsize=8)
def _compiled_steps(training: TrainingConfig, dropout: float) -> Callable[..., tuple[State, Tensor]]:
    """Return the compiled loop over training steps. Shapes: K steps a call, G members, B chunks, N hidden units."""

    def one_step(
        state: State,
        features: Tensor,
        targets: Tensor,
        starts: Tensor,
        stops: Tensor,
        keep: Tensor,
        rate: Tensor,
        number: Tensor,
    ) -> tuple[State, Tensor]:
        weights, means, squares = state
        n_rows, horizon = targets.shape
        moments = tensor(np.arange(training.chunk, dtype=np.int32)[:, None, None])
        # A chunk may read rows past the end of its part. Only moments from there on see them, and those have no weight.
        rows = ops.clip(starts[None] + moments, 0, n_rows - 1)
        x = ops.take(features, rows, axis=0)
        scored = rows[training.burn_in :]
        y = ops.take(targets, scored, axis=0)
        counts = ops.logical_and(targets_known(scored, starts, stops, horizon), ops.isfinite(y))
        y = ops.where(counts, y, ops.zeros_like(y))
        share = ops.cast(counts, "float32")
        share = share / ops.maximum(ops.sum(share, axis=(0, 2, 3), keepdims=True), 1.0)
        loss, gradients = loss_and_gradients(weights, x, y, share, keep)

        squared = sum(ops.sum(ops.square(g), axis=tuple(range(1, len(g.shape)))) for g in gradients.values())
        shrink = ops.minimum(training.clip_norm / (ops.sqrt(squared) + 1e-6), 1.0)
        number = ops.cast(number, "float32")
        bias1, bias2 = 1 - ops.exp(number * math.log(_BETA1)), 1 - ops.exp(number * math.log(_BETA2))
        # AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101). A rate of 0 leaves the member's weights unchanged.
        updated: State = ({}, {}, {})
        for name, gradient in gradients.items():
            spread = (-1, *([1] * (len(gradient.shape) - 1)))
            own_rate, own_shrink = ops.reshape(rate, spread), ops.reshape(shrink, spread)
            gradient = gradient * own_shrink
            mean = _BETA1 * means[name] + (1 - _BETA1) * gradient
            square = _BETA2 * squares[name] + (1 - _BETA2) * ops.square(gradient)
            decayed = weights[name] * (1 - own_rate * training.weight_decay)
            updated[0][name] = decayed - own_rate * (mean / bias1) / (ops.sqrt(square / bias2) + _EPSILON)
            updated[1][name], updated[2][name] = mean, square
        return updated, loss

    def steps(
        state: State,
        features: Tensor,
        targets: Tensor,
        starts: Tensor,  # (K, G, B) int32
        stops: Tensor,  # (K, G, B) int32
        keep: Tensor,  # (K, G, B, N) bool
        rates: Tensor,  # (K, G)
        before: Tensor,  # steps made in earlier calls
        count: Tensor,  # steps to make, at most K
    ) -> tuple[State, Tensor]:
        def body(i: Tensor, carried: tuple[State, Tensor]) -> tuple[State, Tensor]:
            state, losses = carried
            dropout_scale = ops.cast(keep[i], "float32") / (1 - dropout)
            state, loss = one_step(
                state, features, targets, starts[i], stops[i], dropout_scale, rates[i], before + i + 1
            )
            return state, ops.slice_update(losses, (i, 0), loss[None])

        result: tuple[State, Tensor] = ops.fori_loop(0, count, body, (state, ops.zeros(rates.shape)))
        return result

    return compiled(steps)


@lru_cache(maxsize=8)
def _compiled_forecast(lookback: int) -> Callable[[dict[str, Tensor], Tensor, Tensor], tuple[Tensor, Tensor]]:
    def forecast(weights: dict[str, Tensor], features: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        members = weights["bias"].shape[0]
        moments = tensor(np.arange(1 - lookback, 1, dtype=np.int32)[:, None])
        x = ops.take(features, rows[None] + moments, axis=0)[:, None]
        x = ops.broadcast_to(x, (lookback, members, *x.shape[2:]))
        _, _, hidden = run_forward(weights, x)
        return student_t(weights, hidden[-1])

    return compiled(forecast)


def _padded_rows(table: NDArray[np.float32], filler: float) -> NDArray[np.float32]:
    """Return `table` with rows added up to a power of two, so that tables of similar size share a compiled graph."""
    rows = max(1024, 1 << (len(table) - 1).bit_length())
    padded = np.full((rows, table.shape[1]), filler, np.float32)
    padded[: len(table)] = table
    return padded


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
