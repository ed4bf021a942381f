"""Locks between processes that share a database: one process does a piece of work while the others wait."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Engine, text

from storage.database.engine import database_file
from storage.database.unwritable import owner
from storage.errors import DatabaseUnusable

_POLL_S = 0.5
LOST = (
    "the connection that held the lock broke, so another run may have worked at the same time; nothing is stored twice"
)


@contextmanager
def locked(
    engine: Engine,
    name: str,
    *,
    waiting: Callable[[], None] = lambda: None,
    lost: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Hold lock `name` of this database; `waiting` is called once if another process holds it first.

    `lost` is called at the end if the connection to PostgreSQL that held the lock has broken meanwhile: another process
    may have done the same work beside this one. That is no error, because every piece of work may be done twice and
    stores its rows once.

    The operating system or the PostgreSQL server frees the lock when its holder dies, so no lease expires and nothing
    has to be cleaned up after kill -9. For SQLite the lock is a file beside the database; both must be on a local disk.
    """
    path = database_file(engine)
    if engine.dialect.name == "postgresql":
        with _advisory(engine, name, waiting, lost):
            yield
    elif path is None:
        yield
    else:
        lock = FileLock(path.with_name(f"{path.name}-{name}.lock"))
        try:
            if not _taken(lock):
                waiting()
                lock.acquire(poll_interval=_POLL_S)
        except PermissionError:
            raise DatabaseUnusable(
                f"the lock {lock.lock_file} of the database belongs to {owner(Path(lock.lock_file))}; run candlecast "
                "as that user, or remove the file once no other candlecast runs"
            ) from None
        try:
            yield
        finally:
            lock.release()


def _taken(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except TimeoutError:
        return False
    return True


@contextmanager
def _advisory(engine: Engine, name: str, waiting: Callable[[], None], lost: Callable[[], None]) -> Iterator[None]:
    # The lock belongs to a transaction, because a pooler gives the session to others between two transactions. A
    # transaction that has read nothing yet keeps nothing from being cleaned up.
    key = {"name": f"candlecast {name}"}
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as conn:
        # Held through an hour of training, in which this connection is idle.
        conn.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        take = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
        if not conn.execute(take, key).scalar():
            waiting()
            while not conn.execute(take, key).scalar():
                time.sleep(_POLL_S)
        try:
            yield
        finally:
            try:
                conn.exec_driver_sql("SELECT 1")
                conn.rollback()
            except DatabaseUnusable:
                # The server freed the lock when the connection broke.
                conn.invalidate()
                lost()
