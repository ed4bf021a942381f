"""A copy to the other kind of database holds the same rows, goes on as the original would, and is whole or absent."""

import math
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, func, insert, inspect, select, text
from stores import Store

from models.candles import Finding, Severity
from models.interface import Progress
from storage import tables
from storage.database.copying import copy_database
from storage.database.engine import make_engine, open_database, open_for_reading, reading
from storage.database.table_hash import TableHash
from storage.database.times import UtcDateTime
from storage.downloads import insert_download, insert_quarantine
from storage.errors import CopyRefused, DatabaseUnusable, StatementRefused
from storage.findings import record_findings
from storage.tables import VIEWS, metadata

DAY = timedelta(days=1)
NOW = Store.now
NUMBERED = [table for table in metadata.sorted_tables if table.autoincrement_column is not None]


def fill(store: Store) -> None:
    """Store rows in every table, as the product does: two revisions, a fine-tuned version, scores of two truths."""
    store.add_series("Coinbase_ETHEUR_1h")
    store.add_candle(store.origin, 1.0, file_time=NOW)
    store.add_candle(store.origin, 2.0, fetched_at=NOW + DAY, volume_base=1e-300, volume_quote=0.1 + 0.2)
    store.add_candle(store.origin + DAY, 3.0, provisional=True)
    scratch = store.add_version("lstm", cutoff=store.origin, weights=bytes(range(256)), seed=2**40)
    version = store.add_version("lstm", cutoff=store.origin, weights=b"\0" * 9, init_from=scratch)
    store.promote(scratch)
    store.promote(version)
    store.add_forecasts(version, [store.origin + n * DAY for n in range(3)], model="lstm")
    store.add_forecasts(store.add_version(), [store.origin])
    store.add_score(4, 1, 0.75)
    store.add_score(1, 1, 0.5)
    store.add_score(1, 1, 0.25, truth_fetched_at=NOW + DAY, crps=1 / 3)
    with store.engine.begin() as conn:
        download = insert_download(conn, series=store.series, url="ü", fetched_at=NOW, outcome="held", reason="why")
        rows = [(7, 'a,"b",\t\\N ☃', "no price"), (8, "\x01\x7f", "no price")]
        insert_quarantine(conn, series=store.series, download=download, rows=rows, seen_at=NOW)
        seen = [Finding("gap", Severity.WARNING, "2 candles\nare missing", "wait", 2, store.origin)]
        record_findings(conn, series=store.series, codes=["gap"], seen=seen, now=NOW, download=download)


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table and view, sorted."""
    engine = open_for_reading(url)
    with reading(engine) as conn:
        queries: dict[str, Any] = {table.name: select(table) for table in metadata.sorted_tables}
        queries |= {view: text(f"SELECT * FROM {view}") for view in VIEWS}
        rows = {
            name: sorted((tuple(map(comparable, row)) for row in conn.execute(query)), key=repr)
            for name, query in queries.items()
        }
    engine.dispose()
    return rows


def comparable(value: Any) -> Any:
    """Return a view's value in one form: SQLite's views return times as text and truth values as numbers."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat(" ")
    if isinstance(value, str) and value[4:5] == value[7:8] == "-" and value[13:14] == ":":
        return value[:19]
    return int(value) if isinstance(value, bool) else value


@pytest.fixture
def urls(tmp_path: Path, postgresql_url: str) -> dict[str, str]:
    return {"sqlite": f"sqlite:///{tmp_path / 'candlecast.db'}", "postgresql": postgresql_url}


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request: pytest.FixtureRequest, urls: dict[str, str]) -> Iterator[tuple[Store, str, str]]:
    """A filled store, its URL, and the URL of an empty database of the other kind."""
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[request.param]
    engine = open_database(urls[request.param])
    store = Store(engine)
    fill(store)
    yield store, urls[request.param], urls[other]
    engine.dispose()


def test_a_copy_holds_the_same_rows_of_every_table_and_view(pair: tuple[Store, str, str]) -> None:
    _, source, target = pair
    copied = copy_database(source, to=target)
    assert contents(target) == contents(source)
    assert all(contents(target).values())
    assert [table.table for table in copied.tables] == [table.name for table in metadata.sorted_tables]
    assert all(table.rows > 0 for table in copied.tables)
    assert not copied.was_there


