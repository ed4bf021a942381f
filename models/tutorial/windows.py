"""Windows: cuts rows in time order into inputs and the rows that follow them, and splits the windows by time.

Only the tutorial uses this. The published models have other guards against look-ahead: the stop of a member's rows in
`models.lstm.fleet`, the realised targets in `models.boosting`, the known residuals in `models.lstm.forecaster`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Windows(NamedTuple):
    """Inputs and their targets, in time order; n windows, W rows each, F features, H horizons."""

    X: NDArray[np.float64]
    """(n, W, F): the rows of each window."""
    y: NDArray[np.float64]
    """(n, H): the target column h rows after the window's last row."""
    last_row: NDArray[np.int64]
    """(n,): the last row of each window; its targets are the rows last_row + h."""
    horizons: tuple[int, ...]

    def take(self, which: NDArray[np.bool_]) -> "Windows":
        """Return the chosen windows."""
        return Windows(self.X[which], self.y[which], self.last_row[which], self.horizons)


def make_windows(
    data: ArrayLike,
    window_size: int,
    *,
    horizons: Sequence[int] = (1,),
    target: int = 0,
    times: ArrayLike | None = None,
) -> Windows:
    """Return every window of `window_size` rows with the rows that follow it.

    `data`: (n_rows,) or (n_rows, F), oldest first. X[i] = data[i : i + window_size] and y[i, k] = data[i + window_size
    - 1 + horizons[k], target]. With horizons (1,) it is the tutorial's function and returns n_rows - window_size
    windows. Given `times` (n_rows,), evenly spaced except for gaps, every window is left out that spans a gap or whose
    target lies after one. Raises ValueError when there are too few rows for one window, or times are out of order.
    """
    values = np.asarray(data, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    steps = tuple(horizons)
    if values.ndim != 2 or window_size < 1 or not steps or min(steps) < 1:
        raise ValueError(
            f"expected (rows, features), a window of at least 1 row and horizons from 1, "
            f"got {values.shape}, {window_size} and {steps}"
        )
    n = len(values) - window_size - max(steps) + 1
    if n < 1:
        raise ValueError(
            f"expected at least {window_size + max(steps)} rows for a window of {window_size} and "
            f"horizon {max(steps)}, got {len(values)}"
        )
    X = np.lib.stride_tricks.sliding_window_view(values, window_size, axis=0)[:n].transpose(0, 2, 1).copy()
    last = np.arange(n) + window_size - 1
    y = np.stack([values[last + step, target] for step in steps], axis=1)
    windows = Windows(X, y, last, steps)
    if times is None:
        return windows
    return windows.take(_without_gaps(np.asarray(times), last, window_size, max(steps)))


def _without_gaps(times: NDArray[Any], last: NDArray[np.int64], window_size: int, horizon: int) -> NDArray[np.bool_]:
    spacing = np.diff(times)
    if len(spacing) and not (spacing > np.zeros((), spacing.dtype)).all():
        raise ValueError("expected times that ascend, oldest row first; sort the rows")
    unit = spacing.min()
    first, end = times[last - window_size + 1], times[last + horizon]
    whole: NDArray[np.bool_] = (end - first) == unit * (window_size - 1 + horizon)
    return whole


def split_windows(windows: Windows, cutoff_row: int) -> tuple[Windows, Windows]:
    """Return the training and the test windows when row `cutoff_row` is the last known row.

    A training window's farthest target is known. A test window's last row is `cutoff_row` or a later one. A window
    between them, with known and unknown targets, belongs to neither.
    """
    known = windows.last_row + max(windows.horizons) <= cutoff_row
    return windows.take(known), windows.take(windows.last_row >= cutoff_row)
