"""Sample paths of closes: the margins of stored forecasts, tied together by the ranks of past returns.

The Schaake shuffle (Clark et al., 2004, Journal of Hydrometeorology 5): values drawn from each step's and each series'
distribution are put into the order in which the returns of past windows stood. So steps and series move together as
they did, and each step of each series keeps its forecast distribution.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.errors import NotEnoughCandles
from models.normal_scores import logs_at

# With fewer past windows the order of the draws would say little.
LEAST_WINDOWS = 60


def past_returns(closes: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """Return the log returns since the start of each past window: (n_windows, n_series, horizon), oldest first.

    `closes`: (n, n_series) at consecutive times, NaN where one is missing; windows with a missing close are left out.
    Raises NotEnoughCandles for fewer than 60 windows.
    """
    logs = np.log(closes)
    windows = np.stack([logs[step : len(logs) - horizon + step] - logs[: len(logs) - horizon]
                        for step in range(1, horizon + 1)], axis=-1)  # fmt: skip
    whole = windows[~np.isnan(windows).any(axis=(1, 2))]
    if len(whole) < LEAST_WINDOWS:
        raise NotEnoughCandles(
            f"{LEAST_WINDOWS} past windows of {horizon} candles are needed for paths over them, there are {len(whole)}"
        )
    return np.asarray(whole)


def sample_paths(
    quantiles: NDArray[np.float64], returns: NDArray[np.float64], *, n: int, seed: int
) -> NDArray[np.float64]:
    """Return `n` paths of closes: (n, n_series, horizon).

    `quantiles`: (n_series, horizon, 23) of stored forecasts; `returns`: those of `past_returns`, of which the newest
    `n` windows are used, or all of them again and again where there are fewer. The same arguments give the same paths.
    Each step's draws are spread evenly over its distribution (one in each of `n` equal parts, at a place that `seed`
    decides). Beyond the outermost stored quantiles the line through the last two is continued in normal scores.
    """
    rng = np.random.default_rng(seed)
    n_series, horizon, _ = quantiles.shape
    blocks = [returns[-min(n, len(returns)) :]]
    while sum(len(block) for block in blocks) < n:
        rest = n - sum(len(block) for block in blocks)
        # Which windows come once more is drawn too, so that no part of the past counts more than another.
        blocks.append(returns[np.sort(rng.permutation(len(returns))[:rest])])
    template = np.concatenate(blocks)
    # Equal returns, as those of a window that comes twice, are put in an order by chance.
    order = np.lexsort((rng.random(template.shape), template), axis=0)
    scores = _spread_scores(rng, (n, n_series, horizon))
    drawn = logs_at(scores, np.log(quantiles))
    paths = np.empty_like(drawn)
    np.put_along_axis(paths, order, drawn, axis=0)
    return np.asarray(np.exp(paths))


def independent_paths(quantiles: NDArray[np.float64], *, n: int, seed: int) -> NDArray[np.float64]:
    """Return `n` paths whose steps and series are independent: what `sample_paths` is compared with."""
    rng = np.random.default_rng(seed)
    n_series, horizon, _ = quantiles.shape
    drawn = logs_at(_spread_scores(rng, (n, n_series, horizon)), np.log(quantiles))
    return np.asarray(np.exp(rng.permuted(drawn, axis=0)))


def _spread_scores(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Return ascending normal scores along the first axis, one from each of equally likely parts."""
    places = (np.arange(shape[0])[:, None, None] + rng.random(shape)) / shape[0]
    # Rounding may make a place 0 or 1, which have no score. Importing SciPy would take longer than 100,000 scores do.
    inside = np.clip(places, 1e-12, 1 - 1e-12).ravel().tolist()
    return np.fromiter(map(NormalDist().inv_cdf, inside), float, places.size).reshape(shape)
