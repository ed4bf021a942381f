"""SQLite files that this user may read and not write: another user's, or on a file system that is mounted read-only.

In WAL mode even a reader writes, into the -wal and -shm files beside the database. Where a writer has the database
open, they are there, and reading them is enough. Where there is no -wal file, nobody has it open: then it is read as a
file that does not change (immutable), and whether it did is checked before and after each transaction.
"""

import os
import pwd
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DisconnectionError

from storage.errors import DatabaseUnusable

_STATE = "candlecast_state"


def read_without_writing(engine: Engine, path: Path) -> None:
    """Let `engine` read the database `path` even if this user may not write it or create files beside it.

    A transaction during which the file has changed raises DatabaseUnusable at its end: what it read may be mixed.
    """

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, record: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:  # noqa: ANN401 - the driver's own connection
        record.info.pop(_STATE, None)
        if _may_write(path):
            return None
        if _has_log(path):
            connection = sqlite3.connect(*arguments, **options)
            if _keeps_log(connection) or _has_log(path):
                return connection
            # Its last writer has ended in between, and has put the log into the file.
            connection.close()
        record.info[_STATE] = _state(path)
        return sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True, **options)

    @event.listens_for(engine, "checkout")
    def check_out(_connection: object, record: Any, _proxy: object) -> None:  # noqa: ANN401 - the pool's record
        if _STATE in record.info and _has_changed(path, record.info[_STATE]):
            # The pool then connects again, as the file is now.
            raise DisconnectionError

    @event.listens_for(engine, "rollback")
    @event.listens_for(engine, "commit")
    def end(conn: Connection) -> None:
        if _STATE in conn.info and _has_changed(path, conn.info[_STATE]):
            raise DatabaseUnusable(f"the database {path} was changed while it was read; run the same command again")


def refuse_files_of_others(path: Path) -> None:
    """Raise DatabaseUnusable if another user's -wal or -shm file beside `path` would keep this user from writing."""
    for file in (_beside(path, "-wal"), _beside(path, "-shm")):
        if file.exists() and not os.access(file, os.W_OK):
            raise DatabaseUnusable(
                f"{file} belongs to {owner(file)}, and this user may not write it; run candlecast as that user, or "
                "remove the file once no program has the database open"
            )


def owner(file: Path) -> str:
    """Return the owner of a file for a message: "user NAME"."""
    try:
        uid = file.stat().st_uid
    except OSError:
        return "another user"
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def log_state(path: Path) -> tuple[int, int] | None:
    """Return size and time of the -wal file of `path`, whose commits the database file lacks; None if there is none."""
    try:
        file = _beside(path, "-wal").stat()
    except OSError:
        return None
    return file.st_size, file.st_mtime_ns


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def _has_log(path: Path) -> bool:
    log = log_state(path)
    return log is not None and log[0] > 0


def _keeps_log(connection: sqlite3.Connection) -> bool:
    """Begin to use the log, which stays while this connection is open; return whether it could be read."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return False
    return True


def _has_changed(path: Path, state: tuple[int, int, int] | None) -> bool:
    return _state(path) != state or _has_log(path)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        file = path.stat()
    except OSError:
        return None
    return file.st_ino, file.st_size, file.st_mtime_ns


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
