from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.forecasts import QUANTILE_LEVELS, Kind, ScoreKind
from storage.query import ForecastFilter
from storage.scores import (
    ActualRow,
    OriginScore,
    PitRow,
    Score,
    SkillRow,
    insert_scores,
    newest_scored,
    read_actuals,
    read_origin_scores,
    read_pit,
    read_skill,
    read_step_scores,
    unscored,
)

DAY = timedelta(days=1)


def unscored_steps(store: Any, limit: int = 1000, series: str | None = None) -> list[tuple[int, int, datetime, float]]:
    with store.engine.connect() as conn:
        rows = unscored(conn, series=series or store.series, limit=limit)
    for row in rows:
        assert row.values == tuple(100 + row.step - 1 + 10 * level for level in QUANTILE_LEVELS)
    return sorted((row.forecast, row.step, row.truth_fetched_at, row.actual) for row in rows)


def test_a_step_matures_when_its_candle_has_closed(store: Any) -> None:
    store.add_forecasts(store.add_version(), [store.origin])
    assert unscored_steps(store) == []
    store.add_candle(store.origin - DAY, 99.0)
    assert unscored_steps(store) == []
    store.add_candle(store.origin, 101.0)
    store.add_candle(store.origin + 2 * DAY, 103.0)
    store.add_candle(store.origin + 3 * DAY, 104.0, provisional=True)
    assert unscored_steps(store) == [(1, 1, store.now, 101.0), (1, 3, store.now, 103.0)]
    assert len(unscored_steps(store, limit=1)) == 1


def test_a_scored_step_is_unscored_again_when_its_candle_is_revised(store: Any) -> None:
    store.add_forecasts(store.add_version(), [store.origin])
    store.add_candle(store.origin, 101.0)
    assert store.add_score(1, 1, 2.0) == 1
    assert store.add_score(1, 1, 9.0) == 0
    assert unscored_steps(store) == []
    store.add_candle(store.origin, 102.0, fetched_at=store.now + DAY)
    assert unscored_steps(store) == [(1, 1, store.now + DAY, 102.0)]


def test_a_score_belongs_to_one_forecast_and_step(store: Any) -> None:
    store.add_forecasts(store.add_version(), [store.origin, store.origin + DAY])
    for day in (1, 2):
        store.add_candle(store.origin + day * DAY, 100.0 + day)
    store.add_score(1, 2, 2.0)
    assert unscored_steps(store) == [(1, 3, store.now, 102.0), (2, 1, store.now, 101.0), (2, 2, store.now, 102.0)]


def test_storing_scores_counts_only_new_ones(store: Any, engine: Engine) -> None:
    store.add_forecasts(store.add_version(), [store.origin])
    rows = [Score(1, step, store.now, 100.0, 1.0, 0.01, True, True, True, 0.5) for step in range(1, 8)]
    with engine.begin() as conn:
        assert insert_scores(conn, rows=rows[:3], scored_at=store.now) == 3
        assert insert_scores(conn, rows=rows, scored_at=store.now) == 4
        assert insert_scores(conn, rows=rows, scored_at=store.now) == 0
        assert insert_scores(conn, rows=[], scored_at=store.now) == 0


def test_forecasts_are_scored_only_with_candles_of_their_series(store: Any) -> None:
    other = "Kraken_ETHEUR_d"
    store.add_series(other)
    store.add_forecasts(store.add_version(), [store.origin])
    store.add_candle(store.origin, 101.0, series=other)
    assert unscored_steps(store) == []
    store.add_forecasts(store.add_version(series=other), [store.origin], series=other)
    assert unscored_steps(store) == []
    store.add_candle(store.origin, 55.0)
    assert unscored_steps(store) == [(1, 1, store.now, 55.0)]
    assert unscored_steps(store, series=other) == [(2, 1, store.now, 101.0)]


