"""The stored series."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from models.candles import DOLLARS, Interval, SeriesName, UnknownSeries
from storage.database.inserting import insert_or_skip
from storage.errors import NotFound
from storage.tables import candles, series


class SeriesRow(NamedTuple):
    """A stored series and the reach of its closed candles."""

    name: str
    exchange: str
    pair: str
    interval: str
    candles: int
    first_open: datetime | None
    last_close: datetime | None


def ensure_series(conn: Connection, *, name: SeriesName, now: datetime | None = None) -> None:
    """Store the series `name` unless it is stored already."""
    insert_or_skip(
        conn,
        series,
        [
            {
                "name": str(name),
                "exchange": name.exchange,
                "pair": name.pair,
                "interval": name.interval.value,
                "base": name.base,
                "quote": name.quote,
                "created_at": now or datetime.now(UTC),
            }
        ],
    )


def series_names(conn: Connection) -> list[str]:
    """Return the names of the stored series, sorted."""
    return list(conn.execute(select(series.c.name).order_by(series.c.name)).scalars())


def series_intervals(conn: Connection) -> dict[str, str]:
    """Return the interval of each stored series, by name, sorted."""
    return dict(conn.execute(select(series.c.name, series.c.interval).order_by(series.c.name)).tuples().all())


def parsed_names(names: Iterable[str]) -> dict[str, SeriesName]:
    """Return the parts of each of `names`, by name, in their order; names that are not of the form are left out.

    No ingest stores such a name: somebody wrote it by hand, which must not cost the other series their answer.
    """
    parsed: dict[str, SeriesName] = {}
    for name in names:
        with suppress(UnknownSeries):
            parsed[name] = SeriesName.parse(name)
    return parsed


def names_of_interval(conn: Connection, *, interval: Interval) -> list[str]:
    """Return the names of the stored series of `interval`, sorted."""
    of_interval = series.c.interval == interval.value
    return list(conn.execute(select(series.c.name).where(of_interval).order_by(series.c.name)).scalars())


def same_markets(conn: Connection, *, series: str) -> list[str]:
    """Return the names of the other stored series of the same coin and interval whose prices mean the same, sorted."""
    ours = SeriesName.parse(series)
    others = [SeriesName.parse(name) for name in names_of_interval(conn, interval=ours.interval) if name != series]
    return [str(one) for one in others if one.base == ours.base and _worth(one.quote) == _worth(ours.quote)]


def _worth(currency: str) -> str:
    return "USD" if currency in DOLLARS else currency


def require_series(conn: Connection, *, name: str | None) -> None:
    """Raise NotFound, which lists the stored series, unless `name` is one of them.

    Raises UnknownSeries if `name` does not have the form of a series' name. None stands for every series and passes.
    """
    if name is None:
        return
    SeriesName.parse(name)
    names = series_names(conn)
    if name not in names:
        raise NotFound(f"no series {name} is stored; stored are: {', '.join(names) or 'none yet'}")


def series_summary(conn: Connection, *, after: str | None = None, limit: int | None = None) -> list[SeriesRow]:
    """Return every stored series with the number and reach of its closed candles, by name.

    `after` and `limit` ask for a page: at most `limit` series after this name.
    """
    reach = (
        select(
            candles.c.series,
            func.count(candles.c.open_time.distinct()).label("candles"),
            func.min(candles.c.open_time).label("first_open"),
            func.max(candles.c.close_time).label("last_close"),
        )
        .where(~candles.c.provisional)
        .group_by(candles.c.series)
        .subquery()
    )
    query = (
        select(
            series.c.name,
            series.c.exchange,
            series.c.pair,
            series.c.interval,
            func.coalesce(reach.c.candles, 0),
            reach.c.first_open,
            reach.c.last_close,
        )
        .outerjoin(reach, reach.c.series == series.c.name)
        .order_by(series.c.name)
        .limit(limit)
    )
    if after is not None:
        query = query.where(series.c.name > after)
    return [SeriesRow(*row) for row in conn.execute(query)]
