"""When a source usually publishes: learned from news, not from history, and not thrown off by an odd day."""

from datetime import UTC, datetime, timedelta

import pytest

from models.arrivals import Arrival, UsualTime, usual_time, usual_words
from models.candles import Interval

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int, delay: timedelta, *, seen: timedelta | None = None, published: bool = True) -> Arrival:
    close = START + number * DAY
    return Arrival(close, close + delay if published else None, close + (seen or delay + MINUTE))


def test_the_usual_time_is_that_of_the_newest_thirty_days() -> None:
    old = [day(number, timedelta(hours=6)) for number in range(60)]
    new = [day(60 + number, timedelta(hours=2, minutes=number)) for number in range(30)]
    found = usual_time(old + new, Interval.DAY)
    assert found is not None
    assert found.n == 30
    assert found.median == timedelta(hours=2, minutes=14, seconds=30)
    # Three of the thirty delays lie below the first tenth, three above the last.
    assert [one for one in new if one.delay < found.earliest] == new[:3]
    assert [one for one in new if one.delay > found.latest] == new[-3:]


def test_without_a_time_of_the_file_the_time_it_was_seen_counts() -> None:
    found = usual_time([day(number, timedelta(hours=2), published=False) for number in range(9)], Interval.DAY)
    assert found is not None
    assert found.median == timedelta(hours=2, minutes=1)


def test_history_that_came_at_once_tells_nothing() -> None:
    loaded = START + 400 * DAY + timedelta(hours=15)
    history = [Arrival(START + number * DAY, loaded, loaded) for number in range(400)]
    # With a newest candle that is no day old.
    history.append(Arrival(START + 400 * DAY, loaded, loaded))
    news = [day(401 + number, timedelta(hours=2)) for number in range(5)]
    assert usual_time(history + news[:4], Interval.DAY) is None
    found = usual_time(history + news, Interval.DAY)
    assert found is not None
    assert (found.n, found.latest) == (5, timedelta(hours=2))


def test_skipped_days_move_neither_the_middle_nor_the_ends() -> None:
    days = []
    for number in range(30):
        together = day(number + 1, timedelta(hours=2)).seen_at if number % 10 == 4 else None
        seen = None if together is None else together - (START + number * DAY)
        days.append(day(number, timedelta(hours=26) if together else timedelta(hours=2), seen=seen))
    found = usual_time(days, Interval.DAY)
    assert found is not None
    assert (found.earliest, found.median, found.latest) == (timedelta(hours=2),) * 3
    assert found.n == 27


def test_one_very_late_day_does_not_move_the_usual_time() -> None:
    days = [day(number, timedelta(hours=20 if number == 7 else 2)) for number in range(20)]
    found = usual_time(days, Interval.DAY)
    assert found is not None
    assert found.latest == timedelta(hours=2)


@pytest.mark.parametrize(
    ("interval", "earliest", "latest", "words"),
    [
        (Interval.DAY, 130, 160, "usually published 02:10 to 02:40 UTC"),
        (Interval.DAY, 130, 130, "usually published 02:10 UTC"),
        (Interval.DAY, 130, 1500, "usually published 2.2 h to 25.0 h after the close"),
        (Interval.HOUR, 10, 40, "usually published 10 min to 40 min after the close"),
        (Interval.MINUTE, 1, 1, "usually published 60 s after the close"),
    ],
)
def test_it_is_said_as_people_say_it(interval: Interval, earliest: int, latest: int, words: str) -> None:
    first, last = earliest * MINUTE, latest * MINUTE
    assert usual_words(UsualTime(first, (first + last) / 2, last, 30), interval) == words


def test_too_few_days_tell_nothing() -> None:
    found = usual_time([day(number, timedelta(hours=2)) for number in range(4)], Interval.DAY)
    assert found is None
    assert usual_words(found, Interval.DAY) == "usual time of publication not known yet"
