"""A forecast's values are one read-only array, and the module needs no NumPy, so reading commands start fast."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from synthetic import random_walk

from models.forecasts import QUANTILE_LEVELS, Forecast
from models.quantiles import forecasts_from_log_returns, origin_rows

FORECAST = Forecast(datetime(2020, 1, 1, tzinfo=UTC), 100 + np.arange(46.0).reshape(2, 23), "f" * 64)


def test_values_cannot_be_changed_and_have_one_row_per_step():
    assert FORECAST.horizon == 2
    with pytest.raises(ValueError, match="read-only"):
        FORECAST.values[0, 0] = 1.0


def test_forecasts_with_equal_origins_candles_and_values_are_equal():
    assert replace(FORECAST, values=FORECAST.values.copy()) == FORECAST
    last = FORECAST.values.copy()
    last[1, 22] = np.nextafter(last[1, 22], 999)
    for other in (
        replace(FORECAST, values=last),
        replace(FORECAST, values=FORECAST.values[:1].copy()),
        replace(FORECAST, origin=datetime(2020, 1, 2, tzinfo=UTC)),
        replace(FORECAST, data_fingerprint="e" * 64),
        "not a forecast",
    ):
        assert other != FORECAST


def test_the_forecasts_of_one_call_share_one_array():
    candles = random_walk(100)
    origins = list(candles["close_time"].dt.to_pydatetime()[[70, 99]])
    rows = origin_rows(candles, origins, 60)
    quantiles = np.tile(np.array(QUANTILE_LEVELS) - 0.5, (2, 7, 1))
    first, second = forecasts_from_log_returns(candles, origins, rows, quantiles)
    assert first.values.base is second.values.base is not None
    np.testing.assert_array_equal(second.values, candles["close"].iloc[99] * np.exp(quantiles[1]))


def test_the_forecasts_module_does_not_import_numpy():
    program = "import sys, models.forecasts; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
