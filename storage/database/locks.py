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


@contextmanager
def locked(engine: Engine, name: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold lock `name` of this database; `waiting` is called once if another process holds it first.

    The operating system or the PostgreSQL server frees the lock when its holder dies, so no lease expires and nothing
    has to be cleaned up after kill -9. For SQLite the lock is a file beside the database; both must be on a local disk.
    """
    path = database_file(engine)
    if engine.dialect.name == "postgresql":
        with _advisory(engine, name, waiting):
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
def _advisory(engine: Engine, name: str, waiting: Callable[[], None]) -> Iterator[None]:
    # The lock belongs to the session, so the connection stays open as long as the lock, outside any transaction.
    key = {"name": f"candlecast {name}"}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        take = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        if not conn.execute(take, key).scalar():
            waiting()
            while not conn.execute(take, key).scalar():
                time.sleep(_POLL_S)
        try:
            yield
        finally:
            conn.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), key)
