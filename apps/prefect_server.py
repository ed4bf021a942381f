"""The Prefect server behind a command: the one that is configured, or one of the command's own."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import requests

from apps.orchestration import set_prefect_defaults
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
    set_prefect_defaults()
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        get_current_settings,
        temporary_settings,
    )

    if get_current_settings().api.url:
        yield lambda: None
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    with (
        child(["-m", "apps.ephemeral_server", str(port)], url, PREFECT_UI_ENABLED="false") as ready,
        # Nobody watches for signs of life here, and each run would wait up to a second for the thread that gives them.
        temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        # Of the address of a server that has no pages and will be gone.
        logging.getLogger("prefect.flow_runs").addFilter(lambda said: not said.getMessage().startswith("View at "))
        try:
            yield ready
        finally:
            # The server is ours: what is still on its way to it has to arrive before it ends.
            _send_the_rest()


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
        [sys.executable, *arguments],
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
