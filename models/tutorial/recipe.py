"""The recipe of the tutorial this project grew out of: hyperparameters, rows, windows and split, with its names.

The tutorial predicts tomorrow's close of bitcoin from the last seven closes with one LSTM layer. The study
(docs/study.md) runs it as it was published, and again with its two mistakes about time corrected.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.errors import NotEnoughCandles
from models.tutorial.scaling import Scaling, fit_scaling
from models.tutorial.windows import Windows, make_windows, split_windows

# The share of windows to learn from. The other windows, the last in the order of the rows, are the test.
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters, with the tutorial's names and values.

    `batch_size`: windows per step. `window_size`: days that predict the next. `hidden_layers`: units of the one LSTM
    layer (the tutorial's word for them). `clip_margin`: the greatest global norm of a step's gradient.
    `learning_rate`: of Adam. `epochs`: passes over the training windows. Raises ValueError for a value that is not
    positive.
    """

    batch_size: int = 7
    window_size: int = 7
    hidden_layers: int = 256
    clip_margin: float = 4.0
    learning_rate: float = 0.001
    epochs: int = 200

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"expected {name} above 0, got {value}")


@dataclass(frozen=True)
class Setup:
    """The order of the rows, and the rows that the scaler is fitted on."""

    name: str
    newest_first: bool
    scaler_on_all_rows: bool


# The file is newest first and the notebook never reverses it, so its windows run backwards in time. Its scaler is also
# fitted on the test days.
AS_PUBLISHED = Setup("as published", newest_first=True, scaler_on_all_rows=True)
DONE_RIGHT = Setup("done right", newest_first=False, scaler_on_all_rows=False)
SETUPS = (AS_PUBLISHED, DONE_RIGHT)


class Prepared(NamedTuple):
    """One setup's data; n rows, W the window's length."""

    setup: Setup
    closes: NDArray[np.float64]
    """(n,): closes in quote currency, in the order of the setup."""
    scaling: Scaling
    train: Windows
    """Scaled windows to learn from: X (n_train, W, 1), y (n_train, 1)."""
    test: Windows
    """Scaled windows to test on; their targets are the last rows."""

    @property
    def test_rows(self) -> NDArray[np.int64]:
        """The rows that the test windows predict, in the order of the setup."""
        return self.test.last_row + 1


def count_training_rows(n_rows: int, window_size: int) -> int:
    """Return how many rows are known when the test begins: the rows of the training windows and their targets.

    There are 0.8 times as many training windows as rows. The tutorial's 1,273 rows with windows of 7 give 1,018
    training windows, which take 1,025 rows, and 248 test windows. Raises NotEnoughCandles when no window or no test
    day is left.
    """
    windows = int(TRAIN_SHARE * n_rows)
    rows = windows + window_size
    if windows < 1 or rows >= n_rows:
        raise NotEnoughCandles(
            f"expected more rows, so that the split leaves a test row, got {n_rows}: "
            f"{windows} training windows of {window_size} need {rows} rows"
        )
    return rows


def prepare(closes: ArrayLike, setup: Setup, *, window_size: int, train_rows: int) -> Prepared:
    """Return the scaled training and test windows of closes (n,) given oldest first.

    The test is the last n - train_rows rows in the order of the setup, so windows of every length are tested on the
    same days. In time order, no training window reaches into them. Raises ValueError when a window does not fit.
    """
    rows = np.asarray(closes, dtype=np.float64)
    rows = rows[::-1] if setup.newest_first else rows
    scaler_rows = len(rows) if setup.scaler_on_all_rows else train_rows
    scaling = fit_scaling(rows[:, None], cutoff_row=scaler_rows - 1)
    windows = make_windows(scaling.apply(rows[:, None]), window_size)
    return Prepared(setup, rows, scaling, *split_windows(windows, train_rows - 1))
