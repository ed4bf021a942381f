import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from models.forecasts import BAND_LEVELS, QUANTILE_LEVELS, Kind, ScoreKind
from storage.database.engine import open_database
from storage.errors import NotFound
from storage.forecasts import (
    OriginRow,
    insert_forecasts,
    load_forecast,
    missing_origins,
    read_bands,
    read_origins,
    read_quantiles,
    read_step_quantiles,
)
from storage.query import ForecastFilter
from storage.tables import forecast_values, forecasts

DAY = timedelta(days=1)


def counts(engine: Engine) -> tuple[int, int]:
    with engine.connect() as conn:
        return (
            conn.execute(select(func.count()).select_from(forecasts)).scalar_one(),
            conn.execute(select(func.count()).select_from(forecast_values)).scalar_one(),
        )


def test_a_forecast_is_read_as_it_was_stored(store: Any, engine: Engine) -> None:
    version = store.add_version()
    assert store.add_forecasts(version, [store.origin, store.origin + DAY], created_at=store.now) == 2
    with engine.connect() as conn:
        stored = load_forecast(conn, forecast=2)
    assert stored.forecast == store.forecast(store.origin + DAY)
    assert (stored.series, stored.model, stored.model_version, stored.kind) == (
        store.series, "naive", version, Kind.LIVE,
    )  # fmt: skip
    assert (stored.created_at, stored.flow_run) == (store.now, None)


def test_storing_twice_equals_once(store: Any, engine: Engine) -> None:
    version = store.add_version()
    origins = [store.origin + n * DAY for n in range(3)]
    assert store.add_forecasts(version, origins[:2]) == 2
    assert store.add_forecasts(version, origins) == 1
    assert store.add_forecasts(version, origins) == 0
    assert counts(engine) == (3, 3 * 7 * 23)


def test_a_later_version_does_not_replace_a_stored_forecast(store: Any, engine: Engine) -> None:
    store.add_forecasts(store.add_version(seed=1), [store.origin], centre=100)
    assert store.add_forecasts(store.add_version(seed=2), [store.origin], centre=200) == 0
    with engine.connect() as conn:
        assert [row.q50 for row in read_bands(conn)] == [100 + h + 5 for h in range(7)]


def test_each_model_and_kind_has_a_separate_forecast_of_an_origin(store: Any, engine: Engine) -> None:
    naive, lstm = store.add_version(), store.add_version("lstm")
    assert store.add_forecasts(naive, [store.origin]) == 1
    assert store.add_forecasts(naive, [store.origin], kind=Kind.BACKFILL) == 1
    assert store.add_forecasts(lstm, [store.origin], model="lstm") == 1


def test_forecasts_stored_by_several_writers_at_once_are_stored_once(
    store: Any, database_url: str, engine: Engine
) -> None:
    version = store.add_version()
    origins = [store.origin + n * DAY for n in range(20)]
    barrier = threading.Barrier(4)
    stored: list[int] = []

    def write() -> None:
        own_engine = open_database(database_url)
        barrier.wait()
        with own_engine.begin() as conn:
            stored.append(
                insert_forecasts(
                    conn,
                    series=store.series,
                    model="naive",
                    model_version=version,
                    kind=Kind.BACKFILL,
                    forecasts=[store.forecast(origin) for origin in origins],
                    created_at=store.now,
                )
            )
        own_engine.dispose()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(stored) == [0, 0, 0, 20]
    assert counts(engine) == (20, 20 * 7 * 23)


