"""The live forecast: the champion and the newest closed candle in, a stored forecast out."""

from collections.abc import Sequence
from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from models.catalog import forecaster
from models.errors import NotEnoughCandles
from models.forecasts import Kind
from models.frames import CandleFrame
from storage.candles import latest_close_time, read_candles
from storage.forecasts import insert_forecasts, missing_origins
from tasks.events import NEW_FORECAST, tell
from tasks.train import load_trained


def forecast_live(
    engine: Engine,
    *,
    series: str,
    versions: Sequence[int],
    horizon: int,
    now: datetime,
    flow_run: str | None = None,
) -> list[int]:
    """Store the live forecasts of model `versions` from the newest closed candle; returns whose were new.

    Raises NotEnoughCandles when the series is shorter than a model needs, BadWeights for damaged weights; what came
    before it is stored.
    """
    with engine.connect() as conn:
        origin = latest_close_time(conn, series=series)
    if origin is None:
        raise NotEnoughCandles(f"{series} has no closed candle yet to forecast from")
    candles: CandleFrame | None = None
    new = []
    # Each is loaded in its turn: one whose weights are damaged keeps none before it from forecasting.
    for version in versions:
        with engine.connect() as conn:
            trained = load_trained(conn, version=version)
            if not missing_origins(conn, series=series, model=trained.model, kind=Kind.LIVE, origins=[origin]):
                continue
            candles = read_candles(conn, series=series) if candles is None else candles
        forecasts = forecaster(trained.model).forecast(trained, candles, [origin], horizon)
        with engine.begin() as conn:
            stored = insert_forecasts(
                conn,
                series=series,
                model=trained.model,
                model_version=version,
                kind=Kind.LIVE,
                forecasts=forecasts,
                created_at=now,
                flow_run=flow_run,
            )
        new += [version] * stored
    return new


@task(name="forecast", task_run_name="forecast-{series}", cache_policy=NO_CACHE)
def forecast_task(
    engine: Engine, *, series: str, versions: Sequence[int], horizon: int, now: datetime, flow_run: str | None
) -> int:
    """Store the live forecasts of these model versions and tell Prefect of each new one; returns how many were new."""
    new = forecast_live(engine, series=series, versions=versions, horizon=horizon, now=now, flow_run=flow_run)
    for version in new:
        tell(NEW_FORECAST, series=series, message=f"{series}: a new forecast by version {version}", version=version)
    return len(new)
