"""Faults of disk, file and lock, while `candlecast` runs as a separate process on a real file.

No fault changes a stored row, and each message says how to fix it. Afterwards the same command completes the work.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from installation import Installation
from markets import write_csv
from synthetic import random_walk

SERIES = "Bitstamp_BTCUSD_d"
CANDLES = random_walk(3000, seed=5)

HOLD = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1])
conn.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
conn.rollback()
"""


class Ingesting(Installation):
    """An installation with a folder as its source."""

    def source(self, n: int) -> None:
        """Write the source's file so that closed candle `n` is its last one."""
        write_csv(self.folder.parent / "source", SERIES, CANDLES.iloc[:n])

    def environment(self, **more: str) -> dict[str, str]:
        own = {"CANDLECAST_SOURCE": str(self.folder.parent / "source"), "CANDLECAST_SERIES": SERIES}
        return super().environment(**(own | more))

    def stored(self) -> int:
        """The number of closed candles, read from the file without candlecast."""
        return int(self.sql("SELECT count(*) FROM current_candles")[0][0])

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database)) as conn:
            return conn.execute(query).fetchall()


@pytest.fixture
def installed(tmp_path: Path) -> Ingesting:
    """An installation that has ingested once: 100 candles."""
    folder = tmp_path / "installation"
    folder.mkdir()
    return first_ingest(Ingesting(folder, tmp_path / "prefect"))


def first_ingest(ingesting: Ingesting) -> Ingesting:
    ingesting.source(100)
    done = ingesting.run("ingest")
    assert done.returncode == 0, done.stderr
    assert ingesting.stored() == 100
    ingesting.source(3000)
    return ingesting


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a separate file system of `size` at `folder`; only root may do that."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a small disk; test_engine.py fills SQLite itself")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, left: int) -> Path:
    """Write a file that leaves `left` bytes free on the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    os.truncate(filler, filler.stat().st_size - left)
    return filler


@pytest.mark.parametrize(
    ("left", "message"),
    [
        (100_000, "disk is full; free some space, then run the same command again"),
        (0, "disk I/O error; the disk is full or failing: free some space"),
    ],
)
def test_an_ingest_on_a_full_disk_fails_and_loses_nothing(tmp_path: Path, left: int, message: str) -> None:
    with small_disk(tmp_path / "disk", "1m"):
        ingesting = first_ingest(Ingesting(tmp_path / "disk", tmp_path / "prefect"))
        filler = fill(ingesting.folder, left)
        done = ingesting.run("ingest")
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        filler.unlink()
        assert ingesting.stored() == 100
        done = ingesting.run("ingest")
        assert done.returncode == 0, done.stderr
        assert ingesting.stored() == 3000
        assert ingesting.sql("PRAGMA integrity_check") == [("ok",)]


def test_a_file_system_that_became_read_only_is_named_in_the_error(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m"):
        ingesting = first_ingest(Ingesting(tmp_path / "disk", tmp_path / "prefect"))
        subprocess.run(["mount", "-o", "remount,ro", str(ingesting.folder)], check=True)
        done = ingesting.run("ingest")
        assert done.returncode == 1
        assert "candlecast.db is read-only; make it and its folder writable for this user" in done.stderr
        subprocess.run(["mount", "-o", "remount,rw", str(ingesting.folder)], check=True)
        assert ingesting.run("ingest").returncode == 0
        assert ingesting.stored() == 3000


@pytest.mark.slow
def test_a_database_locked_for_twenty_seconds_is_waited_for(installed: Ingesting) -> None:
    with write_lock_held(installed, 20):
        began = time.monotonic()
        done = installed.run("ingest")
        waited = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert waited > 15
    assert installed.stored() == 3000


@pytest.mark.slow
def test_a_database_locked_for_longer_is_named_in_the_error_and_unchanged(installed: Ingesting) -> None:
    with write_lock_held(installed, 60):
        began = time.monotonic()
        done = installed.run("ingest")
        assert 25 < time.monotonic() - began < 55
        assert done.returncode == 1
        assert (
            "database is locked; another process has kept it locked: find that process, then try again" in done.stderr
        )
        # Readers do not wait.
        assert len(json.loads(installed.run("candles", SERIES, "--json").stdout)) == 100
    assert installed.run("ingest").returncode == 0
    assert installed.stored() == 3000


@contextmanager
def write_lock_held(ingesting: Ingesting, seconds: float) -> Iterator[None]:
    """Have another process hold the database's write lock for `seconds`, or to the end of the block."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ingesting.database), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    try:
        yield
    finally:
        holder.terminate()
        holder.communicate(timeout=20)


@pytest.mark.slow
def test_doctor_finds_a_damaged_file_and_a_backup_restores_it(installed: Ingesting) -> None:
    assert installed.run("ingest").returncode == 0
    candles_before = installed.sql("SELECT * FROM candles ORDER BY open_time")
    done = installed.run("backup", "good.db")
    assert done.returncode == 0, done.stderr
    # Overwrite two pages in the middle of the candles, as a failing disk would.
    (page,) = installed.sql("SELECT rootpage FROM sqlite_schema WHERE name = 'candles'")[0]
    size = installed.database.stat().st_size
    with installed.database.open("r+b") as file:
        file.seek(max(page * 4096, size // 2 // 4096 * 4096))
        file.write(b"\xde\xad\xbe\xef" * 2048)
    check = doctor_check(installed, "file")
    assert not check["ok"]
    # SQLite lists the damage or cannot read the file at all. Then the remedy is in the message.
    assert "damaged" in check["found"]
    assert "candlecast restore FILE" in check["remedy"] + check["found"]
    refused = installed.run("backup", "bad.db")
    assert refused.returncode == 1
    assert not (installed.folder / "bad.db").exists()
    done = installed.run("restore", "good.db")
    assert done.returncode == 0, done.stderr
    assert doctor_check(installed, "file") == {"check": "file", "ok": True, "found": "sound", "remedy": ""}
    assert installed.sql("SELECT * FROM candles ORDER BY open_time") == candles_before
    # The damaged file was moved aside, not deleted.
    assert len(list(installed.folder.glob("candlecast.db.replaced-*"))) == 1


def doctor_check(ingesting: Ingesting, check: str) -> dict[str, Any]:
    """Return the result of one check of `candlecast doctor`."""
    rows: list[dict[str, Any]] = json.loads(ingesting.run("doctor", "--json").stdout)
    return next(row for row in rows if row["check"] == check)
