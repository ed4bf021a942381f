"""The daily flow: ingest, train what is due, forecast, score what has matured, show it."""

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from sqlalchemy import Engine

from flows.parameters import SeriesParameter
from flows.retrain import retrain
from flows.settings import Settings
from flows.sources import cdd_client
from models.forecasts import BASELINE, REFERENCES
from models.schedule import Mode
from storage.engine import open_database
from storage.locks import exclusively
from tasks.dispatch import train_elsewhere
from tasks.forecast import forecast_task
from tasks.ingest import ingest_task
from tasks.publish import publish_task
from tasks.score import ensure_champion, score_task
from tasks.stopping import heed, insist
from tasks.train import baseline_version, plan_training
from tasks.watch import watch_task


class DailyFailed(RuntimeError):
    """Some series could not be brought up to date; the message names each with its reason."""


@flow(name="daily")
def daily(series: list[SeriesParameter] | None = None, mode: Mode = Mode.AUTO, now: datetime | None = None) -> None:
    """Bring every series up to date; fail at the end, naming them, if some could not be.

    One series' trouble does not stop the others, and a failed download or training does not stop a series: the
    champion forecasts from the candles there are. `series` defaults to the settings'; `now` replaces the clock.
    """
    insist()
    settings = Settings() if series is None else Settings(series=tuple(series))
    clock = now or datetime.now(UTC)
    engine = open_database(settings.database_url)
    try:
        problems = [
            problem for name in settings.series for problem in one_at_a_time(engine, name, settings, mode, clock)
        ]
    finally:
        engine.dispose()
    if problems:
        raise DailyFailed("; ".join(problems))


# As it is deployed: a source that is away at midnight is asked again, three times, half an hour apart. By hand a person
# decides when to try again.
scheduled = daily.with_options(retries=3, retry_delay_seconds=1800, timeout_seconds=6 * 3600)


def one_at_a_time(engine: Engine, name: str, settings: Settings, mode: Mode, now: datetime) -> list[str]:
    """Run one series' day when no other process does; whoever comes second finds the work done."""
    log = get_run_logger()
    with exclusively(engine, f"daily-{name}", waiting=lambda: log.info("%s: another run is at it; waiting", name)):
        return bring_up_to_date(engine, name, settings, mode, now)


def bring_up_to_date(engine: Engine, name: str, settings: Settings, mode: Mode, now: datetime) -> list[str]:
    """Run one series' day; returns what went wrong on the way, empty when all went well."""
    log = get_run_logger()
    problems: list[str] = []

    def tried(what: str, error: Exception) -> None:
        heed(error)
        problems.append(f"{name}: {what}: {error}")
        log.error("%s: %s: %s", name, what, error)

    try:
        report = ingest_task(engine, series=name, client=cdd_client(settings), now=now)
        log.info("%s: %s", name, report)
    except Exception as error:  # whatever happened, the champion still forecasts from what is stored
        tried("the download was not stored", error)
    try:
        # Asked here, so that a day on which nothing is due costs no run of its own, here or on the GPU.
        if plan_training(engine, series=name, mode=mode, schedule=settings.schedule) is None:
            log.info("%s: no training is due", name)
        elif settings.train_deployment:
            train_elsewhere(settings.train_deployment, series=name, mode=mode, timeout_s=settings.train_timeout_s)
        else:
            retrain(series=name, mode=mode, now=now)
    except Exception as error:
        tried("training did not finish, the champion stays", error)
    try:
        champion = ensure_champion(engine, series=name, baseline=BASELINE, now=now)
        versions = [baseline_version(engine, series=name, model=model, now=now) for model in REFERENCES]
        forecast_task(
            engine,
            series=name,
            versions=list(dict.fromkeys([*versions, champion])),
            horizon=settings.horizon,
            now=now,
            flow_run=flow_run.id,
        )
        log.info("%s: champion is version %d", name, champion)
    except Exception as error:
        tried("no forecast", error)
    try:
        score_task(engine, series=name, now=now)
        for trouble in watch_task(engine, series=name, now=now):
            log.warning("%s: %s", name, trouble)
        chart = publish_task(engine, series=name, reports=settings.reports)
        log.info("%s: chart at %s", name, chart)
    except Exception as error:
        tried("the forecasts were not scored or shown", error)
    return problems
