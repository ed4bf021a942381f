"""Chances of many prices at once, and prices at many normal scores, with numpy.

The rule is that of models/chance.py: between the stored quantiles the log of the close is linear in normal scores. It
is written there a second time, for one price and without numpy, because importing numpy would take most of the time of
`candlecast chance`. A test compares the two.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.chance import SCORES, normal_chance

NODE_SCORES = np.array(SCORES)


def normal_scores(prices: ArrayLike, quantiles: ArrayLike) -> NDArray[np.float64]:
    """Return `models.chance.normal_score` of the chance to close below each price: (n, n_prices).

    `prices`: (n, n_prices) and `quantiles`: (n, 23), positive and in the same unit.
    """
    x, nodes = np.log(np.asarray(prices, dtype=float)), np.log(np.asarray(quantiles, dtype=float))
    last = len(NODE_SCORES) - 1
    upper = (nodes[:, None, :] < x[:, :, None]).sum(axis=-1)
    high = np.clip(upper, 1, last)
    high_x = np.take_along_axis(nodes, high, axis=1)
    low_x = np.take_along_axis(nodes, high - 1, axis=1)
    width = high_x - low_x
    share = np.divide(x - low_x, width, out=np.zeros_like(x), where=width > 0)
    scores = NODE_SCORES[high - 1] + share * (NODE_SCORES[high] - NODE_SCORES[high - 1])
    scores = np.where(x == nodes[:, :1], NODE_SCORES[0], scores)
    return np.where(x < nodes[:, :1], -np.inf, np.where(upper > last, np.inf, scores))


def normal_chances(scores: ArrayLike) -> NDArray[np.float64]:
    """Return the normal distribution function at each of `scores`, in their shape."""
    scores = np.asarray(scores, dtype=float)
    return np.array([normal_chance(score) for score in scores.ravel().tolist()]).reshape(scores.shape)


def logs_at(scores: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logs of the closes at normal `scores`: (n, n_series, horizon).

    `nodes`: (n_series, horizon, 23), the logs of the stored quantiles. Beyond the outermost of them the line through
    the last two is continued.
    """
    high = np.clip(np.searchsorted(NODE_SCORES, scores), 1, len(NODE_SCORES) - 1)
    share = (scores - NODE_SCORES[high - 1]) / (NODE_SCORES[high] - NODE_SCORES[high - 1])
    below = np.take_along_axis(nodes[None], high[..., None] - 1, axis=-1)[..., 0]
    above = np.take_along_axis(nodes[None], high[..., None], axis=-1)[..., 0]
    return np.asarray(below + share * (above - below))
