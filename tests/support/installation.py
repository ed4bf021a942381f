"""Runs the command line as users do: in a separate process and a separate folder."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

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
            # A year is enough here: each test waits for the walk-forward forecasts of its installation.
            "CANDLECAST_SKILL_DAYS": "365",
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


def rows_of(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query on the database of the installation in `folder`."""
    engine = create_engine(f"sqlite:///{folder / 'candlecast.db'}")
    with engine.connect() as conn:
        rows = [tuple(row) for row in conn.execute(text(query))]
    engine.dispose()
    return rows
