"""What the API tells about each series at an instant: its candles, their age, its publication, and who forecasts."""

from collections.abc import Collection
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import Connection

from models.arrivals import Arrival, UsualTime, usual_words
from models.candles import SeriesName
from models.forecasts import REFERENCES, Kind
from models.freshness import is_stale
from storage.arrivals import newest_arrivals, read_usual_times
from storage.decisions import Champion, champions
from storage.forecasts import read_origins
from storage.query import ForecastFilter, names_by_value
from storage.series import SeriesRow, parsed_names, series_summary


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


class _Stored(NamedTuple):
    """What is stored about the series, by name: without a series where there is nothing of it."""

    usual: dict[str, UsualTime]
    newest: dict[str, Arrival]
    champions: dict[str, Champion]
    asked_for: dict[str, str]


def series_status(
    conn: Connection, *, now: datetime, after: str | None = None, limit: int | None = None
) -> list[SeriesStatus]:
    """Return the state of every stored series at `now`, by name; `after` and `limit` ask for a page."""
    rows = series_summary(conn, after=after, limit=limit)
    names = parsed_names(row.name for row in rows)
    stored = _read(conn, names)
    return [
        _status(row, names[row.name], stored, now)
        if row.name in names
        else SeriesStatus(*row, False, "", None, None, None, None, None, None, None, "")
        for row in rows
    ]


def _read(conn: Connection, names: Collection[str]) -> _Stored:
    """Ask for all series at once: a question for each would take most of the time."""
    return _Stored(
        usual=read_usual_times(conn, series=names),
        newest=newest_arrivals(conn, series=names),
        champions=champions(conn, series=names),
        asked_for=_asked_for(conn, names),
    )


def _status(row: SeriesRow, name: SeriesName, stored: _Stored, now: datetime) -> SeriesStatus:
    interval, usual = name.interval, stored.usual.get(row.name)
    newest, serving = stored.newest.get(row.name), stored.champions.get(row.name)
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
        asked_for=stored.asked_for.get(row.name),
        quote=name.quote,
    )


def _asked_for(conn: Connection, series: Collection[str]) -> dict[str, str]:
    """Return which model other than the references has a live forecast of the champion's newest origin, by series.

    The database tells it, not the setting: this server need not have the settings of the day's runs.
    """
    latest = {row.series: row for row in read_origins(conn, ForecastFilter(tuple(series), latest=True))}
    asked: dict[str, str] = {}
    for origin, names in names_by_value({name: row.origin for name, row in latest.items()}).items():
        live = read_origins(conn, ForecastFilter(tuple(names), origin=origin, kind=Kind.LIVE))
        for name, rows in groupby(live, key=attrgetter("series")):
            others = [row.model for row in rows if row.model not in REFERENCES]
            # After a change of the setting the champion is the model that was asked for before.
            beside = [model for model in others if model != latest[name].model]
            if others:
                asked[name] = (beside or others)[0]
    return asked
