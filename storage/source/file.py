"""CryptoDataDownload's CSV, read by meaning: bytes in, candles and set-aside rows out. No I/O of its own.

Seen in files of 2018 to 2025 (`docs/data.md` lists them all): banner line or none, header in any case and order,
time as unix s, ms or us (mixed inside one file), as a date, a datetime or `2019-10-17 09-AM`, base or quote
volume first, one volume only, spreadsheet re-saves. So a column is known by what its name says and its values
allow, and never by its place.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from statistics import mode
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.candles import Interval, SeriesName
from storage.chunk import Chunk, joined
from storage.errors import CddFormatChanged, CddRefused
from storage.source.cells import line_blocks, numbers
from storage.source.closing import agreed_time, shows_closed
from storage.source.columns import EARLIEST, LATEST, NO_TIME, Layout, banner_time

HEADER_WITHIN_LINES = 30
# Prices are binary floats: a high this much (relatively) below a close is noise, not a violation.
PRICE_NOISE = 1e-8
# quote / base volume is the mean price, so it lies within low..high but for rounding of small volumes.
VOLUME_SLACK = 0.02
RAW_TEXT_KEPT = 500


@dataclass(frozen=True)
class SetAside:
    """A row that is no candle: its line in the file (from 1), its text and why."""

    line_number: int
    raw_text: str
    reason: str


@dataclass
class CddFile:
    """One file being read: iterate `chunks()` once; the counters are complete when it ends.

    `rows_in` counts data rows: neither banner nor header nor blank lines. Every one of them ends up in a chunk or in
    `set_aside`. `swapped` counts candles whose two volumes were exchanged back. Where the end of the file is not known
    (`end_known`), a last row without a line end may have been cut and is set aside.
    """

    stream: BinaryIO
    series: SeriesName
    file_time: datetime | None = None
    end_known: bool = True
    banner: str = ""
    rows_in: int = 0
    swapped: int = 0
    swapped_span: list[int] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the file's candles, some ten thousand at a time (a daily file at once).

        Raises CddRefused for something that is not text or not CSV, CddFormatChanged for CSV whose columns cannot
        be made out or that holds another pair.
        """
        blocks = line_blocks(self.stream)
        layout, rest = self._find_header(blocks)
        newest: Chunk | None = None
        daily: list[Chunk] = []
        for first_line, lines in self._without_cut_row(chain([rest], blocks)):
            chunk = self._read(first_line, lines, layout)
            if len(chunk) == 0:
                continue
            # The newest candle is held back: whether it had closed is known only at the end of the file.
            if newest is not None:
                chunk = joined([newest, chunk])
            at_newest = chunk.open_time == chunk.open_time.max()
            newest, chunk = chunk.take(at_newest), chunk.take(~at_newest)
            if self.series.interval is Interval.DAY:
                daily.append(chunk)
            elif len(chunk):
                yield self._without_duplicates(chunk)
        if self.rows_in == 0:
            raise CddFormatChanged(f"{self.series}: the file has a header and not a single row")
        if newest is None:
            return
        length = int(self.series.interval.length.total_seconds())
        closes = datetime.fromtimestamp(int(newest.open_time[0]) + length, UTC)
        newest.provisional[:] = not shows_closed(self.file_time, closes=closes, length=self.series.interval.length)
        if self.series.interval is Interval.DAY:
            yield self._without_duplicates(self._without_overlaps(joined([*daily, newest]), length))
        else:
            yield self._without_duplicates(newest)

    def _without_cut_row(self, blocks: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
        """Yield the blocks, and set aside the file's last row where the connection may have broken off in it."""
        if self.end_known:
            yield from blocks
            return
        last = next(blocks)
        for block in blocks:
            yield last
            last = block
        first_line, lines = last
        # Asked at the end, since looking at the end of the stream moves it.
        position = self.stream.seek(-1, io.SEEK_END)
        whole = self.stream.read(1) in b"\r\n\0"
        self.stream.seek(position + 1)
        if lines and not whole:
            self.rows_in += 1
            self._reject(
                first_line + len(lines) - 1,
                lines.pop(),
                "it may be cut: it is the last row, has no line end, and the source did not say how long the file is",
            )
        yield first_line, lines

    # --- the head of the file --------------------------------------------------------------------------------

    def _find_header(self, blocks: Iterator[tuple[int, list[str]]]) -> tuple[Layout, tuple[int, list[str]]]:
        """Return the layout, and the lines after the header that have been read with it."""
        seen: list[str] = []
        # A header stands within the first block unless the file is a few lines long.
        first_line, lines = next(blocks, (1, []))
        for number, line in enumerate(lines[:HEADER_WITHIN_LINES], first_line):
            text = line.strip().strip("\ufeff")
            if number == 1 and re.match(r"<(!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
                raise CddRefused(f"{self.series}: expected a CSV file, got HTML that begins {text[:60]!r}")
            layout = Layout.from_header(text, self.series)
            if layout is not None:
                self.banner = " ".join(seen)
                self.file_time = agreed_time(self.file_time, banner_time(self.banner))
                return layout, (number + 1, lines[number:])
            if text.strip(",; \t"):
                seen.append(text)
        if not seen:
            raise CddRefused(f"{self.series}: the file is empty")
        raise CddFormatChanged(
            f"{self.series}: expected a header with a date or unix column and open, high, low, close within the first "
            f"{HEADER_WITHIN_LINES} lines; the first line was {seen[0][:120]!r}"
        )

    # --- rows --------------------------------------------------------------------------------------------------

    def _reject(self, line_number: int, raw: str, reason: str) -> None:
        self.set_aside.append(SetAside(int(line_number), raw[:RAW_TEXT_KEPT], reason))

    def _read(self, first_line: int, lines: list[str], layout: Layout) -> Chunk:
        blank = f"{layout.delimiter} \t\r"
        numbered = [
            (number, line)
            for number, line in enumerate(lines, first_line)
            # A header may be repeated where files were joined.
            if line[:1].isdigit() or (line.strip(blank) and line.strip().casefold() != layout.text)
        ]
        self.rows_in += len(numbered)
        found = layout.cells([line for _, line in numbered])
        # A row that ends before the others do was cut, perhaps in the middle of a number.
        usual = mode(len(row) for row in found.ragged) if found.ragged else 0
        least = max(min(usual, layout.width), layout.last_needed + 1)
        if any(len(row) < least for row in found.ragged):
            kept = []
            for (number, line), row in zip(numbered, found.ragged, strict=True):
                if len(row) < least:
                    self._reject(number, line, f"expected at least {least} cells, got {len(row)}")
                else:
                    kept.append((number, line))
            numbered = kept
            found = layout.cells([line for _, line in numbered])
        columns = found.columns
        n = len(numbered)

        def column(place: int | None) -> Sequence[str]:
            return columns[place] if place is not None and n else [""] * n

        price = {name: numbers(column(place)) for name, place in layout.prices.items()}
        first, second = numbers(column(layout.volume_base)), numbers(column(layout.volume_quote))
        chunk = Chunk(
            open_time=layout.times(column(layout.unix), column(layout.date)),
            **{name: values.value for name, values in price.items()},
            volume_base=first.value,
            volume_quote=second.value,
            trades=numbers(column(layout.trades)).value,
            line_number=np.array([number for number, _ in numbered], dtype=np.int64),
            provisional=np.zeros(n, dtype=np.bool_),
            raw=np.array([line for _, line in numbered], dtype=object),
        )
        return self._checked(chunk, layout, column(layout.symbol), first.garbled | second.garbled)

    def _checked(self, chunk: Chunk, layout: Layout, symbols: Sequence[str], bad_volume: NDArray[np.bool_]) -> Chunk:
        prices = np.stack([chunk.open, chunk.high, chunk.low, chunk.close]) if len(chunk) else np.empty((4, 0))
        length = int(self.series.interval.length.total_seconds())
        top, bottom = np.maximum(chunk.open, chunk.close), np.minimum(chunk.open, chunk.close)
        noise = PRICE_NOISE * np.abs(chunk.high)
        other_pair = layout.other_pair(symbols, self.series)
        if len(chunk) and other_pair.mean() > 0.5:
            found = Counter(symbols).most_common(1)[0][0]
            raise CddFormatChanged(f"{self.series}: expected rows of {self.series.pair}, the file holds {found[:40]!r}")
        with np.errstate(invalid="ignore"):
            reasons = {
                "its time cannot be read": chunk.open_time == NO_TIME,
                "its time lies outside 2009..2100": (chunk.open_time != NO_TIME)
                & ((chunk.open_time < EARLIEST) | (chunk.open_time > LATEST)),
                "it is of another pair": other_pair,
                "a price is not a number": ~np.isfinite(prices).all(axis=0),
                "a placeholder: every price is zero": (prices == 0).all(axis=0),
                "a price is zero or negative": (prices <= 0).any(axis=0),
                "its high is below its open, low or close": (chunk.high + noise < top)
                | (chunk.high + noise < chunk.low),
                "its low is above its open or close": chunk.low - noise > bottom,
                "a volume is not a number": bad_volume,
                "a volume is negative": (chunk.volume_base < 0) | (chunk.volume_quote < 0),
            }
            if self.series.interval is not Interval.DAY:
                reasons["it starts off the grid of its interval"] = chunk.open_time % length != 0
        good = np.ones(len(chunk), dtype=np.bool_)
        for reason, wrong in reasons.items():
            for i in np.flatnonzero(wrong & good):
                self._reject(chunk.line_number[i], chunk.raw[i], reason)
            good &= ~wrong
        if not good.all():
            chunk = chunk.take(good)
        self._put_volumes_right(chunk)
        return chunk

    def _put_volumes_right(self, chunk: Chunk) -> None:
        base, quote = chunk.volume_base, chunk.volume_quote
        with np.errstate(invalid="ignore", divide="ignore"):
            low, high = chunk.low * (1 - VOLUME_SLACK), chunk.high * (1 + VOLUME_SLACK)
            fits = (quote / base >= low) & (quote / base <= high)
            fits_swapped = (base / quote >= low) & (base / quote <= high)
        swapped = fits_swapped & ~fits
        # Where the price is near one, both ways round fit; such a row is like its nearest telling neighbour.
        telling = np.flatnonzero(fits_swapped != fits)
        unsure = np.flatnonzero(fits & fits_swapped)
        if len(telling) and len(unsure):
            after = (
                np.searchsorted(telling, unsure).clip(1, len(telling) - 1)
                if len(telling) > 1
                else np.zeros_like(unsure)
            )
            before = (after - 1).clip(0)
            nearest = np.where(unsure - telling[before] <= telling[after] - unsure, before, after)
            swapped[unsure] = swapped[telling[nearest]]
        if swapped.any():
            chunk.volume_base, chunk.volume_quote = np.where(swapped, quote, base), np.where(swapped, base, quote)
            times = chunk.open_time[swapped]
            self.swapped += int(swapped.sum())
            known = [*self.swapped_span, int(times.min()), int(times.max())]
            self.swapped_span = [min(known), max(known)]

    def _without_duplicates(self, chunk: Chunk) -> Chunk:
        unique, _, counts = np.unique(chunk.open_time, return_index=True, return_counts=True)
        if (counts == 1).all():
            return chunk
        keep = np.ones(len(chunk), dtype=np.bool_)
        for instant in unique[counts > 1]:
            rows = np.flatnonzero(chunk.open_time == instant)
            best = max(rows, key=lambda i: fullness(chunk, int(i)))
            for i in rows[rows != best]:
                keep[i] = False
                self._reject(
                    chunk.line_number[i],
                    chunk.raw[i],
                    f"a duplicate: line {chunk.line_number[best]} has the same time and is fuller",
                )
        return chunk.take(keep)

    def _without_overlaps(self, chunk: Chunk, length: int) -> Chunk:
        """Set aside daily rows that overlap others: a day may start at any hour, but days may not overlap.

        Where rows overlap, the one that starts at midnight UTC stays, then the one whose hour is commonest in the
        file; so a file whose days start at 04:00 keeps its true times, and no candle claims hours it has not seen.
        """
        hours = chunk.open_time % length
        if (hours == 0).all():
            return chunk
        common = dict(zip(*np.unique(hours, return_counts=True), strict=True))
        order = sorted(
            range(len(chunk)),
            key=lambda i: (hours[i] != 0, -int(common[hours[i]]), int(chunk.open_time[i]), int(chunk.line_number[i])),
        )
        taken: dict[int, list[int]] = {}
        keep = np.zeros(len(chunk), dtype=np.bool_)
        for i in order:
            start = int(chunk.open_time[i])
            day = start // length
            rivals = [other for near in (day - 1, day, day + 1) for other in taken.get(near, [])]
            # Rows of the very same time are duplicates, which are judged by fullness instead.
            if any(abs(other - start) < length and other != start for other in rivals):
                at = datetime.fromtimestamp(start, UTC)
                self._reject(
                    chunk.line_number[i], chunk.raw[i], f"it overlaps another day: it starts at {at:%H:%M} UTC"
                )
                continue
            taken.setdefault(day, []).append(start)
            keep[i] = True
        return chunk.take(keep)


def fullness(chunk: Chunk, i: int) -> tuple[float, float, float]:
    """Return how full a row is: of two rows of one candle the one with more volume and trades saw more of it."""
    return tuple(
        -1.0 if np.isnan(value) else float(value)
        for value in (chunk.volume_base[i], chunk.trades[i], chunk.high[i] - chunk.low[i])
    )  # type: ignore[return-value]
