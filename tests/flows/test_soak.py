"""Many simulated days in one run, of a source with moods and of a machine with company.

Each day waits for the candles of three series under a real Prefect server. A local server plays CryptoDataDownload over
TLS, in the moods of support/moods.py. Some days are killed in a named state and go on, some are not run at all, some
are run twice at once (support/other_runs.py). A proxy is set that nobody listens at, and another user reads all the
time. After each day SQL checks DESIGN's promises (support/truth.py, support/messages.py). `make soak` runs more days,
from a random seed that is printed; CANDLECAST_TEST_SEED=N repeats one.
"""

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from agreed_clock import AgreedClock
from cdd_server import CddServer
from messages import Messages
from moods import BROKEN_OFF, OLD_DAYS, SERIES, Moods
from other_runs import RESTS, STATES, other_run, reaches
from prefect_parts import free_port
from processes import kill_session
from reader import Reader
from timetable import MINUTE, Habit
from truth import Truth
from waiting import SharedClock, late_series

# Both are read here, because an installation of the tests begins with none of these variables. `make soak` runs a
# thousand days from a random seed. A few days must be the same ones each time: a mood may come too rarely by chance.
SOAK_DAYS = os.environ.get("CANDLECAST_SOAK_DAYS")
DAYS = int(SOAK_DAYS or 50)
SEED = int(os.environ.get("CANDLECAST_TEST_SEED") or (random.SystemRandom().randrange(10**6) if SOAK_DAYS else 7))
# A day takes nine seconds on two cores, and more beside other work.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600 + 20 * DAYS)]
NOT_RUN, TWICE = max(DAYS // 50, 2), max(DAYS // 100, 2)
# Once in so many days the work is done in child processes, as in a served day; each imports TensorFlow anew.
IN_CHILD = 60
# Once in so many days the charts are drawn.
DRAWN = 5
SCRATCH_DAYS = min(120, DAYS * 3 // 5)


def test_days_with_faults_break_no_promise(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"seed {SEED}: CANDLECAST_TEST_SEED={SEED} repeats this")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        # Readers of other users may open it, and write nothing in it.
        folder.chmod(0o755)
        server = stack.enter_context(CddServer())
        soak = Soak(folder, server, SEED)
        url, trusted = soak.moods.source.use_tls(installation)
        prepare(monkeypatch, url, trusted, soak.url)
        stack.enter_context(no_heartbeats())
        for number in range(DAYS):
            if soak.day(number, monkeypatch) and soak.reader is None:
                soak.reader = stack.enter_context(Reader(soak.url))
        soak.end()


def prepare(monkeypatch: pytest.MonkeyPatch, source: str, trusted: Path, database: str) -> None:
    """Set the environment of the days, in which a proxy is set that nobody listens at."""
    from candlecast.orchestrator.defaults import bypass_proxies_for_loopback

    for name, value in {
        "DATABASE_URL": database, "SOURCE": source, "CA_BUNDLE": str(trusted), "FETCH_INTERVAL_S": "0",
        "MODEL": "lstm", "FINE_TUNE_DAYS": "0", "SCRATCH_DAYS": str(SCRATCH_DAYS), "SKILL_DAYS": "90",
        "KEEP_WEIGHTS": "2", "LEARN_FROM": "none",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"CANDLECAST_{name}", value)
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
    # Set here first, so that they are as before when the test is over.
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    bypass_proxies_for_loopback()


@contextmanager
def no_heartbeats() -> Iterator[None]:
    """Let runs send no signs of life, which nobody watches for here: each would wait up to a second for their thread.

    Nor do their logs go to the server, which would work as much on them as on everything else.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


class Soak:
    """The days, one after the other."""

    def __init__(self, folder: Path, server: CddServer, seed: int) -> None:
        self.chance = random.Random(seed)
        self.server, self.moods = server, Moods(server, days=DAYS, seed=seed)
        self.database, self.clock_file = folder / "candlecast.db", folder / "clock"
        self.url = f"sqlite:///{self.database}"
        self.truth = Truth(self.database, self.moods.source, Messages(self.moods.source, self.moods.wicks))
        self.happened = self.moods.happened
        self.reader: Reader | None = None
        self.looks: dict[str, int] = {}
        self.grew: list[tuple[int, int, int, int]] = []
        self.began = time.monotonic()
        self.not_run, self.twice, self.kills = self._chosen()

    def _chosen(self) -> tuple[set[int], set[int], dict[int, str]]:
        """Choose the days that are not run and that are run twice, and those with a kill by the state that it hits.

        The first day trains, and where the source breaks off a request is sent again; the other states come every day.
        """
        fixed = {0: "train", self.moods.day_of(BROKEN_OFF): "asking again"}
        states = [state for state in STATES if state not in fixed.values()] * max(DAYS // 100, 1)
        # A rare fault is not to be missed, and a training is done by one run.
        usual = [day for day in range(DAYS) if day % SCRATCH_DAYS and day not in fixed and not self.moods.rare(day)]
        chosen = self.chance.sample(usual, NOT_RUN + TWICE + len(states))
        kills = dict(zip(chosen[NOT_RUN + TWICE :], states, strict=True))
        return set(chosen[:NOT_RUN]), set(chosen[NOT_RUN : NOT_RUN + TWICE]), fixed | kills

    def day(self, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
        """Live through a day and check it; returns whether it was run."""
        self.moods.publish(number)
        self.server.requests.clear()
        if number in self.not_run:
            self.happened["not run"] += 1
            return False
        close = self.moods.source.markets[SERIES[0]].closes[OLD_DAYS + number]
        clock = SharedClock(self.clock_file, close + 5 * MINUTE)
        self.server.clock = clock
        self.truth.messages.begin(clock())
        late = {series for series in SERIES if self.truth.expect(series, start=clock(), close=close)}
        if number in self.kills:
            self.kill(self.kills[number])
        self.happened["late"] += len(late)
        with in_this_process(
            self.database, monkeypatch, unless=number % IN_CHILD == IN_CHILD // 2, draws=number % DRAWN == 0
        ):
            if number in self.twice:
                self.two_at_once(clock(), late)
            else:
                assert late_series(clock, SERIES) == late
                self.states(late, 1)
        self.truth.check(clock(), late=late, first=number == 0, whole=number % 100 == 0)
        self.truth.skill_is_honest(SERIES[number % len(SERIES)])
        self.read()
        if (number + 1) % max(DAYS // 20, 1) == 0:
            self.measure(number + 1)
        return True

    def kill(self, state: str) -> None:
        """Begin the day in another process and kill it when it has reached a state."""
        from storage.database.engine import open_database
        from storage.database.locks import locked

        with ExitStack() as stack:
            if state == "another run works":
                engine = open_database(self.url)
                stack.callback(engine.dispose)
                stack.enter_context(locked(engine, f"daily-{SERIES[0]}"))
            process = other_run(SERIES, self.clock_file, "die", state)
            reached = reaches(process)
            # At a moment of the step's work; where the run rests, at once.
            time.sleep(0 if state in RESTS else self.chance.uniform(0, 2 if state == "train" else 0.4))
            alive = process.poll() is None
            kill_session(process)
            assert process.stdout is not None
            process.stdout.close()
        self.happened["killed"] += alive
        self.happened[f"killed: {state}"] += alive and reached

    def two_at_once(self, start: object, late: set[str]) -> None:
        """Run the day here and in another process at the same time; both wait by one clock."""
        import json

        self.clock_file.with_suffix(".wishes").unlink(missing_ok=True)
        process = other_run(SERIES, self.clock_file, "beside", "2")
        clock = AgreedClock(self.clock_file, "here", runs=2)
        try:
            assert late_series(clock, SERIES) == late
        finally:
            clock.leave()
        answer, errors = process.communicate(timeout=240)
        assert answer, errors[-4000:]
        assert set(json.loads(answer.splitlines()[-1])) == late
        self.states(late, 2)
        self.happened["two at once"] += 1

    def states(self, late: set[str], runs: int) -> None:
        """The newest runs ended as they did and their waits, too; what was killed is the only run without an end."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterId
        from prefect.client.schemas.sorting import FlowRunSort

        with get_client(sync_client=True) as client:
            newest = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["a-day"])), sort=FlowRunSort.START_TIME_DESC,
                limit=runs,
            )  # fmt: skip
            ids = FlowRunFilter(id=FlowRunFilterId(any_=[run.id for run in newest]))
            # The states of tasks come to the server as events, a moment later.
            until = time.monotonic() + 30
            while True:
                tasks = client.read_task_runs(flow_run_filter=ids)
                ended = {task.state and task.state.name for task in tasks} <= {"Completed", "Failed"}
                if ended or time.monotonic() > until:
                    break
                time.sleep(0.1)
        assert [run.state and run.state.name for run in newest] == ["Failed" if late else "Completed"] * runs
        waits = [task for task in tasks if task.name.startswith("wait-")]
        failed = {task.name.removeprefix("wait-") for task in waits if task.state and task.state.name == "Failed"}
        assert failed == late
        assert ended, [(task.name, task.state and task.state.name) for task in tasks]
        self.happened["waits"] += len(waits)

    def read(self) -> None:
        """The reader beside sees all that is stored."""
        if self.reader is None:
            return
        read = self.reader.look()
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as conn:
            counts = conn.execute("SELECT (SELECT count(*) FROM forecasts), (SELECT count(*) FROM scores)").fetchone()
            newest = conn.execute(
                "SELECT series, max(origin) FROM forecasts WHERE kind = 'live' GROUP BY series"
            ).fetchall()
        assert read["counts"] == list(counts)
        assert read["newest"] == dict(newest)
        self.looks = {name: read[name] for name in ("looks", "repeated")}

    def measure(self, days: int) -> None:
        """Note the resources of this process and the database, and say how far the days are."""
        import gc

        gc.collect()
        self.grew.append((days, *resources(), self.database.stat().st_size))
        seconds = f"{time.monotonic() - self.began:.0f} s ({time.process_time():.0f} s of CPU time here)"
        print(f"{days} days, {seconds}: {self.grew[-1][1:]} {dict(self.happened)} {self.looks}", flush=True)

    def end(self) -> None:
        """Check that everything has happened, and what can be checked once."""
        from storage.database.engine import open_database
        from tasks.steps.replay import replay

        happened, counted = self.happened, self.truth.counted
        print(f"{dict(happened)}, {dict(counted)}, {self.looks}")
        for name in (*(habit.name.lower() for habit in Habit), *(f"killed: {state}" for state in STATES)):
            assert happened[name], name
        for name in ("saved by a spreadsheet", "denied", "expired for days", "broken off", "halved", "two at once"):
            assert happened[name], name
        assert set().union(*map(self.truth.skill_is_honest, SERIES)) == {"live", "late", "backfill"}
        # Most candles come at the usual time, where the bound is the closer one.
        assert counted["at the usual time"] > counted["at another time"]
        with closing(sqlite3.connect(self.database)) as conn:
            kept = conn.execute(
                "SELECT f.id FROM forecasts f JOIN model_versions v ON v.id = f.model_version "
                "WHERE v.weights IS NOT NULL OR v.weights_sha256 IS NULL"
            ).fetchall()
        engine = open_database(self.url)
        for (number,) in self.chance.sample(kept, 20):
            assert replay(engine, forecast=number).exact
        engine.dispose()
        is_bounded(self.grew)


def resources() -> tuple[int, int]:
    """Open file handles and resident kilobytes of this process."""
    status = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return len(list(Path("/proc/self/fd").iterdir())), int(status.split()[0])


@contextmanager
def in_this_process(database: Path, monkeypatch: pytest.MonkeyPatch, *, unless: bool, draws: bool) -> Iterator[None]:
    """Let a day that waits work in this process, where TensorFlow is imported once, and not in children (`unless`).

    Its charts take a sixth of its time, so it `draws` only on some days. A second try follows the first at once.
    """
    from flows.sources import cdd_client
    from storage.database.engine import open_database
    from storage.source.client import CddClient
    from tasks.steps.elsewhere import InThisProcess

    def hasty_client(settings: object) -> CddClient:
        client: CddClient = cdd_client(settings)
        client._sleep = lambda _seconds: None
        return client

    engine = open_database(f"sqlite:///{database}")
    with monkeypatch.context() as patch:
        patch.setattr("flows.daily.cdd_client", hasty_client)
        if not unless:
            patch.setattr("flows.daily.InChild", lambda _url: InThisProcess(engine))
        if not draws:
            patch.setattr("flows.daily.publish_task", lambda *_args, **_kwargs: None)
        yield
    engine.dispose()


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
