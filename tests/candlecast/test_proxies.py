"""A proxy in the environment is used for the source and never for servers on this machine."""

import os
import socket

import pytest
from installation import Installation

from candlecast.orchestrator.defaults import bypass_proxies_for_loopback

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def dead_proxy() -> str:
    """The URL of a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"HTTP_PROXY": "http://p:1"}, "localhost,127.0.0.1,::1"),
        ({"all_proxy": "socks5://p:1", "NO_PROXY": ".example, 10.0.0.1"}, ".example,10.0.0.1,localhost,127.0.0.1,::1"),
        ({"https_proxy": "http://p:1", "no_proxy": "127.0.0.1", "NO_PROXY": "x"}, "127.0.0.1,localhost,::1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ({"HTTP_PROXY": "", "NO_PROXY": "x"}, None),
        ({}, None),
    ],
)
def test_loopback_is_added_to_the_hosts_without_proxy(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], left: str | None
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    # Set through monkeypatch, which restores it after the test.
    monkeypatch.setenv("no_proxy", given.get("no_proxy", ""))
    monkeypatch.setenv("NO_PROXY", given.get("NO_PROXY", ""))
    bypass_proxies_for_loopback()
    bypassed = (os.environ["no_proxy"], os.environ["NO_PROXY"])
    assert bypassed == ((left, left) if left else (given.get("no_proxy", ""), given.get("NO_PROXY", "")))


@pytest.mark.slow
def test_a_day_runs_with_a_proxy_that_cannot_reach_loopback(empty: Installation, dead_proxy: str) -> None:
    done = empty.run("daily", CANDLECAST_MODEL="naive", HTTP_PROXY=dead_proxy, HTTPS_PROXY=dead_proxy)
    assert done.returncode == 0, done.stderr
    assert "close forecast by naive" in done.stdout


def test_a_source_on_another_host_is_requested_through_the_proxy(empty: Installation, dead_proxy: str) -> None:
    done = empty.run("ingest", CANDLECAST_SOURCE="http://archive.invalid/cdd/", HTTP_PROXY=dead_proxy)
    assert done.returncode == 1
    assert "ProxyError" in done.stderr
