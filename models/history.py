"""A series' candles in all their revisions: which of them a forecast may see, as they were known at an instant."""

from bisect import bisect_right
from datetime import datetime
from typing import TYPE_CHECKING

from models.candles import CANDLE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

    from models.frames import CandleFrame


class CandleHistory:
    """A series' closed candles in all their revisions, to be looked at as they were known at any instant."""

    def __init__(self, revisions: "pd.DataFrame") -> None:
        self._revisions = revisions
        self._first = ~revisions["open_time"].duplicated(keep="first")
        later = revisions.loc[~self._first, "fetched_at"]
        self._revised_at: list[datetime] = sorted({moment.to_pydatetime() for moment in later})
        self._views: dict[int, CandleFrame] = {}
        self.last_fetch: datetime | None = revisions["fetched_at"].max().to_pydatetime() if len(revisions) else None
        """When the newest revision became known; whatever is made from this history is not older."""

    def stored_by(self, instant: datetime) -> "CandleHistory":
        """Return the history as it stood at `instant`, without the candles that were fetched only later."""
        if self.last_fetch is None or self.last_fetch <= instant:
            return self
        revisions = self._revisions
        return CandleHistory(revisions[revisions["fetched_at"] <= instant].reset_index(drop=True))

    def known_at(self, instant: datetime | None = None) -> "CandleFrame":
        """Return the candles as a frame of CANDLE_COLUMNS in time order, each in the revision known at `instant`.

        A candle that was fetched only later (history loaded in bulk) is in its first revision, since what it looked
        like then is not known; None is the newest view. Instants between which nothing was revised share one frame.
        """
        epoch = len(self._revised_at) if instant is None else bisect_right(self._revised_at, instant)
        if epoch not in self._views:
            rows = self._revisions
            if epoch < len(self._revised_at):
                rows = rows[self._first | (rows["fetched_at"] < self._revised_at[epoch])]
            newest = ~rows["open_time"].duplicated(keep="last")
            self._views[epoch] = rows.loc[newest, list(CANDLE_COLUMNS)].reset_index(drop=True)
        return self._views[epoch]
