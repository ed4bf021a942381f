"""What the API tells about each series at an instant: the reach of its candles, its age, and when it is published."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from models.arrivals import usual_words
from models.candles import SeriesName, UnknownSeries
from models.freshness import is_stale
from storage.arrivals import newest_arrival, read_usual_time
from storage.series import SeriesRow, series_summary


class SeriesStatus(NamedTuple):
    """A stored series, the reach of its closed candles, whether they are stale, and when the source publishes.

    `usual` says in words when a candle is usually published; the three `usual_..._s` say it in seconds after the close.
    `published_at` and `seen_at` are of the newest closed candle.
    """

    name: str
    exchange: str
    pair: str
    interval: str
    candles: int
    first_open: datetime | None
    last_close: datetime | None
    stale: bool
    usual: str
    usual_earliest_s: float | None
    usual_median_s: float | None
    usual_latest_s: float | None
    published_at: datetime | None
    seen_at: datetime | None


def series_status(
    conn: Connection, *, now: datetime, after: str | None = None, limit: int | None = None
) -> list[SeriesStatus]:
    """Return the state of every stored series at `now`, by name; `after` and `limit` ask for a page."""
    return [_status(conn, row, now) for row in series_summary(conn, after=after, limit=limit)]


def _status(conn: Connection, row: SeriesRow, now: datetime) -> SeriesStatus:
    try:
        interval = SeriesName.parse(row.name).interval
    except UnknownSeries:
        # No ingest stores such a name: somebody wrote it by hand, which must not cost the other series their answer.
        return SeriesStatus(*row, False, "", None, None, None, None, None)
    usual = read_usual_time(conn, series=row.name)
    newest = newest_arrival(conn, series=row.name)
    return SeriesStatus(
        *row,
        stale=is_stale(row.last_close, interval, now, usual),
        usual=usual_words(usual, interval),
        usual_earliest_s=None if usual is None else usual.earliest.total_seconds(),
        usual_median_s=None if usual is None else usual.median.total_seconds(),
        usual_latest_s=None if usual is None else usual.latest.total_seconds(),
        published_at=None if newest is None else newest.published_at,
        seen_at=None if newest is None else newest.seen_at,
    )
