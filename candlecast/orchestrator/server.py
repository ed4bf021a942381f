"""The Prefect server behind a command: the one that is configured, or one of the command's own."""

import gc
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    """Give the flows of one command a Prefect server; call the result before the first of them, to wait for it.

    Where no server is configured one is started, which takes seconds: import meanwhile what the flows need.
    """
    # Whoever reads forecasts meanwhile on this machine goes before whoever trains.
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    # Nothing that is imported is garbage: looking for it takes a quarter of the time (benchmarks/daily.py).
    gc.disable()
    set_prefect_defaults()
    if _may_be_configured():
        from prefect.settings import get_current_settings

        if get_current_settings().api.url:
            yield _imported
            return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    with child(["-m", "candlecast.orchestrator.ephemeral_server", str(port)], url, PREFECT_UI_ENABLED="false") as ready:
        from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        def wait() -> None:
            ready()
            _imported()

        # Of the address of a server that has no pages and will be gone.
        logging.getLogger("prefect.flow_runs").addFilter(lambda said: not said.getMessage().startswith("View at "))
        # Nobody watches for signs of life here, and each run would wait up to a second for the thread that gives them.
        with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            try:
                yield wait
            finally:
                # The server is ours: what is still on its way to it has to arrive before it ends.
                _send_the_rest()


def _imported() -> None:
    """Look for garbage from now on, but never again among what was imported."""
    gc.freeze()
    gc.enable()


def _may_be_configured() -> bool:
    """Return whether Prefect may have been told of a server: to ask it costs a second, which ours takes to start in."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    return (
        # Then it costs nothing.
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


def _send_the_rest() -> None:
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=STOP_TIMEOUT_S)
    APILogWorker.drain_all(timeout=STOP_TIMEOUT_S)


@contextmanager
def child(arguments: Sequence[str], url: str, **environment: str) -> Iterator[Callable[[], None]]:
    """Run a server as a child of ours until the end of the block; the result waits until it answers at `url`.

    Raises ServerNotStarted, from the wait, when the server ends or takes more than START_TIMEOUT_S.
    """
    # In a session of its own: Ctrl-C is for us, who still have to tell it how the run ended.
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
