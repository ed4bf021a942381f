"""How people read candles and forecasts: days by their date, other candles by the instant of their close.

A daily candle closes at the midnight that already belongs to the next date, so its close is named by the day it covers.
The page says the same in candlecast/page/words.js.
"""

import math
from datetime import datetime, timedelta

from models.candles import Interval
from models.forecasts import Bound, Chance

_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def close_day(close: datetime, interval: Interval) -> str:
    """Return which close is meant: "Thu 2026-04-23" for a day, "2026-04-23 14:00 UTC" for other candles."""
    if interval is Interval.DAY:
        return f"{close - interval.length:%a %Y-%m-%d}"
    return f"{close:%Y-%m-%d %H:%M} UTC"


def close_name(close: datetime, interval: Interval) -> str:
    """Return "close of Thu 2026-04-23" for a day, "close at 2026-04-23 14:00 UTC" for other candles."""
    return f"close {'of' if interval is Interval.DAY else 'at'} {close_day(close, interval)}"


def after_close(origin: datetime, interval: Interval) -> str:
    """Return the name of a forecast: the last close that it knew, as in "after the close of 2019-09-26"."""
    if interval is Interval.DAY:
        return f"after the close of {origin - interval.length:%Y-%m-%d}"
    return f"after the {close_name(origin, interval)}"


def chance_words(chance: Chance) -> str:
    """Return a chance as people read it: "42.3 %", and "under 1 %" or "over 99 %" where only the bound is known."""
    if chance.bound is Bound.EXACT:
        return f"{100 * chance.value:.1f} %"
    return f"{'under' if chance.bound is Bound.AT_MOST else 'over'} {100 * chance.value:.0f} %"


def price_words(price: float, *, like: float | None = None) -> str:
    """Return a price with six digits or all of its whole part: "8,246.91", "0.123457", "61,234.4".

    With `like`, it has as many decimals as that price would have, so that the prices of one table look alike.
    """
    size = abs(price if like is None else like)
    decimals = max(0, 5 - math.floor(math.log10(size))) if size else 0
    return f"{price:,.{min(decimals, 12)}f}"


def duration(length: timedelta) -> str:
    """Return a length of time in its two largest units: "21 h 39 min", "3 days 2 h", "40 s"."""
    rest = int(abs(length).total_seconds())
    parts: list[str] = []
    for unit, seconds in _UNITS:
        count, rest = divmod(rest, seconds)
        if count and len(parts) < 2:
            parts.append(f"{count:,} {unit}{'s' if unit == 'day' and count > 1 else ''}")
        elif parts:
            break
    return " ".join(parts) or "0 s"


def when_stored(created_at: datetime, origin: datetime, interval: Interval, horizon: int) -> str:
    """Return how long before its first close a forecast was stored, or which of its steps came after the fact.

    As in "Stored 2026-04-24 02:21 UTC, 21 h 39 min before the close of Fri 2026-04-24."
    """
    first = origin + interval.length
    stored = f"Stored {created_at:%Y-%m-%d %H:%M} UTC, "
    if created_at < first:
        return f"{stored}{duration(first - created_at)} before the {close_name(first, interval)}."
    late = min((created_at - origin) // interval.length, horizon)
    last_late = origin + late * interval.length
    steps = "all steps are" if late == horizon else "step 1 is" if late == 1 else f"steps 1 to {late} are"
    passed = duration(created_at - last_late)
    return f"{stored}{passed} after the {close_name(last_late, interval)}: {steps} after the fact."
