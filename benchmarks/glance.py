"""What answers about all series cost after a commit: python benchmarks/glance.py [--series N] [--days N] [--url URL]

Fills an empty database with series that have candles, forecasts of naive and of their champion, and scores, a day each.
Then asks for the glance, the series and the metrics as the HTTP API does and shows the processor time of each, and of
which functions it consists. SQLite in a temporary folder without --url; a PostgreSQL database is named by --url and
must be empty.
"""

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from prometheus_client.core import Metric
from sqlalchemy import Connection, Engine, insert, select, text

from candlecast.http.metrics import metrics
from candlecast.http.status import series_status
from models.candles import SeriesName
from models.catalog import scope
from models.forecasts import QUANTILE_LEVELS, Forecast, Kind
from storage import decisions, registry
from storage.database.engine import open_database, reading
from storage.downloads import insert_download
from storage.forecasts import insert_forecasts
from storage.scores import Score, insert_scores
from storage.series import ensure_series
from storage.tables import candles, forecasts
from tasks.steps.glance import glance

STEPS = 7
ROUNDS = 7
NEWEST = datetime(2026, 1, 1, tzinfo=UTC)
DAY, SOON = timedelta(days=1), timedelta(minutes=20)
NOW = NEWEST + 2 * SOON
MODELS = ("naive", "range-ewma")


def fill(engine: Engine, series: int, days: int) -> None:
    """Store `series` series with `days` days each; the newest half of the forecasts is live."""
    for number in range(series):
        name = f"Bench_{''.join(chr(65 + number // 26**place % 26) for place in range(3))}USD_d"
        closes = 100 * np.exp(np.cumsum(np.random.default_rng(number).normal(0, 0.03, days)))
        with engine.begin() as conn:
            ensure_series(conn, name=SeriesName.parse(name))
            _fill_candles(conn, name, closes)
            for model in MODELS:
                version = _fill_forecasts(conn, name, model, closes)
            decisions.promote(conn, version=version, reason="benchmark", decided_at=NEWEST, series=name)
    with engine.begin() as conn:
        conn.execute(text("ANALYZE"))


def _fill_candles(conn: Connection, name: str, closes: np.ndarray) -> None:
    rows = []
    for day, close in enumerate(closes.tolist()):
        seen = NEWEST - (len(closes) - 1 - day) * DAY
        download = insert_download(conn, series=name, url="u", fetched_at=seen + SOON, file_time=seen, outcome="stored")
        rows.append(
            {
                "series": name, "open_time": seen - DAY, "close_time": seen, "open": close, "high": close, "low": close,
                "close": close, "fetched_at": seen + SOON, "provisional": False, "download": download,
            }
        )  # fmt: skip
    conn.execute(insert(candles), rows)


def _fill_forecasts(conn: Connection, name: str, model: str, closes: np.ndarray) -> int:
    version = registry.register(
        conn, scope=scope(model, name), model=model, config={}, seed=0, cutoff=None, data_fingerprint="0" * 64,
        device="cpu", seconds=0.0, purpose="live", code_version="benchmark", created_at=NEWEST, weights=None,
    )  # fmt: skip
    spread = np.linspace(-0.1, 0.1, len(QUANTILE_LEVELS)) * np.sqrt(np.arange(1, STEPS + 1))[:, None]
    all_of_them = [
        Forecast(NEWEST - (len(closes) - 1 - day) * DAY, close * np.exp(spread), "0" * 64)
        for day, close in enumerate(closes.tolist())
    ]
    half = len(all_of_them) // 2
    for kind, some in ((Kind.BACKFILL, all_of_them[:half]), (Kind.LIVE, all_of_them[half:])):
        for each in some:
            insert_forecasts(
                conn, series=name, model=model, model_version=version, kind=kind, forecasts=[each],
                created_at=each.origin + SOON,
            )  # fmt: skip
    of_model = (forecasts.c.series == name, forecasts.c.model == model)
    stored = conn.execute(select(forecasts.c.id).where(*of_model).order_by(forecasts.c.origin)).scalars().all()
    scores = [
        Score(forecast, step, NEWEST + SOON, float(closes[day]), 1.0, 0.01, True, True, True, 0.5)
        for day, forecast in enumerate(stored)
        for step in range(1, min(STEPS, len(closes) - 1 - day) + 1)
    ]
    insert_scores(conn, rows=scores, scored_at=NEWEST + SOON)
    return version


def _metrics(conn: Connection, *, now: datetime) -> list[Metric]:
    return list(metrics(conn, now=now))


def measure(engine: Engine, profiled: int) -> None:
    """Print the median processor time and wall time of each answer, and its most expensive functions."""
    for answer in (glance, series_status, _metrics):
        cpu, wall = [], []
        for _ in range(ROUNDS):
            began, worked = time.perf_counter(), time.process_time()
            with reading(engine) as conn:
                answer(conn, now=NOW)
            cpu.append(time.process_time() - worked)
            wall.append(time.perf_counter() - began)
        print(
            f"{engine.dialect.name}, {answer.__name__.strip('_')}: {statistics.median(cpu):.2f} s of this process's "
            f"processor time, {statistics.median(wall):.2f} s in all (medians of {ROUNDS})"
        )
        if profiled:
            with cProfile.Profile() as profile, reading(engine) as conn:
                answer(conn, now=NOW)
            pstats.Stats(profile).sort_stats("cumulative").print_stats("storage|tasks/steps|execute", profiled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--url", help="an empty PostgreSQL database; default: SQLite in a temporary folder")
    parser.add_argument("--keep", help="an SQLite file that is filled where it is not there yet, and kept")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="show the N most expensive functions")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(given.keep) if given.keep else Path(folder) / "glance.db"
        is_filled = given.keep is not None and file.exists()
        engine = open_database(given.url or f"sqlite:///{file}")
        if not is_filled:
            fill(engine, given.series, given.days)
        measure(engine, given.profile)
        engine.dispose()


if __name__ == "__main__":
    main()
