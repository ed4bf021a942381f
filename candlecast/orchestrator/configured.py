"""Which Prefect server is configured: by the environment, a profile, or a file where Prefect looks for settings."""

import os
import sys
from pathlib import Path

from candlecast.orchestrator.defaults import set_prefect_defaults


def configured_url() -> str | None:
    """Return the API address of the configured Prefect server, None if none is; sets Prefect's defaults first."""
    set_prefect_defaults()
    # The environment has priority over all other places.
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    if not _may_be_configured():
        return None
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def _may_be_configured() -> bool:
    """Return whether a server may be configured. Asking Prefect itself would take a second."""
    return (
        # If Prefect is imported already, asking it costs nothing.
        "prefect" in sys.modules
        or Path(os.environ["PREFECT_PROFILES_PATH"]).expanduser().exists()
        or Path("prefect.toml").exists()
        or "PREFECT_" in _text(".env").upper()
        or "[tool.prefect" in _text("pyproject.toml")
    )


def _text(file: str) -> str:
    try:
        return Path(file).read_text(errors="replace")
    except OSError:
        return ""
