"""What makes a row a candle: its prices, volumes, time and pair; and what is set aside, each row with its reason."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.candles import Interval, SeriesName
from storage.chunk import NO_TIME, Chunk
from storage.errors import CddFormatChanged
from storage.source.closing import CLOCK_SKEW
from storage.source.dates import DAY
from storage.source.neighbours import FEWEST, Neighbours
from storage.source.spans import Spans
from storage.source.times import EARLIEST, LATEST, apart, length_word

# Prices are binary floats: a high this much (relatively) below a close is noise, not a violation.
PRICE_NOISE = 1e-8
# quote / base volume is the mean price, so it lies within low..high but for rounding of small volumes.
VOLUME_SLACK = 0.02
# A last row without a line end was cut where its volumes contradict its prices and at most this share of the others do.
CUT_SHARE = 0.001
STARTS_SHOWN = 3
# When the days of CDD's files of an exchange start, in seconds after midnight UTC, where it is another time (2026-11).
DAYS_START = {"GEMINI": 4 * 3600}
# Clocks are put back on a Sunday between midnight and three, in these months and on these days.
SUNDAY, LAST_HOUR_REPEATED = 6, 3
# Two rows of one candle open at prices that differ by less than this share: in the 106 shared files by 0.02 % at most.
SAME_OPEN = 5e-4
WEEKS_OF_CLOCKS = (
    {(4, day) for day in range(1, 8)} | {(10, day) for day in range(25, 32)} | {(11, day) for day in range(1, 8)}
)

# Why a row is set aside, in one word each.
DUPLICATE, OVERLAP, PLACEHOLDER, OTHER_PAIR, CONTRADICTED, NO_CANDLE = (
    "duplicate", "overlap", "placeholder", "other pair", "contradicted", "no candle",
)  # fmt: skip
# Kinds that CDD's own files hold in numbers.
KINDS_OF_CDD = frozenset({DUPLICATE, OVERLAP, PLACEHOLDER})


@dataclass
class SetAside:
    """A row that is no candle: its line in the file (from 1), why, and the open time it claims, if it can be read."""

    line_number: int
    reason: str
    kind: str = NO_CANDLE
    open_time: int | None = None
    raw_text: str = ""


@dataclass
class Checks:
    """The checks of one file, and what they have found so far."""

    series: SeriesName
    fetched_at: datetime | None = None
    """A row that opens later is set aside."""
    future: list[int] = field(default_factory=list)
    """The open times of such rows."""
    set_aside: list[SetAside] = field(default_factory=list)
    swapped: Spans = field(default_factory=Spans)
    unreadable_volumes: Spans = field(default_factory=Spans)
    negative_volumes: Spans = field(default_factory=Spans)
    odd_volumes: Spans = field(default_factory=Spans)
    steps: Counter[int] = field(default_factory=Counter)
    two_volumes: int = 0
    """How many candles have two volumes."""
    day_starts: Counter[int] = field(default_factory=Counter)
    """Days that do not start at midnight UTC: how many by the second of the day at which they start."""
    unsure_starts: int = 0
    """How many of these nothing confirms, so that their times may be local."""
    repeated_hours: list[int] = field(default_factory=list)
    """Hours with two different candles at which clocks are put back somewhere, by open time."""
    torn: list[int] = field(default_factory=list)
    """Open times with two rows that open at different prices, so that they are two candles."""
    _times: int = 0
    _torn_times: int = 0

    def __post_init__(self) -> None:
        self.neighbours = Neighbours(self.series)

    @property
    def length(self) -> int:
        """Seconds that a candle lasts."""
        return int(self.series.interval.length.total_seconds())

    def reject(self, line_number: int, reason: str, kind: str = NO_CANDLE, open_time: int | None = None) -> None:
        """Set a row aside."""
        known = open_time is not None and EARLIEST <= open_time <= LATEST
        self.set_aside.append(SetAside(int(line_number), reason, kind, int(open_time) if known and open_time else None))

    def candles(
        self,
        chunk: Chunk,
        *,
        other_pair: NDArray[np.bool_],
        garbled_volume: NDArray[np.bool_],
        contradicted: dict[int, tuple[str, int]],
        in_utc: NDArray[np.bool_],
        cut: bool,
    ) -> Chunk:
        """Return the rows that are candles; `cut` says that the last one has no line end."""
        if not len(chunk):
            return chunk
        self._measure_steps(chunk.take(~other_pair) if other_pair.any() else chunk)
        good = np.ones(len(chunk), dtype=np.bool_)
        for row, (sentence, opened) in contradicted.items():
            good[row] = False
            self.reject(chunk.line_number[row], sentence, CONTRADICTED, opened)
        with np.errstate(invalid="ignore"):
            for reason, kind, wrong in self._faults(chunk, other_pair):
                if not wrong.any():
                    continue
                for i in np.flatnonzero(wrong & good):
                    self.reject(chunk.line_number[i], reason, kind, int(chunk.open_time[i]))
                good &= ~wrong
        if not good.all():
            cut = cut and bool(good[-1])
            chunk, garbled_volume, in_utc = chunk.take(good), garbled_volume[good], in_utc[good]
        if self.series.interval is Interval.DAY:
            at_an_hour = chunk.open_time % self.length != 0
            self.day_starts.update((chunk.open_time[at_an_hour] % self.length).tolist())
            usual = chunk.open_time % self.length == DAYS_START.get(self.series.exchange.upper(), 0)
            self.unsure_starts += int((at_an_hour & ~in_utc & ~usual).sum())
        return self._with_volumes_put_right(chunk, garbled_volume, cut=cut)

    @property
    def _future_words(self) -> str:
        at = f" ({self.fetched_at:%Y-%m-%d %H:%M} UTC)" if self.fetched_at else ""
        return f"it opens in the future: after the file was fetched{at}"

    def _in_the_future(self, chunk: Chunk, other_pair: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if self.fetched_at is None:
            return np.zeros(len(chunk), dtype=np.bool_)
        latest = int((self.fetched_at + CLOCK_SKEW).timestamp())
        future: NDArray[np.bool_] = (chunk.open_time > latest) & (chunk.open_time <= LATEST) & ~other_pair
        self.future += chunk.open_time[future].tolist()
        return future

    def _faults(self, chunk: Chunk, other_pair: NDArray[np.bool_]) -> list[tuple[str, str, NDArray[np.bool_]]]:
        top, bottom = np.maximum(chunk.open, chunk.close), np.minimum(chunk.open, chunk.close)
        noise = PRICE_NOISE * np.abs(chunk.high)
        least, most = np.minimum(bottom, chunk.low), np.maximum(top, chunk.high)
        traded = (chunk.volume_base > 0) | (chunk.volume_quote > 0)
        zeros = (least == 0) & (most == 0)
        faults = [
            ("it is of another pair", OTHER_PAIR, other_pair),
            (self._future_words, NO_CANDLE, self._in_the_future(chunk, other_pair)),
            ("its time cannot be read", NO_CANDLE, chunk.open_time == NO_TIME),
            (
                "its time lies outside 2009..2100",
                NO_CANDLE,
                (chunk.open_time != NO_TIME) & ((chunk.open_time < EARLIEST) | (chunk.open_time > LATEST)),
            ),
            ("a price is not a number", NO_CANDLE, ~np.isfinite(least + most)),
            ("a placeholder: every price is zero", PLACEHOLDER, zeros & ~traded),
            ("every price is zero, and there are trades", NO_CANDLE, zeros & traded),
            ("a price is zero or negative", NO_CANDLE, least <= 0),
            (
                "its high is below its open, low or close",
                NO_CANDLE,
                (chunk.high + noise < top) | (chunk.high + noise < chunk.low),
            ),
            ("its low is above its open or close", NO_CANDLE, chunk.low - noise > bottom),
        ]
        if self.series.interval is not Interval.DAY:
            faults.append(("its time is not a multiple of its interval", NO_CANDLE, chunk.open_time % self.length != 0))
        return faults

    # --- the interval ------------------------------------------------------------------------------------------

    def _measure_steps(self, chunk: Chunk) -> None:
        times, counts = np.unique(chunk.open_time[chunk.open_time != NO_TIME], return_counts=True)
        steps, how_often = np.unique(np.diff(times), return_counts=True)
        for step, often in zip(steps.tolist(), how_often.tolist(), strict=True):
            self.steps[step] += often
        self._times += len(times)
        if (counts > 1).any():
            order = np.lexsort((chunk.close, chunk.open_time))
            opened, close = chunk.open_time[order], chunk.close[order]
            torn = (opened[1:] == opened[:-1]) & (close[1:] != close[:-1]) & (opened[1:] != NO_TIME)
            self._torn_times += len(np.unique(opened[1:][torn]))

    def require_interval(self, days: Chunk | None) -> None:
        """Raise CddFormatChanged unless the commonest step between the file's times is the interval of its name.

        `days` are the candles so far of a daily file, which may hold two rows a day that overlap (Gemini).
        """
        word = length_word(self.series.interval)
        if self._torn_times > max(2, self._times / 2):
            raise CddFormatChanged(
                f"{self.series}: {self._torn_times} of the file's {self._times} times have several rows with different "
                f"prices: its rows are of a shorter interval than {word}, or its times have lost their hours"
            )
        if not self.steps:
            return
        most = max(self.steps.values())
        if self.steps[self.length] == most:
            return
        if self.series.interval is Interval.DAY and days is not None and are_overlapping_days(days):
            return
        step = min(step for step, count in self.steps.items() if count == most)
        other = {86_400: "d", 3600: "1h", 60: "minute"}.get(step)
        remedy = f"; it may be {self.series.exchange}_{self.series.pair}_{other}" if other else ""
        raise CddFormatChanged(f"{self.series}: the rows are {apart(step)} apart, the name says {word}{remedy}")

    def filled_share(self) -> float:
        """Return which share of the time from the pair's first row to its last its rows fill."""
        intervals = sum(step * count for step, count in self.steps.items()) / self.length
        return sum(self.steps.values()) / intervals if intervals else 1.0

    def require_past(self, newest: int) -> None:
        """Raise CddFormatChanged where rows go on beyond the newest candle into the future, without a gap."""
        if not self.future or min(self.future) > newest + self.length:
            return
        at = datetime.fromtimestamp(min(self.future), UTC)
        raise CddFormatChanged(
            f"{self.series}: the rows go on to {at:%Y-%m-%d %H:%M} UTC and {len(self.future) - 1} more, after the file "
            f"was fetched ({self.fetched_at:%Y-%m-%d %H:%M} UTC): its times may be local, or the clock of this machine "
            f"is slow; put UTC in the file"
        )

    def require_open_times(self) -> None:
        """Raise CddFormatChanged for days most of which are dated in their last minute, when they close."""
        late = sum(count for start, count in self.day_starts.items() if start >= self.length - 60)
        if late > max(self._times / 2, 1):
            raise CddFormatChanged(
                f"{self.series}: {late} of the file's {self._times} days are dated in their last minute, so their "
                f"times are those of the close; write in the file when each day opens"
            )

    # --- volumes -----------------------------------------------------------------------------------------------

    def _with_volumes_put_right(self, chunk: Chunk, garbled: NDArray[np.bool_], *, cut: bool) -> Chunk:
        """Exchange volumes that stand the wrong way round, and forget those that cannot be: quote / base is a price."""
        self.unreadable_volumes.add(chunk.open_time[garbled])
        base, quote = chunk.volume_base, chunk.volume_quote
        with np.errstate(invalid="ignore", divide="ignore"):
            negative = (base < 0) | (quote < 0)
            if negative.any():
                self.negative_volumes.add(chunk.open_time[negative])
                base, quote = np.where(base < 0, np.nan, base), np.where(quote < 0, np.nan, quote)
                chunk.volume_base, chunk.volume_quote = base, quote
            low, high = chunk.low * (1 - VOLUME_SLACK), chunk.high * (1 + VOLUME_SLACK)
            ratio = quote / base
            fits = (ratio >= low) & (ratio <= high)
            if fits.all():
                # Where the price is near one, both ways round may fit; then the names of the columns count.
                self.two_volumes += len(chunk)
                return chunk
            turned = base / quote
            fits_swapped = (turned >= low) & (turned <= high)
            two = (base > 0) & (quote > 0)
        swapped = self._swapped(fits, fits_swapped)
        odd = two & ~fits & ~fits_swapped
        if cut and odd[-1] and odd[:-1].sum() + self.odd_volumes.count <= CUT_SHARE * (two.sum() + self.two_volumes):
            self.reject(
                chunk.line_number[-1],
                "it was cut: no line end follows it, and unlike those of the other rows its two volumes give no price "
                "between its low and its high",
                NO_CANDLE,
                int(chunk.open_time[-1]),
            )
            keep = np.arange(len(chunk) - 1)
            chunk, swapped, odd, two, base, quote = (
                chunk.take(keep), swapped[:-1], odd[:-1], two[:-1], base[:-1], quote[:-1],
            )  # fmt: skip
        self.two_volumes += int(two.sum())
        self.odd_volumes.add(chunk.open_time[odd])
        if swapped.any():
            chunk.volume_base, chunk.volume_quote = np.where(swapped, quote, base), np.where(swapped, base, quote)
            self.swapped.add(chunk.open_time[swapped])
        return chunk

    @staticmethod
    def _swapped(fits: NDArray[np.bool_], fits_swapped: NDArray[np.bool_]) -> NDArray[np.bool_]:
        swapped: NDArray[np.bool_] = fits_swapped & ~fits
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
        return swapped

    # --- rows of one candle ------------------------------------------------------------------------------------

    def without_duplicates(self, chunk: Chunk) -> Chunk:
        """Return the chunk with one row a candle: the fullest."""
        unique, counts = np.unique(chunk.open_time, return_counts=True)
        if len(unique) == len(chunk):
            return chunk
        keep = np.ones(len(chunk), dtype=np.bool_)
        order = np.argsort(chunk.open_time, kind="stable")
        ends = np.cumsum(counts)
        for end, count in zip(ends[counts > 1], counts[counts > 1], strict=True):
            rows = order[end - count : end]
            best = max(rows, key=lambda i: fullness(chunk, int(i)))
            if chunk.open[rows].max() > chunk.open[rows].min() * (1 + SAME_OPEN):
                self.torn.append(int(chunk.open_time[best]))
            elif self.series.interval is Interval.HOUR and len(np.unique(chunk.close[rows])) > 1:
                self._note_repeated_hour(int(chunk.open_time[best]))
            for i in rows[rows != best]:
                keep[i] = False
                self.reject(
                    chunk.line_number[i],
                    f"a duplicate: line {chunk.line_number[best]} has the same time and at least as much volume",
                    DUPLICATE,
                    int(chunk.open_time[i]),
                )
        return chunk.take(keep)

    def _note_repeated_hour(self, open_time: int) -> None:
        at = datetime.fromtimestamp(open_time, UTC)
        sunday = at.weekday() == SUNDAY
        if sunday and at.hour <= LAST_HOUR_REPEATED and (at.month, at.day) in WEEKS_OF_CLOCKS:
            self.repeated_hours.append(open_time)

    def without_overlaps(self, chunk: Chunk) -> Chunk:
        """Set aside daily rows that overlap others: a day may start at any hour, but days may not overlap.

        Where rows overlap, the one that starts at midnight UTC stays, then the one whose hour is commonest in the
        file; so a file whose days start at 04:00 keeps its true times, and no candle claims hours it has not seen.
        """
        length = self.length
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
                reason = f"it overlaps another day: it starts at {at:%H:%M} UTC"
                self.reject(chunk.line_number[i], reason, OVERLAP, start)
                continue
            taken.setdefault(day, []).append(start)
            keep[i] = True
        return chunk.take(keep)


