"""The database that a copy goes into: checked to be empty, made ready, and kept to ourselves while it is filled."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, Table, func, inspect, select, text

from storage.database.engine import database_file, disposing, make_engine, open_database, writing
from storage.database.version import VERSION_TABLE, head_version, version_in
from storage.errors import CopyRefused
from storage.redaction import safe_database_url
from storage.tables import VIEWS, metadata

_LOCK_TIMEOUT_S = 30


def open_target(url: str, *, source: Engine) -> Engine:
    """Return the target's engine; an empty database gets our tables. Rows are not looked for.

    Raises CopyRefused if it is of the source's kind or holds other tables or another schema version, and
    DatabaseUnusable if it cannot be written.
    """
    with disposing(make_engine(url)) as engine:
        _refuse_same_kind(engine, source)
        path = database_file(engine)
        if engine.dialect.name == "sqlite" and path is None:
            raise CopyRefused("a database in memory ends with the command: name a file, sqlite:///FILE")
        # Looking into a file that does not exist would create it.
        if path is None or path.is_file():
            _refuse_other_contents(engine)
    return open_database(url)


def _refuse_same_kind(engine: Engine, source: Engine) -> None:
    if engine.dialect.name == source.dialect.name == "sqlite":
        raise CopyRefused("both databases are SQLite files: candlecast backup FILE copies such a database")
    if engine.dialect.name == source.dialect.name:
        raise CopyRefused("both databases are PostgreSQL: pg_dump and pg_restore copy such a database")


def _refuse_other_contents(engine: Engine) -> None:
    with engine.connect().execution_options(reads_only=True) as conn:
        version = version_in(conn)
        if version not in (None, head_version()):
            raise CopyRefused(
                f"{safe_database_url(engine)} has schema {version}, and the copy would have {head_version()}: "
                "name an empty database"
            )
        others = _tables_and_views(conn) - ({*metadata.tables, *VIEWS, VERSION_TABLE} if version else set())
        if others:
            named = ", ".join(sorted(others)[:5]) + (", ..." if len(others) > 5 else "")
            raise CopyRefused(f"{safe_database_url(engine)} holds {named}: name an empty database")


def _tables_and_views(conn: Connection) -> set[str]:
    if conn.dialect.name == "sqlite":
        present = inspect(conn)
        return {*present.get_table_names(), *present.get_view_names()}
    # What an extension brought is not counted: many servers have one in each new database.
    query = text(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS ("
        "SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
    )
    return set(conn.execute(query).scalars())


@contextmanager
def filling(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction beside which nobody else writes; readers see nothing of it until its end."""
    with writing(engine) as conn:
        if conn.dialect.name == "postgresql":
            quote = conn.dialect.identifier_preparer.quote
            conn.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'")
            conn.exec_driver_sql(f"LOCK TABLE {', '.join(map(quote, metadata.tables))} IN EXCLUSIVE MODE")
        yield conn


def make_ready(conn: Connection) -> None:
    """Let the next new row of each table have the next number, and tell PostgreSQL how many rows there are now."""
    if conn.dialect.name == "sqlite":
        # SQLite takes the largest number and adds one.
        return
    quote = conn.dialect.identifier_preparer.quote
    for table in metadata.sorted_tables:
        _continue_numbers(conn, table)
        conn.exec_driver_sql(f"ANALYZE {quote(table.name)}")


def _continue_numbers(conn: Connection, table: Table) -> None:
    column = table.autoincrement_column
    if column is None:
        return
    largest = conn.execute(select(func.max(column))).scalar()
    # With False the sequence gives this very number next.
    name = conn.dialect.identifier_preparer.quote(table.name)
    sequence = func.pg_get_serial_sequence(name, column.name)
    conn.execute(select(func.setval(sequence, largest or 1, largest is not None)))
