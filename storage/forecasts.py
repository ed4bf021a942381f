"""The forecast store: written once, never changed, read by view."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Float, FromClause, Integer, Text, column, insert, select, table

from models.candles import SeriesName
from models.forecasts import BAND_LEVELS, QUANTILE_LEVELS, Forecast, Kind, target_time
from storage.errors import NotFound
from storage.tables import forecast_values, forecasts, model_versions
from storage.times import UtcDateTime
from storage.upsert import insert_new

# `forecasts` is also the natural name of an argument.
_forecasts = forecasts


class BandRow(NamedTuple):
    """One step of one forecast with its nine shown quantiles, in quote currency."""

    forecast_id: int
    series: str
    model: str
    kind: str
    origin: datetime
    created_at: datetime
    step: int
    target_time: datetime
    q025: float
    q05: float
    q10: float
    q25: float
    q50: float
    q75: float
    q90: float
    q95: float
    q975: float


class QuantileRow(NamedTuple):
    """One stored quantile of one step of one forecast, in quote currency."""

    forecast_id: int
    series: str
    model: str
    kind: str
    origin: datetime
    step: int
    target_time: datetime
    quantile: float
    value: float


class StoredForecast(NamedTuple):
    """A stored forecast with its lineage: what made it, from which candles, and what it said."""

    id: int
    series: str
    model: str
    model_version: int
    kind: Kind
    created_at: datetime
    flow_run: str | None
    forecast: Forecast


def _bands(view: str) -> FromClause:
    return table(
        view,
        column("forecast_id", Integer),
        column("series", Text),
        column("model", Text),
        column("kind", Text),
        column("origin", UtcDateTime()),
        column("created_at", UtcDateTime(precise=True)),
        column("step", Integer),
        column("target_time", UtcDateTime()),
        *(column(name, Float) for name in BAND_LEVELS),
    )


_BANDS = _bands("forecast_bands")
_LATEST = _bands("latest_forecasts")


def insert_forecasts(
    conn: Connection,
    *,
    series: str,
    model: str,
    model_version: int,
    kind: Kind,
    forecasts: Sequence[Forecast],
    created_at: datetime,
    flow_run: str | None = None,
) -> int:
    """Store forecasts with all their quantiles; returns how many were new.

    One forecast a series, model, kind and origin: what is stored already stays, so a rerun, or another process
    doing the same, changes nothing. Raises NotFound for a version that is not one of this series and model, and
    ValueError for quantiles that are no distribution of a price; then nothing is stored.
    """
    c = model_versions.c
    owner = conn.execute(select(c.series, c.model).where(c.id == model_version)).one_or_none()
    if owner is None or tuple(owner) != (series, model):
        raise NotFound(f"model version {model_version} is none of {model} for {series}; see: candlecast models")
    interval = SeriesName.parse(series).interval
    by_origin = {forecast.origin: forecast for forecast in forecasts}
    for forecast in by_origin.values():
        _check(series, forecast)
    stored = insert_new(
        conn,
        _forecasts,
        [
            {
                "series": series,
                "model": model,
                "model_version": model_version,
                "origin": forecast.origin,
                "kind": kind.value,
                "created_at": created_at,
                "data_fingerprint": forecast.data_fingerprint,
                "flow_run": flow_run,
            }
            for forecast in by_origin.values()
        ],
        returning=(_forecasts.c.id, _forecasts.c.origin),
    )
    values = [
        {"forecast": number, "step": step, "quantile": level, "target_time": target, "value": value}
        for number, origin in sorted(stored)
        for step, step_values in enumerate(by_origin[origin].values, start=1)
        for target in [target_time(origin, step, interval)]
        for level, value in zip(QUANTILE_LEVELS, step_values, strict=True)
    ]
    if values:
        conn.execute(insert(forecast_values), values)
    return len(stored)


def _check(series: str, forecast: Forecast) -> None:
    for step, values in enumerate(forecast.values, start=1):
        if len(values) != len(QUANTILE_LEVELS):
            wrong = f"{len(values)} quantiles where {len(QUANTILE_LEVELS)} belong"
        elif not all(isfinite(value) and value > 0 for value in values):
            wrong = "quantiles that are no positive prices"
        elif any(upper < lower for lower, upper in pairwise(values)):
            wrong = "quantiles that decrease"
        else:
            continue
        raise ValueError(f"the forecast of {series} from {forecast.origin} has {wrong} at step {step}: {values}")


def missing_origins(
    conn: Connection, *, series: str, model: str, kind: Kind, origins: Sequence[datetime]
) -> list[datetime]:
    """Return those of `origins` that have no such forecast yet, in the given order."""
    if not origins:
        return []
    c = _forecasts.c
    stored = set(
        conn.execute(
            select(c.origin).where(
                c.series == series,
                c.model == model,
                c.kind == kind.value,
                c.origin.between(min(origins), max(origins)),
            )
        ).scalars()
    )
    return [origin for origin in origins if origin not in stored]


def load_forecast(conn: Connection, *, forecast: int) -> StoredForecast:
    """Return a stored forecast with its lineage; raises NotFound when there is none of that number."""
    c, v = _forecasts.c, forecast_values.c
    row = conn.execute(
        select(
            c.id, c.series, c.model, c.model_version, c.kind, c.created_at, c.flow_run, c.origin, c.data_fingerprint
        ).where(c.id == forecast)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no forecast {forecast}; see: candlecast forecasts")
    steps: dict[int, list[float]] = {}
    for step, value in conn.execute(select(v.step, v.value).where(v.forecast == forecast).order_by(v.step, v.quantile)):
        steps.setdefault(step, []).append(value)
    said = Forecast(row.origin, tuple(tuple(values) for values in steps.values()), row.data_fingerprint)
    return StoredForecast(
        row.id, row.series, row.model, row.model_version, Kind(row.kind), row.created_at, row.flow_run, said
    )


def read_bands(
    conn: Connection,
    *,
    series: str | None = None,
    origin: datetime | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    model: str | None = None,
    kind: Kind | None = None,
    latest: bool = False,
) -> list[BandRow]:
    """Return stored forecasts a step a row, by series, origin, model, kind and step.

    `start` and `end` bound the origin, both included; `latest` asks for each series' champion's newest live one.
    """
    view = _LATEST if latest else _BANDS
    query = (
        select(view)
        .where(*_conditions(view, series, origin, start, end, model, kind))
        .order_by(view.c.series, view.c.origin, view.c.model, view.c.kind, view.c.step)
    )
    return [BandRow(*row) for row in conn.execute(query)]


def read_quantiles(
    conn: Connection,
    *,
    series: str | None = None,
    origin: datetime | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    model: str | None = None,
    kind: Kind | None = None,
    latest: bool = False,
) -> list[QuantileRow]:
    """Return all 23 stored quantiles of each step a row each; the filters and the order are those of `read_bands`."""
    f, v = _forecasts, forecast_values
    query = (
        select(f.c.id, f.c.series, f.c.model, f.c.kind, f.c.origin, v.c.step, v.c.target_time, v.c.quantile, v.c.value)
        .join(v, v.c.forecast == f.c.id)
        .where(*_conditions(f, series, origin, start, end, model, kind))
        .order_by(f.c.series, f.c.origin, f.c.model, f.c.kind, v.c.step, v.c.quantile)
    )
    if latest:
        query = query.where(f.c.id.in_(select(_LATEST.c.forecast_id)))
    return [QuantileRow(*row) for row in conn.execute(query)]


def _conditions(
    source: FromClause,
    series: str | None,
    origin: datetime | None,
    start: datetime | None,
    end: datetime | None,
    model: str | None,
    kind: Kind | None,
) -> list[ColumnElement[bool]]:
    wanted: dict[str, Any] = {
        "series": series,
        "origin": origin,
        "model": model,
        "kind": None if kind is None else kind.value,
    }
    conditions = [source.c[name] == value for name, value in wanted.items() if value is not None]
    if start is not None:
        conditions.append(source.c.origin >= start)
    if end is not None:
        conditions.append(source.c.origin <= end)
    return conditions
