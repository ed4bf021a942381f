"""What reading costs at 10 million quantile rows: python benchmarks/query.py [--rows N] [--url URL ...]

Fills an empty database with ten series, three models each, through the project's own writers, then asks each question
twenty times and shows the median, the rows, and how the database finds its way. SQLite in a temporary folder without
--url; a PostgreSQL database is named by --url and must be empty.
"""

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, Engine, func, select, text
from tabulate import tabulate

from models.candles import SeriesName
from models.catalog import scope
from models.forecasts import QUANTILE_LEVELS, Forecast, Kind
from storage import decisions, registry
from storage.database.engine import open_database
from storage.forecasts import insert_forecasts, read_bands
from storage.query import ForecastFilter
from storage.series import ensure_series
from storage.tables import forecast_values

SERIES = 10
MODELS = ("naive", "range-ewma", "blend")
LIVE_DAYS = 400
STEPS = 7
RUNS = 20
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ASKED = "Bench_CCCUSD_d"


def fill(engine: Engine, rows: int) -> None:
    """Store `rows` quantile rows: each series and model has a forecast a day, the newest of them live."""
    days = max(rows // (SERIES * len(MODELS) * STEPS * len(QUANTILE_LEVELS)), LIVE_DAYS + 400)
    spread = np.linspace(-0.1, 0.1, len(QUANTILE_LEVELS))
    for number in range(SERIES):
        name = f"Bench_{chr(65 + number) * 3}USD_d"
        closes = 100 * np.exp(np.cumsum(np.random.default_rng(number).normal(0, 0.03, days)))
        forecasts = [
            Forecast(
                NEWEST - (days - 1 - day) * DAY,
                closes[day] * np.exp(spread * np.sqrt(np.arange(1, STEPS + 1))[:, None]),
                "0" * 64,
            )
            for day in range(days)
        ]
        with engine.begin() as conn:
            ensure_series(conn, name=SeriesName.parse(name))
            for model in MODELS:
                version = registry.register(
                    conn, scope=scope(model, name), model=model, config={}, seed=0, cutoff=None,
                    data_fingerprint="0" * 64,
                    device="cpu", seconds=0.0, purpose="live", code_version="benchmark", created_at=NEWEST,
                    weights=None,
                )  # fmt: skip
                for kind, some in ((Kind.BACKFILL, forecasts[:-LIVE_DAYS]), (Kind.LIVE, forecasts[-LIVE_DAYS:])):
                    insert_forecasts(
                        conn, series=name, model=model, model_version=version, kind=kind, forecasts=some,
                        created_at=NEWEST,
                    )  # fmt: skip
            decisions.promote(conn, version=version, reason="benchmark", decided_at=NEWEST)
    with engine.begin() as conn:
        conn.execute(text("ANALYZE"))


QUESTIONS = {
    "latest forecast of one series": (5, "SELECT * FROM latest_forecasts WHERE series = :series", {}),
    "one year of one series, one model": (
        50,
        "SELECT * FROM forecast_bands WHERE series = :series AND model = 'blend' AND kind = 'backfill' "
        "AND origin >= :start AND origin < :end ORDER BY origin, step",
        {"start": NEWEST - 800 * DAY, "end": NEWEST - 435 * DAY},
    ),
    "one year of one series, three models": (
        None,
        "SELECT * FROM forecast_bands WHERE series = :series AND origin >= :start AND origin < :end",
        {"start": NEWEST - 800 * DAY, "end": NEWEST - 435 * DAY},
    ),
    "latest forecasts of all ten series": (None, "SELECT * FROM latest_forecasts", {}),
}


def bound(conn: Connection, query: str, values: dict[str, object]) -> dict[str, object]:
    given = {"series": ASKED} | values if ":series" in query else values
    # SQLite's times are text.
    text_of = lambda value: f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else value  # noqa: E731
    return {key: text_of(value) for key, value in given.items()} if conn.dialect.name == "sqlite" else given


def ask(conn: Connection, query: str, values: dict[str, object]) -> tuple[float, int]:
    given = bound(conn, query, values)
    times, rows = [], []
    for _ in range(RUNS):
        began = time.perf_counter()
        rows = conn.execute(text(query), given).all()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), len(rows)


def plan(conn: Connection, query: str, values: dict[str, object]) -> list[str]:
    """Return how the database finds the rows; of look-ups that repeat for each quantile, only the first."""
    given = bound(conn, query, values)
    if conn.dialect.name == "sqlite":
        steps = [row.detail for row in conn.execute(text(f"EXPLAIN QUERY PLAN {query}"), given)]
    else:
        steps = [row[0].strip() for row in conn.execute(text(f"EXPLAIN (COSTS OFF) {query}"), given)]
        steps = [step for step in steps if "Scan" in step or "Index Cond" in step or "Join" in step or "Loop" in step]
    return list(dict.fromkeys(step for step in steps if "CORRELATED" not in step and "SubPlan" not in step))


def measure(engine: Engine, rows: int) -> None:
    began = time.perf_counter()
    fill(engine, rows)
    with engine.connect() as conn:
        stored = conn.execute(select(func.count()).select_from(forecast_values)).scalar_one()
        print(f"\n{engine.dialect.name}: {stored:,} quantile rows, filled in {time.perf_counter() - began:.0f} s")
        table = []
        for name, (goal, query, values) in QUESTIONS.items():
            took, count = ask(conn, query, values)
            table.append([name, count, took, "-" if goal is None else f"<= {goal}"])
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            read_bands(conn, ForecastFilter(ASKED, latest=True))
            times.append(1000 * (time.perf_counter() - began))
        table.append(["the same as storage.forecasts.read_bands", STEPS, statistics.median(times), "-"])
        print(tabulate(table, ["question", "rows", "median ms", "goal"], floatfmt=".2f"))
        for name, (goal, query, values) in QUESTIONS.items():
            if goal is not None:
                print(f"\n{name}:")
                print("\n".join(f"  {step}" for step in plan(conn, query, values)))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--url", action="append", default=[])
    given = arguments.parse_args()
    if not given.url:
        with tempfile.TemporaryDirectory() as folder:
            measure(open_database(f"sqlite:///{Path(folder) / 'query.db'}"), given.rows)
    for url in given.url:
        measure(open_database(url), given.rows)


if __name__ == "__main__":
    main()
