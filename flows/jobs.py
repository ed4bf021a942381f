"""The parameters of a backfill, as the settings and a user's request give them."""

from collections.abc import Sequence
from datetime import datetime

from flows.settings import Settings
from models.forecasts import BASELINE
from tasks.steps.backfill import BackfillJob


def backfill_job(
    settings: Settings,
    series: str,
    *,
    start: datetime,
    end: datetime,
    now: datetime,
    models: Sequence[str] | None = None,
    flow_run: str | None = None,
) -> BackfillJob:
    """Return the backfill of one series; `models` defaults to the baseline and the settings' model."""
    return BackfillJob(
        series=series,
        models=tuple(dict.fromkeys(models or (BASELINE, settings.model))),
        start=start,
        end=end,
        now=now,
        horizon=settings.horizon,
        seed=settings.seed,
        leave_out=settings.learn_except,
        flow_run=flow_run,
    )
