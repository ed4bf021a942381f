"""Inserting what is not there yet, in the words of both databases."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Insert, Row, Table


def insert_or_skip(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert `rows` into `table`, skipping those whose key exists; returns how many were inserted."""
    if not rows:
        return 0
    # SQLAlchemy forgets how many rows an INSERT touched unless it is asked to remember.
    return conn.execute(_insert(conn, table), list(rows), execution_options={"preserve_rowcount": True}).rowcount


def insert_new(
    conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, returning: Sequence[ColumnElement[Any]]
) -> list[Row[Any]]:
    """Insert `rows` into `table`, skipping those whose key exists; returns these columns of what was inserted."""
    return list(conn.execute(_insert(conn, table).returning(*returning), list(rows))) if rows else []


def _insert(conn: Connection, table: Table) -> Insert:
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table).on_conflict_do_nothing()
