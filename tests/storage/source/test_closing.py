"""Which of a file's times prove that its newest candle had closed, and which prove nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.source.closing import Learnt, agreed_time, made_at, shows_closed

MIDNIGHT = datetime(2020, 1, 3, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("last_modified", "answered_at", "now", "accepted"),
    [
        (MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT + HOUR, True),
        (MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT + MINUTE, True),
        # The same time as the download's.
        (MIDNIGHT, MIDNIGHT, MIDNIGHT, False),
        (MIDNIGHT, MIDNIGHT + 59 * SECOND, MIDNIGHT + 59 * SECOND, False),
        # In the future by the server's clock, by this machine's, by both.
        (MIDNIGHT, MIDNIGHT - DAY, MIDNIGHT + HOUR, False),
        (MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT - DAY, False),
        (MIDNIGHT, MIDNIGHT - DAY, MIDNIGHT - DAY, False),
        # This machine's clock is one minute slow.
        (MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT - MINUTE, True),
    ],
)
def test_last_modified_counts_unless_it_is_in_the_future_or_as_new_as_the_download(
    last_modified: datetime, answered_at: datetime, now: datetime, accepted: bool
) -> None:
    assert made_at(last_modified, answered_at=answered_at, now=now) == (last_modified if accepted else None)


def test_without_last_modified_the_files_time_is_unknown() -> None:
    assert made_at(None, answered_at=MIDNIGHT, now=MIDNIGHT) is None


@pytest.mark.parametrize(
    ("file_time", "banner", "agreed"),
    [
        (MIDNIGHT + HOUR, None, MIDNIGHT + HOUR),
        (None, MIDNIGHT, MIDNIGHT),
        (None, None, None),
        (MIDNIGHT + HOUR, MIDNIGHT, MIDNIGHT + HOUR),
        (MIDNIGHT - HOUR, MIDNIGHT, MIDNIGHT - HOUR),
        # By its banner the file was made a day earlier, so the later time is that of a copy.
        (MIDNIGHT + HOUR, MIDNIGHT - DAY, MIDNIGHT - DAY),
    ],
)
def test_a_banner_older_than_last_modified_gives_the_files_time(
    file_time: datetime | None, banner: datetime | None, agreed: datetime | None
) -> None:
    assert agreed_time(file_time, banner) == agreed


@pytest.mark.parametrize(
    ("file_time", "length", "closed"),
    [
        (None, DAY, False),
        (MIDNIGHT - SECOND, DAY, False),
        (MIDNIGHT, DAY, True),
        (MIDNIGHT + 23 * HOUR, DAY, True),
        # A file made a day later would have one more row, so this is the time of a copy.
        (MIDNIGHT + DAY, DAY, False),
        (MIDNIGHT + 5 * HOUR, HOUR, True),
        (MIDNIGHT + DAY, HOUR, False),
    ],
)
def test_a_file_made_between_two_closes_shows_that_its_newest_candle_has_closed(
    file_time: datetime | None, length: timedelta, closed: bool
) -> None:
    assert shows_closed(file_time, closes=MIDNIGHT, length=length) is closed


@pytest.mark.parametrize(
    ("seen_at", "length", "closed"),
    [
        # Two hours after the close, less a minute for the clocks.
        (MIDNIGHT + 2 * HOUR - MINUTE - SECOND, DAY, False),
        (MIDNIGHT + 2 * HOUR - MINUTE, DAY, True),
        (MIDNIGHT + DAY - MINUTE - SECOND, DAY, True),
        # A file that comes a day later holds a newer row, or is an old one.
        (MIDNIGHT + DAY - MINUTE, DAY, False),
        (MIDNIGHT + DAY - MINUTE - SECOND, HOUR, True),
        (MIDNIGHT + DAY - MINUTE, HOUR, False),
    ],
)
def test_a_file_that_comes_when_newest_candles_proved_final_shows_that_its_own_has_closed(
    seen_at: datetime, length: timedelta, closed: bool
) -> None:
    learnt = Learnt(seen_at, final_after=2 * HOUR)
    assert learnt.shows_closed(closes=MIDNIGHT, length=length) is closed
