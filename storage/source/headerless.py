"""Finds the columns of a file without a header, if its rows leave no doubt."""

import re
from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np

from models.candles import SeriesName
from storage.chunk import Floats
from storage.source.cells import DELIMITERS, filled, split_line
from storage.source.columns import PRICES, Layout
from storage.source.dates import DAY, parse_clock, parse_date
from storage.source.numerals import decimal_commas, numbers
from storage.source.stamps import DAY_NUMBER_0
from storage.source.symbols import names_the_pair

ROWS_LOOKED_AT = 500
FEWEST_ROWS = 5
# The next candle opens near the close before it: nearer, in the median, than open and close of a candle are apart.
MUCH_NEARER = 0.5
# Rows are in order of time when this share of the steps goes one way.
IN_ORDER = 0.95
# Prices of one candle are not farther apart than this factor; volumes and counts are.
FARTHEST_PRICES = 3.0
# A spreadsheet's day numbers that stand beside unix times are no farther from them.
FARTHEST_DAY_NUMBERS_S = 4 * DAY
# Quote volume divided by base volume moves by this share at most, or so many times as much as the candles' middle.
AS_PRICES_MOVE = 0.1
AS_LITTLE_AS_PRICES = 3.0


def layout_without_header(lines: Sequence[str], series: SeriesName) -> Layout | None:
    """Return the layout of rows without a header, None where it is not beyond doubt.

    There must be a time, the symbol of the pair, and four neighbouring columns of which one is the highest and one the
    lowest in every row, and of which only one order lets each candle open near the close before.
    """
    lines = [line for line in lines if line.strip(f"{DELIMITERS} \r")][:ROWS_LOOKED_AT]
    if len(lines) < FEWEST_ROWS:
        return None
    delimiter = max(DELIMITERS, key=lambda one: min(line.count(one) for line in lines))
    rows = [split_line(line, delimiter) for line in lines]
    width = max(filled(row) for row in rows)
    rows = [row for row in rows if filled(row) == width]
    if len(rows) < max(FEWEST_ROWS, 0.9 * len(lines)):
        return None
    columns = [[row[place] for row in rows] for place in range(width)]
    times = [place for place, texts in enumerate(columns) if _is_time(texts)]
    symbols = [place for place, texts in enumerate(columns) if _is_symbol(texts, series)]
    if not times or len(symbols) != 1:
        return None
    rest = {place: columns[place] for place in range(width) if place not in times and place not in symbols}
    commas = decimal_commas({str(place): texts for place, texts in rest.items()})
    values = {place: numbers(texts, decimal_comma=commas[str(place)]).value for place, texts in rest.items()}
    values = {place: one for place, one in values.items() if np.isfinite(one).mean() > 0.9}
    unix = [numbers(columns[place]).value for place in times]
    times += [place for place, one in values.items() if any(_are_day_numbers(one, beside) for beside in unix)]
    values = {place: one for place, one in values.items() if place not in times}
    candidates = [
        one
        for start in sorted(values)
        if (one := _prices(values, start, ascending=_ascending(columns, times))) is not None
    ]
    if len(candidates) != 1:
        return None
    prices = candidates[0]
    rest_values = {place: one for place, one in values.items() if place not in prices.values()}
    base, quote = _volumes(rest_values, values, prices)
    # Prices in the wrong order of time look like a close that stands before the open.
    if prices["close"] < prices["open"] or (base < 0 and _have_another_price(rest_values, values, prices)):
        return None
    named = [(f"column {place + 1}", place) for place in sorted(times)]
    return Layout(
        "", delimiter, width, tuple(named), prices, symbols[0], -1, base, quote,
        remark="columns " + ", ".join(f"{name} {place + 1}" for name, place in prices.items()),
    )  # fmt: skip


def _is_time(texts: Sequence[str]) -> bool:
    def one(text: str) -> bool:
        if re.fullmatch(r"\d{10}|\d{13}|\d{16}", text.removesuffix(".0")) or re.fullmatch(
            r"\d[.,]\d+[eE]\+(09|12|9)", text
        ):
            return True
        return parse_date(text) is not None or parse_clock(text) is not None

    return all(one(text) for text in texts)


