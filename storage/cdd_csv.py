"""CryptoDataDownload's CSV, read by meaning: bytes in, candles and set-aside rows out. No I/O of its own.

Seen in files of 2018 to 2025 (`docs/data.md` lists them all): banner line or none, header in any case and order,
time as unix s, ms or us (mixed inside one file), as a date, a datetime or `2019-10-17 09-AM`, base or quote
volume first, one volume only, spreadsheet re-saves. So a column is known by what its name says and its values
allow, and never by its place.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from statistics import mode
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.candles import Interval, SeriesName
from storage.errors import CddFormatChanged, CddRefused

# About forty thousand rows.
BLOCK_CHARACTERS = 4_000_000
HEADER_WITHIN_LINES = 30
MAX_LINE_CHARACTERS = 10_000
# Prices are binary floats: a high this much (relatively) below a close is noise, not a violation.
PRICE_NOISE = 1e-8
# quote / base volume is the mean price, so it lies within low..high but for rounding of small volumes.
VOLUME_SLACK = 0.02
RAW_TEXT_KEPT = 500

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SetAside:
    """A row that is no candle: its line in the file (from 1), its text and why."""

    line_number: int
    raw_text: str
    reason: str


@dataclass
class Chunk:
    """Candles as columns, one element a candle, in file order; `open_time` in unix seconds, NaN where unknown.

    `provisional` marks the newest candle of the file when nothing shows that it had closed.
    """

    open_time: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume_base: Floats
    volume_quote: Floats
    trades: Floats
    line_number: Ints
    provisional: NDArray[np.bool_]
    raw: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.open_time)

    def take(self, rows: "Ints | NDArray[np.bool_]") -> "Chunk":
        """Return the chunk of the chosen rows."""
        return Chunk(**{name: getattr(self, name)[rows] for name in _ARRAYS})


_ARRAYS = (
    "open_time", "open", "high", "low", "close", "volume_base", "volume_quote", "trades", "line_number", "provisional",
    "raw",
)  # fmt: skip


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Return several chunks as one."""
    return Chunk(**{name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in _ARRAYS})


