"""Inserting what is not there yet, in the words of both databases."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table


def insert_or_skip(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert `rows` into `table`, skipping those whose key exists; returns how many were inserted."""
    if not rows:
        return 0
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        result = conn.execute(sqlite_insert(table).on_conflict_do_nothing(), list(rows))
    else:
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        result = conn.execute(postgresql_insert(table).on_conflict_do_nothing(), list(rows))
    return result.rowcount
