"""What the numbers of a time column say: unix times of any unit, YYYYMMDD, or a spreadsheet's day numbers.

A unix time that a spreadsheet shortened to `1.57118E+12` knows 2.8 hours, `1.57E+12` 116 days.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.chunk import NO_TIME, Ints
from storage.source.dates import DAY, read_dates
from storage.source.numerals import number

# A unix time is written to this many seconds or finer, or somebody shortened it.
EXACT_UNIX_S = 100
# A spreadsheet that keeps six digits rounds to so many seconds. Of true hours, one in 25 ends in so many zeros.
ROUNDED_S = 10_000
# So many different times at one hour of the day show that it is the hour at which days start.
FEWEST_OF_AN_HOUR = 3
# A spreadsheet counts days from this moment (unix seconds).
DAY_NUMBER_0 = -25_569 * DAY

_NUMERIC = re.compile(r"[+-]?(\d{1,3}(,\d{3}){2,}|\d+([.,]\d*)?)([eE][+-]?\d+)?")
_SHORTENED = re.compile(r"[+-]?\d(?:[.,](\d*))?[eE]\+?(\d+)")


@dataclass
class Witness:
    """What one column says of the time of every row: the first instant it can mean, and how many seconds it knows."""

    name: str
    value: Ints
    step: Ints
    exact: NDArray[np.bool_]
    """Whether the candle opens at that very instant, as far as this column knows."""
    is_unix: bool
    in_utc: bool = False
    """Whether its texts name their zone."""
    local: bool = False
    """Whether a stretch of it was found to be in local time."""
    day_numbers: bool = False
    """Whether its texts are a spreadsheet's day numbers."""
    maybe_rounded: bool = False
    """Whether it holds one or two numbers, which may be on the grid of candles because somebody rounded them."""

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which rows it can be read in."""
        known: NDArray[np.bool_] = self.value != NO_TIME
        return known


def read_stamps(texts: Sequence[str], name: str, length: int) -> Witness:
    """Return what those cells of the column `name` say that are numbers; `length` is that of a candle, in seconds."""
    n = len(texts)
    witness = Witness(name, np.full(n, NO_TIME), np.ones(n, np.int64), np.zeros(n, np.bool_), is_unix=True)
    at = np.array([i for i, text in enumerate(texts) if _NUMERIC.fullmatch(text)], dtype=np.int64)
    if not len(at):
        return witness
    cells = [texts[int(i)] for i in at]
    unique = {text: (_plain(text), _written_step(text)) for text in set(cells)}
    stamps = np.array([unique[text][0] for text in cells])
    digits = np.array([unique[text][1] for text in cells])
    day_number = (stamps >= 39_814) & (stamps < 73_051)
    compact = (stamps >= 19_700_101) & (stamps <= 21_001_231)
    with np.errstate(invalid="ignore"):
        # 1e11 s lies in the year 5138 and 1e11 ms in 1973: sizes tell the units apart.
        scale = np.select([stamps < 1e11, stamps < 1e14, stamps < 1e17], [1.0, 1e3, 1e6], 1e9)
    seconds = np.floor_divide(stamps, scale)
    unix = np.isfinite(stamps) & ~day_number & ~compact & (np.abs(seconds) < 1e15) & (np.abs(seconds) >= 1e6)
    if unix.any():
        rows = at[unix]
        witness.value[rows] = seconds[unix].astype(np.int64)
        step = np.maximum(digits[unix] / scale[unix], 1).astype(np.int64)
        shortened = np.array(["e" in text.casefold() for text in cells])[unix]
        on_grid, witness.maybe_rounded = _on_the_grid(witness.value[rows], step, shortened, length)
        witness.step[rows], witness.exact[rows] = _known_to(step, shortened, on_grid)
    if compact.any():
        rows = at[compact]
        witness.value[rows] = read_dates(
            [f"{stamp:.0f}" for stamp in stamps[compact]], unix=np.full(len(rows), NO_TIME),
            unix_step=np.ones(len(rows), np.int64), known_order=None,
        ).value  # fmt: skip
        witness.step[rows], witness.exact[rows] = DAY, witness.value[rows] != NO_TIME
    if day_number.any():
        rows = at[day_number]
        witness.value[rows] = np.rint(stamps[day_number] * DAY).astype(np.int64) + DAY_NUMBER_0
        witness.step[rows] = DAY if (stamps[day_number] % 1 == 0).all() else 1
        witness.exact[rows] = True
        witness.day_numbers = bool(day_number.all())
    witness.is_unix = bool(unix.sum() * 2 > len(at))
    return witness


def _on_the_grid(value: Ints, step: Ints, shortened: NDArray[np.bool_], length: int) -> tuple[NDArray[np.bool_], bool]:
    """Return which unix times are exact because they lie on the grid of candles, and whether rounding may be why."""
    in_full = ~shortened
    distinct = np.unique(value[in_full])
    hours, counts = np.unique(distinct % length, return_counts=True)
    if not len(distinct) or counts.max() < 0.5 * len(distinct) or len(distinct) < 0.5 * in_full.sum():
        return np.zeros(len(value), np.bool_), False
    few = len(distinct) < FEWEST_OF_AN_HOUR
    maybe_rounded = length < DAY and few and int(step[in_full].min()) >= ROUNDED_S
    hour = hours[counts.argmax()]
    if hour != 0 and counts.max() < FEWEST_OF_AN_HOUR:
        return np.zeros(len(value), np.bool_), maybe_rounded
    # Numbers in full that all lie on the grid are exact, however many zeros they end in.
    on_grid: NDArray[np.bool_] = in_full & (value % length == hour)
    return on_grid, maybe_rounded


def _known_to(step: Ints, shortened: NDArray[np.bool_], on_grid: NDArray[np.bool_]) -> tuple[Ints, NDArray[np.bool_]]:
    """Return how many seconds each unix time knows, and which are exact."""
    exact = (step <= EXACT_UNIX_S) | on_grid
    step = step.copy()
    if shortened.any():
        # The column as a whole tells how many digits were kept: 1.5E+12 is 1.50E+12 beside 1.51E+12.
        step[shortened] = step[shortened].min()
    written_out = ~shortened & ~exact
    if written_out.any():
        # So it does for numbers that are written out: 1364000000000 is known as well as 1363910000000.
        step[written_out] = step[written_out].min()
    step[exact] = 1
    return step, exact


def _plain(text: str) -> float:
    return number(text.replace(",", ".") if text.count(",") == 1 else text)


def _written_step(text: str) -> float:
    """Return the smallest difference that a number's digits can show: 1e7 for 1.57118E+12 and for 1571180000000."""
    match = _SHORTENED.fullmatch(text)
    if match is not None:
        return float(10.0 ** (int(match[2]) - len(match[1] or "")))
    digits = re.sub(r"[.,]0*$", "", text) if text.count(",") < 2 else text.replace(",", "")
    if not digits.isdecimal():
        return 1.0
    return float(10.0 ** (len(digits) - len(digits.rstrip("0"))))