def test_an_interrupted_transaction_stores_nothing(store: Any, engine: Engine) -> None:
    version = store.add_version()

    def write_and_be_interrupted() -> None:
        with engine.begin() as conn:
            insert_forecasts(
                conn,
                series=store.series,
                model="naive",
                model_version=version,
                kind=Kind.LIVE,
                forecasts=[store.forecast()],
                created_at=store.now,
            )
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_be_interrupted()
    assert counts(engine) == (0, 0)


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ((2, -1), 100.0, "quantiles that decrease at step 3"),
        ((2, 0), 0.0, "no positive prices at step 3"),
        ((2, -1), float("nan"), "no positive prices"),
        ((2, -1), float("inf"), "no positive prices"),
        (None, 0.0, r"expected 23 quantiles a step .* got an array of shape \(7, 22\)"),
    ],
)
def test_values_that_are_not_a_distribution_of_a_price_are_refused_and_nothing_is_stored(
    store: Any, engine: Engine, place: tuple[int, int] | None, value: float, reason: str
) -> None:
    good, bad = store.forecast(), store.forecast(store.origin + DAY)
    values = bad.values.copy()
    if place is None:
        values = values[:, 1:]
    else:
        values[place] = value
    version = store.add_version()
    with pytest.raises(ValueError, match=reason), engine.begin() as conn:
        insert_forecasts(
            conn,
            series=store.series,
            model="naive",
            model_version=version,
            kind=Kind.LIVE,
            forecasts=[good, replace(bad, values=values)],
            created_at=store.now,
        )
    assert counts(engine) == (0, 0)


def test_a_forecast_cannot_have_a_version_of_another_model_series_or_interval(store: Any) -> None:
    for_all, for_one = store.add_version("lstm"), store.add_version("tutorial")
    other, hourly = "Kraken_ETHEUR_d", "Kraken_ETHEUR_1h"
    for series in (other, hourly):
        store.add_series(series)
    for version, claim in (
        (for_all, {"model": "naive"}),
        (for_all, {"model": "lstm", "series": hourly}),
        (for_one, {"model": "tutorial", "series": other}),
    ):
        with pytest.raises(NotFound, match=f"has no version {version} of"):
            store.add_forecasts(version, [store.origin], **claim)
    with pytest.raises(NotFound, match="has no version 99 of lstm"):
        store.add_forecasts(99, [store.origin], model="lstm")
    assert store.add_forecasts(for_all, [store.origin], model="lstm", series=other) == 1


def test_the_error_for_a_missing_forecast_names_it(store: Any, engine: Engine) -> None:
    with engine.connect() as conn, pytest.raises(NotFound, match="no forecast 7"):
        load_forecast(conn, forecast=7)


def test_bands_have_one_row_per_step_with_nine_levels(store: Any, engine: Engine) -> None:
    store.add_forecasts(store.add_version(), [store.origin])
    with engine.connect() as conn:
        rows = read_bands(conn)
    assert [row.step for row in rows] == list(range(1, 8))
    for row in rows:
        assert row.target_time == store.origin + (row.step - 1) * DAY
        for name, level in BAND_LEVELS.items():
            assert getattr(row, name) == 100 + row.step - 1 + 10 * level


def test_an_hourly_forecast_has_hourly_targets(store: Any, engine: Engine) -> None:
    store.add_series("Kraken_ETHEUR_1h")
    store.add_forecasts(store.add_version(series="Kraken_ETHEUR_1h"), [store.origin], series="Kraken_ETHEUR_1h")
    with engine.connect() as conn:
        targets = [row.target_time for row in read_bands(conn, ForecastFilter("Kraken_ETHEUR_1h"))]
    assert targets == [store.origin + timedelta(hours=h) for h in range(7)]


def test_all_23_levels_can_be_read_in_order(store: Any, engine: Engine) -> None:
    store.add_forecasts(store.add_version(), [store.origin, store.origin + DAY])
    with engine.connect() as conn:
        rows = read_quantiles(conn, ForecastFilter(origin=store.origin))
    assert [(row.step, row.quantile) for row in rows] == [(h, level) for h in range(1, 8) for level in QUANTILE_LEVELS]
    assert [row.value for row in rows] == [100 + row.step - 1 + 10 * row.quantile for row in rows]
    assert [row.target_time for row in rows] == [store.origin + (row.step - 1) * DAY for row in rows]


def test_chosen_quantiles_of_one_step_are_read_for_each_series(store: Any, engine: Engine) -> None:
    other = "Kraken_ETHEUR_d"
    store.add_series(other)
    store.add_forecasts(store.add_version(), [store.origin, store.origin + DAY])
    store.add_forecasts(store.add_version(series=other), [store.origin], series=other, centre=200)
    with engine.connect() as conn:
        by_series = read_step_quantiles(conn, ForecastFilter(), step=3, levels=(0.1, 0.9))
        of_one = read_step_quantiles(conn, ForecastFilter(other), step=1, levels=(0.5,))
    assert by_series == {store.series: [(103.0, 111.0)] * 2, other: [(203.0, 211.0)]}
    assert of_one == {other: [(205.0,)]}


