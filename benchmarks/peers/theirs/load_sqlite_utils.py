"""Load a file of candles with sqlite-utils, as its documentation does."""

import csv
from pathlib import Path

import sqlite_utils
from answering import answer
from sqlite_utils.utils import TypeTracker


def load(file: str, database: str, key: str) -> tuple[int, int]:
    """Upsert every row by its key; returns how many rows and how many different keys are then stored.

    It does the same as `sqlite-utils upsert --csv --pk KEY`, without the start of a process: types are detected when
    the table is new.
    """
    new = not Path(database).exists()
    db = sqlite_utils.Database(database)
    with Path(file).open(newline="") as lines:
        types = TypeTracker()
        rows = csv.DictReader(lines)
        db["candles"].upsert_all(types.wrap(rows) if new else rows, pk=key)
    if new:
        db["candles"].transform(types=types.types)
    stored, keys = db.execute(f"SELECT count(*), count(DISTINCT {key}) FROM candles").fetchone()
    db.close()
    return stored, keys


answer(load=load)
