"""A market whose source publishes each day at a given time, and a clock that jumps to the next event."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cdd_server import CddServer
from synthetic import random_walk
from timetable import Edition, Timetable

from models.candles import SeriesName
from models.frames import CandleFrame
from models.times import RunClock

DAY = timedelta(days=1)


class JumpingClock(RunClock):
    """A clock that stands still during a request and jumps to the next event while a run waits."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start, stands=True)
        self.at = start

    def __call__(self) -> datetime:
        return self.at

    def seconds_until(self, instant: datetime, *, asking: bool) -> float:
        if asking:
            return 60.0
        self.at = max(self.at, instant)
        return 0.0


class SharedClock(JumpingClock):
    """A jumping clock that keeps its time in a file; other processes see it, and a new clock continues from it."""

    def __init__(self, file: Path, start: datetime | None = None) -> None:
        self._file = file
        super().__init__(self.at if start is None else start)

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self._file.read_text())

    @at.setter
    def at(self, instant: datetime) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(instant.isoformat())
        new.replace(self._file)


def live_day(clock: RunClock, *series: str, wait: bool = True) -> None:
    """Run the daily flow's body by `clock`."""
    from prefect import flow

    from flows.daily import run_day
    from flows.settings import Settings
    from models.schedule import Mode

    @flow(name="a-day")
    def a_day() -> None:
        run_day(Settings(series=series), mode=Mode.AUTO, wait=wait, clock=clock)

    a_day()


def late_series(clock: RunClock, series: Sequence[str]) -> set[str]:
    """Run the daily flow's body as `live_day` does; return the series that were late, which is all that may fail."""
    from flows.daily import DailyFailed

    try:
        live_day(clock, *series)
    except DailyFailed as error:
        late = set(re.findall(r"(\S+): late: ", str(error)))
        if not late:
            raise
        return late
    return set()


class Published:
    """A series whose file of a day is published at a given time or by a timetable.

    Days are numbered from the first candle. A file's newest row is the day's closed candle or, with `partial`, the
    unfinished one; no file has the candles before day `begins` and those that are `left_out`.
    """

    def __init__(self, server: CddServer, series: str, candles: CandleFrame) -> None:
        self.server, self.series, self.candles = server, series, candles
        self.begins = 0
        self.left_out: set[int] = set()
        self.closes: list[datetime] = [moment.to_pydatetime() for moment in candles["close_time"]]

    def file(self, day: int, *, partial: bool = False, so_far: float = 0.0) -> bytes:
        """Return the file with the candles up to `day`; with `partial` the newest candle is unfinished.

        An unfinished candle's price has gone the share `so_far` of the way from its open to its close.
        """
        name = SeriesName.parse(self.series)
        lines = [f"unix,date,open,high,low,close,Volume {name.base},Volume {name.quote}"]
        for row in reversed(list(self.candles.iloc[self.begins : day + 1].itertuples())):
            if row.Index in self.left_out:
                continue
            prices = row.open, row.high, row.low, row.close
            if partial and row.Index == day:
                last = row.open + so_far * (row.close - row.open)
                prices = row.open, max(row.open, last), min(row.open, last), last
            lines.append(
                f"{int(row.open_time.timestamp())},,{','.join(map(repr, prices))},"
                f"{row.volume_base!r},{row.volume_base * prices[3]!r}"
            )
        return ("\n".join(lines) + "\n").encode()

    def publish(
        self,
        day: int,
        delay: timedelta,
        *,
        partial: bool = False,
        last_modified: Callable[[datetime], datetime | None] = lambda at: at,
    ) -> datetime:
        """Publish the file of `day` at `delay` after its close; return the time of publication."""
        at = self.closes[day] + delay
        self.server.publish(self.series, self.file(day, partial=partial), at, last_modified=last_modified(at))
        return at

    def publish_day(self, day: int, timetable: Timetable) -> list[Edition]:
        """Publish the files of `day` as `timetable` has them, and return when and how."""
        editions = timetable.editions(day, self.closes[day])
        for edition in editions:
            whole = self.file(day + 1, partial=True) if edition.followed else self.file(day)
            body = self.file(day, partial=True, so_far=0.5) if edition.partial else whole
            self.server.publish(
                self.series, body, edition.at, last_modified=edition.last_modified, dated_anew=edition.dated_anew
            )
        return editions


def market(server: CddServer, series: str, *, n: int, seed: int = 1, ends: datetime) -> Published:
    """Return a series of `n` days, the last of which closes at `ends`."""
    return Published(server, series, random_walk(n, seed=seed, start=ends - n * DAY))


def today() -> datetime:
    """Return the last midnight, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