def are_overlapping_days(chunk: Chunk) -> bool:
    """Return whether rows that are less than a day apart are days all the same, each from another hour on.

    A day is followed, at the price of its close, by the row that opens a day later; a shorter candle by the next row.
    """
    chunk = chunk.take(np.argsort(chunk.open_time, kind="stable"))
    at, opened, close = chunk.open_time, chunk.open, chunk.close
    following = np.searchsorted(at, at + DAY)
    has_one = (following < len(at)) & (at[following.clip(max=len(at) - 1)] == at + DAY)
    rows = np.flatnonzero(has_one[:-1])
    if len(rows) < FEWEST or len(rows) < 0.5 * len(at):
        return False
    after_a_day = np.abs(opened[following[rows]] / close[rows] - 1)
    next_row = np.abs(opened[rows + 1] / close[rows] - 1)
    return bool(np.median(after_a_day) < 0.5 * np.median(next_row))


def fullness(chunk: Chunk, i: int) -> tuple[float, float, float]:
    """Return how full a row is: of two rows of one candle the one with more volume and trades saw more of it."""
    return tuple(
        -1.0 if np.isnan(value) else float(value)
        for value in (chunk.volume_base[i], chunk.trades[i], chunk.high[i] - chunk.low[i])
    )  # type: ignore[return-value]


def day_starts(starts: Counter[int]) -> str:
    """Return the commonest times of day at which days start, in words: 04:00 UTC (2456), 13:00 UTC (3)."""
    clocks = [(datetime.fromtimestamp(start, UTC), count) for start, count in starts.most_common(STARTS_SHOWN)]
    return ", ".join(f"{at:%H:%M} UTC ({count})" for at, count in clocks) + (
        " and other times" if len(starts) > STARTS_SHOWN else ""
    )
