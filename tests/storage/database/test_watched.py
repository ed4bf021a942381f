"""A watched database: its state changes with each commit and each change to its file."""

import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from models.candles import SeriesName
from storage.database.backup import backup, restore
from storage.database.engine import BUSY_TIMEOUT_S, make_engine, open_database
from storage.database.watched import Watched
from storage.errors import DatabaseUnusable
from storage.series import ensure_series

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def watched(database_url: str) -> Iterator[Watched]:
    open_database(database_url).dispose()
    watched = Watched(database_url)
    yield watched
    watched.close()


def add(url: str, name: str) -> None:
    engine = make_engine(url)
    with engine.begin() as conn:
        ensure_series(conn, name=SeriesName.parse(name), now=NOW)
    engine.dispose()


def names(watched: Watched) -> list[str]:
    with watched.connect() as conn:
        return list(conn.execute(text("SELECT name FROM series ORDER BY name")).scalars())


def test_without_a_commit_the_state_stays_the_same(watched, database_url):
    state = watched.state()
    assert state is not None
    names(watched)
    engine = make_engine(database_url)
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM series"))
        conn.rollback()
    engine.dispose()
    assert watched.state() == state


def test_state_at_once_needs_an_open_sqlite_file(watched, database_url):
    assert watched.state_at_once() is None
    state = watched.state()
    assert watched.state_at_once() == (state if database_url.startswith("sqlite") else None)


def test_rows_cached_for_a_state_are_never_older_than_the_last_commit(watched, database_url):
    """One thread commits numbers; another reads again only when the state has changed, and is never behind."""
    engine = make_engine(database_url)
    with engine.begin() as conn:
        conn.execute(text("CREATE TABLE counter (n INTEGER)"))
        conn.execute(text("INSERT INTO counter VALUES (0)"))
    committed, done = 0, threading.Event()

    def write() -> None:
        nonlocal committed
        for number in range(1, 301):
            with engine.begin() as conn:
                conn.execute(text("UPDATE counter SET n = :n"), {"n": number})
            committed = number
        done.set()

    def read() -> int:
        with watched.connect() as conn:
            return conn.execute(text("SELECT n FROM counter")).scalar_one()

    writer = threading.Thread(target=write)
    writer.start()
    state, count = None, -1
    last = False
    while not last:
        last = done.is_set()
        already_committed, new_state = committed, watched.state()
        assert new_state is not None
        if new_state != state:
            state, count = new_state, read()
        assert count >= already_committed
    writer.join()
    engine.dispose()
    assert count == 300


def test_an_open_transaction_changes_the_state_only_when_it_commits(watched, database_url):
    engine = make_engine(database_url)
    with engine.begin() as conn:
        ensure_series(conn, name=SeriesName.parse("Bitstamp_ETHUSD_d"), now=NOW)
        before = watched.state()
        assert names(watched) == []
        assert watched.state() == before
    engine.dispose()
    assert watched.state() != before
    assert names(watched) == ["Bitstamp_ETHUSD_d"]


class TestFile:
    """Changes to an SQLite file that its connections do not make."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        return tmp_path / "candlecast.db"

    @pytest.fixture
    def database_url(self, database: Path) -> str:
        return f"sqlite:///{database}"

    def test_a_file_moved_to_the_databases_path_is_read(self, watched, database, database_url):
        new_file = database.with_name("other.db")
        open_database(f"sqlite:///{new_file}").dispose()
        add(f"sqlite:///{new_file}", "Bitstamp_ETHUSD_d")
        state = watched.state()
        assert names(watched) == []
        new_file.rename(database)
        assert watched.state_at_once() is None
        assert watched.state() != state
        assert names(watched) == ["Bitstamp_ETHUSD_d"]

    def test_a_restored_backup_is_read(self, watched, database, database_url):
        copy = database.with_name("copy.db")
        backup(database_url, to=copy)
        # A backup is not in write-ahead mode, so readers do not prevent the second restore.
        restore(copy, url=database_url, now=NOW)
        state = watched.state()
        add_without_wal(copy, "later")
        assert names(watched) == []
        restore(copy, url=database_url, now=NOW.replace(day=3))
        assert watched.state() != state
        assert names(watched) == ["later"]

    def test_a_missing_file_has_no_state_and_is_read_again_when_it_is_back(self, watched, database):
        state = watched.state()
        moved = database.rename(database.with_name("away.db"))
        assert watched.state() is None
        with pytest.raises(DatabaseUnusable, match="there is no database"):
            watched.connect()
        moved.rename(database)
        assert watched.state() not in (None, state)
        assert names(watched) == []

    def test_overwritten_bytes_change_the_state(self, watched, database):
        state = watched.state()
        with database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 100)
        assert watched.state() != state

    # A connection would wait longer for the lock.
    @pytest.mark.timeout(BUSY_TIMEOUT_S - 5)
    def test_a_locked_database_has_no_state_and_is_not_waited_for(self, watched, database):
        assert watched.state() is not None
        watched.close()
        other = sqlite3.connect(database, isolation_level=None)
        other.execute("PRAGMA journal_mode = DELETE")
        assert watched.state() is not None
        other.execute("BEGIN EXCLUSIVE")
        assert watched.state_at_once() is None
        other.execute("ROLLBACK")
        assert watched.state_at_once() is not None
        other.close()


def add_without_wal(path: Path, name: str) -> None:
    """Add a series without switching the file to write-ahead mode."""
    with sqlite3.connect(path) as conn:
        conn.execute(
            "INSERT INTO series (name, exchange, pair, base, quote, interval, created_at) "
            "VALUES (?, 'x', 'y', 'b', 'q', 'd', '2020')",
            (name,),
        )
    conn.close()
