"""A real PostgreSQL server for tests: a data folder and a free loopback port; tests may start and stop it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from missing import skip_or_fail


class Cluster:
    """A server in a temporary folder; `url` is its address without a database. Use as a context manager."""

    def __init__(self) -> None:
        self._programs = programs()
        # Not in pytest's folder: each session that root starts removes other users' rights in it.
        self._home = Path(tempfile.mkdtemp(prefix="candlecast-postgresql-"))
        self._user: list[str] = []
        if os.geteuid() == 0:
            # initdb refuses root.
            owner, self._user = ordinary_owner()
            shutil.chown(self._home, owner)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        # initdb allows connections from loopback only; tests/flows/test_other_hosts.py adds its networks.
        self.url = f"postgresql+psycopg://candlecast@127.0.0.1:{self._port}"
        self._log = (self._home / "log").open("wb")
        self._server: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [*self._user, self._programs / "initdb", "-D", self._home / "data", "-U", "candlecast", "--auth=trust",
             "--no-sync", "-E", "UTF8", "--locale=C"],
            check=True, stdout=self._log, stderr=self._log, cwd="/",
        )  # fmt: skip

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._server = subprocess.Popen(
            [*self._user, self._programs / "postgres", "-D", self._home / "data", "-p", str(self._port),
             "-k", self._home, "-c", "listen_addresses=*", "-c", "fsync=off"],
            stdout=self._log, stderr=self._log, cwd="/",
        )  # fmt: skip
        ready = [self._programs / "pg_isready", "-h", "127.0.0.1", "-p", str(self._port), "-q"]
        for _ in range(300):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.1)
        self._server.terminate()
        pytest.fail("PostgreSQL did not start in 30 s: " + (self._home / "log").read_text()[-2000:])

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server; `immediately` drops every connection and writes nothing, as `pg_ctl stop -m immediate`."""
        assert self._server is not None
        self._server.send_signal(signal.SIGQUIT if immediately else signal.SIGTERM)
        self._server.wait(30)

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()
        shutil.rmtree(self._home)


def ordinary_owner() -> tuple[str, list[str]]:
    """Return a user for servers that refuse root, and the command that runs another command as that user."""
    owner = next(name for name in ("postgres", "nobody") if _has_user(name))
    return owner, ["setpriv", f"--reuid={owner}", f"--regid={pwd.getpwnam(owner).pw_gid}", "--clear-groups"]


def programs() -> Path:
    """Return the folder of PostgreSQL's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = next((str(folder / "initdb") for folder in folders if (folder / "initdb").exists()), None)
    initdb = path or shutil.which("initdb")
    if initdb is None:
        skip_or_fail("PostgreSQL's initdb is not installed")
    assert initdb is not None
    return Path(initdb).parent


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
