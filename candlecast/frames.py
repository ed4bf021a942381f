"""Rows of the database as pandas frames; each column has the type of the rows' field."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, get_type_hints

import pandas as pd
from sqlalchemy import Connection, Engine

from candlecast.output import columns_of
from storage.database.engine import open_for_reading, reading
from storage.series import require_series

_DTYPES = {
    str: "str",
    str | None: "str",
    bool: "bool",
    int: "int64",
    int | None: "Int64",
    float: "float64",
    float | None: "float64",
    datetime: "datetime64[us, UTC]",
    datetime | None: "datetime64[us, UTC]",
}


def read_frame(
    database: str | Engine | None,
    row_type: type,
    read: Callable[[Connection], Sequence[Any]],
    *,
    series: str | None = None,
) -> pd.DataFrame:
    """Return the rows that `read` reads from `database` as a frame; `row_type` is their named tuple or dataclass.

    Raises NotFound if `series` is given and not stored, and DatabaseUnusable if the database cannot be read.
    """
    with _connected(database) as conn:
        require_series(conn, name=series)
        rows = read(conn)
    hints = get_type_hints(row_type)
    return pd.DataFrame(
        {
            name: pd.Series([getattr(row, name) for row in rows], dtype=_DTYPES[hints[name]])
            for name in columns_of(row_type)
        }
    )


@contextmanager
def _connected(database: str | Engine | None) -> Iterator[Connection]:
    if isinstance(database, Engine):
        with reading(database) as conn:
            yield conn
        return
    if database is None:
        from flows.settings import Settings

        database = Settings().database_url
    engine = open_for_reading(database)
    try:
        with reading(engine) as conn:
            yield conn
    finally:
        engine.dispose()
