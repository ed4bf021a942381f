"""Load a file of candles with dlt's `merge`, which its documentation recommends for data that is loaded repeatedly."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import dlt
import sqlalchemy
from answering import answer

NUMBERS = ("open", "high", "low", "close")


def load(file: str, database: str, key: str, strategy: str) -> tuple[int, int]:
    """Merge every row by its key; returns how many rows and how many different keys are then stored.

    `scd2` keeps every revision of a row with the time for which it was valid, here in SQLite. `delete-insert` keeps the
    newest row of each key, here in DuckDB: dlt makes no index, so in SQLite its deletes would read a whole table for
    every row of another one.
    """
    with Path(file).open(newline="") as lines:
        columns = next(csv.reader(lines))

    def rows() -> Iterator[list[dict[str, str]]]:
        with Path(file).open(newline="") as lines:
            reader = csv.DictReader(lines)
            while batch := list(islice(reader, 5000)):
                yield batch

    resource = dlt.resource(
        rows,
        name="candles",
        primary_key=key if strategy == "delete-insert" else None,
        merge_key=key if strategy == "scd2" else None,
        write_disposition={"disposition": "merge", "strategy": strategy},
        columns={name: {"data_type": "double"} for name in columns if name in NUMBERS or name.startswith("Volume")},
    )
    in_sqlite = strategy == "scd2"
    pipeline = dlt.pipeline(
        pipeline_name=f"candles_{Path(database).parent.name}",
        pipelines_dir=str(Path(database).parent / "pipelines"),
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{database}")
        if in_sqlite
        else dlt.destinations.duckdb(database),
        dataset_name="main",
    )
    # Parquet is fastest for DuckDB; the default format is faster for SQLite.
    pipeline.run(resource(), loader_file_format=None if in_sqlite else "parquet")
    question = f"SELECT count(*), count(DISTINCT {key}) FROM candles"
    if in_sqlite:
        engine = sqlalchemy.create_engine(f"sqlite:///{database}")
        with engine.connect() as conn:
            stored, keys = conn.execute(sqlalchemy.text(question)).one()
        engine.dispose()
    else:
        with pipeline.sql_client() as client, client.execute_query(question) as cursor:
            stored, keys = cursor.fetchone()
    return stored, keys


answer(load=load)
