"""Cuts rows into cells with care: a spreadsheet or a person may have changed their cells and columns."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mode

import numpy as np

from storage.chunk import Ints
from storage.errors import CddFormatChanged
from storage.source.cells import DELIMITERS, filled, split_line
from storage.source.columns import Layout
from storage.source.dates import parse_clock, parse_date
from storage.source.numerals import decimal_commas, number, numbers, thousands_or_decimals

# Columns in front of those that the header names, or behind them, must leave this share of the rows candles.
PLAUSIBLE = 0.9
MOST_UNNAMED_COLUMNS = 3
# So many rows before the last one show what its last cell must look like ...
ROWS_BEFORE_A_CUT = 500
FEWEST_BEFORE_A_CUT = 10
# ... of which at most this share may have as few: 8162.4 stands for 8162.40 in a tenth of the rows.
CUT_SHARE = 0.05

# A spreadsheet's day numbers have as many decimals as they need: 43754 is midnight.
_DAY_NUMBER = re.compile(r"\d{5}([.,]\d+)?")

Numbered = tuple[int, str]


@dataclass
class Table:
    """Some rows cut into the columns of a layout, which may have been shifted to fit them."""

    layout: Layout
    line_numbers: Ints
    columns: Sequence[Sequence[str]]

    def column(self, place: int) -> Sequence[str]:
        """Return the texts of a column; empty ones where there is none."""
        return self.columns[place] if 0 <= place < len(self.columns) else [""] * len(self.line_numbers)


def cut_rows(
    lines: Sequence[Numbered], layout: Layout, reject: Callable[[int, str], None], *, beside_another: bool
) -> Table:
    """Return data lines cut into columns; rows with too few or too many cells are rejected with the reason.

    `beside_another` says that the file holds other tables, so that a row may have nothing of this one.
    """
    rows = [(number, split_line(line, layout.delimiter)) for number, line in lines]
    if beside_another:
        wanted = [*layout.prices.values(), *(place for _, place in layout.times)]
        rows = [(n, row) for n, row in rows if any(row[place] for place in wanted if place < len(row))]
    usual = mode(len(row) for _, row in rows) if rows else 0
    most = layout.width
    longer = [filled(row) for _, row in rows if filled(row) > layout.width]
    if longer and len(longer) >= PLAUSIBLE * len(rows):
        extra = Counter(longer).most_common(1)[0][0] - layout.width
        sample = [row for _, row in rows if filled(row) > layout.width][:200]
        fitting = [by for by in {0, extra} if extra <= MOST_UNNAMED_COLUMNS and _plausible(sample, layout.shifted(by))]
        if len(fitting) == 1:
            layout, most = layout.shifted(fitting[0]), layout.width + extra
    least = max(min(usual, layout.width), layout.last_needed + 1)
    kept: list[list[str]] = []
    numbers_kept: list[int] = []
    for line_number, row in rows:
        if len(row) < least:
            reject(line_number, f"expected at least {least} cells, got {len(row)}")
        elif filled(row) > most:
            reject(line_number, f"it has {filled(row)} cells, the header names {layout.width}")
        else:
            kept.append(row[:most] + [""] * (most - len(row)))
            numbers_kept.append(line_number)
    columns = list(zip(*kept, strict=True)) if kept else []
    return Table(layout, np.array(numbers_kept, dtype=np.int64), columns)


def read_numbers(table: Table) -> tuple[dict[str, "np.ndarray"], "np.ndarray"]:
    """Return the number columns by name, and in which rows a volume is garbled.

    Raises CddFormatChanged where the prices can be read in two ways.
    """
    layout = table.layout
    places = {**layout.prices, "volume_base": layout.volume_base, "volume_quote": layout.volume_quote}
    texts = {name: table.column(place) for name, place in places.items()}
    unsure = thousands_or_decimals(texts)
    if unsure is not None:
        raise CddFormatChanged(
            f"every price of the file has three digits after its point: {unsure} may be {number(unsure):g} or "
            f"{number(unsure) * 1000:g}; write the prices without separators between thousands"
        )
    commas = decimal_commas(texts)
    values = {}
    garbled = np.zeros(len(table.line_numbers), dtype=np.bool_)
    for name, column in texts.items():
        cells = numbers(column, decimal_comma=commas[name])
        values[name] = cells.value
        if name.startswith("volume"):
            garbled |= cells.garbled
    values["trades"] = numbers(table.column(layout.trades)).value
    return values, garbled


def why_cut(text: str, layout: Layout) -> str:
    """Return why the last cell of the last row looks cut, nothing where it does not.

    `text` ends without a line end. Of two volumes their ratio shows a cut instead.
    """
    lines = [line for line in text.rsplit("\n", ROWS_BEFORE_A_CUT + 1)[1:] if not is_blank(line)]
    rows = [split_line(line, layout.delimiter) for line in lines]
    place = filled(rows[-1]) - 1 if rows else -1
    ends = [row[place] for row in rows if filled(row) == place + 1]
    if len(ends) < FEWEST_BEFORE_A_CUT:
        return ""
    volumes = [one for one in (layout.volume_base, layout.volume_quote) if one >= 0]
    if place in layout.prices.values() or volumes == [place]:
        decimals = [_decimals(end) for end in ends]
        as_short = sum(one <= decimals[-1] for one in decimals[:-1])
        reason = "its last number has fewer decimals than those of the other rows"
    elif place in [place for _, place in layout.times] and not _DAY_NUMBER.fullmatch(ends[-1]):
        shapes = [_shape(end) for end in ends]
        as_short = sum(one == shapes[-1] for one in shapes[:-1])
        reason = "the text of its time is shorter than those of the other rows"
    else:
        return ""
    return reason if as_short <= CUT_SHARE * (len(ends) - 1) else ""


def _decimals(text: str) -> int:
    return len(re.sub(r"\D", "", re.split("[.,]", text)[-1])) if re.search("[.,]", text) else 0


def _shape(text: str) -> tuple[int, int, int]:
    """Return what the texts of one column of times have in common: groups of digits, digits and letters at the end."""
    groups = re.findall(r"\d+", text)
    letters = re.search(r"[^\W\d_]*\W*$", text)
    return len(groups), len(groups[-1]) if groups else 0, len(letters[0]) if letters else 0


def is_blank(line: str) -> bool:
    """Return whether a line holds nothing but delimiters and blanks."""
    return not line.strip(f'{DELIMITERS}" \r')


def looks_like_a_row(line: str, layout: Layout) -> bool:
    """Return whether a line could be a candle under a layout, even one that is garbled: digits where a price stands."""
    cells = split_line(line, layout.delimiter)
    return len(cells) > layout.last_needed and any(re.search(r"\d", cells[place]) for place in layout.prices.values())


def _plausible(rows: Sequence[Sequence[str]], layout: Layout) -> bool:
    good = 0
    for row in rows:
        try:
            opened, high, low, close = (number(row[layout.prices[name]]) for name in ("open", "high", "low", "close"))
            times = [row[place] for _, place in layout.times]
        except IndexError:
            continue
        timely = all(parse_date(text) or parse_clock(text) or number(text) >= 1e9 for text in times)
        good += timely and 0 < low <= min(opened, close) and max(opened, close) <= high
    return good >= PLAUSIBLE * len(rows)
