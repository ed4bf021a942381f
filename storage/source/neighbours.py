"""What a candle's neighbours say of it: it opens where the one before it closed, and its extremes lie near theirs.

A market trades around the clock, so this is a third witness of times and prices. In 104 files of CryptoDataDownload
(2026-11) 12 % of the candles open outside the range of the one before by DISJOINT_MARGIN in the thinnest market, and
hardly any in most. A later close is nearer to an earlier open than the reverse in 23 % of the pairs at most, and open
or close equals high or low in 23 % of the rows at most.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.candles import Interval, SeriesName
from storage.chunk import Chunk, Floats, Ints
from storage.errors import CddFormatChanged
from storage.source.spans import Spans

# A candle is far outside its neighbours where its high is so many times theirs, or its low so many times below theirs.
WICK_FACTOR = 5.0
WICK_NEIGHBOURS = 3
# A candle opens so many times above or below the close before it: another market, unit or currency begins, or an error.
JUMP_FACTOR = 5.0
# A candle is apart from the one before where it opens outside its range by as much again, and by this share of a price.
DISJOINT_MARGIN = 0.02
# Fewer pairs of neighbours, or fewer rows, tell nothing about a file.
FEWEST = 20
# A file's columns are exchanged, or its times run backwards, where more than this share of the pairs says so ...
REVERSED_SHARE = 0.6
# ... its closes are those of the row before where more of a window of candles are nearer to their own open than to the
# next one (73 % in the thinnest market) ...
EARLY_WINDOW, EARLY_SHARE = 40, 0.9
# ... its candles are Heikin-Ashi's where more of them open in the middle of the one before (1.3 % at most) ...
AVERAGED_SHARE = 0.5
SAME_PRICE = 1e-6
# (a middle that was rounded is known by candles that are wider than so many of its last decimals)
WIDE_IN_DECIMALS = 10
# ... and one column was copied over another where they are equal in more than this share of the rows.
COPIED_SHARE = 0.8
# Prices look like logarithms where a candle is as wide, by its prices, as no market is for long (a share of the close),
# and by the prices that these would be the logarithms of as wide as markets are (a difference of logarithms).
LOGARITHMS = {Interval.DAY: (0.015, 0.01, 0.6), Interval.HOUR: (0.0025, 0.002, 0.2)}
FLAT_SHARE = 0.5


@dataclass
class Wick:
    """A candle far outside its neighbours: the price that is, and theirs."""

    open_time: int
    side: str
    price: float
    neighbours: float


@dataclass
class Jump:
    """A candle that opens JUMP_FACTOR times above or below the close before it."""

    open_time: int
    close_before: float
    open: float


@dataclass
class Neighbours:
    """What the neighbours of the candles of one file say, counted over all its parts."""

    series: SeriesName
    wicks: list[Wick] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    pairs: int = 0
    disjoint: Spans = field(default_factory=Spans)
    like_logarithms: int = 0
    """Candles whose prices look like logarithms of prices."""
    lively: int = 0
    """Candles whose high lies above their low."""
    repeats: Spans = field(default_factory=Spans)
    """Candles that repeat every number of the one before it, although its prices differ from each other."""
    _reversed: int = 0
    _early_closes: int | None = None
    _averaged: int = 0
    _rows: int = 0
    _flat_and_traded: int = 0
    _copied: dict[tuple[str, str], int] = field(default_factory=dict)

    def look(self, chunk: Chunk) -> None:
        """Count what the candles of a part of the file say of each other."""
        # Most files are newest first; then nothing has to be copied.
        newest_first = bool((np.diff(chunk.open_time) < 0).all())
        chunk = chunk.take(slice(None, None, -1) if newest_first else np.argsort(chunk.open_time, kind="stable"))
        self._compare(chunk)
        self._count_copies(chunk)
        self._count_logarithms(chunk)
        self._find_wicks(chunk.open_time, chunk.high, chunk.low)

    def require_plausible(self) -> None:
        """Raise CddFormatChanged for a file whose columns are exchanged or copied, or whose times run backwards."""
        if self.pairs >= FEWEST and self._reversed > REVERSED_SHARE * self.pairs:
            raise CddFormatChanged(
                f"{self.series}: in {self._reversed} of {self.pairs} pairs of candles the later one closes where the "
                f"earlier one opened, and not the other way round: the columns open and close are exchanged, or the "
                f"times run against the rows; correct the header, or sort whole rows"
            )
        for (one, other), count in self._copied.items():
            if self.lively >= FEWEST and count > COPIED_SHARE * self.lively:
                raise CddFormatChanged(
                    f"{self.series}: {one} and {other} are the same number in {count} of {self.lively} rows: one "
                    f"column holds the numbers of another, or the header names them wrongly"
                )
        if self._rows >= FEWEST and self._flat_and_traded > FLAT_SHARE * self._rows:
            raise CddFormatChanged(
                f"{self.series}: open, high, low and close are one number in {self._flat_and_traded} of {self._rows} "
                f"rows: closing prices alone are no candles"
            )
        if self._early_closes is not None:
            at = datetime.fromtimestamp(self._early_closes, UTC)
            raise CddFormatChanged(
                f"{self.series}: from {at:%Y-%m-%d %H:%M} UTC on candles close near their own open, and not near the "
                f"open of the next one: the closes are those of the row before; move that column back"
            )
        if self.pairs >= FEWEST and self._averaged > AVERAGED_SHARE * self.pairs:
            raise CddFormatChanged(
                f"{self.series}: {self._averaged} of {self.pairs} candles open exactly in the middle of the candle "
                f"before: these are Heikin-Ashi candles, averages that were never traded; save plain candles"
            )

    def _compare(self, chunk: Chunk) -> None:
        at, opened, high, low, close = chunk.open_time, chunk.open, chunk.high, chunk.low, chunk.close
        before, after = slice(None, -1), slice(1, None)
        adjacent = np.diff(at) == int(self.series.interval.length.total_seconds())
        margin = np.maximum(high[before] - low[before], DISJOINT_MARGIN * close[before])
        apart = (opened[after] > high[before] + margin) | (opened[after] < low[before] - margin)
        self.pairs += int(adjacent.sum())
        self.disjoint.add(at[after][adjacent & apart])
        backwards = np.abs(close[after] - opened[before]) < np.abs(opened[after] - close[before])
        self._reversed += int((adjacent & backwards).sum())
        gap, body = np.abs(opened[after] - close[before]), np.abs(close - opened)[before]
        self._find_early_closes(at[after][adjacent], (body < gap)[adjacent])
        middle = (opened[before] + close[before]) / 2
        self._averaged += int((adjacent & _is_middle(opened[after], middle, body)).sum())
        self.repeats.add(at[after][adjacent & _repeats(chunk)])
        factor = opened[after] / close[before]
        for i in np.flatnonzero((factor >= JUMP_FACTOR) | (factor <= 1 / JUMP_FACTOR)):
            self.jumps.append(Jump(int(at[i + 1]), float(close[i]), float(opened[i + 1])))

    def _find_early_closes(self, at: Ints, early: NDArray[np.bool_]) -> None:
        width = min(EARLY_WINDOW, len(early))
        if width < FEWEST or self._early_closes is not None:
            return
        # The last window may overlap the one before it, so that no candle is left out.
        whole = early[: len(early) // width * width].reshape(-1, width).mean(axis=1)
        shares = np.append(whole, early[-width:].mean())
        if (shares > EARLY_SHARE).any():
            window = int(np.argmax(shares > EARLY_SHARE))
            self._early_closes = int(at[min(window * width, len(at) - width)])

    def _count_copies(self, chunk: Chunk) -> None:
        lively = chunk.high > chunk.low
        self._rows += len(chunk)
        self.lively += int(lively.sum())
        if self.series.interval.length.days:
            # Candles of an hour or a minute with one trade, or none, are flat too.
            self._flat_and_traded += int((~lively & ~(chunk.volume_base == 0)).sum())
        for one in ("open", "close"):
            for other in ("high", "low"):
                count = int((lively & (getattr(chunk, one) == getattr(chunk, other))).sum())
                self._copied[one, other] = self._copied.get((one, other), 0) + count

    def _count_logarithms(self, chunk: Chunk) -> None:
        limits = LOGARITHMS.get(self.series.interval)
        if limits is not None:
            quiet, least, most = limits
            width = chunk.high - chunk.low
            self.like_logarithms += int(((width < quiet * chunk.close) & (width >= least) & (width <= most)).sum())

    def _find_wicks(self, at: Ints, high: Floats, low: Floats) -> None:
        if len(at) < 2 * WICK_NEIGHBOURS:
            return
        # Most files have no candle that could be one: no high so far above the lowest low within a few candles.
        lowest, highest = _around(low, np.minimum, np.inf), _around(high, np.maximum, 0.0)
        deep, tall = low * WICK_FACTOR < lowest, high > WICK_FACTOR * highest
        for i in np.flatnonzero(deep | tall):
            if deep[i]:
                self.wicks.append(Wick(int(at[i]), "low", float(low[i]), float(lowest[i])))
            else:
                self.wicks.append(Wick(int(at[i]), "high", float(high[i]), float(highest[i])))


def _is_middle(opened: Floats, middle: Floats, body: Floats) -> NDArray[np.bool_]:
    """Return which prices are the middle of a candle, as exactly as their decimals show it."""
    sample = opened[:FEWEST]
    decimals = next((n for n in range(8) if (np.round(sample, n) == sample).all()), 8)
    decimal = 10.0**-decimals
    apart = np.abs(opened - middle)
    exact: NDArray[np.bool_] = (body > 0) & (apart <= SAME_PRICE * middle)
    rounded: NDArray[np.bool_] = (body >= WIDE_IN_DECIMALS * decimal) & (apart <= 0.51 * decimal)
    return exact | rounded


def _repeats(chunk: Chunk) -> "np.ndarray":
    """Return which candles from the second on have the numbers of the candle before, which is not flat: (n - 1,)."""
    same = (chunk.high > chunk.low)[1:]
    for values in (chunk.open, chunk.high, chunk.low, chunk.close, chunk.volume_base, chunk.volume_quote):
        same &= (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    return same


def _around(values: "np.ndarray", extreme: np.ufunc, nothing: float) -> "np.ndarray":
    """Return the extreme of the WICK_NEIGHBOURS values before and after each, itself left out."""
    result = np.full(len(values), nothing)
    for distance in range(1, WICK_NEIGHBOURS + 1):
        extreme(result[distance:], values[:-distance], out=result[distance:])
        extreme(result[:-distance], values[distance:], out=result[:-distance])
    return result
