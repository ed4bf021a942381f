"""Measures the cost of ingesting: python benchmarks/ingest.py [HOURLY_FILE] [--rows N]

It parses, checks and stores an hourly file into an empty SQLite database, and for comparison writes the same tuples
with a raw `executemany` in the same run. It also times an unchanged file, and measures the memory for minute files of
N / 10 and N rows (default 3,000,000), each in a new process. Without a file it makes one of 28,000 rows from a random
walk.
"""

import argparse
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from tabulate import tabulate

from models.candles import SeriesName

RUNS = 7
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def write_file(path: Path, rows: int, length_s: int) -> None:
    """Write a random walk as a file like CDD's, newest row first."""
    rng = np.random.default_rng(1)
    with path.open("w") as file:
        file.write("https://www.CryptoDataDownload.com\nunix,date,symbol,open,high,low,close,Volume USD,Volume BTC\n")
        for start in range(rows, 0, -100_000):
            n = min(start, 100_000)
            price = 20_000 * np.exp(rng.standard_normal(n + 1).cumsum() * 0.0003)
            times = 1_500_000_000 // length_s * length_s + length_s * np.arange(start - 1, start - 1 - n, -1)
            dates = np.datetime_as_string(times.astype("datetime64[s]"), unit="s")
            for i in range(n):
                o, c = price[i + 1], price[i]
                file.write(
                    f"{times[i]},{dates[i].replace('T', ' ')},BTC/USD,{o:.2f},{max(o, c) + 1:.2f},{min(o, c) - 1:.2f},"
                    f"{c:.2f},{(o + c) / 2 * 3:.4f},3.0\n"
                )


def ingest(folder: Path, series: str, database: Path) -> tuple[float, int]:
    from storage.database.engine import open_database
    from storage.source.client import CddClient
    from tasks.steps.ingest import ingest_series

    engine = open_database(f"sqlite:///{database}")
    began = time.perf_counter()
    report = ingest_series(engine, series=series, client=CddClient(str(folder)), now=NOW)
    seconds = time.perf_counter() - began
    engine.dispose()
    return seconds, report.rows_in


def raw_executemany(database: Path, copy: Path) -> float:
    """Return the seconds to insert the tuples of `database` into `copy` by the driver alone, with one commit."""
    from storage.database.engine import open_database

    with sqlite3.connect(database) as conn:
        columns = [row[1] for row in conn.execute("PRAGMA table_info(candles)")]
        rows = conn.execute("SELECT * FROM candles ORDER BY open_time").fetchall()
    open_database(f"sqlite:///{copy}").dispose()
    conn = sqlite3.connect(copy)
    conn.execute("PRAGMA synchronous = NORMAL")
    began = time.perf_counter()
    conn.executemany(f"INSERT INTO candles ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})", rows)
    conn.commit()
    seconds = time.perf_counter() - began
    conn.close()
    return seconds


def memory(rows: int, folder: Path) -> list[object]:
    source = folder / f"minutes-{rows}"
    source.mkdir()
    write_file(source / "Kraken_BTCUSD_minute.csv", rows, 60)
    size = (source / "Kraken_BTCUSD_minute.csv").stat().st_size
    child = subprocess.run(
        [sys.executable, __file__, "--child", str(source)], capture_output=True, text=True, check=True
    )
    seconds, peak = child.stdout.split()
    return [f"{rows:,} minutes, {size / 1e6:.0f} MB", f"{rows / float(seconds):,.0f}", f"{float(peak):.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--child", type=Path)
    chosen = parser.parse_args()
    if chosen.child is not None:
        seconds, _ = ingest(chosen.child, "Kraken_BTCUSD_minute", chosen.child / "candlecast.db")
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = str(SeriesName.of_file(chosen.file)) if chosen.file else "Kraken_BTCUSD_1h"
        path = folder / f"{series}.csv"
        if chosen.file:
            path.write_bytes(chosen.file.read_bytes())
        else:
            write_file(path, 28_000, 3600)
        first_times, raw_times, unchanged_times = [], [], []
        for run in range(RUNS + 1):
            seconds, rows = ingest(folder, series, folder / f"{run}.db")
            raw = raw_executemany(folder / f"{run}.db", folder / f"raw-{run}.db")
            unchanged, _ = ingest(folder, series, folder / f"{run}.db")
            if run:  # the first run also imports and compiles
                first_times.append(seconds)
                raw_times.append(raw)
                unchanged_times.append(unchanged)
        of_raw = statistics.median(raw / first for first, raw in zip(first_times, raw_times, strict=True))
        table = [
            ["parse + check + store", f"{rows / statistics.median(first_times):,.0f}", f"{of_raw:.2f}"],
            ["raw executemany", f"{rows / statistics.median(raw_times):,.0f}", "1.00"],
        ]
        print(f"{path.name}: {rows:,} rows into an empty SQLite, medians of {RUNS} runs")
        print(tabulate(table, ["", "rows/s", "relative to raw"], "simple", disable_numparse=True))
        share = statistics.median(unchanged_times) / statistics.median(first_times)
        print(f"an unchanged file: {1000 * statistics.median(unchanged_times):.1f} ms, {share:.1%} of storing it\n")
        memory_rows = [memory(n, folder) for n in (chosen.rows // 10, chosen.rows)]
        print(tabulate(memory_rows, ["streamed", "rows/s", "peak MB"], "simple", disable_numparse=True))


if __name__ == "__main__":
    main()
