"""Days as they are deployed: real processes under a time of day that jumps while nothing runs.

`make week` goes on for seven days and looks at every hour.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from browser import chromium
from hooks import WebhookReceiver
from playwright.sync_api import Browser
from prefect_parts import BIN, PrefectServer, Worker, free_port
from week import DAY, GAPPY, HOUR, MINUTE, PUNCTUAL, SECOND, SERIES, SLOW, Week

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Days beyond those that have something to tell; `make week` has seven in all.
DAYS = int(os.environ.get("CANDLECAST_WEEK_DAYS", "0"))
# `make week` also looks at every hour.
EVERY = HOUR if DAYS else 3 * HOUR
READY = "daily from 00:05 UTC"
# A day begins five minutes after midnight; the clock jumps to a moment before.
BEGINS, BEFORE = 5 * MINUTE, 4 * MINUTE + 55 * SECOND
NIGHTLY = 3 * HOUR + 20 * MINUTE


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def week(tmp_path: Path, receiver: WebhookReceiver, browser: Browser) -> Iterator[Week]:
    with Week(tmp_path, receiver, browser) as one:
        yield one


def begin_day(week: Week, day: int, *published: str) -> None:
    """Let the source publish these soon after midnight and the day begin, up to its wait for SLOW."""
    close = week.close(day)
    for series in published:
        week.publish(series, day, close + 2 * MINUTE)
    week.clock.jump_to(close + BEFORE)
    week.until(lambda: week.clock() >= close + BEGINS and week.state_of(close + BEGINS) == "Running", "a day begins")
    run = week.run_at(close + BEGINS)
    week.until_task(run, f"wait-{SLOW}", "Running")
    # Their work is done while SLOW is waited for.
    for series in published:
        week.must_store(series, day, published=close + 2 * MINUTE)
        week.until_task(run, f"publish-{series}", "Completed")
    week.states["daily"]["Running"] += 1
    week.check()
    week.states["daily"]["Running"] -= 1


def end_day(week: Week, day: int) -> None:
    """Publish SLOW's candle while the day waits for it, and let the day end in good order."""
    run = week.run_at(week.close(day) + BEGINS)
    publish_now(week, SLOW, day)
    week.until_states(Completed=1)
    week.until_task(run, f"wait-{SLOW}", "Completed")
    week.check()


def publish_now(week: Week, series: str, day: int) -> None:
    published = week.clock()
    week.publish(series, day, published)
    week.must_store(series, day, published=published)


def ordinary_day(week: Week, day: int) -> None:
    begin_day(week, day, PUNCTUAL, GAPPY)
    end_day(week, day)


def day_without_a_candle(week: Week, day: int) -> None:
    """GAPPY is not published: the day fails, says so, and forecasts the others."""
    begin_day(week, day, PUNCTUAL)
    at = week.close(day) + BEGINS
    run = week.run_at(at)
    publish_now(week, SLOW, day)
    week.late.add(GAPPY)
    week.until_states(Failed=1)
    candle = f"the candle of {week.close(day - 1):%a %Y-%m-%d}"
    failed = f"{GAPPY}: late: {candle} has not been published in time"
    assert week.run_at(at)["state"]["message"] == f"Flow run encountered an exception: DailyFailed: {failed}"
    message = week.until_task(run, f"wait-{GAPPY}", "Failed")
    assert f"{candle} has not been published by {week.close(day):%Y-%m-%d} 00:06 UTC" in message
    week.until_task(run, f"wait-{SLOW}", "Completed")
    week.must_hear(
        re.escape(f"{GAPPY}: {candle} has not been published in time"),
        re.escape(f"daily run {run['name']} Failed: Flow run encountered an exception: DailyFailed: {failed}"),
    )
    week.check()


def hours(week: Week, day: int, *, until: timedelta = DAY, verification: str = "Completed") -> None:
    """Let the hours pass until midnight, and check at half past; the verification is due at 03:20."""
    close = week.close(day)
    moment = (week.clock() - close) // HOUR * HOUR + 30 * MINUTE
    while moment < until:
        if moment - EVERY < NIGHTLY <= moment:
            week.clock.jump_to(close + NIGHTLY - 5 * SECOND)
            week.until(lambda: week.clock() >= close + NIGHTLY, "the verification is due")
            week.until_states("verify", **{verification: 1})
            if verification == "Late":
                hear_of_no_worker(week, "verify", close + NIGHTLY)
        if week.clock() < close + moment:
            week.clock.jump_to(close + moment)
        week.check()
        moment += EVERY


def look_closely(week: Week) -> None:
    week.look()
    week.doctor()


