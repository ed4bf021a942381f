"""Replay past origins: every missing forecast in a span, with models no newer than the origins they serve."""

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows.settings import Settings
from models.candles import SeriesName
from models.forecasts import BASELINE
from storage.engine import open_database
from tasks.forecast import Backfilled, backfill_task
from tasks.score import score_task


@flow(name="backfill")
def backfill(
    series: list[str],
    start: datetime,
    end: datetime,
    models: list[str] | None = None,
    now: datetime | None = None,
) -> list[Backfilled]:
    """Store and score every missing forecast of `series` with origins in start..end (both included).

    `models` defaults to the settings' model with the baseline beside it. What is missing is what the forecast
    store lacks, so an interrupted backfill is simply run again. `now` replaces the clock.
    """
    if end < start:
        raise ValueError(f"the backfill's end {end} is before its start {start}")
    settings = Settings()
    clock = now or datetime.now(UTC)
    log = get_run_logger()
    engine = open_database(settings.database_url)
    done: list[Backfilled] = []
    try:
        for name in [str(SeriesName.parse(text)) for text in series]:
            for model in models or [BASELINE, settings.model]:
                result = backfill_task(
                    engine,
                    series=name,
                    model=model,
                    start=start,
                    end=end,
                    horizon=settings.horizon,
                    seed=settings.seed,
                    now=clock,
                    pool=settings.pool_for(name),
                    flow_run=flow_run.id,
                )
                log.info("%s %s: %d of %d origins were missing", name, model, result.stored, result.origins)
                done.append(result)
            score_task(engine, series=name, now=clock)
    finally:
        engine.dispose()
    return done
