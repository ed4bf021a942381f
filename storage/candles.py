"""Stored candles with every revision: as they are known now, and as they were known at an earlier time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, exists, func, select

from storage.database.inserting import insert_columns
from storage.database.times import unix_us
from storage.tables import candles
from storage.tables import series as stored_series

if TYPE_CHECKING:
    import numpy as np

    from models.history import CandleHistory
    from storage.chunk import Chunk

VALUES = ("open", "high", "low", "close", "volume_base", "volume_quote", "trades")
# A relative difference up to this is no revision: a number written twice may differ in the last digit of a float.
SAME_NUMBER = 1e-9
# A revision that moves a price by more than this share is large: see tasks/steps/holds.py.
LARGE_MOVE = 0.01


class CandleRow(NamedTuple):
    """A closed candle in one revision."""

    open_time: datetime
    close_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume_base: float | None
    volume_quote: float | None
    trades: int | None
    fetched_at: datetime


@dataclass
class StoreCounts:
    """How many rows were stored, by outcome, and how far the prices of revised closed candles moved."""

    new: int = 0
    equal: int = 0
    revised: int = 0
    stored_before: int = 0
    matched: int = 0
    moved_far: int = 0
    largest_move: float = 0.0
    revised_span: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    """(line number, reason) of rows that may not replace what is stored."""
    span: list[int] = field(default_factory=list)
    """The open times of the first and last row."""


def store_candles(
    conn: Connection, *, series: str, chunk: "Chunk", fetched_at: datetime, download: int, counts: StoreCounts
) -> None:
    """Store the new and changed candles of `chunk` as revisions known since `fetched_at`, and add to `counts`.

    An equal candle is skipped, a changed one becomes a new row, and a provisional row never replaces a closed one.
    A candle that was stored as provisional and has now closed counts as new.
    """
    import numpy as np

    first, last = int(chunk.open_time.min()), int(chunk.open_time.max())
    counts.span = [min([first, *counts.span]), max([last, *counts.span])]
    stored = _newest_revisions(conn, series, first, last)
    n = len(chunk)
    values = np.stack([getattr(chunk, name) for name in VALUES], axis=1)
    position = np.searchsorted(stored.open_time, chunk.open_time)
    inside = position < len(stored.open_time)
    known = np.zeros(n, dtype=bool)
    known[inside] = stored.open_time[position[inside]] == chunk.open_time[inside]
    at = position[known]
    same, stored_closed, from_this_download = np.zeros((3, n), dtype=bool)
    same[known] = np.isclose(values[known], stored.values[at], rtol=SAME_NUMBER, atol=0, equal_nan=True).all(axis=1)
    stored_closed[known] = ~stored.provisional[at]
    from_this_download[known] = stored.download[at] == download

    for i in np.flatnonzero(from_this_download & ~same):
        reason = "a duplicate: the same time stands earlier in the file"
        counts.refused.append((int(chunk.line_number[i]), reason))
    late = stored_closed & chunk.provisional & ~same & ~from_this_download
    for i in np.flatnonzero(late):
        reason = "an unfinished view of a candle that is stored as closed"
        counts.refused.append((int(chunk.line_number[i]), reason))
    equal = known & same & (stored_closed | chunk.provisional)
    revised = stored_closed & ~same & ~chunk.provisional & ~from_this_download
    write = ~equal & ~late & ~(from_this_download & ~same)
    counts.equal += int(equal.sum())
    counts.revised += int(revised.sum())
    counts.new += int((write & ~revised).sum())
    counts.matched += int((known & stored_closed).sum())
    if revised.any():
        moves = np.abs(values[revised, :4] / stored.values[position[revised], :4] - 1).max(axis=1)
        counts.moved_far += int((moves > LARGE_MOVE).sum())
        counts.largest_move = max(counts.largest_move, float(moves.max()))
        times = chunk.open_time[revised]
        span = [*counts.revised_span, int(times.min()), int(times.max())]
        counts.revised_span = [min(span), max(span)]
    _insert(conn, series, chunk.take(write), fetched_at, download)


def closed_count(
    conn: Connection, *, series: str, span: Sequence[int] | None = None, before_download: int | None = None
) -> int:
    """Return how many closed candles are stored.

    With `span` (unix seconds), only those that open in it; with `before_download`, only those of earlier downloads.
    """
    from models.times import from_unix

    c = candles.c
    query = select(func.count(c.open_time.distinct())).where(c.series == series, ~c.provisional)
    if span:
        query = query.where(c.open_time.between(from_unix(span[0]), from_unix(span[1])))
    if before_download is not None:
        query = query.where(c.download < before_download)
    return conn.execute(query).scalar_one()


def newest_fetch(conn: Connection, *, series: str) -> datetime | None:
    """Return when the newest revision of any candle became known, None without candles."""
    return conn.execute(select(func.max(candles.c.fetched_at)).where(candles.c.series == series)).scalar()


def latest_close_time(conn: Connection, *, series: str) -> datetime | None:
    """Return when the newest closed candle closed, None without one."""
    newest = newest_candles(conn, series=[series]).get(series)
    return None if newest is None else newest.close_time


def newest_candles(conn: Connection, *, series: Collection[str]) -> dict[str, CandleRow]:
    """Return the newest closed candle of each of `series` by name, as known now; a series without one is left out."""
    c = candles.c
    query = (
        select(c.series, *(c[name] for name in CandleRow._fields))
        .select_from(stored_series)
        .join(candles, and_(c.series == stored_series.c.name, c.open_time == newest_closed_open()))
        .where(stored_series.c.name.in_(series), ~c.provisional, ~_superseded())
    )
    return {name: CandleRow(*row) for name, *row in conn.execute(query)}


def newest_closed_open() -> ScalarSelect[datetime]:
    """Return when the newest closed candle of a row of the table `series` opens, as a part of a query over it."""
    c = candles.alias("other").c
    return (
        select(c.open_time)
        .where(c.series == stored_series.c.name, ~c.provisional)
        .order_by(c.open_time.desc())
        .limit(1)
        .scalar_subquery()
    )


def _superseded(as_of: datetime | None = None) -> ColumnElement[bool]:
    """Return whether a candle has a later revision that is closed, known at `as_of` (default: now)."""
    c, later = candles.c, candles.alias("later")
    revision = exists().where(
        later.c.series == c.series,
        later.c.open_time == c.open_time,
        later.c.fetched_at > c.fetched_at,
        ~later.c.provisional,
    )
    return revision if as_of is None else revision.where(later.c.fetched_at <= as_of)


def nth_close(conn: Connection, *, series: str, n: int) -> datetime | None:
    """Return when the n-th closed candle of `series` (the first is 1) closed, None with fewer."""
    c = candles.c
    query = (
        select(c.close_time).distinct().where(c.series == series, ~c.provisional).order_by(c.close_time).offset(n - 1)
    )
    return conn.execute(query.limit(1)).scalar()


def read_close_times(conn: Connection, *, series: str, end: datetime) -> list[datetime]:
    """Return the close times, up to and including `end`, of the closed candles of `series` in time order."""
    c = candles.c
    # A revised candle has several rows.
    query = select(c.close_time).distinct().where(c.series == series, ~c.provisional, c.close_time <= end)
    return list(conn.execute(query.order_by(c.close_time)).scalars())


def read_candle_rows(
    conn: Connection,
    *,
    series: str,
    start: datetime | None = None,
    end: datetime | None = None,
    as_of: datetime | None = None,
    after: datetime | None = None,
    limit: int | None = None,
) -> list[CandleRow]:
    """Return closed candles with start <= open_time <= end in time order, as known at `as_of` (default: now).

    `after` and `limit` select a page: at most `limit` candles that open later than `after`.
    """
    c = candles.c
    query = (
        select(*(c[name] for name in CandleRow._fields))
        .where(c.series == series, ~c.provisional, ~_superseded(as_of))
        .order_by(c.open_time)
        .limit(limit)
    )
    if start is not None:
        query = query.where(c.open_time >= start)
    if end is not None:
        query = query.where(c.open_time <= end)
    if as_of is not None:
        query = query.where(c.fetched_at <= as_of)
    if after is not None:
        query = query.where(c.open_time > after)
    return list(map(CandleRow._make, conn.execute(query).all()))


def read_history(conn: Connection, *, series: str) -> "CandleHistory":
    """Return every revision of every closed candle of `series`."""
    import numpy as np

    from models.candles import CANDLE_COLUMNS
    from models.history import CandleHistory

    c = candles.c
    names = [*CANDLE_COLUMNS, "fetched_at"]
    query = (
        select(*(unix_us(c[name]) if name.endswith(("_time", "_at")) else c[name] for name in names))
        .where(c.series == series, ~c.provisional)
        .order_by(c.open_time, c.fetched_at)
    )
    columns: list[Sequence[Any]] = list(zip(*conn.execute(query).all(), strict=True)) or [()] * len(names)
    return CandleHistory(
        {
            name: np.array(values, np.int64 if name.endswith(("_time", "_at")) else np.float64)
            for name, values in zip(names, columns, strict=True)
        }
    )


def not_before(history: "CandleHistory", now: datetime) -> datetime:
    """Return `now`, or the newest fetch of `history` where that is later.

    Clocks go back, and the clocks of two machines differ; a forecast must not look older than the candles it was made
    from.
    """
    return now if history.last_fetch is None else max(now, history.last_fetch)


class _Stored(NamedTuple):
    open_time: "np.ndarray"
    values: "np.ndarray"
    provisional: "np.ndarray"
    download: "np.ndarray"


def _newest_revisions(conn: Connection, series: str, first: int, last: int) -> _Stored:
    import numpy as np

    from models.history import are_newest
    from models.times import from_unix

    c = candles.c
    query = (
        select(unix_us(c.open_time), *(c[name] for name in VALUES), c.provisional, c.download)
        .where(c.series == series, c.open_time.between(from_unix(first), from_unix(last)))
        .order_by(c.open_time, c.fetched_at)
    )
    columns = list(zip(*conn.execute(query).all(), strict=True)) or [()] * (len(VALUES) + 3)
    opened = np.array(columns[0], dtype=np.int64) // 1_000_000
    newest = are_newest(opened)
    return _Stored(
        opened[newest],
        np.stack([np.array(values, dtype=np.float64) for values in columns[1 : 1 + len(VALUES)]], axis=1)[newest],
        np.array(columns[-2], dtype=bool)[newest],
        np.array(columns[-1], dtype=np.int64)[newest],
    )


def _insert(conn: Connection, series: str, chunk: "Chunk", fetched_at: datetime, download: int) -> None:
    import numpy as np

    from models.candles import SeriesName

    length = int(SeriesName.parse(series).interval.length.total_seconds())
    # Files are newest first, and a table fills faster in the order of its key.
    chunk = chunk.take(np.argsort(chunk.open_time, kind="stable"))
    insert_columns(
        conn,
        candles,
        {
            "series": series,
            "open_time": chunk.open_time,
            "close_time": chunk.open_time + length,
            "fetched_at": fetched_at,
            **{name: getattr(chunk, name) for name in VALUES if name != "trades"},
            "trades": chunk.trades,
            "provisional": chunk.provisional,
            "download": download,
        },
    )
