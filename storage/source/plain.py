"""Reads files as CDD serves them today, fast: plain numbers, full unix times, and ISO dates that agree with them.

A block that is not plain (it has a quote, a shortened time, a date that differs from the unix time, a row of another
length) is read line by line instead (storage/source/table.py), which takes ten times as long.
"""

import re
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.chunk import Floats, Ints
from storage.source.columns import Layout
from storage.source.dates import DAY
from storage.source.numerals import POINT_OF_EITHER_KIND
from storage.source.stamps import FEWEST_OF_AN_HOUR
from storage.source.times import EARLIEST, LATEST

# Importing pyarrow costs as much as reading so many characters the careful way.
WORTH_AN_IMPORT = 300_000

_UNIX = re.compile(r"\d{10,16}(\.0)?")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}:\d{2})?")
_NOTHING = ["", "NULL", "null", "nan", "NaN", "None", "N/A", "n/a", "NA", "na", "-"]


class Plain(NamedTuple):
    """The columns of a plain block."""

    open_time: Ints
    in_utc: bool
    """Whether a unix time says them."""
    numbers: dict[str, Floats]
    symbols: list[str]
    """The distinct symbols."""
    symbol_of: NDArray[np.int32]
    """Which of them each row has."""


def read_plain(text: str, layout: Layout, length: int) -> Plain | None:
    """Return the columns of a block whose times are beyond doubt, None where the block is not plain.

    `length` is the candle's in seconds. The times are beyond doubt when a date says the very second that the unix time
    says, or when they all lie on the grid of candles.
    """
    if '"' in text or layout.remark:
        return None
    if len(text) < WORTH_AN_IMPORT and "pyarrow.csv" not in sys.modules:
        return None
    first = text[: text.find("\n") if "\n" in text else None].split(layout.delimiter)
    if len(first) != layout.width:
        return None
    if all(POINT_OF_EITHER_KIND.fullmatch(first[place].strip()) for place in layout.prices.values()):
        # 8.162 may be a number with a point between thousands; the careful way looks at all of them.
        return None
    import pyarrow as pa
    from pyarrow import csv

    kinds: dict[int, Any] = {}
    for _, place in layout.times:
        cell = first[place].strip()
        if _UNIX.fullmatch(cell):
            kinds[place] = pa.float64()
        elif _ISO.fullmatch(cell):
            kinds[place] = pa.timestamp("s")
        else:
            return None
    named = {**layout.prices, "volume_base": layout.volume_base, "volume_quote": layout.volume_quote}
    named["trades"] = layout.trades
    kinds |= {place: pa.float64() for place in named.values() if place >= 0}
    if layout.symbol >= 0:
        kinds[layout.symbol] = pa.dictionary(pa.int32(), pa.string())
    data = text.encode()
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=[str(i) for i in range(layout.width)]
            ),
            csv.ParseOptions(delimiter=layout.delimiter, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types={str(place): kind for place, kind in kinds.items()},
                include_columns=[str(place) for place in kinds],
                null_values=_NOTHING,
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        return None
    n = table.num_rows
    if n != text.count("\n") + (not text.endswith("\n")):
        return None

    def column(place: int) -> NDArray[Any]:
        values: NDArray[Any] = table.column(str(place)).to_numpy()
        return values

    open_time = _times([column(place) for _, place in layout.times], length)
    if open_time is None:
        return None
    in_utc = any(kinds[place] == pa.float64() for _, place in layout.times)
    numbers = {name: column(place) if place >= 0 else np.full(n, np.nan) for name, place in named.items()}
    if any(np.isinf(values).any() for values in numbers.values()):
        return None
    if layout.symbol < 0:
        return Plain(open_time, in_utc, numbers, [""], np.zeros(n, np.int32))
    symbols = table.column(str(layout.symbol)).combine_chunks()
    return Plain(open_time, in_utc, numbers, symbols.dictionary.to_pylist(), symbols.indices.to_numpy())


def _times(columns: list[NDArray[Any]], length: int) -> Ints | None:
    seconds: list[Ints] = []
    dated = False
    for values in columns:
        if values.dtype.kind == "M":
            if np.isnat(values).any():
                return None
            seconds.append(values.astype("datetime64[s]").astype(np.int64))
            dated = True
            continue
        if np.isnan(values).any():
            return None
        # 1e11 s lies in the year 5138 and 1e11 ms in 1973: sizes tell the units apart.
        scale = np.select([values < 1e11, values < 1e14], [1.0, 1e3], 1e6)
        seconds.append((values // scale).astype(np.int64))
    first = seconds[0]
    if len(np.unique(first[[0, len(first) // 2, -1]])) < FEWEST_OF_AN_HOUR:
        # One unix time or two may lie on the grid because somebody rounded them; the careful way looks at all rows.
        return None
    if ((first < EARLIEST) | (first > LATEST)).any():
        return None
    if any(not np.array_equal(first, other) for other in seconds[1:]):
        return None
    if length < DAY and not (first % DAY).any():
        # Whether hours were lost is seen by the texts.
        return None
    sure = (dated and len(seconds) > 1) or not (first % length).any()
    return first if sure else None
