"""`candlecast serve`: Prefect's server and the deployments behind one command, for a single machine."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, cast
from uuid import UUID

from candlecast.orchestrator import home
from candlecast.orchestrator.configured import configured_url
from candlecast.orchestrator.server import ServerNotStarted, answers, child
from storage.redaction import safe_url

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.runner import Runner

# Five minutes after the daily candles have closed; the day then waits until the source has written its files.
DAILY = "5 0 * * *"
NIGHTLY = "20 3 * * *"
# The first day starts this long after `serve`.
FIRST_DAY_AFTER = timedelta(minutes=1)
# Two days, because one may wait while the next begins, and one run of each other deployment: a day never waits until a
# backfill has ended.
MOST_RUNS = 2 + 3


def serve_schedule(port: int, *, notify: str | None = None, notes: bool = False) -> None:
    """Run the deployments until the process is stopped, on the configured Prefect server or on one that it starts."""
    # At its end the runner may pause the schedules, for a server that goes on. A server of our own is stopped with us,
    # by Ctrl-C and by systemd, and the runner would go on asking it for minutes.
    goes_on = configured_url() is not None
    with _server(port) as url:
        # The processes of the flow runs inherit both. They import no module from the working directory.
        os.environ["PREFECT_API_URL"] = url
        os.environ["PYTHONSAFEPATH"] = "1"
        # Prefect reads its environment when it is imported, which it may be already.
        from prefect.client.orchestration import get_client
        from prefect.runner import Runner
        from prefect.settings import PREFECT_API_URL, temporary_settings
        from prefect.states import Scheduled

        from candlecast.orchestrator.setup import prepare

        with temporary_settings({PREFECT_API_URL: url}):
            prepare(notify=notify, notes=notes, pools=False)
            # `prefect.serve` would register the deployments again after the first day was planned. Prefect then plans
            # their runs a second time, and may keep those that it was just planning: two days would begin at once.
            runner = Runner(limit=MOST_RUNS, pause_on_shutdown=goes_on)
            scheduled, *_ = [runner.add_deployment(deployment) for deployment in deployments()]
            # Run one day soon, so that a machine that was restarted while a day waited continues to wait. It does not
            # start at once, so that stopping this command right away does not interrupt a run that has just begun.
            soon = datetime.now(UTC) + FIRST_DAY_AFTER
            with get_client(sync_client=True) as client:
                client.create_flow_run_from_deployment(cast("UUID", scheduled), state=Scheduled(scheduled_time=soon))
            # Printed last: a person who stops the command after reading this line does not interrupt its preparations.
            print(
                f"candlecast: daily from 00:05 UTC; Prefect's pages are at {safe_url(url).removesuffix('/api')}",
                file=sys.stderr,
            )
            _run(runner)


def _run(runner: "Runner") -> None:
    """Run what is due until this process is stopped, as `prefect.serve` does."""
    from prefect.exceptions import TerminationSignal

    try:
        asyncio.run(runner.start())
    except (KeyboardInterrupt, TerminationSignal) as stopped:
        print(f"candlecast: received {type(stopped).__name__}, stopped", file=sys.stderr)


def deployments() -> "list[RunnerDeployment]":
    """Return the deployments that `serve` offers, the day first: those of prefect.yaml that need no pool."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from candlecast.orchestrator import served

    deploy = partial(RunnerDeployment.from_flow, entrypoint_type=EntrypointType.MODULE_PATH)
    offered = {
        "scheduled": deploy(
            served.scheduled, name="scheduled", schedule=Cron(DAILY, timezone="UTC"), parameters={"wait": True}
        ),
        "backfill": deploy(served.backfill, name="on-demand", concurrency_limit=1),
        "verify": deploy(served.verify, name="nightly", schedule=Cron(NIGHTLY, timezone="UTC"), concurrency_limit=1),
        "study": deploy(served.study, name="on-demand", concurrency_limit=1),
    }
    for name, deployment in offered.items():
        # Prefect would set the flow's own module here, and for `scheduled` the flow without its time-out.
        deployment.entrypoint = f"{served.__name__}.{name}"
    return list(offered.values())


@contextmanager
def _server(port: int) -> Iterator[str]:
    configured = configured_url()
    if configured:
        yield configured
        return
    url = f"http://127.0.0.1:{port}/api"
    with home.exclusive(url) as lock:
        if answers(url):
            raise ServerNotStarted(
                f"something answers at {url} already; if it is the Prefect server you want, set PREFECT_API_URL={url}, "
                f"otherwise choose another --port"
            )
        command = ["-m", "candlecast.orchestrator.standing_server", str(port)]
        with child(command, url, lock=lock, begun=partial(home.record, lock, url)) as ready:
            ready()
            yield url
