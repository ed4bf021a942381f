"""The forecast store: written once, never changed, read by view."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnClause, Connection, Float, Integer, Text, column, insert, select, table

from models.candles import SeriesName
from models.forecasts import BAND_LEVELS, QUANTILE_LEVELS, Forecast, Kind, target_time
from storage.tables import forecast_values, forecasts
from storage.times import UtcDateTime


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


_BAND_COLUMNS: tuple[ColumnClause[Any], ...] = (
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


def insert_forecasts(
    conn: Connection,
    *,
    series: str,
    model: str,
    model_version: int,
    kind: Kind,
    forecasts: Iterable[Forecast],
    created_at: datetime,
    flow_run: str | None = None,
) -> int:
    """Store forecasts with all their quantiles; returns how many were new.

    One forecast a series, model, kind and origin: what is stored already stays, so a rerun changes nothing.
    """
    return sum(
        _insert(conn, series, model, model_version, kind, forecast, created_at, flow_run) for forecast in forecasts
    )


def _insert(
    conn: Connection,
    series: str,
    model: str,
    model_version: int,
    kind: Kind,
    forecast: Forecast,
    created_at: datetime,
    flow_run: str | None,
) -> bool:
    if not missing_origins(conn, series=series, model=model, kind=kind, origins=[forecast.origin]):
        return False
    interval = SeriesName.parse(series).interval
    number = conn.execute(
        insert(forecasts_table).values(
            series=series,
            model=model,
            model_version=model_version,
            origin=forecast.origin,
            kind=kind.value,
            created_at=created_at,
            data_fingerprint=forecast.data_fingerprint,
            flow_run=flow_run,
        )
    ).inserted_primary_key
    assert number is not None
    conn.execute(
        insert(forecast_values),
        [
            {
                "forecast": number[0],
                "step": step,
                "quantile": level,
                "target_time": target_time(forecast.origin, step, interval),
                "value": value,
            }
            for step, values in enumerate(forecast.values, start=1)
            for level, value in zip(QUANTILE_LEVELS, values, strict=True)
        ],
    )
    return True


# `forecasts` is also the natural name of an argument.
forecasts_table = forecasts


def missing_origins(
    conn: Connection, *, series: str, model: str, kind: Kind, origins: Sequence[datetime]
) -> list[datetime]:
    """Return those of `origins` that have no such forecast yet, in the given order."""
    if not origins:
        return []
    c = forecasts_table.c
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
    view = table("latest_forecasts" if latest else "forecast_bands", *_BAND_COLUMNS)
    query = select(view).order_by(view.c.series, view.c.origin, view.c.model, view.c.kind, view.c.step)
    wanted = {
        "series": series,
        "origin": origin,
        "model": model,
        "kind": None if kind is None else kind.value,
    }
    query = query.where(*(view.c[name] == value for name, value in wanted.items() if value is not None))
    if start is not None:
        query = query.where(view.c.origin >= start)
    if end is not None:
        query = query.where(view.c.origin <= end)
    return [BandRow(*row) for row in conn.execute(query)]