class Served:
    """`candlecast serve` of the week."""

    def __init__(self, week: Week) -> None:
        self.week, self.port, self.log = week, free_port(), week.folder / "serve.log"
        self.log.touch()

    def start(self) -> None:
        ready = self.log.read_text().count(READY)
        command = [str(BIN / "candlecast"), "serve", "--port", str(self.port), "--notify", self.week.receiver.url]
        with self.log.open("ab") as out:
            process = subprocess.Popen(
                command, cwd=self.week.folder, env=self.week.env, stdout=out, stderr=out, start_new_session=True
            )
        self.week.started.append(process)
        self.week.until(lambda: self.log.read_text().count(READY) > ready, "serve starts")
        self.week.api = f"http://127.0.0.1:{self.port}/api"

    def first_day(self) -> None:
        """Jump to the day that runs a minute after the start, and wait until it has completed."""
        before = self.week.counted("daily")["Completed"]
        self.week.clock.jump_to(self.week.clock() + 55 * SECOND)
        self.week.until(lambda: self.week.counted("daily")["Completed"] > before, "the first day completes")

    def kill(self) -> None:
        self.week.kill_all()
        self.week.api = ""


def go_on(week: Week, *, from_day: int) -> None:
    """Go on with ordinary days to the last one of `make week`."""
    for day in range(from_day, DAYS + 1):
        hours(week, day - 1)
        ordinary_day(week, day)


def test_days_of_serve_are_told_truly_also_after_kill_9(week: Week) -> None:
    served = Served(week)
    for series in SERIES:
        week.publish(series, 0, week.close(0) + 2 * MINUTE)
    served.start()
    for series in SERIES:
        week.must_store(series, 0)
    served.first_day()
    week.until_states(Completed=1)
    week.check()
    look_closely(week)

    ordinary_day(week, 1)
    hours(week, 1)

    day_without_a_candle(week, 2)
    look_closely(week)
    hours(week, 2, until=14 * HOUR)
    look_closely(week)
    hours(week, 2)

    # Both candles of GAPPY come. Then the machine loses power, while the day waits for SLOW.
    begin_day(week, 3, PUNCTUAL, GAPPY)
    crashed = week.run_at(week.close(3) + BEGINS)["name"]
    served.kill()
    week.check()
    week.publish(SLOW, 3, week.clock())
    week.clock.jump_to(week.close(3) + 30 * MINUTE)
    served.start()
    served.first_day()
    week.must_store(SLOW, 3)
    # Prefect sees the crash when it starts or, where it begins to watch the run anew, after another 90 seconds. Only in
    # the second case is no run alive, so that the clock may jump: a crashed day is run again a minute later.
    if week.state_of(week.close(3) + BEGINS) != "Crashed":
        week.clock.jump_to(week.clock() + 90 * SECOND)
    week.must_hear(f"daily run {crashed} Crashed: no heartbeat any more: its process is gone")
    if week.counted("daily").total() == week.states["daily"].total() + 2:
        week.clock.jump_to(week.clock() + MINUTE)
    week.until_states(Crashed=1, Completed=2)
    week.check()
    look_closely(week)
    go_on(week, from_day=4)
    print(f"{week.checks} checks")


def test_days_of_a_deployment_are_told_truly_also_without_its_worker(week: Week) -> None:
    with PrefectServer(week.folder / "home", **week.settings) as server:
        week.api, week.env = server.url, server.env
        setup = subprocess.run(
            [str(BIN / "candlecast"), "setup", "--notify", week.receiver.url], cwd=week.folder, env=server.env,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert setup.returncode == 0, setup.stderr
        server.prefect("deploy", "--all")
        for series in SERIES:
            week.publish(series, 0, week.close(0) + 2 * MINUTE)
            week.must_store(series, 0)
        with Worker(server, "default", week.folder / "worker.log"):
            server.prefect("deployment", "run", "daily/scheduled")
            week.until_states(Completed=1)
            week.check()

            ordinary_day(week, 1)
            hours(week, 1)

            day_without_a_candle(week, 2)
            hours(week, 2)
        without_worker(week)
        with Worker(server, "default", week.folder / "worker.log"):
            for series in SERIES:
                week.must_store(series, 4)
            week.states["daily"]["Late"] = week.states["verify"]["Late"] = 0
            week.until_states("verify", Completed=2)
            week.until_states(Completed=2)
            week.check()
            look_closely(week)
            go_on(week, from_day=5)
    print(f"{week.checks} checks")


def without_worker(week: Week) -> None:
    """No worker runs on day 3 and until noon of day 4: runs are Late, people hear it, and the data becomes stale."""
    for day, until in ((3, DAY), (4, 13 * HOUR)):
        close = week.close(day)
        for series in SERIES:
            week.publish(series, day, close + 2 * MINUTE)
        week.clock.jump_to(close + BEFORE)
        week.until(lambda due=close + BEGINS: week.clock() > due, "the day should begin")
        week.until_states(Late=1)
        hear_of_no_worker(week, "daily", close + BEGINS)
        hours(week, day, until=until, verification="Late")
    look_closely(week)


def hear_of_no_worker(week: Week, flow: str, due: datetime) -> None:
    name = week.run_at(due, flow)["name"]
    week.clock.jump_to(due + 16 * MINUTE)
    week.must_hear(rf"{flow} run {name} Late: nobody has started it; is a worker running\?")
