"""The views that users query: their columns, the rows they leave out, and the indexes they use."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.forecasts import Kind
from storage.forecasts import read_bands
from storage.query import ForecastFilter
from storage.tables import VIEWS, metadata

DAY = timedelta(days=1)

CONTRACT = {
    "current_candles": "series open_time close_time open high low close volume_base volume_quote trades fetched_at",
    "forecast_bands": "forecast_id series model kind origin created_at step target_time before_close "
    "q025 q05 q10 q25 q50 q75 q90 q95 q975",
    "latest_forecasts": "forecast_id series model kind origin created_at step target_time before_close "
    "q025 q05 q10 q25 q50 q75 q90 q95 q975",
    "model_skill": "series model kind step n mae crps coverage50 coverage80 coverage95 naive_mae naive_crps",
    "arrivals": "series close_time published_at seen_at",
    "champions": "series model_version model since",
    "current_scores": "series model kind forecast_kind origin model_version forecast step truth_fetched_at actual "
    "absolute_error crps covered50 covered80 covered95 pit scored_at",
}


@pytest.mark.parametrize("view", CONTRACT)
def test_a_view_has_its_documented_columns(engine: Engine, view: str) -> None:
    with engine.connect() as conn:
        assert list(conn.execute(text(f"SELECT * FROM {view}")).keys()) == CONTRACT[view].split()


def test_every_column_has_a_comment_in_the_code_and_in_postgresql(postgresql_engine: Engine) -> None:
    without_comment = [
        f"{table.name}.{column.name}"
        for table in metadata.tables.values()
        for column in table.columns
        if not column.comment
    ]
    assert without_comment == []
    with postgresql_engine.connect() as conn:
        comments = dict(
            conn.execute(
                text(
                    "SELECT c.relname || '.' || a.attname, col_description(c.oid, a.attnum) FROM pg_class c "
                    "JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.relkind = 'r' AND a.attnum > 0 "
                    "AND c.relnamespace = 'public'::regnamespace"
                )
            ).all()
        )
    for table in metadata.tables.values():
        for column in table.columns:
            assert comments[f"{table.name}.{column.name}"] == column.comment


def current(engine: Engine) -> list[tuple[str, float]]:
    with engine.connect() as conn:
        query = "SELECT CAST(open_time AS TEXT), close FROM current_candles ORDER BY open_time"
        return [(opened[:10], close) for opened, close in conn.execute(text(query))]


def test_current_candles_are_the_newest_closed_revisions(store: Any, engine: Engine) -> None:
    store.add_candle(store.origin, 1.0)
    store.add_candle(store.origin, 2.0, fetched_at=store.now + DAY)
    store.add_candle(store.origin + DAY, 3.0)
    store.add_candle(store.origin + 2 * DAY, 4.0, provisional=True)
    assert current(engine) == [("2020-01-10", 2.0), ("2020-01-11", 3.0)]
    store.add_candle(store.origin + 2 * DAY, 5.0, fetched_at=store.now + DAY)
    store.add_candle(store.origin + DAY, 9.0, fetched_at=store.now + 2 * DAY, provisional=True)
    assert current(engine) == [("2020-01-10", 2.0), ("2020-01-11", 3.0), ("2020-01-12", 5.0)]


def test_a_dashboard_can_filter_by_day_as_text(store: Any, engine: Engine) -> None:
    store.add_forecasts(store.add_version(), [store.origin + n * DAY for n in range(3)])
    query = "SELECT count(*) FROM forecast_bands WHERE series = '{}' AND origin = '2020-01-11 00:00:00' AND step = 1"
    with engine.connect() as conn:
        assert conn.execute(text(query.format(store.series))).scalar() == 1


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM latest_forecasts WHERE series = 'x'",
        "SELECT * FROM forecast_bands WHERE forecast_id = 1",
        "SELECT * FROM forecast_bands WHERE series = 'x' AND origin >= '2020-01-01' AND origin < '2021-01-01'",
        "SELECT * FROM forecast_bands WHERE series = 'x' AND model = 'lstm' AND kind = 'live'",
        "SELECT * FROM current_candles WHERE series = 'x' AND open_time > '2020-01-01'",
        "SELECT * FROM forecast_bands WHERE series = 'x' AND before_close",
        "SELECT * FROM model_skill WHERE series = 'x'",
    ],
)
def test_a_query_for_one_series_scans_no_table(store: Any, engine: Engine, query: str) -> None:
    if engine.dialect.name == "sqlite":
        with engine.connect() as conn:
            plan = [row.detail for row in conn.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
        assert [step for step in plan if step.startswith("SCAN") and step.split()[1] not in VIEWS] == []
    else:
        with engine.connect() as conn:
            # The planner always scans tables as small as these. With scans off, the plan shows whether an index fits.
            conn.execute(text("SET enable_seqscan = off"))
            plan = [row[0] for row in conn.execute(text(f"EXPLAIN {query}"))]
        assert [step for step in plan if "Seq Scan" in step] == []


@pytest.mark.parametrize(
    ("series", "length"),
    [("Bitstamp_BTCUSD_d", DAY), ("Bitstamp_BTCUSD_1h", DAY / 24), ("Gemini_BTCUSD_minute", DAY / 1440)],
)
@pytest.mark.parametrize("kind", list(Kind))
def test_before_close_is_false_from_the_instant_of_the_close(
    store: Any, engine: Engine, series: str, length: timedelta, kind: Kind
) -> None:
    store.add_series(series)
    version, tick = store.add_version(series=series), timedelta(microseconds=1)
    # Forecasts are stored just before the second candle closes, at its close, and at the seventh candle's close. Many
    # zones change to summer time between these instants, which must not matter.
    first = datetime(2020, 3, 28, 22, tzinfo=UTC)
    origins = [first + n * 50 * length for n in range(3)]
    for origin, created_at in zip(origins, (2 * length - tick, 2 * length, 7 * length), strict=True):
        store.add_forecasts(version, [origin], series=series, kind=kind, created_at=origin + created_at)
    with engine.connect() as conn:
        if engine.dialect.name == "postgresql":
            conn.execute(text("SET TIME ZONE 'Europe/Berlin'"))
        rows = read_bands(conn, ForecastFilter(series))
    steps = {origin: [row.step for row in rows if row.origin == origin and row.before_close] for origin in origins}
    assert steps == {origins[0]: [2, 3, 4, 5, 6, 7], origins[1]: [3, 4, 5, 6, 7], origins[2]: []}
    assert {type(row.before_close) for row in rows} == {bool}


def test_a_value_without_its_forecast_is_refused(store: Any, engine: Engine) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"), engine.begin() as conn:
        conn.execute(text("INSERT INTO forecast_values VALUES (77, 1, 0.5, '2020-01-01 00:00:00', 1.0)"))
