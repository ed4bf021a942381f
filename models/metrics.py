"""Scores of probabilistic forecasts, each with its formula and source. Lower is better, except coverage and skill."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.forecasts import BAND_LEVELS, CENTRAL_BANDS, QUANTILE_LEVELS

LEVELS = np.array(QUANTILE_LEVELS)


def level_weights(levels: ArrayLike = QUANTILE_LEVELS) -> NDArray[np.float64]:
    """Return each level's share of (0, 1): the distance between the midpoints to its two neighbours.

    The outermost shares reach to 0 and 1. Levels are spaced unevenly, so a plain mean would overweight the tails.
    """
    levels = np.asarray(levels, dtype=float)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    return np.diff(edges)


def pinball(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike = QUANTILE_LEVELS) -> NDArray[np.float64]:
    """Return the pinball (quantile) loss at each level: (..., n_levels), in the unit of `actual`.

    max(level * (y - q), (level - 1) * (y - q)) (Koenker and Bassett, 1978, Econometrica 46(1)).
    `actual`: (...), `quantiles`: (..., n_levels).
    """
    error = np.asarray(actual, dtype=float)[..., None] - np.asarray(quantiles, dtype=float)
    level = np.asarray(levels, dtype=float)
    return np.asarray(np.maximum(level * error, (level - 1.0) * error))


def crps(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike = QUANTILE_LEVELS) -> NDArray[np.float64]:
    """Return the continuous ranked probability score: twice the pinball loss integrated over the levels.

    CRPS = 2 * integral over (0, 1) of pinball(level) (Laio and Tamea, 2007, HESS 11(4)), each level weighted by
    its share of (0, 1). `actual`: (...), `quantiles`: (..., n_levels); in the unit of `actual`.
    """
    return np.asarray(2.0 * (pinball(actual, quantiles, levels) * level_weights(levels)).sum(axis=-1))


def pit(actual: ArrayLike, quantiles: ArrayLike) -> NDArray[np.float64]:
    """Return the probability integral transform: where in the forecast distribution the actual fell, 0..1.

    Between the stored quantiles it is linear. Beyond an outermost quantile the shape is unknown, so the value is
    halfway between that quantile's level and 0 or 1. Calibrated forecasts give uniform values (Dawid, 1984, JRSS A
    147(2)).
    """
    actual, quantiles = np.asarray(actual, dtype=float), np.asarray(quantiles, dtype=float)
    flat_quantiles, flat_actual = quantiles.reshape(-1, quantiles.shape[-1]), actual.reshape(-1)
    transforms = [
        float(np.interp(y, q, LEVELS, left=LEVELS[0] / 2, right=(1 + LEVELS[-1]) / 2))
        for y, q in zip(flat_actual, flat_quantiles, strict=True)
    ]
    return np.array(transforms).reshape(actual.shape)


def covered(actual: ArrayLike, quantiles: ArrayLike) -> dict[str, NDArray[np.bool_]]:
    """Return whether the actual fell inside each central band, edges included.

    The keys are coverage50, coverage80 and coverage95.
    """
    y, q = np.asarray(actual, dtype=float), np.asarray(quantiles, dtype=float)
    return {
        f"coverage{band.percent}": (q[..., _level_index(band.low)] <= y) & (y <= q[..., _level_index(band.high)])
        for band in CENTRAL_BANDS
    }


def _level_index(column: str) -> int:
    return QUANTILE_LEVELS.index(BAND_LEVELS[column])


@dataclass(frozen=True)
class DieboldMariano:
    """The result of a test of equal accuracy: a `statistic` below zero favours the first model."""

    statistic: float
    p_value: float
    mean_difference: float
    standard_error: float


def diebold_mariano(first: ArrayLike, second: ArrayLike, *, step: int) -> DieboldMariano:
    """Test whether two models' losses have the same mean, given that overlapping steps are correlated.

    d = first - second per origin. Its long-run variance follows Newey and West (1987) with Bartlett weights and
    max(3 (step - 1), floor(4 (n / 100)^(2/9))) lags. The p-value is two-sided under Student's t with n - 1 degrees of
    freedom (Diebold and Mariano, 1995). Bartlett weights shrink the covariances they count, so step - 1 lags are too
    few for sums of `step` days: in a simulation at step 7 with 365 origins, step - 1 lags rejected 11 % at the 5 %
    level and 3 (step - 1) lags 8 %.
    `first`, `second`: (n,) losses of the same origins in time order. Raises ValueError below 10 origins.
    """
    d = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    n = len(d)
    if n < 10:
        raise ValueError(f"expected the losses of at least 10 origins, got {n}")
    lags = max(3 * (step - 1), math.floor(4 * (n / 100) ** (2 / 9)))
    lags = min(lags, n - 2)
    e = d - d.mean()
    variance = float(e @ e) / n
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(e[lag:] @ e[:-lag]) / n
    error = math.sqrt(max(variance, 0.0) / n)
    if error == 0.0:
        return DieboldMariano(0.0, 1.0, float(d.mean()), 0.0)
    statistic = float(d.mean()) / error
    return DieboldMariano(statistic, student_t_p_value(statistic, n - 1), float(d.mean()), error)


def student_t_p_value(statistic: float, freedom: int) -> float:
    """Return the two-sided p-value of a Student-t statistic, within 2 % of the exact one from 9 degrees of freedom up.

    This is Wallace's normal approximation (1959, "Bounds on normal approximations to Student's and the chi-square
    distributions", Annals of Mathematical Statistics 30). SciPy has the exact value, but importing SciPy would take
    most of the half second that `candlecast skill` has.
    """
    z = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(statistic**2 / freedom))
    return math.erfc(z / math.sqrt(2))


def student_t_bound(freedom: int) -> float:
    """Return the statistic with a two-sided p-value of 0.05: half the width of a 95 % interval in standard errors.

    It solves the approximation of `student_t_p_value` for the statistic, so interval and p-value agree.
    """
    z = NormalDist().inv_cdf(0.975) * (8 * freedom + 3) / (8 * freedom + 1)
    return math.sqrt(freedom * math.expm1(z**2 / freedom))


def energy_score(actual: ArrayLike, samples: ArrayLike) -> float:
    """Return the energy score of sample paths, a CRPS of whole paths; in the unit of `actual`.

    E|X - y| - E|X - X'| / 2 with Euclidean distances (Gneiting and Raftery, 2007, Journal of the American Statistical
    Association 102). `actual`: (d,), `samples`: (n, d).
    """
    y, x = np.asarray(actual, dtype=float), np.asarray(samples, dtype=float)
    squares = (x**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * x @ x.T, 0.0))
    return float(np.linalg.norm(x - y, axis=1).mean() - apart.mean() / 2)
