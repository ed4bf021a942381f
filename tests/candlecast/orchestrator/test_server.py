"""A command's server: started only if none is set where Prefect looks, and stopped after the last log and event."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from installation import Installation

from candlecast.orchestrator.configured import _may_be_configured, configured_url

URL = "http://127.0.0.1:4299/api"
FILES = {
    "home/profiles.toml": f'active = "there"\n[profiles.there]\nPREFECT_API_URL = "{URL}"\n',
    ".env": f"prefect_api_url={URL}\n",
    "prefect.toml": f'[api]\nurl = "{URL}"\n',
    "pyproject.toml": f'[tool.prefect.api]\nurl = "{URL}"\n',
}


def url_that_prefect_finds() -> str | None:
    from prefect.settings.models.root import Settings

    return Settings().api.url


def may_be_configured(monkeypatch: pytest.MonkeyPatch) -> bool:
    """Ask as a command does at its start, before Prefect is imported."""
    with monkeypatch.context() as begun:
        begun.delitem(sys.modules, "prefect", raising=False)
        return _may_be_configured()


@pytest.fixture(autouse=True)
def nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "home" / "profiles.toml"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def test_without_a_server_setting_prefect_is_not_consulted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["prefect>=3.8.8"]\n')
    (tmp_path / ".env").write_text("CANDLECAST_SERIES=Bitstamp_BTCUSD_d\n")
    assert url_that_prefect_finds() is None
    assert not may_be_configured(monkeypatch)


@pytest.mark.parametrize("file", FILES)
def test_a_server_named_in_a_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    (tmp_path / file).write_text(FILES[file])
    assert url_that_prefect_finds() == URL
    assert may_be_configured(monkeypatch)


def test_a_server_named_in_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", URL)
    assert url_that_prefect_finds() == URL
    assert configured_url() == URL


def test_a_prefect_that_is_already_imported_is_consulted() -> None:
    import prefect  # noqa: F401 - what is tested is that it is there

    assert _may_be_configured()


def test_the_last_logs_and_events_of_a_command_reach_its_server(daily_done: Installation, prefect_home: Path) -> None:
    with closing(sqlite3.connect(daily_done.database)) as database:
        (run,) = database.execute("SELECT DISTINCT flow_run FROM forecasts WHERE kind = 'live'").fetchone()
    with closing(sqlite3.connect(prefect_home / "prefect.db")) as server:
        logs = server.execute("SELECT message FROM log WHERE flow_run_id = ? ORDER BY timestamp", (run,)).fetchall()
        events = server.execute("SELECT event FROM events WHERE related LIKE ?", (f"%{run}%",)).fetchall()
    assert logs[-1] == ("Finished in state Completed()",)
    assert {("candlecast.forecast",), ("candlecast.stale",)} <= set(events)


# A server of an application whose end fails, as that of Prefect fails before all its services have begun.
ENDS_IN_AN_ERROR = """
import asyncio, os, signal, sys
from contextlib import asynccontextmanager
from candlecast.orchestrator.ephemeral_server import Server, uvicorn

@asynccontextmanager
async def lifespan(app):
    asyncio.get_running_loop().call_later(0.2, os.kill, os.getpid(), signal.SIGTERM)
    yield
    raise AssertionError("services not started")

from starlette.applications import Starlette
Server(uvicorn.Config(Starlette(lifespan=lifespan), port=0, log_level="error", lifespan="on")).run()
"""


def test_a_server_that_fails_while_it_ends_prints_nothing_below_the_commands_result() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS_IN_AN_ERROR], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")
