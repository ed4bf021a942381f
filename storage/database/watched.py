"""A database that is read for long: opened when first asked for, opened anew when another file takes its place.

It tells whether anything was committed, so that what was read may be kept until then.
"""

import sqlite3
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine

from storage.database.engine import database_file, make_engine, open_for_reading
from storage.errors import DatabaseUnusable


class Watched:
    """The database at `url`, for any number of threads; opened by the first question, not by the constructor."""

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
        """Return what differs from an earlier result if anybody committed anything between; None if that is unknown.

        It may differ without reason, never the other way round. Read it before what is to be kept: what is committed
        after it then counts as news, whether or not it was read.
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
        """Return `state()`, or None where that would mean waiting: for a lock, a file to be opened, a server."""
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
    # Before it is opened: a file that is moved here meanwhile is then taken for another, never for this one.
    place = _place(path)
    engine = open_for_reading(url)
    try:
        watching = engine.raw_connection()
        # Ours until we close it, and never waiting: while somebody keeps the file locked nothing is known.
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
        """A snapshot names the transactions that it cannot see yet, so every one that ends changes it.

        Two servers, or one set back to an earlier day, may come to the same names; they started at different times.
        """
        # Each statement sees what is committed by then, and no transaction is left open.
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            found = conn.exec_driver_sql("SELECT pg_current_snapshot()::text, pg_postmaster_start_time()").one()
        return (self, *found)

    def close(self) -> None:
        self.engine.dispose()


@dataclass(frozen=True, eq=False)
class _File:
    engine: Engine
    path: Path
    place: tuple[int, int] | None
    watching: Any

    def is_in_place(self) -> bool:
        # As long as it is open no other file can get its number.
        return self.place is not None and self.place == _place(self.path)

    def state(self) -> Hashable | None:
        """SQLite counts for each connection how often others commit; what is done to the file without it has a date."""
        try:
            (commits,) = self.watching.cursor().execute("PRAGMA data_version").fetchone()
            found = self.path.stat()
        except (sqlite3.Error, OSError):
            return None
        return self, commits, found.st_size, found.st_mtime_ns

    def close(self) -> None:
        self.watching.close()
        self.engine.dispose()


def _place(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
