"""When candles arrived: since when the source had each closed candle, and since when we had it."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from math import isclose
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, case, exists, func, select, tuple_

from models.arrivals import COUNTED, Arrival, NewestView, UsualTime, final_after, most_together, usual_time
from models.candles import SeriesName
from storage.candles import SAME_NUMBER, VALUES, newest_closed_open
from storage.query import names_by_value
from storage.tables import candles, downloads
from storage.tables import series as stored_series

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
    return [ArrivalRow._make(row) for row in conn.execute(query)]


def _earlier(instant: datetime, length: timedelta) -> datetime:
    """Return `instant` less `length`, not before the year 1."""
    first = datetime.min.replace(tzinfo=UTC)
    return instant - length if instant - first > length else first


def newest_arrival(conn: Connection, *, series: str) -> Arrival | None:
    """Return the arrival of the newest closed candle, None without one."""
    return newest_arrivals(conn, series=[series]).get(series)


def newest_arrivals(conn: Connection, *, series: Collection[str]) -> dict[str, Arrival]:
    """Return the arrival of the newest closed candle of each of `series`, by name; a series without one is left out."""
    c, name = candles.c, stored_series.c.name
    query = _arrivals().where(c.series == name, c.open_time == newest_closed_open(), name.in_(series))
    return {one: Arrival(*times) for one, *times in conn.execute(query)}


def read_usual_time(conn: Connection, *, series: str) -> UsualTime | None:
    """Return when the source usually publishes `series`, None where too few candles came as news."""
    return read_usual_times(conn, series=[series]).get(series)


def read_usual_times(conn: Connection, *, series: Collection[str]) -> dict[str, UsualTime]:
    """Return when the source usually publishes each of `series`, by name; without those of too few news."""
    opens = {name: (SeriesName.parse(name).interval, at) for name, at in _newest_opens(conn, series).items()}
    usual: dict[str, UsualTime] = {}
    for (interval, newest), names in names_by_value(opens).items():
        arrivals = _newest_arrivals(conn, names, since=newest - LOOK_BACK, most=most_together(interval))
        times = {name: usual_time(of_series, interval) for name, of_series in arrivals.items()}
        usual |= {name: time for name, time in times.items() if time is not None}
    return usual


def _newest_opens(conn: Connection, series: Collection[str]) -> dict[str, datetime]:
    """Return when the newest candle of each of `series` opens, closed or not; a series without candles is left out."""
    c, name = candles.c, stored_series.c.name
    newest = select(func.max(c.open_time)).where(c.series == name).scalar_subquery()
    rows = conn.execute(select(name, newest).where(name.in_(series))).tuples()
    return {one: opened for one, opened in rows if opened is not None}


def _newest_arrivals(
    conn: Connection, series: Collection[str], *, since: datetime, most: int
) -> dict[str, list[Arrival]]:
    """Return the newest arrivals of at most `most` candles each of `series`, of candles that open from `since` on.

    Candles that came together are one arrival, that of the newest; minutes are too many to be fetched one by one.
    """
    c = candles.c
    each = _arrivals().where(c.series.in_(series), c.open_time >= since).subquery()
    together = (
        select(
            each.c.series,
            func.max(each.c.close_time, type_=candles.c.close_time.type).label("close_time"),
            # One download brought them all, so they have one time or none.
            func.max(each.c.published_at, type_=downloads.c.file_time.type).label("published_at"),
            each.c.seen_at,
            func.row_number().over(partition_by=each.c.series, order_by=each.c.seen_at.desc()).label("place"),
        )
        .group_by(each.c.series, each.c.seen_at)
        .having(func.count() <= most)
        .subquery()
    )
    t = together.c
    query = select(t.series, t.close_time, t.published_at, t.seen_at).where(t.place <= 2 * COUNTED)
    arrivals: dict[str, list[Arrival]] = {}
    for name, *times in conn.execute(query).all():
        arrivals.setdefault(name, []).append(Arrival(*times))
    return arrivals


def read_final_after(conn: Connection, *, series: str) -> timedelta | None:
    """Return how long after its close the newest candle of a new file is final, None where that is not known.

    Learnt from every candle that was the newest of a file and has a newer one by now, stored as closed or not.
    """
    c = candles.c
    newest = conn.execute(select(func.max(c.open_time)).where(c.series == series)).scalar()
    if newest is None:
        return None
    recent = [c.series == series, c.open_time >= newest - LOOK_BACK]
    of_download = dict(
        conn.execute(select(c.download, func.max(c.open_time)).where(*recent).group_by(c.download)).tuples().all()
    )
    query = (
        select(c.open_time, c.close_time, c.fetched_at, c.provisional, c.download, *(c[name] for name in VALUES))
        .where(*recent, c.open_time.in_(sorted(set(of_download.values()))), c.fetched_at >= c.close_time)
        .order_by(c.open_time, c.fetched_at)
    )
    views = _newest_views(conn.execute(query).all(), of_download, max(of_download.values()))
    return final_after(views, SeriesName.parse(series).interval)


def _newest_views(rows: Sequence[Row[Any]], of_download: dict[int, datetime], newest: datetime) -> Iterator[NewestView]:
    for open_time, group in groupby(rows, key=lambda row: row.open_time):
        revisions = list(group)
        seen = next((i for i, row in enumerate(revisions) if of_download[row.download] == open_time), None)
        final = next((row for row in reversed(revisions) if not row.provisional), None)
        if open_time == newest or seen is None or final is None:
            continue
        view = revisions[seen]
        yield NewestView(view.close_time, view.fetched_at, final=view is final or _same(view, final))


def _same(row: Row[Any], other: Row[Any]) -> bool:
    pairs = [(getattr(row, name), getattr(other, name)) for name in VALUES]
    return all(
        one == another if one is None or another is None else isclose(one, another, rel_tol=SAME_NUMBER)
        for one, another in pairs
    )
