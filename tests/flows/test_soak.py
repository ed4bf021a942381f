"""Hundreds of simulated days in one run, with seeded faults; what DESIGN promises is checked by SQL of its own.

The real daily flow under a real Prefect server reads a local server that plays CryptoDataDownload, which revises,
leaves out, repeats, is away and answers nonsense; some days are killed in the middle and run again. The seed is
printed; CANDLECAST_TEST_SEED=N repeats one.
"""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cdd_server import CddServer, Reply
from processes import kill_session
from synthetic import random_walk

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(2400)]

SERIES = "Bitstamp_BTCUSD_d"
# `make soak` runs a thousand.
DAYS = int(os.environ.get("CANDLECAST_SOAK_DAYS", "400"))
FIRST = 420
KILLS = 12
SCRATCH_DAYS = 180
DAY = timedelta(days=1)
STEPS, LEVELS = 7, 23


class Market:
    """What is true, and the file that the source makes of it each day."""

    def __init__(self, chance: random.Random) -> None:
        walk = random_walk(FIRST + DAYS + 10, seed=chance.randrange(10**6))
        names = ["open", "high", "low", "close", "volume_base"]
        self.opened = [moment.to_pydatetime() for moment in walk["open_time"]]
        self.rows = walk[names].to_numpy().tolist()
        self.left_out: set[int] = set()

    def now(self, day: int) -> datetime:
        """Twenty minutes after candle `day` has closed."""
        return self.opened[day] + DAY + timedelta(minutes=20)

    def revise(self, day: int, by: float) -> None:
        """Change a closed candle's close a little, as sources do."""
        row = self.rows[day]
        row[3] *= 1 + by
        row[1], row[2] = max(row[1], row[3]), min(row[2], row[3])

    def file(self, day: int) -> bytes:
        """The file at the end of candle `day`: newest first, one more candle that is not over yet."""
        lines = ["https://www.CryptoDataDownload.com", "unix,date,open,high,low,close,Volume BTC,Volume USD"]
        for number in range(day + 1, -1, -1):
            if number in self.left_out:
                continue
            opened, _high, _low, close, volume = self.rows[number]
            prices = self.rows[number][:4] if number <= day else [opened] * 4
            unix = int(self.opened[number].timestamp())
            lines.append(f"{unix},,{','.join(map(repr, prices))},{volume!r},{volume * close!r}")
        return ("\n".join(lines) + "\n").encode()


