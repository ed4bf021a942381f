"""Requests many series from a source at once, each in its own thread, so a host that hangs delays only its series."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from queue import Empty, SimpleQueue

from sqlalchemy import Engine

from models.arrivals import UsualTime, usual_words
from models.candles import SeriesName
from models.times import RunClock
from models.waiting import after_the_wait, close_words, due_close, next_question
from storage import downloads
from storage.arrivals import read_usual_time
from storage.candles import latest_close_time
from storage.database.engine import reading
from storage.source.client import CddClient, Fetched
from storage.source.closing import DATED_FOR_US, made_at

# If the source of a series has not answered after this time, the series is forecast from the stored candles. The answer
# is still used when it comes.
QUICK = timedelta(seconds=20)


@dataclass(frozen=True)
class Answer:
    """What a source answered to one request; `ingest_series` takes it in place of the client.

    The file is on disk, so that an answer can be passed to another process.
    """

    source: str
    head: Fetched | None
    body: Path | None = None
    error: Exception | None = None

    def fetch(
        self,
        series: SeriesName,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        file_name: str | None = None,
    ) -> Fetched:
        """Return the downloaded file, or that it is unchanged; raises the error if the request failed."""
        if self.error is not None:
            raise self.error
        assert self.head is not None
        return replace(self.head, body=None if self.body is None else self.body.open("rb"))

    def close(self) -> None:
        """Delete the file."""
        if self.body is not None:
            self.body.unlink(missing_ok=True)


class Wait:
    """One series, the candle that is due, and the state of the wait for it."""

    def __init__(self, series: str, *, due: datetime, since: datetime, deadline: datetime | None) -> None:
        self.series, self.due, self.since, self.deadline = series, due, since, deadline
        self.interval = SeriesName.parse(series).interval
        self.usual: UsualTime | None = None
        self.answered = False
        self.late = False
        self.doubtful = False
        """Whether the last file was too new to show that its newest candle had closed; then it is fetched again."""
        self.over = threading.Event()
        """Set when the wait has ended: the candle is stored, or given up as late."""
        self._etag: str | None = None
        self._last_modified: str | None = None
        self._sha256: str | None = None
        self._doubted: tuple[str, datetime] | None = None
        self._failure: str | None = None
        self._ask_at = since
        self._asking = False

    @property
    def candle(self) -> str:
        """The name of the due candle for people, such as "the candle of Thu 2026-04-23"."""
        return close_words(self.due, self.interval)

    @property
    def words(self) -> str:
        """A sentence that says which candle the run waits for, since when, and when the source usually publishes."""
        until = "" if self.deadline is None else f", until {self.deadline:%H:%M} UTC at the latest"
        waiting = f"{self.series}: waiting since {self.since:%H:%M} UTC for {self.candle}{until}"
        return self.with_advice(f"{waiting}; {self.usual_words}") + (f"; {self._failure}" if self._failure else "")

    def with_advice(self, sentence: str) -> str:
        """Return `sentence`, with the advice what to do if the candle often comes after the wait has ended."""
        if self.deadline is None:
            return sentence
        advice = after_the_wait(self.usual, (self.deadline - self.due) / timedelta(hours=1))
        return f"{sentence}; {advice}" if advice else sentence

    @property
    def usual_words(self) -> str:
        """When the source usually publishes, in words."""
        return usual_words(self.usual, self.interval)


class Cause(Enum):
    """Why there is news of a series that the run waits for."""

    ANSWERED = "the source has answered: for the first time, with another file, or with another error"
    QUIET = "the source has not answered quickly"
    STORED = "another run has stored the candle"
    LATE = "the candle has not come in time"


@dataclass(frozen=True)
class News:
    """An event that the caller acts upon; `answer` is set only where the source has ANSWERED."""

    cause: Cause
    wait: Wait
    answer: Answer | None = None


class Desk:
    """Requests each series until its due candle is stored, and yields what happens. Use it as a context manager.

    Without `wait_hours` each series is requested once. Requests run in daemon threads, so a process that must stop does
    not wait for a source that hangs.
    """

    def __init__(
        self,
        engine: Engine,
        client: CddClient,
        *,
        series: list[str],
        clock: RunClock,
        poll_interval_s: float,
        wait_hours: float | None,
    ) -> None:
        self._engine, self._client, self._clock = engine, client, clock
        self._poll_interval_s = poll_interval_s
        self._answers: SimpleQueue[tuple[Wait, Answer]] = SimpleQueue()
        self._folder = tempfile.TemporaryDirectory(prefix="candlecast-", ignore_cleanup_errors=True)
        now = clock()
        self.waits = [self._wait(name, now, wait_hours) for name in dict.fromkeys(series)]

    def __enter__(self) -> "Desk":
        return self

    def __exit__(self, *_: object) -> None:
        for wait in self.waits:
            wait.over.set()
        self._folder.cleanup()

    @property
    def idle(self) -> bool:
        """Whether no answer is there that has not been handled yet."""
        return self._answers.empty()

    def news(self) -> Iterator[News]:
        """Yield what happens until each series' candle is stored or given up, or each series was requested once."""
        quiet_at = self._clock() + QUICK
        quiet = set(self.waits)
        for wait in self.waits:
            self._ask(wait)
        while waits := [wait for wait in self.waits if not wait.over.is_set()]:
            quiet &= {wait for wait in waits if not wait.answered}
            moments = [quiet_at] if quiet else []
            moments += [wait._ask_at for wait in waits if not wait._asking]
            moments += [wait.deadline for wait in waits if wait.deadline is not None and wait.answered]
            moment = min(moments, default=self._clock() + QUICK)
            came = self._next_answer(moment)
            if came is not None:
                yield from self._taken(*came)
                continue
            if quiet and moment == quiet_at:
                for wait in sorted(quiet, key=lambda one: one.series):
                    yield News(Cause.QUIET, wait)
                quiet = set()
            for wait in waits:
                yield from self._moved_on(wait, moment)

    def _wait(self, name: str, now: datetime, wait_hours: float | None) -> Wait:
        due = due_close(now, SeriesName.parse(name).interval)
        deadline = None if wait_hours is None else due + timedelta(hours=wait_hours)
        wait = Wait(name, due=due, since=now, deadline=deadline)
        with reading(self._engine) as conn:
            wait.usual = read_usual_time(conn, series=name)
            last = downloads.last_download(conn, series=name, file_name=f"{name}.csv")
        # If the last file's time was not used, the file is fetched again: by then a correct time is old enough to use.
        time_unused = last is not None and last.last_modified is not None and last.file_time is None
        if last is not None and last.outcome == "stored" and not time_unused:
            wait._etag, wait._last_modified, wait._sha256 = last.etag, last.last_modified, last.sha256
        return wait

    def _next_answer(self, until: datetime) -> tuple[Wait, Answer] | None:
        asking = any(wait._asking for wait in self.waits)
        try:
            return self._answers.get(timeout=self._clock.seconds_until(until, asking=asking))
        except Empty:
            return None

    def _ask(self, wait: Wait) -> None:
        wait._asking = True
        name, etag, last_modified = SeriesName.parse(wait.series), wait._etag, wait._last_modified

        def question() -> None:
            try:
                fetched = self._client.fetch(name, etag=etag, last_modified=last_modified)
                answer = Answer(self._client.source, replace(fetched, body=None), self._kept(fetched))
            except Exception as error:
                answer = Answer(self._client.source, None, error=error)
            self._answers.put((wait, answer))

        threading.Thread(target=question, name=f"ask-{wait.series}", daemon=True).start()

    def _kept(self, fetched: Fetched) -> Path | None:
        if fetched.body is None:
            return None
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as kept:
            shutil.copyfileobj(fetched.body, kept)
        fetched.close()
        return Path(kept.name)

    def _taken(self, wait: Wait, answer: Answer) -> Iterator[News]:
        wait._asking = False
        if wait.over.is_set():
            answer.close()
            return
        first, wait.answered = not wait.answered, True
        failure = None if answer.error is None else str(answer.error)
        # An unchanged file after an error counts too: the source works again.
        changed = failure != wait._failure
        if answer.head is not None:
            changed = self._is_new(wait, answer.head) or changed
        wait._failure = failure
        wait._ask_at = next_question(self._clock(), due=wait.due, usual=wait.usual, interval_s=self._poll_interval_s)
        self._doubt(wait, answer)
        if first or changed:
            yield News(Cause.ANSWERED, wait, answer)
        answer.close()
        # A run without a deadline, started by hand, requests each series once.
        if wait.deadline is None or self.is_stored(wait):
            wait.over.set()

    def _doubt(self, wait: Wait, answer: Answer) -> None:
        """Fetch a file again soon that was too new to tell whether its newest candle had closed (source/closing.py).

        A source that dates each copy sends the same file with another time. Then the file is not fetched again.
        """
        now, head = self._clock(), answer.head
        wait.doubtful = False
        if head is None or head.sha256 is None or head.file_time is None or head.file_time > now:
            return
        answered_at = head.answered_at or now
        if made_at(head.file_time, answered_at=answered_at, now=now) is not None:
            return
        before, wait._doubted = wait._doubted, (head.sha256, head.file_time)
        if before is not None and before[0] == head.sha256 and before[1] != head.file_time:
            return
        wait.doubtful = True
        wait._etag = wait._last_modified = wait._sha256 = None
        old_enough = head.file_time + DATED_FOR_US + timedelta(seconds=5) - answered_at
        wait._ask_at = now + max(old_enough, timedelta(seconds=1))

    def _is_new(self, wait: Wait, head: Fetched) -> bool:
        if head.sha256 is None:
            return False
        new = head.sha256 != wait._sha256
        wait._etag, wait._last_modified, wait._sha256 = head.etag, head.last_modified, head.sha256
        return new

    def _moved_on(self, wait: Wait, moment: datetime) -> Iterator[News]:
        """Request the series if that is due at `moment`, or give it up as late."""
        if wait.over.is_set():
            return
        if wait.deadline is not None and wait.answered and wait.deadline <= moment:
            wait.late = not self.is_stored(wait)
            yield News(Cause.LATE if wait.late else Cause.STORED, wait)
            wait.over.set()
        elif not wait._asking and wait._ask_at <= moment:
            if wait.answered and self.is_stored(wait):
                yield News(Cause.STORED, wait)
                wait.over.set()
            else:
                self._ask(wait)

    def is_stored(self, wait: Wait) -> bool:
        """Return whether the due candle is stored."""
        with reading(self._engine) as conn:
            latest = latest_close_time(conn, series=wait.series)
        return latest is not None and latest >= wait.due
