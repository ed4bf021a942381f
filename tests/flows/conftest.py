"""Real Prefect servers, for flows that run in the process of the tests and for commands that are processes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from disturbed import Undisturbed
    from prefect_parts import PrefectServer

# These check by assert, too, which then says what differs.
pytest.register_assert_rewrite("disturbed", "messages", "reader", "states", "truth", "week")


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary Prefect server with a separate home and database, for the whole session."""
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("prefect"))
    from candlecast.orchestrator.defaults import set_prefect_defaults

    set_prefect_defaults()
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=150):
        yield


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty installation: a folder with a database and a source, both set in the environment."""
    for name in [name for name in os.environ if name.startswith("CANDLECAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", f"sqlite:///{tmp_path / 'candlecast.db'}")
    monkeypatch.setenv("CANDLECAST_SOURCE", str(tmp_path / "source"))
    monkeypatch.setenv("CANDLECAST_SERIES", "Bitstamp_BTCUSD_d")
    monkeypatch.setenv("CANDLECAST_MODEL", "range-ewma")
    monkeypatch.setenv("CANDLECAST_SKILL_DAYS", "365")
    return tmp_path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[PrefectServer]":
    """A Prefect server in a process, for the commands of a module."""
    from prefect_parts import PrefectServer

    with PrefectServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(server: "PrefectServer", tmp_path_factory: pytest.TempPathFactory) -> "Undisturbed":
    """What commands leave behind when nothing disturbs them."""
    from disturbed import Undisturbed

    return Undisturbed(server, tmp_path_factory.mktemp("undisturbed"))
