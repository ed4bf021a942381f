"""Folders that one of the suite's processes makes and all of them use."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, which the first process that asks for it makes, while the others wait.

    `make` fills the folder that it is given. If it fails, the next process tries again.
    """
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
            make(unfinished)
            unfinished.rename(folder)
    return folder


def prefect_database() -> Path:
    """Return an empty database of the installed Prefect: making one takes longer than a server needs to start."""
    # It outlives the session: it is the same for each one until Prefect is another.
    name = f"candlecast-tests-{os.getuid()}-prefect-{version('prefect')}"
    return made_once(Path(tempfile.gettempdir()) / name, _migrate_prefect) / "prefect.db"


def _migrate_prefect(home: Path) -> None:
    own = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | {"PREFECT_HOME": str(home)}
    command = [str(Path(sys.executable).parent / "prefect"), "server", "database", "upgrade", "--yes"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
