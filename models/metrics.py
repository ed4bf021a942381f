"""Scores of probabilistic forecasts, each with its formula and source. Lower is better, except coverage and skill."""

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


def energy_score(actual: ArrayLike, samples: ArrayLike) -> float:
    """Return the energy score of sample paths, a CRPS of whole paths; in the unit of `actual`.

    E|X - y| - E|X - X'| / 2 with Euclidean distances (Gneiting and Raftery, 2007, Journal of the American Statistical
    Association 102). `actual`: (d,), `samples`: (n, d).
    """
    y, x = np.asarray(actual, dtype=float), np.asarray(samples, dtype=float)
    squares = (x**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * x @ x.T, 0.0))
    return float(np.linalg.norm(x - y, axis=1).mean() - apart.mean() / 2)
