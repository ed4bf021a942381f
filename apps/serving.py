"""`candlecast serve`: Prefect's server and the daily schedule behind one command, for a single machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from storage.errors import StorageError
from storage.urls import public

# After the daily candles have closed at midnight UTC and CDD has had time to write its files.
CRON = "20 0 * * *"
START_TIMEOUT_S = 180


class ServerNotStarted(StorageError):
    """Prefect's server did not start; the message says where to look."""


def serve_schedule(port: int, *, notify: str | None = None) -> None:
    """Run the schedule until the process is stopped, beside a Prefect server of its own or that of PREFECT_API_URL."""
    with _server(port) as url:
        os.environ["PREFECT_API_URL"] = url
        # Prefect reads its environment when it is imported.
        from prefect.schedules import Cron
        from prefect.types.entrypoint import EntrypointType

        from apps.prefect_setup import prepare
        from flows.daily import scheduled

        prepare(notify=notify, pools=False)
        print(
            f"candlecast: daily at 00:20 UTC; Prefect's pages are at {public(url).removesuffix('/api')}",
            file=sys.stderr,
        )
        scheduled.serve(
            name="scheduled",
            schedule=Cron(CRON, timezone="UTC"),
            entrypoint_type=EntrypointType.MODULE_PATH,
            limit=1,
            print_starting_message=False,
        )


@contextmanager
def _server(port: int) -> Iterator[str]:
    given = os.environ.get("PREFECT_API_URL")
    if given:
        yield given
        return
    url = f"http://127.0.0.1:{port}/api"
    if _answers(url):
        raise ServerNotStarted(
            f"something answers at {url} already; if it is the Prefect server you want, set PREFECT_API_URL={url}, "
            f"else choose another --port"
        )
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own interpreter, a number
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(url):
            if server.poll() is not None:
                raise ServerNotStarted(f"Prefect's server ended with code {server.returncode}; see the messages above")
            if time.monotonic() > deadline:
                raise ServerNotStarted(f"Prefect's server did not answer at {url} within {START_TIMEOUT_S} s")
            time.sleep(0.3)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False
