"""When candles open, by all the columns that say so: unix, date and clock, each with its own resolution.

A unix time that a spreadsheet shortened to `1.57118E+12` knows 2.8 hours, `1.57E+12` 116 days, a date a day, a clock a
minute or a second. Two columns agree when what each can mean has an instant in common; then the finer one counts, row
by row. Where they do not, the row is contradicted and no candle. A text that is a constant number of half hours from
the unix time over a stretch of rows is local time, and said to be.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.candles import Interval, SeriesName
from storage.chunk import NO_TIME, Ints
from storage.errors import CddFormatChanged
from storage.source.dates import DAY, FARTHEST_ZONE_S, parse_clock, parse_date, read_dates
from storage.source.numerals import UNKNOWN, number
from storage.source.stamps import EXACT_UNIX_S, Witness, read_stamps

EARLIEST = int(datetime(2009, 1, 1, tzinfo=UTC).timestamp())
LATEST = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
# So many rows in a row with the same distance from UTC are in local time; fewer contradict their unix time.
ZONE_ROWS = 5
# A column that can be read in fewer rows than this share is not heard.
HEARD = 0.5

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}:\d{2})?")
_ZONE = re.compile(r":\d{2}(:\d{2}(\.\d+)?)?\s*(z|utc|gmt|[+-]\d{2}:?\d{2})$", re.IGNORECASE)


@dataclass
class Heard:
    """The open times of some rows (NO_TIME where unknown), and what the columns that say them have against each other.

    `contradicted` holds for each contradicted row the sentence that says by what, and the day that its text says.
    """

    open_time: Ints
    contradicted: dict[int, tuple[str, int]] = field(default_factory=dict)
    zones: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    """Column, seconds east of UTC, how many rows, first and last open time."""
    unheard: list[tuple[str, str]] = field(default_factory=list)
    """Columns that cannot be read as times, each with a text of it."""
    in_utc: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """In which rows a unix time in full, or a text that names its zone, says the open time."""
    days_only: bool = False
    """Whether every open time comes from a date without a time of day."""
    day_numbers: bool = False
    """Whether every open time comes from a spreadsheet's day numbers."""


