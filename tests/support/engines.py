"""A fixture for test modules that work on both kinds of databases; they import it, and their tests ask for `engine`.

And what is asked of such a database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event

from storage.database.engine import open_database


@pytest.fixture(name="engine")
def engine_of_each_kind(database_url: str) -> Iterator[Engine]:
    """An empty database, once on SQLite and once on PostgreSQL."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@contextmanager
def collected_statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that the database is asked, each with its parameters."""
    statements: list[tuple[str, Any]] = []

    def collect(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", collect)
    yield statements
    event.remove(engine, "before_cursor_execute", collect)
