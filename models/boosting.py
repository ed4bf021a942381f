"""Boosted conditional quantiles: the blend's part that can be skewed, unlike the networks' bands.

Trees are fitted with scikit-learn and stored as plain numbers, so a stored model holds no code and forecasting does
not import scikit-learn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import BadWeights, TrainingFailed
from models.features import Features
from models.forecasts import MEDIAN
from models.metrics import LEVELS
from models.quantiles import symmetric

# The fitted levels; the other levels are interpolated between them, and flat beyond them.
FITTED = (0.05, 0.15, 0.3, 0.7, 0.85, 0.95)
# The features of the first candles are averages of too few values, so no tree learns from these rows.
WARM_UP = 60
LEAST_ROWS = 300
# The ratio of conditional to unconditional quantile is cut to this range: a ratio outside is a tree's mistake.
LEAST_RATIO, MOST_RATIO = 0.2, 5.0
NAMES = ("boost_base", "boost_numbers", "boost_features", "boost_left", "boost_right")


@dataclass(frozen=True)
class BoostingConfig:
    """How the trees are grown; chosen on 2018-2020 (docs/forecasting).

    Of more rows than `most_rows` a step, a random part is learnt from: with forty markets twice as many rows cost twice
    as much and score the same.
    """

    rounds: int = 60
    leaves: int = 6
    learning_rate: float = 0.05
    least_in_leaf: int = 60
    l2: float = 1.0
    max_features: float = 0.5
    bins: int = 63
    most_rows: int = 20_000


class Boosted(NamedTuple):
    """What the trees forecast from n rows, for H steps, in units of log return."""

    quantiles: NDArray[np.float64]
    """(n, H, 23): symmetric around 0."""
    skew: NDArray[np.float64]
    """(n, 23): what to add to the quantiles of a step for the skew of the first step's return; 0 at the median."""


