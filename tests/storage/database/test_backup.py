"""Backups are consistent while others write, are checked before they get their name, and can be restored."""

import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.database.backup import backup, restore
from storage.database.engine import open_database
from storage.errors import BackupRefused, DatabaseUnusable

INSERT = (
    "INSERT INTO series (name, exchange, pair, base, quote, interval, created_at) "
    "VALUES (?, 'x', 'y', 'b', 'q', 'd', '2020')"
)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    address = f"sqlite:///{tmp_path / 'candlecast.db'}"
    open_database(address).dispose()
    return address


def add_series(path: Path, name: str) -> None:
    with sqlite3.connect(path, timeout=30) as conn:
        conn.execute(INSERT, (name,))
    conn.close()


def series(path: Path) -> list[str]:
    conn = sqlite3.connect(path)
    names = [name for (name,) in conn.execute("SELECT name FROM series ORDER BY name")]
    conn.close()
    return names


def test_a_backup_holds_the_committed_rows_and_can_be_restored(url: str, tmp_path: Path) -> None:
    database, copy = tmp_path / "candlecast.db", tmp_path / "backup.db"
    add_series(database, "before")
    assert backup(url, to=copy) == copy.stat().st_size
    add_series(database, "after")
    replaced = restore(copy, url=url, now=NOW)
    assert series(database) == ["before"]
    assert replaced is not None
    assert series(replaced) == ["after", "before"]
    assert copy.exists()


def test_a_backup_made_while_others_write_holds_whole_transactions(url: str, tmp_path: Path) -> None:
    database = tmp_path / "candlecast.db"
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            with sqlite3.connect(database, timeout=30) as conn:
                # Each transaction writes two rows, so a copy of one instant holds both or neither.
                for half in "ab":
                    conn.execute(
                        INSERT,
                        (f"{number:06}{half}",),
                    )
            conn.close()
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(5):
            copy = tmp_path / f"copy-{n}.db"
            backup(url, to=copy)
            assert len(series(copy)) % 2 == 0
    finally:
        stop.set()
        writer.join()


def test_a_backup_overwrites_nothing_and_wrong_files_are_refused(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    copy.write_text("mine")
    with pytest.raises(BackupRefused, match="exists already"):
        backup(url, to=copy)
    with pytest.raises(BackupRefused, match="no sound candlecast database"):
        restore(copy, url=url, now=NOW)
    with pytest.raises(BackupRefused, match="there is no backup"):
        restore(tmp_path / "none.db", url=url, now=NOW)
    with pytest.raises(BackupRefused, match="database itself"):
        restore(tmp_path / "candlecast.db", url=url, now=NOW)
    with pytest.raises(BackupRefused, match="pg_dump"):
        backup("postgresql+psycopg://x@localhost/y", to=tmp_path / "new.db")
    with pytest.raises(DatabaseUnusable, match="no database"):
        backup(f"sqlite:///{tmp_path / 'nowhere.db'}", to=tmp_path / "new.db")
    assert copy.read_text() == "mine"


def test_unusable_databases_and_paths_are_refused_with_the_remedy(url: str, tmp_path: Path) -> None:
    copy, nowhere = tmp_path / "backup.db", tmp_path / "no" / "where"
    backup(url, to=copy)
    for memory in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(BackupRefused, match="in memory cannot be backed up; name a file"):
            backup(memory, to=tmp_path / "new.db")
    with pytest.raises(BackupRefused, match=f"the folder {nowhere} of the database does not exist; create it first"):
        restore(copy, url=f"sqlite:///{nowhere / 'candlecast.db'}", now=NOW)
    with pytest.raises(DatabaseUnusable, match="cannot be copied to .*unable to open"):
        backup(url, to=nowhere / "backup.db")


def test_a_backup_is_restored_over_a_damaged_database_and_to_a_new_path(url: str, tmp_path: Path) -> None:
    database, copy = tmp_path / "candlecast.db", tmp_path / "backup.db"
    add_series(database, "kept")
    backup(url, to=copy)
    database.write_bytes(b"garbage" * 1000)
    replaced = restore(copy, url=url, now=NOW)
    assert replaced == tmp_path / "candlecast.db.replaced-20260102T030405"
    assert replaced.read_bytes() == b"garbage" * 1000
    assert series(database) == ["kept"]
    elsewhere = tmp_path / "elsewhere.db"
    assert restore(copy, url=f"sqlite:///{elsewhere}", now=NOW) is None
    assert series(elsewhere) == ["kept"]
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob("*.restoring"))


def test_a_damaged_backup_is_not_restored(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    for number in range(200):
        add_series(tmp_path / "candlecast.db", f"series-{number:04}")
    backup(url, to=copy)
    data = bytearray(copy.read_bytes())
    data[4096 * 3 : 4096 * 6] = b"\xff" * (4096 * 3)
    copy.write_bytes(bytes(data))
    with pytest.raises(BackupRefused, match="(?s)is damaged: .*use another backup"):
        restore(copy, url=url, now=NOW)
    assert len(series(tmp_path / "candlecast.db")) == 200


def test_a_database_in_use_is_not_replaced(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "backup.db"
    backup(url, to=copy)
    other = sqlite3.connect(tmp_path / "candlecast.db")
    other.execute("BEGIN IMMEDIATE")
    other.execute(INSERT, ("held",))
    try:
        with pytest.raises(BackupRefused, match="in use"):
            restore(copy, url=url, now=NOW)
    finally:
        other.rollback()
        other.close()
