"""Instants as read and stored: aware UTC in Python, sortable text in SQLite, timestamptz in PostgreSQL."""

from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant: to the second, or with `precise` to the microsecond.

    SQLite keeps `2025-01-31 00:00:00` (precise: `...00.000000`), so text comparison is time comparison within a
    column, and people can read and filter it. Naive values are refused: which zone they meant cannot be known.
    """

    impl = DateTime
    cache_ok = True

    def __init__(self, *, precise: bool = False) -> None:
        super().__init__()
        self.precise = precise

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type the database itself uses."""
        if dialect.name == "sqlite":
            from sqlalchemy.dialects.sqlite import DATETIME

            return dialect.type_descriptor(DATETIME(truncate_microseconds=not self.precise))  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the value as the database wants it; raises ValueError for a naive one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected an aware instant, got the naive {value!r}")
        value = value.astimezone(UTC)
        if not self.precise:
            value = value.replace(microsecond=0)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the stored instant, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


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
