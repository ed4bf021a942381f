"""Events for Prefect's automations: a new forecast, a drifting champion, stale data, a late candle."""

from prefect import events

NEW_FORECAST = "candlecast.forecast"
DRIFT = "candlecast.drift"
STALE = "candlecast.stale"
LATE = "candlecast.late"


def emit_event(event: str, *, series: str, message: str, **payload: object) -> None:
    """Emit `event` about `series`; `message` says it to people in one line, `payload` holds plain JSON values."""
    events.emit_event(
        event,
        resource={"prefect.resource.id": f"candlecast.series.{series}", "prefect.resource.name": series},
        payload={"message": message, **payload},
    )
