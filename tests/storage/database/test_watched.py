"""A watched database: the next look notices each commit and each change to its file."""

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


def test_without_a_commit_nothing_has_changed(watched, database_url):
    state = watched.state()
    assert state is not None
    names(watched)
    engine = make_engine(database_url)
    with engine.connect() as conn:
        conn.execute(text("SELECT count(*) FROM series"))
        conn.rollback()
    engine.dispose()
    assert watched.state() == state


def test_only_a_file_that_is_open_is_looked_at_without_waiting(watched, database_url):
    assert watched.state_at_once() is None
    state = watched.state()
    assert watched.state_at_once() == (state if database_url.startswith("sqlite") else None)


def test_what_is_kept_under_a_state_is_never_older_than_the_last_commit(watched, database_url):
    """A writer counts its commits; a reader reads again only when the state has changed."""
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
        at_least, now = committed, watched.state()
        assert now is not None
        if now != state:
            state, count = now, read()
        assert count >= at_least
    writer.join()
    engine.dispose()
    assert count == 300


def test_a_transaction_that_is_still_open_is_no_news_until_it_ends(watched, database_url):
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
    """Changes to an SQLite file that go past its connections."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        return tmp_path / "candlecast.db"

    @pytest.fixture
    def database_url(self, database: Path) -> str:
        return f"sqlite:///{database}"

    def test_a_file_that_is_moved_into_its_place_is_read_instead(self, watched, database, database_url):
        other = database.with_name("other.db")
        open_database(f"sqlite:///{other}").dispose()
        add(f"sqlite:///{other}", "Bitstamp_ETHUSD_d")
        state = watched.state()
        assert names(watched) == []
        other.rename(database)
        assert watched.state_at_once() is None
        assert watched.state() != state
        assert names(watched) == ["Bitstamp_ETHUSD_d"]

    def test_a_restored_backup_is_read_instead(self, watched, database, database_url):
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

    def test_a_file_that_is_gone_is_said_to_be_gone_and_read_when_it_is_back(self, watched, database):
        state = watched.state()
        away = database.rename(database.with_name("away.db"))
        assert watched.state() is None
        with pytest.raises(DatabaseUnusable, match="there is no database"):
            watched.connect()
        away.rename(database)
        assert watched.state() not in (None, state)
        assert names(watched) == []

    def test_bytes_that_are_written_over_it_are_noticed(self, watched, database):
        state = watched.state()
        with database.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 100)
        assert watched.state() != state

    # Shorter than a connection waits for a lock.
    @pytest.mark.timeout(BUSY_TIMEOUT_S - 5)
    def test_while_somebody_keeps_it_locked_nothing_is_known_and_nobody_waits(self, watched, database):
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
