"""Measures how long the commands without Prefect take: python benchmarks/cli_start.py [DATABASE]

The commands run one after the other, each in a new process. The table shows the median time and CPU time of each, and
for comparison those of a bare Python and of the imports that every command needs. `ingest` reads the sample into a
copy of the database.
"""

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

from candlecast.cli import READING

RUNS = 9
ROOT = Path(__file__).parents[1]
CANDLECAST = str(Path(sys.executable).parent / "candlecast")
SERIES = "Coinbase_BTCUSD_d"
ARGUMENTS = {"candles": [SERIES], "chance": [SERIES, "--above", "8000"], "paths": [SERIES]}


def run(command: list[str], database: Path) -> tuple[float, float, str]:
    """Return the wall time and CPU time in milliseconds, and the command's output."""
    environment = os.environ | {
        "CANDLECAST_DATABASE_URL": f"sqlite:///{database}", "CANDLECAST_SOURCE": str(ROOT / "sample"),
    }  # fmt: skip
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * wall, 1000 * cpu, process.stdout


def main() -> None:
    original = Path(sys.argv[1] if len(sys.argv) > 1 else "candlecast.db")
    if not original.exists():
        sys.exit(f"no database at {original}; run: make run")
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "candlecast.db"
        shutil.copy(original, database)
        rows = json.loads(run([CANDLECAST, "forecasts", SERIES, "--json"], database)[2])
        bare = [sys.executable, "-c", "pass"]
        imports = [sys.executable, "-c", "import gc; gc.disable(); import sqlalchemy, typer; gc.freeze()"]
        span = ["--start", "2017-01-01", "--end", "2017-06-30"]
        commands = [
            bare,
            imports,
            *([CANDLECAST, name, *ARGUMENTS.get(name, [])] for name in READING),
            [CANDLECAST, "ingest", SERIES],
            [CANDLECAST, "replay", str(rows[0]["forecast_id"])],
            [CANDLECAST, "backfill", SERIES, *span, "--model", "lstm", "--dry-run"],
        ]
        times: dict[int, list[tuple[float, float]]] = {number: [] for number in range(len(commands))}
        for _ in range(RUNS):
            for number, command in enumerate(commands):
                times[number].append(run(command, database)[:2])
    medians = [[statistics.median(column) for column in zip(*times[number], strict=True)] for number in times]
    table = [
        [" ".join([Path(command[0]).name, *command[1:]]), wall, wall / medians[0][0], cpu, cpu / medians[0][1]]
        for command, (wall, cpu) in zip(commands, medians, strict=True)
    ]
    headers = ["command", "ms", "times bare", "CPU-ms", "times bare"]
    print(tabulate(table, headers, "simple", floatfmt=".1f"))
    print(f"medians of {RUNS} runs each; the reading commands promise 12 times a bare Python")


if __name__ == "__main__":
    main()
