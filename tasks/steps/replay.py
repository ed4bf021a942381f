"""Replaying: a stored forecast made again from its lineage, and held against what was stored."""

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from models.catalog import forecaster
from models.code_version import code_version
from models.forecasts import Kind
from models.frames import CandleFrame, closed_by, fingerprint
from models.history import CandleHistory
from storage import registry
from storage.candles import read_history
from storage.database.engine import reading
from storage.forecasts import StoredForecast, load_forecast
from tasks.steps.train import load_trained

# Another kind of machine, or another backend, may round differently: this is far below anything a reader could see.
TOLERANCE = 1e-5
# A forecast is computed from candles that were read at most this long before it was written.
LONGEST_COMPUTING = timedelta(days=1)


@dataclass(frozen=True)
class Replayed:
    """How a replay compares with the stored forecast.

    `matches` says that the candles are the same and all numbers within TOLERANCE (relative); `exact`, that they are the
    same bits, as on one kind of CPU with one backend. `differences` lists what of the lineage is not as it was.
    """

    forecast: int
    matches: bool
    exact: bool
    largest_difference: float
    differences: tuple[str, ...]


def replay(engine: Engine, *, forecast: int) -> Replayed:
    """Make stored forecast number `forecast` again and compare: candles as known then, weights, code, numbers.

    Raises NotFound for a number that is not stored or weights that were pruned, BadWeights for damaged ones.
    """
    with reading(engine) as conn:
        stored = load_forecast(conn, forecast=forecast)
        history = read_history(conn, series=stored.series)
        version = registry.load_version(conn, version=stored.model_version)
        trained = load_trained(conn, version=stored.model_version)
    before = stored.forecast
    candles = _candles_of(stored, history)
    (now,) = forecaster(stored.model).forecast(trained, candles, [before.origin], before.horizon)
    differences = []
    same_candles = now.data_fingerprint == before.data_fingerprint
    if not same_candles:
        differences.append(f"the candles are not those it was made from (sha256 {before.data_fingerprint[:12]}...)")
    if version.code_version != (present := code_version(stored.model)):
        differences.append(f"it was made by {version.code_version}, this is {present}")
    largest = _largest_difference(before.values, now.values)
    exact = np.array_equal(now.values, before.values)
    return Replayed(forecast, same_candles and largest <= TOLERANCE, exact, largest, tuple(differences))


def _candles_of(stored: StoredForecast, history: CandleHistory) -> CandleFrame:
    """Return the candles that were stored when the forecast was computed.

    A gap that was filled later was still a gap then. Candles that another process stored between the reading of the
    candles and the writing of the forecast have an earlier time than the forecast: the fingerprint tells them apart.
    """
    forecast = stored.forecast
    views: list[CandleFrame] = []
    instant = stored.created_at
    while True:
        state = history.stored_by(instant)
        candles = state.known_at(forecast.origin if stored.kind is Kind.BACKFILL else None)
        views.append(candles)
        if fingerprint(closed_by(candles, forecast.origin)) == forecast.data_fingerprint:
            return candles
        if state.last_fetch is None or state.last_fetch < stored.created_at - LONGEST_COMPUTING:
            return views[0]
        instant = state.last_fetch - timedelta(microseconds=1)


def _largest_difference(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Return the largest relative difference of any quantile; infinite when one is missing."""
    if before.shape != now.shape or not np.isfinite(before).all():
        return math.inf
    return float(np.abs(now / before - 1).max())
