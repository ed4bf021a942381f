"""Backfilling: store the missing forecasts of past origins, one quarter at a time, with models no newer than it."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.candles import SeriesName
from models.catalog import family, forecaster, scope
from models.forecasts import Kind
from models.frames import CandleFrame
from models.history import CandleHistory
from models.interface import Progress, TrainedModel, silent
from models.schedule import by_quarter
from storage import registry
from storage.candles import not_before, nth_close, read_close_times, read_history
from storage.database.engine import reading, writing
from storage.database.locks import LOST, locked
from storage.errors import DatabaseUnusable
from storage.forecasts import insert_forecasts, missing_origins
from tasks.steps.report import SILENT, Report
from tasks.steps.score import score_matured
from tasks.steps.termination import reraise_termination
from tasks.steps.train import learns_from, trained_models


@dataclass(frozen=True)
class BackfillJob:
    """What to backfill: every missing forecast of one series by `models`, with origins in start..end (both included).

    `seed` and `leave_out` (series that a pooled model does not learn from) are for the models that must be trained
    first. `now` is the run's clock; `flow_run` is stored with each forecast.
    """

    series: str
    models: tuple[str, ...]
    start: datetime
    end: datetime
    now: datetime
    horizon: int = 7
    seed: int = 0
    leave_out: tuple[str, ...] = ()
    flow_run: str | None = None


@dataclass(frozen=True)
class Partition:
    """The unit of a backfill: one series, model and calendar quarter, forecast by one version in one transaction."""

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
    """None when every quarter failed."""
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
    """Return the name of the quarter that begins at `start`, such as 2024-Q3."""
    return f"{start.year}-Q{(start.month + 2) // 3}"


def possible_origins(closes: Sequence[datetime], *, model: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the origins in start..end (both included) that `model` has enough candles to forecast from.

    `closes` are the close times of the series' candles in time order.
    """
    first = max(bisect_left(closes, start), family(model).min_candles - 1)
    return list(closes[first : bisect_right(closes, end)])


def plan_backfill(engine: Engine, job: BackfillJob) -> list[Partition]:
    """Return the partitions of `job` that lack forecasts, model by model in time order."""
    with reading(engine) as conn:
        closes = read_close_times(conn, series=job.series, end=job.end)
        return [
            Partition(job.series, model, quarter, len(origins), _is_trained(conn, job, model, quarter))
            for model in job.models
            for quarter, origins in _missing_by_quarter(
                conn, job, model, possible_origins(closes, model=model, start=job.start, end=job.end)
            ).items()
        ]


def _missing_by_quarter(
    conn: Connection, job: BackfillJob, model: str, origins: Sequence[datetime]
) -> dict[datetime, list[datetime]]:
    """Return those of `origins` that have no forecast yet, by quarter.

    Quarters that begin before any market has enough candles for `model` to learn from are left out.
    """
    missing = missing_origins(conn, series=job.series, model=model, kind=Kind.BACKFILL, origins=origins)
    quarters = by_quarter(missing)
    needs = family(model)
    if not missing or not needs.learns:
        return quarters
    names = learns_from(conn, scope(model, job.series), job.leave_out)
    nths = (nth_close(conn, series=name, n=needs.min_training) for name in names)
    first = min((close for close in nths if close is not None), default=None)
    return {quarter: group for quarter, group in quarters.items() if first is not None and quarter >= first}


def _is_trained(conn: Connection, job: BackfillJob, model: str, quarter: datetime) -> bool:
    cutoff = quarter if family(model).learns else None
    version = registry.find_version(
        conn, scope=scope(model, job.series), model=model, purpose="backfill", cutoff=cutoff, seed=job.seed
    )
    return version is not None


def backfill_series(engine: Engine, job: BackfillJob, report: Report = SILENT) -> list[Backfilled]:
    """Store and score the missing forecasts of `job`, one model after the other."""
    SeriesName.parse(job.series)
    # All models share one history, and with it the frames made from it.
    with reading(engine) as conn:
        history = read_history(conn, series=job.series)
    done = []
    for model in job.models:
        with report.progress(f"backfilling {model} on {job.series}") as progress:
            result = backfill(engine, job, model=model, history=history, progress=progress, report=report)
        report.log(f"{job.series} {model}: {result.stored} of {result.origins} origins stored now")
        done.append(result)
    score_matured(engine, series=job.series, now=job.now)
    return done


