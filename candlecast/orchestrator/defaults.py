"""Starting Prefect from the command line: the defaults that its first start needs."""

import os

# Seconds between a run's signs of life, the fewest that Prefect allows.
HEARTBEAT_S = 30

DEFAULTS = {
    # A fresh home migrates its own database first, which takes longer than Prefect's 20 s on a small machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Where a browser finds the API: beside the pages, whatever name and port it knows the server by.
    "PREFECT_UI_API_URL": "/api",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
}


def set_prefect_defaults() -> None:
    """Set what Prefect needs to start here, unless the environment says otherwise. Call before importing it."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
