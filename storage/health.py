"""Checks of the stored candles of a whole series, made by the database; they change and fill nothing."""

from datetime import datetime

from sqlalchemy import Connection, Float, Text, column, exists, func, select, table

from models.candles import Finding, Interval, SeriesName, Severity
from models.freshness import is_stale
from models.wording import close_name
from storage.arrivals import read_usual_time
from storage.candles import latest_close_time
from storage.database.times import UtcDateTime
from storage.series import same_markets
from storage.tables import candles

_current = table(
    "current_candles",
    column("series", Text),
    column("open_time", UtcDateTime()),
    column("high", Float),
    column("low", Float),
    column("close", Float),
    column("volume_base", Float),
)

# The codes of the findings that `check_candles` looks for, and those that `check_age` looks for.
CANDLE_CODES = frozenset({"gap", "zero-volume", "outlier"})
AGE_CODES = frozenset({"stale"})

# A close that differs by more than this share from another source's close of the same candle and pair is a finding.
OUTLIER_SHARE = 0.05
# A high so many times another source's of the same candle and pair, or a low so many times below its, is a finding too.
# In 146 pairs of real series (2026-11) 57 candles lie so far outside the other series.
EXTREME_FACTOR = 1.5
EXTREMES_SHOWN = 20
_COMPARE = "compare both on the day; one of the markets was thin, or one of the files is wrong"


def check_candles(conn: Connection, *, series: str, interval: Interval) -> list[Finding]:
    """Return the findings about the closed candles of `series`.

    They are gaps, candles without any trade, and closes, highs and lows far from those of the same pair from another
    stored source (not for minutes: there are too many of them to compare every day).
    """
    findings = [*_gaps(conn, series, interval), *_without_volume(conn, series)]
    return findings if interval is Interval.MINUTE else [*findings, *_outliers(conn, series)]


def check_age(conn: Connection, *, series: str, interval: Interval, now: datetime) -> list[Finding]:
    """Return a finding when the newest closed candle is stale (models/freshness.py)."""
    latest = latest_close_time(conn, series=series)
    if latest is None or not is_stale(latest, interval, now, read_usual_time(conn, series=series)):
        return []
    return [
        Finding(
            "stale",
            Severity.WARNING,
            f"no candle is stored after the {close_name(latest, interval)}",
            "does the source still serve this series, and is the schedule running? candlecast doctor",
            1,
            latest - interval.length,
            latest - interval.length,
        )
    ]


def _gaps(conn: Connection, series: str, interval: Interval) -> list[Finding]:
    c = candles.c
    # A candle without a direct successor stands before a hole, or is the last one. The primary key answers this
    # (measured: in two thirds of the time that a window function over all rows takes).
    following = candles.alias("following")
    followed = exists().where(
        following.c.series == series, following.c.open_time == c.close_time, ~following.c.provisional
    )
    ends = select(c.close_time).distinct().where(c.series == series, ~c.provisional, ~followed).subquery()
    next_open = (
        select(following.c.open_time)
        .where(following.c.series == series, following.c.open_time >= ends.c.close_time, ~following.c.provisional)
        .order_by(following.c.open_time)
        .limit(1)
        .scalar_subquery()
    )
    query = select(ends.c.close_time, next_open).order_by(ends.c.close_time)
    findings = []
    for first, after in conn.execute(query):
        if after is None:
            continue
        missing = (after - first) // interval.length
        if missing:
            findings.append(
                Finding(
                    "gap",
                    Severity.WARNING,
                    f"{missing} candles are missing between the {close_name(first, interval)} and the "
                    f"{close_name(after + interval.length, interval)}",
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
            f"{count} candles have no trade and repeat one price",
            "an outage of the exchange or a thin market; they are kept as they are",
            count,
            first,
            last,
        )
    ]


def _outliers(conn: Connection, series: str) -> list[Finding]:
    findings: list[Finding] = []
    for name in same_markets(conn, series=series):
        a, b = _current.alias("a"), _current.alias("b")
        apart = func.abs(a.c.close / b.c.close - 1)
        count, first, last, most = conn.execute(
            select(
                func.count(),
                func.min(a.c.open_time, type_=UtcDateTime()),
                func.max(a.c.open_time, type_=UtcDateTime()),
                func.max(apart),
            )
            .join(b, a.c.open_time == b.c.open_time)
            .where(a.c.series == series, b.c.series == name, apart > OUTLIER_SHARE)
        ).one()
        if count:
            findings.append(
                Finding(
                    "outlier",
                    Severity.WARNING,
                    f"{count} closes are over {OUTLIER_SHARE:.0%} from those of {name}, {most:.1%} at most",
                    _COMPARE,
                    count,
                    first,
                    last,
                )
            )
        findings += _extremes(conn, series, name)
    return findings


def _extremes(conn: Connection, series: str, name: str) -> list[Finding]:
    """Return a finding for each candle whose high or low lies far outside that of the series `name`."""
    interval = SeriesName.parse(series).interval
    a, b = _current.alias("a"), _current.alias("b")
    query = (
        select(a.c.open_time, a.c.low, b.c.low, a.c.high, b.c.high)
        .join(b, a.c.open_time == b.c.open_time)
        .where(
            a.c.series == series,
            b.c.series == name,
            (a.c.low * EXTREME_FACTOR < b.c.low) | (a.c.high > b.c.high * EXTREME_FACTOR),
        )
        .order_by(a.c.open_time)
    )
    rows = conn.execute(query).all()
    findings = []
    for opened, low, their_low, high, their_high in rows[:EXTREMES_SHOWN]:
        side, ours, theirs = ("low", low, their_low) if low * EXTREME_FACTOR < their_low else ("high", high, their_high)
        message = (
            f"{close_name(opened + interval.length, interval)}: the {side} is {ours:g}, that of {name} is {theirs:g}"
        )
        findings.append(Finding("outlier", Severity.WARNING, message, _COMPARE, 1, opened, opened))
    if more := rows[EXTREMES_SHOWN:]:
        message = f"{len(more)} more highs or lows are over {EXTREME_FACTOR:g} times outside those of {name}"
        findings.append(Finding("outlier", Severity.WARNING, message, _COMPARE, len(more), more[0][0], more[-1][0]))
    return findings
