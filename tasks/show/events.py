"""Events for Prefect's automations: forecasts, notes, a drifting or demoted champion, odd bands, stale or late data."""

from prefect import events

NEW_FORECAST = "candlecast.forecast"
DRIFT = "candlecast.drift"
STALE = "candlecast.stale"
LATE = "candlecast.late"
DEMOTED = "candlecast.demoted"
ODD_BAND = "candlecast.odd-band"
NOTE = "candlecast.note"


def emit_event(event: str, *, series: str, message: str, **payload: object) -> None:
    """Emit `event` about `series`; `message` says it to people in one line, `payload` holds plain JSON values."""
    events.emit_event(
        event,
        resource={"prefect.resource.id": f"candlecast.series.{series}", "prefect.resource.name": series},
        payload={"message": message, **payload},
    )
