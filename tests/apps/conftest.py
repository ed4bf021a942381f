"""The command line as people run it: a process of its own, in a folder of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass
class Installation:
    """A folder with a database and settings; `run` runs the program in it."""

    folder: Path
    prefect_home: Path

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CANDLECAST_", "PREFECT_"))}
        return inherited | {
            "PREFECT_HOME": str(self.prefect_home),
            "CANDLECAST_SOURCE": str(ROOT / "sample"),
            "CANDLECAST_SERIES": "Coinbase_BTCUSD_d",
            "CANDLECAST_MODEL": "range-ewma",
            **more,
        }

    def run(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        command = [str(Path(sys.executable).parent / "candlecast"), *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    @property
    def database(self) -> Path:
        return self.folder / "candlecast.db"


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect-home")


@pytest.fixture
def empty(tmp_path: Path, prefect_home: Path) -> Installation:
    """An installation in which nothing has been run yet."""
    return Installation(tmp_path, prefect_home)


@pytest.fixture(scope="session")
def daily_done(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Installation:
    """An installation in which `candlecast daily` has run on the sample; tests may read it, never change it."""
    made = Installation(tmp_path_factory.mktemp("installation"), prefect_home)
    done = made.run("daily")
    assert done.returncode == 0, done.stdout + done.stderr
    (made.folder / "stdout.txt").write_text(done.stdout)
    return made
