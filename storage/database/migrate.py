"""Bringing a database's schema and views up to date, safely when several processes do it at once."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, inspect

from storage.database.version import head_version, known_versions, version_in, wrong_version
from storage.errors import DatabaseUnusable
from storage.redaction import safe_database_url
from storage.tables import VIEWS, metadata, views

# Any number will do, as long as every candlecast uses the same one.
_ADVISORY_LOCK = 4_821_004


def migrate(engine: Engine) -> None:
    """Apply the migrations that `engine`'s database lacks, and renew its views where their text is another one.

    All of it is one transaction; a database that is up to date is only read. Raises DatabaseUnusable when the database
    is of a newer candlecast or of another program.
    """
    with engine.connect().execution_options(reads_only=True) as conn:
        if _is_current(conn):
            return
    with _changing_tables(engine) as conn:
        # A process that had to wait here for another one finds the work done. On SQLite the transaction itself waits.
        if engine.dialect.name == "postgresql":
            conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        if _is_current(conn):
            return
        version = version_in(conn)
        if version is None:
            _refuse_others_tables(conn, engine)
        elif version not in known_versions():
            raise wrong_version(engine, version)
        # Views hold no data: they are dropped before the tables under them change, and created again afterwards.
        for name in reversed(VIEWS):
            conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        if version != head_version():
            _upgrade(conn)
        for name, query in views(conn.dialect.name).items():
            conn.exec_driver_sql(f"CREATE VIEW {name} AS {query}")
            if conn.dialect.name == "postgresql":
                conn.exec_driver_sql(f"COMMENT ON VIEW {name} IS '{_comment(query)}'")


@contextmanager
def _changing_tables(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction in which tables can be made anew.

    SQLite can change a table's checks only by making the table anew. With foreign keys on, dropping a table deletes its
    rows first, which fails where other tables refer to them. They can be switched off only before the transaction.
    """
    with engine.connect() as conn:
        if engine.dialect.name == "sqlite":
            _set_foreign_keys(conn, "OFF")
        try:
            with conn.begin():
                yield conn
        finally:
            if engine.dialect.name == "sqlite":
                _set_foreign_keys(conn, "ON")


def _set_foreign_keys(conn: Connection, setting: str) -> None:
    # Through the driver: SQLAlchemy would begin a transaction first, in which SQLite ignores this statement.
    conn.connection.cursor().execute(f"PRAGMA foreign_keys = {setting}")


def _upgrade(conn: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", "storage.database:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def _is_current(conn: Connection) -> bool:
    """Return whether the schema has the newest version and every view the text that this code has for it."""
    if version_in(conn) != head_version():
        return False
    queries = views(conn.dialect.name)
    if conn.dialect.name == "postgresql":
        # PostgreSQL keeps the view but not its text, so the view's comment holds a hash of the text.
        stored = conn.exec_driver_sql(
            "SELECT c.relname, obj_description(c.oid, 'pg_class') FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'v' AND n.nspname = current_schema()"
        )
        expected = {name: _comment(query) for name, query in queries.items()}
    else:
        stored = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
        expected = {name: f"CREATE VIEW {name} AS {query}".rstrip() for name, query in queries.items()}
    texts = {name: text and text.rstrip() for name, text in stored}
    return all(texts.get(name) == text for name, text in expected.items())


def _comment(query: str) -> str:
    return f"made by candlecast, text {hashlib.sha256(query.encode()).hexdigest()[:16]}"


def _refuse_others_tables(conn: Connection, engine: Engine) -> None:
    """Raise DatabaseUnusable when tables or views that we did not make bear our names."""
    there = inspect(conn)
    taken = sorted({*there.get_table_names(), *there.get_view_names()} & {*metadata.tables, *VIEWS})
    if taken:
        raise DatabaseUnusable(
            f"{safe_database_url(engine)} has no candlecast schema, but holds {', '.join(taken)}, "
            f"which another program made; name another database in CANDLECAST_DATABASE_URL, or restore a backup"
        )
