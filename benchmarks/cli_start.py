"""How long the reading commands take from a cold start: python benchmarks/cli_start.py [DATABASE]

Each runs as a process of its own; the table shows medians, beside a bare Python and the imports nobody can do without.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tabulate import tabulate

RUNS = 9
BIN = Path(sys.executable).parent
DATABASE = Path(sys.argv[1] if len(sys.argv) > 1 else "candlecast.db").resolve()


def median_ms(command: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"CANDLECAST_DATABASE_URL": f"sqlite:///{DATABASE}"},
        )
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def main() -> None:
    if not DATABASE.exists():
        sys.exit(f"no database at {DATABASE}; run: make run")
    bare = median_ms([sys.executable, "-c", "pass"])
    rows = [["python -c pass", bare, 1.0]]
    imports = "import sqlalchemy, pydantic_settings, typer"
    rows.append([f"python -c '{imports}'", (found := median_ms([sys.executable, "-c", imports])), found / bare])
    for name in ("forecasts", "skill", "models", "series"):
        found = median_ms([str(BIN / "candlecast"), name])
        rows.append([f"candlecast {name}", found, found / bare])
    print(tabulate(rows, ["command", "median ms", "times bare python"], "simple", floatfmt=".1f"))
    print(f"medians of {RUNS} runs each; the promise is 500 ms")


if __name__ == "__main__":
    main()
