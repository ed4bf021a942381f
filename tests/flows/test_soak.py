"""Hundreds of simulated days in one run, with seeded faults; support/truth.py checks DESIGN's promises by SQL.

Each day waits for the candles of several series under a real Prefect server. A local server plays CryptoDataDownload:
it publishes each series by a habit that changes with the season (support/timetable.py), and it revises, leaves out, is
away and answers nonsense. Some days are killed in the middle and go on, some are not run at all. The seed is printed;
CANDLECAST_TEST_SEED=N repeats one.
"""

import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cdd_server import CddServer
from faulty_source import FaultySource, Market
from processes import kill_session
from synthetic import random_walk
from timetable import MINUTE, Habit, Timetable
from truth import Truth
from waiting import SharedClock, live_day

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(5400)]

SERIES = ("Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d")
# `make soak` runs a thousand.
DAYS = int(os.environ.get("CANDLECAST_SOAK_DAYS", "200"))
# Each season every series has another habit.
SEASON = max(min(DAYS // 4, 50), 10)
FIRST = 420
KILLS, NOT_RUN = 12, max(DAYS // 50, 2)
# Once in so many days the work is done in child processes, as in a served day; each imports TensorFlow anew.
IN_CHILD = 60
SCRATCH_DAYS = 120


def resources() -> tuple[int, int]:
    """Open file handles and resident kilobytes of this process."""
    status = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return len(list(Path("/proc/self/fd").iterdir())), int(status.split()[0])


def test_days_with_faults_break_no_promise(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from storage.database.engine import open_database
    from tasks.steps.replay import replay

    seed = int(os.environ.get("CANDLECAST_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: CANDLECAST_TEST_SEED={seed} repeats this")
    chance = random.Random(seed)
    database, clock_file = installation / "candlecast.db", installation / "clock"
    kills = set(chance.sample(range(FIRST + 1, FIRST + DAYS), KILLS))
    not_run = set(chance.sample(range(FIRST + 1, FIRST + DAYS), NOT_RUN))
    happened: Counter[str] = Counter()
    grew: list[tuple[int, int, int, int]] = []
    began = time.monotonic()
    # Nobody watches for signs of life here, and each run would wait up to a second for their thread.
    with CddServer() as server, temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        for name, value in {
            "SOURCE": server.url, "FETCH_INTERVAL_S": "0", "MODEL": "lstm", "FINE_TUNE_DAYS": "0",
            "SCRATCH_DAYS": str(SCRATCH_DAYS), "SKILL_DAYS": "90", "KEEP_WEIGHTS": "2",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"CANDLECAST_{name}", value)
        walks = [random_walk(FIRST + DAYS + 10, seed=chance.randrange(10**6)) for _ in SERIES]
        source = FaultySource(server, [Market(server, *one) for one in zip(SERIES, walks, strict=True)])
        truth = Truth(database, source)
        for market in source.markets.values():
            market.publish_day(FIRST - 1, Timetable(Habit.FIXED, seed=seed))
        for day in range(FIRST, FIRST + DAYS):
            publish(source, day, chance, happened, seed=seed)
            server.requests.clear()
            if day in not_run:
                continue
            close = source.markets[SERIES[0]].closes[day]
            clock = SharedClock(clock_file, close + 5 * MINUTE)
            server.clock = clock
            late = {series for series in SERIES if truth.expect(series, start=clock(), close=close)}
            if day in kills:
                happened["killed"] += killed(clock_file, chance)
            happened["late"] += len(late)
            with in_this_process(database, monkeypatch, unless=(day - FIRST) % IN_CHILD == IN_CHILD // 2):
                assert run(clock) == late
            truth.check(clock(), late=late, first=day == FIRST, whole=day % 100 == 0)
            truth.skill_is_honest(SERIES[day % len(SERIES)])
            if (day - FIRST + 1) % (DAYS // 20) == 0:
                gc.collect()
                grew.append((day - FIRST + 1, *resources(), database.stat().st_size))
                seconds = f"{time.monotonic() - began:.0f} s ({time.process_time():.0f} s of CPU time here)"
                print(f"{grew[-1][0]} days, {seconds}: {grew[-1][1:]} {dict(happened)}", flush=True)
    print(f"{dict(happened)}, {dict(truth.counted)}")
    assert set().union(*map(truth.skill_is_honest, SERIES)) == {"live", "late", "backfill"}
    # Most candles come at the usual time, where the bound is the closer one.
    assert truth.counted["at the usual time"] > truth.counted["at another time"]
    with closing(sqlite3.connect(database)) as conn:
        kept = conn.execute(
            "SELECT f.id FROM forecasts f JOIN model_versions v ON v.id = f.model_version "
            "WHERE v.weights IS NOT NULL OR v.weights_sha256 IS NULL"
        ).fetchall()
    engine = open_database(f"sqlite:///{database}")
    for (number,) in chance.sample(kept, 20):
        assert replay(engine, forecast=number).exact
    engine.dispose()
    is_bounded(grew)


def publish(source: FaultySource, day: int, chance: random.Random, happened: Counter[str], *, seed: int) -> None:
    """Publish a day of every series, with faults."""
    season = (day - FIRST) // SEASON
    away = day > FIRST and chance.random() < 0.01
    hours = 24 * chance.randint(1, 3) - 1
    for number, (series, market) in enumerate(source.markets.items()):
        fault = "none" if day == FIRST else chance.choices(
            ["none", "revised", "left out", "came back", "away", "html", "yesterday", "cut"],
            [80, 5, 3, 3, 2, 2, 3, 2],
        )[0]  # fmt: skip
        if fault == "revised":
            for _ in range(chance.randint(1, 3)):
                market.revise(chance.randrange(max(day - 30, 0), day), chance.uniform(-0.008, 0.008))
        elif fault == "left out":
            market.leave_out(day - chance.randint(0, 5))
        elif fault == "came back" and market.left_out:
            market.left_out.discard(chance.choice(sorted(market.left_out)))
        habits = list(Habit)
        habit = habits[(number * len(habits) // len(SERIES) + season) % len(habits)]
        market.publish_day(day, Timetable(habit, seed=seed + number))
        close = market.closes[day]
        if away or fault in ("away", "html", "yesterday", "cut"):
            source.break_down(series, "away" if away else fault, close, chance, hours=hours if away else 0)
        happened["away for days" if away else fault] += 1
        happened[habit.name.lower()] += 1


@contextmanager
def in_this_process(database: Path, monkeypatch: pytest.MonkeyPatch, *, unless: bool) -> Iterator[None]:
    """Let a day that waits work in this process, where TensorFlow is imported once, and not in children (`unless`)."""
    from storage.database.engine import open_database
    from tasks.steps.elsewhere import InThisProcess

    engine = open_database(f"sqlite:///{database}")
    with monkeypatch.context() as patch:
        if not unless:
            patch.setattr("flows.daily.InChild", lambda _url: InThisProcess(engine))
        yield
    engine.dispose()


def run(clock: SharedClock) -> set[str]:
    """Run a day to its end; returns the series that are late, which fail its run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    from flows.daily import DailyFailed

    failure = ""
    try:
        live_day(clock, *SERIES)
    except DailyFailed as error:
        failure = str(error)
    late = set(re.findall(r"(\S+): late: ", failure))
    assert bool(late) == bool(failure), failure
    with get_client(sync_client=True) as client:
        (newest,) = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["a-day"])), sort=FlowRunSort.START_TIME_DESC, limit=1
        )
    assert newest.state is not None
    assert newest.state.name == ("Failed" if late else "Completed")
    return late


def killed(clock_file: Path, chance: random.Random) -> int:
    """Begin the day in a separate process and kill it; returns 1 if it had not ended yet."""
    from prefect.settings import PREFECT_API_URL

    tests = Path(__file__).parents[1]
    program = (
        "import pathlib, flows.daily; from waiting import SharedClock, live_day; print('ready', flush=True); "
        f"live_day(SharedClock(pathlib.Path({str(clock_file)!r})), *{SERIES!r})"
    )
    path = os.pathsep.join([str(tests.parent), str(tests / "support")])
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env=os.environ | {"PYTHONPATH": path, "PREFECT_API_URL": PREFECT_API_URL.value()},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    # Most of the day's work is done in a child of that process, which starts in a second or two.
    time.sleep(chance.uniform(0, 4))
    alive = process.poll() is None
    kill_session(process)
    process.stdout.close()
    return int(alive)


def is_bounded(grew: list[tuple[int, int, int, int]]) -> None:
    """Handles stay, memory does but for the history itself, and the database grows evenly.

    From after the second training on, where the run is so long: each takes more memory than the one before, the second
    by far the most.
    """
    later = (row for row in grew[:-1] if row[0] > SCRATCH_DAYS)
    settled, last = next(later, grew[len(grew) // 4]), grew[-1]
    years = (last[0] - settled[0]) / 365 * len(SERIES)
    print(f"handles {settled[1]} -> {last[1]}, memory {settled[2]:,} -> {last[2]:,} kB, "
          f"{(last[3] - settled[3]) / years:,.0f} bytes a series-year")  # fmt: skip
    assert last[1] <= settled[1] + 5
    assert last[2] <= settled[2] * 1.25
    assert (last[3] - settled[3]) / years < 20e6
