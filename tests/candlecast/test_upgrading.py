"""The lines of docs/upgrading.md move an installation of 0.1.0 to this release, and back."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from installation import Installation, rows_of
from schemas import fill, upgrade_to
from stores import Store

from storage.database.engine import make_engine
from storage.database.version import head_version, known_versions

PAGE = (Path(__file__).parents[2] / "docs" / "upgrading.md").read_text()
KEPT = "SELECT origin, created_at, v.* FROM forecasts f JOIN forecast_values v ON v.forecast = f.id ORDER BY 3, 4, 5"


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line.strip().split() for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "candlecast"]


def of_the_first_release(installation: Installation) -> None:
    engine = make_engine(f"sqlite:///{installation.database}")
    upgrade_to(known_versions()[0], engine)
    fill(Store(engine))
    engine.dispose()


def schema(path: Path) -> str:
    with closing(sqlite3.connect(path)) as conn:
        (version,) = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version)


def test_the_pages_commands_upgrade_an_installation_of_the_first_release_and_lead_back(empty: Installation) -> None:
    of_the_first_release(empty)
    before = rows_of(empty.folder, KEPT)
    assert len(before) == 4
    refused = empty.run("forecasts")
    assert (refused.returncode, "candlecast ingest, which upgrade it" in refused.stderr) == (1, True)
    names = [words[0] for words in commands()]
    assert names == ["backup", "ingest", "doctor", "forecasts", "skill", "setup", "restore"]
    for words in commands():
        # Its own tests run it; it needs a server.
        if words[0] == "setup":
            continue
        done = empty.run(*words)
        # The sample ends in 2019, which doctor calls stale.
        assert done.returncode in ((0, 1) if words[0] == "doctor" else (0,)), (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        if words[0] == "ingest":
            assert schema(empty.database) == head_version()
            assert rows_of(empty.folder, KEPT) == before
        if words[0] == "forecasts":
            # Networks of one series serve no more.
            assert re.search(r"Bitstamp_BTCUSD_d +naive ", done.stdout)
    assert schema(empty.database) == known_versions()[0]
    assert rows_of(empty.folder, KEPT) == before


def test_an_ingest_whose_source_is_away_upgrades_the_schema_too(empty: Installation) -> None:
    of_the_first_release(empty)
    done = empty.run("ingest", CANDLECAST_SOURCE=str(empty.folder / "nowhere"))
    assert done.returncode == 1
    assert schema(empty.database) == head_version()