@dataclass
class CddFile:
    """One file being read: iterate `chunks()` once; the counters are complete when it ends.

    `rows_in` counts data rows: neither banner nor header nor blank lines. Every one of them ends up in a chunk or in
    `set_aside`. `swapped` counts candles whose two volumes were exchanged back.
    """

    stream: BinaryIO
    series: SeriesName
    file_time: datetime | None = None
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
        blocks = _line_blocks(self.stream)
        layout, rest = self._find_header(blocks)
        newest: Chunk | None = None
        daily: list[Chunk] = []
        for first_line, lines in chain([rest], blocks):
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
        newest.provisional[:] = self.file_time is None or self.file_time < closes
        if self.series.interval is Interval.DAY:
            yield self._without_duplicates(self._without_overlaps(joined([*daily, newest]), length))
        else:
            yield self._without_duplicates(newest)

    # --- the head of the file --------------------------------------------------------------------------------

    def _find_header(self, blocks: "Iterator[tuple[int, list[str]]]") -> "tuple[_Layout, tuple[int, list[str]]]":
        """Return the layout, and the lines after the header that have been read with it."""
        seen: list[str] = []
        # A header stands within the first block unless the file is a few lines long.
        first_line, lines = next(blocks, (1, []))
        for number, line in enumerate(lines[:HEADER_WITHIN_LINES], first_line):
            text = line.strip().strip("\ufeff")
            if number == 1 and re.match(r"<(!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
                raise CddRefused(f"{self.series}: expected a CSV file, got HTML that begins {text[:60]!r}")
            layout = _Layout.from_header(text, self.series)
            if layout is not None:
                self.banner = " ".join(seen)
                self.file_time = self.file_time or _banner_time(self.banner)
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

    def _read(self, first_line: int, lines: list[str], layout: "_Layout") -> Chunk:
        blank = f"{layout.delimiter} \t\r"
        numbered = [
            (number, line)
            for number, line in enumerate(lines, first_line)
            # A header may be repeated where files were joined.
            if line[:1].isdigit() or (line.strip(blank) and line.strip().casefold() != layout.text)
        ]
        self.rows_in += len(numbered)
        cells = _cells([line for _, line in numbered], layout)
        # A row that ends before the others do was cut, perhaps in the middle of a number.
        usual = mode(len(row) for row in cells.ragged) if cells.ragged else 0
        least = max(min(usual, layout.width), layout.last_needed + 1)
        if any(len(row) < least for row in cells.ragged):
            kept = []
            for (number, line), row in zip(numbered, cells.ragged, strict=True):
                if len(row) < least:
                    self._reject(number, line, f"expected at least {least} cells, got {len(row)}")
                else:
                    kept.append((number, line))
            numbered = kept
            cells = _cells([line for _, line in numbered], layout)
        columns = cells.columns
        n = len(numbered)

        def column(place: int | None) -> Sequence[str]:
            return columns[place] if place is not None and n else [""] * n

        price = {name: _numbers(column(place)) for name, place in layout.prices.items()}
        first, second = _numbers(column(layout.volume_base)), _numbers(column(layout.volume_quote))
        chunk = Chunk(
            open_time=layout.times(column(layout.unix), column(layout.date)),
            **{name: values.value for name, values in price.items()},
            volume_base=first.value,
            volume_quote=second.value,
            trades=_numbers(column(layout.trades)).value,
            line_number=np.array([number for number, _ in numbered], dtype=np.int64),
            provisional=np.zeros(n, dtype=np.bool_),
            raw=np.array([line for _, line in numbered], dtype=object),
        )
        return self._checked(chunk, layout, column(layout.symbol), first.garbled | second.garbled)

    def _checked(self, chunk: Chunk, layout: "_Layout", symbols: Sequence[str], bad_volume: NDArray[np.bool_]) -> Chunk:
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
                "its time cannot be read": chunk.open_time == _NO_TIME,
                "its time lies outside 2009..2100": (chunk.open_time != _NO_TIME)
                & ((chunk.open_time < _EARLIEST) | (chunk.open_time > _LATEST)),
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


_NO_TIME = np.iinfo(np.int64).min
_EARLIEST = int(datetime(2009, 1, 1, tzinfo=UTC).timestamp())
_LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


# --- lines and numbers -------------------------------------------------------------------------------------------


def _line_blocks(stream: BinaryIO) -> Iterator[tuple[int, list[str]]]:
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


class _Cells(NamedTuple):
    columns: Sequence[Sequence[str]]
    """One sequence a column of the layout, all of equal length."""
    ragged: Sequence[Sequence[str]]
    """The rows, where they are not all of one length; then columns are padded."""


def _cells(lines: list[str], layout: "_Layout") -> _Cells:
    """Return the cells of data lines by column."""
    delimiter, width = layout.delimiter, layout.width
    if not lines:
        return _Cells([()] * width, [])
    text = "\n".join(lines)
    counts = {line.count(delimiter) for line in lines}
    if len(counts) == 1 and '"' not in text and (found := counts.pop() + 1) > layout.last_needed:
        # All rows alike: one split of the whole block, and every column is a stride of it.
        flat = text.replace("\n", delimiter).split(delimiter)
        columns: list[Sequence[str]] = [flat[place::found] for place in range(min(found, width))]
        return _Cells(columns + [[""] * len(lines)] * (width - len(columns)), [])
    rows = [next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter) for line in lines]
    padded = [row[:width] + [""] * (width - len(row)) for row in rows]
    return _Cells(list(zip(*padded, strict=True)), rows)


@dataclass(frozen=True)
class _Numbers:
    value: Floats
    garbled: NDArray[np.bool_]


_UNKNOWN = {"", "null", "nan", "none", "n/a", "na", "-"}


def _numbers(texts: Sequence[str]) -> _Numbers:
    try:
        # Python alone takes 1_000 for a number.
        if "_" not in "".join(texts):
            values = np.fromiter(map(float, texts), dtype=np.float64, count=len(texts))
            return _Numbers(values, np.isinf(values))
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
    return _Numbers(values, garbled | np.isinf(values))


_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),(\d{1,2}|\d{4,})")


def _plain_number(text: str, *, decimal_comma: bool) -> str:
    """Return a spreadsheet's number as Python writes it: 1,234.5 without separators, or 1.234,5 with a point."""
    if decimal_comma and re.fullmatch(r"[+-]?(\d{1,3}(\.\d{3})*|\d+)(,\d*)?", text):
        return text.replace(".", "").replace(",", ".")
    # Only groups of three, so that 1,5 is not read as 15.
    return text.replace(",", "") if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text) else text


