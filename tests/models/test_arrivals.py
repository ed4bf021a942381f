"""The usual time of publication: from candles that came on their day, without history, and robust to odd days."""

from datetime import UTC, datetime, timedelta

import pytest

from models.arrivals import Arrival, NewestView, UsualTime, final_after, usual_time, usual_words
from models.candles import Interval

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int, delay: timedelta, *, seen: timedelta | None = None, published: bool = True) -> Arrival:
    close = START + number * DAY
    return Arrival(close, close + delay if published else None, close + (seen or delay + MINUTE))


def test_the_usual_time_is_that_of_the_newest_thirty_days() -> None:
    old = [day(number, timedelta(hours=6)) for number in range(60)]
    new = [day(60 + number, timedelta(hours=2, minutes=number)) for number in range(30)]
    usual = usual_time(old + new, Interval.DAY)
    assert usual is not None
    assert usual.n == 30
    assert usual.median == timedelta(hours=2, minutes=14, seconds=30)
    # Three of the thirty delays lie below the first tenth, three above the last.
    assert [one for one in new if one.delay < usual.earliest] == new[:3]
    assert [one for one in new if one.delay > usual.latest] == new[-3:]


def test_without_a_files_time_the_time_it_was_fetched_counts() -> None:
    usual = usual_time([day(number, timedelta(hours=2), published=False) for number in range(9)], Interval.DAY)
    assert usual is not None
    assert usual.median == timedelta(hours=2, minutes=1)


def test_history_that_came_at_once_does_not_count() -> None:
    loaded = START + 400 * DAY + timedelta(hours=15)
    history = [Arrival(START + number * DAY, loaded, loaded) for number in range(400)]
    # The newest candle of the history arrived less than a day after its close.
    history.append(Arrival(START + 400 * DAY, loaded, loaded))
    news = [day(401 + number, timedelta(hours=2)) for number in range(5)]
    assert usual_time(history + news[:4], Interval.DAY) is None
    usual = usual_time(history + news, Interval.DAY)
    assert usual is not None
    assert (usual.n, usual.latest) == (5, timedelta(hours=2))


def test_skipped_days_move_neither_the_median_nor_the_ends() -> None:
    days = []
    for number in range(30):
        together = day(number + 1, timedelta(hours=2)).seen_at if number % 10 == 4 else None
        seen = None if together is None else together - (START + number * DAY)
        days.append(day(number, timedelta(hours=26) if together else timedelta(hours=2), seen=seen))
    usual = usual_time(days, Interval.DAY)
    assert usual is not None
    assert (usual.earliest, usual.median, usual.latest) == (timedelta(hours=2),) * 3
    assert usual.n == 27


def test_one_very_late_day_does_not_move_the_usual_time() -> None:
    days = [day(number, timedelta(hours=20 if number == 7 else 2)) for number in range(20)]
    usual = usual_time(days, Interval.DAY)
    assert usual is not None
    assert usual.latest == timedelta(hours=2)


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
def test_the_usual_time_in_words(interval: Interval, earliest: int, latest: int, words: str) -> None:
    first, last = earliest * MINUTE, latest * MINUTE
    assert usual_words(UsualTime(first, (first + last) / 2, last, 30), interval) == words


def test_with_too_few_days_there_is_no_usual_time() -> None:
    usual = usual_time([day(number, timedelta(hours=2)) for number in range(4)], Interval.DAY)
    assert usual is None
    assert usual_words(usual, Interval.DAY) == "usual time of publication not known yet"


def view(number: int, hours: float, *, final: bool = True) -> NewestView:
    close = START + number * DAY
    return NewestView(close, close + timedelta(hours=hours), final)


@pytest.mark.parametrize(
    ("views", "hours"),
    [
        ([], None),
        ([view(n, 2) for n in range(4)], None),
        ([view(n, 2) for n in range(5)], 2),
        ([view(n, 9 - n) for n in range(9)], 1),
        # An unfinished candle says that it is too early, and until when.
        ([*(view(n, 2 + n) for n in range(9)), view(9, 4, final=False)], 5),
        ([*(view(n, 2 + n) for n in range(9)), view(9, 6, final=False)], None),
        ([*(view(n, 1) for n in range(29)), view(29, 1, final=False)], None),
        # Thirty candles later that is forgotten.
        ([view(0, 20, final=False), *(view(1 + n, 1) for n in range(30))], 1),
        ([view(n, 26) for n in range(9)], None),
        ([view(n, 24) for n in range(9)], None),
    ],
)
def test_the_newest_candle_is_final_as_early_as_it_proved_to_be(views: list[NewestView], hours: float | None) -> None:
    assert final_after(views, Interval.DAY) == (None if hours is None else timedelta(hours=hours))
