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
    with connected(database, series) as conn:
        rows = read(conn)
    hints = get_type_hints(row_type)
    return pd.DataFrame(
        {
            name: pd.Series([getattr(row, name) for row in rows], dtype=_DTYPES[hints[name]])
            for name in columns_of(row_type)
        }
    )


@contextmanager
def connected(database: str | Engine | None, series: str | None = None) -> Iterator[Connection]:
    """Yield a connection that reads `database`; raises as `read_frame` does."""
    engine = database if isinstance(database, Engine) else open_for_reading(database or _settings_url())
    try:
        with reading(engine) as conn:
            require_series(conn, name=series)
            yield conn
    finally:
        if engine is not database:
            engine.dispose()


def _settings_url() -> str:
    from flows.settings import Settings

    return Settings().database_url
