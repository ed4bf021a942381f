"""The Prefect server that a command uses: the configured one, or a temporary one that it starts and stops.

Prefect can start a temporary server itself. Measured side by side (a second `candlecast daily` on the sample, five runs
each in turn), that costs 3.1 CPU-seconds more per command, and the server stays behind when the command is killed.
"""

import atexit
import gc
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import requests

from candlecast.orchestrator import home
from candlecast.orchestrator.configured import configured_url
from storage.errors import StorageError

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 20
NICENESS = 10


class ServerNotStarted(StorageError):
    """Prefect's server did not start; the message says where to look."""


@contextmanager
def orchestrated() -> Iterator[Callable[[], None]]:
    """Provide a Prefect server for the flows of one command; call the result before the first flow, to wait for it.

    It is the configured one, or else that of the `candlecast serve` in the same Prefect home. If there is neither, one
    is started. That takes seconds, so import what the flows need in the meantime. It stops when the interpreter ends.
    """
    # Reading forecasts on this machine has priority over training.
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # Imported modules are never garbage; looking for it takes a quarter of the time (benchmarks/daily.py).
    gc.disable()
    if configured_url():
        yield _imported
        return
    standing = home.standing_server()
    if standing is not None:
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: standing.url}):
            yield partial(_wait_for, standing)
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    server = ExitStack()
    # Prefect sends the last logs and events when the interpreter ends its threads. That is before the functions of
    # atexit, so the server is still there.
    atexit.register(server.close)
    lock = server.enter_context(home.shared())
    command = ["-m", "candlecast.orchestrator.ephemeral_server", str(port)]
    ready = server.enter_context(child(command, url, lock=lock, PREFECT_UI_ENABLED="false"))
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    def wait() -> None:
        ready()
        _imported()

    # Hide Prefect's links to this server: it has no pages and soon stops.
    logging.getLogger("prefect.flow_runs").addFilter(lambda record: not record.getMessage().startswith("View at "))
    # Nothing watches the heartbeats here, and each run would wait up to a second for the thread that sends them.
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield wait


def _wait_for(standing: home.Server) -> None:
    """Wait until the server of a `serve` answers: that command may have just begun."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(standing.url):
        if not standing.is_served or time.monotonic() > deadline:
            raise ServerNotStarted(
                f"the Prefect server of candlecast serve (process {standing.serve}) does not answer at {standing.url}; "
                "start candlecast serve again, or stop it and repeat this command"
            )
        time.sleep(0.1)
    _imported()


def _imported() -> None:
    """Turn garbage collection on again, without the modules imported so far."""
    gc.freeze()
    gc.enable()


@contextmanager
def child(
    arguments: Sequence[str],
    url: str,
    *,
    lock: int,
    begun: Callable[[int], None] = lambda pid: None,
    **environment: str,
) -> Iterator[Callable[[], None]]:
    """Run a server as a child process until the end of the block; call the result to wait until it answers at `url`.

    That call raises ServerNotStarted when the server ends or takes more than START_TIMEOUT_S. The server inherits
    `lock`, so Prefect's home counts as used until it has ended. `begun` is called with its process id.
    """
    # In its own session: Ctrl-C must not stop the server before the command has reported how the run ended.
    server = subprocess.Popen(  # noqa: S603 - our own interpreter and module names
        # -P: no module comes from the working directory.
        [sys.executable, "-P", *arguments],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[lock],
    )
    begun(server.pid)

    def ready() -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(url):
            if server.poll() is not None:
                raise ServerNotStarted(f"Prefect's server ended with code {server.returncode}; see the messages above")
            if time.monotonic() > deadline:
                raise ServerNotStarted(f"Prefect's server did not answer at {url} within {START_TIMEOUT_S} s")
            time.sleep(0.1)

    try:
        yield ready
    finally:
        server.terminate()
        try:
            server.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()


def answers(url: str) -> bool:
    """Return whether a Prefect server answers at this API address."""
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
