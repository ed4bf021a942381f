"""A database with another schema: every command says so in one line, ends with code 1 and changes nothing."""

import shutil
import sqlite3
from collections.abc import Callable

import pytest
from sqlalchemy import text
from web_server import Web

from storage.database.engine import make_engine, open_database

SERIES = "Coinbase_BTCUSD_d"
slow = pytest.mark.slow
COMMANDS = [
    ("ingest",),
    ("daily",),
    ("train", SERIES),
    ("backfill", SERIES, "--start", "2019-01-01", "--end", "2019-01-02"),
    ("backfill", SERIES, "--start", "2019-01-01", "--end", "2019-01-02", "--dry-run"),
    ("forecasts",),
    ("candles", SERIES),
    ("skill",),
    ("chance", SERIES, "--below", "7800"),
    ("paths", SERIES),
    ("note",),
    ("models",),
    ("series",),
    ("findings",),
    ("promote", "1"),
    ("rollback", SERIES),
    ("replay", "1"),
    ("backup", "copy.db"),
    ("copy", "--to", "postgresql://nobody@127.0.0.1:1/none"),
]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=slow)])
def url(request, daily_done, tmp_path) -> str:
    if request.param == "postgresql":
        address = request.getfixturevalue("postgresql_url")
        open_database(address).dispose()
        return address
    shutil.copy(daily_done.database, tmp_path / "copy-of.db")
    return f"sqlite:///{tmp_path / 'copy-of.db'}"


def stamped(url: str, version: str) -> Callable[[], list]:
    engine = make_engine(url)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
    engine.dispose()

    def state() -> list:
        engine = make_engine(url, read_only=True)
        with engine.connect() as conn:
            rows = [
                conn.execute(text(f"SELECT count(*) FROM {table}")).scalar()
                for table in ("series", "downloads", "candles", "model_versions", "promotions", "forecasts", "scores")
            ]
            rows.append(conn.execute(text("SELECT version_num FROM alembic_version")).scalar())
        engine.dispose()
        return rows

    return state


@pytest.mark.parametrize(
    ("version", "remedy", "commands"),
    [
        # One that writes, one that runs a flow, one that reads.
        ("9999", "upgrade candlecast", COMMANDS[:2] + COMMANDS[5:6]),
        pytest.param("9999", "upgrade candlecast", COMMANDS[2:5] + COMMANDS[6:], marks=slow),
        pytest.param("ae1027a6acf2", "another program made it", COMMANDS, marks=slow),
    ],
)
def test_every_command_refuses_it(empty, url, version, remedy, commands):
    state = stamped(url, version)
    before = state()
    for command in commands:
        done = empty.run(*command, CANDLECAST_DATABASE_URL=url)
        assert done.returncode == 1, (command, done.stderr)
        assert done.stdout == ""
        if command[0] == "backup" and url.startswith("postgresql"):
            assert "pg_dump" in done.stderr
        elif command[0] == "backup":
            assert "upgrade candlecast first" in done.stderr
        else:
            assert f"has schema {version}" in done.stderr, command
            assert remedy in done.stderr
        assert "Traceback" not in done.stderr, command
        assert len(done.stderr.splitlines()) == 1, (command, done.stderr)
    assert state() == before
    assert sorted(path.name for path in empty.folder.iterdir() if not path.name.startswith("copy-of.db")) == []


def test_the_web_server_refuses_it_with_the_reason(empty, url):
    stamped(url, "9999")
    with Web(empty, CANDLECAST_DATABASE_URL=url) as web:
        for path in ("/healthz", "/metrics", "/api/v1/series", "/api/v1/forecasts/latest"):
            answer = web.get(path)
            assert answer.status_code == 503
            assert "upgrade candlecast" in answer.json()["detail"]


@slow
def test_doctor_reports_it(empty, url):
    stamped(url, "9999")
    done = empty.run("doctor", CANDLECAST_DATABASE_URL=url)
    assert done.returncode == 1
    assert "upgrade candlecast" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no candlecast tables yet; run: candlecast daily"),
        (b"these are my notes, " * 200, "name another file in CANDLECAST_DATABASE_URL"),
    ],
    ids=["empty", "notes"],
)
def test_a_file_that_is_no_database_is_explained_to_readers_and_left_alone(empty, content, message):
    path = empty.folder / "candlecast.db"
    path.write_bytes(content)
    for command in (("forecasts",), ("candles", SERIES), ("skill",), ("models",), ("series",), ("findings",)):
        done = empty.run(*command)
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert path.read_bytes() == content


def test_another_programs_database_is_refused_by_writers(empty):
    with sqlite3.connect(empty.database) as conn:
        conn.execute("CREATE TABLE series (id INTEGER, title TEXT)")
    conn.close()
    for command in (("ingest",), ("daily",)):
        done = empty.run(*command)
        assert done.returncode == 1
        assert "which another program made" in done.stderr
        assert len(done.stderr.splitlines()) == 1
