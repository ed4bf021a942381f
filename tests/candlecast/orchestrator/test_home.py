"""Prefect's home: what a live, a killed and a foreign user of it mean for the next command."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from candlecast.orchestrator import home

URL = "http://127.0.0.1:4299/api"
# Holds the lock that it inherited, as a server does that `serve` has started.
HOLD = "import sys, time; print(flush=True); time.sleep(600)"


@pytest.fixture(autouse=True)
def prefect_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(home, "LEFT_SERVER_ENDS_S", 0.5)
    return tmp_path / "home"


def rewrite(path: Path, **changed: int) -> None:
    row = json.loads((path / "candlecast.lock").read_text())
    (path / "candlecast.lock").write_text(json.dumps(row | changed))


def test_a_home_is_free_again_once_its_serve_has_ended(prefect_home: Path) -> None:
    for _ in range(2):
        assert home.standing_server() is None
        with home.exclusive(URL):
            server = home.standing_server()
            assert server is not None
            assert (server.url, server.serve) == (URL, os.getpid())


def test_a_second_serve_is_refused_and_says_which_one_runs(prefect_home: Path) -> None:
    with (
        home.exclusive(URL),
        pytest.raises(home.HomeUnusable, match=rf"serve \(process {os.getpid()}\).*at http://127.0.0.1:4299\. Stop it"),
        home.exclusive(URL),
    ):
        pass


def left_by_a_killed_serve(path: Path, **changed: int) -> "subprocess.Popen[bytes]":
    """Return a process that holds the home's lock, recorded as the server of a `serve` that is gone."""
    with home.exclusive(URL) as lock:
        left = subprocess.Popen([sys.executable, "-c", HOLD], pass_fds=[lock], stdout=subprocess.PIPE)
        home.record(lock, URL, left.pid)
    rewrite(path, serve_started=1, **changed)
    return left


def test_a_server_that_hangs_after_its_serve_was_killed_is_ended(prefect_home: Path) -> None:
    with left_by_a_killed_serve(prefect_home) as left:
        assert home.standing_server() is None
        with home.exclusive(URL):
            assert left.wait(10) == -9


def test_a_process_that_is_not_certainly_the_recorded_server_is_never_killed(prefect_home: Path) -> None:
    # Its id was given to another process: that one has started at another time.
    with left_by_a_killed_serve(prefect_home, server_started=1) as stranger:
        with pytest.raises(home.HomeUnusable, match="another candlecast command uses"), home.exclusive(URL):
            pass
        assert stranger.poll() is None
        stranger.kill()


def test_temporary_servers_share_a_home_and_a_serve_waits_for_them(prefect_home: Path) -> None:
    with home.shared(), home.shared():
        assert home.standing_server() is None
        refused = pytest.raises(home.HomeUnusable, match="with a temporary server; try again when it has ended, or set")
        with refused, home.exclusive(URL):
            pass
    with home.exclusive(URL), pytest.raises(home.HomeUnusable, match="another candlecast serve"), home.shared():
        pass


def test_a_home_of_a_newer_prefect_is_refused_in_a_sentence(prefect_home: Path) -> None:
    prefect_home.mkdir()
    with closing(sqlite3.connect(prefect_home / "prefect.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR)")
        # The schema of the Prefect that is installed here.
        database.execute("INSERT INTO alembic_version VALUES ('a3b9c7d2e5f1')")
        database.commit()
        with home.shared():
            pass
        database.execute("UPDATE alembic_version SET version_num = '0123456789ab'")
        database.commit()
    for used in (home.shared(), home.exclusive(URL)):
        with pytest.raises(home.HomeUnusable, match="a newer Prefect.*schema 0123456789ab.*PREFECT_HOME"), used:
            pass


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "file" / "home"))
    refused = pytest.raises(home.HomeUnusable, match="home cannot be written: Not a directory; set PREFECT_HOME")
    with refused, home.shared():
        pass


SHOW = """
from candlecast.orchestrator.configured import configured_url
url = configured_url()
import os
print(os.environ["PREFECT_HOME"], url)
"""


@pytest.mark.parametrize("profile", [True, False])
def test_candlecast_has_its_own_home_and_sees_the_users_profile(tmp_path: Path, profile: bool) -> None:
    (tmp_path / ".prefect").mkdir()
    if profile:
        (tmp_path / ".prefect" / "profiles.toml").write_text(
            f'active = "there"\n[profiles.there]\nPREFECT_API_URL = "{URL}"\n'
        )
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=env | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=True,
        cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / ".candlecast" / "prefect"), URL if profile else "None"]
