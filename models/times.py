"""Clocks, unix seconds, instants that people write, and spans between them: aware UTC throughout."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

# Returns the present instant each time it is called.
Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RunClock:
    """The clock of a run: the time of day or, for tests and rehearsals, a time that `start` gives it.

    From `start` on time goes on, unless the clock `stands`. It can go to another process of this machine.
    """

    def __init__(self, start: datetime | None = None, *, stands: bool = False) -> None:
        self._ahead = timedelta(0) if start is None else start - datetime.now(UTC)
        self._stands_at = (start or datetime.now(UTC)) if stands else None

    def __call__(self) -> datetime:
        """Return the present instant, aware UTC."""
        return self._stands_at or datetime.now(UTC) + self._ahead

    def seconds_until(self, instant: datetime, *, asking: bool) -> float:
        """Return for how many seconds of real time to wait for `instant`; `asking`: a request is under way."""
        return max((instant - self()).total_seconds(), 0.0)


def from_unix_us(microseconds: int) -> datetime:
    """Return the aware UTC instant of `microseconds` since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_unix_us(instant: datetime) -> int:
    """Return the microseconds from 1970 to an aware `instant`."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def from_unix(seconds: int) -> datetime:
    """Return the aware UTC instant of unix `seconds`."""
    return datetime.fromtimestamp(seconds, UTC)


def as_instant(value: str | date | datetime | None, *, end_of_day: bool = False) -> datetime | None:
    """Return the aware UTC instant that a filter names; what names no zone is UTC, and None stays None.

    A day, `2025-01-31`, is its first instant, with `end_of_day` its last. Raises ValueError for any other text, and
    for an instant that is before the year 1 or after 9999 in UTC.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value
        try:
            value = date.fromisoformat(text) if len(text) == len("2025-01-31") else datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"expected a day like 2025-01-31 or an instant like 2025-01-31T12:00, got {text[:40]!r}"
            ) from None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time.max if end_of_day else time.min)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"expected an instant of the years 1 to 9999 in UTC, got {value.isoformat()}") from None


def as_span(
    start: str | date | datetime | None, end: str | date | datetime | None
) -> tuple[datetime | None, datetime | None]:
    """Return both ends of a span that filters name, both included; an end that is a day means all of it.

    Raises ValueError as `as_instant` does, and for an end before its start.
    """
    first, last = as_instant(start), as_instant(end, end_of_day=True)
    if first is not None and last is not None and last < first:
        raise ValueError(f"the end {end} is before the start {start}")
    return first, last
