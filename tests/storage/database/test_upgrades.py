"""Older schemas are migrated with their data, unknown ones are refused, and a killed migration changes nothing."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from schemas import declared_columns, fill, upgrade_to
from sqlalchemy import Connection, Engine, inspect, select, text

from storage.database.engine import make_engine, open_database, open_for_reading
from storage.database.migrations.versions import __name__ as versions_package
from storage.database.version import known_versions, schema_version
from storage.decisions import champion, list_decisions
from storage.errors import DatabaseUnusable, StatementRefused
from storage.tables import (
    VIEWS,
    downloads,
    metadata,
    model_versions,
    quarantine,
    views,
)

ROOT = Path(__file__).parents[3]
PACKAGES = ("candlecast", "flows", "tasks", "models", "storage")
DAY = timedelta(days=1)

# A later schema: it adds a column with values, a table and an index, and changes the table of a view.
NEXT = '''
"""The next schema."""

import sqlalchemy as sa
from alembic import op

revision = "{version}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change something of each kind."""
    op.add_column("candles", sa.Column("vwap", sa.Float(), nullable=True, comment="mean price"))
    op.execute("UPDATE candles SET vwap = close")
    op.create_table("extra", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("ix_findings_code", "findings", ["code"])
'''
RELEASED = known_versions()


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a candlecast that has one more schema than this one."""
    folder = tmp_path_factory.mktemp("newer")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    version = f"{int(RELEASED[-1]) + 1:04}"
    path = folder / "storage" / "database" / "migrations" / "versions" / f"{version}_next.py"
    path.write_text(NEXT.format(version=version, before=RELEASED[-1]))
    return folder


OPEN = "import sys; from storage.database.engine import open_database; open_database(sys.argv[1]).dispose()"
READ = """
import sys
from storage.database.engine import open_for_reading
from storage.database.version import schema_version
engine = open_for_reading(sys.argv[1])
with engine.connect() as conn:
    print(schema_version(engine), conn.exec_driver_sql("SELECT count(*) FROM current_candles").scalar())
engine.dispose()
"""
# A program that kills itself at the statement that begins with its second argument, or just before the commit.
DIE = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from storage.database.engine import open_database

@event.listens_for(Engine, "before_cursor_execute")
def at_statement(conn, cursor, statement, *more):
    if " ".join(statement.split()).startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
def at_commit(conn):
    if sys.argv[2] == "COMMIT":
        os.kill(os.getpid(), signal.SIGKILL)

open_database(sys.argv[1])
"""


def run(folder: Path, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(folder)}, cwd=folder, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


def contents(engine: Engine, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table; without `columns`, of all declared columns."""
    with engine.connect() as conn:
        return {
            name: sorted(
                (tuple(row) for row in conn.exec_driver_sql(f"SELECT {', '.join(chosen)} FROM {name}")), key=repr
            )
            for name, chosen in (columns or declared_columns(engine)).items()
        }


def objects(engine: Engine) -> list[tuple[str, ...]]:
    """Return the name and definition of every object in the database."""
    queries = {
        "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'",
        "postgresql": (
            "SELECT 'column', table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default) "
            "FROM information_schema.columns WHERE table_schema = 'public' "
            "UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
            "UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace "
            "UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal "
            "UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public' "
            "UNION ALL SELECT 'comment', c.relname || '.' || d.objsubid, d.description FROM pg_description d "
            "JOIN pg_class c ON c.oid = d.objoid WHERE c.relnamespace = 'public'::regnamespace"
        ),
    }
    with engine.connect() as conn:
        return sorted(tuple(map(str, row)) for row in conn.exec_driver_sql(queries[engine.dialect.name]))


# --- older ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("released", RELEASED)
def test_the_next_release_migrates_every_released_schema_with_its_data(
    database_url: str, newer: Path, store_in: Any, released: str
) -> None:
    """The next release is this code with one more migration."""
    engine = open_database(database_url) if released == RELEASED[-1] else make_engine(database_url)
    if released != RELEASED[-1]:
        upgrade_to(released, engine)
    fill(store_in(engine))
    columns = declared_columns(engine)
    before = contents(engine, columns)
    assert all(before[name] for name in ("candles", "forecasts", "forecast_values", "scores", "promotions"))
    refused = run(newer, READ, database_url)
    assert "candlecast daily or candlecast ingest, which upgrade it" in refused.stderr
    done = run(newer, OPEN, database_url)
    assert (done.returncode, done.stderr) == (0, "")
    after = contents(engine, columns)
    # An upgrade may add a decision about who serves.
    assert set(before["promotions"]) <= set(after["promotions"])
    assert {**after, "promotions": before["promotions"]} == before
    with engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM candles WHERE vwap = close")).scalar() == 3
    # The triggers and the views still work.
    with pytest.raises(Exception, match="append-only"), engine.begin() as conn:
        conn.execute(text("DELETE FROM scores"))
    assert run(newer, READ, database_url).stdout == f"{int(RELEASED[-1]) + 1:04} 1\n"
    # The older code refuses the database now.
    for opened in (open_database, open_for_reading):
        with pytest.raises(DatabaseUnusable, match="upgrade candlecast"):
            opened(database_url)
    assert contents(engine, columns) == after
    engine.dispose()


def test_the_upgrade_keeps_one_row_of_each_repeated_quarantined_row(database_url: str, store_in: Any) -> None:
    engine = make_engine(database_url)
    upgrade_to("0001", engine)
    store_in(engine).add_candle(store_in(engine).origin, 1.0)
    with engine.begin() as conn:
        insert = (
            "INSERT INTO quarantine (download, series, line_number, raw_text, reason, created_at) "
            "SELECT d.id, d.series, {}, '{}', 'x', '2025-01-0{} 00:00:00.000000' FROM downloads d "
            "WHERE d.id = (SELECT min(id) FROM downloads)"
        )
        for line, raw, day in ((3, "a", 1), (4, "a", 2), (5, "b", 3), (6, "a", 4)):
            conn.exec_driver_sql(insert.format(line, raw, day))
    engine.dispose()
    engine = open_database(database_url)
    with engine.connect() as conn:
        rows = conn.execute(
            select(*(quarantine.c[name] for name in ("line_number", "raw_text", "created_at", "last_seen_at")))
        ).all()
    engine.dispose()
    assert sorted((line, raw, first.day, last.day) for line, raw, first, last in rows) == [
        (5, "b", 3, 3),
        (6, "a", 1, 4),
    ]


@pytest.mark.parametrize("released", ["0001", "0002"])
def test_a_stored_version_stays_one_of_its_series_and_naive_serves_where_its_networks_did(
    database_url: str, store_in: Any, released: str
) -> None:
    engine = make_engine(database_url)
    upgrade_to(released, engine)
    fill(store_in(engine))
    engine.dispose()
    engine = open_database(database_url)
    series = "Bitstamp_BTCUSD_d"
    with engine.connect() as conn:
        c = model_versions.c
        rows = conn.execute(select(c.id, c.series, c.interval, c.learnt_from, c.weights).order_by(c.id)).all()
        assert [tuple(row) for row in rows] == [
            (1, series, "d", f'["{series}", "Kraken_ETHEUR_d"]', b"weights"),
            (2, series, "d", "[]", None),
        ]
        serving = champion(conn, series=series)
        assert serving is not None
        assert serving.model_version == 2
        *_, decision = list_decisions(conn, series=series)
        assert (decision.outcome, decision.model_version, decision.previous) == ("rolled_back", 2, 1)
        assert "version 1 (lstm) was trained for this series alone" in decision.reason
        if engine.dialect.name == "sqlite":
            assert conn.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    engine.dispose()


def test_a_download_of_the_outcome_unchanged_is_stored_after_the_upgrade(database_url: str, store_in: Any) -> None:
    engine = make_engine(database_url)
    upgrade_to("0001", engine)
    store = store_in(engine)
    for day in range(3):
        store.add_candle(store.origin + day * DAY, 1.0)
    with engine.begin() as conn:
        conn.execute(text("UPDATE downloads SET outcome = 'unchanged' WHERE id = 2"))
        conn.execute(text("UPDATE downloads SET outcome = 'held', reason = 'x' WHERE id = 3"))
    before = contents(engine, declared_columns(engine))
    engine.dispose()
    engine = open_database(database_url)
    after = contents(engine, declared_columns(engine))
    outcomes = select(downloads.c.id, downloads.c.outcome, downloads.c.reason).order_by(downloads.c.id)
    with engine.connect() as conn:
        assert [tuple(row) for row in conn.execute(outcomes)] == [
            (1, "stored", None),
            (2, "stored", None),
            (3, "held", "x"),
        ]
        if engine.dialect.name == "sqlite":
            assert conn.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert after["candles"] == before["candles"]
    assert len(before["candles"]) == 3
    with pytest.raises(StatementRefused, match="ck_downloads_outcome"), engine.begin() as conn:
        conn.execute(text("UPDATE downloads SET outcome = 'unchanged'"))
    engine.dispose()


POINTS = ["ALTER TABLE candles", "UPDATE candles", "CREATE TABLE extra", "CREATE INDEX ix_findings_code",
          "UPDATE alembic_version", "CREATE VIEW current_candles", "CREATE VIEW model_skill", "COMMIT"]  # fmt: skip


@pytest.mark.slow
def test_a_migration_killed_at_any_point_changes_nothing_and_can_be_repeated(
    database_url: str, newer: Path, store_in: Any
) -> None:
    engine = open_database(database_url)
    fill(store_in(engine))
    before, schema = contents(engine), objects(engine)
    engine.dispose()
    for point in POINTS:
        died = run(newer, DIE, database_url, point)
        assert died.returncode == -signal.SIGKILL, (point, died.stderr)
        engine = open_for_reading(database_url)
        assert contents(engine) == before, point
        assert objects(engine) == schema, point
        engine.dispose()
    assert run(newer, OPEN, database_url).stderr == ""
    assert run(newer, READ, database_url).stdout.endswith(" 1\n")


@pytest.mark.parametrize(
    "point", ["CREATE TABLE series", "CREATE TABLE scores", "CREATE TRIGGER", "INSERT INTO alembic_version",
              "CREATE VIEW", "COMMIT"]
)  # fmt: skip
def test_a_first_start_that_is_killed_leaves_an_empty_database_and_can_be_repeated(
    database_url: str, point: str
) -> None:
    assert run(ROOT, DIE, database_url, point).returncode == -signal.SIGKILL
    engine = make_engine(database_url)
    assert schema_version(engine) is None
    assert objects(engine) == []
    engine.dispose()
    open_database(database_url).dispose()
    open_for_reading(database_url).dispose()


# --- newer schemas and other programs' tables --------------------------------------------------------------------


def stamp(engine: Engine, version: str | None) -> None:
    with engine.begin() as conn:
        conn.execute(text("DELETE FROM alembic_version"))
        if version is not None:
            conn.execute(text("INSERT INTO alembic_version VALUES (:version)"), {"version": version})


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ("0099", "has schema 0099.*; upgrade candlecast"),
        ("9999", "has schema 9999.*; upgrade candlecast"),
        ("ae1027a6acf2", "another program made it: give candlecast a separate database"),
        ("0000", "another program made it: give candlecast a separate database"),
        ("", "another program made it: give candlecast a separate database"),
        ("' OR 1=1 --", "another program made it: give candlecast a separate database"),
        (None, "has no candlecast schema, but holds arrivals, candles, champions, .*name another database"),
    ],
)
def test_a_database_with_an_unknown_version_is_refused_and_unchanged(
    engine: Engine, database_url: str, store_in: Any, version: str | None, remedy: str
) -> None:
    fill(store_in(engine))
    stamp(engine, version)
    before, schema = contents(engine), objects(engine)
    with pytest.raises(DatabaseUnusable, match=remedy):
        open_database(database_url)
    with pytest.raises(DatabaseUnusable, match=remedy if version is not None else "no candlecast tables yet"):
        open_for_reading(database_url)
    assert (contents(engine), objects(engine)) == (before, schema)


# The statement, the message on opening and the message on opening for reading.
OTHERS: dict[str, tuple[str, str, str]] = {
    "a table of our name": (
        "CREATE TABLE series (id INTEGER, title TEXT)",
        "holds series, which another program made",
        "no candlecast tables yet",
    ),
    "a view of our name": (
        "CREATE VIEW champions AS SELECT 1 AS won",
        "holds champions, which another program made",
        "no candlecast tables yet",
    ),
    "another alembic_version": (
        "CREATE TABLE alembic_version (when_ TEXT)",
        "another program made it",
        "another program made it",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_programs_tables_of_our_names_are_refused_and_unchanged(database_url: str, kind: str) -> None:
    statement, message, message_for_readers = OTHERS[kind]
    engine = make_engine(database_url)
    with engine.begin() as conn:
        conn.exec_driver_sql(statement)
    schema = objects(engine)
    with pytest.raises(DatabaseUnusable, match=message):
        open_database(database_url)
    with pytest.raises(DatabaseUnusable, match=message_for_readers):
        open_for_reading(database_url)
    assert objects(engine) == schema
    engine.dispose()


def test_another_programs_tables_of_other_names_are_accepted_and_unchanged(database_url: str) -> None:
    engine = make_engine(database_url)
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE invoices (id INTEGER)")
        conn.exec_driver_sql("INSERT INTO invoices VALUES (7)")
    open_database(database_url).dispose()
    open_for_reading(database_url).dispose()
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT id FROM invoices").scalar() == 7
    engine.dispose()


def write_a_header_only(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\0" * 84)


def write_half_a_database(path: Path) -> None:
    engine = open_database(f"sqlite:///{path}")
    engine.dispose()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


SOMETHING_ELSE, DAMAGED = "the file is something else: name another file", "damaged: restore it from a backup"
# What is written at the path, the message on opening and the message on opening for reading.
FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "text": (lambda path: path.write_text("these are my notes, " * 200), SOMETHING_ELSE, SOMETHING_ELSE),
    "a zip": (lambda path: path.write_bytes(b"PK\3\4" + bytes(4096)), SOMETHING_ELSE, SOMETHING_ELSE),
    "a header only": (write_a_header_only, SOMETHING_ELSE, SOMETHING_ELSE),
    "half a database": (write_half_a_database, DAMAGED, DAMAGED),
    "a folder": (lambda path: path.mkdir(), "check that the folder exists", "there is no database at"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_not_a_sound_database_is_refused_and_unchanged(tmp_path: Path, kind: str) -> None:
    write, message, message_for_readers = FILES[kind]
    path = tmp_path / "x.db"
    write(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(DatabaseUnusable, match=message_for_readers):
        open_for_reading(f"sqlite:///{path}")
    with pytest.raises(DatabaseUnusable, match=message):
        open_database(f"sqlite:///{path}")
    assert (path.read_bytes() if path.is_file() else None) == before


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    with pytest.raises(DatabaseUnusable, match="no candlecast tables yet; run: candlecast daily"):
        open_for_reading(f"sqlite:///{path}")
    open_database(f"sqlite:///{path}").dispose()
    open_for_reading(f"sqlite:///{path}").dispose()


def test_a_backup_with_an_unknown_schema_is_not_restored(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from storage.database.backup import backup, restore
    from storage.errors import BackupRefused

    url = f"sqlite:///{tmp_path / 'candlecast.db'}"
    open_database(url).dispose()
    for version in ("9999", "ae1027a6acf2", "0000"):
        copy = tmp_path / f"{version}.db"
        backup(url, to=copy)
        with closing(sqlite3.connect(copy)) as conn:
            conn.execute("UPDATE alembic_version SET version_num = ?", (version,))
            conn.commit()
        with pytest.raises(BackupRefused, match="upgrade candlecast first"):
            restore(copy, url=url, now=datetime(2026, 1, 2, tzinfo=UTC))
    open_for_reading(url).dispose()


# --- tables.py and the migrations build the same schema -----------------------------------------------------------


def declared(conn: Connection) -> None:
    """Build the schema from tables.py; it declares no triggers, which only the migrations have."""
    from importlib import import_module

    metadata.create_all(conn)
    first = import_module(f"{versions_package}.0001_first_schema")
    for statement in first.append_only_triggers(conn.dialect.name):
        conn.exec_driver_sql(statement.replace("%", "%%") if conn.dialect.name == "postgresql" else statement)
    for name, query in views(conn.dialect.name).items():
        conn.exec_driver_sql(f"CREATE VIEW {name} AS {query}")


def pieces(definition: str) -> list[str]:
    """Return the columns and constraints of a CREATE TABLE, sorted, because their order has no meaning."""
    # A check written beside its column is the same as one on a separate line.
    lines = re.sub(r" (CONSTRAINT ck_\w+ CHECK )", r"\n\1", definition).splitlines()
    return sorted(" ".join(line.split()).rstrip(",") for line in lines)


def test_the_migrations_build_the_schema_that_tables_py_declares(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Tables, columns, types, defaults, comments, keys, checks, indexes, triggers, views: on both databases."""
    for url, other in (
        (f"sqlite:///{tmp_path / 'migrated.db'}", f"sqlite:///{tmp_path / 'declared.db'}"),
        (request.getfixturevalue("postgresql_url"), None),
    ):
        engine = open_database(url)
        # The version and the hashes of the views' texts record the state of a database and are not part of the schema.
        bookkeeping = re.compile("alembic_version|made by candlecast, text")
        migrated = {row[:2]: pieces(row[2]) for row in objects(engine) if not bookkeeping.search(row[1] + row[2])}
        if other is None:
            with engine.begin() as conn:
                conn.exec_driver_sql("DROP SCHEMA public CASCADE")
                conn.exec_driver_sql("CREATE SCHEMA public")
        else:
            engine.dispose()
            engine = make_engine(other)
        with engine.begin() as conn:
            declared(conn)
        declared_objects = {row[:2]: pieces(row[2]) for row in objects(engine)}
        engine.dispose()
        assert migrated.keys() == declared_objects.keys()
        for name, definition in migrated.items():
            assert definition == declared_objects[name], name
        assert len(migrated) > 30


def test_alembic_finds_nothing_to_change(postgresql_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = open_database(postgresql_url)
    with engine.connect() as conn:
        opts = {
            "compare_type": True,
            "compare_server_default": True,
            # PostgreSQL rewrites the expressions of this index; the test above compares it.
            "include_object": lambda _object, name, *_: name != "uq_model_versions_training",
        }
        context = MigrationContext.configure(conn, opts=opts)
        differences = compare_metadata(context, metadata)
        assert set(inspect(conn).get_view_names()) == set(VIEWS)
    engine.dispose()
    assert differences == []
