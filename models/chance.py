"""Chances of levels, and levels of chances, from the stored quantiles of a close.

Between the stored quantiles the log of the close is interpolated linearly in normal scores, the inverse of the normal
distribution function at each level: increasing, and exact where the log return is normal. Outside the levels 0.01 to
0.99 nothing is stored, so a chance there is only known to be under 1 % or over 99 %.
"""

import math
from bisect import bisect_left
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.forecasts import QUANTILE_LEVELS, Bound, Chance, Side

LOWEST, HIGHEST = QUANTILE_LEVELS[0], QUANTILE_LEVELS[-1]
SCORES = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])


def normal_scores(prices: ArrayLike, quantiles: ArrayLike, side: Side = Side.BELOW) -> NDArray[np.float64]:
    """Return the normal score of the chance that the close is on that side of each price: (n, n_prices).

    `prices`: (n, n_prices) and `quantiles`: (n, 23), positive and in the same unit. The score is -inf where the chance
    is under 0.01 and inf where it is over 0.99. A price that several quantiles share has a chance of its own, which
    belongs to neither side.
    """
    x, nodes = np.log(np.asarray(prices, dtype=float)), np.log(np.asarray(quantiles, dtype=float))
    if side is Side.ABOVE:
        # The levels are symmetric, so above a price is below its negative logarithm.
        x, nodes = -x, -nodes[:, ::-1]
    last = len(SCORES) - 1
    upper = (nodes[:, None, :] < x[:, :, None]).sum(axis=-1)
    high = np.clip(upper, 1, last)
    high_x = np.take_along_axis(nodes, high, axis=1)
    low_x = np.take_along_axis(nodes, high - 1, axis=1)
    width = high_x - low_x
    share = np.divide(x - low_x, width, out=np.zeros_like(x), where=width > 0)
    scores = SCORES[high - 1] + share * (SCORES[high] - SCORES[high - 1])
    # At the lowest quantile itself the chance is the lowest level, however many quantiles share it.
    scores = np.where(x == nodes[:, :1], SCORES[0], scores)
    return np.where(x < nodes[:, :1], -np.inf, np.where(upper > last, np.inf, scores))


def normal_chances(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the normal distribution function at each of `scores`, in their shape."""
    scores = np.asarray(scores, dtype=float)
    flat = [0.5 * math.erfc(-score / math.sqrt(2)) for score in scores.ravel().tolist()]
    return np.array(flat).reshape(scores.shape)


def chance_of(side: Side, price: float, quantiles: ArrayLike) -> Chance:
    """Return the chance that a close with these 23 `quantiles` is above or below `price`.

    Raises ValueError for a price that is not a positive number.
    """
    if not (math.isfinite(price) and price > 0):
        raise ValueError(f"expected a positive price, got {price:g}")
    score = float(normal_scores([[price]], np.asarray(quantiles, dtype=float)[None], side)[0, 0])
    if score == -math.inf:
        return Chance(LOWEST, Bound.AT_MOST)
    if score == math.inf:
        return Chance(HIGHEST, Bound.AT_LEAST)
    return Chance(min(max(float(normal_chances(score)), LOWEST), HIGHEST), Bound.EXACT)


def price_of(chance: float, quantiles: ArrayLike) -> float:
    """Return the price below which the close is with this chance, 0.01 to 0.99; raises ValueError for any other."""
    if not LOWEST <= chance <= HIGHEST:
        percent = f"; {chance:g} % is {chance / 100:g}" if 1 <= chance <= 99 else ""
        raise ValueError(
            f"expected a chance from {LOWEST} to {HIGHEST}, which the forecast holds, got {chance:g}{percent}"
        )
    values = np.asarray(quantiles, dtype=float)
    high = min(max(bisect_left(QUANTILE_LEVELS, chance), 1), len(SCORES) - 1)
    low_score, high_score = SCORES[high - 1], SCORES[high]
    share = (NormalDist().inv_cdf(chance) - low_score) / (high_score - low_score)
    # At a stored level the stored quantile itself.
    if chance == QUANTILE_LEVELS[high]:
        return float(values[high])
    return float(values[high - 1] * (values[high] / values[high - 1]) ** share)
