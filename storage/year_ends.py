"""Closes the last candle of a year's file once the file of the next year follows it.

A file that was saved on 31 December has an unfinished day at its end, and nothing in it tells. The next year's file
does: markets trade around the clock, so its first candle opens where a finished one closed (docs/decisions/0005).
"""

from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from models.candles import SeriesName
from models.times import from_unix
from storage.candles import VALUES
from storage.tables import candles

# The next candle opens where this one closed, to this share of this one's range: so do 98 % of the days of a market in
# the median of 104 files (2026-11), and of days cut at noon one in ten.
NEAR = 0.05


def close_years(conn: Connection, *, series: str, span: list[int], fetched_at: datetime) -> int:
    """Store the last candles of the years in `span` (unix seconds) as closed that the next year's file shows to be so.

    Returns how many. They are known as closed since `fetched_at`, with the values and the download that they have.
    """
    length = SeriesName.parse(series).interval.length
    first, last = (from_unix(instant).year for instant in span)
    count = 0
    for year in range(first, last + 2):
        begins = datetime(year, 1, 1, tzinfo=UTC)
        old, new = _newest(conn, series, begins - length), _newest(conn, series, begins)
        if old is None or new is None or not old["provisional"]:
            continue
        if abs(new["open"] - old["close"]) > NEAR * (old["high"] - old["low"]):
            continue
        if old["fetched_at"] == fetched_at:
            key = (candles.c.series == series) & (candles.c.open_time == old["open_time"])
            conn.execute(update(candles).where(key, candles.c.fetched_at == fetched_at).values(provisional=False))
        else:
            values = dict(old) | {"fetched_at": fetched_at, "provisional": False}
            conn.execute(insert(candles).values(**values))
        count += 1
    return count


def _newest(conn: Connection, series: str, open_time: datetime) -> RowMapping | None:
    """Return the newest revision of a candle, a closed one if there is one."""
    c = candles.c
    query = (
        select(
            c.series, c.open_time, c.close_time, c.fetched_at, *(c[name] for name in VALUES), c.provisional, c.download
        )
        .where(c.series == series, c.open_time == open_time)
        .order_by(c.provisional, c.fetched_at.desc())
        .limit(1)
    )
    return conn.execute(query).mappings().one_or_none()
