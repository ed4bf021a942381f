"""Compares ingestion with other loaders: python benchmarks/peers/ingest.py [HOURLY_FILE] [--rounds N]

Each side loads a file into an empty database, loads it again, and loads it with one more candle and one changed
candle. The time is from opening the database to the last commit, without imports; the sides take turns. pyarrow
rewrites the file as Parquet. DuckDB and sqlite-utils upsert into their databases. dlt merges into SQLite and keeps
every revision (scd2), and into DuckDB and keeps the newest revision (delete-insert). The peers' key is the column
`date`, because some files have `unix` in seconds and in milliseconds, and so have one hour under two keys. Without a
file the benchmark makes one of 28,000 rows from a random walk.
"""

import argparse
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from peer import THEIRS, Cost, Peer, by_turns, heading, median, peer, table, timed

KEY = "date"
PEERS = ("duckdb", "sqlite-utils", "dlt")
SITUATIONS = ("empty database", "same file again", "one more candle, one changed")
HEAD = (
    "",
    "rows/s",
    "time, candlecast's is 1",
    "CPU, candlecast's is 1",
    "rows stored",
    "different candles",
    "rows beyond one per candle",
)
Load = Callable[[Path, Path], Cost]


def changed(lines: list[str]) -> list[str]:
    """Return the lines (column names first) with a newer candle on top and one changed in the middle."""
    names, *candles = (line.split(",") for line in lines)
    newest, before = (int(float(candle[0])) for candle in candles[:2])
    ahead = 2 * newest - before
    # Some of the source's files have seconds, others milliseconds.
    day = datetime.fromtimestamp(ahead / (1000 if ahead > 10**11 else 1), UTC)
    newer = [str(ahead), day.strftime("%Y-%m-%d %H:%M:%S"), *candles[0][2:]]
    opened, closed = names.index("open"), names.index("close")
    moved = next(candle for candle in candles[len(candles) // 2 :] if candle[opened] != candle[closed])
    moved[closed] = moved[opened]
    return [",".join(cells) for cells in (names, newer, *candles)]


def ours(folder: Path, series: str, database: Path) -> Cost:
    from benchmarks.ingest import ingest

    def load() -> tuple[int, int]:
        ingest(folder, series, database)
        with closing(sqlite3.connect(database)) as conn:
            return conn.execute("SELECT count(*), count(DISTINCT open_time) FROM candles").fetchone()

    return timed(load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    from benchmarks.ingest import write_file
    from models.candles import SeriesName

    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        series = str(SeriesName.of_file(chosen.file)) if chosen.file else "Kraken_BTCUSD_1h"
        sources = [folder / "first", folder / "later"]
        for source in sources:
            source.mkdir()
        if chosen.file:
            (sources[0] / f"{series}.csv").write_bytes(chosen.file.read_bytes())
        else:
            write_file(sources[0] / f"{series}.csv", 28_000, 3600)
        lines = (sources[0] / f"{series}.csv").read_text().splitlines()
        # Some files begin with a banner line, which the peers cannot read.
        lines = lines[not lines[0].startswith("unix") :]
        if not lines[0].startswith(f"unix,{KEY},"):
            raise SystemExit(
                f"the file's columns are {lines[0]!r}; this benchmark needs columns that begin with unix,{KEY}"
            )
        for source, its_lines in zip(sources, (lines, changed(lines)), strict=True):
            (source / f"{series}.csv").write_text("\n".join(its_lines) + "\n")
        # candlecast depends on pyarrow too, so its own venv has it.
        pyarrow = stack.enter_context(Peer(THEIRS / "load_pyarrow.py", Path(sys.executable)))
        duckdb, sqlite_utils, dlt = (
            stack.enter_context(peer(name, f"load_{name.replace('-', '_')}.py")) for name in PEERS
        )

        def theirs(worker: Peer, **given: str) -> Load:
            return lambda source, database: worker.ask(
                "load", file=str(source / f"{series}.csv"), database=str(database), key=KEY, **given
            )

        def three_loads(load: Load) -> list[Cost]:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                database = Path(place) / "loaded.db"
                return [load(source, database) for source in (sources[0], sources[0], sources[1])]

        sides: dict[str, Load] = {
            "candlecast": lambda source, database: ours(source, series, database),
            "pyarrow, Parquet": theirs(pyarrow),
            "DuckDB": theirs(duckdb),
            "sqlite-utils upsert": theirs(sqlite_utils),
            "dlt scd2": theirs(dlt, strategy="scd2"),
            "dlt delete-insert, DuckDB": theirs(dlt, strategy="delete-insert"),
        }
        measured = by_turns(chosen.rounds, *(partial(three_loads, load) for load in sides.values()))
        print(f"{heading(*PEERS)}; pyarrow {version('pyarrow')}")
        for situation, title in enumerate(SITUATIONS):
            rows = len(lines) - 1 + (situation == 2)
            print(f"\n{title}: {series}, {rows:,} rows in the file, medians of {chosen.rounds} rounds\n")
            costs = {side: [loads[situation] for loads in rounds] for side, rounds in zip(sides, measured, strict=True)}
            print(table(HEAD, table_rows(costs, rows)))


def table_rows(costs: dict[str, list[Cost]], rows: int) -> list[list[object]]:
    seconds, cpu = (
        {side: median(getattr(cost, kind) for cost in of_side) for side, of_side in costs.items()}
        for kind in ("seconds", "cpu")
    )
    lines: list[list[object]] = []
    for side in costs:
        ((stored, keys),) = {tuple(cost.result) for cost in costs[side]}
        lines.append(
            [side, f"{rows / seconds[side]:,.0f}", f"{seconds[side] / seconds['candlecast']:.2f}",
             f"{cpu[side] / cpu['candlecast']:.2f}", f"{stored:,}", f"{keys:,}", stored - keys]
        )  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
