"""Arrivals of candles: the first closed revision counts, and a file's time counts only if it is possible."""

from datetime import timedelta
from typing import Any

from engines import collected_statements
from sqlalchemy import Engine, column, select, table

from storage.arrivals import newest_arrival, newest_arrivals, read_arrivals, read_usual_time
from storage.database.times import UtcDateTime
from storage.tables import candles, downloads

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


def test_a_candle_arrives_with_the_first_download_that_has_it_closed(store: Any, engine: Engine) -> None:
    close = store.origin + DAY
    store.add_candle(store.origin, 1.0, fetched_at=close - 10 * MINUTE, provisional=True, file_time=close - HOUR)
    store.add_candle(store.origin, 2.0, fetched_at=close + 2 * HOUR, file_time=close + HOUR)
    store.add_candle(store.origin, 3.0, fetched_at=close + 9 * HOUR, file_time=close + 8 * HOUR)
    with engine.connect() as conn:
        (row,) = read_arrivals(conn)
        assert row == (store.series, close, close + HOUR, close + 2 * HOUR)
        newest = newest_arrival(conn, series=store.series)
    assert newest is not None
    assert (newest.close_time, newest.delay) == (close, HOUR)


def test_an_impossible_time_of_a_file_counts_as_unknown(store: Any, engine: Engine) -> None:
    close = store.origin + DAY
    for day, file_time in enumerate((close + 3 * HOUR, close + DAY - MINUTE, None)):
        # A time in the future, a time before the close, and no time.
        store.add_candle(store.origin + day * DAY, 1.0, fetched_at=close + day * DAY + 2 * HOUR, file_time=file_time)
    with engine.connect() as conn:
        assert [row.published_at for row in read_arrivals(conn)] == [None] * 3


def test_a_time_of_a_file_at_the_very_close_or_of_the_very_fetch_is_possible(store: Any, engine: Engine) -> None:
    at_close, at_fetch = store.origin + DAY, store.origin + 2 * DAY + HOUR
    store.add_candle(store.origin, 1.0, fetched_at=at_close + HOUR, file_time=at_close)
    store.add_candle(store.origin + DAY, 1.0, fetched_at=at_fetch, file_time=at_fetch)
    view = select(table("arrivals", column("published_at", downloads.c.file_time.type), column("close_time")))
    with engine.connect() as conn:
        assert [row.published_at for row in read_arrivals(conn)] == [at_close, at_fetch]
        assert [row.published_at for row in conn.execute(view.order_by("close_time"))] == [at_close, at_fetch]


def test_the_arrivals_view_equals_read_arrivals(store: Any, engine: Engine) -> None:
    other = "Bitstamp_ETHUSD_d"
    store.add_series(other)
    for series in (store.series, other):
        for day in range(5):
            opened, close = store.origin + day * DAY, store.origin + (day + 1) * DAY
            store.add_candle(opened, 0.5, series=series, fetched_at=close - HOUR, provisional=True)
            store.add_candle(opened, 1.0, series=series, fetched_at=close + HOUR, file_time=close + MINUTE)
            store.add_candle(opened, 2.0, series=series, fetched_at=close + 2 * HOUR)
    shape = table(
        "arrivals",
        candles.c.series._copy(),
        column("close_time", UtcDateTime()),
        column("published_at", downloads.c.file_time.type),
        column("seen_at", candles.c.fetched_at.type),
    )
    with engine.connect() as conn:
        view = [tuple(row) for row in conn.execute(select(shape).order_by(shape.c.series, shape.c.close_time))]
        assert [tuple(row) for row in read_arrivals(conn)] == view
        assert len(view) == 10
        bounded = read_arrivals(conn, series=other, start=store.origin + 2 * DAY, end=store.origin + 3 * DAY)
        assert [tuple(row) for row in bounded] == view[6:8]
        assert [tuple(row) for row in read_arrivals(conn, after=view[6][:2], limit=2)] == view[7:9]
        assert [tuple(row) for row in read_arrivals(conn, start=store.origin + 5 * DAY)] == [view[4], view[9]]


def test_the_usual_time_is_computed_from_days_that_came_one_by_one(store: Any, engine: Engine) -> None:
    loaded = store.origin + 5 * DAY
    for day in range(4):
        store.add_candle(store.origin + day * DAY, 1.0, fetched_at=loaded, file_time=loaded)
    for day in range(4, 24):
        close = store.origin + (day + 1) * DAY
        published = close + timedelta(hours=2, minutes=day)
        store.add_candle(close - DAY, 1.0, fetched_at=published + 3 * MINUTE, file_time=published)
    with engine.connect() as conn:
        usual = read_usual_time(conn, series=store.series)
        assert read_usual_time(conn, series="Bitstamp_ETHUSD_d") is None
    assert usual is not None
    assert usual.n == 20
    assert timedelta(hours=2, minutes=4) < usual.earliest < usual.median < usual.latest < timedelta(hours=2, minutes=23)


def test_the_newest_arrival_is_found_without_a_table_scan(store: Any, engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as conn:
        with collected_statements(engine) as statements:
            newest_arrival(conn, series=store.series)
        statement, parameters = statements[-1]
        plan = [row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert plan
    assert [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step] == []


def test_the_newest_arrivals_of_several_series_are_those_of_each_alone(store: Any, engine: Engine) -> None:
    others = ("Bitstamp_ETHUSD_d", "Bitstamp_LTCUSD_d", "Bitstamp_XRPUSD_d")
    for days, name in enumerate((store.series, *others)):
        store.add_series(name)
        for day in range(days):
            close = store.origin + (day + 1) * DAY
            # The newest is open at first, and is revised later.
            store.add_candle(close - DAY, 1.0, series=name, fetched_at=close - HOUR, provisional=True)
            store.add_candle(close - DAY, 2.0, series=name, fetched_at=close + HOUR, file_time=close + MINUTE)
            store.add_candle(close - DAY, 3.0, series=name, fetched_at=close + 2 * HOUR)
        store.add_candle(store.origin + days * DAY, 1.0, series=name, provisional=True)
    with engine.connect() as conn:
        newest = newest_arrivals(conn, series=others)
        assert newest == {name: newest_arrival(conn, series=name) for name in others}
        assert newest_arrivals(conn, series=[store.series]) == {}
    assert [arrival.close_time for arrival in newest.values()] == [store.origin + days * DAY for days in (1, 2, 3)]
    assert {arrival.delay for arrival in newest.values()} == {MINUTE}


def test_an_empty_series_has_no_arrivals(store: Any, engine: Engine) -> None:
    with engine.connect() as conn:
        assert newest_arrival(conn, series=store.series) is None
        assert read_usual_time(conn, series=store.series) is None
        assert read_arrivals(conn, series=store.series) == []
