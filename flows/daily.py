"""The daily flow: wait for each series' candle, forecast when it comes, score and draw; then train the models due."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from sqlalchemy import Engine

from flows.hanging import ended_if_it_hangs
from flows.learning import trainings_due
from flows.parameters import SeriesParameter
from flows.settings import Settings
from flows.sources import cdd_client
from models.schedule import Mode
from models.times import RunClock
from storage.database.engine import open_database
from storage.database.locks import LOST, locked
from tasks.dispatch import train_elsewhere
from tasks.policies import forecast_task, ingest_task, publish_task, score_task, wait_task, watch_task
from tasks.steps.asking import Answer, Cause, Desk, Wait
from tasks.steps.elsewhere import InChild, InThisProcess, Steps
from tasks.steps.termination import reraise_termination, resend_lost_sigterm
from tasks.steps.train import Due


class DailyFailed(RuntimeError):
    """Some series could not be brought up to date; the message names each of them with its reason."""


# Called with a series, a sentence about what failed, and the error; with None when it has succeeded after all.
Note = Callable[[str, str, Exception | None], None]


@flow(name="daily")
def daily(
    series: list[SeriesParameter] | None = None,
    mode: Mode = Mode.AUTO,
    now: datetime | None = None,
    wait: bool = False,
    train: bool = True,
) -> None:
    """Bring every series up to date, then train the models that are due; fail at the end if a series failed.

    With `wait` the flow asks again for a due candle that is not published yet, until it is there or the setting
    `wait_hours` has passed since its close. Without `wait` it asks once for each series. `train` is False in the second
    run of a day that crashed. `series` defaults to the setting; `now` replaces the clock.
    """
    resend_lost_sigterm()
    settings = Settings() if series is None else Settings(series=tuple(series))
    clock = RunClock(now, stands=now is not None and not wait)
    with ended_if_it_hangs():
        run_day(settings, mode=mode if train else None, wait=wait, clock=clock)


# Deployments and `serve` use this one, with `wait`. A wait takes 23 hours at most; the time-out stops a training that
# hangs, so that it does not block the next day.
scheduled = daily.with_options(timeout_seconds=86_000)


def run_day(settings: Settings, *, mode: Mode | None, wait: bool, clock: RunClock) -> None:
    """Do one day by `clock`; without a `mode` nothing is trained.

    A series that fails does not stop the others. If the source does not answer, the champion forecasts from the stored
    candles. No training begins before every series has its candle or is given up, so a training cannot cost a forecast,
    not even when it kills the process. Raises DailyFailed.
    """
    log = get_run_logger()
    problems: dict[tuple[str, str], str] = {}

    def note(name: str, what: str, error: Exception | None) -> None:
        if error is None:
            problems.pop((name, what), None)
            return
        reraise_termination(error)
        problems[name, what] = f"{name}: {what}: {error}"
        log.error("%s: %s: %s", name, what, error)

    engine = open_database(settings.database_url)
    # A process that waits for hours does the heavy work in a child, to stay small; a single run needs no child.
    steps: Steps = InChild(settings.database_url) if wait else InThisProcess(engine)
    try:
        bring_all_up_to_date(engine, steps, settings, wait=wait, clock=clock, note=note)
        steps.rest()
        if mode is not None:
            with one_run_at_a_time(engine, "training"):
                train_what_is_due(engine, InThisProcess(engine), settings, mode=mode, clock=clock, note=note)
    finally:
        steps.rest()
        engine.dispose()
    if problems:
        raise DailyFailed("; ".join(problems.values()))


def one_run_at_a_time(engine: Engine, name: str) -> AbstractContextManager[None]:
    """Hold the lock of one series' day, and say in the log who waits for it and when it was lost."""
    log = get_run_logger()
    return locked(
        engine,
        f"daily-{name}",
        waiting=partial(log.info, "%s: another run works on it; waiting", name),
        lost=partial(log.warning, "%s: %s", name, LOST),
    )


