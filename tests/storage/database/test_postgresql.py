"""PostgreSQL's URLs with options, connections that are silent for hours, and PgBouncer in transaction mode."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pgbouncer_parts import PgBouncer
from sqlalchemy import inspect, text
from stores import Store

from storage.database.engine import make_engine, open_database, open_for_reading, reading
from storage.database.locks import locked
from storage.database.watched import Watched
from storage.errors import DatabaseUnusable
from storage.series import series_names

IN_SCHEMA = "?options=-c%20search_path%3Dmarkets"


def with_schema(url: str) -> str:
    engine = make_engine(url)
    with engine.begin() as conn:
        conn.execute(text("CREATE SCHEMA markets"))
    engine.dispose()
    return url + IN_SCHEMA


def test_the_tables_are_in_the_schema_that_the_url_names(postgresql_url: str) -> None:
    url = with_schema(postgresql_url)
    engine = open_database(url)
    Store(engine)
    assert "forecasts" in inspect(engine).get_table_names("markets")
    assert inspect(engine).get_table_names("public") == []
    with reading(engine) as conn:
        # What candlecast sets is set beside it.
        assert [conn.execute(text(f"SHOW {name}")).scalar() for name in ("timezone", "jit")] == ["UTC", "off"]
    engine.dispose()
    reader = open_for_reading(url)
    with reading(reader) as conn:
        assert series_names(conn) == [Store.series]
    reader.dispose()


def test_the_options_of_the_environment_are_kept(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_schema(postgresql_url)
    monkeypatch.setenv("PGOPTIONS", "-c search_path=markets")
    engine = open_database(postgresql_url)
    assert "forecasts" in inspect(engine).get_table_names("markets")
    engine.dispose()


def test_an_idle_connection_is_kept_alive_unless_the_url_says_otherwise(postgresql_url: str) -> None:
    def idle_s(url: str) -> tuple[int, int]:
        engine = make_engine(url)
        with engine.connect() as conn:
            raw = conn.connection.driver_connection
            assert raw is not None
            with socket.socket(fileno=socket.dup(raw.fileno())) as copy:
                on = copy.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                seconds = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        engine.dispose()
        return on, seconds

    assert idle_s(postgresql_url) == (1, 30)
    assert idle_s(f"{postgresql_url}?keepalives_idle=77") == (1, 77)


@pytest.fixture(params=["", "extra_float_digits, options"], ids=["refuses-options", "ignores-options"])
def pooled_url(postgresql_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a PgBouncer that pools transactions, as its packager or as most guides configure it."""
    with PgBouncer(postgresql_url, ignored=request.param) as pooler:
        yield pooler.url


# Statements that are repeated often enough for the driver to prepare them, in several sessions at once.
REPEAT = """
import sys
from storage.database.engine import open_database, reading
from storage.series import series_names
engine = open_database(sys.argv[1])
for _ in range(30):
    with reading(engine) as conn:
        assert series_names(conn), "no series"
engine.dispose()
"""


def test_pgbouncer_in_transaction_mode_works(pooled_url: str) -> None:
    engine = open_database(pooled_url)
    Store(engine)
    engine.dispose()
    repeated = [
        subprocess.Popen([sys.executable, "-c", REPEAT, pooled_url], stderr=subprocess.PIPE, text=True) for _ in "123"
    ]
    assert [process.communicate(timeout=60)[1] for process in repeated] == ["", "", ""]
    watched = Watched(pooled_url)
    assert watched.state() == watched.state() is not None
    watched.close()


def test_a_lock_is_held_through_pgbouncer(pooled_url: str) -> None:
    first, second = make_engine(pooled_url), make_engine(pooled_url)
    waits: list[bool] = []
    taken = text("SELECT pg_try_advisory_xact_lock(hashtextextended('candlecast day', 0))")
    for _ in range(2):
        with locked(first, "day", waiting=lambda: waits.append(True)):
            for _ in range(5):
                with second.begin() as conn:
                    assert conn.execute(taken).scalar() is False
    assert waits == []
    first.dispose()
    second.dispose()


@pytest.mark.parametrize("ignored", ["", "extra_float_digits, options"])
def test_a_search_path_that_pgbouncer_does_not_pass_on_is_refused(postgresql_url: str, ignored: str) -> None:
    with_schema(postgresql_url)
    refused = pytest.raises(DatabaseUnusable, match="PgBouncer, does not pass on the options.*ALTER ROLE")
    with PgBouncer(postgresql_url, ignored=ignored) as pooler, refused:
        open_database(pooler.url + IN_SCHEMA)
