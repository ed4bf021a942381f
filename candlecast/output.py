"""Writing rows: as a table for people, and as JSON, CSV or Parquet for programs."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, TextIO
from unicodedata import east_asian_width

from storage.redaction import printable

# A mapping, a named tuple or a dataclass; its keys or fields are the columns.
Row = Any


_FORMULA_STARTS = tuple("=+-@＝＋－＠")
_BLANK_STARTS = ("\t", "\r", "\n")


class Format(StrEnum):
    """The formats results can be written in."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    HUB = "hub"


def columns_of(row: type) -> tuple[str, ...]:
    """Return the names of the columns of rows of type `row`, a named tuple or a dataclass, in order."""
    names = row.__dataclass_fields__ if is_dataclass(row) else row._fields  # type: ignore[attr-defined]
    return tuple(names)


def write_rows(
    columns: Sequence[str], rows: Sequence[Row], form: Format, output: Path | None, caption: str | None = None
) -> None:
    """Write `rows`, with the columns in the given order, to `output` or to stdout.

    A row is a mapping, or a named tuple or dataclass with the columns as fields. `caption` stands under a table, which
    is for people; the other formats are for programs and have none. Raises ValueError for Parquet without
    a file, because a terminal cannot show binary data, and for the hub's layout, which only forecasts have.
    """
    if form is Format.HUB:
        raise ValueError("hub is a layout of forecasts; the others are table, json, csv and parquet")
    if form is Format.PARQUET:
        if output is None:
            raise ValueError("parquet is a binary format: name a file with -o FILE")
        _write_parquet(columns, rows, output)
    elif output is None:
        _write_text(columns, rows, form, sys.stdout, caption)
    else:
        with output.open("w", encoding="utf-8", newline="") as file:
            _write_text(columns, rows, form, file, caption)


def values_of(row: Row, columns: Sequence[str]) -> list[Any]:
    """Return the values of `row` in the order of `columns`."""
    if isinstance(row, Mapping):
        return [row[name] for name in columns]
    return [getattr(row, name) for name in columns]


def _write_text(columns: Sequence[str], rows: Sequence[Row], form: Format, file: TextIO, caption: str | None) -> None:
    if form is Format.JSON:
        import json

        json.dump([plain_row(row, columns) for row in rows], file, indent=1)
        file.write("\n")
    elif form is Format.CSV:
        write_csv(columns, rows, file)
    else:
        # By column, because all of a column are formatted alike: a command prints thousands of candles in its second.
        by_column = _by_column(columns, rows)
        cells = [[name, *_table_cells(column)] for name, column in zip(columns, by_column, strict=True)]
        file.write(_aligned(cells, [_is_numeric(column) for column in by_column]) + "\n")
        if caption:
            file.write(f"\n{caption}\n")


def _by_column(columns: Sequence[str], rows: Sequence[Row]) -> list[list[Any]]:
    """Return the values of `rows`, which are of one type, by column."""
    value_of = itemgetter if rows and isinstance(rows[0], Mapping) else attrgetter
    return [list(map(value_of(name), rows)) for name in columns]


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return `rows` as a table for a terminal: the names of the columns, a rule, and a line for each row."""
    return _aligned(list(zip(columns, *rows, strict=True)), [False] * len(columns))


def _aligned(cells: Sequence[Sequence[str]], to_the_right: Sequence[bool]) -> str:
    """Return a table of `cells` by column, the names first; `to_the_right` says whether those of a column end alike."""
    padded = [_padded(column, right) for column, right in zip(cells, to_the_right, strict=True)]
    names, *lines = ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]
    rule = "  ".join("-" * _width(column[0]) for column in padded)
    return "\n".join([names, rule, *lines])


def _padded(cells: Sequence[str], right: bool) -> list[str]:
    """Return the cells of a column, all equally wide."""
    if all(map(str.isascii, cells)):
        widest = max(map(len, cells))
        return [cell.rjust(widest) if right else cell.ljust(widest) for cell in cells]
    widths = [_width(cell) for cell in cells]
    widest = max(widths)
    blanks = [" " * (widest - width) for width in widths]
    return [blank + cell if right else cell + blank for cell, blank in zip(cells, blanks, strict=True)]


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes: East Asian characters take two."""
    return len(text) if text.isascii() else sum(2 if east_asian_width(one) in "WF" else 1 for one in text)


def write_csv(columns: Sequence[str], rows: Iterable[Row], file: TextIO) -> None:
    """Write `rows` as CSV in which a spreadsheet takes no cell for a formula."""
    import csv

    writer = csv.writer(file, lineterminator="\n")
    # With lines that end in \n the writer does not quote a lone \r. Readers begin a new row after it, and that row
    # could begin with a formula; so every cell of such a row is quoted.
    quoting_writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        cells = [_without_formula(plain(value)) for value in values_of(row, columns)]
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in cells)
        (quoting_writer if has_return else writer).writerow(cells)


def _write_parquet(columns: Sequence[str], rows: Sequence[Row], output: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = [values_of(row, columns) for row in rows]
    pq.write_table(pa.table({name: [row[at] for row in values] for at, name in enumerate(columns)}), output)


def plain(value: object) -> object:
    """Return `value` as it stands in JSON and CSV: a time as text, any other value unchanged."""
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime | date) else value


def plain_row(row: Row, columns: Sequence[str]) -> dict[str, object]:
    """Return `row` as a JSON object."""
    return {name: plain(value) for name, value in zip(columns, values_of(row, columns), strict=True)}


def _without_formula(value: object) -> object:
    # A spreadsheet takes a cell that starts with one of these characters for a formula, also after blanks and in East
    # Asian width. A leading quote makes the cell text.
    like_formula = isinstance(value, str) and (value[:1] in _BLANK_STARTS or value.lstrip()[:1] in _FORMULA_STARTS)
    return f"'{value}" if like_formula and value else value


def _decimals(column: Iterable[object]) -> int:
    """Return with how many decimals all numbers of a column are written: five digits of the largest, at least two.

    Where numbers of several sizes share a column, as prices of several markets do, the smallest keeps three digits, as
    far as six decimals go.
    """
    sizes = [size for value in column if isinstance(value, float) and 0 < (size := abs(value)) < math.inf]
    if not sizes:
        return 2
    largest, smallest = math.floor(math.log10(max(sizes))), math.floor(math.log10(min(sizes)))
    return min(max(4 - largest, 2 - smallest, 2), 6)


def _table_cells(column: Sequence[object]) -> list[str]:
    texts = {kind: _text_of(kind, column) for kind in set(map(type, column))}
    return [texts[type(value)](value) for value in column]


def _text_of(kind: type, column: Sequence[object]) -> Callable[[Any], str]:
    """Return what makes a cell of a value of type `kind` in `column`."""
    if issubclass(kind, float):
        return f"{{:,.{_decimals(column)}f}}".format
    if issubclass(kind, datetime):
        return _instant
    return (lambda _: "-") if kind is type(None) else lambda value: printable(str(value))


def _instant(value: datetime) -> str:
    return _minute(value.date(), value.hour, value.minute)


# Measured, a date's isoformat takes six times as long as a look-up, and a candle closes when the next one opens.
@lru_cache(maxsize=10_000)
def _minute(day: date, hour: int, minute: int) -> str:
    return f"{day.isoformat()} {hour:02}:{minute:02}" if hour or minute else day.isoformat()


def _is_numeric(values: Iterable[object]) -> bool:
    return any(issubclass(kind, int | float) for kind in set(map(type, values)))
