"""What the API tells about each series at an instant: its candles, their age, its publication, and who forecasts."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from models.arrivals import usual_words
from models.candles import SeriesName, UnknownSeries
from models.forecasts import REFERENCES, Kind
from models.freshness import is_stale
from storage.arrivals import newest_arrival, read_usual_time
from storage.decisions import champion
from storage.forecasts import read_origins
from storage.query import ForecastFilter
from storage.series import SeriesRow, series_summary


class SeriesStatus(NamedTuple):
    """A stored series: the reach of its closed candles, whether they are stale, its publication, and who forecasts.

    `usual` says in words when a candle is usually published; the three `usual_..._s` say it in seconds after the close.
    `published_at` and `seen_at` are of the newest closed candle. `champion` is the model that serves, `asked_for` the
    model that was asked for and forecasts beside it: the same where it serves, None before its first forecast. Prices
    are in `quote`.
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
    champion: str | None
    asked_for: str | None
    quote: str


def series_status(
    conn: Connection, *, now: datetime, after: str | None = None, limit: int | None = None
) -> list[SeriesStatus]:
    """Return the state of every stored series at `now`, by name; `after` and `limit` ask for a page."""
    return [_status(conn, row, now) for row in series_summary(conn, after=after, limit=limit)]


def _status(conn: Connection, row: SeriesRow, now: datetime) -> SeriesStatus:
    try:
        name = SeriesName.parse(row.name)
    except UnknownSeries:
        # No ingest stores such a name: somebody wrote it by hand, which must not cost the other series their answer.
        return SeriesStatus(*row, False, "", None, None, None, None, None, None, None, "")
    interval = name.interval
    usual = read_usual_time(conn, series=row.name)
    newest = newest_arrival(conn, series=row.name)
    serving = champion(conn, series=row.name)
    return SeriesStatus(
        *row,
        stale=is_stale(row.last_close, interval, now, usual),
        usual=usual_words(usual, interval),
        usual_earliest_s=None if usual is None else usual.earliest.total_seconds(),
        usual_median_s=None if usual is None else usual.median.total_seconds(),
        usual_latest_s=None if usual is None else usual.latest.total_seconds(),
        published_at=None if newest is None else newest.published_at,
        seen_at=None if newest is None else newest.seen_at,
        champion=None if serving is None else serving.model,
        asked_for=_asked_for(conn, row.name),
        quote=name.quote,
    )


def _asked_for(conn: Connection, series: str) -> str | None:
    """Return which model other than the references has a live forecast of the champion's newest origin.

    The database tells it, not the setting: this server need not have the settings of the day's runs.
    """
    latest = read_origins(conn, ForecastFilter(series, latest=True))
    if not latest:
        return None
    live = read_origins(conn, ForecastFilter(series, origin=latest[0].origin, kind=Kind.LIVE))
    others = [row.model for row in live if row.model not in REFERENCES]
    # After a change of the setting the champion is the model that was asked for before.
    beside = [model for model in others if model != latest[0].model]
    return next(iter(beside or others), None)
