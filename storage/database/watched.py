"""A database that a long-running reader keeps open, and that tells whether anything was committed.

It is opened by the first question, and opened again when another file takes its place. What was read may be kept until
something is committed.
"""

import sqlite3
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine

from storage.database.engine import database_file, make_engine, open_for_reading
from storage.database.unwritable import log_state
from storage.errors import DatabaseUnusable


class Watched:
    """The database at `url`, for any number of threads; the first question opens it, not the constructor."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: _OnServer | _File | None = None
        self._lock = Lock()

    def connect(self) -> Connection:
        """Return a connection for reading; raises DatabaseUnusable."""
        with self._lock:
            engine = self._current().engine
        return engine.connect()

    def state(self) -> Hashable | None:
        """Return a token of what is committed so far; None if that is unknown.

        Equal tokens mean nothing was committed in between; different ones may mean nothing. Read the token before the
        rows that are to be kept: a commit after the token then changes the next token, whether or not it was read.
        """
        try:
            with self._lock:
                opened = self._current()
                if isinstance(opened, _File):
                    return opened.state()
            return opened.state()
        except DatabaseUnusable:
            return None

    def state_at_once(self) -> Hashable | None:
        """Return `state()`, or None if that would mean waiting for a lock, for a file to be opened or for a server."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            opened = self._opened
            return opened.state() if isinstance(opened, _File) and opened.is_in_place() else None
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close what is open; the next question opens it again."""
        with self._lock:
            self._close()

    def _current(self) -> "_OnServer | _File":
        if isinstance(self._opened, _File) and not self._opened.is_in_place():
            self._close()
        if self._opened is None:
            self._opened = _open(self._url)
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _open(url: str) -> "_OnServer | _File":
    path = database_file(make_engine(url))
    if path is None:
        return _OnServer(open_for_reading(url))
    # Read before the file is opened: a file that is moved here in between then counts as another one.
    place = _place(path)
    engine = open_for_reading(url)
    try:
        watching = engine.raw_connection()
        # This connection stays ours until we close it and never waits: while the file is locked, the state is unknown.
        watching.detach()
        watching.cursor().execute("PRAGMA busy_timeout = 0")
    except BaseException:
        engine.dispose()
        raise
    return _File(engine, path, place, watching)


@dataclass(frozen=True, eq=False)
class _OnServer:
    engine: Engine

    def state(self) -> Hashable:
        """Return the server's snapshot and start time.

        A snapshot names the transactions that it cannot see yet, so every transaction that ends changes it. Two
        servers, or one that was restored to an earlier day, may have the same snapshot, but started at different times.
        """
        # Each statement sees what is committed by then, and no transaction is left open.
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            row = conn.exec_driver_sql("SELECT pg_current_snapshot()::text, pg_postmaster_start_time()").one()
        return (self, *row)

    def close(self) -> None:
        self.engine.dispose()


@dataclass(frozen=True, eq=False)
class _File:
    engine: Engine
    path: Path
    place: tuple[int, int] | None
    watching: Any

    def is_in_place(self) -> bool:
        # While the file is open, no other file can get its number.
        return self.place is not None and self.place == _place(self.path)

    def state(self) -> Hashable | None:
        """Return SQLite's count of the commits of other connections, and the sizes and times of the file and its log.

        They show changes that were made without SQLite, or that a user who may not write here cannot count.
        """
        try:
            (commits,) = self.watching.cursor().execute("PRAGMA data_version").fetchone()
            file = self.path.stat()
        except (sqlite3.Error, OSError):
            return None
        return self, commits, file.st_size, file.st_mtime_ns, log_state(self.path)

    def close(self) -> None:
        self.watching.close()
        self.engine.dispose()


def _place(path: Path) -> tuple[int, int] | None:
    try:
        file = path.stat()
    except OSError:
        return None
    return file.st_dev, file.st_ino