def backfill(
    engine: Engine,
    job: BackfillJob,
    *,
    model: str,
    history: CandleHistory,
    origins: Sequence[datetime] | None = None,
    progress: Progress = silent,
    report: Report = SILENT,
) -> Backfilled:
    """Store a forecast by `model` for every origin of `job` that has none. `history` holds the series' candles.

    `origins` restricts the job to some of its origins.

    All models that are missing are trained as one fleet. Then each quarter is forecast and stored in a transaction of
    its own, so an interrupted backfill keeps the finished quarters and the next one does the rest. A quarter that fails
    is named in the result and does not stop the others. If another process is backfilling the same series and model,
    this one waits for it.
    """
    series = job.series
    closes = [close.to_pydatetime() for close in history.known_at()["close_time"]]
    if origins is None:
        origins = possible_origins(closes, model=model, start=job.start, end=job.end)
    with locked(
        engine,
        f"backfill-{series}-{model}",
        waiting=lambda: report.log(f"{series} {model}: waiting for another backfill to finish"),
        lost=lambda: report.log(f"{series} {model}: {LOST}"),
    ):
        with reading(engine) as conn:
            quarters = _missing_by_quarter(conn, job, model, origins)
        if not quarters:
            return Backfilled(series, model, len(origins), 0)
        versions, failures = _train(engine, job, model, list(quarters), history, progress, report)
        # One forecaster for all quarters, so that they share the features of a frame.
        model_forecaster = forecaster(model)
        stored = 0
        for n_done, (quarter, (version, trained)) in enumerate(versions.items()):
            progress(n_done, len(versions), f"forecasting {quarter_name(quarter)}")
            try:
                # Each origin sees the candles as they were known then; origins between two revisions share a view.
                forecasts = [
                    forecast
                    for candles, group in _by_view(history, quarters[quarter])
                    for forecast in model_forecaster.forecast(trained, candles, group, job.horizon)
                ]
                with writing(engine) as conn:
                    stored += insert_forecasts(
                        conn,
                        series=series,
                        model=model,
                        model_version=version,
                        kind=Kind.BACKFILL,
                        forecasts=forecasts,
                        created_at=not_before(history, job.now),
                        flow_run=job.flow_run,
                    )
            except DatabaseUnusable:
                # The other quarters would fail too.
                raise
            except Exception as error:
                reraise_termination(error)
                failures.append(Failure(series, model, quarter, _reason(error)))
    return Backfilled(series, model, len(origins), stored, tuple(failures))


def _train(
    engine: Engine,
    job: BackfillJob,
    model: str,
    quarters: Sequence[datetime],
    history: CandleHistory,
    progress: Progress,
    report: Report,
) -> tuple[Mapping[datetime, tuple[int, TrainedModel]], list[Failure]]:
    """Return version and trained model for each quarter that could be trained, and the quarters that could not.

    One bad quarter makes the whole fleet fail, so after a failure each quarter is trained alone to find it.
    """

    def train(cutoffs: Sequence[datetime]) -> dict[datetime, tuple[int, TrainedModel]]:
        return trained_models(
            engine,
            scope=scope(model, job.series),
            model=model,
            cutoffs=cutoffs,
            purpose="backfill",
            seed=job.seed,
            now=job.now,
            leave_out=job.leave_out,
            histories={job.series: history},
            progress=progress,
        )

    try:
        return train(quarters), []
    except DatabaseUnusable:
        raise
    except Exception as error:
        reraise_termination(error)
        report.log(f"{job.series} {model}: training all quarters at once failed ({_reason(error)}); one at a time")
    versions: dict[datetime, tuple[int, TrainedModel]] = {}
    failures = []
    for quarter in quarters:
        try:
            versions |= train([quarter])
        except DatabaseUnusable:
            raise
        except Exception as error:
            reraise_termination(error)
            failures.append(Failure(job.series, model, quarter, _reason(error)))
    return versions, failures


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _by_view(history: CandleHistory, origins: Sequence[datetime]) -> list[tuple[CandleFrame, list[datetime]]]:
    grouped: dict[int, tuple[CandleFrame, list[datetime]]] = {}
    for origin in origins:
        view = history.known_at(origin)
        grouped.setdefault(id(view), (view, []))[1].append(origin)
    return list(grouped.values())
