"""Connections to SQLite and PostgreSQL, set up to behave the same, with errors that say what to do."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from storage.database.postgresql import postgresql_engine
from storage.database.unwritable import read_without_writing, refuse_files_of_others
from storage.database.version import head_version, schema_version, wrong_version
from storage.errors import DatabaseUnusable, StatementRefused
from storage.redaction import first_line, safe_database_url

BUSY_TIMEOUT_S = 30

log = logging.getLogger(__name__)


def make_engine(url: str, *, read_only: bool = False) -> Engine:
    """Return an engine for `url`, set up but not connected; raises DatabaseUnusable for a URL that cannot be used.

    Every statement raises DatabaseUnusable where something is wrong with the database itself (locked, full, damaged,
    gone), and StatementRefused for a mistake in the statement or a broken constraint. Neither shows SQL or values.
    """
    try:
        parsed = make_url(url)
        if parsed.host and "@" in parsed.host + (parsed.database or ""):
            # The text before it would be taken for the host or the database, and shown in messages.
            raise DatabaseUnusable("the database URL has an @ in its user or password: write it as %40")
        if parsed.get_backend_name() == "sqlite":
            return _with_typed_errors(_sqlite(parsed, read_only=read_only))
        if parsed.get_backend_name() == "postgresql":
            return _with_typed_errors(postgresql_engine(parsed, read_only=read_only))
    except (ArgumentError, NoSuchModuleError) as error:
        raise DatabaseUnusable(f"the database URL cannot be read: {error}") from None
    except (ValueError, TypeError):
        # Their messages quote the URL's parts, which may be secret.
        raise DatabaseUnusable(
            "the database URL cannot be read: its port or an option is not of the right kind"
        ) from None
    raise DatabaseUnusable(
        f"expected sqlite:///file.db or postgresql+psycopg://..., got a URL of {parsed.get_backend_name()!r}"
    )


def _sqlite(url: URL, *, read_only: bool) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    path = database_file(engine)
    if read_only and path is not None:
        read_without_writing(engine, path)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        # We begin transactions ourselves: the driver begins them after the reads that a write depends on.
        connection.isolation_level = None
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(conn: Connection) -> None:
        # IMMEDIATE takes the write lock at once, and waits for it. A transaction that reads first and takes the lock
        # later fails when another has written in between, and waiting does not help it.
        wants_to_write = not read_only and not conn.get_execution_options().get("reads_only")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if wants_to_write else "BEGIN")

    return engine


def _with_typed_errors(engine: Engine) -> Engine:
    @event.listens_for(engine, "handle_error")
    def explain(context: ExceptionContext) -> None:
        error = context.sqlalchemy_exception
        # A failed ping is not an error yet: the pool connects again.
        if error is None or context.is_pre_ping:
            return
        # An error before there is a connection is not a mistake in a statement.
        if isinstance(error, DatabaseError) and (context.connection is None or _concerns_the_database(error)):
            raise explained(error, engine) from context.original_exception
        log.debug("refused: %s", error.statement)
        raise StatementRefused(
            f"the database {safe_database_url(engine)} refused a statement: {first_line(context.original_exception)}; "
            "this is a fault of candlecast, please report it"
        ) from context.original_exception

    return engine


def _concerns_the_database(error: DatabaseError) -> bool:
    # SQLite's driver has no class of its own for damaged files; PostgreSQL's calls missing rights a mistake in SQL.
    missing_rights = getattr(error.orig, "sqlstate", None) == "42501"
    return isinstance(error, OperationalError) or type(error) is DatabaseError or missing_rights


def open_database(url: str) -> Engine:
    """Return an engine for `url` with the schema brought up to date; creates an SQLite file where there is none.

    Raises DatabaseUnusable, with the reason and what to do, when the database cannot be used.
    """
    from storage.database.migrate import migrate

    engine = make_engine(url)
    path = database_file(engine)
    if path is not None and not path.parent.is_dir():
        raise DatabaseUnusable(f"the folder {path.parent} of the database {path} does not exist; create it first")
    # SQLite opens a read-only file and fails at the first row, after a whole download or training.
    if path is not None and path.is_file() and not os.access(path, os.W_OK):
        raise DatabaseUnusable(f"the database {path} is read-only; make it and its folder writable for this user")
    if path is not None:
        refuse_files_of_others(path)
    with _disposed_on_error(engine):
        migrate(engine)
    return engine


def open_for_reading(url: str) -> Engine:
    """Return an engine that can only read an existing, up-to-date database; never creates or changes anything.

    Raises DatabaseUnusable, with the reason and what to do.
    """
    engine = make_engine(url, read_only=True)
    path = database_file(engine)
    if path is not None and not path.is_file():
        raise DatabaseUnusable(f"there is no database at {path} yet; run: candlecast daily")
    with _disposed_on_error(engine):
        version = schema_version(engine)
        if version is None:
            raise DatabaseUnusable(f"{safe_database_url(engine)} holds no candlecast tables yet; run: candlecast daily")
        if version != head_version():
            raise wrong_version(engine, version)
    return engine


@contextmanager
def _disposed_on_error(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


@contextmanager
def disposing(engine: Engine) -> Iterator[Engine]:
    """Yield the engine and close its connections at the end, whatever happens."""
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads: on SQLite it takes no lock that a writer would have to wait for."""
    with engine.connect().execution_options(reads_only=True) as conn:
        yield conn


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Yield a connection in a transaction that is committed at the end and undone by an error.

    On SQLite it takes the write lock at once, so that what it reads stays true until it has written.
    """
    with engine.begin() as conn:
        yield conn


def explained(error: DatabaseError, engine: Engine) -> DatabaseUnusable:
    """Return the driver's error as one that says what to do."""
    reason = first_line(error.orig or error)
    # The driver quotes an option of the URL that it cannot use, and such an option may be a secret.
    for value in engine.url.normalized_query.values():
        for text in value:
            reason = reason.replace(repr(text), "(its value)").replace(f'"{text}"', "(its value)")
    remedies = {
        "readonly": "make the file and its folder writable for this user",
        "unable to open": "check that the folder exists and this user may write in it",
        "not a database": "the file is something else: name another file in CANDLECAST_DATABASE_URL",
        "malformed": "the file is damaged: restore it from a backup (candlecast restore FILE)",
        "locked": "another process has kept it locked: find that process, then try again",
        "lock timeout": "another process has kept it locked: find that process, then try again",
        # SQLite says this when even the files beside the database cannot be written.
        "disk i/o error": "the disk is full or failing: free some space, or see the system's log, then run it again",
        "disk is full": "free some space, then run the same command again",
        "permission denied": "let this user create and change tables in the schema",
        "connection": "is the server running, and are host, port, user and password right?",
    }
    remedy = next((text for word, text in remedies.items() if word in reason.lower()), "see the message")
    return DatabaseUnusable(f"the database {safe_database_url(engine)} cannot be used: {reason}; {remedy}")


def database_file(engine: Engine) -> Path | None:
    """Return the file of an SQLite database, None for one in memory or on a server."""
    if engine.dialect.name != "sqlite" or not engine.url.database or engine.url.database == ":memory:":
        return None
    return Path(engine.url.database)
