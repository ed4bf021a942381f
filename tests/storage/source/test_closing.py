"""Which times of a file show that its newest candle had closed, and which show nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from storage.source.closing import agreed_time, made_at, shows_closed

MIDNIGHT = datetime(2020, 1, 3, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("last_modified", "answered_at", "now", "believed"),
    [
        (MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT + HOUR, True),
        (MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT + MINUTE, True),
        # As new as the download.
        (MIDNIGHT, MIDNIGHT, MIDNIGHT, False),
        (MIDNIGHT, MIDNIGHT + 59 * SECOND, MIDNIGHT + 59 * SECOND, False),
        # In the future of the server's clock, of ours, of both.
        (MIDNIGHT, MIDNIGHT - DAY, MIDNIGHT + HOUR, False),
        (MIDNIGHT, MIDNIGHT + HOUR, MIDNIGHT - DAY, False),
        (MIDNIGHT, MIDNIGHT - DAY, MIDNIGHT - DAY, False),
        # Our clock is a little late.
        (MIDNIGHT, MIDNIGHT + MINUTE, MIDNIGHT - MINUTE, True),
    ],
)
def test_last_modified_is_believed_unless_it_is_in_the_future_or_as_new_as_the_download(
    last_modified: datetime, answered_at: datetime, now: datetime, believed: bool
) -> None:
    assert made_at(last_modified, answered_at=answered_at, now=now) == (last_modified if believed else None)


def test_without_last_modified_nothing_is_known() -> None:
    assert made_at(None, answered_at=MIDNIGHT, now=MIDNIGHT) is None


@pytest.mark.parametrize(
    ("file_time", "banner", "agreed"),
    [
        (MIDNIGHT + HOUR, None, MIDNIGHT + HOUR),
        (None, MIDNIGHT, MIDNIGHT),
        (None, None, None),
        (MIDNIGHT + HOUR, MIDNIGHT, MIDNIGHT + HOUR),
        (MIDNIGHT - HOUR, MIDNIGHT, MIDNIGHT - HOUR),
        # The banner says that the file was made the day before: it was copied later.
        (MIDNIGHT + HOUR, MIDNIGHT - DAY, MIDNIGHT - DAY),
    ],
)
def test_a_file_is_as_old_as_its_banner_says(
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
        # A file of the day after would hold another row: this is the time of a copy.
        (MIDNIGHT + DAY, DAY, False),
        (MIDNIGHT + 5 * HOUR, HOUR, True),
        (MIDNIGHT + DAY, HOUR, False),
    ],
)
def test_a_file_shows_that_its_newest_candle_closed_if_it_was_made_after_that_and_before_the_next(
    file_time: datetime | None, length: timedelta, closed: bool
) -> None:
    assert shows_closed(file_time, closes=MIDNIGHT, length=length) is closed