def test_missing_origins_have_no_forecast_of_that_series_model_and_kind(store: Any, engine: Engine) -> None:
    origins = [store.origin + n * DAY for n in range(4)]
    version = store.add_version()
    store.add_forecasts(version, [origins[1]])
    store.add_forecasts(version, [origins[2]], kind=Kind.BACKFILL)

    def missing(**which: Any) -> list[datetime]:
        question = {"series": store.series, "model": "naive", "kind": Kind.LIVE, "origins": origins, **which}
        with engine.connect() as conn:
            return missing_origins(conn, **question)

    assert missing() == [origins[0], origins[2], origins[3]]
    assert missing(kind=Kind.BACKFILL) == [origins[0], origins[1], origins[3]]
    assert missing(model="lstm") == origins
    assert missing(origins=[]) == []
    assert missing(origins=[origins[3], origins[1], origins[0]]) == [origins[3], origins[0]]
    store.add_series("Kraken_ETHEUR_d")
    theirs = store.add_version(series="Kraken_ETHEUR_d")
    store.add_forecasts(theirs, origins, series="Kraken_ETHEUR_d")
    assert missing() == [origins[0], origins[2], origins[3]]
    assert missing(series="Kraken_ETHEUR_d") == []


def test_each_filter_selects_forecasts_and_bounds_are_included(store: Any, engine: Engine) -> None:
    origins = [store.origin + n * DAY for n in range(5)]
    naive, lstm = store.add_version(), store.add_version("lstm")
    store.add_forecasts(naive, origins)
    store.add_forecasts(naive, origins[:2], kind=Kind.BACKFILL)
    store.add_forecasts(lstm, origins, model="lstm")

    def read_keys(**filters: Any) -> set[tuple[datetime, str, str]]:
        with engine.connect() as conn:
            bands = {(row.origin, row.model, row.kind) for row in read_bands(conn, ForecastFilter(**filters))}
            assert bands == {
                (row.origin, row.model, row.kind) for row in read_quantiles(conn, ForecastFilter(**filters))
            }
        return bands

    assert len(read_keys()) == 12
    assert read_keys(model="lstm", start=origins[1], end=origins[2]) == {(o, "lstm", "live") for o in origins[1:3]}
    assert read_keys(kind=Kind.BACKFILL) == {(o, "naive", "backfill") for o in origins[:2]}
    assert read_keys(origin=origins[4]) == {(origins[4], "naive", "live"), (origins[4], "lstm", "live")}
    assert read_keys(series="Kraken_ETHEUR_d") == set()
    in_tokyo = origins[4].astimezone(timezone(timedelta(hours=9)))
    assert read_keys(origin=in_tokyo, model="lstm") == {(origins[4], "lstm", "live")}


@pytest.fixture
def sixteen_forecasts(store: Any) -> Any:
    """Sixteen forecasts of two series, origins, models and kinds, stored in an order that no query returns."""
    other = "Kraken_ETHEUR_d"
    store.add_series(other)
    for kind in (Kind.LIVE, Kind.BACKFILL):
        for model in ("naive", "lstm"):
            for series in (other, store.series):
                version = store.add_version(model, series=series)
                store.add_forecasts(version, [store.origin + DAY, store.origin], model=model, series=series, kind=kind)
    return store


def test_forecasts_are_sorted_by_series_origin_model_kind_and_step(sixteen_forecasts: Any, engine: Engine) -> None:
    keys = [
        (series, sixteen_forecasts.origin + n * DAY, model, kind)
        for series in (sixteen_forecasts.series, "Kraken_ETHEUR_d")
        for n in range(2)
        for model in ("lstm", "naive")
        for kind in ("backfill", "live")
    ]
    with engine.connect() as conn:
        assert [row[1:5] for row in read_origins(conn)] == [(s, m, k, o) for s, o, m, k in keys]
        steps = [(*key, step) for key in keys for step in range(1, 8)]
        bands, quantiles = read_bands(conn), read_quantiles(conn)
        assert [(row.series, row.origin, row.model, row.kind, row.step) for row in bands] == steps
        order = [(row.series, row.origin, row.model, row.kind, row.step) for row in quantiles[::23]]
        assert order == steps
        assert [row.quantile for row in quantiles] == list(QUANTILE_LEVELS) * len(steps)