def _banner_time(banner: str) -> datetime | None:
    """Return the day a banner such as `Created on 10-17-2019,...` names: its first instant, the earliest it can be."""
    match = re.search(r"(\d{1,2})-(\d{1,2})-(\d{4})|(\d{4})-(\d{2})-(\d{2})", banner)
    if match is None:
        return None
    month, day, year, *iso = match.groups()
    try:
        parts = [int(part) for part in (iso if year is None else (year, month, day))]
        return datetime(parts[0], parts[1], parts[2], tzinfo=UTC)
    except ValueError:
        return None


# --- columns -------------------------------------------------------------------------------------------------------


class _Layout:
    """Which column is what, and how its times are written."""

    def __init__(self, text: str, delimiter: str, cells: list[str]) -> None:
        self.text = text.casefold()
        self.delimiter = delimiter
        self.width = len(cells)
        self.unix: int | None = None
        self.date: int | None = None
        self.symbol: int | None = None
        self.trades: int | None = None
        self.volume_base: int | None = None
        self.volume_quote: int | None = None
        self.prices: dict[str, int] = {}
        self.last_needed = 0
        self._day_first: bool | None = None

    @classmethod
    def from_header(cls, text: str, series: SeriesName) -> "_Layout | None":
        """Return the layout that a header line declares, None when the line is no header."""
        delimiter = max(",;\t", key=text.count)
        try:
            cells = next(csv.reader([text], delimiter=delimiter), [])
        except csv.Error:
            return None
        layout = cls(text, delimiter, cells)
        volumes: list[tuple[int, str]] = []
        for place, cell in enumerate(cells):
            words = re.sub(r"[^a-z0-9]+", " ", cell.casefold()).strip()
            joined_words = words.replace(" ", "")
            if not words:
                continue
            if joined_words.startswith("unix") or joined_words in ("epoch", "timestampms", "timestamps"):
                layout.unix = place if layout.unix is None else layout.unix
            elif joined_words in ("date", "datetime", "time", "timestamp", "day", "opentime", "dateutc", "timeutc"):
                layout.date = place if layout.date is None else layout.date
            elif joined_words in ("symbol", "pair", "market", "ticker"):
                layout.symbol = place
            elif joined_words in ("open", "high", "low", "close", "openprice", "highprice", "lowprice", "closeprice"):
                layout.prices.setdefault(joined_words.removesuffix("price"), place)
            elif joined_words in ("tradecount", "trades", "numberoftrades", "numtrades", "tradescount", "count"):
                layout.trades = place
            elif "vol" in joined_words and "taker" not in joined_words:
                volumes.append((place, words))
        if len(layout.prices) < 4 or (layout.unix is None and layout.date is None):
            return None
        layout._name_volumes(volumes, series)
        needed = [*layout.prices.values(), layout.unix if layout.unix is not None else layout.date]
        layout.last_needed = max(place for place in needed if place is not None)
        return layout

    def _name_volumes(self, volumes: list[tuple[int, str]], series: SeriesName) -> None:
        def meaning(words: str) -> str | None:
            parts = set(words.split())
            compact = words.replace(" ", "")
            ending = re.sub(r"^vol(ume)?", "", compact)
            if parts & {"to", "quote"} or "quote" in compact or ending == series.quote.casefold():
                return "quote"
            if parts & {"from", "base"} or "base" in compact or ending == series.base.casefold():
                return "base"
            return None

        named = [(place, meaning(words)) for place, words in volumes]
        for place, what in named:
            if what == "quote" and self.volume_quote is None:
                self.volume_quote = place
            elif what == "base" and self.volume_base is None:
                self.volume_base = place
        for place, what in named:
            if what is None and self.volume_base is None:
                self.volume_base = place
            elif what is None and self.volume_quote is None:
                self.volume_quote = place

    def other_pair(self, symbols: Sequence[str], series: SeriesName) -> NDArray[np.bool_]:
        """Return which rows name another pair than the series'; a row without a symbol names none."""
        if self.symbol is None or not len(symbols):
            return np.zeros(len(symbols), dtype=np.bool_)
        ours = {"", series.pair.upper(), series.pair.upper().replace("XBT", "BTC")}
        same = {text: re.sub(r"[^A-Za-z0-9]", "", text).upper().replace("XBT", "BTC") in ours for text in set(symbols)}
        return np.array([not same[text] for text in symbols], dtype=np.bool_)

    def times(self, unix: Sequence[str], date: Sequence[str]) -> Ints:
        """Return open times in unix seconds, from the unix column where it has one, else from the date."""
        n = len(date)
        result = np.full(n, _NO_TIME, dtype=np.int64)
        # A column called timestamp or time may hold either.
        numeric = self.date is not None and n > 0 and _SIX_DIGITS.fullmatch(date[0].strip()) is not None
        if self.unix is not None or numeric:
            stamps = _numbers(date if self.unix is None else unix).value
            with np.errstate(invalid="ignore"):
                # 1e11 s lies in the year 5138 and 1e11 ms in 1973: sizes tell the units apart.
                scale = np.select([stamps < 1e11, stamps < 1e14, stamps < 1e17], [1.0, 1e3, 1e6], 1e9)
                found = stamps // scale
                # What is no plausible time is left to the date column, if there is one.
                usable = (found >= _EARLIEST) & (found <= _LATEST) | np.isfinite(stamps) & (self.date is None)
                usable &= np.abs(found) < 1e15
            result[usable] = found[usable].astype(np.int64)
        if self.date is not None:
            missing = np.flatnonzero(result == _NO_TIME)
            if len(missing):
                result[missing] = self._dates([date[int(i)] for i in missing])
        return result

    def _dates(self, texts: Sequence[str]) -> Ints:
        try:
            if texts and all(_ISO.fullmatch(text) for text in texts):
                return np.array(texts, dtype="datetime64[s]").astype(np.int64)
        except ValueError:
            pass
        if self._day_first is None:
            self._day_first = _is_day_first(texts)
        return np.array([_date(text, day_first=self._day_first) for text in texts], dtype=np.int64)


