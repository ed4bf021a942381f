"""The forecast store: forecasts are written once and never changed; views read them."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    Text,
    column,
    literal,
    select,
    table,
    tuple_,
)

from models.candles import Interval, SeriesName
from models.forecasts import BAND_LEVELS, QUANTILE_LEVELS, Forecast, Kind, target_time
from storage.database.inserting import insert_columns, insert_new
from storage.database.times import UtcDateTime
from storage.errors import NotFound
from storage.query import EVERY_FORECAST, ForecastFilter
from storage.registry import serves
from storage.tables import forecast_values, forecasts, model_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The functions here have arguments called `forecasts`.
_forecasts = forecasts

# The key of the last row of a page: series, origin, model, kind, and for bands also the step.
OriginKey = tuple[str, datetime, str, str]
BandKey = tuple[str, datetime, str, str, int]


class BandRow(NamedTuple):
    """One step of one forecast with the nine quantiles of its bands, in quote currency.

    `before_close` is true where the forecast was stored before the candle of this step closed.
    """

    forecast_id: int
    series: str
    model: str
    kind: str
    origin: datetime
    created_at: datetime
    step: int
    target_time: datetime
    before_close: bool
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


class OriginRow(NamedTuple):
    """A stored forecast without its values: its model and version, its origin, and when it was stored."""

    forecast_id: int
    series: str
    model: str
    kind: str
    origin: datetime
    created_at: datetime
    model_version: int


class StoredForecast(NamedTuple):
    """A stored forecast with its values and its lineage: model version, flow run and fingerprint of the candles."""

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
        column("before_close", Boolean),
        *(column(name, Float) for name in BAND_LEVELS),
    )


# Those of an OriginRow.
_ORIGIN_COLUMNS = tuple(
    forecasts.c[name] for name in ("id", "series", "model", "kind", "origin", "created_at", "model_version")
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

    There is one forecast per series, model, kind and origin. A stored forecast stays, so a rerun or a second process
    that stores the same forecasts changes nothing. Raises NotFound if `model_version` is not a version of the model
    for this series, and ValueError if the quantiles are not a distribution of positive prices; then nothing is stored.
    """
    if not serves(conn, version=model_version, series=series, model=model):
        raise NotFound(f"{series} has no version {model_version} of {model}; see: candlecast models")
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
    _insert_values(conn, interval, [(number, by_origin[origin]) for number, origin in sorted(stored)])
    return len(stored)


def _insert_values(conn: Connection, interval: Interval, stored: Sequence[tuple[int, Forecast]]) -> None:
    """Insert the 161 rows of each forecast as columns: inserting row by row would take most of a backfill's time."""
    import numpy as np

    if not stored:
        return
    width = len(QUANTILE_LEVELS)
    steps = [
        (number, step, target_time(forecast.origin, step, interval).timestamp())
        for number, forecast in stored
        for step in range(1, forecast.horizon + 1)
    ]
    insert_columns(
        conn,
        forecast_values,
        {
            "forecast": np.repeat([number for number, _, _ in steps], width),
            "step": np.repeat([step for _, step, _ in steps], width),
            "quantile": np.tile(QUANTILE_LEVELS, len(steps)),
            "target_time": np.repeat(np.array([target for _, _, target in steps], dtype=np.int64), width),
            "value": np.concatenate([forecast.values for _, forecast in stored]).ravel(),
        },
    )


def _check(series: str, forecast: Forecast) -> None:
    import numpy as np

    values, width = forecast.values, len(QUANTILE_LEVELS)
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(
            f"expected {width} quantiles a step in the forecast of {series} from {forecast.origin}, "
            f"got an array of shape {values.shape}"
        )
    for wrong, steps in (
        ("quantiles that are no positive prices", ~(np.isfinite(values) & (values > 0)).all(axis=1)),
        ("quantiles that decrease", (np.diff(values, axis=1) < 0).any(axis=1)),
    ):
        if steps.any():
            step = int(steps.argmax())
            raise ValueError(
                f"the forecast of {series} from {forecast.origin} has {wrong} at step {step + 1}: "
                f"{values[step].tolist()}"
            )


def missing_origins(
    conn: Connection, *, series: str, model: str, kind: Kind, origins: Sequence[datetime]
) -> list[datetime]:
    """Return those of `origins` for which no such forecast is stored, in the given order."""
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


