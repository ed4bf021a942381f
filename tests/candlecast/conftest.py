"""Installations to run the command line in."""

from pathlib import Path

import pytest
from installation import Installation


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect-home")


@pytest.fixture
def empty(tmp_path: Path, prefect_home: Path) -> Installation:
    """An installation in which no command has run yet."""
    return Installation(tmp_path, prefect_home)


@pytest.fixture(scope="session")
def daily_done(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Installation:
    """An installation in which `candlecast daily` has run on the sample; tests may only read it."""
    installation = Installation(tmp_path_factory.mktemp("installation"), prefect_home)
    done = installation.run("daily")
    assert done.returncode == 0, done.stdout + done.stderr
    (installation.folder / "stdout.txt").write_text(done.stdout)
    return installation
