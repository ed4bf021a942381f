"""An installation that runs as processes against one Prefect server, and the tables of an undisturbed run."""

import random
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markets import write_csv
from prefect_parts import BIN, PrefectServer
from processes import kill_session
from sqlalchemy import create_engine, text
from synthetic import random_walk

SERIES = "Bitstamp_BTCUSD_d"
DAILY = ["daily"]
BACKFILL = ["backfill", SERIES, "--start", "2016-06-01", "--end", "2016-11-30"]

# The contents of an installation without the columns that differ between any two runs: row numbers, times, run ids.
TABLES = {
    "candles": "SELECT open_time, open, high, low, close, volume_base, volume_quote, provisional FROM candles",
    "quarantine": "SELECT line_number, raw_text, reason FROM quarantine",
    "versions": "SELECT model, purpose, cutoff, seed, data_fingerprint, weights_sha256 FROM model_versions",
    "decisions": "SELECT m.model, p.outcome FROM promotions p JOIN model_versions m ON m.id = p.model_version",
    "forecasts": "SELECT f.model, f.kind, f.origin, f.data_fingerprint, v.step, v.quantile, v.value "
    "FROM forecasts f JOIN forecast_values v ON v.forecast = f.id",
    "scores": "SELECT f.model, f.kind, f.origin, s.step, s.actual, s.crps, s.pit FROM scores s "
    "JOIN forecasts f ON f.id = s.forecast",
}


class Installation:
    """A database and a source; commands run as separate processes against one Prefect server."""

    def __init__(self, server: PrefectServer, folder: Path, url: str | None = None) -> None:
        self.folder, self.server = folder, server
        self.url = url or f"sqlite:///{folder / 'candlecast.db'}"
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "source", SERIES, random_walk(720, seed=3))
        self.settings = {
            "CANDLECAST_DATABASE_URL": self.url,
            "CANDLECAST_SOURCE": str(folder / "source"),
            "CANDLECAST_SERIES": SERIES,
            "CANDLECAST_MODEL": "lstm",
            "CANDLECAST_SKILL_DAYS": "90",
            # Its market ends years ago: a deployed day that waits gives today's candle up at once.
            "CANDLECAST_WAIT_HOURS": "0",
            "CANDLECAST_REPORTS": str(folder / "reports"),
        }

    def start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(BIN / "candlecast"), *command], cwd=self.folder, env=self.server.env | self.settings, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def run(self, command: Sequence[str]) -> float:
        """Run a command, which must succeed; returns the seconds from the beginning of its flow."""
        offset = self.log_size()
        process = self.start(command)
        began = self.wait_for_flow(process, offset)
        code = process.wait(300)
        assert code == 0, f"ended with {code}: {self.log()[-4000:]}"
        return time.monotonic() - began

    def wait_for_flow(self, process: "subprocess.Popen[bytes]", offset: int) -> float:
        """Wait until the flow of a command begins and return that moment; before it there are only imports."""
        while "Beginning flow run" not in self.log()[offset:] and process.poll() is None:
            time.sleep(0.02)
        return time.monotonic()

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def log_size(self) -> int:
        return len(self.log())

    def kill_at_random(self, command: Sequence[str], chance: random.Random, lasts: float) -> None:
        """Kill -9 a run of `command` at a random moment; repeat it if it had ended before."""
        for _ in range(5):
            offset = self.log_size()
            process = self.start(command)
            self.wait_for_flow(process, offset)
            time.sleep(chance.uniform(0, lasts))
            alive = process.poll() is None
            kill_session(process)
            if alive:
                return
            # The machine may have been slower when `lasts` was measured.
            lasts /= 2
        raise AssertionError("no run lived long enough to be killed")

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        engine = create_engine(self.url)
        with engine.connect() as conn:
            rows_by_table = {
                name: sorted((tuple(row) for row in conn.execute(text(query))), key=repr)
                for name, query in TABLES.items()
            }
        engine.dispose()
        return rows_by_table


class Undisturbed:
    """The tables after one day and one backfill without a disturbance, and how long each lasts."""

    def __init__(self, server: PrefectServer, folder: Path) -> None:
        installation = Installation(server, folder)
        self.daily_s = installation.run(DAILY)
        self.after_day = installation.tables()
        self.backfill_s = installation.run(BACKFILL)
        self.after_all = installation.tables()


def assert_same(tables: dict[str, list[tuple[Any, ...]]], wanted: dict[str, list[tuple[Any, ...]]]) -> None:
    assert {name: len(rows) for name, rows in tables.items()} == {name: len(rows) for name, rows in wanted.items()}
    for name, rows in wanted.items():
        assert tables[name] == rows, name


def as_sqlite(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Return rows as text in which the drivers do not differ: zones of instants, whole floats, booleans."""

    def plain(value: Any) -> Any:
        if hasattr(value, "isoformat"):
            return value.isoformat(sep=" ").removesuffix("+00:00")
        if isinstance(value, str):
            return value.removesuffix(".000000")
        return float(value) if isinstance(value, (int, float)) else value

    return {
        name: sorted((tuple(plain(value) for value in row) for row in rows), key=repr) for name, rows in tables.items()
    }
