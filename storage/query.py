"""The filters of a query for stored forecasts and scores: the same for SQL, the command line, Python and HTTP."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, FromClause

from models.forecasts import Kind, ScoreKind
from models.times import as_instant, as_span

Time = str | date | datetime | None


@dataclass(frozen=True, slots=True)
class ForecastFilter:
    """Which stored forecasts, or scores of forecasts, to read; a field that is None does not filter.

    `series` is the name of one series or a tuple of several. `origin` is one origin; `start` and `end` bound the
    origins, both included. `kind` is a Kind for forecasts and a ScoreKind for scores. `latest` selects the newest live
    forecast of each series' champion, and allows no other filter than `series`; scores cannot be filtered by it.
    """

    series: str | tuple[str, ...] | None = None
    origin: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    model: str | None = None
    kind: Kind | ScoreKind | None = None
    latest: bool = False

    def __post_init__(self) -> None:
        if self.latest and self._filters_more_than_series():
            raise ValueError("the latest forecasts are filtered by series only")

    @classmethod
    def parse(
        cls,
        series: str | None = None,
        *,
        origin: Time = None,
        start: Time = None,
        end: Time = None,
        model: str | None = None,
        kind: str | None = None,
    ) -> "ForecastFilter":
        """Return the filter for values as people write them.

        A time without a zone is UTC, and an `end` that is a day includes all of that day. A `kind` that is a text is a
        Kind. Raises ValueError for a time or a kind that cannot be read, and for an end before its start.
        """
        first, last = as_span(start, end)
        chosen = kind if kind is None or isinstance(kind, ScoreKind) else Kind(kind)
        return cls(series, as_instant(origin), first, last, model, chosen)

    def or_latest(self) -> "ForecastFilter":
        """Return this filter or, if it has no filter but the series, the filter for the latest forecasts."""
        return self if self._filters_more_than_series() else replace(self, latest=True)

    def conditions(self, source: FromClause) -> list[ColumnElement[bool]]:
        """Return the conditions on `source`, a table or view with the columns series, origin and model; not the kind's.

        Of a kind, scores ask in another way than forecasts do.
        """
        c = source.c
        values = {"series": self.series, "origin": self.origin, "model": self.model}
        conditions = [
            c[name].in_(value) if isinstance(value, tuple) else c[name] == value
            for name, value in values.items()
            if value is not None
        ]
        if self.start is not None:
            conditions.append(c.origin >= self.start)
        if self.end is not None:
            conditions.append(c.origin <= self.end)
        return conditions

    def _filters_more_than_series(self) -> bool:
        others = (field.name for field in fields(self) if field.name not in ("series", "latest"))
        return any(getattr(self, name) is not None for name in others)


EVERY_FORECAST = ForecastFilter()

_Value = TypeVar("_Value", bound=Hashable)


def names_by_value(values: Mapping[str, _Value]) -> dict[_Value, list[str]]:
    """Return the names that have the same value, by value: series of which the same is asked are one question."""
    names: dict[_Value, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    return names
