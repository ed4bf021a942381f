"""Forecasts as a hubverse hub takes them: one file of model output, and the tasks.json that describes it.

The rules are those of hubverse's schema v5.0.1 for tasks.json and of its guide to model output (hubverse.io, read
November 2026). A hub's dates are days: `origin_date` is the day of the last close that the forecast knew, and
`target_end_date` the day that is forecast, so target_end_date = origin_date + horizon.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from candlecast.output import Format, write_rows
from models.candles import Interval, SeriesName
from models.forecasts import QUANTILE_LEVELS, Kind
from storage.forecasts import BandRow, QuantileRow

if TYPE_CHECKING:
    from tasks.steps.paths import PathRow

SCHEMA = "https://raw.githubusercontent.com/hubverse-org/schemas/main/v5.0.1/tasks-schema.json"
TARGET = "close"
DAY = timedelta(days=1)


class HubRow(NamedTuple):
    """A row of model output; the location is the series."""

    origin_date: str
    location: str
    target: str
    horizon: int
    target_end_date: str
    output_type: str
    output_type_id: float | int
    value: float


def check_one_model_of_days(rows: Sequence[BandRow]) -> None:
    """Raise ValueError unless the forecasts are daily, of one model and of one kind: a file has no column for these."""
    models, kinds = sorted({row.model for row in rows}), {row.kind for row in rows}
    if len(models) > 1:
        raise ValueError(f"a hub's file holds one model: choose --model {' or --model '.join(models)}")
    if len(kinds) > 1:
        raise ValueError("a hub's file has no column for the kind: choose --kind live or --kind backfill")
    shorter = sorted({row.series for row in rows if SeriesName.parse(row.series).interval is not Interval.DAY})
    if shorter:
        raise ValueError(f"a hub's dates are days, and {', '.join(shorter)} has shorter candles: name a daily series")


def late_steps(rows: Sequence[BandRow]) -> int:
    """Return how many steps of live forecasts were stored after their close, for which a hub's file has no column."""
    return sum(row.kind == Kind.LIVE and not row.before_close for row in rows)


def hub_row(row: QuantileRow) -> HubRow:
    """Return a stored quantile as a row of model output."""
    known = origin_date(row.origin)
    end = (row.origin - DAY + row.step * DAY).date().isoformat()
    return HubRow(known, row.series, TARGET, row.step, end, "quantile", row.quantile, row.value)


def sample_row(row: "PathRow") -> HubRow:
    """Return a step of a sample path as a row of model output; raises ValueError for other than daily candles."""
    if SeriesName.parse(row.series).interval is not Interval.DAY:
        raise ValueError(f"a hub's dates are days, and {row.series} has shorter candles: name a daily series")
    end = row.target_time.date().isoformat()
    return HubRow(origin_date(row.origin), row.series, TARGET, row.step, end, "sample", row.sample, row.close)


def origin_date(origin: datetime) -> str:
    """Return the day of the last close that a daily forecast knew."""
    return (origin - DAY).date().isoformat()


def write_hub_file(rows: Sequence[HubRow], output: Path | None) -> None:
    """Write `rows` as CSV to `output`, with a tasks.json beside it, or to stdout; raises OSError if that fails."""
    write_rows(HubRow._fields, rows, Format.CSV, output)
    if output is not None:
        (output.parent / "tasks.json").write_text(json.dumps(tasks_config(rows), indent=2) + "\n")


def tasks_config(rows: Sequence[HubRow]) -> dict[str, object]:
    """Return the tasks.json of a hub that asks for exactly the tasks of these rows."""
    columns = ("origin_date", "target", "horizon", "location", "target_end_date")
    values = {name: sorted({getattr(row, name) for row in rows}) for name in columns}
    (kind,) = {row.output_type for row in rows}
    if kind == "sample":
        n = len({row.output_type_id for row in rows})
        # A sample is one path over all horizons and series of an origin.
        drawn = {"type": "integer", "min_samples_per_task": n, "max_samples_per_task": n,
                 "compound_taskid_set": ["origin_date", "target"]}  # fmt: skip
        ids: dict[str, object] = {"output_type_id_params": drawn}
    else:
        ids = {"output_type_id": {"required": list(QUANTILE_LEVELS)}}
    output_type = {kind: {**ids, "is_required": True, "value": {"type": "double", "minimum": 0}}}
    target = {
        "target_id": TARGET,
        "target_name": "Daily close",
        "target_units": "quote currency per unit of the base currency",
        "target_keys": {"target": TARGET},
        "target_type": "continuous",
        "description": "The last price of the day target_end_date, in UTC.",
        "is_step_ahead": True,
        "time_unit": "day",
    }
    task = {
        "task_ids": {name: {"required": None, "optional": optional} for name, optional in values.items()},
        "output_type": output_type,
        "target_metadata": [target],
    }
    # A forecast is made on the day after its origin_date.
    due = {"relative_to": "origin_date", "start": 1, "end": 1}
    a_round = {
        "round_id_from_variable": True, "round_id": "origin_date", "model_tasks": [task], "submissions_due": due
    }  # fmt: skip
    return {"schema_version": SCHEMA, "rounds": [a_round], "derived_task_ids": ["target_end_date"]}
