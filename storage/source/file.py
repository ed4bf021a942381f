"""Reads CryptoDataDownload's CSV: bytes in, candles and rows that were set aside out. It opens no file or connection.

A file says most things twice: the time by unix and date, the price by two volumes, the interval by its name and its
rows, the pair by its name and its symbols. Both are read. Where they contradict each other, the
row is set aside or the file is refused, with the reason. `docs/data.md` describes all of it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from models.candles import Interval, SeriesName
from storage.chunk import NO_TIME, Chunk, joined, no_candles
from storage.errors import CddFormatChanged, CddRefused
from storage.source.cells import Block, blocks, texts_of_lines
from storage.source.checks import DAYS_START, Checks, SetAside
from storage.source.closing import Learnt, agreed_time, shows_closed
from storage.source.columns import Layout, layouts
from storage.source.dates import DAY, are_turned
from storage.source.headerless import layout_without_header
from storage.source.pairs import require_signs_of_the_pair, table_of_the_pair
from storage.source.plain import Plain, read_plain
from storage.source.symbols import names_the_pair, other_pair
from storage.source.table import (
    Numbered,
    Table,
    cut_rows,
    is_blank,
    looks_like_a_row,
    read_numbers,
    why_cut,
)
from storage.source.times import Heard, TimeReader

HEADER_WITHIN_LINES = 30
RAW_TEXT_KEPT = 500
# So many rows of hours or minutes are finished at once, without the newest: neighbours are compared with each other.
ROWS_AT_ONCE = 5000
HELD_BACK = 50
ROWS_FOR_SYMBOLS = 500
# How much of the file a message shows.
LINES_SHOWN = 3
SHOWN_CHARACTERS = 100
# What to change in a file whose rows are set aside for a reason.
_REMEDIES = {
    "its time cannot be read": "Write times as 2024-08-20 13:00:00 in UTC, or as unix times",
    "a price is not a number": "Write prices as plain numbers, such as 59462.5",
}


@dataclass
class CddFile:
    """One file being read: iterate `chunks()` once; the counters are complete when it ends.

    `rows_in` counts data rows: neither banner nor header nor blank lines. Every one of them ends up in a chunk or in
    `set_aside`. Where the end of the file is not known (`end_known`), a last row without a line end may have been cut
    and is set aside. Where `fetched_at` is given, so are rows that open later.
    `learnt` is heard where neither `file_time` nor a banner says when the file was made.
    """

    stream: BinaryIO
    series: SeriesName
    file_time: datetime | None = None
    end_known: bool = True
    fetched_at: datetime | None = None
    learnt: Learnt | None = None
    banner: str = ""
    rows_in: int = 0
    remarks: list[str] = field(default_factory=list)
    """How the file was read where a person may want to check it, a sentence each."""
    day_numbers: bool = False
    """Whether the open times of some rows come from a spreadsheet's day numbers alone."""
    zones: dict[tuple[str, int], tuple[int, int, int]] = field(default_factory=dict)
    """Stretches of local time: by column and seconds east of UTC, how many rows, first and last open time."""

    def __post_init__(self) -> None:
        self.checks = Checks(self.series, self.fetched_at)
        self._times = TimeReader(self.series)
        self._pair_found = False
        self._other_symbols: Counter[str] = Counter()
        self._beside_another = False

    @property
    def set_aside(self) -> list[SetAside]:
        """The rows that are no candles."""
        return self.checks.set_aside

    def chunks(self) -> Iterator[Chunk]:
        """Yield the file's candles, some ten thousand at a time (a daily file at once).

        Raises CddRefused for something that is not text or not CSV, CddFormatChanged for CSV whose columns cannot
        be made out, or that holds another pair, another interval or no candle at all.
        """
        following = blocks(self.stream)
        layout, early, first = self._find_header(next(following, Block(1, "", open_end=True)))
        rest = no_candles()
        pieces = chain(self._read_lines(early, layout, cut=False)[:1], self._read_all(first, following, layout))
        for piece in pieces:
            rest = joined([rest, piece]) if len(rest) else piece
            if self.series.interval is Interval.DAY or len(rest) < ROWS_AT_ONCE:
                continue
            # The newest candles are held back: at the end of the file it is known whether the newest one had closed.
            newest = rest.open_time >= np.partition(rest.open_time, -HELD_BACK)[-HELD_BACK]
            yield self._finished(rest.take(~newest))
            rest = rest.take(newest)
        self._require_rows_of_the_pair()
        self.checks.require_interval(rest if len(rest) else None)
        self.checks.require_open_times()
        if len(rest):
            newest_time = int(rest.open_time.max())
            self.checks.require_past(newest_time)
            closes = datetime.fromtimestamp(newest_time + self.checks.length, UTC)
            rest.provisional[rest.open_time == newest_time] = not self._shows_closed(closes)
            if self.series.interval is Interval.DAY:
                rest = self.checks.without_overlaps(rest)
            yield self._finished(rest)
        self.checks.neighbours.require_plausible()
        self._remember_texts()
        if self.rows_in == len(self.set_aside):
            raise CddFormatChanged(
                f"{self.series}: not one of the file's {self.rows_in} rows is a candle. "
                f"{commonest_reason(self.set_aside)}"
            )

    def _shows_closed(self, closes: datetime) -> bool:
        length = self.series.interval.length
        if self.file_time is None and self.learnt is not None:
            return self.learnt.shows_closed(closes=closes, length=length)
        return shows_closed(self.file_time, closes=closes, length=length)

    def texts(self, line_numbers: Sequence[int]) -> dict[int, str]:
        """Return the texts of some lines of the file, cut to RAW_TEXT_KEPT characters."""
        texts = texts_of_lines(self.stream, set(line_numbers))
        return {number: text[:RAW_TEXT_KEPT] for number, text in texts.items()}

    def _finished(self, chunk: Chunk) -> Chunk:
        chunk = self.checks.without_duplicates(chunk)
        if are_turned(chunk.open_time, chunk.line_number):
            raise CddFormatChanged(
                f"{self.series}: the dates do not follow each other, but do so once day and month are exchanged in "
                f"those up to the 12th: a program exchanged them; save the file again from its source"
            )
        self.checks.neighbours.look(chunk)
        return chunk

    def _remember_texts(self) -> None:
        if self.set_aside:
            texts = self.texts([row.line_number for row in self.set_aside])
            for row in self.set_aside:
                row.raw_text = texts.get(row.line_number, "")

    # --- the head of the file --------------------------------------------------------------------------------

    def _find_header(self, block: Block) -> tuple[Layout, list[Numbered], Block]:
        """Return the layout, the rows that stand before the header, and the rest of the block."""
        head = block.text.split("\n", HEADER_WITHIN_LINES)
        text = head[0].strip()
        if re.match(r"<(!doctype|html|\?xml|head|body)", text, re.IGNORECASE):
            raise CddRefused(f"{self.series}: expected a CSV file, got HTML that begins {text[:60]!r}")
        if re.match(r"[{\[]\s*[\"{\[]", text) or text in ("[", "{"):
            raise CddRefused(f"{self.series}: expected a CSV file, got JSON: save it as CSV")
        if is_blank(block.text.replace("\n", "")):
            raise CddRefused(f"{self.series}: the file is empty")
        for place, line in enumerate(head[:HEADER_WITHIN_LINES]):
            tables = layouts(line, self.series)
            if not tables:
                continue
            layout = self._chosen(tables, [one for one in block.text.split("\n", ROWS_FOR_SYMBOLS) if one != line])
            before = [(i, one) for i, one in enumerate(head[:place], 1) if not is_blank(one)]
            early = [(i, one) for i, one in before if looks_like_a_row(one, layout)]
            self.banner = " ".join(one.strip() for i, one in before if (i, one) not in early)
            self.file_time = agreed_time(self.file_time, banner_time(self.banner))
            rest = "\n".join(head[place + 1 :])
            return layout, early, Block(place + 2, rest, block.open_end)
        lines = block.lines()
        for line in lines[HEADER_WITHIN_LINES:]:
            # A file that somebody sorted may have its header anywhere.
            if not line[:1].isdigit() and (tables := layouts(line, self.series)):
                return self._chosen(tables, lines[:ROWS_FOR_SYMBOLS]), [], block
        guessed = layout_without_header(lines, self.series)
        if guessed is not None:
            self.remarks.append(
                f"the file has no header; its rows show which column is which: {guessed.remark}, counted from 1"
            )
            return guessed, [], block
        raise CddFormatChanged(
            f"{self.series}: expected a header with a date or unix column and open, high, low, close within the first "
            f"{HEADER_WITHIN_LINES} lines; the first line was {text[:120]!r}. If the file has no header, put one in "
            f"front that names its columns in their order, such as: unix,date,symbol,open,high,low,close,"
            f"Volume {self.series.base},Volume {self.series.quote}"
        )

    def _chosen(self, tables: list[Layout], lines: Sequence[str]) -> Layout:
        layout, remark = table_of_the_pair(tables, lines, self.series)
        self._beside_another |= len(tables) > 1
        if remark:
            self._remark(remark)
        return layout

    def _remark(self, remark: str) -> None:
        if remark not in self.remarks:
            self.remarks.append(remark)

    # --- rows --------------------------------------------------------------------------------------------------

    def _read_all(self, first: Block, following: Iterator[Block], layout: Layout) -> Iterator[Chunk]:
        for piece in chain([first], following):
            block = piece
            if piece.open_end and (reason := self._why_cut(piece, layout)):
                block = self._without_cut_row(piece, reason)
            if not block.text:
                continue
            plain = None if self._beside_another else read_plain(block.text, layout, self.checks.length)
            if plain is not None:
                yield self._read_plain(plain, block, layout)
                continue
            lines = list(enumerate(block.lines(), block.first_line))
            chunks = self._read_lines(lines, layout, cut=block.open_end)
            layout = self._layout
            yield from chunks

    def _why_cut(self, last: Block, layout: Layout) -> str:
        """Return why the last row of the file, which has no line end, may be cut; nothing where it is whole."""
        if not self.end_known:
            return "it is the last row, has no line end, and the source did not say how long the file is"
        reason = why_cut(last.text, layout)
        return f"no line end follows it, and {reason}" if reason else ""

    def _without_cut_row(self, block: Block, reason: str) -> Block:
        """Return the file's last block without its last row."""
        whole, _, cut = block.text.rpartition("\n")
        if not is_blank(cut):
            self.rows_in += 1
            self.checks.reject(
                block.first_line + block.text.count("\n"),
                f"it may be cut: {reason}",
            )
        return Block(block.first_line, whole, open_end=False)

    def _read_plain(self, plain: Plain, block: Block, layout: Layout) -> Chunk:
        n = len(plain.open_time)
        self.rows_in += n
        if not plain.in_utc and not (plain.open_time % DAY).any():
            self._note_days_only()
        other = other_pair(plain.symbols, self.series, layout.currencies)
        counts = np.bincount(plain.symbol_of, minlength=len(other))
        self._count_symbols({text: int(count) for text, count in zip(plain.symbols, counts, strict=True)}, layout)
        chunk = Chunk(
            open_time=plain.open_time,
            **plain.numbers,
            line_number=np.arange(block.first_line, block.first_line + n),
            provisional=np.zeros(n, dtype=np.bool_),
        )
        nothing = np.zeros(n, dtype=np.bool_)
        return self.checks.candles(
            chunk,
            other_pair=other[plain.symbol_of] if other.any() else nothing,
            garbled_volume=nothing,
            contradicted={},
            in_utc=np.full(n, plain.in_utc),
            cut=block.open_end,
        )

    def _read_lines(self, lines: list[Numbered], layout: Layout, *, cut: bool) -> list[Chunk]:
        """Return the candles of some lines, in pieces where another header stands between them."""
        self._layout = layout
        pieces: list[tuple[Layout, list[Numbered]]] = [(layout, [])]
        for number, line in lines:
            if line[:1].isdigit():
                pieces[-1][1].append((number, line))
                continue
            if is_blank(line):
                continue
            if "open" in line.casefold() and (tables := layouts(line, self.series)):
                # A header may be repeated where files were joined, and another one may follow.
                if line.strip().casefold() != self._layout.text:
                    after = [text for i, text in lines if i > number][:ROWS_FOR_SYMBOLS]
                    self._layout = self._chosen(tables, after)
                    pieces.append((self._layout, []))
                continue
            repeated = "cryptodatadownload" in line.casefold() or (self.banner and line.strip() in self.banner)
            if repeated and not looks_like_a_row(line, self._layout):
                continue
            pieces[-1][1].append((number, line))
        last = lines[-1][0] if lines else 0
        chunks = []
        for piece, rows in pieces:
            if rows:
                chunks.append(self._read_rows(rows, piece, cut=cut and rows[-1][0] == last))
        return chunks

    def _read_rows(self, rows: list[Numbered], layout: Layout, *, cut: bool) -> Chunk:
        before = len(self.set_aside)
        table = cut_rows(rows, layout, self.checks.reject, beside_another=self._beside_another)
        cut = cut and len(table.line_numbers) > 0 and int(table.line_numbers[-1]) == rows[-1][0]
        n = len(table.line_numbers)
        self.rows_in += n + len(self.set_aside) - before
        if not n:
            return no_candles()
        symbols = table.column(table.layout.symbol)
        self._count_symbols(Counter(symbols), table.layout)
        other = other_pair(symbols, self.series, table.layout.currencies)
        heard = self._heard(table, other)
        require_signs_of_the_pair((table.column(place) for place in table.layout.prices.values()), self.series)
        values, garbled = read_numbers(table)
        chunk = Chunk(
            open_time=heard.open_time,
            **values,
            line_number=table.line_numbers,
            provisional=np.zeros(n, dtype=np.bool_),
        )
        return self.checks.candles(
            chunk,
            other_pair=other,
            garbled_volume=garbled,
            contradicted=heard.contradicted,
            in_utc=heard.in_utc,
            cut=cut,
        )

    def _note_days_only(self) -> None:
        if start := DAYS_START.get(self.series.exchange.upper(), 0):
            self._remark(
                f"no column says at what time the days start: in CDD's files of {self.series.exchange} they start at "
                f"{start // 3600:02}:00 UTC, these are taken to start at midnight"
            )

    def _heard(self, table: Table, other: NDArray[np.bool_]) -> Heard:
        """Return what the time columns of a table say of its rows; other pairs' rows have no say."""
        ours = np.flatnonzero(~other) if other.any() else np.arange(len(other))
        columns = [(name, table.column(place)) for name, place in table.layout.times]
        if other.any():
            columns = [(name, [texts[int(i)] for i in ours]) for name, texts in columns]
        heard = self._times.read(columns)
        if heard.days_only:
            self._note_days_only()
        self.day_numbers |= heard.day_numbers
        for column, seconds, count, first, last in heard.zones:
            known = self.zones.get((column, seconds), (0, first, last))
            self.zones[column, seconds] = (known[0] + count, min(known[1], first), max(known[2], last))
        for column, example in heard.unheard:
            remark = (
                f"the column {column!r} cannot be read as a time ({example[:40]!r}); the others say when candles open"
            )
            if remark.split("(")[0] not in [known.split("(")[0] for known in self.remarks]:
                self.remarks.append(remark)
        open_time = np.full(len(other), NO_TIME, dtype=np.int64)
        open_time[ours] = heard.open_time
        in_utc = np.zeros(len(other), dtype=np.bool_)
        in_utc[ours] = heard.in_utc
        contradicted = {int(ours[i]): reason for i, reason in heard.contradicted.items()}
        return Heard(open_time, contradicted, in_utc=in_utc)

    # --- the pair ----------------------------------------------------------------------------------------------

    def _count_symbols(self, counts: dict[str, int], layout: Layout) -> None:
        for text, count in counts.items():
            if names_the_pair(text, self.series, layout.currencies):
                self._pair_found = True
            else:
                self._other_symbols[text] += count

    def _require_rows_of_the_pair(self) -> None:
        if self.rows_in == 0:
            raise CddFormatChanged(f"{self.series}: the file has a header and not a single row")
        if not self._pair_found and self._other_symbols:
            symbol = self._other_symbols.most_common(1)[0][0]
            raise CddFormatChanged(
                f"{self.series}: expected rows of {self.series.pair}, the file holds {symbol[:40]!r}"
            )


def commonest_reason(rows: Sequence[SetAside]) -> str:
    """Return the commonest reason why `rows` are set aside, with some of their lines."""
    of_reason: defaultdict[str, list[SetAside]] = defaultdict(list)
    for row in rows:
        of_reason[row.reason.split(":")[0]].append(row)
    reason, its_rows = max(of_reason.items(), key=lambda item: len(item[1]))
    lines = "; ".join(f"line {row.line_number}: {row.raw_text[:SHOWN_CHARACTERS]!r}" for row in its_rows[:LINES_SHOWN])
    remedy = f". {_REMEDIES[reason]}" if reason in _REMEDIES else ""
    return f"In {len(its_rows)} rows: {its_rows[0].reason if len(its_rows) == 1 else reason} ({lines}){remedy}"


def banner_time(banner: str) -> datetime | None:
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
