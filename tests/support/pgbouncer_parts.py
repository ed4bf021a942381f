"""A real PgBouncer in transaction mode before a real PostgreSQL."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from missing import skip_or_fail
from postgresql_parts import ordinary_owner


class PgBouncer:
    """A pooler of two sessions before the PostgreSQL at `url`; use as a context manager. `url` is then its address."""

    def __init__(self, url: str, *, ignored: str = "") -> None:
        """`ignored` names startup parameters that it accepts and drops; it refuses connections with any other."""
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        if not Path(program).exists():
            skip_or_fail("pgbouncer is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._home = Path(tempfile.mkdtemp(prefix="candlecast-pgbouncer-"))
        behind = url.rsplit(":", 1)[1].split("/")[0]
        (self._home / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={behind} user=candlecast\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nunix_socket_dir =\n"
            f"ignore_startup_parameters = {ignored}\nlogfile = {self._home / 'log'}\n"
        )
        self.url = url.replace(f":{behind}", f":{self._port}")
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [program, str(self._home / "pgbouncer.ini")]

    def __enter__(self) -> "PgBouncer":
        if os.geteuid() == 0:
            # It refuses root.
            owner, before = ordinary_owner()
            shutil.chown(self._home, owner)
            self._command = [*before, *self._command]
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return self
            time.sleep(0.05)
        pytest.fail("PgBouncer did not start in 10 s: " + (self._home / "log").read_text()[-2000:])

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._home)
