"""When a source publishes the files of a series: eight habits. A seed and the number of the day decide every time."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
# A drifting source moves by this much a day, for so many days, and then back.
DRIFT, DRIFT_DAYS = 4 * MINUTE, 45
# A jittering source publishes at most this much earlier or later than usual.
JITTER = 90 * MINUTE
SKIPPED_SHARE = 1 / 6
PARTIAL_BEFORE_END = 10 * MINUTE
AHEAD = 9 * DAY


class Habit(Enum):
    """How a source publishes the days of a series."""

    FIXED = "at the same time every day"
    DRIFTING = "some minutes later every day, for weeks, and then earlier again"
    JITTERING = "at any time within three hours"
    SKIPPING = "some days have no file; the next day's file brings them"
    IN_PAIRS = "every second day, two days at once"
    PARTIAL_FIRST = "the day while it is not over, at 23:50, and the whole day later"
    FUTURE = "dated in the future"
    UNDATED = "without Last-Modified"


# The files of these end with the day itself: only their Last-Modified shows that the day was over.
ENDS_WITH_THE_DAY = {Habit.FIXED, Habit.JITTERING}


@dataclass(frozen=True)
class Edition:
    """One file of a day: when it is published and dated, and how it ends.

    `partial` files hold the day as it was before its end; `followed` files have the next day's row after it.
    """

    at: datetime
    last_modified: datetime | None
    partial: bool = False
    followed: bool = True


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
        dated = {Habit.FUTURE: at + AHEAD, Habit.UNDATED: None}.get(habit, at)
        whole = Edition(at, dated, followed=habit not in ENDS_WITH_THE_DAY)
        early = close - PARTIAL_BEFORE_END
        return [Edition(early, early, partial=True), whole] if habit is Habit.PARTIAL_FIRST else [whole]
