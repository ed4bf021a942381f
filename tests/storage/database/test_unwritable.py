"""Readers who may not write: a database in a folder of root's, with and without a writer, and files left by others."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from missing import skip_or_fail
from users import NOBODY, ordinary_user, reader_of

from storage.database import unwritable
from storage.database.engine import open_database, open_for_reading, reading
from storage.database.locks import locked
from storage.database.watched import Watched
from storage.errors import DatabaseUnusable
from storage.series import series_names

FIRST, SECOND, THIRD = (f"Bitstamp_{coin}USD_d" for coin in ("BTC", "ETH", "LTC"))
# Writes a series, and keeps the database open until it is killed or its input ends.
WRITE = """
import sys
from models.candles import SeriesName
from storage.database.engine import open_database, writing
from storage.series import ensure_series
engine = open_database(sys.argv[1])
with writing(engine) as conn:
    ensure_series(conn, name=SeriesName.parse(sys.argv[2]))
if sys.argv[3:]:
    print(flush=True)
    sys.stdin.read()
engine.dispose()
"""


@pytest.fixture
def roots(open_folder: Path) -> Iterator[Path]:
    """A database with one series in a folder that only its owner may write."""
    path = open_folder / "x.db"
    write(path, FIRST)
    open_folder.chmod(0o755)
    yield path
    open_folder.chmod(0o777)


def write(path: Path, series: str) -> None:
    """Write in another process: SQLite lets one process open a file in one way only."""
    subprocess.run([sys.executable, "-c", WRITE, f"sqlite:///{path}", series], check=True, timeout=60)


def live_writer(path: Path, series: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WRITE, f"sqlite:///{path}", series, "stay"]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"\n"
    return writer


def series_in(path: Path) -> list[str]:
    engine = open_for_reading(f"sqlite:///{path}")
    try:
        with reading(engine) as conn:
            return series_names(conn)
    finally:
        engine.dispose()


def test_a_reader_reads_a_database_in_a_folder_of_roots_and_leaves_nothing_there(roots: Path) -> None:
    with reader_of(roots.parent):
        assert series_in(roots) == [FIRST]
    assert [file.name for file in roots.parent.iterdir()] == ["x.db"]


def test_a_reader_sees_what_a_live_or_a_killed_writer_has_committed(roots: Path) -> None:
    with live_writer(roots, SECOND) as writer:
        with reader_of(roots.parent):
            assert series_in(roots) == [FIRST, SECOND]
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        # Its log is still there, and holds a series that the file lacks.
        with reader_of(roots.parent):
            assert series_in(roots) == [FIRST, SECOND]


def test_a_writer_that_ends_while_a_reader_connects_stops_no_reader(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live_writer(roots, SECOND) as writer:
        has_log = unwritable._has_log

        def ends_then(path: Path) -> bool:
            had = has_log(path)
            if writer.poll() is None:
                # It closes the database, which puts its log into the file and deletes it.
                writer.communicate(timeout=20)
            return had

        monkeypatch.setattr(unwritable, "_has_log", ends_then)
        with ordinary_user():
            assert series_in(roots) == [FIRST, SECOND]


def test_a_page_that_is_watched_follows_writers_that_come_and_go(roots: Path) -> None:
    with reader_of(roots.parent):
        watched = Watched(f"sqlite:///{roots}")
        with watched.connect() as conn:
            assert series_names(conn) == [FIRST]
        before = watched.state()
        assert before == watched.state() is not None
    with live_writer(roots, SECOND) as writer:
        with reader_of(roots.parent):
            assert watched.state() != before
            with watched.connect() as conn:
                assert series_names(conn) == [FIRST, SECOND]
        writer.kill()
    write(roots, THIRD)
    with reader_of(roots.parent):
        with watched.connect() as conn:
            assert series_names(conn) == [FIRST, SECOND, THIRD]
        watched.close()


def test_a_change_in_the_middle_of_such_a_read_is_an_error(roots: Path) -> None:
    with reader_of(roots.parent):
        engine = open_for_reading(f"sqlite:///{roots}")
        conn = engine.connect()
        assert series_names(conn) == [FIRST]
    write(roots, SECOND)
    refused = pytest.raises(DatabaseUnusable, match="changed while it was read; run the same command again")
    with reader_of(roots.parent), refused:
        conn.close()
    engine.dispose()


def test_a_database_on_a_read_only_mount_is_read(roots: Path) -> None:
    place = roots.parent.with_name(roots.parent.name + "-mounted")
    place.mkdir()
    mounted = subprocess.run(["mount", "--bind", roots.parent, place], capture_output=True, check=False).returncode == 0
    try:
        if not mounted:
            skip_or_fail("this user may not mount")
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        assert series_in(place / "x.db") == [FIRST]
    finally:
        if mounted:
            subprocess.run(["umount", place], check=True)
        shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_files_that_another_user_left_are_named_with_their_owner(open_folder: Path) -> None:
    path = open_folder / "x.db"
    write(path, FIRST)
    path.chmod(0o666)
    left = open_folder / "x.db-shm"
    left.write_bytes(b"")
    with (
        ordinary_user(),
        pytest.raises(DatabaseUnusable, match=r"x\.db-shm belongs to user root.*remove the file once"),
    ):
        open_database(f"sqlite:///{path}")
    left.unlink()
    lock = open_folder / "x.db-day.lock"
    lock.touch(0o600)
    with ordinary_user():
        engine = open_database(f"sqlite:///{path}")
        refused = pytest.raises(DatabaseUnusable, match=r"x\.db-day\.lock of the database belongs to user root; run")
        with refused, locked(engine, "day"):
            pass
        engine.dispose()
    assert NOBODY not in {file.stat().st_uid for file in (lock, path)}
