"""The daily flow: ingest, forecast, score what has matured, show it; then train what is due."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from sqlalchemy import Engine

from flows.parameters import SeriesParameter
from flows.retrain import retrain
from flows.settings import Settings
from flows.sources import cdd_client
from models.forecasts import BASELINE, REFERENCES
from models.schedule import Mode
from models.times import Clock, clock_from
from storage.database.engine import open_database
from storage.database.locks import locked
from storage.source.client import CddClient
from tasks.dispatch import NobodyTrains, train_elsewhere
from tasks.policies import forecast_task, ingest_task, publish_task, score_task, watch_task
from tasks.steps.gate import ensure_champion
from tasks.steps.termination import reraise_termination, resend_lost_sigterm
from tasks.steps.train import baseline_version, plan_training


class DailyFailed(RuntimeError):
    """Some series could not be brought up to date; the message names each with its reason."""


# Says what could not be done, and why; the day goes on.
Tried = Callable[[str, Exception], None]


@flow(name="daily")
def daily(series: list[SeriesParameter] | None = None, mode: Mode = Mode.AUTO, now: datetime | None = None) -> None:
    """Bring every series up to date, then train what is due; fail at the end, naming them, if some could not be.

    One series' trouble does not stop the others, and a failed download does not stop a series: the champion forecasts
    from the candles there are. No training begins before every series has its forecast, so nothing that a training
    does, not even to the process it runs in, costs one. `series` defaults to the settings'; a given `now` is where the
    run's clock starts.
    """
    resend_lost_sigterm()
    settings = Settings() if series is None else Settings(series=tuple(series))
    log = get_run_logger()
    clock = clock_from(now)
    problems: list[str] = []
    nobody_trains = False

    def tried(name: str, what: str, error: Exception) -> None:
        nonlocal nobody_trains
        reraise_termination(error)
        nobody_trains = nobody_trains or isinstance(error, NobodyTrains)
        problems.append(f"{name}: {what}: {error}")
        log.error("%s: %s: %s", name, what, error)

    engine = open_database(settings.database_url)
    # One for all series: it spaces its requests.
    bring = partial(bring_up_to_date, client=cdd_client(settings))
    try:
        for half in (bring, partial(train_what_is_due, mode=mode)):
            for name in settings.series:
                if nobody_trains:
                    log.warning("%s: no training was tried, since nobody took the one before", name)
                    continue
                # Whoever comes second finds the work done.
                waiting = partial(log.info, "%s: another run is at it; waiting", name)
                with locked(engine, f"daily-{name}", waiting=waiting):
                    half(engine, name, settings, clock=clock, tried=partial(tried, name))
    finally:
        engine.dispose()
    if problems:
        raise DailyFailed("; ".join(problems))


# As it is deployed: a source that is away at midnight is asked again, three times, half an hour apart. By hand a person
# decides when to try again.
scheduled = daily.with_options(retries=3, retry_delay_seconds=1800, timeout_seconds=6 * 3600)


def bring_up_to_date(
    engine: Engine, name: str, settings: Settings, *, client: CddClient, clock: Clock, tried: Tried
) -> None:
    """Ingest, forecast with the champion beside the references, score, watch and show one series."""
    log = get_run_logger()
    try:
        report = ingest_task(engine, series=name, client=client, now=clock())
        log.info("%s: %s", name, report)
    except Exception as error:  # whatever happened, the champion still forecasts from what is stored
        tried("the download was not stored", error)
    try:
        champion = ensure_champion(engine, series=name, baseline=BASELINE, now=clock())
        versions = [baseline_version(engine, series=name, model=model, now=clock()) for model in REFERENCES]
        forecast_task(
            engine,
            series=name,
            versions=list(dict.fromkeys([*versions, champion])),
            horizon=settings.horizon,
            clock=clock,
            flow_run=flow_run.id,
        )
        log.info("%s: champion is version %d", name, champion)
    except Exception as error:
        tried("no forecast", error)
    try:
        score_task(engine, series=name, now=clock())
        for trouble in watch_task(engine, series=name, now=clock()):
            log.warning("%s: %s", name, trouble)
        show(engine, name, settings)
    except Exception as error:
        tried("the forecasts were not scored or shown", error)


def train_what_is_due(engine: Engine, name: str, settings: Settings, *, mode: Mode, clock: Clock, tried: Tried) -> None:
    """Train one series' challenger, here or elsewhere; one that takes over forecasts at once beside who served before.

    A newer version of the model that serves speaks from the next origin on: of one origin a model says one thing.
    """
    log = get_run_logger()
    try:
        # Asked here, so that a day on which nothing is due costs no run of its own, here or on the GPU.
        if plan_training(engine, series=name, mode=mode, schedule=settings.schedule) is None:
            log.info("%s: no training is due", name)
            return
        before = ensure_champion(engine, series=name, baseline=BASELINE, now=clock())
        if settings.train_deployment:
            train_elsewhere(settings.train_deployment, series=name, mode=mode, timeout_s=settings.train_timeout_s)
        else:
            retrain(series=name, mode=mode, now=clock())
    except Exception as error:
        tried("training did not finish, the champion stays", error)
        return
    try:
        champion = ensure_champion(engine, series=name, baseline=BASELINE, now=clock())
        if champion != before and forecast_task(
            engine, series=name, versions=[champion], horizon=settings.horizon, clock=clock, flow_run=flow_run.id
        ):
            log.info("%s: champion is now version %d", name, champion)
            show(engine, name, settings)
    except Exception as error:
        tried("the new champion made no forecast", error)


def show(engine: Engine, name: str, settings: Settings) -> None:
    """Draw one series' newest forecast."""
    chart = publish_task(engine, series=name, reports=settings.reports)
    get_run_logger().info("%s: chart at %s", name, chart)