def test_a_forecast_by_a_model_trained_after_its_origin_is_never_scored(store: Any, engine: Engine) -> None:
    honest = store.add_version("lstm", cutoff=store.origin)
    cheating = store.add_version("blend", cutoff=store.origin + DAY)
    naive = store.add_version()
    store.add_forecasts(naive, [store.origin])
    store.add_forecasts(honest, [store.origin], model="lstm")
    store.add_forecasts(cheating, [store.origin], model="blend")
    store.add_candle(store.origin, 101.0)
    assert [row[0] for row in unscored_steps(store)] == [1, 2]
    for forecast in (1, 2, 3):
        store.add_score(forecast, 1, 1.0)
    with engine.connect() as conn:
        assert {row.model for row in read_skill(conn)} == {"naive", "lstm"}
        assert set(conn.execute(text("SELECT model FROM model_skill")).scalars()) == {"naive", "lstm"}
        assert read_origin_scores(conn, ForecastFilter(store.series, model="blend", kind=ScoreKind.LIVE)) == []


@pytest.fixture
def scored(store: Any) -> Any:
    """Live scores of naive at origins 0 to 3 and lstm at 1 to 4, backfilled scores of both at 0; all errors differ."""
    naive, lstm = store.add_version(), store.add_version("lstm")
    origins = [store.origin + n * DAY for n in range(5)]
    store.add_forecasts(naive, origins[:4])
    store.add_forecasts(lstm, origins[1:], model="lstm")
    store.add_forecasts(naive, origins[:1], kind=Kind.BACKFILL)
    store.add_forecasts(lstm, origins[:1], kind=Kind.BACKFILL, model="lstm")
    for number in range(4):
        store.add_score(1 + number, 1, 10.0 + number, crps=0.10 + number / 100)
        store.add_score(5 + number, 1, 20.0 + number, crps=0.20 + number / 100)
    store.add_score(5, 2, 99.0)
    store.add_score(9, 1, 50.0, crps=0.5)
    store.add_score(10, 1, 60.0, crps=0.6)
    return store


def skill_of(store: Any, **filters: Any) -> dict[tuple[str, str, int], SkillRow]:
    with store.engine.connect() as conn:
        return {(row.kind, row.model, row.step): row for row in read_skill(conn, ForecastFilter(**filters))}


def test_a_model_is_compared_with_naive_on_the_origins_and_steps_they_share(scored: Any) -> None:
    skill = skill_of(scored)
    assert set(skill) == {(kind, model, 1) for kind in ("live", "backfill") for model in ("naive", "lstm")}
    row = skill["live", "lstm", 1]
    assert (row.n, row.mae, row.naive_mae) == (3, 21.0, 12.0)
    assert (row.crps, row.naive_crps) == (pytest.approx(0.21), pytest.approx(0.12))
    assert (row.coverage50, row.coverage80, row.coverage95) == (0.0, 1.0, 1.0)
    naive = skill["live", "naive", 1]
    assert (naive.n, naive.mae, naive.naive_mae) == (4, 11.5, 11.5)


def test_there_is_no_skill_against_a_naive_that_was_exact(store: Any) -> None:
    for number, model in enumerate(("naive", "lstm")):
        store.add_forecasts(store.add_version(model), [store.origin], model=model)
        store.add_score(number + 1, 1, 1.0, crps=0.1 * number)
    assert [row.skill for row in skill_of(store).values()] == [None, None]


def test_live_and_backfill_are_never_pooled(scored: Any) -> None:
    row = skill_of(scored)["backfill", "lstm", 1]
    assert (row.n, row.mae, row.naive_mae) == (1, 60.0, 50.0)


@pytest.fixture
def partly_late(store: Any) -> Any:
    """One origin with a live forecast of naive in time, one of lstm after two closes, and a backfilled one of naive."""
    naive, lstm = store.add_version(), store.add_version("lstm")
    store.add_forecasts(naive, [store.origin])
    store.add_forecasts(lstm, [store.origin], model="lstm", created_at=store.origin + 2 * DAY)
    store.add_forecasts(naive, [store.origin], kind=Kind.BACKFILL, created_at=store.origin)
    for forecast in (1, 2, 3):
        for step in (1, 2, 3):
            store.add_score(forecast, step, 10.0 * forecast + step, crps=forecast + step / 10, pit=0.05)
    return store