def replayable(conn: Connection) -> list[int]:
    """Return the numbers of the forecasts that can be replayed (their version has its weights or needs none)."""
    c, version = _forecasts.c, model_versions.c
    complete = version.weights.is_not(None) | version.weights_sha256.is_(None)
    query = select(c.id).join(model_versions, version.id == c.model_version).where(complete).order_by(c.id)
    return list(conn.execute(query).scalars())


def newest_forecast(
    conn: Connection, *, series: str, model: str, kind: Kind | None = None, origin: datetime | None = None
) -> OriginRow | None:
    """Return the model's newest forecast, or that from `origin`, without its values; None if it has none.

    Without a `kind`, a live one if there is any, else a backfilled one.
    """
    wanted = ForecastFilter(series, origin=origin, model=model)
    for each in (Kind.LIVE, Kind.BACKFILL) if kind is None else (kind,):
        query = (
            select(*_ORIGIN_COLUMNS)
            .where(*wanted.conditions(_forecasts), _forecasts.c.kind == each.value)
            .order_by(_forecasts.c.origin.desc())
            .limit(1)
        )
        row = conn.execute(query).one_or_none()
        if row is not None:
            return OriginRow(*row)
    return None


def load_values(conn: Connection, *, forecast: int) -> list[list[float]]:
    """Return the 23 quantiles of each step of a stored forecast, (horizon, 23) as lists.

    A quantile that is missing from a damaged database is NaN.
    """
    v = forecast_values.c
    quantiles = conn.execute(select(v.step, v.quantile, v.value).where(v.forecast == forecast)).all()
    horizon = max((step for step, _, _ in quantiles), default=0)
    values = [[math.nan] * len(QUANTILE_LEVELS) for _ in range(horizon)]
    for step, quantile, value in quantiles:
        values[step - 1][QUANTILE_LEVELS.index(quantile)] = value
    return values


def load_forecast(conn: Connection, *, forecast: int) -> StoredForecast:
    """Return a stored forecast with its lineage; raises NotFound if no forecast has this number."""
    import numpy as np

    c = _forecasts.c
    row = conn.execute(
        select(
            c.id, c.series, c.model, c.model_version, c.kind, c.created_at, c.flow_run, c.origin, c.data_fingerprint
        ).where(c.id == forecast)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no forecast {forecast}; see: candlecast forecasts")
    values = np.array(load_values(conn, forecast=forecast), float).reshape(-1, len(QUANTILE_LEVELS))
    return StoredForecast(
        row.id, row.series, row.model, row.model_version, Kind(row.kind), row.created_at, row.flow_run,
        Forecast(row.origin, values, row.data_fingerprint),
    )  # fmt: skip


def read_bands(
    conn: Connection,
    wanted: ForecastFilter = EVERY_FORECAST,
    *,
    after: BandKey | None = None,
    limit: int | None = None,
) -> list[BandRow]:
    """Return the wanted forecasts, one row per step, by series, origin, model, kind and step.

    `after` and `limit` select a page: at most `limit` rows that follow the key `after`.
    """
    view = _LATEST if wanted.latest else _BANDS
    order = (view.c.series, view.c.origin, view.c.model, view.c.kind)
    query = select(view).where(*_conditions(view, wanted)).order_by(*order, view.c.step).limit(limit)
    if after is not None:
        # The step is in another table than the rest of the key: the first condition finds the forecast by its index,
        # the second one skips the steps of it that the page before has returned.
        query = query.where(
            tuple_(*order) >= tuple_(*_typed(order, after)),
            tuple_(*order, view.c.step) > tuple_(*_typed((*order, view.c.step), after)),
        )
    return [BandRow(*row) for row in conn.execute(query)]


def read_origins(
    conn: Connection,
    wanted: ForecastFilter = EVERY_FORECAST,
    *,
    after: OriginKey | None = None,
    limit: int | None = None,
) -> list[OriginRow]:
    """Return the wanted forecasts without their values, one row each, by series, origin, model and kind."""
    c = _forecasts.c
    order = (c.series, c.origin, c.model, c.kind)
    query = (
        select(*_ORIGIN_COLUMNS)
        .where(*_conditions(_forecasts, wanted), *_latest_condition(wanted))
        .order_by(*order)
        .limit(limit)
    )
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*_typed(order, after)))
    return [OriginRow(*row) for row in conn.execute(query)]