@dataclass
class TimeReader:
    """Reads the time columns of one file, part by part; the order of day and month is found once and kept."""

    series: SeriesName
    order: str | None = None
    full_unix: bool = False
    """Whether an earlier part has shown that the unix times are written in full."""

    def read(self, columns: Sequence[tuple[str, Sequence[str]]]) -> Heard:
        """Return the open times of some rows from their time columns, each given as its name and texts.

        Raises CddFormatChanged where the dates have two readings, or where nothing tells the candles apart.
        """
        n = len(columns[0][1]) if columns else 0
        heard = Heard(np.full(n, NO_TIME, dtype=np.int64), in_utc=np.zeros(n, dtype=np.bool_))
        if not n:
            return heard
        witnesses, clocks = self._witnesses(columns, heard)
        heard.day_numbers = bool(witnesses) and all(one.day_numbers for one in witnesses)
        self._add_clocks(witnesses, clocks)
        if not witnesses:
            return heard
        length = int(self.series.interval.length.total_seconds())
        self._choose(heard, witnesses, length)
        self._compare(heard, witnesses, length)
        # A row of which no column says the time is none for that reason alone.
        heard.contradicted = {i: why for i, why in heard.contradicted.items() if heard.open_time[i] != NO_TIME}
        for one in witnesses:
            if one.is_unix or one.in_utc:
                heard.in_utc |= one.known & one.exact & (one.value == heard.open_time)
        return heard

    def _witnesses(
        self, columns: Sequence[tuple[str, Sequence[str]]], heard: Heard
    ) -> tuple[list[Witness], list[tuple[str, Ints, Ints]]]:
        length = int(self.series.interval.length.total_seconds())
        n = len(heard.open_time)
        numeric = {name: read_stamps(texts, name, length) for name, texts in columns}
        unix_known = [one for one in numeric.values() if one.known.any()]
        unix, unix_step = np.full(n, NO_TIME, dtype=np.int64), np.ones(n, dtype=np.int64)
        for one in sorted(unix_known, key=lambda one: -int(one.known.sum())):
            open_rows = (unix == NO_TIME) & one.known
            unix[open_rows], unix_step[open_rows] = one.value[open_rows], one.step[open_rows]
        witnesses: list[Witness] = []
        clocks: list[tuple[str, Ints, Ints]] = []
        for name, texts in columns:
            witness = numeric[name]
            filled = np.array([bool(text) for text in texts], dtype=np.bool_)
            if (witness.known | ~filled).all():
                if witness.known.any():
                    witnesses.append(witness)
                continue
            clock = _clocks(texts, name)
            if clock is not None:
                self._require_no_24(name, texts, unix, unix_step)
                clocks.append((name, *clock))
                continue
            rest = np.flatnonzero(~witness.known & filled)
            self._require_no_24(name, [texts[int(i)] for i in rest], unix[rest], unix_step[rest])
            values, steps = self._dates(name, [texts[int(i)] for i in rest], unix[rest], unix_step[rest])
            witness.value[rest], witness.step[rest], witness.exact[rest] = values, steps, values != NO_TIME
            witness.in_utc = all(_ZONE.search(texts[int(i)]) for i in rest)
            witness.is_unix = bool(witness.known.sum() - (values != NO_TIME).sum() > len(rest))
            if witness.known.sum() >= HEARD * filled.sum() or len(columns) == 1:
                witnesses.append(witness)
                heard.contradicted |= _summaries(name, texts, rest[values == NO_TIME])
            else:
                heard.unheard.append((name, texts[int(rest[0])]))
        return witnesses, clocks

    def _require_no_24(self, name: str, texts: Sequence[str], unix: Ints, unix_step: Ints) -> None:
        """Raise CddFormatChanged where a text says 24:00 and no unix time says which midnight that is.

        Programs that write the close of a candle say so, and others that count the hours of a day from 1 to 24.
        """
        for text, seconds, step in zip(texts, unix.tolist(), unix_step.tolist(), strict=True):
            if "24" in text and (seconds == NO_TIME or step > EXACT_UNIX_S) and _is_24(text):
                raise CddFormatChanged(
                    f"{self.series}: the column {name!r} says 24:00 ({text!r}): its times may be those of the close, "
                    f"or of the midnight before; write in the file when each candle opens, and midnight as 00:00"
                )

    def _dates(self, name: str, texts: Sequence[str], unix: Ints, unix_step: Ints) -> tuple[Ints, Ints]:
        if all(_ISO.fullmatch(text) for text in texts):
            try:
                values = np.array(texts, dtype="datetime64[s]").astype(np.int64)
                return values, np.where(np.array([len(text) > 10 for text in texts]), 1, DAY)
            except ValueError:
                pass
        dates = read_dates(texts, unix=unix, unix_step=unix_step, known_order=self.order)
        if dates.two_readings and (unix != NO_TIME).all() and (unix_step <= EXACT_UNIX_S).all():
            # The unix times tell all candles apart without it.
            return dates.value, dates.step
        if dates.two_readings and len(dates.examples) == 1:
            raise CddFormatChanged(
                f"{self.series}: the dates of the column {name!r} are dates of 1970..2100 in no order of day, month "
                f"and year ({dates.examples[0]!r} for one); write them as year-month-day in the file"
            )
        if dates.two_readings:
            readings = " or ".join(
                f"{order} ({day})" for order, day in zip(dates.two_readings, dates.examples[1:], strict=False)
            )
            raise CddFormatChanged(
                f"{self.series}: the dates of the column {name!r} can be read in more than one order: "
                f"{dates.examples[0]!r} as {readings}, and neither alone gives days that follow each other; write them "
                f"as year-month-day in the file"
                if len(dates.two_readings) > 1
                else f"{self.series}: the dates of the column {name!r} do not follow each other as {readings} "
                f"({dates.examples[0]!r} for one), and in no other order; write them as year-month-day in the file"
            )
        self.order = dates.order
        return dates.value, dates.step

    @staticmethod
    def _add_clocks(witnesses: list[Witness], clocks: list[tuple[str, Ints, Ints]]) -> None:
        """Add the times of day of separate time columns to the days of the date columns."""
        for name, seconds, step in clocks:
            for witness in [one for one in witnesses if not one.is_unix]:
                known = witness.known & (seconds != NO_TIME)
                days = np.where(known, witness.value // DAY * DAY, 0)
                combined = Witness(
                    f"{witness.name} and {name}",
                    np.where(known, days + seconds, NO_TIME),
                    np.where(known, step, 1),
                    known,
                    is_unix=False,
                )
                if (witness.value[witness.known] % DAY == 0).all():
                    witnesses.remove(witness)
                witnesses.append(combined)

    def _choose(self, heard: Heard, witnesses: list[Witness], length: int) -> None:
        """Let the finest column that tells candles apart say the time, row by row."""
        # Of two that know it equally well the unix time counts: it is always UTC.
        order = sorted(witnesses, key=lambda one: int(np.median(one.step[one.known])) if one.known.any() else DAY)
        order.sort(key=lambda one: not (one.is_unix and one.exact[one.known].all()))
        best = np.full(len(heard.open_time), np.iinfo(np.int64).max)
        for witness in order:
            finer = witness.known & witness.exact & (witness.step < best)
            heard.open_time[finer], best[finer] = witness.value[finer], witness.step[finer]
        blurred = (heard.open_time != NO_TIME) & (best > length)
        if blurred.any() and blurred.mean() > 0.5 and not any(one.is_unix for one in witnesses):
            apart_s = int(np.median(best[blurred]))
            distinct = len(np.unique(heard.open_time[blurred])) == blurred.sum()
            raise CddFormatChanged(
                f"{self.series}: the rows are {apart(apart_s)} apart, the name says {length_word(self.series.interval)}"
                if distinct
                else f"{self.series}: the times are known to {apart(apart_s)} only, the name says "
                f"{length_word(self.series.interval)}; the file has lost the hours"
            )
        heard.open_time[blurred] = NO_TIME
        heard.days_only = bool((best == DAY).all())
        if not self.full_unix:
            self._require_no_rounding(witnesses, length)
        # Only shortened unix times are left: their candle is the one that opens within what they can mean.
        left = np.flatnonzero(heard.open_time == NO_TIME)
        for witness in order:
            rows = left[witness.known[left]]
            if not witness.is_unix or not len(rows):
                continue
            step = int(witness.step[rows].max())
            nearest = (witness.value[rows] + length // 2) // length * length
            fits = np.abs(nearest - witness.value[rows]) <= witness.step[rows]
            if step >= length or fits.mean() < 0.99:
                raise CddFormatChanged(
                    f"{self.series}: the times of the column {witness.name!r} are shortened, each can mean any instant "
                    f"within {_span(step)}, and no other column tells the candles apart; write them in full"
                )
            heard.open_time[rows[fits]] = nearest[fits]
            left = np.flatnonzero(heard.open_time == NO_TIME)

    def _require_no_rounding(self, witnesses: Sequence[Witness], length: int) -> None:
        """Raise CddFormatChanged for one or two unix times that may be rounded, unless another column confirms them."""
        for witness in witnesses:
            if not witness.maybe_rounded:
                self.full_unix |= witness.is_unix and bool(witness.exact[witness.known].all())
                continue
            others = [one for one in witnesses if one is not witness and (one.step <= length)[one.known].all()]
            if not any(np.array_equal(one.value, witness.value) for one in others):
                raise CddFormatChanged(
                    f"{self.series}: the times of the column {witness.name!r} may be rounded, and no other column says "
                    f"the same; write the date with its time in the file"
                )

    def _compare(self, heard: Heard, witnesses: list[Witness], length: int) -> None:
        chosen = heard.open_time
        # A day may start at any hour, but where one column says midnight, its rows are not in local time.
        at_an_hour = (length == DAY) & (chosen % DAY != 0)
        for witness in witnesses:
            both = witness.known & (chosen != NO_TIME)
            if witness.exact[both].all() and np.array_equal(witness.value[both], chosen[both]):
                continue
            early = np.where(witness.exact, 0, witness.step)
            away = np.where(both, witness.value - chosen, 0)
            meets = (away - early <= 0) & (-away < witness.step + (early > 0))
            wrong = both & ~meets
            if not wrong.any():
                continue
            offset = np.where(wrong, witness.value - chosen // witness.step * witness.step, 0)
            zoned = wrong & witness.exact & (witness.step < DAY) & _stretches(offset)
            zoned &= ~(at_an_hour & (witness.value % DAY == 0))
            for seconds in np.unique(offset[zoned]):
                rows = chosen[zoned & (offset == seconds)]
                heard.zones.append((witness.name, int(seconds), len(rows), int(rows.min()), int(rows.max())))
                witness.local = True
            others = " and ".join(repr(one.name) for one in witnesses if one is not witness)
            for i in np.flatnonzero(wrong & ~zoned):
                heard.contradicted.setdefault(
                    int(i),
                    (
                        f"its times contradict each other: {witness.name!r} says {_instant(witness.value[i])}, "
                        f"{others} {_instant(chosen[i])}",
                        int(witness.value[i] if not witness.is_unix else chosen[i]),
                    ),
                )
        if heard.zones:
            # A row that has a local time alone may be anywhere.
            utc = np.zeros(len(chosen), dtype=np.bool_)
            for witness in witnesses:
                utc |= witness.known & ~np.bool_(witness.local)
            for i in np.flatnonzero(~utc & (chosen != NO_TIME)):
                heard.contradicted.setdefault(
                    int(i),
                    ("it has a local time and no unix time: other rows of the file are in local time", int(chosen[i])),
                )


def _is_24(text: str) -> bool:
    date = parse_date(text)
    clock = parse_clock(text)
    return (date is not None and date.ends_a_day) or (clock is not None and clock[1] > DAY)


def _summaries(name: str, texts: Sequence[str], rows: Ints) -> dict[int, tuple[str, int]]:
    """Return the rows whose text is a word where others have a time: a spreadsheet's Total, Max or Average."""
    words = {int(i): texts[int(i)] for i in rows if not re.search(r"\d", texts[int(i)])}
    return {
        i: (f"a time is a word: {name!r} says {text[:40]!r}", NO_TIME)
        for i, text in words.items()
        if text.strip().casefold() not in UNKNOWN
    }


def _stretches(offset: Ints) -> NDArray[np.bool_]:
    """Return which rows stand in a stretch of one constant distance of whole half hours from UTC."""
    plausible = (offset % 1800 == 0) & (np.abs(offset) <= FARTHEST_ZONE_S) & (offset != 0)
    starts = np.flatnonzero(np.append(True, offset[1:] != offset[:-1]))
    lengths = np.diff(np.append(starts, len(offset)))
    whole = len(offset) < ZONE_ROWS and len(starts) == 1
    stretched: NDArray[np.bool_] = plausible & np.repeat((lengths >= ZONE_ROWS) | whole, lengths)
    return stretched


def _clocks(texts: Sequence[str], name: str) -> tuple[Ints, Ints] | None:
    """Return the seconds since midnight of a column of clock times and what they can tell apart, None for another."""
    unique = {text: parse_clock(text) for text in set(texts)}
    if sum(unique[text] is not None for text in texts) < HEARD * sum(bool(text) for text in texts):
        values = np.array([number(text) if text else np.nan for text in texts])
        named = re.search("time|hour", name, re.IGNORECASE) is not None
        if not named or np.isnan(values).any() or (values < 0).any() or (values >= 24).any():
            return None
        if (values < 1).all() and (values % 1 != 0).any():
            return np.rint(values * DAY).astype(np.int64), np.ones(len(values), np.int64)
        if (values % 1 == 0).all():
            return (values * 3600).astype(np.int64), np.full(len(values), 3600)
        return None
    cut = [unique[text] or (NO_TIME, 1) for text in texts]
    return np.array([seconds for seconds, _ in cut], np.int64), np.array([step for _, step in cut], np.int64)


def _instant(seconds: int) -> str:
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M}" if abs(seconds) < 1e11 else "nothing"


def _span(seconds: int) -> str:
    return f"{seconds / DAY:.3g} days" if seconds >= DAY else f"{seconds / 3600:.2g} hours"


def apart(seconds: int) -> str:
    """Return a distance in time as people say it: an hour, a day, 5 minutes."""
    for length, word in ((7 * DAY, "a week"), (DAY, "a day"), (3600, "an hour"), (60, "a minute"), (1, "a second")):
        if seconds == length:
            return word
        if seconds % length == 0:
            return f"{seconds // length} {word.split()[-1]}s"
    return f"{seconds} seconds"


def length_word(interval: Interval) -> str:
    """Return what the name of an interval says: a day, an hour, a minute."""
    return apart(int(interval.length.total_seconds()))
