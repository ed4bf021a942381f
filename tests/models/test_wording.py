from datetime import UTC, datetime, timedelta

import pytest

from models.candles import Interval
from models.forecasts import Bound, Chance
from models.wording import after_close, chance_words, close_day, close_name, duration, price_words, when_stored

MIDNIGHT = datetime(2026, 4, 24, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_daily_close_is_named_by_the_day_it_covers_and_a_shorter_one_by_its_instant() -> None:
    assert close_day(MIDNIGHT, Interval.DAY) == "Thu 2026-04-23"
    assert close_name(MIDNIGHT, Interval.DAY) == "close of Thu 2026-04-23"
    assert after_close(MIDNIGHT, Interval.DAY) == "after the close of 2026-04-23"
    afternoon = MIDNIGHT + 14 * HOUR
    assert close_day(afternoon, Interval.HOUR) == "2026-04-24 14:00 UTC"
    assert close_name(afternoon, Interval.HOUR) == "close at 2026-04-24 14:00 UTC"
    assert after_close(afternoon + HOUR / 60, Interval.MINUTE) == "after the close at 2026-04-24 14:01 UTC"


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(hours=21, minutes=39, seconds=59), "21 h 39 min"),
        (timedelta(days=1, minutes=5), "1 day"),
        (timedelta(days=3, hours=2, minutes=1), "3 days 2 h"),
        (-timedelta(days=2600, hours=1), "2,600 days 1 h"),
        (timedelta(minutes=1, seconds=1), "1 min 1 s"),
        (timedelta(hours=2), "2 h"),
        (timedelta(milliseconds=400), "0 s"),
    ],
)
def test_a_length_of_time_is_written_in_its_two_largest_units(length: timedelta, words: str) -> None:
    assert duration(length) == words


@pytest.mark.parametrize(
    ("after_origin", "words"),
    [
        (
            timedelta(hours=2, minutes=21),
            "Stored 2026-04-24 02:21 UTC, 21 h 39 min before the close of Fri 2026-04-24.",
        ),
        (
            timedelta(hours=24),
            "Stored 2026-04-25 00:00 UTC, 0 s after the close of Fri 2026-04-24: step 1 is after the fact.",
        ),
        (
            timedelta(days=3, hours=5),
            "Stored 2026-04-27 05:00 UTC, 5 h after the close of Sun 2026-04-26: steps 1 to 3 are after the fact.",
        ),
        (
            timedelta(days=100),
            "Stored 2026-08-02 00:00 UTC, 93 days after the close of Thu 2026-04-30: all steps are after the fact.",
        ),
    ],
)
def test_when_stored_names_the_time_before_the_close_or_the_steps_after_the_fact(
    after_origin: timedelta, words: str
) -> None:
    assert when_stored(MIDNIGHT + after_origin, MIDNIGHT, Interval.DAY, 7) == words


def test_when_stored_says_that_all_steps_of_a_late_one_step_forecast_are_after_the_fact() -> None:
    words = when_stored(MIDNIGHT + 90 * HOUR / 60, MIDNIGHT, Interval.HOUR, 1)
    assert words == (
        "Stored 2026-04-24 01:30 UTC, 30 min after the close at 2026-04-24 01:00 UTC: all steps are after the fact."
    )


def test_a_chance_beyond_the_stored_quantiles_is_told_as_a_bound() -> None:
    assert chance_words(Chance(0.4231, Bound.EXACT)) == "42.3 %"
    assert chance_words(Chance(0.01, Bound.EXACT)) == "1.0 %"
    assert chance_words(Chance(0.01, Bound.AT_MOST)) == "under 1 %"
    assert chance_words(Chance(0.99, Bound.AT_LEAST)) == "over 99 %"


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (8246.91, "8,246.91"),
        (7719.1, "7,719.10"),
        (0.1234567, "0.123457"),
        (61234.4, "61,234.4"),
        (1234567.8, "1,234,568"),
    ],
)
def test_a_price_has_six_digits(price: float, words: str) -> None:
    assert price_words(price) == words


def test_prices_of_a_table_have_the_decimals_of_one_of_them() -> None:
    assert [price_words(price, like=9999.0) for price in (9999.5, 10020.3)] == ["9,999.50", "10,020.30"]
