"""A source of several series with seeded faults, over hundreds of days; it knows what it has content and when."""

import random
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from cdd_server import CddServer, Reply, Request, tls_context
from certificates import self_signed
from resaved import saved_by_a_spreadsheet
from timetable import DAY, HOUR, MINUTE, Edition, Timetable
from waiting import Published

from models.frames import CandleFrame

# More candles left out at once, and a file would rightly be held for a person.
MOST_LEFT_OUT = 4
# How a download is recorded that such a fault spoils wholly.
RECORDED = {
    "away": "not_found",
    "html": "refused",
    "denied": "unavailable",
    "broken off": "unavailable",
    "expired": "refused",
    "halved": "held",
}
# Two files that follow each other more closely may be fetched as one.
APART = 30 * MINUTE


@dataclass(frozen=True)
class FileContent:
    """What a file tells: the closes, by open time, of the candles that it shows to be over, and when it was made.

    Only its date shows that the candle `by_date` is over, not a row that follows. `made_at` is None where the file has
    no date, or one in the future.
    """

    closes: dict[datetime, float]
    made_at: datetime | None
    by_date: datetime | None


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a series until some moment; the day's files are published after `since`."""

    kind: str
    since: datetime
    until: datetime


class Market(Published):
    """A published series whose past changes, and what its newest files show.

    While it `saves_again`, its files went through a spreadsheet.
    """

    def __init__(self, server: CddServer, series: str, candles: CandleFrame) -> None:
        super().__init__(server, series, candles)
        self.opened: list[datetime] = [moment.to_pydatetime() for moment in candles["open_time"]]
        self.saves_again = False
        self.files: list[tuple[datetime, FileContent]] = []

    def file(self, day: int, *, partial: bool = False, so_far: float = 0.0) -> bytes:
        """Return the file with the candles up to `day`, as `Published` does, or as a spreadsheet saves that one."""
        body = super().file(day, partial=partial, so_far=so_far)
        return saved_by_a_spreadsheet(body) if self.saves_again else body

    def revise(self, day: int, by: float) -> None:
        """Change a closed candle's close a little, as sources do."""
        row = self.candles.loc[day]
        close = row["close"] * (1 + by)
        self.candles.loc[day, ["high", "low", "close"]] = [max(row["high"], close), min(row["low"], close), close]

    def leave_out(self, day: int) -> None:
        """Leave a candle out of the files that follow, or bring one back where that would be too many."""
        if len(self.left_out) < MOST_LEFT_OUT:
            self.left_out.add(day)
        else:
            self.left_out.remove(min(self.left_out))

    def publish_day(self, day: int, timetable: Timetable) -> list[Edition]:
        """Publish the files of `day` and keep what they show; what is older than the newest files is forgotten."""
        editions = super().publish_day(day, timetable)
        self.files = [*self.files[-3:], *((edition.at, self._content(day, edition)) for edition in editions)]
        files = self.server.published[f"/cdd/{self.series}.csv"]
        del files[: -len(self.files)]
        return editions

    def _content(self, day: int, edition: Edition) -> FileContent:
        last = day + 1 if edition.followed and not edition.partial else day
        numbers = [number for number in range(self.begins, last + 1) if number not in self.left_out]
        closes = {self.opened[number]: float(self.candles["close"].iat[number]) for number in numbers}
        made_at = edition.last_modified if edition.last_modified == edition.at else None
        newest = self.opened[numbers[-1]]
        is_over = made_at is not None and newest + DAY <= made_at < newest + 2 * DAY
        if not is_over:
            del closes[newest]
        return FileContent(closes, made_at, newest if is_over else None)


class FaultySource:
    """Answers for its markets as its faults have it; the days' clock is the server's."""

    def __init__(self, server: CddServer, markets: list[Market]) -> None:
        self.server, self.markets = server, {market.series: market for market in markets}
        self.faults: dict[str, Fault] = {}
        server.answer = self._answer

    def use_tls(self, folder: Path) -> tuple[str, Path]:
        """Use TLS, with a certificate that has expired while a fault says so; returns the URL and whom to trust."""
        folders = folder / "valid", folder / "expired"
        for one in folders:
            one.mkdir()
        valid, expired = self_signed(folders[0], days=3650), self_signed(folders[1], days=0, name="expired")
        trusted = folder / "trusted.pem"
        trusted.write_bytes(valid[0].read_bytes() + expired[0].read_bytes())
        other = tls_context(*expired)

        def greet(connection: ssl.SSLSocket) -> None:
            now = self.server.clock()
            if any(self.fault(series, now) == "expired" for series in self.markets):
                connection.context = other

        return self.server.use_tls(*valid, greet=greet), trusted

    def break_down(self, series: str, kind: str, close: datetime, chance: random.Random, *, hours: int = 0) -> None:
        """Let a fault of `series` begin with the day that closed at `close`, and last some or so many `hours`."""
        times = [at for at, _ in self.markets[series].files]
        until = close + (hours or chance.choice([*range(1, 10), *range(13, 20)])) * HOUR
        until += timedelta(seconds=chance.randrange(3600))
        while any(abs(until - at) < APART for at in times):
            until += APART
        self.faults[series] = Fault(kind, close - 15 * MINUTE, until)

    def content(self, series: str, at: datetime) -> FileContent | None:
        """Return what the file of `series` contained at a moment; None where no file was to be had."""
        fault = self.fault(series, at)
        if fault in RECORDED:
            return None
        moment = self.faults[series].since if fault == "yesterday" else at
        content = [file for published, file in self.markets[series].files if published <= moment][-1]
        if fault != "cut":
            return content
        closes = {opened: close for opened, close in content.closes.items() if opened != content.by_date}
        return replace(content, closes=closes, made_at=None, by_date=None)

    def changes(self, series: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, FileContent]]:
        """Yield what the file contained at `start`, and at each moment before `end` at which it may have changed."""
        moments = [at for at, _ in self.markets[series].files]
        moments += [self.faults[series].until] if series in self.faults else []
        for moment in [start, *sorted(moment for moment in moments if start < moment < end)]:
            content = self.content(series, moment)
            if content is not None:
                yield moment, content

    def fault(self, series: str, at: datetime) -> str | None:
        """Return what is wrong with `series` at a moment."""
        fault = self.faults.get(series)
        return fault.kind if fault is not None and at < fault.until else None

    def _answer(self, request: Request) -> Reply | None:
        series = PurePosixPath(request.path.split("?")[0]).stem
        fault = self.fault(series, self.server.clock())
        if fault == "away":
            return Reply(404, b"<html>not found</html>")
        if fault == "html":
            return Reply(200, b"<html>maintenance</html>", {"Content-Type": "text/html"})
        if fault == "denied":
            return Reply(403, b"<html>forbidden</html>", {"Content-Type": "text/html"})
        if fault == "broken off":
            return Reply(drop=True)
        if fault == "halved":
            # Newest first: the older half is not there.
            lines = self.server.file(Request(request.path, {}, request.at)).body.splitlines(keepends=True)
            return Reply(200, b"".join(lines[: len(lines) // 2]), {"Content-Type": "text/csv"})
        if fault == "yesterday":
            return self.server.file(request, at=self.faults[series].since)
        if fault == "cut":
            whole = self.server.file(Request(request.path, {}, request.at))
            # Without a Date either, so that nothing shows when this answer was made.
            return Reply(200, whole.body[:-200] + b"12,", {"Content-Type": "text/csv", "Date": ""})
        return None
