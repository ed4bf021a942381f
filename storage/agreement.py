"""Whether the candles of a download agree with the stored ones of other sources of the pair, and with earlier ones."""

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, select

from models.candles import Interval, SeriesName
from models.times import from_unix
from storage.database.times import unix_us
from storage.series import same_markets
from storage.tables import candles

if TYPE_CHECKING:
    import numpy as np

# How many candles away another source is looked at: the farthest time zone, and days that are dated at their close.
FARTHEST = {Interval.HOUR: 14, Interval.DAY: 3}

# Fewer candles than two windows (models/agreement.py) tell nothing.
FEWEST_COMPARED = 48
# Two sources of one pair are not so many times apart in the median of their closes.
FARTHEST_RATIO = 1.25


class Disagreement(NamedTuple):
    """What a download has against stored candles of the pair: closes `ratio` times those of the same time, or a stretch
    of candles that agrees with those of times that lie `by_s` seconds later.
    """

    other: str
    ratio: float = 1.0
    first: int = 0
    last: int = 0
    candles: int = 0
    by_s: int = 0


def read_disagreement(conn: Connection, *, series: str, download: int, earlier: bool) -> Disagreement | None:
    """Return what the candles of a download have against other stored sources of the pair, None where nothing.

    Where `earlier` asks for it, they are also compared with what the series itself had before. Candles of a minute are
    not compared.
    """
    from models.agreement import longest_moved, median_ratio

    interval = SeriesName.parse(series).interval
    others = [*([series] if earlier else []), *same_markets(conn, series=series)]
    if interval not in FARTHEST or not others:
        return None
    c = candles.c
    at, close = _closes(conn, series, c.download == download)
    if not len(at):
        return None
    length_s = int(interval.length.total_seconds())
    around = FARTHEST[interval] * length_s
    span = c.open_time.between(from_unix(int(at[0]) - around), from_unix(int(at[-1]) + around))
    for other in others:
        theirs = _closes(conn, other, and_(c.download != download, span))
        ratio = median_ratio(at, close, *theirs)
        if ratio is not None and not 1 / FARTHEST_RATIO < ratio < FARTHEST_RATIO:
            return Disagreement(other, ratio)
        moved = longest_moved(at, close, *theirs, length_s=length_s, farthest=FARTHEST[interval])
        if moved is not None:
            return Disagreement(other, 1.0, *moved)
    return None


def _closes(conn: Connection, series: str, which: ColumnElement[bool]) -> "tuple[np.ndarray, np.ndarray]":
    """Return open times in unix seconds and closes of closed candles in time order, newest revisions only."""
    import numpy as np

    from models.history import are_newest

    c = candles.c
    rows = conn.execute(
        select(unix_us(c.open_time), c.close)
        .where(c.series == series, ~c.provisional, which)
        .order_by(c.open_time, c.fetched_at)
    ).all()
    at = np.array([row[0] for row in rows], dtype=np.int64) // 1_000_000
    close = np.array([row[1] for row in rows], dtype=np.float64)
    newest = are_newest(at)
    return at[newest], close[newest]
