"""What a day that waits says where the candle often comes after the end of the wait."""

from datetime import timedelta

import pytest

from models.arrivals import UsualTime
from models.waiting import after_the_wait

HOUR = timedelta(hours=1)


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
