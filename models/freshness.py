"""When stored data counts as stale. Findings, doctor, the HTTP API, the metrics and the page all use this rule."""

from datetime import datetime, timedelta

from models.arrivals import UsualTime
from models.candles import Interval

# CDD writes a day's file some hours after midnight, so one missing candle is still normal.
NORMAL_DELAY = timedelta(hours=12)
MISSING_CANDLES = 2
# A source may be this much later than usual, or as late again as its usual time is long.
TOLERANCE = timedelta(hours=1)


def normal_delay(usual: UsualTime | None) -> timedelta:
    """Return how long after its close a candle may come; NORMAL_DELAY where the source's usual time is not known."""
    return NORMAL_DELAY if usual is None else usual.latest + max(TOLERANCE, usual.spread)


def stale_after(newest_close: datetime, interval: Interval, usual: UsualTime | None = None) -> datetime:
    """Return the last instant at which data is still fresh whose newest candle closed at `newest_close`."""
    return newest_close + MISSING_CANDLES * interval.length + normal_delay(usual)


def is_stale(newest_close: datetime | None, interval: Interval, now: datetime, usual: UsualTime | None = None) -> bool:
    """Return whether the data is older at `now` than a source that is kept up to date would leave it.

    `newest_close` is None for a series without a closed candle, which is always stale; `usual` is when the source
    usually publishes, where that is known.
    """
    return newest_close is None or now > stale_after(newest_close, interval, usual)


def is_candle_due(newest_close: datetime | None, interval: Interval, now: datetime) -> bool:
    """Return whether a source that is kept up to date has a closed candle at `now` that is not stored yet.

    A stale source is not expected to have one.
    """
    if newest_close is None:
        return True
    return now - newest_close >= interval.length and not is_stale(newest_close, interval, now)
