"""Every Prefect task on one page: its name, its retries and the plain function it stands for.

A task holds no arithmetic: it calls one or two functions of `tasks.steps` or `tasks.show` and tells Prefect about it.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency
from pydantic import SecretStr
from sqlalchemy import Engine

from models.candles import SeriesName
from models.frames import CandleFrame
from models.gate import Decision
from models.schedule import Mode
from models.times import Clock
from models.tutorial.recipe import Recipe
from models.tutorial.study import Line, Trial, run_trials
from storage.database.engine import make_engine
from storage.errors import CddUnavailable
from storage.source.client import CddClient
from tasks.dispatch import train_elsewhere
from tasks.show.events import DRIFT, NEW_FORECAST, STALE, emit_event
from tasks.show.progress import reported_progress, run_report
from tasks.show.publish import publish
from tasks.show.study import Study, show_study, write_study
from tasks.steps.backfill import Backfilled, BackfillJob, backfill_series
from tasks.steps.forecast import forecast_live
from tasks.steps.gate import gate
from tasks.steps.ingest import IngestReport, ingest_series
from tasks.steps.replay import Replayed, replay
from tasks.steps.score import score_matured
from tasks.steps.study import judge_study, load_closes
from tasks.steps.train import Due, trained_models
from tasks.steps.watch import watch

# --- the day -----------------------------------------------------------------------------------------------------


def _can_heal(_task: object, _run: TaskRun, state: "State[Any]") -> bool:
    return isinstance(state.result(raise_on_failure=False), CddUnavailable)


@task(
    name="ingest",
    task_run_name="ingest-{series}",
    retries=2,
    retry_delay_seconds=[60, 300],
    retry_condition_fn=_can_heal,
    cache_policy=NO_CACHE,
)
def ingest_task(engine: Engine, *, series: str, client: CddClient, now: datetime) -> IngestReport:
    """Ingest one series; retried only when the source may answer later.

    Where the limit `cdd` exists in Prefect, no more tasks than it allows ask the source at a time, on all workers. A
    local folder needs no sparing, and asking Prefect for the slot took longer than reading it.
    """
    with concurrency("cdd", strict=False) if client.remote else nullcontext():
        return ingest_series(engine, series=series, client=client, now=now)


@task(name="forecast", task_run_name="forecast-{series}", cache_policy=NO_CACHE)
def forecast_task(
    engine: Engine, *, series: str, versions: Sequence[int], horizon: int, clock: Clock, flow_run: str | None
) -> int:
    """Store the live forecasts of these model versions and tell Prefect of each new one; returns how many were new."""
    new = forecast_live(engine, series=series, versions=versions, horizon=horizon, clock=clock, flow_run=flow_run)
    for version in new:
        emit_event(
            NEW_FORECAST, series=series, message=f"{series}: a new forecast by version {version}", version=version
        )
    return len(new)


@task(name="score", task_run_name="score-{series}", cache_policy=NO_CACHE)
def score_task(engine: Engine, *, series: str, now: datetime) -> int:
    """Score what has matured."""
    return score_matured(engine, series=series, now=now)


@task(name="watch", task_run_name="watch-{series}", cache_policy=NO_CACHE)
def watch_task(engine: Engine, *, series: str, now: datetime) -> list[str]:
    """Note how old the data is and whether the champion drifts, tell Prefect, and return what is wrong, in words."""
    stale, drift = watch(engine, series=series, now=now)
    troubles = []
    if stale is not None:
        troubles.append(stale.message)
        emit_event(STALE, series=series, message=f"{series}: {stale.message}")
    if drift is not None:
        trouble = f"the champion has drifted: {drift.what} (p = {drift.p_value:.2g})"
        troubles.append(trouble)
        emit_event(DRIFT, series=series, message=f"{series}: {trouble}", p_value=drift.p_value)
    return troubles


@task(name="publish", task_run_name="publish-{series}", cache_policy=NO_CACHE)
def publish_task(engine: Engine, *, series: str, reports: Path) -> Path | None:
    """Draw the newest forecast and show it, its table and the data's findings in Prefect's UI."""
    return publish(engine, series=series, reports=reports)


# --- training ----------------------------------------------------------------------------------------------------


@task(name="train", task_run_name="train-{model}-{series}", cache_policy=NO_CACHE)
def train_task(
    engine: Engine, *, series: str, model: str, due: Due, seed: int, pool: Sequence[str], now: datetime
) -> int:
    """Train and register the challenger that is due; returns its version."""
    with reported_progress(f"training {model} on {series}") as progress:
        trained = trained_models(
            engine,
            series=series,
            model=model,
            cutoffs=[due.cutoff],
            purpose="live",
            seed=seed,
            now=now,
            pool=pool,
            init_from=due.init_from,
            progress=progress,
        )
    return trained[due.cutoff][0]


@task(name="train-elsewhere", task_run_name="train-elsewhere-{series}", cache_policy=NO_CACHE)
def train_elsewhere_task(deployment: str, *, series: str, mode: Mode, timeout_s: float) -> None:
    """Run the training deployment and wait for it, `timeout_s` seconds at most."""
    train_elsewhere(deployment, series=series, mode=mode, timeout_s=timeout_s)


@task(name="backfill", task_run_name="backfill-{job.series}", cache_policy=NO_CACHE)
def backfill_task(database_url: SecretStr, job: BackfillJob) -> list[Backfilled]:
    """Backfill one series, in whichever process or machine this task runs."""
    engine = make_engine(database_url.get_secret_value())
    try:
        return backfill_series(engine, job, run_report())
    finally:
        engine.dispose()


@task(name="gate", task_run_name="gate-{series}", cache_policy=NO_CACHE)
def gate_task(
    engine: Engine, *, series: str, version: int, model: str, baseline: str, start: datetime, now: datetime
) -> Decision:
    """Judge a challenger and record the decision."""
    return gate(engine, series=series, version=version, model=model, baseline=baseline, start=start, now=now)


@task(name="replay", task_run_name="replay-{forecast}", cache_policy=NO_CACHE)
def replay_task(engine: Engine, *, forecast: int) -> Replayed:
    """Make one stored forecast again and compare."""
    return replay(engine, forecast=forecast)


# --- the study ---------------------------------------------------------------------------------------------------


@task(name="load-closes", cache_policy=NO_CACHE)
def load_closes_task(file: Path, *, start: datetime, end: datetime) -> CandleFrame:
    """Read the price-and-volume CSV."""
    candles = load_closes(file, start=start, end=end)
    get_run_logger().info("%s: %d closes", file.name, len(candles))
    return candles


@task(name="train-recipe", cache_policy=NO_CACHE)
def train_recipe_task(
    candles: CandleFrame, recipe: Recipe, *, window_sizes: Sequence[int], seeds: int
) -> tuple[list[Trial], float]:
    """Train every setup, window length and seed, each epoch's loss in the log; returns the seconds it took too."""
    log = get_run_logger()
    began = time.perf_counter()
    with reported_progress("training the tutorial's recipe") as progress:

        def report(done: int, epochs: int, losses: dict[str, float]) -> None:
            shown = "; ".join(f"{label} {loss:.5f}" for label, loss in losses.items())
            log.info("epoch %d/%d, loss: %s", done, epochs, shown)
            progress(done, epochs, "epoch")

        trials = run_trials(
            candles["close"].to_numpy(float), recipe, window_sizes=window_sizes, seeds=seeds, report=report
        )
    return trials, time.perf_counter() - began


@task(name="judge-recipe", cache_policy=NO_CACHE)
def judge_task(candles: CandleFrame, trials: Sequence[Trial], recipe: Recipe, *, quick: bool) -> list[Line]:
    """Put the recipe beside naive and blend on the same days."""
    with reported_progress("walking naive and blend forward") as progress:
        return judge_study(candles, trials, recipe, quick=quick, progress=progress)


@task(name="publish-study", cache_policy=NO_CACHE)
def publish_study_task(
    candles: CandleFrame,
    trials: Sequence[Trial],
    lines: Sequence[Line],
    recipe: Recipe,
    *,
    series: SeriesName,
    seconds_taken: float,
    folder: Path,
    quick: bool,
) -> Study:
    """Write the study to `folder` and show its page, table and figures in Prefect's UI."""
    study = write_study(
        candles, trials, lines, recipe, series=series, seconds_taken=seconds_taken, folder=folder, quick=quick
    )
    show_study(study, series=series)
    get_run_logger().info("the study is at %s", study.page)
    return study
