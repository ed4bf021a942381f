"""The database that most tests of the tasks work on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from storage.database.engine import open_database


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty SQLite database; test modules about queries open SQLite and PostgreSQL instead."""
    engine = open_database(f"sqlite:///{tmp_path / 'candlecast.db'}")
    yield engine
    engine.dispose()
