"""`candlecast serve`: Prefect's server and the daily schedule behind one command, for a single machine."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from candlecast.orchestrator.server import ServerNotStarted, answers, child
from storage.redaction import safe_url

# Five minutes after the daily candles have closed; the day then waits until the source has written its files.
CRON = "5 0 * * *"
# The first day starts this long after `serve`.
FIRST_DAY_AFTER = timedelta(minutes=1)


def serve_schedule(port: int, *, notify: str | None = None) -> None:
    """Run the schedule until the process is stopped, on the server of PREFECT_API_URL or on a server it starts."""
    with _server(port) as url:
        os.environ["PREFECT_API_URL"] = url
        # The processes of the flow runs inherit this: they import no module from the working directory.
        os.environ["PYTHONSAFEPATH"] = "1"
        # Prefect reads its environment when it is imported.
        from prefect import serve
        from prefect.client.orchestration import get_client
        from prefect.deployments.runner import RunnerDeployment
        from prefect.schedules import Cron
        from prefect.states import Scheduled
        from prefect.types.entrypoint import EntrypointType

        from candlecast.orchestrator.served import scheduled
        from candlecast.orchestrator.setup import prepare

        prepare(notify=notify, pools=False)
        deployment = RunnerDeployment.from_flow(
            scheduled,
            name="scheduled",
            schedule=Cron(CRON, timezone="UTC"),
            parameters={"wait": True},
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        # Prefect would set flows.daily.daily here, the plain flow without the options of `scheduled`.
        deployment.entrypoint = "candlecast.orchestrator.served.scheduled"
        # Run one day soon, so that a machine that was restarted while a day waited continues to wait. It does not start
        # at once, so that stopping this command right away does not interrupt a run that has just begun.
        soon = datetime.now(UTC) + FIRST_DAY_AFTER
        with get_client(sync_client=True) as client:
            client.create_flow_run_from_deployment(
                cast("UUID", deployment.apply()), state=Scheduled(scheduled_time=soon)
            )
        # Printed last: a person who stops the command after reading this line does not interrupt its preparations.
        print(
            f"candlecast: daily from 00:05 UTC; Prefect's pages are at {safe_url(url).removesuffix('/api')}",
            file=sys.stderr,
        )
        serve(deployment, limit=1, print_starting_message=False)


@contextmanager
def _server(port: int) -> Iterator[str]:
    configured = os.environ.get("PREFECT_API_URL")
    if configured:
        yield configured
        return
    url = f"http://127.0.0.1:{port}/api"
    if answers(url):
        raise ServerNotStarted(
            f"something answers at {url} already; if it is the Prefect server you want, set PREFECT_API_URL={url}, "
            f"otherwise choose another --port"
        )
    with child(["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)], url) as ready:
        ready()
        yield url