def test_a_step_that_was_stored_after_its_close_is_late_and_never_live(partly_late: Any, engine: Engine) -> None:
    skill = skill_of(partly_late)
    assert set(skill) == {
        ("live", "naive", 1), ("live", "naive", 2), ("live", "naive", 3), ("live", "lstm", 3),
        ("late", "lstm", 1), ("late", "lstm", 2),
        ("backfill", "naive", 1), ("backfill", "naive", 2), ("backfill", "naive", 3),
    }  # fmt: skip
    assert list(dict.fromkeys(kind for kind, _, _ in skill)) == ["live", "late", "backfill"]
    # A late step is compared with naive's step, although that one was stored in time.
    late = skill["late", "lstm", 2]
    assert (late.n, late.mae, late.naive_mae, late.naive_crps) == (1, 22.0, 12.0, 1.2)
    assert (skill["live", "naive", 2].n, skill["backfill", "naive", 2].mae) == (1, 32.0)
    assert set(skill_of(partly_late, kind=ScoreKind.LATE)) == {("late", "lstm", 1), ("late", "lstm", 2)}
    with engine.connect() as conn:
        view = {tuple(row) for row in conn.execute(text("SELECT kind, model, step FROM model_skill"))}
        counted = [(row.kind, row.model, row.step) for row in read_pit(conn)]
        late_ones = read_pit(conn, ForecastFilter(kind=ScoreKind.LATE))
        of_lstm = ForecastFilter(partly_late.series, model="lstm")
        of_kind = {
            kind: [row.step for row in read_origin_scores(conn, replace(of_lstm, kind=kind))] for kind in ScoreKind
        }
    assert view == set(skill) == set(counted)
    assert len(counted) == len(skill)
    assert late_ones == [PitRow(partly_late.series, "lstm", "late", step, 0, 1) for step in (1, 2)]
    assert of_kind == {ScoreKind.LIVE: [3], ScoreKind.LATE: [1, 2], ScoreKind.BACKFILL: []}


def test_the_newest_scored_origin_is_of_each_series_of_the_model_and_kind_and_of_step_1(
    scored: Any, engine: Engine
) -> None:
    first, other, never = scored.series, "Kraken_ETHEUR_d", "Kraken_LTCEUR_d"
    for series, days in ((other, (2, 6, 5)), (never, ())):
        scored.add_series(series)
        version = scored.add_version(series=series)
        for day in days:
            scored.add_forecasts(version, [scored.origin + day * DAY], series=series)
    for forecast, step in ((11, 1), (12, 2), (13, 1)):
        scored.add_score(forecast, step, 1.0)
    with engine.connect() as conn:

        def days_of(model: str, kind: ScoreKind, *series: str) -> dict[str, int]:
            newest = newest_scored(conn, series=series, model=model, kind=kind)
            return {name: (origin - scored.origin).days for name, origin in newest.items()}

        assert days_of("naive", ScoreKind.LIVE, first, other, never) == {first: 3, other: 5}
        assert days_of("lstm", ScoreKind.LIVE, first, other) == {first: 4}
        assert days_of("naive", ScoreKind.BACKFILL, first, other) == {first: 0}
        assert days_of("naive", ScoreKind.LIVE, other) == {other: 5}