def bring_all_up_to_date(
    engine: Engine, steps: Steps, settings: Settings, *, wait: bool, clock: RunClock, note: Note
) -> None:
    """Ask for all series at once, and bring each one up to date as soon as its candle is there."""
    log = get_run_logger()
    with Desk(
        engine,
        cdd_client(settings),
        series=list(settings.series),
        clock=clock,
        poll_interval_s=settings.poll_interval_s,
        wait_hours=settings.wait_hours if wait else None,
    ) as desk:
        shown_as_waiting: set[str] = set()
        for news in desk.news():
            one, name = news.wait, news.wait.series
            waits = wait and not one.late and not desk.is_stored(one)
            with one_run_at_a_time(engine, name):
                fresh = news.answer is not None and ingest(steps, name, news.answer, now=clock(), note=note)
                # The due candle may be there in a minute, so a forecast from an older origin would be useless.
                soon = waits and one.doubtful and not desk.is_stored(one)
                has_new_forecast = not soon and forecast(steps, name, settings, clock=clock, note=note)
                has_its_day = not waits or desk.is_stored(one)
                # A series that waits and has nothing new has nothing to score or to draw.
                if (fresh and not soon) or has_new_forecast or has_its_day:
                    # While it waits, the forecast is from an older close, and the morning note would be old news.
                    score_and_show(steps, one, settings, now=clock(), with_note=has_its_day, note=note)
            if news.cause is Cause.STORED:
                note(name, "the download was not stored", None)
            if one.late:
                note(name, "late", TimeoutError(one.with_advice(f"{one.candle} has not been published in time")))
            elif waits and name not in shown_as_waiting and not desk.is_stored(one):
                shown_as_waiting.add(name)
                wait_task.submit(one, series=name)
            elif not wait and not desk.is_stored(one):
                log.info("%s: %s is not published yet; %s", name, one.candle, one.usual_words)
            if desk.idle:
                steps.rest()


def ingest(steps: Steps, name: str, answer: Answer, *, now: datetime, note: Note) -> bool:
    """Store one answer of the source; returns whether it contained a new file."""
    try:
        report = ingest_task(steps, series=name, answer=answer, now=now)
    except Exception as error:  # whatever failed, the champion still forecasts from the stored candles
        note(name, "the download was not stored", error)
        return False
    get_run_logger().info("%s: %s", name, report)
    note(name, "the download was not stored", None)
    return report.outcome == "stored"


def forecast(steps: Steps, name: str, settings: Settings, *, clock: RunClock, note: Note) -> bool:
    """Store the live forecasts that are missing; returns whether any were missing."""
    try:
        forecasts = forecast_task(
            steps, series=name, model=settings.model, horizon=settings.horizon, clock=clock, flow_run=flow_run.id
        )
    except Exception as error:
        note(name, "no forecast", error)
        return False
    get_run_logger().info("%s: champion is version %d", name, forecasts.champion)
    if forecasts.young is not None:
        get_run_logger().info("%s: %s", name, forecasts.young)
    note(name, "no forecast", None)
    return bool(forecasts.new)


def score_and_show(steps: Steps, wait: Wait, settings: Settings, *, now: datetime, with_note: bool, note: Note) -> None:
    """Score the forecasts of one series whose candles have closed, check the series, and draw its newest forecast.

    The morning note is sent only `with_note`.
    """
    log, name = get_run_logger(), wait.series
    what = "the forecasts were not scored or shown"
    try:
        score_task(steps, series=name, now=now)
        for trouble in watch_task(steps, series=name, now=now, wait=wait):
            log.warning("%s: %s", name, trouble)
        show(steps, name, settings, with_note=with_note)
    except Exception as error:
        note(name, what, error)
        return
    note(name, what, None)


def train_what_is_due(
    engine: Engine, steps: Steps, settings: Settings, *, mode: Mode, clock: RunClock, note: Note
) -> None:
    """Train the challengers that are due, here or by a deployment, in one run for all series.

    Afterwards it stores the live forecasts that the newest origins lack. A new version of a model that already has a
    forecast of this origin starts with the next origin: each model has one forecast per origin.
    """
    due: list[Due] = []
    try:
        # Checked before a run is started, so that nothing is started, here or on the GPU, when no training is due.
        due = trainings_due(engine, settings, series=settings.series, mode=mode, now=clock())
        if not due:
            return
        if settings.train_deployment:
            train_elsewhere(settings.train_deployment, due=due, timeout_s=settings.train_timeout_s)
        else:
            # This imports pandas, which a day that waits does not need.
            from flows.retrain import retrain

            retrain(due=due, now=clock())
    except Exception as error:
        note(settings.model, "training did not finish, the champion stays", error)
    for name in dict.fromkeys(name for one in due for name in one.judged):
        with one_run_at_a_time(engine, name):
            if forecast(steps, name, settings, clock=clock, note=note):
                try:
                    show(steps, name, settings, with_note=True)
                except Exception as error:
                    note(name, "the new forecast was not shown", error)


def show(steps: Steps, name: str, settings: Settings, *, with_note: bool) -> None:
    """Draw one series' newest forecast, and send its morning note if `with_note`."""
    chart = publish_task(steps, series=name, reports=settings.reports, with_note=with_note)
    get_run_logger().info("%s: chart at %s", name, chart)