def _are_day_numbers(values: Floats, unix: Floats) -> bool:
    """Return whether a column has a spreadsheet's day numbers of about the days that unix times beside it name."""
    if not (np.isfinite(unix).all() and np.isfinite(values).all() and (unix > 0).all()):
        return False
    # In seconds, also where the file has milliseconds or finer.
    seconds = unix / 1000.0 ** np.floor(np.log10(unix) / 3 - 3)
    return bool(np.median(np.abs(values * DAY + DAY_NUMBER_0 - seconds)) <= FARTHEST_DAY_NUMBERS_S)


def _is_symbol(texts: Sequence[str], series: SeriesName) -> bool:
    distinct = set(texts)
    named = [names_the_pair(text, series) for text in distinct if text]
    return "" not in distinct and any(named) and all(re.search("[A-Za-z]", text) for text in distinct)


def _ascending(columns: Sequence[Sequence[str]], times: Sequence[int]) -> bool | None:
    """Return whether the rows go forward in time, None where that cannot be told or they are in no order."""
    for place in times:
        values = numbers(columns[place]).value
        if not np.isfinite(values).all():
            dates = [parse_date(text) for text in columns[place]]
            if not all(date is not None and date.year_at == 0 for date in dates):
                continue
            parts = [(*date.parts, date.clock) for date in dates if date is not None]
            ranks = {one: rank for rank, one in enumerate(sorted(set(parts)))}
            values = np.array([ranks[one] for one in parts], dtype=np.float64)
        steps = np.diff(values)
        steps = steps[steps != 0]
        if len(steps):
            forward = float((steps > 0).mean())
            return None if 1 - IN_ORDER < forward < IN_ORDER else forward > 0.5
    return None


def _prices(values: dict[int, Floats], start: int, *, ascending: bool | None) -> dict[str, int] | None:
    places = range(start, start + 4)
    if ascending is None or not all(place in values for place in places):
        return None
    table = np.stack([values[place] for place in places])
    if (
        not np.isfinite(table).all()
        or (table <= 0).any()
        or np.median(table.max(axis=0) / table.min(axis=0)) > FARTHEST_PRICES
    ):
        return None
    noise = 1e-8 * table.max(axis=0)
    highest = [i for i in range(4) if (table[i] + noise >= table.max(axis=0)).all()]
    lowest = [i for i in range(4) if (table[i] - noise <= table.min(axis=0)).all()]
    if len(highest) != 1 or len(lowest) != 1 or highest == lowest:
        return None
    others = [i for i in range(4) if i not in (highest[0], lowest[0])]
    step = 1 if ascending else -1
    inner = np.median(np.abs(table[others[0]] - table[others[1]]))
    fitting = []
    for opened, close in permutations(others):
        opens, closes = table[opened][::step], table[close][::step]
        if np.median(np.abs(opens[1:] - closes[:-1])) <= MUCH_NEARER * inner:
            fitting.append((opened, close))
    if len(fitting) != 1:
        return None
    opened, close = fitting[0]
    return dict(zip(PRICES, (start + opened, start + highest[0], start + lowest[0], start + close), strict=True))


def _volumes(candidates: dict[int, Floats], values: dict[int, Floats], prices: dict[str, int]) -> tuple[int, int]:
    """Return the places of base and quote volume: the only two columns whose ratio is a price of the candle."""
    low, high = values[prices["low"]], values[prices["high"]]
    fitting = []
    for pair in combinations(sorted(candidates), 2):
        for base, quote in permutations(pair):
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = candidates[quote] / candidates[base]
                if ((ratio >= low * 0.98) & (ratio <= high * 1.02)).mean() > 0.9:
                    fitting.append((base, quote))
    return fitting[0] if len(fitting) == 1 else (-1, -1)


def _have_another_price(candidates: dict[int, Floats], values: dict[int, Floats], prices: dict[str, int]) -> bool:
    """Return whether two columns look like volumes of another price: their ratio moves as little as prices do."""
    middle = (values[prices["low"]] + values[prices["high"]]) / 2
    usual = np.median(np.abs(np.diff(np.log(middle))))
    for one, other in combinations(candidates.values(), 2):
        if not ((one > 0) & (other > 0)).all() or min(len(np.unique(one)), len(np.unique(other))) < len(middle) / 2:
            continue
        if np.median(np.abs(np.diff(np.log(one / other)))) <= max(AS_PRICES_MOVE, AS_LITTLE_AS_PRICES * usual):
            return True
    return False
