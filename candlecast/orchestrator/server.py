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
from pathlib import Path

import requests

from candlecast.orchestrator.defaults import set_prefect_defaults
from storage.errors import StorageError

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 20
NICENESS = 10


class ServerNotStarted(StorageError):
    """Prefect's server did not start; the message says where to look."""


@contextmanager
def orchestrated() -> Iterator[Callable[[], None]]:
    """Provide a Prefect server for the flows of one command; call the result before the first flow, to wait for it.

    If no server is configured, one is started. That takes seconds, so import what the flows need in the meantime. It
    stops when the interpreter ends.
    """
    # Reading forecasts on this machine has priority over training.
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # Imported modules are never garbage; looking for it takes a quarter of the time (benchmarks/daily.py).
    gc.disable()
    set_prefect_defaults()
    if _may_be_configured():
        from prefect.settings import get_current_settings

        if get_current_settings().api.url:
            yield _imported
            return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    server = ExitStack()
    # Prefect sends the last logs and events when the interpreter ends its threads. That is before the functions of
    # atexit, so the server is still there.
    atexit.register(server.close)
    command = ["-m", "candlecast.orchestrator.ephemeral_server", str(port)]
    ready = server.enter_context(child(command, url, PREFECT_UI_ENABLED="false"))
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    def wait() -> None:
        ready()
        _imported()

    # Hide Prefect's links to this server: it has no pages and soon stops.
    logging.getLogger("prefect.flow_runs").addFilter(lambda record: not record.getMessage().startswith("View at "))
    # Nothing watches the heartbeats here, and each run would wait up to a second for the thread that sends them.
    with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield wait


def _imported() -> None:
    """Turn garbage collection on again, without the modules imported so far."""
    gc.freeze()
    gc.enable()


def _may_be_configured() -> bool:
    """Return whether a server may be configured. Asking Prefect itself would take a second."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    return (
        # If Prefect is imported already, asking it costs nothing.
        "prefect" in sys.modules
        or "PREFECT_API_URL" in os.environ
        or profiles.exists()
        or Path("prefect.toml").exists()
        or "PREFECT_" in _text(".env").upper()
        or "[tool.prefect" in _text("pyproject.toml")
    )


def _text(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace")
    except OSError:
        return ""


@contextmanager
def child(arguments: Sequence[str], url: str, **environment: str) -> Iterator[Callable[[], None]]:
    """Run a server as a child process until the end of the block; call the result to wait until it answers at `url`.

    That call raises ServerNotStarted when the server ends or takes more than START_TIMEOUT_S.
    """
    # In its own session: Ctrl-C must not stop the server before the command has reported how the run ended.
    server = subprocess.Popen(  # noqa: S603 - our own interpreter and module names
        # -P: no module comes from the working directory.
        [sys.executable, "-P", *arguments],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )

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
