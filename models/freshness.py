"""When stored data counts as stale. Findings, doctor, the HTTP API, the metrics and the page all use this rule."""

from datetime import datetime, timedelta

from models.candles import Interval

# CDD writes a day's file some hours after midnight, so one missing candle is still normal.
NORMAL_DELAY = timedelta(hours=12)
MISSING_CANDLES = 2


def stale_after(newest_close: datetime, interval: Interval) -> datetime:
    """Return the last instant at which data is still fresh whose newest candle closed at `newest_close`."""
    return newest_close + MISSING_CANDLES * interval.length + NORMAL_DELAY


def is_stale(newest_close: datetime | None, interval: Interval, now: datetime) -> bool:
    """Return whether the data is older at `now` than a source that is kept up to date would leave it.

    `newest_close` is None for a series without a closed candle, which is always stale.
    """
    return newest_close is None or now > stale_after(newest_close, interval)


def is_candle_due(newest_close: datetime | None, interval: Interval, now: datetime) -> bool:
    """Return whether a source that is kept up to date has a closed candle at `now` that is not stored yet.

    A stale source is not expected to have one.
    """
    if newest_close is None:
        return True
    return now - newest_close >= interval.length and not is_stale(newest_close, interval, now)
