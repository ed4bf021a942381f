"""Backups of an SQLite database, made while others write to it, and their restoring."""

import os
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from storage.database.engine import make_engine
from storage.database.version import VERSION_TABLE, known_versions
from storage.errors import BackupRefused, DatabaseUnusable


def backup(url: str, *, to: Path) -> int:
    """Write a consistent copy of the database to the new file `to` and return its size in bytes.

    Others may go on reading and writing meanwhile; the copy is the state of one instant, checked before it gets its
    name. Raises BackupRefused when `to` exists or the database is no SQLite file, DatabaseUnusable when it cannot be
    read or is damaged.
    """
    source = _path(url)
    if not source.is_file():
        raise DatabaseUnusable(f"there is no database at {source} to back up")
    if to.exists():
        raise BackupRefused(f"{to} exists already; name a new file, so that no backup is lost")
    _copy(source, to)
    return to.stat().st_size


def restore(file: Path, *, url: str, now: datetime) -> Path | None:
    """Put backup `file` in the place of the database; returns where the one it replaced was moved, if there was one.

    Nothing is deleted. Raises BackupRefused when `file` is no sound candlecast database or of a newer version, and
    while another process has the present database open.
    """
    target = _path(url)
    if not file.is_file():
        raise BackupRefused(f"there is no backup at {file}")
    if target.exists() and file.samefile(target):
        raise BackupRefused(f"{file} is the database itself; name a backup")
    if not target.parent.is_dir():
        raise BackupRefused(f"the folder {target.parent} of the database does not exist; create it first")
    _check(file)
    fresh = target.with_name(f"{target.name}.restoring")
    fresh.unlink(missing_ok=True)
    _copy(file, fresh)
    replaced = None
    if target.exists():
        _let_go(target)
        replaced = target.with_name(f"{target.name}.replaced-{now:%Y%m%dT%H%M%S}")
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                target.with_name(target.name + suffix).rename(replaced.with_name(replaced.name + suffix))
    fresh.replace(target)
    return replaced


def _path(url: str) -> Path:
    address = make_engine(url).url
    if address.get_backend_name() == "postgresql":
        raise BackupRefused(
            "PostgreSQL makes its own backups: pg_dump --format=custom --file=FILE DATABASE, "
            "and pg_restore --clean --if-exists --dbname=DATABASE FILE"
        )
    path = address.database
    if not path or path == ":memory:":
        raise BackupRefused("a database in memory cannot be backed up; name a file in CANDLECAST_DATABASE_URL")
    return Path(path)


def _copy(source: Path, to: Path) -> None:
    part = to.with_name(f"{to.name}.part")
    try:
        with closing(sqlite3.connect(source)) as read, closing(sqlite3.connect(part)) as written:
            read.execute("PRAGMA query_only = ON")
            # All pages are copied in one read transaction, so the copy is of one instant.
            read.backup(written)
            # In this mode the copy is one file, without a -wal file that would have to be copied with it.
            written.execute("PRAGMA journal_mode = DELETE")
        _check(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(to)
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{source} cannot be copied to {to}: {error}") from error
    except OSError as error:
        raise BackupRefused(f"{to} cannot be written: {error.strerror}; name a file in a writable folder") from error
    finally:
        part.unlink(missing_ok=True)


def _check(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as conn:
            problems = [row[0] for row in conn.execute("PRAGMA integrity_check(1)")]
            version = conn.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - our own table
    except sqlite3.Error as error:
        raise BackupRefused(f"{path} is no sound candlecast database: {error}") from None
    if problems != ["ok"]:
        raise BackupRefused(f"{path} is damaged: {problems[0]}; use another backup")
    if version is None or version[0] not in known_versions():
        raise BackupRefused(f"{path} was not written by this candlecast or an older one: upgrade candlecast first")


def _let_go(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=5)) as conn:
            # SQLite leaves WAL mode only if no other process has the file open. A damaged file cannot tell.
            conn.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise BackupRefused(f"{path} is in use; stop candlecast serve, web and workers, then restore") from None
    except sqlite3.DatabaseError:
        return