def _typed(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> list[ColumnElement[Any]]:
    # SQLAlchemy does not give the values in a tuple the types of the columns they are compared with.
    return [literal(value, column.type) for column, value in zip(columns, values, strict=False)]


def read_quantiles(conn: Connection, wanted: ForecastFilter = EVERY_FORECAST) -> list[QuantileRow]:
    """Return all 23 quantiles of each step of the wanted forecasts, one row each, in the order of `read_bands`."""
    f, v = _forecasts, forecast_values
    query = (
        select(f.c.id, f.c.series, f.c.model, f.c.kind, f.c.origin, v.c.step, v.c.target_time, v.c.quantile, v.c.value)
        .join(v, v.c.forecast == f.c.id)
        .where(*_conditions(f, wanted), *_latest_condition(wanted))
        .order_by(f.c.series, f.c.origin, f.c.model, f.c.kind, v.c.step, v.c.quantile)
    )
    return [QuantileRow(*row) for row in conn.execute(query)]


def read_values(conn: Connection, wanted: ForecastFilter) -> "dict[datetime, NDArray[np.float64]]":
    """Return the values of the wanted forecasts, which are one model's of one kind, by origin: (horizon, 23) each.

    For statistical tests over thousands of forecasts: `read_quantiles` repeats the forecast's names for each value.
    """
    import numpy as np

    f, v = _forecasts, forecast_values
    conditions = _conditions(f, wanted)
    origins = {row.id: row.origin for row in conn.execute(select(f.c.id, f.c.origin).where(*conditions))}
    # With IN, SQLite reads the rows in the order of their key; with a join it would sort them.
    result = conn.execute(
        select(v.c.forecast, v.c.value)
        .where(v.c.forecast.in_(select(f.c.id).where(*conditions)))
        .order_by(v.c.forecast, v.c.step, v.c.quantile)
    )
    # The driver's rows: SQLAlchemy's would take three times as long for the 350,000 values of three years.
    cursor = result.cursor
    rows = iter(cursor.fetchone, None) if cursor is not None else iter(())
    flat = np.fromiter(chain.from_iterable(rows), dtype=float).reshape(-1, 2)
    result.close()
    # Numbers of forecasts are exact in a float up to 2 ** 53.
    ids, values = flat[:, 0].astype(np.int64), flat[:, 1]
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    ends = np.append(first, len(ids))[1:]
    # A forecast stored since the first query has no origin here, and is left out.
    return {
        origins[forecast]: values[begin:end].reshape(-1, len(QUANTILE_LEVELS))
        for forecast, begin, end in zip(ids[first].tolist(), first.tolist(), ends.tolist(), strict=True)
        if forecast in origins
    }


def read_step_quantiles(
    conn: Connection, wanted: ForecastFilter, *, step: int, levels: tuple[float, ...]
) -> dict[str, list[tuple[float, ...]]]:
    """Return the quantiles at `levels` of one step of each wanted forecast, by series and in no order."""
    f, v = _forecasts, forecast_values
    # A look-up by the primary key for each value: from a join with the forecasts of a hundred series, PostgreSQL would
    # read the whole table, and a row for each value would have to be sorted.
    values = [
        select(v.c.value).where(v.c.forecast == f.c.id, v.c.step == step, v.c.quantile == level).scalar_subquery()
        for level in levels
    ]
    query = select(f.c.series, *values).where(*_conditions(f, wanted))
    by_series: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
    # Fetched at once: row by row, SQLAlchemy would take as long as the database.
    for row in conn.execute(query).all():
        by_series[row[0]].append(tuple(row[1:]))
    return by_series


def _conditions(source: FromClause, wanted: ForecastFilter) -> list[ColumnElement[bool]]:
    of_kind = [] if wanted.kind is None else [source.c.kind == Kind(wanted.kind.value).value]
    return [*wanted.conditions(source), *of_kind]


def _latest_condition(wanted: ForecastFilter) -> list[ColumnElement[bool]]:
    return [_forecasts.c.id.in_(select(_LATEST.c.forecast_id))] if wanted.latest else []
