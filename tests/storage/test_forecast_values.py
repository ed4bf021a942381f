"""The values of many forecasts, as the gate reads them."""

from datetime import UTC, datetime

import numpy as np

from models.candles import SeriesName
from models.catalog import scope
from models.forecasts import Forecast, Kind
from storage import registry
from storage.database.engine import open_database, reading, writing
from storage.forecasts import insert_forecasts, read_values
from storage.query import ForecastFilter
from storage.series import ensure_series

SERIES = "Bitstamp_BTCUSD_d"
ORIGIN = datetime(2024, 1, 1, tzinfo=UTC)


def test_values_are_read_as_stored_and_a_model_without_forecasts_has_none(database_url: str) -> None:
    engine = open_database(database_url)
    values = np.sort(np.random.default_rng(0).uniform(50, 150, (7, 23)), axis=1)
    with writing(engine) as conn:
        ensure_series(conn, name=SeriesName.parse(SERIES))
        version = registry.register(
            conn, scope=scope("naive", SERIES), model="naive", config={}, seed=0, cutoff=None,
            data_fingerprint="f" * 64, device="cpu",
            seconds=0.0, purpose="live", code_version="test", created_at=ORIGIN, weights=None,
        )  # fmt: skip
        insert_forecasts(
            conn, series=SERIES, model="naive", model_version=version, kind=Kind.LIVE, created_at=ORIGIN,
            forecasts=[Forecast(ORIGIN, values, "f" * 64)],
        )  # fmt: skip
    with reading(engine) as conn:
        stored = read_values(conn, ForecastFilter(SERIES, model="naive", kind=Kind.LIVE))
        nothing = read_values(conn, ForecastFilter(SERIES, model="lstm", kind=Kind.LIVE))
    engine.dispose()
    assert list(stored) == [ORIGIN]
    assert np.array_equal(stored[ORIGIN], values)
    assert nothing == {}
