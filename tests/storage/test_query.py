"""The filter of a query for forecasts: how it is parsed, and when it selects the latest forecasts."""

from datetime import UTC, date, datetime

import pytest

from models.forecasts import Kind
from storage.query import ForecastFilter

DAY = datetime(2025, 1, 31, tzinfo=UTC)


def test_texts_dates_and_instants_give_the_same_filter() -> None:
    end = datetime(2025, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
    expected = ForecastFilter("Bitstamp_BTCUSD_d", DAY, DAY, end, "naive", Kind.LIVE)
    for day in ("2025-01-31", date(2025, 1, 31)):
        parsed = ForecastFilter.parse("Bitstamp_BTCUSD_d", origin=day, start=day, end=day, model="naive", kind="live")
        assert parsed == expected
    assert ForecastFilter.parse(origin=DAY, end=end) == ForecastFilter(origin=DAY, end=end)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"origin": "tomorrow"}, "expected a day like 2025-01-31"),
        ({"start": "2025-02-01", "end": "2025-01-31"}, "before the start"),
        ({"kind": "late"}, "'late' is not a valid Kind"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(filters: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForecastFilter.parse(**filters)


def test_a_query_without_filters_selects_the_latest_forecasts() -> None:
    assert ForecastFilter().or_latest() == ForecastFilter(latest=True)
    assert ForecastFilter("Bitstamp_BTCUSD_d").or_latest() == ForecastFilter("Bitstamp_BTCUSD_d", latest=True)


@pytest.mark.parametrize(
    "filters", [{"origin": DAY}, {"start": DAY}, {"end": DAY}, {"model": "naive"}, {"kind": Kind.BACKFILL}]
)
def test_any_other_filter_excludes_latest(filters: dict[str, object]) -> None:
    wanted = ForecastFilter("Bitstamp_BTCUSD_d", **filters)
    assert wanted.or_latest() == wanted
    with pytest.raises(ValueError, match="by series only"):
        ForecastFilter(latest=True, **filters)
