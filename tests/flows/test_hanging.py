"""A run with a time-out is ended a quarter of an hour after it, if it hangs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.parametrize("name", ["daily", "retrain"])
def test_a_run_is_ended_a_quarter_of_an_hour_after_its_time_out(
    installation: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from flows import hanging
    from flows.daily import DailyFailed, daily
    from flows.retrain import retrain

    seconds = []

    @contextmanager
    def noted(given: float | None) -> Iterator[None]:
        seconds.append(given)
        yield

    monkeypatch.setattr(hanging, "ended_after", noted)
    flow = {"daily": daily, "retrain": retrain}[name]
    # Without candles there is nothing to do.
    for deployed in (flow, flow.with_options(timeout_seconds=600)):
        try:
            deployed()
        except DailyFailed:
            assert name == "daily"
    assert seconds == [None, 1500.0]
