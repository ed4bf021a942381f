"""Real parts shared by the suite: the data folder, the sample, real SQLite files and a real PostgreSQL."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from missing import missing

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CDD files of many vintages, which the project may use but not contain."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real files are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def sample_csv() -> Path:
    """The bundled sample file."""
    return ROOT / "sample" / "Coinbase_BTCUSD_d.csv"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a real, empty PostgreSQL server's maintenance database, on a free loopback port."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = next((str(folder / "initdb") for folder in folders if (folder / "initdb").exists()), None)
    initdb = found or shutil.which("initdb")
    if initdb is None:
        missing("PostgreSQL's initdb is not installed")
    assert initdb is not None
    programs = Path(initdb).parent
    # Not in pytest's folder: as root, every session that starts takes away the rights of other users in it.
    home = Path(tempfile.mkdtemp(prefix="candlecast-postgresql-"))
    user: list[str] = []
    if os.geteuid() == 0:
        # initdb refuses root.
        owner = next(name for name in ("postgres", "nobody") if _has_user(name))
        user = ["setpriv", f"--reuid={owner}", f"--regid={pwd.getpwnam(owner).pw_gid}", "--clear-groups"]
        shutil.chown(home, owner)
    data = home / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (home / "log").open("wb")
    subprocess.run(
        [*user, initdb, "-D", data, "-U", "candlecast", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
        check=True, stdout=log, stderr=log, cwd="/",
    )  # fmt: skip
    server = subprocess.Popen(
        [*user, programs / "postgres", "-D", data, "-p", str(port), "-k", home, "-c", "listen_addresses=*",
         "-c", "fsync=off"],
        stdout=log, stderr=log, cwd="/",
    )  # fmt: skip
    # initdb lets loopback in and nobody else; tests/flows/test_other_hosts.py adds its own networks.
    url = f"postgresql+psycopg://candlecast@127.0.0.1:{port}"
    ready = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-q"]
    for _ in range(300):
        if subprocess.run(ready, check=False).returncode == 0:
            break
        time.sleep(0.1)
    else:
        server.terminate()
        pytest.fail("PostgreSQL did not start in 30 s: " + (home / "log").read_text()[-2000:])
    yield url
    server.terminate()
    server.wait(30)
    log.close()
    shutil.rmtree(home)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@pytest.fixture
def postgresql_url(postgresql: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh database on the real PostgreSQL, dropped afterwards."""
    import psycopg

    name = f"t{abs(hash(request.node.nodeid)):x}"
    admin = postgresql.replace("+psycopg", "") + "/postgres"
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        conn.execute(f'CREATE DATABASE "{name}"')
    yield f"{postgresql}/{name}"
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: once a real SQLite file, once a real PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'candlecast.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url
