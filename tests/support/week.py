"""A week of three series in minutes: its time of day, its source, and what everything that a person can ask says."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from browser import Opened
from cdd_server import CddServer
from hooks import WebhookReceiver
from playwright.sync_api import Browser
from prefect_parts import BIN, environment, post
from processes import processes_of
from time_of_day import TimeOfDay
from waiting import DAY, market
from web_server import Web

PUNCTUAL, SLOW, GAPPY = SERIES = ("Bitstamp_BTCUSD_d", "Bitstamp_ETHUSD_d", "Bitstamp_LTCUSD_d")
MODELS = {"naive", "range-ewma"}
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
# The week begins on this Monday, at whose midnight the candle number FIRST closes; the later days count from there.
MIDNIGHT, FIRST = datetime(2027, 3, 1, tzinfo=UTC), 230
LONGEST = 30
# Days begin at 00:05 and give up 90 s later: a wait takes real time.
WAIT_HOURS = 6.5 / 60
# As long after its close as the source may take before the data is stale, while its usual time is not known.
NORMAL_DELAY = 12 * HOUR


class Week:
    """What the world is and does, and what must be said of it; `check` compares that with what is said."""

    def __init__(self, folder: Path, receiver: WebhookReceiver, browser: Browser) -> None:
        self.folder, self.receiver, self.browser = folder, receiver, browser
        self.clock = TimeOfDay(folder / "clock", MIDNIGHT + 10 * HOUR)
        self.source = CddServer()
        self.source.clock = self.clock
        self.markets = {
            name: market(self.source, name, n=FIRST + 1 + LONGEST, seed=seed, ends=MIDNIGHT + LONGEST * DAY)
            for seed, name in enumerate(SERIES)
        }
        self.settings = self.clock.environment | {
            "CANDLECAST_DATABASE_URL": f"sqlite:///{folder / 'candlecast.db'}",
            "CANDLECAST_SOURCE": self.source.url,
            "CANDLECAST_SERIES": ",".join(SERIES),
            "CANDLECAST_MODEL": "naive",
            "CANDLECAST_WAIT_HOURS": str(WAIT_HOURS),
            "CANDLECAST_POLL_INTERVAL_S": "3",
            "CANDLECAST_FETCH_INTERVAL_S": "0",
            "CANDLECAST_REPORTS": str(folder / "reports"),
            # A day takes a minute here, so that runs have to be planned and found within seconds.
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        self.env = environment(folder / "home", **self.settings)
        self.web = Web(self)
        self.started: list[subprocess.Popen[bytes]] = []
        self.api = ""
        # What must be said: the newest stored close of each series, the forecasts with the times of their publication
        # where they had to follow it within minutes, the series that are late, states of runs, and texts to people.
        self.newest: dict[str, datetime] = {}
        self.forecasts: dict[tuple[str, datetime], datetime | None] = {}
        self.late: set[str] = set()
        self.states: dict[str, Counter[str]] = {"daily": Counter(), "verify": Counter()}
        self.texts: list[str] = []
        self.checks = 0

    def environment(self) -> dict[str, str]:
        return self.env

    def __enter__(self) -> "Week":
        self.source.__enter__()
        self.web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.web.__exit__()
        self.kill_all()
        for process in self.started:
            process.wait(20)
        self.source.__exit__()

    # --- what happens ---------------------------------------------------------------------------------------------

    def close(self, day: int) -> datetime:
        """Return when the candle of `day` closes; day 0 is the first Monday."""
        return MIDNIGHT + day * DAY

    def publish(self, series: str, day: int, at: datetime) -> None:
        """Have the source publish, `at` a time, all candles up to that of `day`."""
        body = self.markets[series].file(FIRST + day + 1, partial=True)
        self.source.publish(series, body, at, last_modified=at)

    def must_store(self, series: str, day: int, *, published: datetime | None = None) -> None:
        """Note that the candle of `day` and its forecasts must be stored now, within minutes after `published`."""
        self.newest[series] = self.close(day)
        self.forecasts[series, self.close(day)] = published
        self.late.discard(series)

    def must_hear(self, *patterns: str) -> None:
        """Note that the webhook must have heard these, in any order, and wait until it has heard as much."""
        self.texts += patterns
        self.until(lambda: len(self.receiver.texts(wait_s=0)) >= len(self.texts), "the webhook hears")

    def until(self, holds: Callable[[], bool], what: str, wait_s: float = 240) -> None:
        deadline = time.monotonic() + wait_s
        while not holds():
            assert time.monotonic() < deadline, f"{what}: {self.clock()} {self.all_runs()}\n{self.logs()}"
            time.sleep(0.3)

    def logs(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in self.folder.rglob("*.log"))

    def kill_all(self) -> None:
        """Kill -9 every process of this installation but the web server, as when a machine loses power."""
        for pid, command in processes_of(self.folder).items():
            if " web " not in command:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    # --- what Prefect says ----------------------------------------------------------------------------------------

    def all_runs(self) -> dict[str, list[tuple[str, str, str]]]:
        with suppress(OSError, ValueError):
            return {
                flow: sorted((one["expected_start_time"], one["name"], one["state_name"]) for one in self.runs(flow))
                for flow in self.states
            }
        return {}

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """Return the runs of `flow` that should have begun by now."""
        runs: list[dict[str, Any]] = post(f"{self.api}/flow_runs/filter", flows={"name": {"any_": [flow]}})
        return [run for run in runs if datetime.fromisoformat(run["expected_start_time"]) <= self.clock()]

    def run_at(self, at: datetime, flow: str = "daily") -> dict[str, Any]:
        """Return the run that the schedule has planned for `at`."""
        (run,) = [run for run in self.runs(flow) if datetime.fromisoformat(run["expected_start_time"]) == at]
        return run

    def until_task(self, run: dict[str, Any], name: str, state: str) -> str:
        """Wait until the newest task run of this name in `run` has this state, and return its message."""
        asked = {"flow_runs": {"id": {"any_": [run["id"]]}}, "task_runs": {"name": {"any_": [name]}}}
        states: list[dict[str, Any]] = []

        def reached() -> bool:
            tasks = post(f"{self.api}/task_runs/filter", sort="EXPECTED_START_TIME_DESC", **asked)
            # The server may have recorded a task run and not yet its state.
            states[:] = [one["state"] for one in tasks if one["state"]]
            return bool(states) and states[0]["name"] == state

        self.until(reached, f"{name}: {state}")
        return str(states[0]["message"])

    def state_of(self, at: datetime, flow: str = "daily") -> str:
        return str(self.run_at(at, flow)["state_name"])

    def counted(self, flow: str) -> Counter[str]:
        """Return how many runs of `flow` are in each state."""
        return Counter(str(one["state_name"]) for one in self.runs(flow))

    def until_states(self, flow: str = "daily", **more: int) -> None:
        """Wait until so many more runs of `flow` are in these states, and no others are there."""
        self.states[flow].update(more)
        wanted = +self.states[flow]
        self.until(lambda: self.counted(flow) == wanted, f"{flow}: {dict(wanted)}")

    # --- what is said, compared with what must be -----------------------------------------------------------------

    @property
    def stale(self) -> set[str]:
        return {name for name, close in self.newest.items() if self.clock() > close + 2 * DAY + NORMAL_DELAY}

    @property
    def attention(self) -> dict[str, str | None]:
        """What needs a person, by series."""
        return {name: "late" if name in self.late else "stale" if name in self.stale else None for name in SERIES}

    def check(self) -> None:
        """Compare all that costs no process with what must be."""
        self.checks += 1
        self._http()
        self._metrics()
        self._webhook()
        self._database()
        if self.api:
            for flow, wanted in self.states.items():
                assert self.counted(flow) == +wanted, (flow, self.all_runs())

    def _rows(self, path: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.web.get(f"/api/v1/{path}").json()["rows"]
        return rows

    def _http(self) -> None:
        health = self.web.get("/healthz").json()
        wrong = {"stale": sorted(self.stale), "late": sorted(self.late)}
        assert {name: health[name] for name in wrong} == wrong, self.clock()
        assert health["status"] == ("degraded" if self.stale or self.late else "ok")
        series = {row["name"]: (row["last_close"], row["stale"]) for row in self._rows("series")}
        assert series == {name: (f"{at:%Y-%m-%dT%H:%M:%SZ}", name in self.stale) for name, at in self.newest.items()}
        at_a_glance = {row["series"]: row["attention"] for row in self._rows("glance")}
        assert at_a_glance == self.attention, self.clock()
        for row in self._rows("forecasts/latest"):
            newest = max(origin for name, origin in self.forecasts if name == row["series"])
            assert (row["model"], row["origin"]) == ("naive", f"{newest:%Y-%m-%dT%H:%M:%SZ}")
            assert row["before_close"] is True

    def _metrics(self) -> None:
        lines = re.findall(r"^(candlecast_\w+)\{(.*)\} (\S+)$", self.web.get("/metrics").text, re.MULTILINE)
        values = {(name, labels): float(value) for name, labels, value in lines}
        for series, close in self.newest.items():
            label = f'series="{series}"'
            assert values["candlecast_data_stale", label] == (series in self.stale)
            age_s = (self.clock() - close).total_seconds()
            assert 0 <= age_s - values["candlecast_data_age_seconds", label] < 20
            assert values["candlecast_candles", label] == FIRST + 1 + (close - MIDNIGHT) // DAY
            assert values["candlecast_forecast_before_close_seconds", f'model="naive",{label}'] > 0
        open_findings = {
            labels: value for (name, labels), value in values.items() if name == "candlecast_open_findings"
        }
        assert open_findings == {f'code="late",series="{name}",severity="warning"': 1 for name in self.late}

    def _webhook(self) -> None:
        """Everything was heard that must be, and nothing else."""
        heard = self.receiver.texts(wait_s=0)
        left = list(heard)
        for pattern in self.texts:
            matching = [text for text in left if re.fullmatch(pattern, text, re.DOTALL)]
            assert matching, (pattern, heard)
            left.remove(matching[0])
        assert left == [], (left, self.clock())

    def _database(self) -> None:
        """DESIGN's promises by SQL of its own: each forecast is there once, in time, and live only before the truth."""
        with closing(sqlite3.connect(f"file:{self.folder / 'candlecast.db'}?mode=ro", uri=True)) as conn:
            stored = conn.execute("SELECT series, model, origin, created_at FROM forecasts WHERE kind = 'live'")
            rows = [(name, model, _instant(origin), _instant(at)) for name, model, origin, at in stored]
            late = conn.execute("SELECT series FROM findings WHERE resolved_at IS NULL AND code = 'late'").fetchall()
            closes = conn.execute("SELECT series, open_time, close FROM current_candles").fetchall()
        wanted = [(name, model, origin) for name, origin in self.forecasts for model in MODELS]
        assert sorted(row[:3] for row in rows) == sorted(wanted)
        for name, model, origin, created_at in rows:
            assert created_at < origin + DAY, (name, model, origin, created_at)
            published = self.forecasts[name, origin]
            assert published is None or published <= created_at <= published + 5 * MINUTE, (name, origin, created_at)
        assert {name for (name,) in late} == self.late
        truth = {
            (name, f"{row.open_time:%Y-%m-%d %H:%M:%S}", row.close)
            for name, close in self.newest.items()
            for row in self.markets[name].candles.itertuples()
            if row.close_time <= close
        }
        assert {(name, at[:19], close) for name, at, close in closes} == truth

    def look(self) -> None:
        """Compare the page in a browser with what must be."""
        now = f"{self.clock():%Y-%m-%dT%H:%M:%SZ}"
        with Opened(self.browser, at=now) as opened:
            page = opened.open(self.web.url)
            lines = [line.inner_text() for line in page.locator("#glance-table tbody tr").all()]
            for name, what in self.attention.items():
                (line,) = [line for line in lines if line.startswith(name)]
                assert (f"⚠ {what}" in line) if what else ("⚠" not in line), line
            needing = sum(what is not None for what in self.attention.values())
            words = (
                f"{needing} of which need{'s' if needing == 1 else ''} a person." if needing else "None needs a person."
            )
            assert page.locator("#glance-count").inner_text().endswith(words)
            assert opened.troubles == []
        for name in SERIES:
            with Opened(self.browser, at=now) as opened:
                page = opened.open(f"{self.web.url}/#{name}")
                notice = page.locator("#notice")
                assert notice.is_visible() == (name in self.stale), (name, self.clock())
                if name in self.stale:
                    assert notice.inner_text().startswith("The data is stale: the newest stored close is that of ")
                assert opened.troubles == []

    def doctor(self) -> None:
        """Compare what `candlecast doctor` finds wrong with what must be."""
        done = subprocess.run(
            [str(BIN / "candlecast"), "doctor", "--json"], cwd=self.folder,
            env=self.env | ({"PREFECT_API_URL": self.api} if self.api else {}), capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
        checks = {one["check"]: one for one in json.loads(done.stdout)}
        wrong = {name for name, one in checks.items() if not one["ok"]}
        today = self.clock().replace(hour=0, minute=0, second=0, microsecond=0)
        overdue = {name for name, close in self.newest.items() if close < today and self.clock() > today + NORMAL_DELAY}
        assert wrong == {f"data of {name}" for name in self.stale} | {f"arrivals of {name}" for name in overdue}, checks
        assert done.returncode == (1 if wrong else 0)
        for name in overdue:
            assert "is late" in checks[f"arrivals of {name}"]["found"]
            assert "is the schedule running" in checks[f"arrivals of {name}"]["remedy"]
        if self.api:
            assert checks["prefect"]["found"] == self.api


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
