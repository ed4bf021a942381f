"""What Prefect's server has stored of the events that a run sends."""

import time
from typing import Any


def arrived(event: str, series: str, *, count: int = 1, wait_s: float = 60) -> list[dict[str, Any]]:
    """Return the payloads of the events that the server has stored; they travel by websocket, so some patience."""
    from prefect.client.orchestration import get_client

    wanted = {"filter": {"event": {"name": [event]}, "resource": {"id": [f"candlecast.series.{series}"]}}}
    deadline = time.monotonic() + wait_s
    with get_client(sync_client=True) as client:
        while True:
            stored = client._client.post("/events/filter", json=wanted).json()["events"]
            if len(stored) >= count or time.monotonic() > deadline:
                return [one["payload"] for one in stored]
            time.sleep(0.3)
