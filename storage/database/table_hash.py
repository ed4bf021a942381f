"""The hash of a table's rows: equal for equal rows on SQLite and PostgreSQL, in whatever order they are read."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, Column, Float, LargeBinary, Table

from storage.database.times import UtcDateTime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BYTES = 16


class TableHash:
    """The number of rows added so far, and their hash.

    A row is hashed in a form that all databases share: an instant is its microseconds since 1970, a truth value 0 or 1,
    a blob its SHA-256. NaN counts as NULL and -0.0 as 0.0, because SQLite stores them so. The hash of a table is the
    sum of its rows' hashes, so the order of the rows does not matter: databases order text differently.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows = 0
        self._sum = 0

    def add(self, columns: Sequence[Sequence[Any]]) -> None:
        """Add rows given as their columns, in the table's order, with the values that SQLAlchemy returns.

        Raises ValueError or TypeError for a value that its column's type does not have.
        """
        common = [_common_form(values, column) for values, column in zip(columns, self.table.c, strict=True)]
        total = self._sum
        for row in zip(*common, strict=True):
            total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=_BYTES).digest(), "big")
        self._sum = total % (1 << 8 * _BYTES)
        self.rows += len(columns[0])

    def hexdigest(self) -> str:
        """Return the hash of the rows added so far as hexadecimal digits."""
        return f"{self._sum:0{2 * _BYTES}x}"


def _common_form(values: Sequence[Any], column: Column[Any]) -> Sequence[Any]:
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return [None if value is None else (value - _EPOCH) // _MICROSECOND for value in values]
    if isinstance(kind, Float):
        return [None if value is None or value != value else value + 0.0 for value in values]
    if isinstance(kind, Boolean):
        return [None if value is None else int(value) for value in values]
    if isinstance(kind, LargeBinary):
        return [None if value is None else hashlib.sha256(value).hexdigest() for value in values]
    return values