def test_actual_closes_come_by_series_kind_model_origin_and_step(partly_late: Any, engine: Engine) -> None:
    store, other, origins = partly_late, "Kraken_ETHEUR_d", [partly_late.origin + n * DAY for n in (1, 0)]
    store.add_series(other)
    for number, origin in enumerate(origins):
        store.add_forecasts(store.add_version(series=other), [origin], series=other)
        closes = [Score(4 + number, step, store.now, 50.0 + step, 1.0, 0.01, True, True, True, 0.5) for step in (2, 1)]
        with engine.begin() as conn:
            insert_scores(conn, rows=closes, scored_at=store.now)
    of_kind = [
        ("backfill", "naive", (1, 2, 3)),
        ("late", "lstm", (1, 2)),
        ("live", "lstm", (3,)),
        ("live", "naive", (1, 2, 3)),
    ]
    first = [
        ActualRow(store.series, model, kind, store.origin, step, 100.0)
        for kind, model, steps in of_kind
        for step in steps
    ]
    second = [
        ActualRow(other, "naive", "live", origin, step, 50.0 + step) for origin in reversed(origins) for step in (1, 2)
    ]
    with engine.connect() as conn:
        assert read_actuals(conn, ForecastFilter()) == first + second
        assert read_actuals(conn, ForecastFilter(other, kind=ScoreKind.LIVE, start=origins[0])) == second[2:]
        assert read_actuals(conn, ForecastFilter(kind=ScoreKind.LATE)) == first[3:5]


def test_skill_can_be_bounded_by_origin(scored: Any) -> None:
    row = skill_of(scored, start=scored.origin + DAY, end=scored.origin + 2 * DAY)["live", "lstm", 1]
    assert (row.n, row.mae, row.naive_mae) == (2, 20.5, 11.5)
    assert skill_of(scored, series="Kraken_ETHEUR_d") == {}


def test_the_skill_uses_the_score_of_the_newest_revision(scored: Any) -> None:
    scored.add_score(10, 1, 6.0, truth_fetched_at=scored.now + DAY)
    row = skill_of(scored)["backfill", "lstm", 1]
    assert (row.n, row.mae) == (1, 6.0)


def test_the_skill_view_equals_read_skill(scored: Any, engine: Engine) -> None:
    with engine.connect() as conn:
        view = {tuple(row[:4]): row[4:] for row in conn.execute(text("SELECT * FROM model_skill"))}
        function = {tuple(row[:4]): row[4:] for row in read_skill(conn)}
        assert view.keys() == function.keys()
        names = tuple(conn.execute(text("SELECT * FROM model_skill")).keys())
    assert names == SkillRow._fields[: len(names)]
    # The rows also have the skill, its interval and the p-value.
    assert SkillRow._fields[len(names) :] == ("skill", "skill_low", "skill_high", "p_value")
    for key, figures in function.items():
        assert [float(figure) for figure in view[key]] == pytest.approx(figures[: len(names) - 4]), key
        crps, naive_crps = view[key][2], view[key][-1]
        assert figures[-4:] == (pytest.approx(1 - crps / naive_crps), None, None, None)


def test_scores_over_time_are_in_order_and_of_one_model_and_kind(scored: Any, engine: Engine) -> None:
    with engine.connect() as conn:
        bounds = {"start": scored.origin, "end": scored.origin + 3 * DAY}
        wanted = ForecastFilter(scored.series, model="lstm", kind=ScoreKind.LIVE, **bounds)
        rows, by_step = read_origin_scores(conn, wanted), read_step_scores(conn, wanted)
    assert [(row.origin, row.step) for row in rows] == [
        (scored.origin + DAY, 1), (scored.origin + DAY, 2), (scored.origin + 2 * DAY, 1), (scored.origin + 3 * DAY, 1),
    ]  # fmt: skip
    assert [row.crps for row in rows] == pytest.approx([0.20, 0.01, 0.21, 0.22])
    assert rows[1] == OriginScore(scored.origin + DAY, 2, 0.01, True, True, 0.5)
    of_step = {key: [score[:5] for _, score in sorted(scores.items())] for key, scores in by_step.items()}
    assert of_step == {
        ("lstm", "live", 1): [(20.0 + n, pytest.approx(0.2 + n / 100), False, True, True) for n in range(3)],
        ("lstm", "live", 2): [(99.0, 0.01, False, True, True)],
    }
    assert by_step["lstm", "live", 2].keys() == {min(by_step["lstm", "live", 1])}


