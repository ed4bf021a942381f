"""The nightly replay: random stored forecasts are computed again; if one differs, the run fails and names it."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markets import write_csv
from synthetic import random_walk

pytestmark = pytest.mark.usefixtures("prefect_server")

SERIES = "Bitstamp_DASHUSD_d"


def test_random_forecasts_replay_and_a_changed_one_is_named(installation: Path) -> None:
    from flows.daily import daily
    from flows.verify import DoesNotReplay, verify

    write_csv(installation / "source", SERIES, random_walk(620, seed=1))
    daily(series=[SERIES], now=datetime(2026, 1, 1, 0, 20, tzinfo=UTC))
    result = verify(count=5, seed=1)
    assert len(result) == 5
    assert all(one.exact for one in result)
    assert [one.forecast for one in verify(count=5, seed=1)] == [one.forecast for one in result]
    changed = result[2].forecast
    with sqlite3.connect(installation / "candlecast.db") as conn:
        # The triggers refuse this change, but a damaged disk can make it.
        for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            conn.execute(f"DROP TRIGGER {name}")
        conn.execute("UPDATE forecast_values SET value = value * 1.001 WHERE forecast = ? AND step = 3", [changed])
    with pytest.raises(DoesNotReplay, match=f"^forecast {changed}: "):
        verify(count=5, seed=1)
