"""Prefect's home of this user: one `serve` keeps its server there, or any number of commands temporary ones.

A lock on a file in the home says which. A server inherits the lock from the command that starts it, so the lock is free
only when both have ended, however they ended.
"""

import fcntl
import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from storage.errors import StorageError

# A server whose command was killed ends within STOP_TIMEOUT_S (server.py); a command's temporary one within a second.
LEFT_SERVER_ENDS_S = 30
_POLL_S = 0.2


class HomeUnusable(StorageError):
    """Prefect's home is used by another server, is another user's, or is of a newer Prefect; the message says what."""


@dataclass(frozen=True)
class Server:
    """The server that a `serve` has started, as it is recorded in the home: processes by id and start time."""

    url: str
    serve: int
    serve_started: int
    server: int
    server_started: int

    @property
    def is_served(self) -> bool:
        """Whether the `serve` that started it is alive."""
        return _started(self.serve) == self.serve_started


def home() -> Path:
    """Return Prefect's home; `set_prefect_defaults` has set it."""
    return Path(os.environ["PREFECT_HOME"]).expanduser()


@contextmanager
def shared() -> Iterator[int]:
    """Hold the home for a temporary server, beside others; yields the lock's descriptor, which the server inherits.

    Raises HomeUnusable while a `serve` has it: use its server instead.
    """
    with _lock_file() as lock:
        _wait_for(lock, fcntl.LOCK_SH)
        yield lock


@contextmanager
def exclusive(url: str) -> Iterator[int]:
    """Hold the home for the server of a `serve`, which will answer at `url`; yields a descriptor, which it inherits.

    A server that a killed `serve` has left ends first, or is ended. Raises HomeUnusable if another `serve` is alive, or
    if a command uses a temporary server.
    """
    with _lock_file() as lock:
        _wait_for(lock, fcntl.LOCK_EX)
        record(lock, url)
        yield lock


def record(lock: int, url: str, server: int = 0) -> None:
    """Record in the locked file which server uses the home, for commands and for the next `serve`."""
    row = Server(url, os.getpid(), _started(os.getpid()) or 0, server, _started(server) or 0)
    os.truncate(lock, 0)
    os.pwrite(lock, json.dumps(asdict(row)).encode(), 0)


def standing_server() -> Server | None:
    """Return the server of the `serve` that is alive in this home; None if there is none."""
    try:
        lock = os.open(_path(), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        server = _recorded(lock)
        return server if server is not None and server.is_served else None
    finally:
        os.close(lock)
    return None


@contextmanager
def _lock_file() -> Iterator[int]:
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise HomeUnusable(
            f"Prefect's home {path.parent} cannot be written: {error.strerror}; "
            "set PREFECT_HOME to a folder that this user may write in"
        ) from None
    try:
        _refuse_newer_prefect(path.parent)
        yield lock
    finally:
        os.close(lock)


def _path() -> Path:
    return home() / "candlecast.lock"


def _wait_for(lock: int, kind: int) -> None:
    """Take the lock; wait for a server that ends because its command has, and end it if it does not."""
    deadline = time.monotonic() + LEFT_SERVER_ENDS_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
            return
        server = _recorded(lock)
        if server is not None and server.is_served:
            raise HomeUnusable(
                f"another candlecast serve (process {server.serve}) uses Prefect's home {home()}; its pages are at "
                f"{server.url.removesuffix('/api')}. Stop it first, or set PREFECT_HOME to another folder"
            )
        if time.monotonic() > deadline:
            if server is None or _started(server.server) != server.server_started:
                raise HomeUnusable(
                    f"another candlecast command uses Prefect's home {home()} with a temporary server; try again when "
                    "it has ended, or set PREFECT_HOME to another folder"
                )
            # Certainly the server that is recorded: no other process has this id and this start time.
            with suppress(ProcessLookupError):
                os.kill(server.server, signal.SIGKILL)
        time.sleep(_POLL_S)


def _recorded(lock: int) -> Server | None:
    try:
        return Server(**json.loads(os.pread(lock, 10_000, 0)))
    except (ValueError, TypeError):
        return None


def _started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the machine started; None if there is no such process."""
    try:
        # The command in parentheses may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _refuse_newer_prefect(folder: Path) -> None:
    """Raise HomeUnusable if the database in the home has a schema that the installed Prefect does not know."""
    database = folder / "prefect.db"
    spec = find_spec("prefect")
    if not database.exists() or spec is None or spec.origin is None:
        return
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as conn:
            (revision,) = conn.execute("SELECT version_num FROM alembic_version").fetchone() or (None,)
    except sqlite3.Error:
        # Prefect's server says what is wrong with it.
        return
    migrations = Path(spec.origin).parent / "server" / "database" / "_migrations" / "versions" / "sqlite"
    known = {
        match[1]
        for file in migrations.glob("*.py")
        if (match := re.search(r'^revision = "(\w+)"', file.read_text(), re.MULTILINE))
    }
    if revision is not None and known and revision not in known:
        raise HomeUnusable(
            f"Prefect's home {folder} was used by a newer Prefect: its database has schema {revision}, which the "
            "installed one does not know. Set PREFECT_HOME to another folder, or install that Prefect again"
        )
