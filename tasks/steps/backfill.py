"""Backfilling: the forecasts of past origins that the store lacks, a quarter at a time, by models no newer than it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from models.candles import SeriesName
from models.catalog import family, forecaster
from models.forecasts import Kind
from models.frames import CandleFrame
from models.history import CandleHistory
from models.interface import Progress, TrainedModel, silent
from models.schedule import by_quarter
from storage import registry
from storage.candles import not_before, read_close_times, read_history
from storage.database.engine import reading, writing
from storage.database.locks import locked
from storage.errors import DatabaseUnusable
from storage.forecasts import insert_forecasts, missing_origins
from tasks.steps.report import SILENT, Report
from tasks.steps.score import score_matured
from tasks.steps.termination import reraise_termination
from tasks.steps.train import trained_models


@dataclass(frozen=True)
class Partition:
    """The unit of a backfill: one series, model and calendar quarter, forecast by one model in one transaction."""

    series: str
    model: str
    quarter: datetime
    missing: int
    """Origins of the quarter without a forecast."""
    trained: bool
    """Whether the model that forecasts it is registered already."""


@dataclass(frozen=True)
class Failure:
    """A partition that could not be done, and why."""

    series: str
    model: str
    quarter: datetime | None
    """None when it was not one quarter that failed but all of them."""
    reason: str

    def __str__(self) -> str:
        quarter = f" {quarter_name(self.quarter)}" if self.quarter else ""
        return f"{self.series} {self.model}{quarter}: {self.reason}"


@dataclass(frozen=True)
class Backfilled:
    """What one backfill of one series and model did."""

    series: str
    model: str
    origins: int
    stored: int
    failures: tuple[Failure, ...] = ()


def quarter_name(start: datetime) -> str:
    """Return a quarter as people write it, such as 2024-Q3."""
    return f"{start.year}-Q{(start.month + 2) // 3}"


def possible_origins(engine: Engine, *, series: str, model: str, start: datetime, end: datetime) -> list[datetime]:
    """Return every origin in start..end (both included) that `model` has enough candles to forecast from."""
    with reading(engine) as conn:
        return read_close_times(conn, series=series, start=start, end=end, after=family(model).min_candles - 1)


def plan_backfill(
    engine: Engine, *, series: str, model: str, start: datetime, end: datetime, seed: int
) -> list[Partition]:
    """Return the partitions in start..end that lack forecasts, in time order; the store is the ledger."""
    origins = possible_origins(engine, series=series, model=model, start=start, end=end)
    learns = family(model).learns
    with reading(engine) as conn:
        missing = missing_origins(conn, series=series, model=model, kind=Kind.BACKFILL, origins=origins)
        quarters = _quarters(missing, model, read_history(conn, series=series)) if missing else {}
        return [
            Partition(
                series,
                model,
                quarter,
                len(group),
                registry.find_version(
                    conn,
                    series=series,
                    model=model,
                    purpose="backfill",
                    cutoff=quarter if learns else None,
                    seed=seed,
                )
                is not None,
            )
            for quarter, group in quarters.items()
        ]


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
    report: Report = SILENT,
    history: CandleHistory | None = None,
) -> Backfilled:
    """Store a backfilled forecast for every one of `origins` that has none; the forecast store is the ledger.

    All models that are missing are trained as one fleet, then each quarter is forecast and stored in a transaction of
    its own: an interrupted backfill keeps what it has, the next one does only the rest, and a quarter that fails is
    named in the result and does not stop the others. Another process at the same series and model is waited for.
    `history` is the series' candles where the caller has read them already.
    """
    with locked(
        engine,
        f"backfill-{series}-{model}",
        waiting=lambda: report.log(f"{series} {model}: another backfill is at it; waiting"),
    ):
        with reading(engine) as conn:
            missing = missing_origins(conn, series=series, model=model, kind=Kind.BACKFILL, origins=origins)
            if not missing:
                return Backfilled(series, model, len(origins), 0)
            history = history or read_history(conn, series=series)
        quarters = _quarters(missing, model, history)
        versions, failures = _models(
            engine,
            list(quarters),
            series=series,
            model=model,
            seed=seed,
            now=now,
            pool=pool,
            progress=progress,
            report=report,
        )
        stored = 0
        for done, (quarter, (version, trained)) in enumerate(versions.items()):
            progress(done, len(versions), f"forecasting {quarter_name(quarter)}")
            try:
                # Each origin sees the candles as they were known then; origins between two revisions share a view.
                forecasts = [
                    made
                    for candles, some in _by_view(history, quarters[quarter])
                    for made in forecaster(model).forecast(trained, candles, some, horizon)
                ]
                with writing(engine) as conn:
                    stored += insert_forecasts(
                        conn,
                        series=series,
                        model=model,
                        model_version=version,
                        kind=Kind.BACKFILL,
                        forecasts=forecasts,
                        created_at=not_before(history, now),
                        flow_run=flow_run,
                    )
            except DatabaseUnusable:
                # No other quarter would fare better.
                raise
            except Exception as error:
                reraise_termination(error)
                failures.append(Failure(series, model, quarter, _reason(error)))
    return Backfilled(series, model, len(origins), stored, tuple(failures))


def _quarters(missing: Sequence[datetime], model: str, history: CandleHistory) -> dict[datetime, list[datetime]]:
    """Return the missing origins by quarter, without the quarters before which there is too little to learn from."""
    needs = family(model)
    quarters = by_quarter(missing)
    if not needs.learns:
        return quarters
    closes = history.known_at()["close_time"]
    first_close = closes.iloc[min(needs.min_candles, len(closes)) - 1].to_pydatetime()
    return {quarter: group for quarter, group in quarters.items() if quarter >= first_close}


def _models(
    engine: Engine,
    quarters: Sequence[datetime],
    *,
    series: str,
    model: str,
    seed: int,
    now: datetime,
    pool: Sequence[str],
    progress: Progress,
    report: Report,
) -> tuple[Mapping[datetime, tuple[int, TrainedModel]], list[Failure]]:
    """Return version and weights for each quarter that could be trained, and the quarters that could not.

    One quarter's trouble fails the fleet, so after a failure each is trained alone to see which it is.
    """

    def train(some: Sequence[datetime]) -> dict[datetime, tuple[int, TrainedModel]]:
        return trained_models(
            engine,
            series=series,
            model=model,
            cutoffs=some,
            purpose="backfill",
            seed=seed,
            now=now,
            pool=pool,
            progress=progress,
        )

    try:
        return train(quarters), []
    except DatabaseUnusable:
        raise
    except Exception as error:
        reraise_termination(error)
        report.log(f"{series} {model}: training all quarters at once failed ({_reason(error)}); one at a time")
    found: dict[datetime, tuple[int, TrainedModel]] = {}
    failures = []
    for quarter in quarters:
        try:
            found |= train([quarter])
        except DatabaseUnusable:
            raise
        except Exception as error:
            reraise_termination(error)
            failures.append(Failure(series, model, quarter, _reason(error)))
    return found, failures


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _by_view(history: CandleHistory, origins: Sequence[datetime]) -> list[tuple[CandleFrame, list[datetime]]]:
    grouped: dict[int, tuple[CandleFrame, list[datetime]]] = {}
    for origin in origins:
        view = history.known_at(origin)
        grouped.setdefault(id(view), (view, []))[1].append(origin)
    return list(grouped.values())


def backfill_series(
    engine: Engine,
    *,
    series: str,
    models: Sequence[str],
    start: datetime,
    end: datetime,
    horizon: int,
    seed: int,
    now: datetime,
    pool: Sequence[str],
    flow_run: str | None,
    report: Report = SILENT,
) -> list[Backfilled]:
    """Store and score the missing backfilled forecasts of one series for origins in start..end, model by model."""
    SeriesName.parse(series)
    done = []
    # Read once for all models, so that they share the frames, and what was worked out from them.
    with reading(engine) as conn:
        history = read_history(conn, series=series)
    for model in models:
        origins = possible_origins(engine, series=series, model=model, start=start, end=end)
        with report.progress(f"backfilling {model} on {series}") as progress:
            result = backfill(
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
                report=report,
                history=history,
            )
        report.log(f"{series} {model}: {result.stored} of {result.origins} origins stored now")
        done.append(result)
    score_matured(engine, series=series, now=now)
    return done
