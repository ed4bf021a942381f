"""Answers from one stored forecast: which forecast and step, and whether it was stored before the close."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from stores import Store

from models.forecasts import Kind
from storage.database.engine import reading
from tasks.steps.chance import ChanceRow, answered_chance
from tasks.steps.chosen import ForecastChoice

DAY = timedelta(days=1)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine)


def answer(store: Store, *, kind: Kind = Kind.LIVE, **question) -> ChanceRow:
    with reading(store.engine) as conn:
        return answered_chance(conn, ForecastChoice(store.series, model="naive", kind=kind), **question)


@pytest.mark.parametrize(
    ("created_at", "in_time"),
    [(DAY - timedelta(microseconds=1), [True, True]), (DAY, [False, True]), (2 * DAY, [False, False])],
)
def test_before_close_is_false_from_the_instant_of_the_close(
    store: Store, created_at: timedelta, in_time: list[bool]
) -> None:
    store.add_forecasts(store.add_version(), [store.origin], created_at=store.origin + created_at)
    assert [answer(store, below=100.0, step=step).before_close for step in (1, 2)] == in_time


def test_a_backfilled_forecast_was_not_stored_before_the_close(store: Store) -> None:
    store.add_forecasts(store.add_version(), [store.origin], kind=Kind.BACKFILL, created_at=store.origin)
    assert answer(store, kind=Kind.BACKFILL, below=100.0).before_close is False


def test_the_answer_is_that_of_the_asked_step_and_names_its_forecast(store: Store) -> None:
    version = store.add_version()
    store.add_forecasts(version, [store.origin], created_at=store.origin)
    # The quantile of the level 0.25 of step 3 is 100 + 2 + 2.5.
    assert answer(store, below=104.5, step=3) == (
        1, store.series, "naive", "live", store.origin, store.origin, 3, store.origin + 2 * DAY, True, "below", 104.5,
        pytest.approx(0.25), "exact",
    )  # fmt: skip
    above = answer(store, above=104.5, step=3)
    assert (above.side, above.price, above.chance) == ("above", 104.5, pytest.approx(0.75))
    price = answer(store, chance=0.25, step=3)
    assert (price.side, price.price, price.chance, price.bound) == ("below", pytest.approx(104.5), 0.25, "exact")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({}, "^expected one of above, below and chance, got none of them$"),
        ({"above": 1.0, "chance": 0.1}, "^expected one of above, below and chance, got above and chance$"),
        ({"below": 1.0, "step": 0}, "^expected a step from 1 to 7, got 0$"),
        ({"below": 1.0, "step": 8}, "^expected a step from 1 to 7, got 8$"),
    ],
)
def test_a_question_that_has_no_answer_is_refused(store: Store, question: dict[str, float], reason: str) -> None:
    store.add_forecasts(store.add_version(), [store.origin])
    with pytest.raises(ValueError, match=reason):
        answer(store, **question)
    assert answer(store, below=1.0, step=7).step == 7
