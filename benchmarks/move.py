"""Measures a copy to PostgreSQL and back: python benchmarks/move.py --url URL [--years N] [--series N]

It makes an installation with the project's own writers: in each daily series a live forecast a day of four models, a
score for every step that has closed, and a training a week with half a megabyte of weights, of which the newest 20 are
kept. `candlecast copy` then copies it from SQLite into the empty PostgreSQL database at URL, and from there into a new
SQLite file, each in a new process.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import Engine
from tabulate import tabulate

from models.catalog import scope
from models.forecasts import QUANTILE_LEVELS, Forecast, Kind
from storage import decisions, registry
from storage.database.engine import make_engine, open_database
from storage.forecasts import insert_forecasts
from storage.source.client import CddClient
from tasks.steps.ingest import ingest_series
from tasks.steps.score import score_matured

MODELS = ("naive", "range-ewma", "lstm", "blend")
STEPS = 7
WEIGHTS_BYTES = 500_000
KEEP_WEIGHTS = 20
NOW = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)
NEWEST = NOW.replace(minute=0)
DAY = timedelta(days=1)

# The command, and at its end a line with the most memory it had. Its ru_maxrss would include ours from before the exec.
COMMAND = """
import atexit, pathlib, sys
from candlecast.cli import main

def print_peak():
    print(*(l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l), file=sys.stderr)

atexit.register(print_peak)
main()
"""


def write_series(folder: Path, number: int, days: int) -> tuple[str, np.ndarray]:
    """Write a random walk of `days` closed days in CDD's format; returns its name and its closes."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(number).normal(0, 0.03, days + 1)))
    name = f"Bench_{chr(65 + number) * 3}USD_d"
    lines = ["unix,open,high,low,close,Volume BASE,Volume USD"]
    for day, price in enumerate(close):
        unix = int((NEWEST - (days - day) * DAY).timestamp())
        lines.append(f"{unix},{price},{price * 1.02},{price * 0.98},{price},10,{10 * price}")
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return name, close[:-1]


def fill(engine: Engine, folder: Path, number: int, days: int) -> None:
    """Store `days` days of one series: candles, trainings, forecasts, a promotion and scores."""
    series, closes = write_series(folder, number, days)
    ingest_series(engine, series=series, client=CddClient(str(folder)), now=NOW)
    origins = [NEWEST - (days - 1 - day) * DAY for day in range(days)]
    spread = np.linspace(-0.1, 0.1, len(QUANTILE_LEVELS)) * np.sqrt(np.arange(1, STEPS + 1))[:, None]
    chance = np.random.default_rng(number)
    for model in MODELS:
        trained, who = model in ("lstm", "blend"), scope(model, series)
        for week in range(0, days, 7):
            with engine.begin() as conn:
                if week == 0 or trained:
                    version = registry.register(
                        conn, scope=who, model=model, config={}, seed=0, cutoff=origins[week] if trained else None,
                        data_fingerprint="0" * 64, device="cpu", seconds=1.0, purpose="live", code_version="benchmark",
                        created_at=origins[week], weights=chance.bytes(WEIGHTS_BYTES) if trained else None,
                    )  # fmt: skip
                for day in range(week, min(week + 7, days)):
                    forecast = Forecast(origins[day], closes[day] * np.exp(spread + chance.normal(0, 0.001)), "0" * 64)
                    insert_forecasts(
                        conn, series=series, model=model, model_version=version, kind=Kind.LIVE, forecasts=[forecast],
                        created_at=origins[day] + timedelta(minutes=20),
                    )  # fmt: skip
                registry.prune_weights(conn, scope=who, model=model, keep=KEEP_WEIGHTS)
    with engine.begin() as conn:
        decisions.promote(conn, version=version, series=series, reason="benchmark", decided_at=NOW)
    score_matured(engine, series=series, now=NOW)


def copied(source: str, target: str) -> dict[str, object]:
    """Copy by the command; returns the rows, its time, its CPU time (without the server's) and its memory."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "copy", "--to", target, "--json"],
        env=os.environ | {"CANDLECAST_DATABASE_URL": source}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    rows = sum(table["rows"] for table in json.loads(done.stdout))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows": rows, "s": seconds, "rows/s": rows / seconds, "CPU-s": cpu, "rows/CPU-s": rows / cpu,
        "peak MB": int(done.stderr.split()[-2]) / 1024, "MB": size(target),
    }  # fmt: skip


def size(url: str) -> float:
    """Return the size of a database in MB."""
    engine = make_engine(url)
    with engine.connect() as conn:
        if engine.dialect.name == "postgresql":
            size_bytes = conn.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        else:
            pages, page = (conn.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
            size_bytes = pages * page
    engine.dispose()
    return float(size_bytes / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="URL of an empty PostgreSQL database")
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--series", type=int, default=4)
    chosen = parser.parse_args()
    days = round(chosen.years * 365.25)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = f"sqlite:///{folder / 'first.db'}", f"sqlite:///{folder / 'second.db'}"
        engine = open_database(first)
        began = time.perf_counter()
        for number in range(chosen.series):
            fill(engine, folder, number, days)
        engine.dispose()
        print(
            f"{chosen.series} series, {days} days, {len(MODELS)} models, {os.cpu_count()} cores; SQLite "
            f"{size(first):,.0f} MB, filled in {time.perf_counter() - began:.0f} s"
        )
        table = [
            {"copy": "SQLite to PostgreSQL"} | copied(first, chosen.url),
            {"copy": "PostgreSQL to SQLite"} | copied(chosen.url, second),
        ]
    print(tabulate(table, headers="keys", floatfmt=",.0f", tablefmt="github"))


if __name__ == "__main__":
    main()
