"""The moods of a source, day by day: habits by season, rare faults on days of their own, and the others by chance."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from bad_prints import with_bad_print
from cdd_server import CddServer
from faulty_source import FaultySource, Market
from synthetic import random_walk
from timetable import DAY, Habit, Timetable

# Two that are old and one that is so many days old when the first day begins.
SERIES = ("Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d", "Bitstamp_LTCUSD_d")
OLD_DAYS, YOUNG_DAYS = 420, 30
# The second of them falls by so much for a moment, when so much of the first hundred days is over.
WICK, WICK_AT = 0.05, 0.12
# Where in each hundred days (or in all days, if these are fewer) a rare fault begins, in which series (all of them
# without a number), and for how many hours it lasts.
RARE = {
    0.08: ("away", None, 71),
    0.18: ("resaved", 0, 0),
    0.24: ("denied", None, 23),
    0.34: ("expired", None, 47),
    0.44: ("broken off", 0, 8),
    0.50: ("halved", 0, 7),
    0.62: ("broken off", None, 23),
}
BROKEN_OFF = 0.44
COMMON = {"none": 78, "revised": 5, "left out": 3, "came back": 3, "away": 2, "html": 2, "yesterday": 3, "cut": 2,
          "denied": 1, "broken off": 1}  # fmt: skip


class Moods:
    """A source of three markets over so many `days`, whose first closes with candle OLD_DAYS, and what has happened."""

    def __init__(self, server: CddServer, *, days: int, seed: int) -> None:
        self.seed, self.days = seed, days
        self.chance = random.Random(f"moods {seed}")
        self.happened: Counter[str] = Counter()
        # Each season every series has another habit.
        self.season = max(min(days // 4, 50), 10)
        self.wick = OLD_DAYS + self.day_of(WICK_AT)
        walks = [random_walk(OLD_DAYS + days + 10, seed=self.chance.randrange(10**6)) for _ in SERIES]
        walks[1] = with_bad_print(walks[1], self.wick, "low", WICK)
        markets = [Market(server, *one) for one in zip(SERIES, walks, strict=True)]
        markets[2].begins = OLD_DAYS - YOUNG_DAYS
        self.source = FaultySource(server, markets)
        for market in markets:
            market.publish_day(OLD_DAYS - 1, Timetable(Habit.FIXED, seed=seed))

    def day_of(self, share: float) -> int:
        """Return on which of the days something happens that is placed by its share of a hundred days."""
        return round(share * min(self.days, 100))

    @property
    def wicks(self) -> dict[str, datetime]:
        """When the candle with a wick opens, by series."""
        return {SERIES[1]: self.source.markets[SERIES[1]].opened[self.wick]}

    def rare(self, number: int) -> tuple[str, int | None, int] | None:
        """Return the rare fault that begins on day `number`, if any."""
        return {self.day_of(share): fault for share, fault in RARE.items()}.get(number % min(self.days, 100))

    def publish(self, number: int) -> None:
        """Publish day `number`, from 0, of every series, with its faults."""
        day, rare = OLD_DAYS + number, self.rare(number)
        for place, series in enumerate(SERIES):
            fault, hours = ("none", 0) if number == 0 else (self._common(series, day), 0)
            if rare is not None and rare[1] in (None, place):
                fault, _, hours = rare
            self._publish(series, place, day, fault, hours)

    def _common(self, series: str, day: int) -> str:
        market = self.source.markets[series]
        fault = self.chance.choices(list(COMMON), list(COMMON.values()))[0]
        # A rare fault lasts for days, and no other one takes its place.
        return "none" if self.source.fault(series, market.closes[day] + DAY / 24) else fault

    def _publish(self, series: str, place: int, day: int, fault: str, hours: int) -> None:
        market, chance = self.source.markets[series], self.chance
        if fault == "revised":
            for _ in range(chance.randint(1, 3)):
                market.revise(chance.randrange(max(day - 30, market.begins), day), chance.uniform(-0.008, 0.008))
        elif fault == "left out":
            market.leave_out(day - chance.randint(0, 5))
        elif fault == "came back" and market.left_out:
            market.left_out.discard(chance.choice(sorted(market.left_out)))
        market.saves_again = market.saves_again or fault == "resaved"
        habits: Sequence[Habit] = list(Habit)
        habit = habits[(place * len(habits) // len(SERIES) + (day - OLD_DAYS) // self.season) % len(habits)]
        published = market.publish_day(day, Timetable(habit, seed=self.seed + place))
        if published and market.saves_again:
            market.saves_again = False
            self.happened["saved by a spreadsheet"] += 1
        if fault not in ("none", "revised", "left out", "came back", "resaved"):
            self.source.break_down(series, fault, market.closes[day], chance, hours=hours)
        self.happened[f"{fault} for days" if hours > 24 else fault] += 1
        self.happened[habit.name.lower()] += 1
