"""Whether the time of a file shows that its newest candle had closed when the file was made."""

from dataclasses import dataclass
from datetime import datetime, timedelta

# Two clocks may differ by so much before one of them is taken to be wrong.
CLOCK_SKEW = timedelta(minutes=1)
# A file younger than this may have been dated when it was copied or sent to us: that says nothing about its rows.
DATED_FOR_US = timedelta(minutes=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Learnt:
    """How long after its close the newest candle of a new file is final, by earlier files, and when this file came.

    It came at `seen_at`, by the earlier of the server's clock and ours.
    """

    seen_at: datetime
    final_after: timedelta

    def shows_closed(self, *, closes: datetime, length: timedelta) -> bool:
        """Return whether a file that came at `seen_at` shows that its newest candle, which closes at `closes`, had.

        A file that comes a day or more after that holds a newer row, or is an old one: then nothing is known of it.
        """
        return closes + self.final_after <= self.seen_at + CLOCK_SKEW < closes + max(length, DAY)


def made_at(last_modified: datetime | None, *, answered_at: datetime, now: datetime) -> datetime | None:
    """Return when a download's file was made, None where Last-Modified is no witness of it.

    It is none where it lies in the future of the server's clock (`answered_at`, its `Date`) or of ours (`now`), nor
    where it is as new as the download itself. A source that really made the file just then gives the same time when
    it is asked again, and is believed then; a source that dates its copies gives a new one.
    """
    if last_modified is None or last_modified > min(answered_at, now) + CLOCK_SKEW:
        return None
    return last_modified if last_modified <= answered_at - DATED_FOR_US else None


def agreed_time(file_time: datetime | None, banner: datetime | None) -> datetime | None:
    """Return when a file was made, by its own time and by the day that its banner names (that day's first instant).

    A file that is dated after its banner's day is a copy made later, so its banner counts.
    """
    if file_time is None or banner is None:
        return file_time or banner
    return file_time if file_time < banner + DAY else banner


def shows_closed(file_time: datetime | None, *, closes: datetime, length: timedelta) -> bool:
    """Return whether a file made at `file_time`, whose newest candle closes at `closes`, shows that it had closed.

    A file made a day or more after that would hold a newer row: where it holds none, its time is the time of a copy.
    (Files of hourly candles are published once a day too.)
    """
    return file_time is not None and closes <= file_time < closes + max(length, DAY)
