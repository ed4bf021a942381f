"""Faults by which a file of candles comes to contradict itself, so that it must not be read in silence."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from file_forms import HOUR, PRICES, Known, Row


@dataclass(frozen=True)
class Fault:
    """How a file comes to contradict itself, and what it must have so that a reader can notice it."""

    apply: Callable[[list[Row], random.Random], list[Row]] = lambda rows, _: rows
    """Changes the texts of rows, oldest first; `opened` is when a row opens, in unix seconds."""
    lie: Callable[[Known], Known] = lambda known: known
    """Changes the candles before they are written."""
    columns: tuple[str, ...] = ()
    rows: int = 1
    intervals: tuple[str, ...] = ("d", "1h", "minute")
    cut: bool = False
    """Whether the file breaks off in its last cell."""
    name: str = ""
    """The interval in the name of the file, if it is another one."""


def _each(change: Callable[[Row], Row]) -> Callable[[list[Row], random.Random], list[Row]]:
    """Return a fault of every row."""
    return lambda rows, _: [{**row, **change(row)} for row in rows]


def _some(change: Callable[[Row], Row], share: float = 0.3) -> Callable[[list[Row], random.Random], list[Row]]:
    """Return a fault of some rows, of one at least."""

    def apply(rows: list[Row], chance: random.Random) -> list[Row]:
        hit = {chance.randrange(len(rows)), *(i for i in range(len(rows)) if chance.random() < share)}
        return [{**row, **change(row)} if i in hit else row for i, row in enumerate(rows)]

    return apply


def _moved(columns: Sequence[str], by: int, part: float = 0.0) -> Callable[[list[Row], random.Random], list[Row]]:
    """Return a fault by which some columns stand `by` rows away from the others, from a part of the file on."""

    def apply(rows: list[Row], _: random.Random) -> list[Row]:
        from_row, n = int(part * len(rows)), len(rows)
        others = [{column: row[column] for column in columns if column in row} for row in rows]
        return [{**row, **others[(i + by) % n]} if i >= from_row else row for i, row in enumerate(rows)]

    return apply


def _swapped(one: str, other: str) -> Callable[[Row], Row]:
    return lambda row: {one: row[other], other: row[one]}


def _with_numbers(change: Callable[[dict[str, list[float]], int], dict[str, list[float]]]) -> Callable[[Known], Known]:
    """Return a change of known candles; `change` gets their numbers and how many decimals prices have."""
    return lambda known: replace(known, numbers={**known.numbers, **change(known.numbers, known.decimals)})


def _times(factor: float, names: Sequence[str], part: float = 0.0) -> Callable[[Known], Known]:
    """Return a change that multiplies numbers from a part of the file on."""

    def change(numbers: dict[str, list[float]], decimals: int) -> dict[str, list[float]]:
        return {
            name: [v if i < part * len(numbers[name]) else round(v * factor, 6) for i, v in enumerate(numbers[name])]
            for name in names
        }

    return _with_numbers(change)


def _heikin_ashi(numbers: dict[str, list[float]], decimals: int) -> dict[str, list[float]]:
    """Return the averaged candles that charting programs draw and export."""
    rows: list[tuple[float, float, float, float]] = []
    for opened, high, low, close in zip(*(numbers[name] for name in PRICES), strict=True):
        middle = (rows[-1][0] + rows[-1][3]) / 2 if rows else opened
        mean = (opened + high + low + close) / 4
        rows.append((middle, max(high, middle, mean), min(low, middle, mean), mean))
    return {name: [row[place] for row in rows] for place, name in enumerate(PRICES)}


def _moment(row: Row) -> datetime:
    return datetime.fromtimestamp(int(row["opened"]), UTC)


def _dated(form: Callable[[datetime], str]) -> Callable[[list[Row], random.Random], list[Row]]:
    """Return a fault by which the file has dates of this form and no other time."""
    return lambda rows, _: [
        {**{k: v for k, v in row.items() if k not in ("unix", "time")}, "date": form(_moment(row))} for row in rows
    ]


def _turned(m: datetime) -> str:
    """Return a date as a spreadsheet that expects m/d/yyyy saves d/m/yyyy: it swaps day and month up to the 12th."""
    return f"{m.month}/{m.day}/{m.year}" if m.day <= 12 else f"{m.day}/{m.month}/{m.year}"


# A unix time in full and a date with a clock.
EXACT = ("unix", "date", "clock")
FAULTS: dict[str, Fault] = {
    "unix of the row before": Fault(_moved(("unix",), 1), columns=EXACT, rows=2),
    "dates of another row from the middle on": Fault(_moved(("date", "time"), 3, 0.5), columns=EXACT, rows=5),
    "one unix time in many rows": Fault(
        lambda rows, _: [{**row, "unix": rows[0]["unix"]} for row in rows], columns=EXACT, rows=5
    ),
    "volumes of other rows": Fault(_moved(("base", "quote"), 7, 0.5), columns=("quote",), rows=60, intervals=("d",)),
    "open and close exchanged": Fault(_each(_swapped("open", "close")), rows=30),
    "high and low exchanged": Fault(_each(_swapped("high", "low"))),
    "high and low exchanged in some rows": Fault(_some(_swapped("high", "low"))),
    "high and close exchanged": Fault(_each(_swapped("high", "close"))),
    "low and open exchanged in some rows": Fault(_some(_swapped("low", "open"))),
    "high in the column of closes": Fault(_each(lambda row: {"close": row["high"]}), rows=30),
    "closes of the row before": Fault(_moved(("close",), -1), rows=60),
    "closes of the row after": Fault(_moved(("close",), 1), rows=60),
    "negative prices": Fault(_some(lambda row: {"low": f"-{row['low']}"})),
    "garbled prices": Fault(_some(lambda row: {"open": "n/a"})),
    "garbled volumes": Fault(_some(lambda row: {"base": "1.2.3.4"}), columns=("quote",)),
    "negative volumes": Fault(_some(lambda row: {"base": f"-{row['base']}"}), columns=("quote",)),
    "symbols of another pair": Fault(_each(lambda row: {"symbol": "LTC/EUR"}), columns=("symbol",)),
    "symbols of another pair in some rows": Fault(_some(lambda row: {"symbol": "LTC/EUR"}), columns=("symbol",)),
    "prices of another pair": Fault(
        lambda rows, _: [{**row, **dict.fromkeys(PRICES, "0.0001")} if i % 2 else row for i, row in enumerate(rows)],
        rows=30,
    ),
    "prices in cents": Fault(lie=_times(100, PRICES), columns=("quote",), rows=12),
    "prices in cents from the middle on": Fault(lie=_times(100, PRICES, 0.5), columns=("quote",), rows=30),
    "prices a tenth from the middle on": Fault(lie=_times(0.1, PRICES, 0.5)),
    "volumes in thousands": Fault(lie=_times(0.001, ("quote",)), columns=("quote",), rows=12),
    "Heikin-Ashi": Fault(lie=_with_numbers(_heikin_ashi), rows=30),
    "prices without their rows": Fault(
        lie=lambda known: replace(known, numbers={**known.numbers, **{p: known.numbers[p][::-1] for p in PRICES}}),
        rows=30,
    ),
    "closes alone": Fault(
        lie=_with_numbers(lambda numbers, _: dict.fromkeys(PRICES, numbers["close"])), rows=30, intervals=("d",)
    ),
    "logarithms": Fault(
        lie=_with_numbers(lambda numbers, _: {name: np.log(numbers[name]).tolist() for name in PRICES}),
        columns=("quote",),
        rows=12,
    ),
    "a price of a thousandth": Fault(_some(lambda row: {"low": "0.001"}, 0), rows=12),
    "days to the 12th turned": Fault(_dated(_turned), rows=45, intervals=("d",)),
    "days to the 12th turned, year first": Fault(
        _dated(lambda m: f"{m:%Y-%d-%m}" if m.day <= 12 else f"{m:%Y-%m-%d}"), rows=45, intervals=("d",)
    ),
    "days dated at their close": Fault(_dated(lambda m: f"{m:%Y-%m-%d} 23:59:59"), rows=5, intervals=("d",)),
    "days in local time": Fault(_dated(lambda m: f"{m - 5 * HOUR:%Y-%m-%d %H:%M}"), rows=12, intervals=("d",)),
    "hours lost": Fault(_dated(lambda m: f"{m:%Y-%m-%d}"), rows=5, intervals=("1h", "minute")),
    "minutes lost": Fault(_dated(lambda m: f"{m:%Y-%m-%d %H}:00"), rows=12, intervals=("minute",)),
    "24:00 for midnight": Fault(
        _dated(lambda m: f"{m:%Y-%m-%d %H:%M}" if m.hour else f"{m - timedelta(days=1):%Y-%m-%d} 24:00"),
        rows=30,
        intervals=("1h",),
    ),
    "times of the future": Fault(_dated(lambda m: f"{m.year + 30}{m:-%m-%d %H:%M}")),
    "names of time zones": Fault(_dated(lambda m: f"{m:%Y-%m-%d %H:%M:%S} CEST")),
    "hours under the name of days": Fault(rows=5, intervals=("1h",), name="d"),
    "days under the name of hours": Fault(rows=5, intervals=("d",), name="1h"),
    "minutes under the name of hours": Fault(rows=5, intervals=("minute",), name="1h"),
    "zeros for prices": Fault(_some(lambda row: dict.fromkeys(PRICES, "0"))),
    "the last cell cut": Fault(cut=True, rows=30),
    "an interval of every second row": Fault(lambda rows, _: rows[::2], rows=12),
}
