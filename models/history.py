"""A series' candles in all their revisions: which of them a forecast may see, as they were known at an instant."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.candles import CANDLE_COLUMNS
from models.times import from_unix_us, to_unix_us

if TYPE_CHECKING:
    from models.frames import CandleFrame


class CandleHistory:
    """A series' closed candles in all their revisions, to be looked at as they were known at any instant."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take CANDLE_COLUMNS and `fetched_at`, a row a revision, in the order of `open_time` and then `fetched_at`.

        Instants are int64, in microseconds since 1970; everything else is float64, NaN where unknown.
        """
        self._columns = columns
        opened, fetched = columns["open_time"], columns["fetched_at"]
        self._first = np.append(True, opened[1:] != opened[:-1])[: len(opened)]
        self._revised_at = np.unique(fetched[~self._first])
        self._views: dict[int, CandleFrame] = {}
        self.last_fetch: datetime | None = from_unix_us(int(fetched.max())) if len(fetched) else None
        """When the newest revision became known; whatever is made from this history is not older."""

    def stored_by(self, instant: datetime) -> "CandleHistory":
        """Return the history as it stood at `instant`, without the candles that were fetched only later."""
        if self.last_fetch is None or self.last_fetch <= instant:
            return self
        stored = self._columns["fetched_at"] <= to_unix_us(instant)
        return CandleHistory({name: values[stored] for name, values in self._columns.items()})

    def known_at(self, instant: datetime | None = None) -> "CandleFrame":
        """Return the candles as a frame of CANDLE_COLUMNS in time order, each in the revision known at `instant`.

        A candle that was fetched only later (history loaded in bulk) is in its first revision, since what it looked
        like then is not known; None is the newest view. Instants between which nothing was revised share one frame.
        """
        import pandas as pd

        epoch = self._epoch(instant)
        if epoch not in self._views:
            rows = self._rows(epoch)
            self._views[epoch] = pd.DataFrame({name: _series(self._columns[name][rows]) for name in CANDLE_COLUMNS})
        return self._views[epoch]

    def closes_at(self, instant: datetime) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the columns `close_time`, in microseconds since 1970, and `close` of `known_at`, without pandas."""
        rows = self._rows(self._epoch(instant))
        return self._columns["close_time"][rows], self._columns["close"][rows]

    def _epoch(self, instant: datetime | None) -> int:
        """Return how many times something was revised by `instant`."""
        if instant is None:
            return len(self._revised_at)
        return int(np.searchsorted(self._revised_at, to_unix_us(instant), side="right"))

    def _rows(self, epoch: int) -> NDArray[np.intp]:
        """Return the rows of the revisions that were known in `epoch`, one a candle."""
        known = np.ones(len(self._first), dtype=bool)
        if epoch < len(self._revised_at):
            known = self._first | (self._columns["fetched_at"] < self._revised_at[epoch])
        rows = np.flatnonzero(known)
        return rows[are_newest(self._columns["open_time"][rows])]


def are_newest(open_time: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows are the newest revision of their candle, in rows sorted by open time and then by fetching."""
    newest: NDArray[np.bool_] = np.append(open_time[1:] != open_time[:-1], True)[: len(open_time)]
    return newest


def _series(values: NDArray[Any]) -> Any:  # noqa: ANN401 - a column of a frame
    import pandas as pd

    if values.dtype != np.int64:
        return pd.Series(values)
    return pd.Series(values.view("datetime64[us]")).dt.tz_localize("UTC")
