"""Bringing a database's schema up to date, safely when several processes do it at once."""

import logging

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, inspect

from storage.database.version import head_version, known_versions, schema_version, version_in, wrong_version
from storage.errors import DatabaseUnusable
from storage.redaction import safe_database_url
from storage.tables import VIEWS, metadata, views

# Any number will do, as long as every candlecast uses the same one.
_ADVISORY_LOCK = 4_821_004


def migrate(engine: Engine) -> None:
    """Apply the migrations that `engine`'s database lacks, all in one transaction, and renew the views.

    Raises DatabaseUnusable when the database is of a newer candlecast or of another program.
    """
    if schema_version(engine) == head_version():
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with engine.begin() as conn:
        # Whoever waits here finds the work done: SQLite's BEGIN IMMEDIATE waits by itself.
        if engine.dialect.name == "postgresql":
            conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        found = version_in(conn)
        if found == head_version():
            return
        if found is None:
            _refuse_others_tables(conn, engine)
        elif found not in known_versions():
            raise wrong_version(engine, found)
        config = Config()
        config.set_main_option("script_location", "storage.database:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = conn
        # Views hold no data: they are dropped before the tables under them change, and made anew after.
        for name in reversed(VIEWS):
            conn.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        command.upgrade(config, "head")
        for name, query in views(engine.dialect.name).items():
            conn.exec_driver_sql(f"CREATE VIEW {name} AS {query}")


def _refuse_others_tables(conn: Connection, engine: Engine) -> None:
    """Raise DatabaseUnusable when tables or views that we did not make bear our names."""
    there = inspect(conn)
    taken = sorted({*there.get_table_names(), *there.get_view_names()} & {*metadata.tables, *VIEWS})
    if taken:
        raise DatabaseUnusable(
            f"{safe_database_url(engine)} has no candlecast schema, but holds {', '.join(taken)}, "
            f"which another program made; name another database in CANDLECAST_DATABASE_URL, or restore a backup"
        )
