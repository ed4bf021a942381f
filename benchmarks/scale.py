"""Measures the cost per series for 1, 10, 100 series: python benchmarks/scale.py [COUNT ...] [--model M] [--url URL]

It writes one file of synthetic prices per series, and ingests, backfills (with training if the model learns), stores
and scores one year of origins with the code that users run. One process handles one series after the other. The cost
per series should not depend on the number of series. With --url it uses an empty PostgreSQL database.

`lstm` and `blend` learn from the same --pool series (20) whatever the count, so what is left to compare is what a
further series costs. The live version that a first day trains too is not part of it, nor is Prefect.
"""

import argparse
import logging
import os
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import func, select, text
from tabulate import tabulate

from models.catalog import family
from storage.database.engine import open_database
from storage.source.client import CddClient
from storage.tables import candles, forecast_values, forecasts, scores
from tasks.steps.backfill import BackfillJob, backfill_series
from tasks.steps.ingest import ingest_series

DAYS = 365 + 500
START = datetime(2023, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=DAYS + 1)


def write_series(folder: Path, number: int) -> str:
    """Write a random walk with changing volatility in CDD's format; returns the name of the series."""
    chance = np.random.default_rng(number)
    sigma = np.exp(-3.5 + 0.3 * np.cumsum(chance.normal(size=DAYS)) / np.sqrt(DAYS))
    close = 100 * np.exp(np.cumsum(sigma * chance.normal(size=DAYS)))
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + sigma * np.abs(chance.normal(size=DAYS)) / 2)
    low = np.minimum(opened, close) * (1 - np.minimum(sigma * np.abs(chance.normal(size=DAYS)) / 2, 0.5))
    name = f"Bench_{chr(65 + number // 676 % 26)}{chr(65 + number // 26 % 26)}{chr(65 + number % 26)}USD_d"
    lines = ["unix,open,high,low,close,Volume BASE,Volume USD"]
    for day in range(DAYS):
        unix = int((START + timedelta(days=day)).timestamp())
        lines.append(f"{unix},{opened[day]},{high[day]},{low[day]},{close[day]},10,{10 * (high[day] + low[day]) / 2}")
    # This newest candle is not over yet, so the one above counts as closed.
    lines.append(
        f"{int((START + timedelta(days=DAYS)).timestamp())},{close[-1]},{close[-1]},{close[-1]},{close[-1]},1,1"
    )
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return name


def measure(count: int, model: str, url: str | None, pool: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine = open_database(url or f"sqlite:///{folder / 'scale.db'}")
        client, costs, ingests = CddClient(name), [], []
        began, cpu = time.perf_counter(), time.process_time()
        stored = max(count, pool) if family(model).pooled else count
        names = []
        for number in range(stored):
            names.append(write_series(folder, number))
            start = time.perf_counter()
            ingest_series(engine, series=names[-1], client=client, now=NOW)
            ingests.append(time.perf_counter() - start)
            (folder / f"{names[-1]}.csv").unlink()
        before = time.process_time()
        for series, ingest_s in zip(names[:count], ingests, strict=False):
            start = time.perf_counter()
            job = BackfillJob(series, (model,), NOW - timedelta(days=366), NOW, NOW, leave_out=tuple(names[pool:]))
            backfill_series(engine, job)
            costs.append(ingest_s + time.perf_counter() - start)
            if len(costs) == 1:
                first_cpu = time.process_time() - before
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        with engine.connect() as conn:
            rows = {
                table.name: conn.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (candles, forecasts, forecast_values, scores)
            }
            if engine.dialect.name == "postgresql":
                size = conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
            else:
                size = sum(path.stat().st_size for path in folder.glob("scale.db*"))
        engine.dispose()
    tenth = max(count // 10, 1)
    return {
        "series": count,
        "wall s": wall,
        "s per series": wall / count,
        "CPU-s": cpu,
        "CPU-s per series": cpu / count,
        "CPU-s of the first backfill": first_cpu,
        "ingest s per series": sum(ingests) / stored,
        "median of first tenth": statistics.median(costs[:tenth]),
        "median of last tenth": statistics.median(costs[-tenth:]),
        "rows": sum(rows.values()),
        "MB per series": size / count / 1e6,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--model", default="range-ewma")
    parser.add_argument("--pool", type=int, default=20, help="series that a model for all series learns from")
    parser.add_argument("--url", help="URL of an empty PostgreSQL database; default: a new SQLite file")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    print(f"{chosen.model}, 366 origins per series, {os.cpu_count()} cores, {'PostgreSQL' if chosen.url else 'SQLite'}")
    measured = [measure(count, chosen.model, chosen.url, chosen.pool) for count in chosen.counts]
    print(tabulate(measured, headers="keys", floatfmt=".2f", tablefmt="github"))


if __name__ == "__main__":
    main()
