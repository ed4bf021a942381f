"""What the environment must hold before anything talks to Prefect: its defaults, and no proxy for this machine."""

import os
import re
from pathlib import Path

# Seconds between a run's heartbeats, the fewest that Prefect allows.
HEARTBEAT_S = 30

# Prefect's home of candlecast: a server of another project, or a newer Prefect, does not use its database too.
HOME = "~/.candlecast/prefect"

DEFAULTS = {
    # A fresh home migrates its own database first, which takes longer than Prefect's 20 s on a small machine.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # A path, so that a browser finds the API under any name and port of the server.
    "PREFECT_UI_API_URL": "/api",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
    # In files, because a server that forgets who holds a deployment's slot neither frees it nor lets its holder go on.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def bypass_proxies_for_loopback() -> None:
    """Add this machine's own addresses to NO_PROXY where a proxy is set.

    No proxy can reach a server on our loopback address, and Prefect's client tries for minutes before it says so.
    """
    proxies = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    if not any(os.environ.get(name) for name in proxies):
        return
    known = [name for name in re.split(r"[\s,]+", os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")) if name]
    if "*" not in known:
        # Some libraries read one spelling and some the other.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys([*known, *LOOPBACK]))


def set_prefect_defaults() -> None:
    """Set what Prefect needs to start here, unless the environment says otherwise. Call before importing it."""
    bypass_proxies_for_loopback()
    # A profile that names a server is found where people keep their profiles, whichever home is used.
    usual_home = os.environ.get("PREFECT_HOME", "~/.prefect")
    os.environ.setdefault("PREFECT_PROFILES_PATH", str(Path(usual_home).expanduser() / "profiles.toml"))
    os.environ.setdefault("PREFECT_HOME", str(Path(HOME).expanduser()))
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
