"""Date texts, read by the column as a whole: one order of day, month and year for the file.

A text that starts with a year of four digits has one order. Any other (1/2/2018, 19-12-22, 16-Oct-19) has up to three;
the order is the one that alone makes dates of the texts, agrees with the unix times and gives days that follow each
other. Where two remain, nothing is chosen.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.chunk import NO_TIME, Floats, Ints

DAY = 86_400
ORDERS = {"year-month-day": (0, 1, 2), "month-day-year": (2, 0, 1), "day-month-year": (2, 1, 0)}
"""The places of year, month and day in the text."""

# An order must make dates of this share of the texts, and agree with the unix times in this share of the rows.
ENOUGH = 0.95
# Texts whose day and month a program exchanged up to the 12th agree with the unix times in more than this share.
MISREAD = 0.5
# Days follow each other when they move in the file's direction, at most a week at a time, in this share of the steps.
FOLLOWING = 0.95
# ... and of rows in no order at all in this share at most.
SHUFFLED = 0.3
LONGEST_STEP_DAYS = 7
FARTHEST_ZONE_S = 14 * 3600

_MONTHS = {
    1: "jan ene gen", 2: "feb fev fév", 3: "mar mär mae maa mrz", 4: "apr avr abr", 5: "may mai mag mei maj",
    6: "jun juin giu", 7: "jul juil lug", 8: "aug aoû aou ago", 9: "sep set", 10: "oct okt out ott",
    11: "nov", 12: "dec déc dez dic",
}  # fmt: skip
_MONTH_OF = {start: month for month, starts in _MONTHS.items() for start in starts.split()}

_DATE = re.compile(
    r"""(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[\s.,]+)?
    (?:(?P<compact>\d{8})|
       (?P<a>\d{1,4}|[^\W\d_]{3,})(?:st|nd|rd|th)?[\s./,\-年]+
       (?P<b>\d{1,2}|[^\W\d_]{3,})(?:st|nd|rd|th)?[\s./,\-月]+
       (?P<c>\d{1,4})日?)
    (?:(?:[\sT,]+|(?<=日))
       (?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d+)?)?)?
       (?:[\s-]*(?P<half>[ap])\.?m\.?)?
       \s*(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2})?)?""",
    re.VERBOSE | re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d+)?)?)?"
    r"(?:[\s-]*(?P<half>[ap])\.?m\.?)?\s*(?:z|utc|gmt)?",
    re.IGNORECASE,
)


class DateText(NamedTuple):
    """A date text cut up; which of its three parts is what may still be open."""

    parts: tuple[int, int, int]
    month_at: int
    """The place of a month that has a name, else -1."""
    year_at: int
    """The place of a year of four digits, else -1."""
    clock: int
    """Seconds since midnight."""
    step: int
    """The seconds that the text can tell apart: a day, an hour, a minute or one; over a day where it says 24:00."""
    zone: int
    """Seconds east of UTC, if the text says so."""

    @property
    def ends_a_day(self) -> bool:
        """Whether it says 24:00, which may be the midnight at either end of its day."""
        return self.step > DAY


@lru_cache(maxsize=100_000)
def parse_date(text: str) -> DateText | None:
    """Return the parts of a date text, None where it is none."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    clock = _seconds(match)
    if clock is None:
        return None
    zone = 0
    if (offset := match["zone"]) and offset[0] in "+-":
        digits = offset.replace(":", "")
        zone = int(f"{digits[0]}1") * (int(digits[1:3]) * 3600 + int(digits[3:5]) * 60)
    if match["compact"]:
        whole = match["compact"]
        return DateText((int(whole[:4]), int(whole[4:6]), int(whole[6:])), -1, 0, *clock, zone)
    parts, month_at, year_at = [], -1, -1
    for place, token in enumerate((match["a"], match["b"], match["c"])):
        if token.isdecimal():
            if len(token) == 3:
                return None
            year_at = place if len(token) == 4 else year_at
            parts.append(int(token))
            continue
        month = _MONTH_OF.get(token.casefold()[:4]) or _MONTH_OF.get(token.casefold()[:3])
        if month is None or month_at >= 0:
            return None
        month_at = place
        parts.append(month)
    return DateText((parts[0], parts[1], parts[2]), month_at, year_at, *clock, zone)


