"""The client of the configured source."""

from flows.settings import Settings
from storage.source.client import TRIES, CddClient


def cdd_client(settings: Settings, *, tries: int = TRIES) -> CddClient:
    """Return a client for `settings.source` with the settings' limits; make one a run, since it spaces its requests."""
    return CddClient(
        settings.source,
        timeout_s=settings.fetch_timeout_s,
        max_bytes=settings.max_download_bytes,
        ca_bundle=settings.ca_bundle,
        user_agent=settings.user_agent,
        tries=tries,
        interval_s=settings.fetch_interval_s,
    )