def test_a_copy_there_and_back_holds_the_rows_of_the_first(urls: dict[str, str], tmp_path: Path) -> None:
    engine = open_database(urls["sqlite"])
    fill(Store(engine))
    engine.dispose()
    there = copy_database(urls["sqlite"], to=urls["postgresql"])
    back = copy_database(urls["postgresql"], to=f"sqlite:///{tmp_path / 'back.db'}")
    assert back.tables == there.tables
    with sqlite3.connect(tmp_path / "candlecast.db") as before, sqlite3.connect(tmp_path / "back.db") as after:
        for table in metadata.sorted_tables:
            query = f"SELECT {', '.join(table.c.keys())} FROM {table.name}"
            assert sorted(map(repr, before.execute(query))) == sorted(map(repr, after.execute(query)))


def test_new_rows_of_a_copy_get_the_numbers_they_would_have_got(pair: tuple[Store, str, str]) -> None:
    store, source, target = pair
    copy_database(source, to=target)
    engine = open_database(target)

    def largest() -> list[int]:
        with engine.connect() as conn:
            return [conn.execute(select(func.max(table.autoincrement_column))).scalar_one() for table in NUMBERED]

    before = largest()
    copy = Store(engine)
    version = copy.add_version("blend")
    assert copy.add_forecasts(version, [store.origin], model="blend") == 1
    copy.promote(version)
    with engine.begin() as conn:
        download = insert_download(conn, series=store.series, url="u", fetched_at=NOW, outcome="stored")
        insert_quarantine(conn, series=store.series, download=download, rows=[(1, "new", "why")], seen_at=NOW)
        seen = [Finding("stale", Severity.ERROR, "old", "wait")]
        record_findings(conn, series=store.series, codes=["stale"], seen=seen, now=NOW, download=download)
    assert largest() == [number + 1 for number in before]
    engine.dispose()


def test_numbers_of_a_copy_without_rows_begin_at_one(urls: dict[str, str]) -> None:
    open_database(urls["sqlite"]).dispose()
    copied = copy_database(urls["sqlite"], to=urls["postgresql"])
    assert {table.rows for table in copied.tables} == {0}
    engine = open_database(urls["postgresql"])
    assert Store(engine).add_version() == 1
    engine.dispose()


@pytest.mark.parametrize("table", ["promotions", "forecasts", "forecast_values", "scores"])
def test_the_records_of_a_copy_cannot_be_changed(pair: tuple[Store, str, str], table: str) -> None:
    _, source, target = pair
    copy_database(source, to=target)
    engine = open_database(target)
    with pytest.raises(StatementRefused, match=f"{table} is append-only"), engine.begin() as conn:
        conn.execute(text(f"DELETE FROM {table}"))
    engine.dispose()


def test_a_completed_copy_that_is_repeated_changes_nothing_and_says_so(pair: tuple[Store, str, str]) -> None:
    store, source, target = pair
    first = copy_database(source, to=target)
    assert copy_database(source, to=target) == first._replace(was_there=True)
    # One more row, and the databases are two installations.
    store.add_version("blend")
    with pytest.raises(CopyRefused, match="holds rows already, and they are not those of .*: name an empty database"):
        copy_database(source, to=target)


class Interruption(BaseException):
    pass


def test_a_copy_that_is_interrupted_leaves_no_row_and_can_be_repeated(pair: tuple[Store, str, str]) -> None:
    _, source, target = pair
    steps: list[str] = []

    def stop_at(limit: int) -> Progress:
        def progress(done: int, total: int, what: str) -> None:
            assert done <= total
            steps.append(what)
            if len(steps) == limit:
                raise Interruption

        return progress

    for limit in (1, 9, 11, 20):
        steps.clear()
        with pytest.raises(Interruption):
            copy_database(source, to=target, progress=stop_at(limit))
        assert not any(rows for name, rows in dump(target).items() if name != "alembic_version")
    steps.clear()
    assert not copy_database(source, to=target, progress=stop_at(21)).was_there
    assert steps == [f"{doing} {table.name}" for doing in ("copying", "checking") for table in metadata.sorted_tables]
    assert contents(target) == contents(source)


