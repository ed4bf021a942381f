"""Load a file of candles with DuckDB alone: its reader of CSV files, and an upsert by a primary key."""

from pathlib import Path

import duckdb
from answering import answer


def load(file: str, database: str, key: str) -> tuple[int, int]:
    """Upsert every row by its key; returns how many rows and how many different keys are then stored.

    An upsert may not give one key twice, so of rows with the same key the last one in the file is taken.
    """
    new = not Path(database).exists()
    conn = duckdb.connect(database)
    rows = conn.read_csv(file)  # noqa: F841 - DuckDB finds it by its name
    if new:
        conn.execute("CREATE TABLE candles AS FROM rows LIMIT 0")
        conn.execute(f"ALTER TABLE candles ADD PRIMARY KEY ({key})")
    conn.execute(
        "INSERT OR REPLACE INTO candles "
        "SELECT * EXCLUDE place FROM (SELECT *, row_number() OVER () AS place FROM rows) "
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY place DESC) = 1"
    )
    stored, keys = conn.execute(f"SELECT count(*), count(DISTINCT {key}) FROM candles").fetchone()
    conn.close()
    return stored, keys


answer(load=load)