# None is ISO 8601 (20191017 too); the others were seen in re-saved files, or are what spreadsheets make of dates.
_FORMS = (
    None, "%Y-%m-%d %H:%M", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%Y-%m-%d %H:%M:%S UTC", "%d-%b-%Y",
    "%d-%b-%y", "%d %b %Y", "%b %d, %Y", "%d-%b-%Y %H:%M", "%d-%b-%Y %H:%M:%S", "%d %B %Y", "%B %d, %Y",
)  # fmt: skip
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2})?)?")
_SIX_DIGITS = re.compile(r"\d{6,}(\.\d*)?")
_SLASHED = re.compile(r"(\d{1,4})[/.](\d{1,2})[/.](\d{1,4})(?:[ T]+(.*))?")


def _is_day_first(texts: Sequence[str]) -> bool:
    """Return whether 1/2/2018 is written day first: if some first number is past 12, or with points, 1.2.2018."""
    short = [match for text in texts if (match := _SLASHED.fullmatch(text.strip())) and len(match[1]) < 3]
    return any(int(match[1]) > 12 or match[0][len(match[1])] == "." for match in short)


def _date(text: str, *, day_first: bool) -> int:
    text = text.strip()
    match = _SLASHED.fullmatch(text)
    if match is not None:
        a, b, c, clock = match.groups()
        year, month, day = (a, b, c) if len(a) == 4 else (c, b, a) if day_first else (c, a, b)
        if len(year) <= 2:
            year = f"20{int(year):02}"
        text = f"{int(year):04}-{int(month):02}-{int(day):02}" + (f" {clock}" if clock else "")
    clock_hour = re.fullmatch(r"(\d{4}-\d{2}-\d{2})[ T](\d{1,2})-([AaPp])[Mm]", text)
    if clock_hour is not None:
        hour = int(clock_hour[2]) % 12 + (12 if clock_hour[3] in "Pp" else 0)
        text = f"{clock_hour[1]} {hour:02}:00:00"
    for form in _FORMS:
        try:
            moment = datetime.fromisoformat(text) if form is None else datetime.strptime(text, form)  # noqa: DTZ007
        except ValueError:
            continue
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return int(moment.timestamp())
    return int(_NO_TIME)
