"""Waiting for a candle: which one is due, when to ask for it next, and what to call it."""

from datetime import UTC, datetime, timedelta

from models.arrivals import UsualTime
from models.candles import Interval
from models.wording import close_day

HOUR = timedelta(hours=1)
# Outside the usual time questions are this many times as far apart.
SPARSE = 3
# Questions become dense this long before the usual time, at least, and stay so for as long after it.
MARGIN = timedelta(minutes=30)
# A day that waits for longer would wait for two candles.
MOST_WAIT_HOURS = 23
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def due_close(now: datetime, interval: Interval) -> datetime:
    """Return the close of the newest candle that has ended by `now`.

    Minutes are due at the full hour: no source publishes each of them for itself.
    """
    length = max(interval.length, HOUR)
    return _EPOCH + (now - _EPOCH) // length * length


def next_question(now: datetime, *, due: datetime, usual: UsualTime | None, interval_s: float) -> datetime:
    """Return when to ask again for the candle that closed at `due`.

    Every `interval_s` seconds around the usual time of publication, or always where that is not known yet; SPARSE times
    as rarely before and after.
    """
    dense = now + timedelta(seconds=interval_s)
    if usual is None:
        return dense
    margin = max(MARGIN, usual.spread)
    opens, closes = due + usual.earliest - margin, due + usual.latest + margin
    if opens <= dense and now <= closes:
        return dense
    sparse = now + timedelta(seconds=SPARSE * interval_s)
    return min(sparse, opens) if now < opens else sparse


def after_the_wait(usual: UsualTime | None, wait_hours: float) -> str:
    """Return what to do where the candle often comes after a wait of `wait_hours`; "" where it rarely does."""
    if usual is None or usual.latest <= timedelta(hours=wait_hours):
        return ""
    raised = f"raise CANDLECAST_WAIT_HOURS ({wait_hours:g} now, {MOST_WAIT_HOURS} at most)"
    return f"the candle often comes later: {raised if wait_hours < MOST_WAIT_HOURS else 'the next run stores it'}"


def close_words(close: datetime, interval: Interval) -> str:
    """Return what people call a candle that closed at `close`: a day by its date, others by the instant."""
    name = close_day(close, interval)
    return f"the candle of {name}" if interval is Interval.DAY else f"the candle that closed {name}"
