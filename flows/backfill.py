"""Backfill: store every missing forecast of past origins, with models no newer than the origins they serve."""

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import SecretStr

from flows.jobs import backfill_job
from flows.parameters import EndParameter, ModelParameter, SeriesParameter, StartParameter
from flows.runners import task_runner
from flows.settings import Settings
from storage.database.engine import open_database
from tasks.policies import backfill_task
from tasks.steps.backfill import Backfilled, Failure
from tasks.steps.termination import reraise_termination, resend_lost_sigterm


class BackfillFailed(RuntimeError):
    """Some partitions failed; the message names each with its reason. The others are stored."""


@flow(name="backfill")
def backfill(
    series: list[SeriesParameter],
    start: StartParameter,
    end: EndParameter,
    models: list[ModelParameter] | None = None,
    now: datetime | None = None,
) -> list[Backfilled]:
    """Store and score every missing forecast of `series` with origins in start..end (both included).

    `models` defaults to the baseline and the settings' model. A forecast is missing if it is not in the database, so
    after an interruption simply run the same backfill again. The setting `task_runner` decides whether series run in
    parallel. `now` replaces the clock. Raises BackfillFailed at the end, naming the partitions that failed.
    """
    if end < start:
        raise ValueError(f"the backfill's end {end} is before its start {start}")
    resend_lost_sigterm()
    settings = Settings()
    log = get_run_logger()
    clock = now or datetime.now(UTC)
    # Migrate the database once, before several processes use it.
    open_database(settings.database_url).dispose()
    done: list[Backfilled] = []
    failures: list[Failure] = []
    with task_runner(settings.task_runner, pieces=len(series)) as runner:
        futures = {
            name: runner.submit(
                backfill_task,
                parameters={
                    "database_url": SecretStr(settings.database_url),
                    "job": backfill_job(
                        settings, name, models=models, start=start, end=end, now=clock, flow_run=flow_run.id
                    ),
                },
            )
            for name in dict.fromkeys(series)
        }
        for name, future in futures.items():
            try:
                done += future.result()
            except Exception as error:
                reraise_termination(error)
                failures.append(Failure(name, "every model", None, f"{type(error).__name__}: {error}"))
    failures += [failure for result in done for failure in result.failures]
    for result in done:
        log.info("%s %s: %d of %d origins stored now", result.series, result.model, result.stored, result.origins)
    if failures:
        raise BackfillFailed("; ".join(map(str, failures)))
    return done
