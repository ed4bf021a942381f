"""A market whose source publishes each day at a given time, and a clock that jumps to the next event."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cdd_server import CddServer
from synthetic import random_walk

from models.frames import CandleFrame
from models.times import RunClock

DAY = timedelta(days=1)


class JumpingClock(RunClock):
    """A clock that stands still during a request, and jumps when there is nothing else to do."""

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


class Published:
    """A series whose file of each day comes out when `time` says: a length after the day's close, None for never.

    `day` numbers count from the first candle. The file ends with the day's closed candle, or with `partial` rows that
    are not over yet.
    """

    def __init__(self, server: CddServer, series: str, candles: CandleFrame) -> None:
        self.server, self.series, self.candles = server, series, candles
        self.closes: list[datetime] = [moment.to_pydatetime() for moment in candles["close_time"]]

    def file(self, day: int, *, partial: bool = False) -> bytes:
        """The file with the candles up to `day`; `partial` replaces the newest by what is known before its end."""
        lines = ["unix,date,open,high,low,close,Volume BTC,Volume USD"]
        for row in reversed(list(self.candles.iloc[: day + 1].itertuples())):
            closing = (row.open, row.open, row.open, row.open) if partial and row.Index == day else None
            prices = closing or (row.open, row.high, row.low, row.close)
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
        """Publish the file of `day` that long after its close; returns the time of publication."""
        at = self.closes[day] + delay
        self.server.publish(self.series, self.file(day, partial=partial), at, last_modified=last_modified(at))
        return at


def market(server: CddServer, series: str, *, n: int, seed: int = 1, ends: datetime) -> Published:
    """A series of `n` days, the last of which closes at `ends`."""
    return Published(server, series, random_walk(n, seed=seed, start=ends - n * DAY))


def today() -> datetime:
    """The last midnight, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
