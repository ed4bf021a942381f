"""How often a day that waits asks for its candle, and what it says where that often comes after the end of the wait."""

from datetime import UTC, datetime, timedelta

import pytest

from models.arrivals import UsualTime
from models.candles import Interval
from models.waiting import after_the_wait, due_close, next_question

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CLOSE = datetime(2024, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("latest", "now", "following"),
    [
        # Published between 120 and 150 minutes after the close: dense from 30 minutes before until 30 minutes after.
        (150, 5, 11),
        (150, 83, 89),
        (150, 86, 90),
        (150, 88, 90),
        (150, 89, 91),
        (150, 180, 182),
        (150, 181, 187),
        # Eight of ten in two hours: two hours before and after.
        (240, 1, 3),
        (240, 360, 362),
        (240, 361, 367),
    ],
)
def test_questions_are_dense_around_the_usual_time_and_three_times_as_rare_elsewhere(
    latest: int, now: int, following: int
) -> None:
    usual = UsualTime(120 * MINUTE, 130 * MINUTE, latest * MINUTE, 30)
    asked = next_question(CLOSE + now * MINUTE, due=CLOSE, usual=usual, interval_s=120)
    assert asked == CLOSE + following * MINUTE


def test_questions_are_dense_where_the_usual_time_is_not_known() -> None:
    assert next_question(CLOSE, due=CLOSE, usual=None, interval_s=300) == CLOSE + 5 * MINUTE


def test_the_candle_that_is_due_is_the_newest_that_has_ended() -> None:
    assert due_close(CLOSE, Interval.DAY) == due_close(CLOSE + 23.9 * HOUR, Interval.DAY) == CLOSE
    assert due_close(CLOSE - MINUTE, Interval.DAY) == CLOSE - 24 * HOUR
    assert due_close(CLOSE + 61 * MINUTE, Interval.HOUR) == CLOSE + HOUR
    # Minutes are due at the full hour.
    assert due_close(CLOSE + 119 * MINUTE, Interval.MINUTE) == CLOSE + HOUR


@pytest.mark.parametrize(
    ("latest", "hours", "words"),
    [
        (3.0, 12.0, ""),
        (12.0, 12.0, ""),
        (22.0, 12.0, "the candle often comes later: raise CANDLECAST_WAIT_HOURS (12 now, 23 at most)"),
        (4.0, 0.5, "the candle often comes later: raise CANDLECAST_WAIT_HOURS (0.5 now, 23 at most)"),
        (25.0, 23.0, "the candle often comes later: the next run stores it"),
    ],
)
def test_a_wait_that_often_ends_before_the_candle_comes_names_the_setting_to_raise(
    latest: float, hours: float, words: str
) -> None:
    usual = UsualTime(2 * HOUR, 2.5 * HOUR, latest * HOUR, 30)
    assert after_the_wait(usual, hours) == words


def test_without_a_usual_time_nothing_is_said_of_it() -> None:
    assert after_the_wait(None, 12.0) == ""
