"""Train or fine-tune a challenger and let the gate decide whether it becomes champion. Runs where the GPU is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import SecretStr
from sqlalchemy import Engine

from flows.hanging import ended_if_it_hangs
from flows.jobs import backfill_job
from flows.learning import trainings_due
from flows.parameters import SeriesParameter
from flows.settings import Settings
from models.forecasts import BASELINE, REFERENCES
from models.schedule import Mode
from storage.database.engine import disposing, open_database, writing
from storage.registry import prune_weights
from tasks.policies import backfill_task, gate_task, train_task
from tasks.steps.termination import resend_lost_sigterm
from tasks.steps.train import Due


class NotJudged(RuntimeError):
    """Some series were not judged, for want of walk-forward forecasts, so their champions stay."""


@flow(name="retrain")
def retrain(
    series: list[SeriesParameter] | None = None,
    mode: Mode = Mode.AUTO,
    now: datetime | None = None,
    due: list[Due] | None = None,
) -> list[int]:
    """Train what is due for `series` and let the gate decide; returns the new versions.

    One run does everything that is due: a pooled model is trained once for all series of an interval, and the gate
    judges it for each of them. `series` defaults to the setting. `due` are the trainings that the daily flow has
    planned; without it they are planned here, as `mode` says.

    The challenger is judged on stored walk-forward forecasts of the last `skill_days`, the baseline's beside it, so
    these can be queried like any other forecast. `now` replaces the clock. Raises NotJudged at the end.
    """
    resend_lost_sigterm()
    settings = Settings()
    clock = now or datetime.now(UTC)
    with disposing(open_database(settings.database_url)) as engine, ended_if_it_hangs():
        if due is None:
            due = trainings_due(engine, settings, series=series or settings.series, mode=mode, now=clock)
        return train_and_judge(engine, settings, due, now=clock)


def train_and_judge(engine: Engine, settings: Settings, due: Sequence[Due], *, now: datetime) -> list[int]:
    """Do each training and let the gate judge it; returns the new versions. Raises NotJudged at the end."""
    log = get_run_logger()
    versions = []
    failures: list[str] = []
    for one in due:
        log.info("training %s (%s) for %s, up to %s", settings.model, one.mode, one.scope, one.cutoff)
        version = train_task(
            engine, model=settings.model, due=one, seed=settings.seed, leave_out=settings.learn_except, now=now
        )
        versions.append(version)
        for name in one.judged:
            failures += judge(engine, settings, name, version=version, cutoff=one.cutoff, now=now)
        with writing(engine) as conn:
            pruned = prune_weights(conn, scope=one.scope, model=settings.model, keep=settings.keep_weights)
        if pruned:
            log.info("deleted the weights of %d old versions", pruned)
    if failures:
        raise NotJudged("; ".join(failures))
    return versions


def judge(
    engine: Engine, settings: Settings, series: str, *, version: int, cutoff: datetime, now: datetime
) -> list[str]:
    """Let the gate decide whether `version` becomes the champion of one series; returns why it could not be judged.

    The walk-forward forecasts that are missing are made first.
    """
    start = cutoff - timedelta(days=settings.skill_days)
    job = backfill_job(
        settings,
        series,
        models=(*REFERENCES, settings.model),
        start=start,
        end=cutoff,
        now=now,
        flow_run=flow_run.id,
    )
    done = backfill_task(SecretStr(settings.database_url), job)
    failures = [failure for result in done for failure in result.failures]
    if failures:
        return [f"version {version} was not judged: {'; '.join(map(str, failures))}"]
    decision = gate_task(
        engine, series=series, version=version, model=settings.model, baseline=BASELINE, start=start, now=now
    )
    outcome = "promoted" if decision.promote else "kept"
    get_run_logger().info("%s: version %d %s: %s", series, version, outcome, decision.reason)
    return []


# As it is deployed. It is not tried again: the champion serves, and the next day's run trains what is still due.
deployed = retrain.with_options(timeout_seconds=6 * 3600)
