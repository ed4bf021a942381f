"""Numbers as files write them: 1234.5, 1,234.5, 1.234,5, 1 234,5, 3.2e4, $8,162.44."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.chunk import Floats

# Texts that say that a number is not known.
UNKNOWN = frozenset({"", "null", "nan", "none", "n/a", "na", "-", "--", "#n/a", "nil", "<na>", "nat"})

_COMMA_IS_DECIMAL = re.compile(
    r"[+-]?(\d{1,3}(\.\d{3})+,\d+|\d+,\d{1,2}|\d+,\d{4,}|0,\d+|\d{4,},\d+|\d+,\d+[eE][+-]?\d+)"
)
_POINT_IS_DECIMAL = re.compile(
    r"[+-]?(\d{1,3}(,\d{3})+\.\d*|\d{1,3}(,\d{3}){2,}|\d{1,2}(,\d{2})+,\d{3}(\.\d*)?|\d+\.\d{1,2}|\d+\.\d{4,}|0?\.\d+|"
    r"\d{4,}\.\d+|\d+\.\d*[eE][+-]?\d+)"
)
_POINTS_BETWEEN_THOUSANDS = re.compile(r"[+-]?\d{1,3}(\.\d{3}){2,}")
POINT_OF_EITHER_KIND = re.compile(r"[1-9]\d{0,2}(\.\d{3})?")
# No group of thousands begins with a zero: 0.001 beside decimal commas is a thousandth.
_WITH_DECIMAL_COMMA = re.compile(r"[+-]?([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d*)?([eE][+-]?\d+)?")
# In groups of three, or of two before the last three: 1,51,624.17 is Indian.
_WITH_THOUSANDS_COMMAS = re.compile(r"[+-]?([1-9]\d{0,2}(,\d{3})+|[1-9]\d?(,\d{2})+,\d{3})(\.\d*)?")
SIGNS = "$€£¥₩₹₽₺₴₿฿₫₪"
"""Signs of currencies that may stand beside a number."""
# Blanks and apostrophes between thousands, currency signs, and the apostrophe that makes a cell a text.
_ORNAMENT = re.compile(rf"[\s\u00a0\u202f\u2009'’{SIGNS}]")
_MINUS = "\u2212"


@dataclass(frozen=True)
class Numbers:
    """A column's numbers: NaN where nothing or `n/a` stood, and where something stood that is no number: `garbled`."""

    value: Floats
    garbled: NDArray[np.bool_]


def decimal_commas(columns: Mapping[str, Sequence[str]]) -> dict[str, bool]:
    """Return for each number column whether a comma is its decimal sign.

    A column decides by a cell that can be read in one way only. One without such a cell (`8,355`, `8.355`) follows the
    others if they agree; a comma that still can be both stands between thousands.
    """
    if not any("," in text or text.count(".") > 1 for texts in columns.values() for text in texts):
        return dict.fromkeys(columns, False)
    comma, point = set(), set()
    pointed = False
    for name, texts in columns.items():
        cells = {_ORNAMENT.sub("", text) for text in texts}
        if any(_COMMA_IS_DECIMAL.fullmatch(text) for text in cells):
            comma.add(name)
        if any(_POINT_IS_DECIMAL.fullmatch(text) for text in cells):
            point.add(name)
        pointed |= any(_POINTS_BETWEEN_THOUSANDS.fullmatch(text) for text in cells)
    if pointed and not comma and not point:
        # 65.132.772 can be one number only, so 8.162 beside it is 8162.
        return dict.fromkeys(columns, True)
    of_others = bool(comma) and not point
    return {name: name in comma or (of_others and name not in point) for name in columns}


def thousands_or_decimals(columns: Mapping[str, Sequence[str]]) -> str | None:
    """Return a price such as 8.162 if all may as well be 8162, and no other column tells which; else None."""
    cells = {name: [_ORNAMENT.sub("", text) for text in texts] for name, texts in columns.items()}
    prices = [text for name, texts in cells.items() if not name.startswith("volume") for text in texts]
    if not prices or not all(POINT_OF_EITHER_KIND.fullmatch(text) for text in prices):
        return None
    others = [text for name, texts in cells.items() if name.startswith("volume") for text in texts]
    sure = (_COMMA_IS_DECIMAL, _POINT_IS_DECIMAL, _POINTS_BETWEEN_THOUSANDS)
    if any(one.fullmatch(text) for text in others for one in sure):
        return None
    return next((text for text in prices if "." in text), None)


def numbers(texts: Sequence[str], *, decimal_comma: bool = False) -> Numbers:
    """Return the numbers of a column."""
    try:
        # Python alone takes 1_000 for a number, and a point may stand between thousands beside decimal commas.
        if not decimal_comma and "_" not in "".join(texts):
            values = np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
            return Numbers(values, np.isinf(values))
    except ValueError:
        pass
    known = {text: number(text, decimal_comma=decimal_comma) for text in set(texts)}
    values = np.array([known[text] for text in texts], dtype=np.float64)
    unknown = {text: text.strip().casefold() in UNKNOWN for text in known}
    garbled = np.isnan(values) & ~np.array([unknown[text] for text in texts], dtype=np.bool_)
    return Numbers(np.where(np.isinf(values), np.nan, values), garbled | np.isinf(values))


def number(text: str, *, decimal_comma: bool = False) -> float:
    """Return the number a text says, NaN where it says none."""
    text = _ORNAMENT.sub("", text).replace(_MINUS, "-")
    if decimal_comma:
        if _WITH_DECIMAL_COMMA.fullmatch(text):
            text = text.replace(".", "").replace(",", ".")
        elif not _POINT_IS_DECIMAL.fullmatch(text):
            return np.nan
    elif _WITH_THOUSANDS_COMMAS.fullmatch(text):
        # Only groups of three, so that 1,5 is not read as 15.
        text = text.replace(",", "")
    try:
        return float(text) if "_" not in text else np.nan
    except ValueError:
        return np.nan
