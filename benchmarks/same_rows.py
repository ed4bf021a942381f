"""Compares two SQLite databases that two versions of candlecast filled: python benchmarks/same_rows.py FIRST SECOND

Compared are candles, trained weights, forecasts and scores, by their keys and to the last bit: row numbers, times of
writing and code versions differ between any two runs. Rows that only one database has are counted and are no
difference, because a newer version may store more. Exits with 1 if a shared row differs.
"""

import sqlite3
import sys
from pathlib import Path

from tabulate import tabulate

# By table: the columns of the key, the columns that are compared, and where they come from.
TABLES = {
    "candles": (
        "series, open_time, provisional",
        "close_time, open, high, low, close, volume_base, volume_quote, trades",
        "candles",
    ),
    "trained weights": (
        "series, model, purpose, cutoff, seed, config_sha256",
        "data_fingerprint, weights_sha256",
        "model_versions",
    ),
    "forecasts' quantiles": (
        "series, model, kind, origin, step, quantile",
        "value, target_time",
        "forecasts JOIN forecast_values ON forecast = id",
    ),
    "scores": (
        "series, model, kind, origin, step",
        "actual, absolute_error, crps, pit, covered50, covered80, covered95",
        "forecasts JOIN scores ON forecast = id",
    ),
}

Rows = dict[tuple[object, ...], tuple[object, ...]]


def read(database: Path, key: str, values: str, source: str) -> Rows:
    with sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True) as conn:
        width = key.count(",") + 1
        return {row[:width]: row[width:] for row in conn.execute(f"SELECT {key}, {values} FROM {source}")}


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    databases = [Path(name) for name in sys.argv[1:]]
    table, n_different = [], 0
    for name, columns in TABLES.items():
        first, second = (read(database, *columns) for database in databases)
        shared = first.keys() & second.keys()
        different = [key for key in shared if first[key] != second[key]]
        n_different += len(different)
        table.append((name, len(shared), len(different), len(first) - len(shared), len(second) - len(shared)))
        for key in sorted(different, key=str)[:3]:
            print(f"{name} {key}: {first[key]} and {second[key]}")
    print(tabulate(table, ["rows", "shared", "different", "only in the first", "only in the second"], "github"))
    sys.exit(bool(n_different))


if __name__ == "__main__":
    main()
