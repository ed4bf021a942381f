import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from users import ordinary_user

from models.candles import SeriesName
from storage.database.engine import make_engine, open_database, open_for_reading
from storage.database.version import head_version, schema_version
from storage.errors import DatabaseUnusable, StatementRefused
from storage.series import ensure_series, series_names
from storage.tables import VIEWS, metadata

NOW = datetime(2020, 1, 1, 0, 20, tzinfo=UTC)


def test_an_empty_database_gets_every_table_and_view(engine: Engine) -> None:
    schema = inspect(engine)
    assert set(schema.get_table_names()) == {*metadata.tables, "alembic_version"}
    assert set(schema.get_view_names()) == set(VIEWS)
    assert schema_version(engine) == head_version()


def test_the_migrations_build_the_columns_that_tables_py_declares(engine: Engine) -> None:
    schema = inspect(engine)
    for name, table in metadata.tables.items():
        declared = {column.name: column.nullable for column in table.columns}
        assert {column["name"]: column["nullable"] for column in schema.get_columns(name)} == declared, name
        declared_key = [column.name for column in table.primary_key.columns]
        assert schema.get_pk_constraint(name)["constrained_columns"] == declared_key, name


def test_opening_twice_changes_nothing(engine: Engine, database_url: str) -> None:
    with engine.begin() as conn:
        ensure_series(conn, name=SeriesName.parse("Bitstamp_BTCUSD_d"), now=NOW)
    again = open_database(database_url)
    with again.connect() as conn:
        assert series_names(conn) == ["Bitstamp_BTCUSD_d"]
    again.dispose()


def test_a_reader_cannot_write(engine: Engine, database_url: str) -> None:
    reader = open_for_reading(database_url)
    with pytest.raises(Exception, match="read.?only"), reader.begin() as conn:
        ensure_series(conn, name=SeriesName.parse("Bitstamp_BTCUSD_d"), now=NOW)
    reader.dispose()


def test_reading_a_missing_database_fails_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="no database at .* run: candlecast daily"):
        open_for_reading(f"sqlite:///{tmp_path / 'none.db'}")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="folder .*/no/where.* does not exist"):
        open_database(f"sqlite:///{tmp_path}/no/where/x.db")


def test_a_file_that_is_not_a_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, " * 200)
    for opened in (open_database, open_for_reading):
        with pytest.raises(DatabaseUnusable, match="not a database"):
            opened(f"sqlite:///{path}")
    assert path.read_text() == "these are my notes, " * 200


def test_the_error_for_a_server_that_does_not_answer_shows_no_password() -> None:
    with pytest.raises(DatabaseUnusable, match="is the server running") as caught:
        open_database("postgresql+psycopg://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "the database URL cannot be read"),
        ("mysql://x/y", "got a URL of 'mysql'"),
        ("oracle+what://x", "got a URL of 'oracle'"),
    ],
)
def test_an_unsupported_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(DatabaseUnusable, match=message):
        open_database(url)


def test_a_read_only_file_is_refused_for_writing_and_can_be_read(open_folder: Path) -> None:
    url = f"sqlite:///{open_folder / 'x.db'}"
    open_database(url).dispose()
    (open_folder / "x.db").chmod(0o444)
    with ordinary_user():
        with pytest.raises(DatabaseUnusable, match=r"x\.db is read-only; make it and its folder writable"):
            open_database(url)
        reader = open_for_reading(url)
        with reader.connect() as conn:
            assert series_names(conn) == []
        reader.dispose()


