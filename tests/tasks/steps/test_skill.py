from dataclasses import replace
from datetime import timedelta

import pytest
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine
from stores import DAY, Store

from models.accuracy import diebold_mariano
from models.forecasts import Kind, ScoreKind
from storage.database.engine import reading
from storage.query import EVERY_FORECAST, ForecastFilter
from storage.scores import SkillRow, read_skill
from tasks.steps.skill import judged_skill

OTHER = "Aardvark_BTCUSD_d"
ORIGINS = 12


@pytest.fixture
def store(engine: Engine) -> Store:
    """Two series with live scores of naive, lstm and a late blend, and backfilled ones; lstm lacks some origins."""
    store = Store(engine)
    store.add_series(OTHER)
    forecast = 0
    for series in (store.series, OTHER):
        origins = [store.origin + n * DAY for n in range(ORIGINS)]
        for model, kind, of_model, late in (
            ("naive", Kind.LIVE, origins, None),
            ("lstm", Kind.LIVE, origins[1:], None),
            ("blend", Kind.LIVE, origins, origins[-1] + DAY + timedelta(hours=1)),
            ("naive", Kind.BACKFILL, origins[:3], None),
            ("lstm", Kind.BACKFILL, origins[:3], None),
        ):
            version = store.add_version(model, series=series)
            store.add_forecasts(version, of_model, model=model, kind=kind, series=series, created_at=late)
            for n in range(len(of_model)):
                forecast += 1
                for step in (1, 2):
                    error = 10 + 7 * len(model) + n * step + 3 * (n % 3)
                    store.add_score(forecast, step, float(error), crps=error / 1000)
    store.add_score(1, 1, 500.0, crps=0.5, truth_fetched_at=store.now + DAY)
    return store


def judged(store: Store, wanted: ForecastFilter = EVERY_FORECAST) -> list[SkillRow]:
    with reading(store.engine) as conn:
        return judged_skill(conn, wanted)


def test_the_means_and_their_order_are_those_of_the_database(store: Store) -> None:
    origin = store.origin
    for wanted in (
        EVERY_FORECAST,
        ForecastFilter(OTHER),
        ForecastFilter(start=origin + DAY, end=origin + 5 * DAY),
        ForecastFilter(OTHER, model="lstm", kind=ScoreKind.LIVE),
        ForecastFilter(kind=ScoreKind.LATE),
        ForecastFilter(kind=ScoreKind.BACKFILL, start=origin + 20 * DAY),
    ):
        with reading(store.engine) as conn:
            expected = read_skill(conn, wanted)
        rows = judged(store, wanted)
        assert [row[:5] for row in rows] == [row[:5] for row in expected]
        for row, same in zip(rows, expected, strict=True):
            assert row[5:13] == pytest.approx(same[5:13])


def test_ten_shared_origins_of_another_model_are_tested_against_naives_scores(store: Store) -> None:
    rows = {row[:4]: row for row in judged(store)}
    row = rows[OTHER, "lstm", "live", 2]
    crps = [[(10 + 7 * length + 2 * n + 3 * (n % 3)) / 1000 for n in range(ORIGINS)] for length in (4, 5)]
    # lstm has its scores one origin later.
    test = diebold_mariano(crps[0][:-1], crps[1][1:], step=2)
    assert row.n == ORIGINS - 1
    assert row.p_value == pytest.approx(test.p_value)
    assert row.skill_low < row.skill < row.skill_high
    # Naive's scores of the same kind of forecast are late's measure.
    assert rows[store.series, "blend", "late", 1].p_value is not None
    untested = [row for row in rows.values() if row.p_value is None]
    assert {(row.model, row.kind) for row in untested} == {
        ("naive", "live"), ("naive", "backfill"), ("lstm", "backfill"), ("blend", "live"),
    }  # fmt: skip
    assert all(replace_tested(row) == row for row in untested)


def replace_tested(row: SkillRow) -> SkillRow:
    return row._replace(skill_low=None, skill_high=None, p_value=None)


def test_a_perfect_naive_has_no_skill_to_compare_with(engine: Engine) -> None:
    store = Store(engine)
    store.add_forecasts(store.add_version(), [store.origin])
    store.add_score(1, 1, 0.0, crps=0.0)
    (row,) = judged(store, replace(EVERY_FORECAST, series=store.series))
    assert (row.n, row.crps, row.skill) == (1, 0.0, None)