def test_scores_over_time_are_of_the_given_series_and_span(scored: Any, engine: Engine) -> None:
    other = "Kraken_ETHEUR_d"
    scored.add_series(other)
    scored.add_forecasts(scored.add_version("lstm", series=other), [scored.origin], model="lstm", series=other)
    scored.add_score(11, 1, 1.0)

    def origins(**filters: Any) -> list[datetime]:
        wanted = {"series": scored.series, "model": "lstm", "kind": ScoreKind.LIVE, **filters}
        with engine.connect() as conn:
            return sorted({row.origin for row in read_origin_scores(conn, ForecastFilter(**wanted))})

    days = [scored.origin + n * DAY for n in range(5)]
    assert origins() == days[1:]
    assert origins(start=days[2], end=days[3]) == days[2:4]
    assert origins(start=days[4]) == days[4:]
    assert origins(end=days[1]) == days[1:2]
    assert origins(model="naive") == days[:4]
    assert origins(kind=ScoreKind.BACKFILL) == origins(series=other) == days[:1]


def test_skill_is_sorted_by_series_live_first_model_and_step(scored: Any, engine: Engine) -> None:
    other = "Aardvark_BTCUSD_d"
    scored.add_series(other)
    scored.add_forecasts(scored.add_version(series=other), [scored.origin], series=other)
    for step in (2, 1):
        scored.add_score(11, step, 1.0)
    scored.add_score(2, 2, 1.0)
    with engine.connect() as conn:
        rows = read_skill(conn)
        keys = [row[:4] for row in rows]
        assert [row[:4] for row in read_skill(conn, ForecastFilter(other))] == keys[:2]
    # Each model is compared with naive on its own series, although the other series has the same origin.
    assert [(row.n, row.naive_mae) for row in rows[:5]] == [(1, 1.0), (1, 1.0), (3, 12.0), (1, 1.0), (4, 11.5)]
    assert keys == [
        (other, "naive", "live", 1), (other, "naive", "live", 2),
        (scored.series, "lstm", "live", 1), (scored.series, "lstm", "live", 2),
        (scored.series, "naive", "live", 1), (scored.series, "naive", "live", 2),
        (scored.series, "lstm", "backfill", 1), (scored.series, "naive", "backfill", 1),
    ]  # fmt: skip


def test_pit_values_are_counted_by_tenths_in_the_same_order(store: Any, engine: Engine) -> None:
    naive, lstm = store.add_version(), store.add_version("lstm")
    origins = [store.origin + n * DAY for n in range(9)]
    store.add_forecasts(naive, origins)
    for number, pit in enumerate([0.005, 0.0999, 0.1, 0.4999, 0.5, 0.8999, 0.9, 0.95, 0.995], start=1):
        store.add_score(number, 1, 1.0, pit=pit)
    store.add_score(1, 2, 1.0, pit=0.3)
    store.add_forecasts(lstm, origins[:1], model="lstm")
    store.add_forecasts(naive, origins[:1], kind=Kind.BACKFILL)
    store.add_score(10, 1, 1.0, pit=0.55)
    store.add_score(11, 1, 1.0, pit=1.0)
    other = "Aardvark_BTCUSD_d"
    store.add_series(other)
    store.add_forecasts(store.add_version(series=other), origins[:1], series=other, kind=Kind.BACKFILL)
    store.add_score(12, 1, 1.0, pit=0.05)
    counted = [(0, 2), (1, 1), (4, 1), (5, 1), (8, 1), (9, 3)]
    expected = [
        PitRow(other, "naive", "backfill", 1, 0, 1),
        PitRow(store.series, "lstm", "live", 1, 5, 1),
        *(PitRow(store.series, "naive", "live", 1, part, n) for part, n in counted),
        PitRow(store.series, "naive", "live", 2, 3, 1),
        PitRow(store.series, "naive", "backfill", 1, 9, 1),
    ]
    with engine.connect() as conn:
        assert read_pit(conn) == expected
        assert read_pit(conn, ForecastFilter(store.series)) == expected[1:]
        assert read_pit(conn, ForecastFilter(start=origins[7])) == [PitRow(store.series, "naive", "live", 1, 9, 2)]
        assert sum(row.n for row in read_pit(conn, ForecastFilter(end=origins[0]))) == 5
