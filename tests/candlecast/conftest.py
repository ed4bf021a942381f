"""Installations to run the command line in."""

import os
import shutil
from pathlib import Path

import pytest
from installation import Installation
from made_once import made_once
from prefect_parts import prefect_home_in


@pytest.fixture(scope="session")
def day_of_the_suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, for all processes of the suite, with what `candlecast daily` left: `work` and its Prefect's `home`.

    It is copied and never opened: even a reader leaves files beside a database, and removes them at its end.
    """
    own = tmp_path_factory.getbasetemp()
    return made_once((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "day", _run_a_day)


def _run_a_day(folder: Path) -> None:
    (folder / "work").mkdir()
    done = Installation(folder / "work", prefect_home_in(folder / "home")).run("daily")
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "work" / "stdout.txt").write_text(done.stdout)


@pytest.fixture(scope="session")
def prefect_home(day_of_the_suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's home as that day left it, once for each process of the suite."""
    return shutil.copytree(day_of_the_suite / "home", tmp_path_factory.mktemp("prefect") / "home")


@pytest.fixture
def empty(tmp_path: Path, prefect_home: Path) -> Installation:
    """An installation in which no command has run yet."""
    return Installation(tmp_path, prefect_home)


@pytest.fixture(scope="session")
def daily_done(day_of_the_suite: Path, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation in which `candlecast daily` has run on the sample; tests may only read it."""
    work = shutil.copytree(day_of_the_suite / "work", tmp_path_factory.mktemp("day") / "work")
    return Installation(work, prefect_home)
