"""When candles arrived: since when the source had each closed candle, and since when we had it."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Select, and_, case, exists, func, select, tuple_

from models.arrivals import COUNTED, Arrival, UsualTime, most_together, usual_time
from models.candles import SeriesName
from storage.tables import candles, downloads

# Candles that are older say nothing about when the source publishes now.
LOOK_BACK = timedelta(days=60)


class ArrivalRow(NamedTuple):
    """A row of the view `arrivals`."""

    series: str
    close_time: datetime
    published_at: datetime | None
    seen_at: datetime


def _arrivals() -> Select[tuple[str, datetime, datetime | None, datetime]]:
    """Return the view's query over the tables: filtered by `open_time`, it is answered from the primary key."""
    c, d, earlier = candles.c, downloads.c, candles.alias("earlier")
    had_before = exists().where(
        earlier.c.series == c.series,
        earlier.c.open_time == c.open_time,
        earlier.c.fetched_at < c.fetched_at,
        ~earlier.c.provisional,
    )
    credible = and_(d.file_time >= c.close_time, d.file_time <= c.fetched_at)
    return (
        select(
            c.series,
            c.close_time,
            case((credible, d.file_time)).label("published_at"),
            c.fetched_at.label("seen_at"),
        )
        .join(downloads, d.id == c.download)
        .where(~c.provisional, ~had_before)
    )


def read_arrivals(
    conn: Connection,
    *,
    series: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    after: tuple[str, datetime] | None = None,
    limit: int | None = None,
) -> list[ArrivalRow]:
    """Return when closed candles arrived, by series and close.

    `start` and `end` bound the close, both included; `after` and `limit` ask for a page: the arrivals that follow this
    series and close, and how many of them.
    """
    c = candles.c
    query = _arrivals().order_by(c.series, c.open_time).limit(limit)
    if series is not None:
        query = query.where(c.series == series)
        length = SeriesName.parse(series).interval.length
        # The same bounds by `open_time`, which is in the key.
        query = query if start is None else query.where(c.open_time >= _earlier(start, length))
        query = query if end is None else query.where(c.open_time <= _earlier(end, length))
    elif start is not None or end is not None:
        query = query if start is None else query.where(c.close_time >= start)
        query = query if end is None else query.where(c.close_time <= end)
    if after is not None:
        name, close_time = after
        open_time = _earlier(close_time, SeriesName.parse(name).interval.length)
        query = query.where(tuple_(c.series, c.open_time) > (name, open_time))
    return [ArrivalRow(*row) for row in conn.execute(query)]


def _earlier(instant: datetime, length: timedelta) -> datetime:
    """Return `instant` less `length`, not before the year 1."""
    first = datetime.min.replace(tzinfo=UTC)
    return instant - length if instant - first > length else first


def newest_arrival(conn: Connection, *, series: str) -> Arrival | None:
    """Return the arrival of the newest closed candle, None without one."""
    query = _arrivals().where(candles.c.series == series).order_by(candles.c.open_time.desc()).limit(1)
    row = conn.execute(query).one_or_none()
    return None if row is None else Arrival(*row[1:])


def read_usual_time(conn: Connection, *, series: str) -> UsualTime | None:
    """Return when the source usually publishes `series`, None where too few candles came as news."""
    c = candles.c
    newest = conn.execute(select(func.max(c.open_time)).where(c.series == series)).scalar()
    if newest is None:
        return None
    arrivals = _arrivals().where(c.series == series, c.open_time >= newest - LOOK_BACK).subquery()
    interval = SeriesName.parse(series).interval
    # Candles that came together are one arrival, that of the newest; minutes are too many to be fetched one by one.
    together = (
        select(
            func.max(arrivals.c.close_time, type_=candles.c.close_time.type),
            # One download brought them all, so they have one time or none.
            func.max(arrivals.c.published_at, type_=downloads.c.file_time.type),
            arrivals.c.seen_at,
        )
        .group_by(arrivals.c.seen_at)
        .having(func.count() <= most_together(interval))
        .order_by(arrivals.c.seen_at.desc())
        .limit(2 * COUNTED)
    )
    return usual_time([Arrival(*row) for row in conn.execute(together)], interval)
