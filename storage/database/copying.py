"""Copies an installation into an empty database of the other kind, SQLite to PostgreSQL or back, and checks every row.

The source is read in one transaction, so the copy is of one instant. One transaction fills the target and reads it
again, and is committed only if each table has the source's count and hash. So a copy that was interrupted leaves no
rows, and can be repeated.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, LargeBinary, Table, func, select

from models.interface import Progress, silent
from storage.database.copy_target import filling, make_ready, open_target
from storage.database.engine import disposing, open_for_reading, reading
from storage.database.inserting import insert_lists
from storage.database.table_hash import TableHash
from storage.errors import CopyRefused, StatementRefused
from storage.redaction import first_line, safe_database_url
from storage.tables import metadata

# So many rows are in memory at a time. A row with a blob can have half a megabyte.
_ROWS_AT_ONCE = 5_000
_ROWS_WITH_BLOBS_AT_ONCE = 10

# Rows as one tuple a column.
_Columns = list[tuple[Any, ...]]


class CopiedTable(NamedTuple):
    """A table of the copy; `hash` is equal for equal rows in both databases."""

    table: str
    rows: int
    hash: str


class Copy(NamedTuple):
    """What the copy holds; `was_there` is true if an earlier run had completed it. Both URLs are without secrets."""

    source: str
    target: str
    tables: list[CopiedTable]
    was_there: bool


def copy_database(url: str, *, to: str, progress: Progress = silent) -> Copy:
    """Copy every row of the database at `url` into the empty one at `to`, and return what both hold.

    Raises CopyRefused if `to` is of the same kind or holds anything but a copy of `url`, and if rows were added to the
    source meanwhile; DatabaseUnusable if one of them cannot be used, or the source has another schema. The target then
    has at most our empty tables more than before.
    """
    with disposing(open_for_reading(url)) as source, disposing(open_target(to, source=source)) as target:
        return _Copying(source, target, progress).run()


class _Copying:
    def __init__(self, source: Engine, target: Engine, progress: Progress) -> None:
        self._source, self._target, self._progress = source, target, progress
        self._urls = safe_database_url(source), safe_database_url(target)
        self._done = self._total = 0

    def run(self) -> Copy:
        with _snapshot(self._source) as read, filling(self._target) as written:
            counts, present = _counts(read), _counts(written)
            self._total = 2 * sum(counts)
            if any(present):
                return Copy(*self._urls, self._compare(read, written, equal_counts=present == counts), was_there=True)
            copied = [self._copied(read, written, table) for table in metadata.sorted_tables]
            if self._hashed(written, "checking") != copied:
                raise CopyRefused(
                    f"what {self._urls[1]} returns is not what was written there, so nothing was copied; "
                    "this is a fault of candlecast, please report it"
                )
            make_ready(written)
            with reading(self._source) as now:
                if _counts(now) != counts:
                    raise CopyRefused(
                        f"rows were added to {self._urls[0]} while it was copied, so nothing was copied: "
                        "stop what writes there, then run the same command again"
                    )
        return Copy(*self._urls, copied, was_there=False)

    def _compare(self, read: Connection, written: Connection, *, equal_counts: bool) -> list[CopiedTable]:
        """Return both databases' tables if they are equal, as after an earlier copy; raises CopyRefused otherwise."""
        tables = self._hashed(read, "reading") if equal_counts else None
        if tables is None or self._hashed(written, "checking") != tables:
            raise CopyRefused(
                f"{self._urls[1]} holds rows already, and they are not those of {self._urls[0]}: name an empty database"
            )
        return tables

    def _copied(self, read: Connection, written: Connection, table: Table) -> CopiedTable:
        bound = [column.type.dialect_impl(written.dialect).bind_processor(written.dialect) for column in table.c]

        def insert(columns: _Columns) -> None:
            values = [list(map(bind, c)) if bind else c for bind, c in zip(bound, columns, strict=True)]
            try:
                insert_lists(written, table, dict(zip(table.c.keys(), values, strict=True)))
            except StatementRefused as error:
                raise CopyRefused(
                    f"a row of {table.name} does not fit into {self._urls[1]}, so nothing was copied: "
                    f"{first_line(error.__cause__ or error)}"
                ) from error

        return self._read(read, table, "copying", insert)

    def _hashed(self, conn: Connection, doing: str) -> list[CopiedTable]:
        return [self._read(conn, table, doing, lambda _: None) for table in metadata.sorted_tables]

    def _read(self, conn: Connection, table: Table, doing: str, take: Callable[[_Columns], None]) -> CopiedTable:
        """Read the rows of `table` by key, call `take` with some thousands at a time, and return their hash."""
        hashed = TableHash(table)
        blobs = any(isinstance(column.type, LargeBinary) for column in table.c)
        at_once = _ROWS_WITH_BLOBS_AT_ONCE if blobs else _ROWS_AT_ONCE
        query = select(table).order_by(*table.primary_key).execution_options(yield_per=at_once)
        try:
            with conn.execute(query) as result:
                for rows in result.partitions():
                    columns = list(zip(*rows, strict=True))
                    hashed.add(columns)
                    take(columns)
                    self._done += len(rows)
                    self._progress(self._done, self._total, f"{doing} {table.name}")
        except (ValueError, TypeError, OverflowError) as error:
            raise CopyRefused(
                f"{table.name} in {safe_database_url(conn.engine)} has a value of another kind than its column: "
                f"{first_line(error)}; correct it, then copy again"
            ) from error
        return CopiedTable(table.name, hashed.rows, hashed.hexdigest())


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that sees the database as it was at its first query, whatever others commit meanwhile."""
    with reading(engine) as conn:
        # In SQLite every transaction is like that.
        if engine.dialect.name == "postgresql":
            conn.execution_options(isolation_level="REPEATABLE READ")
        yield conn


def _counts(conn: Connection) -> list[int]:
    return [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables]
