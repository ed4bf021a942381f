"""Hundreds of simulated days in one run, with seeded faults; the test checks DESIGN's promises with its own SQL.

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
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cdd_server import CddServer
from faulty_source import FaultySource, Market
from processes import kill_session
from synthetic import random_walk
from timetable import DAY, HOUR, MINUTE, Habit, Timetable
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
STEPS, LEVELS = 7, 23
POLL = 5 * MINUTE
# For the work itself, and for a file that is fetched again because it was too new to tell anything.
LITTLE = 2 * MINUTE
WAIT = 12 * HOUR


def instant(text: str) -> datetime:
    """The moment that a column of SQLite holds as text."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Truth:
    """What the database has to hold, kept outside it, and the SQL that compares."""

    def __init__(self, path: Path, source: FaultySource) -> None:
        self.path, self.source = path, source
        self.closes: dict[str, dict[datetime, float]] = defaultdict(dict)
        self.forecasts: dict[int, tuple[object, ...]] = {}
        self.last = 0
        # When the candle was there, of the newest arrivals, as lengths after its close.
        self.delays: dict[str, list[timedelta]] = defaultdict(list)
        self.spoken: set[tuple[str, datetime]] = set()
        # Today's: the candles that are new with the moments at which they could be had, and the forecasts that are due.
        self.arrived: dict[tuple[str, datetime], tuple[datetime, datetime | None, timedelta]] = {}
        self.due: dict[tuple[str, datetime], tuple[datetime, timedelta]] = {}
        self.counted: Counter[str] = Counter()

    def expect(self, series: str, *, start: datetime, close: datetime) -> bool:
        """Note what the day that begins at `start` has to store of `series`; returns whether its candle is late."""
        closes = self.closes[series]
        for moment, file in self.source.changes(series, start, close + WAIT):
            new = [opened for opened in file.closes if opened not in closes]
            closes.update(file.closes)
            newest = max(closes) + DAY
            within = self._within(series, moment - close, at_once=moment == start)
            for opened in new:
                self.arrived[series, opened] = moment, file.made_at, within
            if newest - DAY in new and moment > start:
                self.delays[series].append((file.made_at or moment) - newest)
            if (series, newest) not in self.spoken:
                self.spoken.add((series, newest))
                self.due[series, newest] = moment, within
            if newest >= close:
                return False
        return True

    def _within(self, series: str, delay: timedelta, *, at_once: bool) -> timedelta:
        """Within which time a change has to be noticed: questions are dense around the usual time, else sparse."""
        newest = self.delays[series][-30:]
        # Five of the newest thirty candles came no later than this, give or take, and five no earlier.
        sooner = sum(other <= delay + 20 * MINUTE for other in newest)
        later = sum(other >= delay - 20 * MINUTE for other in newest)
        usual = min(sooner, later) >= 5
        self.counted["at once" if at_once else "at the usual time" if usual else "at another time"] += 1
        return LITTLE + (timedelta(0) if at_once else POLL if usual else 3 * POLL)

    def check(self, now: datetime, *, late: set[str], first: bool, whole: bool) -> None:
        """Check what is stored after a day that ended at `now`."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as conn:
            for series in SERIES:
                self._candles(conn, series, now)
            self._arrivals(conn)
            self._forecasts(conn, whole)
            self._live_forecasts(conn, first)
            self._scores(conn)
            rows = conn.execute("SELECT series FROM findings WHERE code = 'late' AND resolved_at IS NULL")
            assert {series for (series,) in rows} == late
        self.arrived, self.due = {}, {}

    def _candles(self, conn: sqlite3.Connection, series: str, now: datetime) -> None:
        newest = dict(
            conn.execute(
                "SELECT open_time, close FROM candles c WHERE NOT provisional AND series = ? AND fetched_at = "
                "(SELECT max(fetched_at) FROM candles n WHERE n.series = c.series AND n.open_time = c.open_time "
                "AND NOT n.provisional)",
                [series],
            )
        )
        # Nothing is lost, nothing made up, and the newest revision is that of the source's newest file.
        assert newest == {f"{opened:%Y-%m-%d %H:%M:%S}": close for opened, close in self.closes[series].items()}
        ((early,),) = conn.execute(
            "SELECT count(*) FROM candles WHERE NOT provisional AND close_time > ?", [f"{now:%Y-%m-%d %H:%M:%S}"]
        )
        assert early == 0

    def _arrivals(self, conn: sqlite3.Connection) -> None:
        """Each candle was seen soon after it could be had, and its time of publication is that of the honest file."""
        for (series, opened), (moment, made_at, within) in self.arrived.items():
            ((published, seen),) = conn.execute(
                "SELECT published_at, seen_at FROM arrivals WHERE series = ? AND close_time = ?",
                [series, f"{opened + DAY:%Y-%m-%d %H:%M:%S}"],
            )
            assert moment <= instant(seen) <= moment + within, (series, opened, moment, seen)
            # A file that was a minute old at most may have been dated for us, so its time tells nothing.
            expected = made_at if made_at is not None and instant(seen) - made_at >= MINUTE else None
            assert (published and instant(published)) == expected, (series, opened, seen)
        rows = conn.execute(
            "SELECT count(*) FROM candles c WHERE NOT provisional AND fetched_at = (SELECT min(fetched_at) FROM "
            "candles n WHERE n.series = c.series AND n.open_time = c.open_time AND NOT n.provisional)"
        )
        assert rows.fetchone() == (sum(map(len, self.closes.values())),)

    def _forecasts(self, conn: sqlite3.Connection, whole: bool) -> None:
        rows = conn.execute(
            "SELECT f.id, f.series, f.model, f.kind, f.origin, f.created_at, f.data_fingerprint, v.cutoff "
            "FROM forecasts f JOIN model_versions v ON v.id = f.model_version"
        ).fetchall()
        keys = Counter(row[1:5] for row in rows)
        assert max(keys.values(), default=1) == 1
        # No model has seen what comes after its origin.
        assert [row for row in rows if row[7] is not None and row[7] > row[4]] == []
        # Every model that serves, is compared with or was asked for has spoken from the newest close.
        for series in SERIES:
            origin = f"{max(self.closes[series]) + DAY:%Y-%m-%d %H:%M:%S}"
            spoken = {row[2] for row in rows if row[1] == series and row[3] == "live" and row[4] == origin}
            ((champion,),) = conn.execute(
                "SELECT v.model FROM promotions p JOIN model_versions v ON v.id = p.model_version "
                "WHERE p.series = ? AND p.outcome <> 'kept' ORDER BY p.id DESC LIMIT 1",
                [series],
            )
            # A version that has learnt from a later candle of another market does not forecast this close.
            ((trained,),) = conn.execute(
                "SELECT count(*) FROM model_versions WHERE model = 'lstm' AND purpose = 'live' AND cutoff <= ?",
                [origin],
            )
            assert spoken >= {"naive", "range-ewma", champion} | ({"lstm"} if trained else set())
        # What is stored is never changed and never lost.
        stored = {row[0]: row[1:7] for row in rows}
        assert self.forecasts.items() <= stored.items()
        new = [number for number in stored if number not in self.forecasts]
        self.forecasts = stored
        chosen = "1" if whole else f"forecast IN ({','.join(map(str, new)) or 'NULL'})"
        wrong = conn.execute(
            f"SELECT forecast FROM forecast_values WHERE {chosen} GROUP BY forecast "
            f"HAVING count(*) <> {STEPS * LEVELS} OR min(value) <= 0"
        ).fetchall()
        assert wrong == []
        ((counted,),) = conn.execute(f"SELECT count(DISTINCT forecast) FROM forecast_values WHERE {chosen}")
        assert counted == (len(stored) if whole else len(new))

    def _live_forecasts(self, conn: sqlite3.Connection, first: bool) -> None:
        """Each forecast that is due was stored soon after its candle could be had, and the view tells late steps."""
        rows = conn.execute(
            "SELECT id, series, model, origin, created_at FROM forecasts WHERE kind = 'live' AND id > ?", [self.last]
        ).fetchall()
        assert {(series, instant(origin)) for _, series, _, origin, _ in rows} == set(self.due)
        for _, series, model, origin, created in rows:
            moment, within = self.due[series, instant(origin)]
            # A model's first training begins when no series waits any more.
            if not (first and model == "lstm"):
                assert moment <= instant(created) <= moment + within, (series, model, origin, moment, created)
        steps = conn.execute(
            "SELECT origin, created_at, step, target_time, before_close FROM forecast_bands WHERE kind = 'live' AND "
            "forecast_id > ?",
            [self.last],
        ).fetchall()
        assert len(steps) == STEPS * len(rows)
        for origin, created, step, target, before_close in steps:
            assert instant(target) == instant(origin) + (step - 1) * DAY
            assert bool(before_close) == (instant(created) < instant(origin) + step * DAY)
            self.counted["before its close" if before_close else "after its close"] += 1
        self.last = max(self.forecasts)

    def _scores(self, conn: sqlite3.Connection) -> None:
        # A score's truth is a closed candle's revision, and every step whose candle is there has one.
        ((wrong,),) = conn.execute(
            "SELECT count(*) FROM scores s WHERE NOT EXISTS (SELECT 1 FROM candles c JOIN forecasts f ON f.series = "
            "c.series JOIN forecast_values v ON v.forecast = f.id AND v.step = s.step AND v.quantile = 0.5 WHERE "
            "f.id = s.forecast AND c.open_time = v.target_time AND c.fetched_at = s.truth_fetched_at "
            "AND c.close = s.actual AND NOT c.provisional) AND s.scored_at = (SELECT max(scored_at) FROM scores)"
        )
        assert wrong == 0
        ((missing,),) = conn.execute(
            "SELECT count(*) FROM forecast_values v JOIN forecasts f ON f.id = v.forecast WHERE v.quantile = 0.5 "
            "AND f.id > (SELECT max(id) FROM forecasts) - 60 AND EXISTS (SELECT 1 FROM candles c WHERE c.series = "
            "f.series AND c.open_time = v.target_time AND NOT c.provisional) "
            "AND NOT EXISTS (SELECT 1 FROM scores s WHERE s.forecast = v.forecast AND s.step = v.step)"
        )
        assert missing == 0

    def skill_is_honest(self, series: str) -> set[str]:
        """Check that the view's means are those of the scores, with live, late and backfill apart; returns its kinds.

        A step of a live forecast is live only if it was stored before its candle closed.
        """
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as conn:
            view = conn.execute(
                "SELECT model, kind, step, n, crps FROM model_skill WHERE series = ?", [series]
            ).fetchall()
            rows = conn.execute(
                "SELECT f.model, f.kind, s.step, f.origin, f.created_at, s.crps FROM scores s JOIN forecasts f ON "
                "f.id = s.forecast WHERE f.series = ? AND s.truth_fetched_at = (SELECT max(truth_fetched_at) FROM "
                "scores t WHERE t.forecast = s.forecast AND t.step = s.step)",
                [series],
            ).fetchall()
        naive = {row[1:4] for row in rows if row[0] == "naive"}
        means: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for model, kind, step, origin, created, crps in rows:
            if (kind, step, origin) in naive:
                is_late = kind == "live" and instant(created) >= instant(origin) + step * DAY
                means[model, "late" if is_late else kind, step].append(crps)
        assert {row[:3]: row[3] for row in view} == {key: len(values) for key, values in means.items()}
        for model, kind, step, _n, crps in view:
            values = means[model, kind, step]
            assert crps == pytest.approx(sum(values) / len(values))
        return {kind for _, kind, *_ in view}


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