def parse_clock(text: str) -> tuple[int, int] | None:
    """Return the seconds since midnight that a clock text says and the seconds it can tell apart, None for others."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None or (match["minute"] is None and match["half"] is None):
        return None
    return _seconds(match)


def _seconds(match: "re.Match[str]") -> tuple[int, int] | None:
    if match["hour"] is None:
        return 0, DAY
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    if match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    if hour == 24 and minute == second == 0:
        return 0, DAY + 1
    if hour > 23 or minute > 59 or second > 59:
        return None
    step = 1 if match["second"] else 60 if match["minute"] else 3600
    return hour * 3600 + minute * 60 + second, step


@dataclass
class Dates:
    """A column of date texts under an order: the first instant each can mean, and how many seconds it can tell apart.

    Unknown is NO_TIME. `two_readings` names the orders that remain when none can be chosen.
    """

    value: Ints
    step: Ints
    order: str | None
    two_readings: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def read_dates(texts: Sequence[str], *, unix: Ints, unix_step: Ints, known_order: str | None) -> Dates:
    """Return the dates of a column under one order, which an earlier part of the file may have fixed.

    `unix` (NO_TIME where unknown) and `unix_step` are what the unix column says of the same rows.
    """
    n = len(texts)
    parsed = [parse_date(text) for text in texts]
    at = np.flatnonzero(np.array([one is not None for one in parsed], dtype=np.bool_))
    value, step = np.full(n, NO_TIME, dtype=np.int64), np.ones(n, dtype=np.int64)
    if not len(at):
        return Dates(value, step, known_order)
    table = np.array(
        [(*one.parts, one.month_at, one.year_at, one.clock, one.step, one.zone) for one in parsed if one], np.int64
    )
    parts, month_at, year_at, clock = table[:, :3], table[:, 3], table[:, 4], table[:, 5] - table[:, 7]
    step[at] = table[:, 6]
    fixed = year_at == 0
    days = {order: _days(parts, month_at, year_at, places) for order, places in ORDERS.items()}
    for order in ORDERS:
        days[order][fixed] = days["year-month-day"][fixed]
    if fixed.all():
        return Dates(_instants(value, at, days["year-month-day"], clock), step, known_order)
    valid = {order: float((days[order][~fixed] != NO_TIME).mean()) for order in ORDERS}
    remaining = [order for order in ORDERS if valid[order] >= ENOUGH]
    if known_order is not None:
        remaining = [order for order in remaining if order == known_order]
    confirmed = False
    if (unix[at] != NO_TIME).mean() > 0.5:
        agreeing = [o for o in remaining if _agreement(days[o], clock, step[at], unix[at], unix_step[at]) >= ENOUGH]
        confirmed = len(agreeing) == 1 and int(unix_step[at].max()) <= DAY
        remaining = agreeing or remaining
    if len(remaining) > 1:
        remaining = _distinct(days, remaining)
    several_days = any(len(np.unique(days[order])) > 1 for order in remaining)
    if len(remaining) > 1 or (several_days and not confirmed):
        # A spreadsheet turns the days up to the 12th and leaves the others: one order fits all, and the days jump.
        candidates = remaining
        remaining = [order for order in candidates if _follow(days[order]) >= FOLLOWING]
        if not remaining and not fixed.any():
            # Somebody may have shuffled the rows.
            remaining = [
                order
                for order in candidates
                if _follow(days[order]) <= SHUFFLED and _follow(np.sort(days[order])) >= FOLLOWING
            ]
    elif not remaining:
        # No order makes dates of all texts: one that is far better than the others reads what it can.
        candidates = sorted(ORDERS, key=lambda order: -valid[order])[:2]
        far_better = valid[candidates[0]] >= 0.5 and valid[candidates[0]] - valid[candidates[1]] >= 0.3
        remaining = candidates[:1] if far_better and known_order in (None, candidates[0]) else []
    if len(remaining) == 1:
        return Dates(_instants(value, at, days[remaining[0]], clock), step, remaining[0])
    both = tuple(remaining or candidates)
    if (unix[at] != NO_TIME).all():
        agreement = {o: _agreement(days[o], clock, step[at], unix[at], unix_step[at]) for o in both}
        best = max(both, key=lambda order: agreement[order])
        if agreement[best] < MISREAD:
            # It is not the order that is wrong: the column is of other rows than the unix times.
            return Dates(_instants(value, at, days[best], clock), step, known_order)
    example = next((int(i) for i in np.flatnonzero(~fixed) if len({int(days[o][i]) for o in both}) > 1), 0)
    readings = tuple(
        str(np.datetime64(int(days[order][example]), "D")) for order in both if days[order][example] > NO_TIME
    )
    return Dates(value, step, None, both, (texts[int(at[example])], *readings))


def _days(parts: Ints, month_at: Ints, year_at: Ints, places: tuple[int, int, int]) -> Ints:
    """Return the days since 1970 of the texts under an order, NO_TIME where it makes no date of them."""
    year, month, day = (parts[:, place] for place in places)
    fits = ((month_at < 0) | (month_at == places[1])) & ((year_at < 0) | (year_at == places[0]))
    fits &= (year < 100) | (year >= 1970)
    year = np.where(year < 100, 2000 + year, year)
    fits &= (year >= 1970) & (year <= 2100) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (np.where(fits, year, 1970) - 1970) * 12 + np.where(fits, month, 1) - 1
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    after = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    fits &= day <= after - first
    return np.where(fits, first + day - 1, NO_TIME)


def _instants(value: Ints, at: Ints, days: Ints, clock: Ints) -> Ints:
    value[at] = np.where(days == NO_TIME, NO_TIME, days * DAY + clock)
    return value


def _agreement(days: Ints, clock: Ints, step: Ints, unix: Ints, unix_step: Ints) -> float:
    both = (unix != NO_TIME) & (days != NO_TIME)
    if not both.any():
        return 0.0
    start = days[both] * DAY + clock[both]
    # A text may be in local time.
    slack = unix_step[both] + np.where(step[both] < DAY, FARTHEST_ZONE_S, 0)
    meets = (unix[both] >= start - slack) & (unix[both] < start + step[both] + slack)
    return float(meets.mean())


def _distinct(days: dict[str, Ints], orders: Sequence[str]) -> list[str]:
    """Return the orders without those that read the texts as another one does."""
    kept: list[str] = []
    for order in orders:
        if not any(np.array_equal(days[order], days[other]) for other in kept):
            kept.append(order)
    return kept


def are_turned(open_time: Ints, line_number: Ints) -> bool:
    """Return whether days follow each other, in the order of the rows, once day and month of some are exchanged.

    So they are where a program took 1/2/2018 for a day of January in some rows, those up to the 12th, and wrote all
    of them again year first.
    """
    steps = np.diff(open_time)
    if (steps < 0).all() or (steps > 0).all():
        return False
    days = open_time[np.argsort(line_number)] // DAY
    if _follow(days) >= FOLLOWING:
        return False
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    day = (dates - months.astype("datetime64[D]")).astype(np.int64)
    month = months.astype(np.int64) % 12
    turned = (months.astype("datetime64[Y]").astype("datetime64[M]") + day).astype("datetime64[D]") + month
    return _follow(np.where(day < 12, turned.astype(np.int64), days)) >= FOLLOWING


def _follow(days: Ints) -> float:
    """Return the share of the steps from day to day, in the order of the rows, at which the days follow each other."""
    days = days[days != NO_TIME]
    steps = np.diff(days)
    steps = steps[steps != 0]
    if not len(steps):
        return 0.0
    forward: Floats | NDArray[np.bool_] = (steps > 0) & (steps <= LONGEST_STEP_DAYS)
    back = (steps < 0) & (steps >= -LONGEST_STEP_DAYS)
    return max(float(forward.mean()), float(back.mean()))
