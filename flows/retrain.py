"""Train or fine-tune a challenger and let the gate decide whether it becomes champion. Runs where the GPU is."""

from datetime import UTC, datetime, timedelta

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import SecretStr

from flows.jobs import backfill_job
from flows.parameters import SeriesParameter
from flows.settings import Settings
from models.forecasts import BASELINE, REFERENCES
from models.schedule import Mode
from storage.database.engine import open_database, writing
from storage.registry import prune_weights
from tasks.policies import backfill_task, gate_task, train_task
from tasks.steps.termination import resend_lost_sigterm
from tasks.steps.train import Due, plan_training


class NotJudged(RuntimeError):
    """Some walk-forward forecasts for judging a challenger are missing, so the champion stays."""


@flow(name="retrain", flow_run_name="retrain-{series}")
def retrain(
    series: SeriesParameter, mode: Mode = Mode.AUTO, now: datetime | None = None, due: Due | None = None
) -> int | None:
    """Train what is due for `series` and let the gate decide; returns the new version, None when nothing is due.

    `due` is what the daily flow has found to be due; without it that is found here, as `mode` says.

    The challenger is judged on stored walk-forward forecasts of the last `skill_days`, the baseline's beside
    it, so what it was judged on can be queried like any other forecast. `now` replaces the clock in replays.
    """
    resend_lost_sigterm()
    settings = Settings()
    log = get_run_logger()
    clock = now or datetime.now(UTC)
    engine = open_database(settings.database_url)
    try:
        due = due or plan_training(engine, series=series, mode=mode, schedule=settings.schedule)
        if due is None:
            log.info("%s: no training is due", series)
            return None
        log.info("%s: training %s (%s) up to %s", series, settings.model, due.mode, due.cutoff)
        version = train_task(
            engine,
            series=series,
            model=settings.model,
            due=due,
            seed=settings.seed,
            pool=settings.pool_for(series),
            now=clock,
        )
        start = due.cutoff - timedelta(days=settings.skill_days)
        job = backfill_job(
            settings,
            series,
            models=(*REFERENCES, settings.model),
            start=start,
            end=due.cutoff,
            now=clock,
            flow_run=flow_run.id,
        )
        done = backfill_task(SecretStr(settings.database_url), job)
        failures = [failure for result in done for failure in result.failures]
        if failures:
            raise NotJudged(f"version {version} was not judged: {'; '.join(map(str, failures))}")
        decision = gate_task(
            engine,
            series=series,
            version=version,
            model=settings.model,
            baseline=BASELINE,
            start=start,
            now=clock,
        )
        with writing(engine) as conn:
            pruned = prune_weights(conn, series=series, model=settings.model, keep=settings.keep_weights)
        if pruned:
            log.info("%s: forgot the weights of %d old versions", series, pruned)
        log.info(
            "%s: version %d %s: %s",
            series,
            version,
            "promoted" if decision.promote else "kept",
            decision.reason,
        )
        return version
    finally:
        engine.dispose()


# As it is deployed. It is not tried again: the champion serves, and the next day's run trains what is still due.
deployed = retrain.with_options(timeout_seconds=6 * 3600)
