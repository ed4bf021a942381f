"""When data is stale and when a candle is due, exact to the microsecond."""

from datetime import UTC, datetime, timedelta

import pytest

from models.candles import Interval
from models.freshness import is_candle_due, is_stale, stale_after

CLOSE = datetime(2026, 3, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("interval", "hours"), [(Interval.DAY, 60), (Interval.HOUR, 14), (Interval.MINUTE, 12 + 2 / 60)]
)
def test_data_is_stale_two_intervals_and_half_a_day_after_its_last_close(interval: Interval, hours: float) -> None:
    last = CLOSE + timedelta(hours=hours)
    assert stale_after(CLOSE, interval) == last
    assert not is_stale(CLOSE, interval, last)
    assert is_stale(CLOSE, interval, last + MICROSECOND)


def test_a_series_without_candles_is_stale_and_waits_for_its_first() -> None:
    assert is_stale(None, Interval.DAY, CLOSE)
    assert is_candle_due(None, Interval.DAY, CLOSE)


def test_the_next_candle_is_due_from_its_close_until_the_data_is_stale() -> None:
    due = CLOSE + Interval.DAY.length
    assert not is_candle_due(CLOSE, Interval.DAY, due - MICROSECOND)
    assert is_candle_due(CLOSE, Interval.DAY, due)
    assert is_candle_due(CLOSE, Interval.DAY, stale_after(CLOSE, Interval.DAY))
    assert not is_candle_due(CLOSE, Interval.DAY, stale_after(CLOSE, Interval.DAY) + MICROSECOND)
