"""Plan a backfill: which partitions lack forecasts, and roughly how long they will take."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import Engine

from storage.database.engine import reading
from storage.registry import training_seconds
from tasks.steps.backfill import BackfillJob, plan_backfill, quarter_name

# Seconds to forecast, store and score one origin, measured on two cores (benchmarks/daily.py); most of it is storing.
SECONDS_AN_ORIGIN = 0.01


class PlannedPartition(NamedTuple):
    """A partition that lacks forecasts: how many, and whether the training of its model is done or due."""

    series: str
    model: str
    quarter: str
    missing: int
    training: str


def plan(engine: Engine, jobs: Sequence[BackfillJob]) -> tuple[list[PlannedPartition], str]:
    """Return one row for each partition that lacks forecasts, and the estimated time as a sentence."""
    partitions = [partition for job in jobs for partition in plan_backfill(engine, job)]
    rows = [
        PlannedPartition(
            partition.series,
            partition.model,
            quarter_name(partition.quarter),
            partition.missing,
            "done" if partition.trained else "due",
        )
        for partition in partitions
    ]
    with reading(engine) as conn:
        typical = {
            model: training_seconds(conn, model=model) for model in {partition.model for partition in partitions}
        }
    due = [partition.model for partition in partitions if not partition.trained]
    missing = sum(partition.missing for partition in partitions)
    if not partitions:
        return rows, "nothing is missing"
    unknown = sorted({model for model in due if typical[model] is None})
    seconds = SECONDS_AN_ORIGIN * missing + sum(typical[model] or 0.0 for model in due)
    text = (
        f"{missing} forecasts in {len(partitions)} partitions, about {timedelta(seconds=round(seconds))} in one process"
    )
    if unknown:
        text += f", plus the training of {', '.join(unknown)}, which was never timed here"
    return rows, text
