"""Unix seconds and aware instants."""

from datetime import UTC, datetime


def from_unix(seconds: int) -> datetime:
    """Return the aware UTC instant of unix `seconds`."""
    return datetime.fromtimestamp(seconds, UTC)
