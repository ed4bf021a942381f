"""What a backfill would do, and about how long it would take."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine

from storage.database.engine import reading
from storage.registry import training_seconds
from tasks.steps.backfill import plan_backfill, quarter_name

PLAN_COLUMNS = ("series", "model", "quarter", "missing", "training")
# Forecasting, storing and scoring one origin; measured on two cores (benchmarks/daily.py), most of it the storing.
SECONDS_AN_ORIGIN = 0.01


def plan(
    engine: Engine, *, series: Sequence[str], models: Sequence[str], start: datetime, end: datetime, seed: int
) -> tuple[list[dict[str, object]], str]:
    """Return one row a partition that lacks forecasts, and an estimate of the time in words."""
    partitions = [
        partition
        for name in dict.fromkeys(series)
        for model in models
        for partition in plan_backfill(engine, series=name, model=model, start=start, end=end, seed=seed)
    ]
    rows: list[dict[str, object]] = [
        {
            "series": partition.series,
            "model": partition.model,
            "quarter": quarter_name(partition.quarter),
            "missing": partition.missing,
            "training": "done" if partition.trained else "due",
        }
        for partition in partitions
    ]
    with reading(engine) as conn:
        typical = {model: training_seconds(conn, model=model) for model in models}
    due = [partition.model for partition in partitions if not partition.trained]
    missing = sum(partition.missing for partition in partitions)
    if not partitions:
        return rows, "nothing is missing"
    unknown = sorted({model for model in due if typical[model] is None})
    seconds = SECONDS_AN_ORIGIN * missing + sum(typical[model] or 0.0 for model in due)
    text = (
        f"{missing} forecasts in {len(partitions)} partitions, about {timedelta(seconds=round(seconds))} of one process"
    )
    if unknown:
        text += f", and the training of {', '.join(unknown)}, of which none is registered yet to go by"
    return rows, text