# A program that copies, and kills itself at its nth statement or progress report, or before its last commit.
DIE = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from storage.database.copying import copy_database

left = int(sys.argv[3])

def count(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
    event.listen(Engine, moment, count)
copy_database(sys.argv[1], to=sys.argv[2], progress=count)
"""


@pytest.mark.slow
def test_a_copy_killed_anywhere_leaves_no_row_and_can_be_repeated(pair: tuple[Store, str, str]) -> None:
    store, source, target = pair
    # So many values that they are copied in three parts.
    store.add_forecasts(store.add_version("blend"), [store.origin + n * DAY for n in range(80)], model="blend")
    statement, kills = 1, 0
    while True:
        child = subprocess.run([sys.executable, "-c", DIE, source, target, str(statement)], check=False, timeout=120)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
        if target.startswith("postgresql") or (store.engine.dialect.name == "postgresql" and _file(target).exists()):
            assert not any(rows for name, rows in dump(target).items() if name != "alembic_version")
        kills += 1
        statement += 25
    print(f"{kills} kills")
    assert kills >= 5
    assert contents(target) == contents(source)


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def test_rows_added_to_the_source_meanwhile_are_not_left_out_without_a_word(pair: tuple[Store, str, str]) -> None:
    store, source, target = pair

    def add_a_version(done: int, total: int, what: str) -> None:
        if what == "copying series":
            store.add_version("blend")

    with pytest.raises(CopyRefused, match="rows were added to .* while it was copied, so nothing was copied"):
        copy_database(source, to=target, progress=add_a_version)
    assert not any(contents(target).values())
    # The table whose row was added is copied after it, and yet without it: all rows are of one instant.
    copy_database(source, to=target)
    assert contents(target) == contents(source)


def test_readers_of_the_target_see_no_part_of_a_copy(pair: tuple[Store, str, str]) -> None:
    _, source, target = pair
    open_database(target).dispose()
    reader = open_for_reading(target)
    seen = []

    def look(done: int, total: int, what: str) -> None:
        with reading(reader) as conn:
            seen.append(conn.execute(text("SELECT count(*) FROM series")).scalar_one())

    copy_database(source, to=target, progress=look)
    reader.dispose()
    assert seen == [0] * 20


def test_memory_does_not_grow_with_the_number_of_weights(urls: dict[str, str]) -> None:
    import tracemalloc

    engine = open_database(urls["sqlite"])
    store = Store(engine)
    for seed in range(40):
        store.add_version("blend", seed=seed, weights=bytes([seed]) * 500_000)
    engine.dispose()
    tracemalloc.start()
    copy_database(urls["sqlite"], to=urls["postgresql"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The weights are 20 MB.
    assert peak < 14_000_000


def other_table(url: str) -> None:
    _execute(url, "CREATE TABLE theirs (id integer)")


def other_view(url: str) -> None:
    _execute(url, "CREATE VIEW theirs AS SELECT 1 AS one")


def table_beside_ours(url: str) -> None:
    open_database(url).dispose()
    other_table(url)


def older_schema(url: str) -> None:
    open_database(url).dispose()
    _execute(url, "UPDATE alembic_version SET version_num = '0001'")


def newer_schema(url: str) -> None:
    open_database(url).dispose()
    _execute(url, "UPDATE alembic_version SET version_num = '9999'")


def another_installation(url: str) -> None:
    engine = open_database(url)
    Store(engine)
    engine.dispose()


def as_many_rows_of_another_installation(url: str) -> None:
    """The same number of rows in each table, one of them with another value."""
    engine = open_database(url)
    store = Store(engine)
    store.add_series("Coinbase_LTCEUR_1h")
    engine.dispose()


def _execute(url: str, statement: str) -> None:
    engine = make_engine(url)
    with engine.begin() as conn:
        conn.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize(
    ("prepare", "refusal"),
    [
        (other_table, "holds theirs: name an empty database"),
        (other_view, "holds theirs: name an empty database"),
        (table_beside_ours, "holds theirs: name an empty database"),
        (older_schema, "has schema 0001, and the copy would have 0"),
        (newer_schema, "has schema 9999, and the copy would have 0"),
        (another_installation, "holds rows already, and they are not those of"),
        (as_many_rows_of_another_installation, "holds rows already, and they are not those of"),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_that_holds_anything_else_is_refused_and_unchanged(
    urls: dict[str, str], kind: str, prepare: Callable[[str], None], refusal: str
) -> None:
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[kind]
    engine = open_database(urls[other])
    Store(engine).add_series("Coinbase_ETHEUR_1h")
    engine.dispose()
    prepare(urls[kind])
    before = dump(urls[kind])
    with pytest.raises(CopyRefused, match=refusal):
        copy_database(urls[other], to=urls[kind])
    assert dump(urls[kind]) == before


def dump(url: str) -> dict[str, list[Any]]:
    """Return every row of whatever tables and views are there."""
    engine = make_engine(url)
    with engine.connect() as conn:
        present = inspect(conn)
        names = [*present.get_table_names(), *present.get_view_names()]
        rows = {name: list(conn.exec_driver_sql(f"SELECT * FROM {name}")) for name in sorted(names)}
    engine.dispose()
    return rows


def test_an_extensions_view_does_not_count_as_anything_else(urls: dict[str, str]) -> None:
    open_database(urls["sqlite"]).dispose()
    try:
        _execute(urls["postgresql"], "CREATE EXTENSION pg_stat_statements")
    except StatementRefused:
        pytest.skip("this PostgreSQL has no pg_stat_statements")
    copy_database(urls["sqlite"], to=urls["postgresql"])


def test_databases_of_the_same_kind_are_refused_with_the_right_tool(urls: dict[str, str], tmp_path: Path) -> None:
    for url in urls.values():
        open_database(url).dispose()
    other = tmp_path / "other.db"
    with pytest.raises(CopyRefused, match="candlecast backup FILE"):
        copy_database(urls["sqlite"], to=f"sqlite:///{other}")
    assert not other.exists()
    with pytest.raises(CopyRefused, match="pg_dump and pg_restore"):
        copy_database(urls["postgresql"], to=urls["postgresql"])
    with pytest.raises(CopyRefused, match="a database in memory"):
        copy_database(urls["postgresql"], to="sqlite://")


def test_a_source_that_is_absent_or_of_another_schema_is_refused_and_no_target_made(
    urls: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    with pytest.raises(DatabaseUnusable, match="no database at"):
        copy_database(urls["sqlite"], to=urls["postgresql"])
    older_schema(urls["postgresql"])
    with pytest.raises(DatabaseUnusable, match="has schema 0001, this candlecast works with"):
        copy_database(urls["postgresql"], to=f"sqlite:///{target}")
    assert not target.exists()
    _execute(urls["postgresql"], "DROP TABLE alembic_version")
    with pytest.raises(DatabaseUnusable, match="no candlecast tables"):
        copy_database(urls["postgresql"], to=f"sqlite:///{target}")
    assert not target.exists()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
# Instants of every year, to the microsecond; doubles of every kind but NaN, which SQLite has not.
INSTANTS = st.datetimes(timezones=st.just(UTC))
SECONDS = INSTANTS.map(lambda moment: moment.replace(microsecond=0))
DOUBLES = st.floats(allow_nan=False)


def values_of(table: Table, **given: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Rows of `table` with odd values in every column whose value is not given."""

    def values(column: Any) -> st.SearchStrategy[Any]:
        kind = column.type
        if isinstance(kind, UtcDateTime):
            odd: st.SearchStrategy[Any] = INSTANTS if kind.precise else SECONDS
        else:
            odd = {
                "Boolean": st.booleans(),
                "Float": DOUBLES,
                "LargeBinary": st.binary(max_size=300),
                "BigInteger": st.integers(-(2**63), 2**63 - 1),
                "Integer": st.integers(-(2**31), 2**31 - 1),
                "Text": TEXTS,
            }[type(kind).__name__]
        return st.none() | odd if column.nullable else odd

    return st.fixed_dictionaries(
        {c.name: st.just(given[c.name]) if c.name in given else values(c) for c in table.c if c.name != "id"}
    )


SERIES = "Bitstamp_BTCUSD_d"
ODD_ROWS = {
    "series": values_of(tables.series, name=SERIES),
    "downloads": values_of(tables.downloads, series=SERIES, outcome="stored"),
    "candles": values_of(tables.candles, series=SERIES, download=1),
    "quarantine": values_of(tables.quarantine, series=SERIES, download=1),
    "findings": values_of(tables.findings, series=SERIES, download=1),
    "model_versions": values_of(tables.model_versions, series=SERIES, purpose="live", init_from=None),
    "promotions": values_of(tables.promotions, series=SERIES, model_version=1, outcome="kept", previous=None),
    "forecasts": values_of(tables.forecasts, series=SERIES, model_version=1, kind="live"),
    "forecast_values": values_of(tables.forecast_values, forecast=1),
    "scores": values_of(tables.scores, forecast=1),
}
KEYS = {
    "series": ("name",),
    "candles": ("open_time", "fetched_at"),
    "quarantine": ("raw_text",),
    "model_versions": ("config_sha256", "seed", "model", "cutoff"),
    "forecasts": ("model", "origin"),
    "forecast_values": ("step", "quantile"),
    "scores": ("step", "truth_fetched_at"),
}


def odd_tables() -> st.SearchStrategy[dict[str, list[dict[str, Any]]]]:
    def rows(name: str) -> st.SearchStrategy[list[dict[str, Any]]]:
        keys = KEYS.get(name)
        unique = None if keys is None else lambda row: tuple(row[key] for key in keys)
        return st.lists(ODD_ROWS[name], min_size=1, max_size=8, unique_by=unique)

    return st.fixed_dictionaries({name: rows(name) for name in ODD_ROWS})


@pytest.fixture
def empty_copies(tmp_path: Path, postgresql_url: str) -> Iterator[Callable[[], dict[str, str]]]:
    """Makes databases with our empty tables, one of each kind and a second SQLite file; the next call makes others."""
    import psycopg

    open_database(f"sqlite:///{tmp_path / 'template.db'}").dispose()
    open_database(postgresql_url).dispose()
    address, template = postgresql_url.rsplit("/", 1)
    admin = psycopg.connect(address.replace("+psycopg", "") + "/postgres", autocommit=True)

    def make() -> dict[str, str]:
        for name in ("first.db", "second.db"):
            for file in tmp_path.glob(f"{name}*"):
                file.unlink()
            shutil.copy(tmp_path / "template.db", tmp_path / name)
        admin.execute('DROP DATABASE IF EXISTS "odd_copy" WITH (FORCE)')
        admin.execute(f'CREATE DATABASE "odd_copy" TEMPLATE "{template}"')
        return {
            "first": f"sqlite:///{tmp_path / 'first.db'}",
            "postgresql": f"{address}/odd_copy",
            "second": f"sqlite:///{tmp_path / 'second.db'}",
        }

    yield make
    admin.execute('DROP DATABASE IF EXISTS "odd_copy" WITH (FORCE)')
    admin.close()


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(rows=odd_tables())
def test_odd_values_survive_the_way_there_and_back(
    empty_copies: Callable[[], dict[str, str]], rows: dict[str, list[dict[str, Any]]]
) -> None:
    assert set(rows) == set(metadata.tables)
    url = empty_copies()
    engine = open_database(url["first"])
    with engine.begin() as conn:
        for table in metadata.sorted_tables:
            conn.execute(insert(table), rows[table.name])
    engine.dispose()
    there = copy_database(url["first"], to=url["postgresql"])
    back = copy_database(url["postgresql"], to=url["second"])
    assert back.tables == there.tables
    assert [table.rows for table in there.tables] == [len(rows[table.name]) for table in metadata.sorted_tables]
    for table in metadata.sorted_tables:
        first, second = (
            sorted(map(repr, raw_rows(url[name], table))) for name in ("first", "second")
        )  # fmt: skip
        assert first == second


def raw_rows(url: str, table: Table) -> list[tuple[Any, ...]]:
    """Return what the driver returns, which no type of ours has touched."""
    engine = open_for_reading(url)
    with reading(engine) as conn:
        rows = list(conn.exec_driver_sql(f"SELECT {', '.join(table.c.keys())} FROM {table.name}"))
    engine.dispose()
    return [tuple(row) for row in rows]


@pytest.fixture
def on_postgresql(urls: dict[str, str]) -> Iterator[tuple[Store, dict[str, str]]]:
    engine = open_database(urls["postgresql"])
    yield Store(engine), urls
    engine.dispose()


def test_what_sqlite_cannot_tell_apart_counts_as_equal(on_postgresql: tuple[Store, dict[str, str]]) -> None:
    store, urls = on_postgresql
    store.add_candle(store.origin, -0.0, volume_base=math.nan, volume_quote=math.inf)
    copied = copy_database(urls["postgresql"], to=urls["sqlite"])
    (row,) = contents(urls["sqlite"])["candles"]
    assert row[4:10] == (0.0, 0.0, 0.0, 0.0, None, math.inf)
    assert copy_database(urls["postgresql"], to=urls["sqlite"]) == copied._replace(was_there=True)


def test_a_row_that_the_other_database_cannot_hold_is_named_and_nothing_is_copied(
    on_postgresql: tuple[Store, dict[str, str]],
) -> None:
    store, urls = on_postgresql
    store.add_candle(store.origin, math.nan)
    refusal = "a row of candles does not fit into .*, so nothing was copied: NOT NULL constraint failed: candles.open"
    with pytest.raises(CopyRefused, match=refusal):
        copy_database(urls["postgresql"], to=urls["sqlite"])
    assert not any(contents(urls["sqlite"]).values())


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE series SET created_at = 'yesterday'", "series in .* has a value of another kind than its column"),
        ("UPDATE candles SET close = 'high'", "candles in .* has a value of another kind than its column"),
        ("UPDATE candles SET trades = 'many'", "a row of candles does not fit into .*: invalid input syntax"),
        ("UPDATE downloads SET http_status = 3000000000", "a row of downloads does not fit into .* out of range"),
        ("UPDATE downloads SET reason = 'a' || char(0)", "a row of downloads does not fit into .* NUL"),
        ("UPDATE downloads SET reason = CAST(x'ff' AS TEXT)", "decode"),
    ],
)
def test_what_only_sqlite_would_store_is_named_and_nothing_is_copied(
    urls: dict[str, str], statement: str, refusal: str
) -> None:
    engine = open_database(urls["sqlite"])
    Store(engine).add_candle(Store.origin, 1.0)
    engine.dispose()
    _execute(urls["sqlite"], statement)
    with pytest.raises((CopyRefused, DatabaseUnusable), match=refusal):
        copy_database(urls["sqlite"], to=urls["postgresql"])
    assert not any(contents(urls["postgresql"]).values())


def test_the_hash_of_a_table_depends_on_every_row_and_not_on_their_order() -> None:
    def of(*rows: tuple[Any, ...]) -> str:
        hashed = TableHash(tables.forecast_values)
        hashed.add(list(zip(*rows, strict=True)))
        return hashed.hexdigest()

    first, second = (1, 1, 0.5, NOW, 100.0), (1, 2, 0.5, NOW, 100.0)
    assert of(first, second) == of(second, first)
    others = [(2, 1, 0.5, NOW, 100.0), (1, 1, 0.1, NOW, 100.0), (1, 1, 0.5, NOW + DAY, 100.0)]
    others.append((1, 1, 0.5, NOW, math.nextafter(100.0, 101)))
    assert len({of(first), of(second), of(first, second), of(first, first), *map(of, others)}) == 8
    assert of((1, 1, 0.5, NOW, -0.0)) == of((1, 1, 0.5, NOW, 0.0))
    assert of((1, 1, 0.5, NOW.astimezone(timezone(timedelta(hours=5))), 100.0)) == of(first)
