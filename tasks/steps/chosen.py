"""Which one stored forecast a question is about."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from models.forecasts import Kind
from models.times import as_instant
from storage.decisions import champion
from storage.errors import NotFound
from storage.forecasts import OriginRow, StoredForecast, load_forecast, newest_forecast, read_origins
from storage.query import ForecastFilter, Time
from storage.series import require_series


@dataclass(frozen=True, slots=True)
class ForecastChoice:
    """One forecast of `series`; by default the champion's newest live one.

    Without a `model` it is the champion's; without an `origin` the newest; without a `kind` a live one, or a backfilled
    one where the model has no live one.
    """

    series: str
    origin: datetime | None = None
    model: str | None = None
    kind: Kind | None = None

    @classmethod
    def parse(
        cls, series: str, *, origin: Time = None, model: str | None = None, kind: str | None = None
    ) -> "ForecastChoice":
        """Return the choice for values as people write them; raises ValueError for one that cannot be read."""
        return cls(series, as_instant(origin), model, None if kind is None else Kind(kind))


def load_chosen(conn: Connection, choice: ForecastChoice) -> StoredForecast:
    """Return the chosen forecast with its values; raises as `find_chosen`."""
    return load_forecast(conn, forecast=find_chosen(conn, choice).forecast_id)


def find_chosen(conn: Connection, choice: ForecastChoice) -> OriginRow:
    """Return the chosen forecast without its values.

    Raises NotFound, with what is stored instead, if there is none or no such series.
    """
    require_series(conn, name=choice.series)
    model = choice.model
    if model is None:
        serving = champion(conn, series=choice.series)
        if serving is None:
            raise NotFound(f"{choice.series} has no champion yet: name a model; see: candlecast models {choice.series}")
        model = serving.model
    chosen = newest_forecast(conn, series=choice.series, model=model, kind=choice.kind, origin=choice.origin)
    if chosen is None:
        raise NotFound(_reason(conn, choice, model))
    return chosen


def _reason(conn: Connection, choice: ForecastChoice, model: str) -> str:
    kind = "" if choice.kind is None else f"{choice.kind} "
    origin = "" if choice.origin is None else f" with the origin {choice.origin:%Y-%m-%dT%H:%M}"
    missing = f"{choice.series} has no {kind}forecast of {model}{origin}"
    if choice.origin is None:
        return f"{missing}; see: candlecast models {choice.series}"
    there = read_origins(conn, ForecastFilter(choice.series, origin=choice.origin))
    others = ", ".join(f"{row.model} ({row.kind})" for row in there)
    return f"{missing}; stored are: {others}" if others else f"{missing}; no model has forecast from there"
