"""What stands under a command's table for people: the units of its numbers, and as of when they are."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from models.candles import Interval, SeriesName
from models.wording import close_name
from storage.candles import latest_close_time

_LENGTHS = {Interval.DAY: "a day", Interval.HOUR: "an hour", Interval.MINUTE: "a minute"}
_ORIGIN = "as of the origin, the last close that the forecast knew"


def of_forecasts(series: Iterable[str]) -> str:
    """Return the caption of forecasts' quantiles."""
    names = _parsed(series)
    return f"q025 to q975: quantiles of the close {_in_quote(names)}, {_ORIGIN}. {_steps(names)} Times are UTC."


def of_chances(series: Iterable[str]) -> str:
    """Return the caption of chances and their prices."""
    names = _parsed(series)
    return f"price {_in_quote(names)}, chance as a share of 1, {_ORIGIN}. {_steps(names)} Times are UTC."


def of_path_summary(series: Iterable[str]) -> str:
    """Return the caption of what sample paths say about a whole week."""
    names = _parsed(series)
    return (
        f"level and q025 to q975 {_in_quote(names)}, chance as a share of 1, {_ORIGIN}. {_steps(names)} Times are UTC."
    )


def of_paths(series: Iterable[str]) -> str:
    """Return the caption of every step of sample paths."""
    names = _parsed(series)
    return f"close {_in_quote(names)}, {_ORIGIN}. {_steps(names)} Times are UTC."


def of_skill(conn: Connection, series: Iterable[str]) -> str:
    """Return the caption of scores."""
    names = _parsed(series)
    return (
        f"n in forecasts; mae {_in_quote(names)}; crps of log returns; coverage and skill as shares of 1, "
        f"{_as_of(conn, names)}. {_steps(names)}"
    )


def of_reliability(conn: Connection, series: Iterable[str]) -> str:
    """Return the caption of the table of stated and realised chances."""
    names = _parsed(series)
    return f"n in events, origins in forecasts; chances as shares of 1, {_as_of(conn, names)}. {_steps(names)}"


def of_candles(series: str, known_at: datetime | None) -> str:
    """Return the caption of candles as they were known at an instant, None for now."""
    name = SeriesName.parse(series)
    known = "now" if known_at is None else f"at {known_at:%Y-%m-%d %H:%M}"
    return (
        f"Prices in {name.quote} per {name.base}, volume_base in {name.base}, volume_quote in {name.quote}, as known "
        f"{known}. Times are UTC."
    )


def _parsed(series: Iterable[str]) -> list[SeriesName]:
    return [SeriesName.parse(name) for name in sorted(set(series))]


def _in_quote(names: Sequence[SeriesName]) -> str:
    quotes = sorted({name.quote for name in names})
    return f"in {quotes[0]}" if len(quotes) == 1 else f"in each series' quote currency ({', '.join(quotes)})"


def _steps(names: Sequence[SeriesName]) -> str:
    return f"A step is {' or '.join(_LENGTHS[each] for each in Interval if each in {name.interval for name in names})}."


def _as_of(conn: Connection, names: Sequence[SeriesName]) -> str:
    closes = {name: latest_close_time(conn, series=str(name)) for name in names}
    words = {close_name(close, name.interval) for name, close in closes.items() if close is not None}
    return f"as of the {words.pop()}" if len(words) == 1 else "as of the newest stored close of each series"
