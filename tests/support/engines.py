"""A fixture for test modules that work on both kinds of databases; they import it, and their tests ask for `engine`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from storage.database.engine import open_database


@pytest.fixture(name="engine")
def engine_of_each_kind(database_url: str) -> Iterator[Engine]:
    """An empty database, once on SQLite and once on PostgreSQL."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()