def fit_boosting(
    parts: Sequence[tuple[Features, int]], *, seed: int, config: BoostingConfig | None = None
) -> dict[str, NDArray[Any]]:
    """Return gradient-boosted quantile trees for each step and level in FITTED, as arrays to store with a model.

    `parts`: the features of each series and how many of its candles had closed by the cutoff; a target counts only when
    it had been realised by then. The method is that of Friedman, 2001, "Greedy function approximation: a gradient
    boosting machine", Annals of Statistics 29(5), with the pinball loss. Trees are stored as shares of the
    unconditional quantile of their level. Raises TrainingFailed below 300 rows.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    config = config or BoostingConfig()
    horizon = parts[0][0].targets.shape[1]
    nodes = 2 * config.leaves - 1
    shape = (horizon, len(FITTED), config.rounds, nodes)
    base = np.empty((horizon, len(LEVELS)))
    numbers = np.zeros(shape)
    features, left, right = np.full(shape, -1, np.int8), np.zeros(shape, np.int8), np.zeros(shape, np.int8)

    def grow(step: int, level: int) -> None:
        rows, targets = samples[step - 1]
        fitted = HistGradientBoostingRegressor(
            loss="quantile",
            quantile=FITTED[level],
            max_iter=config.rounds,
            max_leaf_nodes=config.leaves,
            learning_rate=config.learning_rate,
            min_samples_leaf=config.least_in_leaf,
            l2_regularization=config.l2,
            max_features=config.max_features,
            max_bins=config.bins,
            early_stopping=False,
            random_state=seed,
        ).fit(rows, targets)
        # scikit-learn has no public way to read the trees, so its version is pinned and a test compares with `predict`.
        start, whole = float(fitted._baseline_prediction.item()), unconditional[step - 1][level]
        for tree, (predictor,) in enumerate(fitted._predictors):
            grown = predictor.nodes
            leaf = grown["is_leaf"].astype(bool)
            at = step - 1, level, tree, slice(0, len(grown))
            share = (grown["value"] + (start if tree == 0 else 0.0)) / whole
            numbers[at] = np.where(leaf, share, grown["num_threshold"])
            features[at] = np.where(leaf, -1, grown["feature_idx"])
            left[at], right[at] = grown["left"], grown["right"]

    realised = [_realised(parts, step) for step in range(1, horizon + 1)]
    unconditional = [np.quantile(targets, FITTED) for _, targets in realised]
    for step, (_, targets) in enumerate(realised):
        # The skew of past returns over several days is the trend of those years, which says nothing about the next.
        base[step] = np.quantile(np.concatenate([targets, -targets]), LEVELS)
    samples = [_sample(*rows, config.most_rows, (seed, step)) for step, rows in enumerate(realised)]
    # With several threads, fits this small mostly wait for their threads: on a busy machine of two cores one thread
    # took a twentieth of the time. Two fits at once gain nothing, since each holds the interpreter's lock.
    with threadpool_limits(limits=1):
        for step, level in product(range(1, horizon + 1), range(len(FITTED))):
            grow(step, level)
    return dict(zip(NAMES, (base, numbers, features, left, right), strict=True))


def boosted(weights: Mapping[str, NDArray[Any]], features: Features, rows: NDArray[np.int64], horizon: int) -> Boosted:
    """Return the trees' forecast from each of `rows`.

    At a fitted level the trees give the conditional quantile over the unconditional one. Between the fitted levels the
    logarithm of that ratio is linear in the normal score; it multiplies the unconditional quantiles, made symmetric.
    The skew is that of step 1: a jump of one day is partly taken back the day after, and what is taken back then is
    part of longer returns too. The trees' own skew at longer steps follows the trend of the years learnt from. Raises
    BadWeights when `weights` lack an array of the trees.
    """
    if not set(NAMES) <= set(weights):
        raise BadWeights(f"expected {', '.join(NAMES)} among the weights, got {sorted(weights)}")
    base = weights["boost_base"].astype(np.float64)
    result = np.empty((len(rows), horizon, len(LEVELS)))
    for step in range(horizon):
        ratio = np.stack(
            [
                _sum_of_trees(features.features[rows], *(weights[name][step, level] for name in NAMES[1:]))
                for level in range(len(FITTED))
            ],
            axis=1,
        )
        ratio = np.clip(ratio, LEAST_RATIO, MOST_RATIO)
        result[:, step] = np.sort(np.exp(np.log(ratio) @ _to_levels()) * base[step], axis=1)
    result *= features.sigma[rows, :horizon, None]
    even = symmetric(result)
    skew = result[:, 0] - even[:, 0]
    return Boosted(even, skew - skew[:, MEDIAN : MEDIAN + 1])


def _realised(parts: Sequence[tuple[Features, int]], step: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the features of rows whose target `step` candles on had been realised, and those targets, centred."""
    rows, targets = [], []
    for series, closed in parts:
        chosen = np.arange(WARM_UP, max(closed - step, WARM_UP))
        chosen = chosen[np.isfinite(series.targets[chosen, step - 1])]
        rows.append(series.features[chosen])
        targets.append(series.targets[chosen, step - 1].astype(np.float64))
    returns = np.concatenate(targets)
    if len(returns) < LEAST_ROWS:
        raise TrainingFailed(
            f"{len(returns)} returns of {step} candles are too few to boost on, {LEAST_ROWS} are needed"
        )
    return np.concatenate(rows), returns - np.median(returns)


def _sample(
    rows: NDArray[np.float32], targets: NDArray[np.float64], most: int, seed: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    if len(targets) <= most:
        return rows, targets
    chosen = np.sort(np.random.default_rng(seed).choice(len(targets), most, replace=False))
    return rows[chosen], targets[chosen]


def _sum_of_trees(
    x: NDArray[np.float32],
    numbers: NDArray[np.float64],
    features: NDArray[np.int8],
    left: NDArray[np.int8],
    right: NDArray[np.int8],
) -> NDArray[np.float64]:
    """Return, for each row of x (n, F), the sum over R trees of the leaf it falls into: (n,). Arrays: (R, nodes)."""
    tree = np.arange(len(numbers))[None, :]
    row = np.arange(len(x))[:, None]
    node = np.zeros((len(x), len(numbers)), np.int64)
    values = x.astype(np.float64)
    # No path is longer than a tree has splits.
    for _ in range(numbers.shape[1] // 2):
        feature = features[tree, node]
        goes_left = values[row, np.maximum(feature, 0)] <= numbers[tree, node]
        node = np.where(feature < 0, node, np.where(goes_left, left[tree, node], right[tree, node]))
    return np.asarray(numbers[tree, node].sum(axis=1))


@lru_cache
def _to_levels() -> NDArray[np.float64]:
    """Return the (6, 23) matrix from values at fitted levels to all levels: linear in normal scores, flat beyond."""
    from scipy.special import ndtri

    scores, knots = ndtri(LEVELS), ndtri(np.array(FITTED))
    return np.stack([np.interp(scores, knots, unit) for unit in np.eye(len(FITTED))])
