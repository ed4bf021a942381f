"""The events of a run that Prefect's server has stored."""

import time
from typing import Any


def arrived(event: str, series: str, *, count: int = 1, wait_s: float = 60) -> list[dict[str, Any]]:
    """Return the payloads of the stored events; waits for `count` of them, because they travel by websocket."""
    from prefect.client.orchestration import get_client

    wanted = {"filter": {"event": {"name": [event]}, "resource": {"id": [f"candlecast.series.{series}"]}}}
    deadline = time.monotonic() + wait_s
    with get_client(sync_client=True) as client:
        while True:
            stored = client._client.post("/events/filter", json=wanted).json()["events"]
            if len(stored) >= count or time.monotonic() > deadline:
                return [one["payload"] for one in stored]
            time.sleep(0.3)
