"""Which column of CryptoDataDownload's CSV is what, by its name, and how its times are written."""

import csv
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.candles import SeriesName
from storage.chunk import Ints
from storage.source.cells import Cells, cells, numbers

NO_TIME = np.iinfo(np.int64).min
EARLIEST = int(datetime(2009, 1, 1, tzinfo=UTC).timestamp())
LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())


class Layout:
    """Which column is what, and how its times are written."""

    def __init__(self, text: str, delimiter: str, width: int) -> None:
        self.text = text.casefold()
        self.delimiter = delimiter
        self.width = width
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
    def from_header(cls, text: str, series: SeriesName) -> "Layout | None":
        """Return the layout that a header line declares, None when the line is no header."""
        delimiter = max(",;\t", key=text.count)
        try:
            names = next(csv.reader([text], delimiter=delimiter), [])
        except csv.Error:
            return None
        layout = cls(text, delimiter, len(names))
        volumes: list[tuple[int, str]] = []
        for place, name in enumerate(names):
            words = re.sub(r"[^a-z0-9]+", " ", name.casefold()).strip()
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

    def cells(self, lines: list[str]) -> Cells:
        """Return the cells of data lines by column; padded where a line has fewer, cut where it has more."""
        return cells(lines, delimiter=self.delimiter, width=self.width, needed=self.last_needed)

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
        result = np.full(n, NO_TIME, dtype=np.int64)
        # A column called timestamp or time may hold either.
        numeric = self.date is not None and n > 0 and _SIX_DIGITS.fullmatch(date[0].strip()) is not None
        if self.unix is not None or numeric:
            stamps = numbers(date if self.unix is None else unix).value
            with np.errstate(invalid="ignore"):
                # 1e11 s lies in the year 5138 and 1e11 ms in 1973: sizes tell the units apart.
                scale = np.select([stamps < 1e11, stamps < 1e14, stamps < 1e17], [1.0, 1e3, 1e6], 1e9)
                found = stamps // scale
                # What is no plausible time is left to the date column, if there is one.
                usable = (found >= EARLIEST) & (found <= LATEST) | np.isfinite(stamps) & (self.date is None)
                usable &= np.abs(found) < 1e15
            result[usable] = found[usable].astype(np.int64)
        if self.date is not None:
            missing = np.flatnonzero(result == NO_TIME)
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
    return int(NO_TIME)


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
