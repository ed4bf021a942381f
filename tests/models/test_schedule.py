from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.schedule import Mode, by_quarter, due_mode, quarter_start

DAY0 = datetime(2019, 10, 17, tzinfo=UTC)


def due(**changes: object) -> Mode | None:
    base: dict[str, object] = {
        "latest_close": DAY0,
        "scratch_cutoff": DAY0 - timedelta(days=30),
        "newest_cutoff": DAY0 - timedelta(days=3),
        "scratch_days": 91,
        "fine_tune_days": 7,
    }
    return due_mode(**(base | changes))  # type: ignore[arg-type]


def test_a_series_without_a_model_is_trained_from_scratch() -> None:
    assert due(scratch_cutoff=None, newest_cutoff=None) is Mode.SCRATCH


def test_nothing_is_due_while_no_new_candle_has_closed() -> None:
    assert due(newest_cutoff=DAY0, scratch_cutoff=DAY0 - timedelta(days=400)) is None


@pytest.mark.parametrize(("age", "expected"), [(90, None), (91, Mode.SCRATCH)])
def test_a_training_from_scratch_is_due_after_its_days(age: int, expected: Mode | None) -> None:
    assert due(scratch_cutoff=DAY0 - timedelta(days=age)) is expected


@pytest.mark.parametrize(("age", "expected"), [(6, None), (7, Mode.FINE_TUNE)])
def test_a_fine_tuning_is_due_between_trainings_from_scratch(age: int, expected: Mode | None) -> None:
    assert due(newest_cutoff=DAY0 - timedelta(days=age)) is expected


def test_fine_tuning_can_be_switched_off() -> None:
    assert due(newest_cutoff=DAY0 - timedelta(days=80), fine_tune_days=0) is None


def test_after_drift_the_next_training_is_from_scratch() -> None:
    assert due(drifted=True) is Mode.SCRATCH


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_quarter_starts_at_or_before_its_instants_and_lasts_under_93_days(instant: datetime) -> None:
    start = quarter_start(instant)
    assert start <= instant < start + timedelta(days=93)
    assert (start.month % 3, start.day, start.hour) == (1, 1, 0)


def test_origins_are_grouped_by_quarter_in_order_without_repetition() -> None:
    origins = [
        datetime(2020, 4, 1, tzinfo=UTC),
        datetime(2020, 3, 31, tzinfo=UTC),
        datetime(2020, 4, 1, tzinfo=UTC),
    ]
    assert by_quarter(origins) == {
        datetime(2020, 1, 1, tzinfo=UTC): [datetime(2020, 3, 31, tzinfo=UTC)],
        datetime(2020, 4, 1, tzinfo=UTC): [datetime(2020, 4, 1, tzinfo=UTC)],
    }
