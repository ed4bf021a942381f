"""When a source publishes: how long after its close a candle is usually there, learned from the newest candles."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median, quantiles

from models.candles import Interval

# The newest candles that are learned from, and the fewest that tell anything.
COUNTED = 30
LEAST = 5
# A candle that was seen later than this many lengths after its close came with a history, not as news.
NEWS_WITHIN = 2
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Since when the source had a closed candle (its file's time, None where unknown), and since when we have it."""

    close_time: datetime
    published_at: datetime | None
    seen_at: datetime

    @property
    def delay(self) -> timedelta:
        """How long after its close the candle was there, as far as is known."""
        return (self.published_at or self.seen_at) - self.close_time


@dataclass(frozen=True, slots=True)
class UsualTime:
    """How long after its close a candle is published: eight of ten come between `earliest` and `latest`."""

    earliest: timedelta
    median: timedelta
    latest: timedelta
    n: int

    @property
    def spread(self) -> timedelta:
        """The length of the usual time."""
        return self.latest - self.earliest


@dataclass(frozen=True, slots=True)
class NewestView:
    """A candle as it was first seen after its close as the newest of a file, and whether these values were final."""

    close_time: datetime
    seen_at: datetime
    final: bool

    @property
    def delay(self) -> timedelta:
        """How long after its close it was seen."""
        return self.seen_at - self.close_time


def final_after(views: Iterable[NewestView], interval: Interval) -> timedelta | None:
    """Return how long after its close the newest candle of a new file is final, None where too little tells it.

    Of the newest COUNTED candles LEAST or more were final when they came, the earliest of them so long after its close,
    and the unfinished ones all came earlier. What a candle turned out to be counts, whether it was believed then or
    not: a source that was doubted is not doubted for ever, and one that was believed wrongly is doubted again.
    """
    news = sorted(views, key=lambda one: one.close_time)[-COUNTED:]
    unfinished = max((one.delay for one in news if not one.final), default=-DAY)
    delays = [one.delay for one in news if one.final and one.delay > unfinished]
    return min(delays) if len(delays) >= LEAST and min(delays) < max(interval.length, DAY) else None


def usual_time(arrivals: Iterable[Arrival], interval: Interval) -> UsualTime | None:
    """Return the usual time of the newest COUNTED arrivals, None where fewer than LEAST tell anything.

    Of candles that came together only the newest counts, and only if it was seen soon after its close: neither a
    history that is loaded in bulk nor a day that the source skipped says when it publishes.
    """
    together: dict[datetime, list[Arrival]] = {}
    for arrival in arrivals:
        together.setdefault(arrival.seen_at, []).append(arrival)
    news, soon, most = [], NEWS_WITHIN * interval.length, most_together(interval)
    for group in together.values():
        newest = max(group, key=lambda one: one.close_time)
        if newest.seen_at - newest.close_time <= soon and len(group) <= most:
            news.append(newest)
    news.sort(key=lambda one: one.close_time)
    news = news[-COUNTED:]
    if len(news) < LEAST:
        return None
    delays = [one.delay.total_seconds() for one in news]
    tenths = quantiles(delays, n=10, method="inclusive")
    earliest, middle, latest = (timedelta(seconds=round(value)) for value in (tenths[0], median(delays), tenths[-1]))
    return UsualTime(earliest, middle, latest, len(news))


def most_together(interval: Interval) -> int:
    """Return how many candles may come together as news: two days of them. More are a history."""
    return 2 * max(DAY // interval.length, 1)


def usual_words(usual: UsualTime | None, interval: Interval) -> str:
    """Return the usual time as people say it: a time of day for days, else how long after the close."""
    if usual is None:
        return "usual time of publication not known yet"
    if interval is Interval.DAY and usual.latest < DAY:
        first, last = (f"{_clock(delay)}" for delay in (usual.earliest, usual.latest))
        return f"usually published {first} UTC" if first == last else f"usually published {first} to {last} UTC"
    first, last = _length(usual.earliest), _length(usual.latest)
    return f"usually published {first if first == last else f'{first} to {last}'} after the close"


def _clock(delay: timedelta) -> str:
    minutes = round(delay.total_seconds() / 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _length(delay: timedelta) -> str:
    seconds = delay.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
