"""What the stored candles of a series look like as a whole: gaps and days without a trade, found by the database."""

from sqlalchemy import Connection, Float, Text, column, func, select, table

from models.candles import Finding, Interval, Severity
from storage.tables import candles
from storage.times import UtcDateTime

_current = table(
    "current_candles",
    column("series", Text),
    column("open_time", UtcDateTime()),
    column("high", Float),
    column("low", Float),
    column("volume_base", Float),
)


def check_candles(conn: Connection, *, series: str, interval: Interval) -> list[Finding]:
    """Return what is odd about the closed candles of `series`: gaps and candles without any trade.

    Nothing is changed, nothing is filled.
    """
    return [*_gaps(conn, series, interval), *_without_volume(conn, series)]


def _gaps(conn: Connection, series: str, interval: Interval) -> list[Finding]:
    c = candles.c
    closed = (
        select(c.open_time, func.max(c.close_time).label("close_time"))
        .where(c.series == series, ~c.provisional)
        .group_by(c.open_time)
        .subquery()
    )
    # The type says how to read the instant back; lag itself has none.
    before = func.lag(closed.c.close_time, type_=UtcDateTime()).over(order_by=closed.c.open_time).label("before")
    steps = select(closed.c.open_time, before).subquery()
    query = select(steps.c.before, steps.c.open_time).where(steps.c.open_time > steps.c.before)
    findings = []
    for first, after in conn.execute(query.order_by(steps.c.open_time)):
        missing = (after - first) // interval.length
        if missing:
            findings.append(
                Finding(
                    "gap",
                    Severity.WARNING,
                    f"{missing} candles are missing between {first:%Y-%m-%d %H:%M} and {after:%Y-%m-%d %H:%M} UTC",
                    "nothing is filled in; a later file of the source may bring them, then ingest again",
                    missing,
                    first,
                    after - interval.length,
                )
            )
    return findings


def _without_volume(conn: Connection, series: str) -> list[Finding]:
    c = _current.c
    count, first, last = conn.execute(
        select(
            func.count(), func.min(c.open_time, type_=UtcDateTime()), func.max(c.open_time, type_=UtcDateTime())
        ).where(c.series == series, c.volume_base == 0, c.high == c.low)
    ).one()
    if not count:
        return []
    return [
        Finding(
            "zero-volume",
            Severity.INFO,
            f"{count} candles saw no trade and repeat one price",
            "an outage of the exchange or a thin market; they are kept as they are",
            count,
            first,
            last,
        )
    ]