class Truth:
    """What has to be in the database, kept beside it, and the questions that tell."""

    def __init__(self, path: Path, market: Market) -> None:
        self.path, self.market = path, market
        self.closes: dict[str, float] = {}
        self.forecasts: dict[int, tuple[object, ...]] = {}

    def taken(self, day: int) -> None:
        """The file of `day` was stored."""
        for number in range(day + 1):
            if number not in self.market.left_out:
                self.closes[f"{self.market.opened[number]:%Y-%m-%d %H:%M:%S}"] = self.market.rows[number][3]

    def check(self, now: datetime, *, whole: bool) -> None:
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as conn:
            self._candles(conn, now)
            self._forecasts(conn, now, whole)
            self._scores(conn)
        conn.close()

    def _candles(self, conn: sqlite3.Connection, now: datetime) -> None:
        newest = dict(
            conn.execute(
                "SELECT open_time, close FROM candles c WHERE NOT provisional AND fetched_at = (SELECT max(fetched_at) "
                "FROM candles n WHERE n.series = c.series AND n.open_time = c.open_time AND NOT n.provisional)"
            )
        )
        # Nothing is lost, nothing made up, and the newest revision is what the source last said.
        assert newest == self.closes
        ((early,),) = conn.execute(
            "SELECT count(*) FROM candles WHERE NOT provisional AND close_time > ?", [f"{now:%Y-%m-%d %H:%M:%S}"]
        )
        assert early == 0

    def _forecasts(self, conn: sqlite3.Connection, now: datetime, whole: bool) -> None:
        rows = conn.execute(
            "SELECT f.id, f.model, f.kind, f.origin, f.created_at, f.data_fingerprint, v.cutoff FROM forecasts f "
            "JOIN model_versions v ON v.id = f.model_version"
        ).fetchall()
        keys = Counter(row[1:4] for row in rows)
        assert max(keys.values(), default=1) == 1
        # No model has seen what comes after its origin.
        assert [row for row in rows if row[6] is not None and row[6] > row[3]] == []
        # Every model that serves, is compared with or was asked for has spoken from the newest close.
        ((origin,),) = conn.execute("SELECT max(close_time) FROM candles WHERE NOT provisional")
        spoken = {row[1] for row in rows if row[2] == "live" and row[3] == origin}
        ((champion,),) = conn.execute(
            "SELECT v.model FROM promotions p JOIN model_versions v ON v.id = p.model_version "
            "WHERE p.outcome <> 'kept' ORDER BY p.id DESC LIMIT 1"
        )
        assert spoken >= {"naive", "range-ewma", "lstm", champion}
        # What was said is never changed and never lost.
        found = {row[0]: row[1:6] for row in rows}
        assert self.forecasts.items() <= found.items()
        new = [number for number in found if number not in self.forecasts]
        self.forecasts = found
        chosen = "1" if whole else f"forecast IN ({','.join(map(str, new)) or 'NULL'})"
        wrong = conn.execute(
            f"SELECT forecast FROM forecast_values WHERE {chosen} GROUP BY forecast "
            f"HAVING count(*) <> {STEPS * LEVELS} OR min(value) <= 0"
        ).fetchall()
        assert wrong == []
        ((counted,),) = conn.execute(f"SELECT count(DISTINCT forecast) FROM forecast_values WHERE {chosen}")
        assert counted == (len(found) if whole else len(new))

    def _scores(self, conn: sqlite3.Connection) -> None:
        # A score's truth is a closed candle's revision, and every step whose candle is there has one.
        ((wrong,),) = conn.execute(
            "SELECT count(*) FROM scores s WHERE NOT EXISTS (SELECT 1 FROM candles c JOIN forecast_values v "
            "ON v.forecast = s.forecast AND v.step = s.step AND v.quantile = 0.5 WHERE c.open_time = v.target_time "
            "AND c.fetched_at = s.truth_fetched_at AND c.close = s.actual AND NOT c.provisional) AND s.scored_at = "
            "(SELECT max(scored_at) FROM scores)"
        )
        assert wrong == 0
        ((missing,),) = conn.execute(
            "SELECT count(*) FROM forecast_values v JOIN forecasts f ON f.id = v.forecast WHERE v.quantile = 0.5 "
            "AND f.id > (SELECT max(id) FROM forecasts) - 60 "
            "AND EXISTS (SELECT 1 FROM candles c WHERE c.open_time = v.target_time AND NOT c.provisional) "
            "AND NOT EXISTS (SELECT 1 FROM scores s WHERE s.forecast = v.forecast AND s.step = v.step)"
        )
        assert missing == 0

    def skill_is_honest(self) -> None:
        """The view's means are those of the scores, live and backfill apart."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as conn:
            view = conn.execute("SELECT model, kind, step, n, crps FROM model_skill").fetchall()
            rows = conn.execute(
                "SELECT f.model, f.kind, s.step, f.origin, s.crps FROM scores s JOIN forecasts f ON f.id = s.forecast "
                "WHERE s.truth_fetched_at = (SELECT max(truth_fetched_at) FROM scores t WHERE t.forecast = s.forecast "
                "AND t.step = s.step)"
            ).fetchall()
        conn.close()
        naive = {row[1:4] for row in rows if row[0] == "naive"}
        means: dict[tuple[object, ...], list[float]] = {}
        for model, kind, step, origin, crps in rows:
            if (kind, step, origin) in naive:
                means.setdefault((model, kind, step), []).append(crps)
        assert {row[:3]: row[3] for row in view} == {key: len(values) for key, values in means.items()}
        for model, kind, step, _n, crps in view:
            values = means[model, kind, step]
            assert crps == pytest.approx(sum(values) / len(values))


def resources() -> tuple[int, int]:
    """Open file handles and resident kilobytes of this process."""
    status = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return len(list(Path("/proc/self/fd").iterdir())), int(status.split()[0])


def test_days_with_faults_break_no_promise(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from flows.daily import DailyFailed, daily
    from storage.database.engine import open_database
    from tasks.steps.replay import replay

    seed = int(os.environ.get("CANDLECAST_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}: CANDLECAST_TEST_SEED={seed} repeats this")
    chance = random.Random(seed)
    market = Market(chance)
    database = installation / "candlecast.db"
    truth = Truth(database, market)
    kills = set(chance.sample(range(FIRST + 1, FIRST + DAYS), KILLS))
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
        day, away = FIRST, 0
        while day < FIRST + DAYS:
            now = market.now(day)
            fault = "none" if day == FIRST else chance.choices(
                ["none", "revised", "left out", "came back", "away", "html", "yesterday", "cut"],
                [80, 5, 3, 3, 2, 2, 3, 2],
            )[0]  # fmt: skip
            if fault == "away":
                away = chance.randint(1, 3)
            if away:
                fault, away = "away", away - 1
            if fault == "revised":
                for _ in range(chance.randint(1, 3)):
                    market.revise(chance.randrange(max(day - 30, 0), day), chance.uniform(-0.008, 0.008))
            elif fault == "left out":
                market.left_out.add(day - chance.randint(0, 5))
            elif fault == "came back" and market.left_out:
                market.left_out.discard(chance.choice(sorted(market.left_out)))
            served = day - 1 if fault == "yesterday" else day
            server.put(SERIES, market.file(served))
            server.last_modified = format_datetime(market.now(served), usegmt=True)
            reply = {
                "away": Reply(404, b"<html>not found</html>"),
                "html": Reply(200, b"<html>maintenance</html>", {"Content-Type": "text/html"}),
                "cut": Reply(200, market.file(day)[:-400] + b"12,", {"Content-Type": "text/csv"}),
            }.get(fault)
            server.answer = lambda request, reply=reply: reply
            happened[fault] += 1
            if day in kills:
                happened["killed"] += _killed(now, chance)
            try:
                daily(series=[SERIES], now=now)
            except DailyFailed:
                assert fault in ("away", "html", "cut")
            else:
                assert fault not in ("away", "html")
                if fault == "yesterday":
                    happened["unchanged"] += 1
                truth.taken(served)
            truth.check(now, whole=day % 100 == 0)
            if (day - FIRST + 1) % (DAYS // 20) == 0:
                gc.collect()
                grew.append((day - FIRST + 1, *resources(), database.stat().st_size))
                print(
                    f"{grew[-1][0]} days, {time.monotonic() - began:.0f} s: {grew[-1][1:]} {dict(happened)}", flush=True
                )
            day += 1
    truth.skill_is_honest()
    engine = open_database(f"sqlite:///{database}")
    with sqlite3.connect(database) as conn:
        kept = conn.execute(
            "SELECT f.id FROM forecasts f JOIN model_versions v ON v.id = f.model_version "
            "WHERE v.weights IS NOT NULL OR v.weights_sha256 IS NULL"
        ).fetchall()
    conn.close()
    for (number,) in chance.sample(kept, 20):
        assert replay(engine, forecast=number).exact
    engine.dispose()
    _is_bounded(grew)


def _killed(now: datetime, chance: random.Random) -> int:
    """Begin the day in a process of its own and kill it; returns 1 if it was still at it."""
    from prefect.settings import PREFECT_API_URL

    program = (
        f"import datetime; from flows.daily import daily; print('ready', flush=True); "
        f"daily(series=[{SERIES!r}], now=datetime.datetime.fromisoformat({now.isoformat()!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PREFECT_API_URL": PREFECT_API_URL.value()},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(chance.uniform(0, 0.8))
    alive = process.poll() is None
    kill_session(process)
    process.stdout.close()
    return int(alive)


def _is_bounded(grew: list[tuple[int, int, int, int]]) -> None:
    """Handles stay, memory does but for the history itself, and the database grows evenly.

    From after the second training on, where the run is so long: each takes more memory than the one before, the second
    by far the most.
    """
    later = (row for row in grew[:-1] if row[0] > SCRATCH_DAYS)
    settled, last = next(later, grew[len(grew) // 4]), grew[-1]
    years = (last[0] - settled[0]) / 365
    print(f"handles {settled[1]} -> {last[1]}, memory {settled[2]:,} -> {last[2]:,} kB, "
          f"{(last[3] - settled[3]) / years:,.0f} bytes a series-year")  # fmt: skip
    assert last[1] <= settled[1] + 5
    assert last[2] <= settled[2] * 1.25
    assert (last[3] - settled[3]) / years < 20e6
