"""When a source publishes the files of a series: ten habits. A seed and the number of the day decide every time."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
# A drifting source moves by this much a day, for so many days, and then back.
DRIFT, DRIFT_DAYS = 4 * MINUTE, 45
# A jittering source publishes at most this much earlier or later than usual.
JITTER = 90 * MINUTE
# One that keeps no hours publishes so long after the close.
EARLIEST, LATEST = 6 * MINUTE, 11 * HOUR
SKIPPED_SHARE = 1 / 6
PARTIAL_BEFORE_END = 10 * MINUTE
AHEAD = 9 * DAY


class Habit(Enum):
    """How a source publishes the days of a series."""

    FIXED = "at the same time every day"
    DRIFTING = "some minutes later every day, for weeks, and then earlier again"
    JITTERING = "at any time within three hours"
    AT_ANY_TIME = "minutes to half a day after the close"
    SKIPPING = "some days have no file; the next day's file brings them"
    IN_PAIRS = "every second day, two days at once"
    PARTIAL_FIRST = "the day while it is not over, at 23:50, and the whole day later"
    FUTURE = "dated in the future"
    UNDATED = "without Last-Modified"
    DATED_ANEW = "dated anew in every answer"


# The files of these end with the day itself: only their Last-Modified shows that the day was over.
ENDS_WITH_THE_DAY = {Habit.FIXED, Habit.JITTERING}


@dataclass(frozen=True)
class Edition:
    """One file of a day: when it is published and dated, and how it ends.

    `partial` files hold the day as it was before its end; `followed` files have the next day's row after it. Each
    answer with a file that is `dated_anew` has the time of the answer as Last-Modified.
    """

    at: datetime
    last_modified: datetime | None
    partial: bool = False
    followed: bool = True
    dated_anew: bool = False


class Timetable:
    """The times at which a source with `habit` publishes a series; equal seeds give equal times."""

    def __init__(self, habit: Habit, *, seed: int) -> None:
        self.habit, self.seed = habit, seed
        chance = random.Random(seed)
        self.usual = chance.randint(3, 6) * HOUR + timedelta(seconds=chance.randrange(3600))

    def editions(self, day: int, close: datetime) -> list[Edition]:
        """Return the files of day number `day`, which closed at `close`, in order; none where it is skipped."""
        habit, chance = self.habit, random.Random(f"{self.seed} {day}")
        if (habit is Habit.SKIPPING and chance.random() < SKIPPED_SHARE) or (habit is Habit.IN_PAIRS and day % 2 == 0):
            return []
        at = close + self.usual
        if habit is Habit.DRIFTING:
            turn = day % (2 * DRIFT_DAYS)
            at += min(turn, 2 * DRIFT_DAYS - turn) * DRIFT
        elif habit is Habit.JITTERING:
            at += timedelta(seconds=round(chance.uniform(-1, 1) * JITTER.total_seconds()))
        elif habit is Habit.AT_ANY_TIME:
            at = close + timedelta(seconds=chance.randrange(EARLIEST.seconds, LATEST.seconds))
        dated = {Habit.FUTURE: at + AHEAD, Habit.UNDATED: None, Habit.DATED_ANEW: None}.get(habit, at)
        whole = Edition(at, dated, followed=habit not in ENDS_WITH_THE_DAY, dated_anew=habit is Habit.DATED_ANEW)
        early = close - PARTIAL_BEFORE_END
        return [Edition(early, early, partial=True), whole] if habit is Habit.PARTIAL_FIRST else [whole]
