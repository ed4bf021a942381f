"""Inserting rows: with existing keys skipped, or very many rows at once as columns.

SQLAlchemy's insert, row by row, would take most of the time of an ingest and of a backfill.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Connection, Insert, Integer, Table

from storage.database.times import UtcDateTime
from storage.errors import DatabaseUnusable, StatementRefused
from storage.redaction import first_line

if TYPE_CHECKING:
    import numpy as np

# The number of parameters in a statement that every build of SQLite accepts.
SQLITE_PARAMETERS = 999


def insert_or_skip(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert `rows` into `table`, skipping those whose key exists; returns how many were inserted."""
    if not rows:
        return 0
    # Without this option SQLAlchemy does not keep the number of rows that an INSERT wrote.
    return conn.execute(
        _insert_ignoring_conflicts(conn, table), list(rows), execution_options={"preserve_rowcount": True}
    ).rowcount


def insert_new(
    conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, returning: Sequence[ColumnElement[Any]]
) -> list[tuple[Any, ...]]:
    """Insert `rows` into `table`, skipping those whose key exists; returns the columns `returning` of the new rows."""
    if not rows:
        return []
    statement = _insert_ignoring_conflicts(conn, table).returning(*returning)
    return [tuple(row) for row in conn.execute(statement, list(rows))]


def _insert_ignoring_conflicts(conn: Connection, table: Table) -> Insert:
    if conn.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects.postgresql import insert as postgresql_insert

    return postgresql_insert(table).on_conflict_do_nothing()


def insert_columns(
    conn: Connection, table: Table, columns: Mapping[str, "np.ndarray | Sequence[Any] | object"]
) -> None:
    """Insert rows given as columns by name: arrays of one length, or one value for all rows.

    An array of instants holds unix seconds; a single instant for all rows is an aware datetime. NaN is stored as NULL.
    An existing key raises the database's error, as in any INSERT: no row is skipped.
    """
    import numpy as np

    lists: dict[str, list[Any]] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            lists[name] = _database_values(values, table.c[name])
    rows = len(next(iter(lists.values())))
    if not rows:
        return
    for name, value in columns.items():
        if name not in lists:
            column = table.c[name]
            if isinstance(value, datetime) and isinstance(column.type, UtcDateTime):
                value = _instant_text(value, precise=column.type.precise)
            lists[name] = [value] * rows
    insert_lists(conn, table, {name: lists[name] for name in columns})


def insert_lists(conn: Connection, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert rows given as columns by name, each a sequence of values as the database's driver takes them.

    Raises StatementRefused for a value that does not fit and for an existing key.
    """
    quoted = ", ".join(conn.dialect.identifier_preparer.quote(name) for name in columns)
    if conn.dialect.name == "sqlite":
        _insert_many_a_statement(conn, f"INSERT INTO {table.name} ({quoted})", list(columns.values()))
        return
    import psycopg

    driver = conn.connection.driver_connection
    assert driver is not None
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({quoted}) FROM STDIN") as copy:
            for record in zip(*columns.values(), strict=True):
                copy.write_row(record)
    except psycopg.OperationalError as error:
        raise DatabaseUnusable(f"the database did not take the rows of {table.name}: {first_line(error)}") from error
    except psycopg.Error as error:
        raise StatementRefused(f"the database refused rows of {table.name}: {first_line(error)}") from error


def _insert_many_a_statement(conn: Connection, insert: str, columns: Sequence[Sequence[Any]]) -> None:
    """Insert columns with many rows per statement, which takes two thirds of the time of one row per statement."""
    width, rows = len(columns), len(columns[0])
    cells: list[Any] = [None] * (width * rows)
    for position, values in enumerate(columns):
        cells[position::width] = values
    placeholders = f"({', '.join('?' * width)})"
    # The statements take `per_statement` rows each, and the last one the rows that are left.
    per_statement = SQLITE_PARAMETERS // width
    in_full_statements = rows // per_statement * per_statement
    step = per_statement * width
    if in_full_statements:
        parameters = [tuple(cells[start : start + step]) for start in range(0, in_full_statements * width, step)]
        conn.exec_driver_sql(f"{insert} VALUES {', '.join([placeholders] * per_statement)}", parameters)
    if in_full_statements < rows:
        rest = ", ".join([placeholders] * (rows - in_full_statements))
        conn.exec_driver_sql(f"{insert} VALUES {rest}", tuple(cells[in_full_statements * width :]))


def _database_values(values: "np.ndarray", column: Column[Any]) -> list[Any]:
    if isinstance(column.type, UtcDateTime):
        return _instant_texts(values)
    plain: list[Any] = values.tolist()
    if values.dtype.kind != "f":
        return plain
    if isinstance(column.type, Integer):
        return [None if value != value else int(value) for value in plain]
    return [None if value != value else value for value in plain] if (values != values).any() else plain


def _instant_texts(seconds: "np.ndarray") -> list[str]:
    import numpy as np

    text = np.datetime_as_string(seconds.astype("datetime64[s]"), unit="s").tolist()
    # One replacement in the joined text is three times as fast as one replacement per text.
    return "\n".join(text).replace("T", " ").split("\n") if text else []


def _instant_text(moment: datetime, *, precise: bool) -> str:
    # PostgreSQL reads the text in the session's time zone, which is UTC (storage.database.engine).
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}" if precise else f"{moment:%Y-%m-%d %H:%M:%S}"
