"""Stored candles, forecasts and skill as pandas frames, for notebooks and scripts.

    from storage.query import forecasts
    forecasts("sqlite:///candlecast.db", "Bitstamp_BTCUSD_d", start="2025-01-01", model="blend")

The filters are those of the command line. Times may be texts (`2025-01-31`, `2025-01-31T12:00`), dates or datetimes;
what names no zone is UTC, and a day as an `end` or `as_of` means all of it. Every function raises NotFound for a
series that is not stored, and DatabaseUnusable when there is nothing to read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine

from models.forecasts import Kind
from models.times import as_instant, as_span
from storage.candles import CandleRow, read_candle_rows
from storage.database.engine import open_for_reading
from storage.forecasts import BandRow, read_bands
from storage.scores import SkillRow, read_skill
from storage.series import require_series

if TYPE_CHECKING:
    import pandas as pd

When = str | date | datetime | None

_COUNTS = ("forecast_id", "step", "n")
_WORDS = ("series", "model", "kind")
_INSTANTS = ("origin", "created_at", "fetched_at", "open_time", "close_time", "target_time")


def forecasts(
    database: str | Engine,
    series: str | None = None,
    *,
    origin: When = None,
    start: When = None,
    end: When = None,
    model: str | None = None,
    kind: str | Kind | None = None,
) -> "pd.DataFrame":
    """Return stored forecasts with the columns of the view `forecast_bands`, a row a step.

    Without other filters than `series`: the newest live forecast of each champion. `start` and `end` bound the
    origin, both included. Raises ValueError for a kind that is not live or backfill and for an end before its start.
    """
    at, first, last = as_instant(origin), *as_span(start, end)
    chosen = None if kind is None else Kind(kind)
    latest = all(wanted is None for wanted in (at, first, last, model, chosen))
    with _reading(database) as conn:
        require_series(conn, name=series)
        rows = read_bands(
            conn, series=series, origin=at, start=first, end=last, model=model, kind=chosen, latest=latest
        )
    return _frame(BandRow._fields, rows)


def candles(
    database: str | Engine, series: str, *, start: When = None, end: When = None, as_of: When = None
) -> "pd.DataFrame":
    """Return the closed candles with start <= open_time <= end with the columns of the view `current_candles`.

    With `as_of`, in the revisions that were known then.
    """
    first, last = as_span(start, end)
    with _reading(database) as conn:
        require_series(conn, name=series)
        rows = read_candle_rows(conn, series=series, start=first, end=last, as_of=as_instant(as_of, end_of_day=True))
    frame = _frame(CandleRow._fields, rows)
    frame.insert(0, "series", series)
    return frame.astype({"series": "str"})


def skill(database: str | Engine, series: str | None = None, *, start: When = None, end: When = None) -> "pd.DataFrame":
    """Return each model's mean scores with the columns of the view `model_skill`, naive's beside them.

    `start` and `end` bound the origin, both included. Live and backfill are rows of their own.
    """
    first, last = as_span(start, end)
    with _reading(database) as conn:
        require_series(conn, name=series)
        rows = read_skill(conn, series=series, start=first, end=last)
    return _frame(SkillRow._fields, rows)


@contextmanager
def _reading(database: str | Engine) -> Iterator[Connection]:
    if isinstance(database, Engine):
        with database.connect().execution_options(reads_only=True) as conn:
            yield conn
        return
    engine = open_for_reading(database)
    try:
        with engine.connect() as conn:
            yield conn
    finally:
        engine.dispose()


def _frame(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> "pd.DataFrame":
    import pandas as pd

    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pd.DataFrame(
        {name: pd.Series(values, dtype=_dtype(name)) for name, values in zip(names, columns, strict=True)}
    )


def _dtype(name: str) -> Any:  # noqa: ANN401 - pandas takes names and types alike
    if name in _INSTANTS:
        return "datetime64[us, UTC]"
    if name in _WORDS:
        return "str"
    if name in _COUNTS:
        return "int64"
    return "Int64" if name == "trades" else "float64"
