"""Whether the candles of two sources of one pair agree: on the level of their prices, and on their times.

Two sources of one pair move together, whatever the premium of one over the other. Where a stretch of one agrees with
the other only some whole candles earlier or later, the times of one of the two are wrong.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Candles are compared in windows of so many, and so many windows in a row must agree on the same distance.
WINDOW = 24
WINDOWS = 2
# A window has so many candles that both sources have.
FEWEST = 16
# Closes agree better at another time where their mean distance is less than this share of that at the same time.
BETTER = 0.5


class Moved(NamedTuple):
    """A stretch of candles: its first and last open time (unix seconds), and by how much the other's lie later."""

    first: int
    last: int
    candles: int
    by_s: int


def longest_moved(
    at: Ints, close: Floats, other_at: Ints, other_close: Floats, *, length_s: int, farthest: int
) -> Moved | None:
    """Return the longest stretch that agrees with another source some whole candles away, None where there is none.

    `at` and `other_at`: open times in unix seconds, ascending; closes: (n_candles,). `farthest` is how many candles
    away the other source is looked at.
    """
    n = len(at) // WINDOW * WINDOW
    if n < WINDOWS * WINDOW or not len(other_at):
        return None
    windows = at[:n].reshape(-1, WINDOW)
    distances = sorted(range(-farthest, farthest + 1), key=abs)
    scores = np.stack([_apart(windows, close[:n], other_at, other_close, k * length_s) for k in distances])
    best = np.argmin(np.where(np.isnan(scores), np.inf, scores), axis=0)
    better = scores[best, np.arange(len(windows))] < BETTER * scores[0]
    by = np.where(better, np.array(distances)[best], 0)
    longest: Moved | None = None
    starts = np.flatnonzero(np.append(True, by[1:] != by[:-1]))
    for start, end in zip(starts, [*starts[1:], len(by)], strict=True):
        count = int(end - start)
        if by[start] and count >= WINDOWS and (longest is None or count * WINDOW > longest.candles):
            longest = Moved(
                int(windows[start, 0]), int(windows[end - 1, -1]), count * WINDOW, int(by[start]) * length_s
            )
    return longest


def median_ratio(at: Ints, close: Floats, other_at: Ints, other_close: Floats) -> float | None:
    """Return how many times those of the other source the closes are, None with fewer than FEWEST common candles."""
    _, ours, theirs = np.intersect1d(at, other_at, assume_unique=True, return_indices=True)
    return float(np.median(close[ours] / other_close[theirs])) if len(ours) >= FEWEST else None


def _apart(windows: Ints, close: Floats, other_at: Ints, other_close: Floats, by_s: int) -> Floats:
    """Return the mean distance of closes from their median distance, a window: (n_windows,), NaN with too few."""
    wanted = windows.ravel() + by_s
    place = np.searchsorted(other_at, wanted).clip(max=len(other_at) - 1)
    both = (other_at[place] == wanted).reshape(windows.shape)
    ratio = np.where(both, np.log(close / other_close[place]).reshape(windows.shape), np.nan)
    result = np.full(len(windows), np.nan)
    rows = both.sum(axis=1) >= FEWEST
    if rows.any():
        kept = ratio[rows]
        result[rows] = np.nanmean(np.abs(kept - np.nanmedian(kept, axis=1, keepdims=True)), axis=1)
    return result
