"""What a further series costs on the first day: python benchmarks/first_day.py FILE [FILE ...] [--series 1 10]

Runs `candlecast daily` as users do, in a new process in an empty folder, on CDD files (named `<series>.csv` or
`<series>__<anything>.csv`). All of them are learnt from, whatever the count; the first COUNT are forecast. It prints
CPU seconds and wall seconds of each first day, and the CPU seconds beside those of the first count.
"""

import argparse
import tempfile
from pathlib import Path

from daily import command
from tabulate import tabulate

from models.candles import SeriesName


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="the markets to learn from; the first of them are forecast")
    parser.add_argument("--series", type=int, nargs="+", default=[1, 10], help="how many to forecast, a row each")
    parser.add_argument("--model", default="blend")
    chosen = parser.parse_args()
    names = [str(SeriesName.of_file(file)) for file in chosen.files]
    rows: list[dict[str, float]] = []
    for count in chosen.series:
        with tempfile.TemporaryDirectory() as scratch:
            source = Path(scratch) / "source"
            source.mkdir()
            for name, file in zip(names, chosen.files, strict=True):
                (source / f"{name}.csv").write_bytes(file.read_bytes())
            run = command(
                Path(scratch),
                "daily",
                CANDLECAST_MODEL=chosen.model,
                CANDLECAST_SERIES=",".join(names[:count]),
                CANDLECAST_LEARN_FROM=",".join(names),
            )
        first_cpu = rows[0]["CPU-s"] if rows else run.cpu_s
        stages = {stage: seconds for stage, seconds in run.stages.items() if seconds > 1}
        costs = {"series": count, "CPU-s": run.cpu_s, "times the first": run.cpu_s / first_cpu, "wall s": run.wall_s}
        rows.append(costs | stages)
        print(f"{count} series: {run.cpu_s:.0f} CPU-s", flush=True)
    print(tabulate(rows, headers="keys", floatfmt=".1f", tablefmt="github"))


if __name__ == "__main__":
    main()