def test_a_page_of_forecasts_begins_after_its_key(sixteen_forecasts: Any, engine: Engine) -> None:
    with engine.connect() as conn:
        bands, origins = read_bands(conn), read_origins(conn)
        for n, row in enumerate(bands):
            key = (row.series, row.origin, row.model, row.kind, row.step)
            assert read_bands(conn, after=key, limit=9) == bands[n + 1 : n + 10]
        for n, row in enumerate(origins):
            key = (row.series, row.origin, row.model, row.kind)
            assert read_origins(conn, after=key, limit=3) == origins[n + 1 : n + 4]
        assert read_bands(conn, ForecastFilter("Kraken_ETHEUR_d"), limit=10) == bands[56:66]


def test_an_origin_row_has_the_forecasts_model_kind_version_and_times(store: Any, engine: Engine) -> None:
    naive, lstm = store.add_version(), store.add_version("lstm")
    store.add_forecasts(naive, [store.origin], created_at=store.now)
    store.add_forecasts(lstm, [store.origin + DAY], model="lstm", kind=Kind.BACKFILL)
    first = OriginRow(1, store.series, "naive", "live", store.origin, store.now, naive)
    second = OriginRow(2, store.series, "lstm", "backfill", store.origin + DAY, store.now, lstm)
    with engine.connect() as conn:
        assert read_origins(conn) == [first, second]
        for filters in (
            {"model": "lstm"},
            {"kind": Kind.BACKFILL},
            {"origin": store.origin + DAY},
            {"start": store.origin + DAY},
        ):
            assert read_origins(conn, ForecastFilter(**filters)) == [second], filters
        assert read_origins(conn, ForecastFilter(end=store.origin)) == [first]
        assert read_origins(conn, ForecastFilter("Kraken_ETHEUR_d")) == []


def test_the_latest_forecast_is_the_champions_newest_live_one(store: Any, engine: Engine) -> None:
    naive, lstm = store.add_version(), store.add_version("lstm")
    store.add_forecasts(naive, [store.origin, store.origin + DAY])
    store.add_forecasts(naive, [store.origin + 9 * DAY], kind=Kind.BACKFILL)
    store.add_forecasts(lstm, [store.origin], model="lstm")

    def latest() -> set[tuple[str, datetime]]:
        with engine.connect() as conn:
            bands = read_bands(conn, ForecastFilter(latest=True))
            assert len(bands) in (0, 7)
            for rows in (read_quantiles, read_origins):
                forecast_ids = {row.forecast_id for row in rows(conn, ForecastFilter(latest=True))}
                assert forecast_ids == {row.forecast_id for row in bands}
            assert read_bands(conn, ForecastFilter(store.series, latest=True)) == bands
            return {(row.model, row.origin) for row in bands}

    assert latest() == set()
    store.promote(naive)
    assert latest() == {("naive", store.origin + DAY)}
    store.promote(lstm, outcome="kept")
    assert latest() == {("naive", store.origin + DAY)}
    store.promote(lstm)
    assert latest() == {("lstm", store.origin)}


def test_each_series_has_its_own_latest_forecast(store: Any, engine: Engine) -> None:
    other = "Kraken_ETHEUR_d"
    store.add_series(other)
    mine, theirs = store.add_version(), store.add_version(series=other)
    store.add_forecasts(mine, [store.origin])
    store.add_forecasts(theirs, [store.origin + DAY], series=other)
    store.promote(mine)
    store.promote(theirs, series=other)
    with engine.connect() as conn:
        assert {(row.series, row.origin) for row in read_bands(conn, ForecastFilter(latest=True))} == {
            (store.series, store.origin),
            (other, store.origin + DAY),
        }


def test_late_is_not_a_kind_of_forecasts(store: Any, engine: Engine) -> None:
    """`late` is a kind of scores: some steps of a live forecast were stored after their close."""
    with engine.connect() as conn, pytest.raises(ValueError, match="'late' is not a valid Kind"):
        read_bands(conn, ForecastFilter(kind=ScoreKind.LATE))
