"""Every Prefect task on one page: its name, its retries and the plain function that it calls.

A task holds no arithmetic: it calls one or two functions of `tasks.steps` or `tasks.show` and tells Prefect about it.
No task is retried: the day itself asks a source again (tasks/steps/asking.py), and the next run repeats everything else
that failed. A task imports the modules that need pandas, TensorFlow or matplotlib only when it runs: a day that waits
for its candles imports this page, and its process has to stay small.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from pydantic import SecretStr
from sqlalchemy import Engine

from models.candles import SeriesName
from models.gate import Decision
from models.times import Clock
from storage.database.engine import disposing, make_engine
from tasks.show.events import DEMOTED, DRIFT, LATE, NEW_FORECAST, ODD_BAND, STALE, emit_event
from tasks.show.progress import reported_progress, run_report
from tasks.show.publish import publish
from tasks.steps.asking import Wait
from tasks.steps.elsewhere import Steps
from tasks.steps.forecast import LiveForecasts, forecast_newest
from tasks.steps.freshness import note_late
from tasks.steps.gate import gate
from tasks.steps.ingest import IngestReport, Source, ingest_series
from tasks.steps.markets import FetchedMarkets, fetch_markets
from tasks.steps.score import score_matured
from tasks.steps.train import Due, trained_models
from tasks.steps.watch import watch

if TYPE_CHECKING:
    from models.frames import CandleFrame
    from models.tutorial.recipe import Recipe
    from models.tutorial.study import Line, Trial
    from tasks.show.study import Study
    from tasks.steps.backfill import Backfilled, BackfillJob
    from tasks.steps.replay import Replayed

# --- the day -----------------------------------------------------------------------------------------------------


class Late(RuntimeError):
    """The candle that was waited for has not been published in time."""


@task(name="wait", task_run_name="wait-{series}", cache_policy=NO_CACHE)
def wait_task(wait: Wait, *, series: str) -> None:
    """Show on Prefect's pages that the day waits for a series, since when, and how the wait ended.

    The desk (tasks/steps/asking.py) asks the source. Raises Late when the day has given up the candle.
    """
    log = get_run_logger()
    log.info(wait.words)
    wait.over.wait()
    if wait.late:
        raise Late(wait.with_advice(f"{wait.candle} has not been published by {wait.deadline:%Y-%m-%d %H:%M} UTC"))
    log.info("%s: done waiting", series)


@task(name="ingest", task_run_name="ingest-{series}", cache_policy=NO_CACHE)
def ingest_task(steps: Steps, *, series: str, answer: Source, now: datetime) -> IngestReport:
    """Ingest one answer of the source; the day itself decides when to ask again."""
    return steps(ingest_series, series=series, client=answer, now=now)


@task(name="forecast", task_run_name="forecast-{series}", cache_policy=NO_CACHE)
def forecast_task(
    steps: Steps, *, series: str, model: str, horizon: int, clock: Clock, flow_run: str | None
) -> LiveForecasts:
    """Store the live forecasts that are missing and emit an event for each new one."""
    forecasts = steps(forecast_newest, series=series, model=model, horizon=horizon, clock=clock, flow_run=flow_run)
    for version in forecasts.new:
        emit_event(
            NEW_FORECAST, series=series, message=f"{series}: a new forecast by version {version}", version=version
        )
    return forecasts


@task(name="score", task_run_name="score-{series}", cache_policy=NO_CACHE)
def score_task(steps: Steps, *, series: str, now: datetime) -> int:
    """Score the forecasts whose candles have closed; returns the number of new scores."""
    return steps(score_matured, series=series, now=now)


@task(name="watch", task_run_name="watch-{series}", cache_policy=NO_CACHE)
def watch_task(steps: Steps, *, series: str, now: datetime, wait: Wait | None = None) -> list[str]:
    """Record problems of the data, the champion and its bands, emit an event for each, and return their sentences.

    With `wait` it also checks whether the candle of that wait is late.
    """
    stale, drift, odd, demoted = steps(watch, series=series, now=now)
    troubles = []
    if wait is not None:
        late = steps(note_late, series=series, due=wait.due, given_up=wait.late, now=now)
        if late is not None and wait.late:
            troubles.append(late.message)
            emit_event(LATE, series=series, message=f"{series}: {late.message}")
    if stale is not None:
        troubles.append(stale.message)
        emit_event(STALE, series=series, message=f"{series}: {stale.message}")
    if drift is not None:
        trouble = f"the champion has drifted: {drift.what} (p = {drift.p_value:.2g})"
        troubles.append(trouble)
        emit_event(DRIFT, series=series, message=f"{series}: {trouble}", p_value=drift.p_value)
    for finding in odd:
        troubles.append(finding.message)
        emit_event(ODD_BAND, series=series, message=f"{series}: {finding.message}")
    if demoted is not None:
        trouble = f"the champion was demoted, naive serves: {demoted.reason}"
        troubles.append(trouble)
        emit_event(DEMOTED, series=series, message=f"{series}: {trouble}", evidence=dict(demoted.evidence))
    return troubles


@task(name="publish", task_run_name="publish-{series}", cache_policy=NO_CACHE)
def publish_task(steps: Steps, *, series: str, reports: Path, with_note: bool) -> Path | None:
    """Draw the newest forecast and show its chart, its table and the series' findings in Prefect's UI."""
    return publish(steps, series=series, reports=reports, with_note=with_note)


# --- training ----------------------------------------------------------------------------------------------------


@task(name="fetch-markets", cache_policy=NO_CACHE)
def fetch_markets_task(steps: Steps, *, names: Sequence[str], client: Source, now: datetime) -> FetchedMarkets:
    """Fetch the markets that are only learnt from."""
    return steps(fetch_markets, names=names, client=client, now=now)


@task(name="train", task_run_name="train-{model}", cache_policy=NO_CACHE)
def train_task(engine: Engine, *, model: str, due: Due, seed: int, leave_out: Sequence[str], now: datetime) -> int:
    """Train and register the challenger that is due; returns its version."""
    with reported_progress(f"training {model} for {due.scope}") as progress:
        trained = trained_models(
            engine,
            scope=due.scope,
            model=model,
            cutoffs=[due.cutoff],
            purpose="live",
            seed=seed,
            now=now,
            leave_out=leave_out,
            init_from=due.init_from,
            progress=progress,
        )
    return trained[due.cutoff][0]


@task(name="backfill", task_run_name="backfill-{job.series}", cache_policy=NO_CACHE)
def backfill_task(database_url: SecretStr, job: "BackfillJob") -> "list[Backfilled]":
    """Backfill one series in the process, and on the machine, where this task runs."""
    from tasks.steps.backfill import backfill_series

    with disposing(make_engine(database_url.get_secret_value())) as engine:
        return backfill_series(engine, job, run_report())


@task(name="gate", task_run_name="gate-{series}", cache_policy=NO_CACHE)
def gate_task(
    engine: Engine, *, series: str, version: int, model: str, baseline: str, start: datetime, now: datetime
) -> Decision:
    """Judge a challenger and record the decision."""
    return gate(engine, series=series, version=version, model=model, baseline=baseline, start=start, now=now)


@task(name="replay", task_run_name="replay-{forecast}", cache_policy=NO_CACHE)
def replay_task(engine: Engine, *, forecast: int) -> "Replayed":
    """Compute one stored forecast again and compare the two."""
    from tasks.steps.replay import replay

    return replay(engine, forecast=forecast)


# --- the study ---------------------------------------------------------------------------------------------------


@task(name="load-closes", cache_policy=NO_CACHE)
def load_closes_task(file: Path, *, start: datetime, end: datetime) -> "CandleFrame":
    """Read the price-and-volume CSV."""
    from tasks.steps.study import load_closes

    candles = load_closes(file, start=start, end=end)
    get_run_logger().info("%s: %d closes", file.name, len(candles))
    return candles


@task(name="train-recipe", cache_policy=NO_CACHE)
def train_recipe_task(
    candles: "CandleFrame", recipe: "Recipe", *, window_sizes: Sequence[int], seeds: int
) -> "tuple[list[Trial], float]":
    """Train every setup, window length and seed, and log each epoch's losses; returns the trials and the seconds."""
    from models.tutorial.study import run_trials

    log = get_run_logger()
    began = time.perf_counter()
    with reported_progress("training the tutorial's recipe") as progress:

        def report(done: int, epochs: int, losses: dict[str, float]) -> None:
            losses_text = "; ".join(f"{label} {loss:.5f}" for label, loss in losses.items())
            log.info("epoch %d/%d, loss: %s", done, epochs, losses_text)
            progress(done, epochs, "epoch")

        trials = run_trials(
            candles["close"].to_numpy(float), recipe, window_sizes=window_sizes, seeds=seeds, report=report
        )
    return trials, time.perf_counter() - began


@task(name="judge-recipe", cache_policy=NO_CACHE)
def judge_task(
    candles: "CandleFrame", trials: "Sequence[Trial]", recipe: "Recipe", *, series: SeriesName, quick: bool
) -> "list[Line]":
    """Score the recipe, naive and blend on the same days."""
    from tasks.steps.study import judge_study

    with reported_progress("making walk-forward forecasts of naive and blend") as progress:
        return judge_study(candles, trials, recipe, series=str(series), quick=quick, progress=progress)


@task(name="publish-study", cache_policy=NO_CACHE)
def publish_study_task(
    candles: "CandleFrame",
    trials: "Sequence[Trial]",
    lines: "Sequence[Line]",
    recipe: "Recipe",
    *,
    series: SeriesName,
    seconds_taken: float,
    folder: Path,
    quick: bool,
) -> "Study":
    """Write the study to `folder` and show its page, table and figures in Prefect's UI."""
    from tasks.show.study import show_study, write_study

    study = write_study(
        candles, trials, lines, recipe, series=series, seconds_taken=seconds_taken, folder=folder, quick=quick
    )
    show_study(study, series=series)
    get_run_logger().info("the study is at %s", study.page)
    return study