def test_a_read_only_folder_is_named_in_the_error_and_stays_empty(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with ordinary_user(), pytest.raises(DatabaseUnusable, match="check that the folder exists and this user may"):
        open_database(f"sqlite:///{open_folder / 'x.db'}")
    assert list(open_folder.iterdir()) == []


def test_the_error_for_a_damaged_file_says_to_restore_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    engine = open_database(f"sqlite:///{path}")
    with engine.begin() as conn:
        for number in range(2000):
            ensure_series(conn, name=SeriesName.parse(f"Bitstamp_BTC{number:04}USD_d"), now=NOW)
    engine.dispose()
    # The first pages hold the schema, the last pages hold rows.
    with path.open("r+b") as file:
        file.seek(-20 * 4096, os.SEEK_END)
        file.write(b"\xde\xad" * 10 * 4096)
    reader = open_for_reading(f"sqlite:///{path}")
    with reader.connect() as conn, pytest.raises(DatabaseUnusable, match="malformed; the file is damaged: restore it"):
        conn.execute(text("SELECT * FROM series")).all()
    reader.dispose()


def test_writing_to_a_locked_database_fails_and_reading_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.database.engine.BUSY_TIMEOUT_S", 0.2)
    url = f"sqlite:///{tmp_path / 'x.db'}"
    engine = open_database(url)
    with closing(sqlite3.connect(tmp_path / "x.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnusable, match="locked; another process"), engine.begin():
            pytest.fail("the transaction began in spite of the lock")
        reader = open_for_reading(url)
        with reader.connect() as conn:
            assert series_names(conn) == []
        reader.dispose()
    engine.dispose()


def test_a_full_disk_is_named_in_the_error_and_leaves_no_partial_write(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'x.db'}")

    def fill() -> None:
        with engine.begin() as conn:
            conn.execute(text("PRAGMA max_page_count = 1"))  # SQLite then fails as on a full disk
            for number in range(5000):
                ensure_series(conn, name=SeriesName.parse(f"Bitstamp_BTC{number:04}USD_d"), now=NOW)

    with pytest.raises(DatabaseUnusable, match="full; free some space"):
        fill()
    with engine.connect() as conn:
        assert series_names(conn) == []
    engine.dispose()


def test_the_error_for_a_user_without_rights_names_the_missing_right(postgresql_url: str) -> None:
    admin = make_engine(postgresql_url)
    with admin.begin() as conn:
        conn.execute(text("DROP ROLE IF EXISTS guest"))
        conn.execute(text("CREATE ROLE guest LOGIN"))
    admin.dispose()
    with pytest.raises(DatabaseUnusable, match="permission denied.*let this user create"):
        open_database(postgresql_url.replace("//candlecast@", "//guest@"))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO series (name) VALUES (:secret)",
        "INSERT INTO model_versions (series, model) VALUES (:secret, 'naive')",
        "SELECT hunter2 FROM series WHERE name = :secret",
        "SELEC :secret",
        "SELECT :secret / 0 FROM nowhere",
    ],
)
def test_the_error_for_a_refused_statement_shows_neither_sql_nor_values(engine: Engine, statement: str) -> None:
    # SQLite's driver raises the same error class for a mistake in a statement as for a locked file.
    with pytest.raises((StatementRefused, DatabaseUnusable)) as caught, engine.begin() as conn:
        conn.execute(text(statement), {"secret": "s3cret-value"})
    assert "s3cret-value" not in str(caught.value)
    assert not re.search(r"INSERT INTO|SELECT|VALUES", str(caught.value))


def test_the_error_for_a_violated_constraint_asks_to_report_it(engine: Engine) -> None:
    with pytest.raises(StatementRefused, match="(?i)refused a statement: .*null.*report it"), engine.begin() as conn:
        conn.execute(text("INSERT INTO series (name) VALUES ('x')"))


def test_a_newer_database_is_refused_with_the_remedy(engine: Engine, database_url: str) -> None:
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opened in (open_database, open_for_reading):
        with pytest.raises(DatabaseUnusable, match="schema 9999.*upgrade candlecast"):
            opened(database_url)


def test_sqlite_files_are_in_wal_mode_and_enforce_foreign_keys(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.connect() as conn:
        assert conn.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert conn.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert conn.execute(text("PRAGMA busy_timeout")).scalar() == 30_000
    engine.dispose()
    with closing(sqlite3.connect(tmp_path / "x.db")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# Programs that the tests below run in separate processes, as flows and commands run.
MIGRATE = """
import sys
from storage.database.engine import open_database
open_database(sys.argv[1]).dispose()
"""
WRITE = """
import sys
from models.candles import SeriesName
from storage.database.engine import open_database
from storage.series import ensure_series
engine = open_database(sys.argv[1])
for number in range(25):
    with engine.begin() as conn:
        ensure_series(conn, name=SeriesName.parse(f"Bitstamp_BTC{sys.argv[2]}{number:02}USD_d"))
engine.dispose()
"""


def run_all(code: str, arguments: list[list[str]]) -> list[str]:
    """Run `code` once for each list of arguments, all at the same time; returns what each wrote to stderr."""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True) for words in arguments
    ]
    return [process.communicate(timeout=120)[1] for process in processes]


def test_several_processes_may_migrate_at_once(database_url: str) -> None:
    assert run_all(MIGRATE, [[database_url]] * 3) == [""] * 3
    engine = open_for_reading(database_url)
    assert schema_version(engine) == head_version()
    engine.dispose()


def test_eight_writers_lose_nothing(database_url: str) -> None:
    open_database(database_url).dispose()
    assert run_all(WRITE, [[database_url, f"{worker:02}"] for worker in range(8)]) == [""] * 8
    engine = open_for_reading(database_url)
    with engine.connect() as conn:
        assert len(series_names(conn)) == 8 * 25
    engine.dispose()


READERS = ("series", "forecasts", "scores", "registry", "decisions", "findings")
HEAVY = ("alembic", "numpy", "pandas", "pyarrow", "sqlalchemy.orm", "prefect", "tensorflow", "sklearn", "requests")


def test_reading_modules_import_no_heavy_package() -> None:
    readers = f"from storage.database import engine; from storage import {', '.join(READERS)}"
    code = f"import sys; {readers}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
