"""Real parts shared by the suite: the data folder, the sample, real SQLite files and a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hooks import WebhookReceiver
from hypothesis import Phase, settings
from postgresql_parts import Cluster

ROOT = Path(__file__).parents[1]
# These slow tests mostly wait, for Prefect to find that a run gives no signs of life. One process runs all of them, one
# after another, while the other processes work.
MOSTLY_WAIT = (
    "test_killed_states.py", "test_week.py", "test_killed_waits.py", "test_states.py", "test_cron_fires.py",
)  # fmt: skip
# These take minutes by themselves: begun last, one process would run such a file while the others have nothing left.
LONGEST = (
    "test_soak.py", "test_gpu_pool.py", "test_faults.py", "test_kills.py", "test_secrets.py", "test_page.py",
    "test_daily.py", "test_waiting.py", "test_cli.py", "test_openapi.py", "test_other_schemas.py", "test_app.py",
    "test_recipe.py", "test_study.py", "test_backfill.py",
)  # fmt: skip

# Hypothesis fails an example that takes 200 ms, unless told not to: on a busy machine any example may.
settings.register_profile("candlecast", deadline=None)
settings.load_profile("candlecast")
# For `make mutants`: the same examples for every mutant, and no search for the smallest one that fails.
settings.register_profile("mutants", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = [*MOSTLY_WAIT, *LONGEST]
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one process, and all files that mostly wait to the same one."""
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "files that mostly wait" if file.endswith(MOSTLY_WAIT) else file

    return Files(config, log)


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
    with Cluster() as cluster:
        yield cluster.url


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


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """A real server that records what it is sent, for webhooks."""
    receiver = WebhookReceiver()
    yield receiver
    receiver.close()
