"""Measures the stages of a daily run: python benchmarks/daily.py [--series N] [--model M]

Runs `candlecast daily` as users do, in a new process in an empty folder, on the bundled sample without its last days:
the first day (everything from scratch), the next day with a fine-tuning, and the same day again; once for one series
and once for N. With one series it also runs a backfill of 365 origins. The times of the stages come from Prefect's
records of the runs.
"""

import argparse
import csv
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

SAMPLE = Path(__file__).parents[1] / "sample" / "Coinbase_BTCUSD_d.csv"
PAIRS = ("BTCUSD", "ETHUSD", "LTCUSD", "XRPUSD", "BCHUSD", "ADAUSD", "SOLUSD", "DOTUSD")
STAGES = {
    "ingest": "fetch, parse, check, store",
    "train": "train",
    "backfill": "walk-forward forecasts and scores",
    "gate": "gate",
    "forecast": "forecast",
    "score": "score",
    "watch": "watch",
    "publish": "draw and publish",
}


class Run(NamedTuple):
    """The cost of one command: wall seconds, CPU seconds, and wall seconds by stage."""

    wall_s: float
    cpu_s: float
    stages: dict[str, float]


def command(folder: Path, *arguments: str, **settings: str) -> Run:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CANDLECAST_", "PREFECT_"))} | {
        "PREFECT_HOME": str(folder / "prefect"),
        "CANDLECAST_SOURCE": str(folder / "source"),
        "CANDLECAST_FINE_TUNE_DAYS": "1",
        **settings,
    }
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    program = [str(Path(sys.executable).parent / "candlecast"), *arguments]
    process = subprocess.run(program, cwd=folder, env=env, capture_output=True, text=True, check=False)
    ended, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(process.stderr[-3000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(ended - began, cpu, stages(folder / "prefect" / "prefect.db", began, ended))


def stages(database: Path, began: float, ended: float) -> dict[str, float]:
    """Return the wall seconds of the runs between two moments: before the flows, by task, between tasks, and after."""

    def instant(text: str) -> float:
        return datetime.fromisoformat(text + "+00:00").timestamp()

    with sqlite3.connect(database) as conn:
        tasks = conn.execute("SELECT name, start_time, end_time FROM task_run WHERE end_time IS NOT NULL").fetchall()
        flows = conn.execute("SELECT start_time, end_time FROM flow_run WHERE end_time IS NOT NULL").fetchall()
    by_stage: dict[str, float] = {}
    for name, start, end in tasks:
        stage = STAGES.get(name.split("-")[0])
        if stage is not None and began <= instant(start) <= ended:
            by_stage[stage] = by_stage.get(stage, 0.0) + instant(end) - instant(start)
    ours = [(instant(start), instant(end)) for start, end in flows if began <= instant(start) <= ended]
    first, last = min(start for start, _ in ours), max(end for _, end in ours)
    return {
        "imports and start of Prefect's server": first - began,
        **by_stage,
        "orchestration between the tasks": last - first - sum(by_stage.values()),
        "summary and stop": ended - last,
    }


def write_sources(folder: Path, series: int, *, short_by: int) -> list[str]:
    """Write the sample without its newest `short_by` days for `series` pairs; returns the series' names."""
    (folder / "source").mkdir(exist_ok=True)
    banner, header, *rows = SAMPLE.read_text().splitlines()
    names = []
    for number, pair in enumerate(PAIRS[:series]):
        lines = [banner, header]
        for cells in csv.reader(rows[short_by:]):
            # Each pair gets different prices, so that no two series are equal.
            cells[2:6] = [f"{float(cell) / (number + 1):.4f}" for cell in cells[2:6]]
            lines.append(",".join([cells[0], pair, *cells[2:]]))
        names.append(f"Coinbase_{pair}_d")
        (folder / "source" / f"{names[-1]}.csv").write_text("\n".join(lines) + "\n")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=4, help="number of series of the second day (2..8)")
    parser.add_argument("--model", default="blend")
    chosen = parser.parse_args()
    runs: dict[str, Run] = {}
    for count in (1, chosen.series):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            settings = {"CANDLECAST_MODEL": chosen.model}
            settings["CANDLECAST_SERIES"] = ",".join(write_sources(folder, count, short_by=5))
            label = f"{count} series"
            runs[f"{label}: first day, from scratch"] = command(folder, "daily", **settings)
            write_sources(folder, count, short_by=4)
            runs[f"{label}: next day, fine-tuned"] = command(folder, "daily", **settings)
            runs[f"{label}: the same day again"] = command(folder, "daily", **settings)
            if count == 1:
                runs["backfill of 365 origins"] = command(
                    folder, "backfill", "Coinbase_BTCUSD_d", "--start", "2017-01-01", "--end", "2017-12-31", **settings
                )
    names = list(dict.fromkeys(stage for run in runs.values() for stage in run.stages))
    rows = [[name, *(run.stages.get(name, 0.0) for run in runs.values())] for name in names]
    rows.append(["total, wall", *(run.wall_s for run in runs.values())])
    rows.append(["total, CPU", *(run.cpu_s for run in runs.values())])
    print(tabulate(rows, ["seconds", *runs], floatfmt=".2f", tablefmt="github"))
    one, many = (runs[f"{count} series: next day, fine-tuned"] for count in (1, chosen.series))
    first = runs["1 series: first day, from scratch"]
    overhead = sum(
        first.stages[stage]
        for stage in ("imports and start of Prefect's server", "orchestration between the tasks", "summary and stop")
    )
    print(f"\nimports and orchestration of a cold first day: {overhead / first.wall_s:.0%}")
    print(f"each further series on a day with fine-tuning: {(many.cpu_s - one.cpu_s) / (chosen.series - 1):.2f} CPU-s")
    print(f"365 origins of backfill: {runs['backfill of 365 origins'].wall_s / one.wall_s:.2f} of one daily run")


if __name__ == "__main__":
    main()
