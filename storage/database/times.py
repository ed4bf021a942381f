"""Instants as stored: aware UTC in Python, sortable text in SQLite, timestamptz in PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, DateTime, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant: to the second, or with `precise` to the microsecond.

    SQLite keeps `2025-01-31 00:00:00` (precise: `...00.000000`), so text comparison is time comparison within a
    column, and people can read and filter it. Naive values are refused, because their time zone is unknown.
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

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """Return what makes an aware instant of a stored value.

        It takes the place of SQLAlchemy's two calls a value: a command reads thousands of instants in half a second.
        """
        return _from_text if dialect.name == "sqlite" else _in_utc


# Most instants stand in several rows or columns: a candle closes when the next one opens.
@lru_cache(maxsize=10_000)
def _from_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(f"{text}Z")


def _in_utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.astimezone(UTC)


class unix_us(FunctionElement[int]):
    """An instant's column as whole microseconds since 1970, so that no date is parsed in Python."""

    type = BigInteger()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)


@compiles(unix_us, "sqlite")
def _in_sqlite(element: unix_us, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    text = compiler.process(column, **more)
    # substr is empty, and so 0, for instants that are stored to the second.
    return f"(CAST(strftime('%s', {text}) AS INTEGER) * 1000000 + CAST(substr({text}, 21, 6) AS INTEGER))"


@compiles(unix_us, "postgresql")
def _in_postgresql(element: unix_us, compiler: SQLCompiler, **more: Any) -> str:  # noqa: ANN401
    (column,) = element.clauses
    return f"CAST(EXTRACT(EPOCH FROM {compiler.process(column, **more)}) * 1000000 AS BIGINT)"
