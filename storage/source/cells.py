"""Lines, cells and numbers of a CSV that a spreadsheet may have written again; what they mean is not known here."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.chunk import Floats
from storage.errors import CddRefused

# About forty thousand rows.
BLOCK_CHARACTERS = 4_000_000
MAX_LINE_CHARACTERS = 10_000


def line_blocks(stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield the file's lines without their ends, a block at a time, each with its first line's number."""
    head = stream.read(4)
    stream.seek(0)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline=None)
    number, rest = 1, ""
    try:
        while block := text.read(BLOCK_CHARACTERS):
            if "\0" in block:
                raise CddRefused(f"a zero byte stands after line {number}: this is no text file")
            lines = (rest + block).split("\n")
            longest = max(map(len, lines))
            if longest > MAX_LINE_CHARACTERS:
                raise CddRefused(
                    f"a line after line {number} is {longest} characters long or more, at most {MAX_LINE_CHARACTERS} "
                    f"are expected: this is no CSV of candles"
                )
            # A block that is not full is the last one, and its last line needs no end.
            rest = lines.pop() if len(block) == BLOCK_CHARACTERS or not lines[-1] else ""
            yield number, lines
            number += len(lines)
        if rest:
            yield number, [rest]
    except UnicodeError as error:
        raise CddRefused(f"the file is no text: {error}") from None
    finally:
        # The caller owns the stream, and may have closed it if reading ended early.
        with suppress(ValueError):
            text.detach()


class Cells(NamedTuple):
    """Some lines cut up."""

    columns: Sequence[Sequence[str]]
    """One sequence a column, all of equal length."""
    ragged: Sequence[Sequence[str]]
    """The rows, where they are not all of one length; then columns are padded."""


def cells(lines: list[str], *, delimiter: str, width: int, needed: int) -> Cells:
    """Return the cells of data lines by column, `width` columns; `needed` is the last place no line can do without."""
    if not lines:
        return Cells([()] * width, [])
    text = "\n".join(lines)
    counts = {line.count(delimiter) for line in lines}
    if len(counts) == 1 and '"' not in text and (found := counts.pop() + 1) > needed:
        # All rows alike: one split of the whole block, and every column is a stride of it.
        flat = text.replace("\n", delimiter).split(delimiter)
        columns: list[Sequence[str]] = [flat[place::found] for place in range(min(found, width))]
        return Cells(columns + [[""] * len(lines)] * (width - len(columns)), [])
    rows = [next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter) for line in lines]
    padded = [row[:width] + [""] * (width - len(row)) for row in rows]
    return Cells(list(zip(*padded, strict=True)), rows)


@dataclass(frozen=True)
class Numbers:
    """A column's numbers: NaN where nothing or `n/a` stood, and where something stood that is no number: `garbled`."""

    value: Floats
    garbled: NDArray[np.bool_]


_UNKNOWN = {"", "null", "nan", "none", "n/a", "na", "-"}


def numbers(texts: Sequence[str]) -> Numbers:
    """Return the numbers of a column, written plainly or as a spreadsheet does: 1,234.5 or 1.234,5."""
    try:
        # Python alone takes 1_000 for a number.
        if "_" not in "".join(texts):
            values = np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
            return Numbers(values, np.isinf(values))
    except ValueError:
        pass
    # A comma is a decimal one when some cell of the column has other than three digits after it.
    decimal_comma = any(_DECIMAL_COMMA.fullmatch(text.strip()) for text in texts)
    values = np.empty(len(texts))
    garbled = np.zeros(len(texts), dtype=np.bool_)
    for i, text in enumerate(texts):
        text = text.strip()
        if text.casefold() in _UNKNOWN:
            values[i] = np.nan
            continue
        try:
            values[i] = float(_plain_number(text, decimal_comma=decimal_comma))
        except ValueError:
            values[i], garbled[i] = np.nan, True
    return Numbers(values, garbled | np.isinf(values))


_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),(\d{1,2}|\d{4,})")


def _plain_number(text: str, *, decimal_comma: bool) -> str:
    """Return a spreadsheet's number as Python writes it: 1,234.5 without separators, or 1.234,5 with a point."""
    if decimal_comma and re.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})*|\d+)(,\d*)?", text):
        return text.replace(".", "").replace(",", ".")
    # Only groups of three, so that 1,5 is not read as 15.
    return text.replace(",", "") if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text) else text
