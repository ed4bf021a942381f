"""Chances of levels, and levels of chances, from the stored quantiles of a close.

Between the stored quantiles the log of the close is interpolated linearly in normal scores, the inverse of the normal
distribution function at each level: increasing, and exact where the log return is normal. Outside the levels 0.01 to
0.99 nothing is stored, so a chance there is only known to be under 1 % or over 99 %.

Standard library only: importing numpy would take most of the time of `candlecast chance`. models/normal_scores.py has
the same rule for thousands of prices at once; a test compares the two.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist

from models.forecasts import QUANTILE_LEVELS, Bound, Chance, Side

LOWEST, HIGHEST = QUANTILE_LEVELS[0], QUANTILE_LEVELS[-1]
SCORES = tuple(NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS)


def normal_score(price: float, quantiles: Sequence[float], side: Side = Side.BELOW) -> float:
    """Return the normal score of the chance that the close is on that side of `price`.

    `quantiles` are the 23 stored ones, positive. The score is -inf where the chance is under 0.01, inf where it is over
    0.99, and NaN if a quantile is NaN. A price that several quantiles share has a chance of its own, which belongs to
    neither side.
    """
    x, nodes = math.log(price), [math.log(value) for value in quantiles]
    if any(map(math.isnan, nodes)):
        return math.nan
    if side is Side.ABOVE:
        # The levels are symmetric, so above a price is below its negative logarithm.
        x, nodes = -x, [-node for node in reversed(nodes)]
    # At the lowest quantile itself the chance is the lowest level, however many quantiles share it.
    if x <= nodes[0]:
        return SCORES[0] if x == nodes[0] else -math.inf
    if x > nodes[-1]:
        return math.inf
    high = bisect_left(nodes, x)
    share = (x - nodes[high - 1]) / (nodes[high] - nodes[high - 1])
    return SCORES[high - 1] + share * (SCORES[high] - SCORES[high - 1])


def normal_chance(score: float) -> float:
    """Return the normal distribution function at `score`."""
    return 0.5 * math.erfc(-score / math.sqrt(2))


def chance_of(side: Side, price: float, quantiles: Sequence[float]) -> Chance:
    """Return the chance that a close with these 23 `quantiles` is above or below `price`.

    Raises ValueError for a price that is not a positive number.
    """
    if not (math.isfinite(price) and price > 0):
        raise ValueError(f"expected a positive price, got {price:g}")
    score = normal_score(price, quantiles, side)
    if score == -math.inf:
        return Chance(LOWEST, Bound.AT_MOST)
    if score == math.inf:
        return Chance(HIGHEST, Bound.AT_LEAST)
    return Chance(min(max(normal_chance(score), LOWEST), HIGHEST), Bound.EXACT)


def price_of(chance: float, quantiles: Sequence[float]) -> float:
    """Return the price below which the close is with this chance, 0.01 to 0.99; raises ValueError for any other."""
    if not LOWEST <= chance <= HIGHEST:
        percent = f"; {chance:g} % is {chance / 100:g}" if 1 <= chance <= 99 else ""
        raise ValueError(
            f"expected a chance from {LOWEST} to {HIGHEST}, which the forecast holds, got {chance:g}{percent}"
        )
    high = min(max(bisect_left(QUANTILE_LEVELS, chance), 1), len(SCORES) - 1)
    low_score, high_score = SCORES[high - 1], SCORES[high]
    share = (NormalDist().inv_cdf(chance) - low_score) / (high_score - low_score)
    # At a stored level the stored quantile itself.
    if chance == QUANTILE_LEVELS[high]:
        return quantiles[high]
    return float(quantiles[high - 1] * (quantiles[high] / quantiles[high - 1]) ** share)
