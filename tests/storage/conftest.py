"""Fixtures: an open SQLite or PostgreSQL database, and a Store on it."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from engines import engine_of_each_kind  # noqa: F401 - the fixture `engine`
from sqlalchemy import Engine
from stores import Store

from storage.database.engine import open_database


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that an ordinary user can open; pytest's folder is closed to others when root runs the tests."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.fixture
def postgresql_engine(postgresql_url: str) -> Iterator[Engine]:
    engine = open_database(postgresql_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine)


@pytest.fixture
def store_in() -> type[Store]:
    """The class, for tests that open the database themselves."""
    return Store


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"dense/kernel": rng.normal(size=(4, 3)).astype(np.float32), "bias": np.zeros(3, dtype=np.float32)}
