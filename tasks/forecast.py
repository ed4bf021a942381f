"""Forecasting: stored models and candles in, stored forecasts out, live and backfilled by the same code."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from sqlalchemy import Engine

from models.candles import SeriesName
from models.catalog import forecaster
from models.errors import NotEnoughCandles
from models.forecaster import Progress, silent
from models.forecasts import Kind
from models.frames import CandleFrame
from models.schedule import by_quarter
from storage.candles import CandleHistory, latest_close_time, read_candles, read_history
from storage.forecasts import insert_forecasts, missing_origins
from tasks.progress import reported_progress
from tasks.train import load_trained, trained_models


@dataclass(frozen=True)
class Backfilled:
    """What one backfill of one series and model did."""

    series: str
    model: str
    origins: int
    stored: int


def forecast_live(
    engine: Engine, *, series: str, version: int, horizon: int, now: datetime, flow_run: str | None = None
) -> int:
    """Store the live forecast of model `version` from the newest closed candle; returns how many were new (0 or 1).

    Raises NotEnoughCandles when the series is shorter than the model needs.
    """
    with engine.connect() as conn:
        origin = latest_close_time(conn, series=series)
        if origin is None:
            raise NotEnoughCandles(f"{series} has no closed candle yet to forecast from")
        trained = load_trained(conn, version=version)
        if not missing_origins(conn, series=series, model=trained.model, kind=Kind.LIVE, origins=[origin]):
            return 0
        candles = read_candles(conn, series=series)
    forecasts = forecaster(trained.model).forecast(trained, candles, [origin], horizon)
    with engine.begin() as conn:
        return insert_forecasts(
            conn,
            series=series,
            model=trained.model,
            model_version=version,
            kind=Kind.LIVE,
            forecasts=forecasts,
            created_at=now,
            flow_run=flow_run,
        )


def possible_origins(engine: Engine, *, series: str, model: str, start: datetime, end: datetime) -> list[datetime]:
    """Return every origin in start..end (both included) that `model` has enough candles to forecast from."""
    with engine.connect() as conn:
        closes = read_candles(conn, series=series)["close_time"]
    first = forecaster(model).min_candles - 1
    return [instant.to_pydatetime() for instant in closes.iloc[first:] if start <= instant <= end]


def backfill(
    engine: Engine,
    *,
    series: str,
    model: str,
    origins: Sequence[datetime],
    horizon: int,
    seed: int,
    now: datetime,
    pool: Sequence[str] = (),
    flow_run: str | None = None,
    progress: Progress = silent,
) -> Backfilled:
    """Store a backfilled forecast for every one of `origins` that has none; the forecast store is the ledger.

    Each quarter is forecast by a model trained up to that quarter's start and stored in a transaction of its
    own, so an interrupted backfill keeps what it has and the next one does only the rest.
    """
    with engine.connect() as conn:
        missing = missing_origins(conn, series=series, model=model, kind=Kind.BACKFILL, origins=origins)
        if not missing:
            return Backfilled(series, model, len(origins), 0)
        history = read_history(conn, series=series)
    family = forecaster(model)
    closes = history.known_at()["close_time"]
    first_close = closes.iloc[min(family.min_candles, len(closes)) - 1].to_pydatetime()
    quarters = {start: group for start, group in by_quarter(missing).items() if start >= first_close}
    if not family.learns:
        quarters = by_quarter(missing)
    versions = trained_models(
        engine,
        series=series,
        model=model,
        cutoffs=list(quarters),
        purpose="backfill",
        seed=seed,
        now=now,
        pool=pool,
        progress=progress,
    )
    stored = 0
    for done, (start, group) in enumerate(quarters.items()):
        progress(done, len(quarters), f"forecasting the quarter from {start:%Y-%m-%d}")
        version, trained = versions[start]
        # Each origin sees the candles as they were known then; origins between two revisions share a view.
        forecasts = [
            made
            for candles, some in _by_view(history, group)
            for made in family.forecast(trained, candles, some, horizon)
        ]
        with engine.begin() as conn:
            stored += insert_forecasts(
                conn,
                series=series,
                model=model,
                model_version=version,
                kind=Kind.BACKFILL,
                forecasts=forecasts,
                created_at=now,
                flow_run=flow_run,
            )
    return Backfilled(series, model, len(origins), stored)


def _by_view(history: CandleHistory, origins: Sequence[datetime]) -> list[tuple[CandleFrame, list[datetime]]]:
    grouped: dict[int, tuple[CandleFrame, list[datetime]]] = {}
    for origin in origins:
        view = history.known_at(origin)
        grouped.setdefault(id(view), (view, []))[1].append(origin)
    return list(grouped.values())


@task(name="forecast", task_run_name="forecast-{series}", cache_policy=NO_CACHE)
def forecast_task(
    engine: Engine, *, series: str, version: int, horizon: int, now: datetime, flow_run: str | None
) -> int:
    """Store the live forecast of one model version."""
    return forecast_live(engine, series=series, version=version, horizon=horizon, now=now, flow_run=flow_run)


@task(name="backfill", task_run_name="backfill-{model}-{series}", cache_policy=NO_CACHE)
def backfill_task(
    engine: Engine,
    *,
    series: str,
    model: str,
    start: datetime,
    end: datetime,
    horizon: int,
    seed: int,
    now: datetime,
    pool: Sequence[str],
    flow_run: str | None,
) -> Backfilled:
    """Store the missing backfilled forecasts of one series and model for origins in start..end."""
    SeriesName.parse(series)
    origins = possible_origins(engine, series=series, model=model, start=start, end=end)
    with reported_progress(f"backfilling {model} on {series}") as progress:
        return backfill(
            engine,
            series=series,
            model=model,
            origins=origins,
            horizon=horizon,
            seed=seed,
            now=now,
            pool=pool,
            flow_run=flow_run,
            progress=progress,
        )
