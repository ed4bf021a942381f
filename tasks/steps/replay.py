"""Replaying: a stored forecast made again from its lineage, and held against what was stored."""

import math
from dataclasses import dataclass

from sqlalchemy import Engine

from models.catalog import forecaster
from models.code_version import code_version
from models.forecasts import Forecast, Kind
from storage import registry
from storage.candles import read_history
from storage.database.engine import reading
from storage.forecasts import load_forecast
from tasks.steps.train import load_trained

# Another kind of machine, or another backend, may round differently: this is far below anything a reader could see.
TOLERANCE = 1e-5


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
    said = stored.forecast
    # What was stored when it was made: a gap that was filled later was a gap then.
    history = history.stored_by(stored.created_at)
    candles = history.known_at(said.origin if stored.kind is Kind.BACKFILL else None)
    (made,) = forecaster(stored.model).forecast(trained, candles, [said.origin], said.horizon)
    differences = []
    if made.data_fingerprint != said.data_fingerprint:
        differences.append(f"the candles are not those it was made from (sha256 {said.data_fingerprint[:12]}...)")
    if version.code_version != (present := code_version(stored.model)):
        differences.append(f"it was made by {version.code_version}, this is {present}")
    largest = _largest_difference(said, made)
    matches = made.data_fingerprint == said.data_fingerprint and largest <= TOLERANCE
    return Replayed(forecast, matches, made.values == said.values, largest, tuple(differences))


def _largest_difference(said: Forecast, made: Forecast) -> float:
    """Return the largest relative difference of any quantile; infinite when there are not as many."""
    if [len(step) for step in said.values] != [len(step) for step in made.values]:
        return math.inf
    return max(
        abs(new / old - 1)
        for old_step, new_step in zip(said.values, made.values, strict=True)
        for old, new in zip(old_step, new_step, strict=True)
    )
