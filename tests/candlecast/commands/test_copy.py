"""`candlecast copy`, and docs/operating.md, "Moving to another database": every line of it is run."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from installation import Installation

ROOT = Path(__file__).parents[3]
SERIES = "Coinbase_BTCUSD_d"
PAGE = (ROOT / "docs" / "operating.md").read_text()
READERS = [
    ("forecasts",),
    ("forecasts", SERIES, "--model", "naive", "--start", "2019-01-01"),
    ("candles", SERIES, "--start", "2019-09-01"),
    ("models",),
    ("findings",),
]


def answers(installation: Installation, url: str) -> dict[str, list[dict[str, object]]]:
    """Return the rows that the reading commands print."""
    rows = {}
    for command in READERS:
        done = installation.run(*command, "--json", CANDLECAST_DATABASE_URL=url)
        assert done.returncode == 0, done.stderr
        rows[" ".join(command)] = json.loads(done.stdout)
    return rows


def skill(installation: Installation, url: str) -> list[dict[str, object]]:
    """Return the rows of `candlecast skill`, numbers to 12 digits: databases add the scores in different orders."""
    done = installation.run("skill", "--json", CANDLECAST_DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return [
        {key: float(f"{value:.12g}") if isinstance(value, float) else value for key, value in row.items()}
        for row in json.loads(done.stdout)
    ]


def test_readers_get_the_same_rows_from_a_copy(daily_done, empty, postgresql_url):
    shutil.copy(daily_done.database, empty.database)
    sqlite = f"sqlite:///{empty.database}"
    done = empty.run("copy", "--to", postgresql_url, "--json")
    assert done.returncode == 0, done.stderr
    tables = {row["table"]: row for row in json.loads(done.stdout)}
    assert tables["candles"]["rows"] == 1770
    assert all(re.fullmatch("[0-9a-f]{32}", row["hash"]) for row in tables.values())
    assert f"now holds all rows of {sqlite}" in done.stderr.replace("sqlite:///candlecast.db", sqlite)
    assert answers(empty, postgresql_url) == answers(empty, sqlite)
    assert skill(empty, postgresql_url) == skill(empty, sqlite)
    again = empty.run("copy", "--to", postgresql_url, "--json")
    assert again.returncode == 0
    assert again.stdout == done.stdout
    assert "already holds all rows of" in again.stderr
    back = empty.run("copy", "--to", "sqlite:///back.db", "--json", CANDLECAST_DATABASE_URL=postgresql_url)
    assert json.loads(back.stdout) == list(tables.values())


def test_a_refusal_is_one_sentence_and_code_1(daily_done, empty, postgresql_url):
    shutil.copy(daily_done.database, empty.database)
    done = empty.run("copy", "--to", "sqlite:///other.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "candlecast: both databases are SQLite files: candlecast backup FILE copies such a database\n"
    assert not (empty.folder / "other.db").exists()
    assert empty.run("copy").returncode == 2


@pytest.mark.slow
def test_every_line_of_the_walk_through_does_what_the_page_says(tmp_path, prefect_home, postgresql_url):
    """A day on SQLite; then the page's lines, the last ones with one more day of candles."""
    section = PAGE.split("## Moving to another database", 1)[1].split("\n## ", 1)[0]
    there, back = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    assert [line.split()[:2] for line in there] == [
        ["candlecast", "copy"], ["export", there[1].split()[1]], ["candlecast", "replay"], ["candlecast", "daily"],
        ["candlecast", "forecasts"], ["candlecast", "skill"],
    ]  # fmt: skip
    source = tmp_path / "source"
    source.mkdir()
    lines = (ROOT / "sample" / f"{SERIES}.csv").read_text().splitlines(keepends=True)
    (source / f"{SERIES}.csv").write_text("".join(lines[:2] + lines[4:]))
    installation = Installation(tmp_path, prefect_home)
    environment = {"CANDLECAST_SOURCE": str(source), "CANDLECAST_SKILL_DAYS": "60"}
    first = installation.run("daily", **environment)
    assert first.returncode == 0, first.stderr[-3000:]
    sqlite = f"sqlite:///{installation.database}"
    before, scored = answers(installation, sqlite), skill(installation, sqlite)
    assert before["forecasts"][0]["origin"] == "2019-10-15T00:00:00Z"
    newest = [_newest_forecast(installation, sqlite, model=model) for model in ("naive", "range-ewma")]
    replays = {number: installation.run("replay", number, **environment) for number in newest}

    def run(line: str) -> str:
        command = shlex.split(line.replace("candlecast@SERVER/candlecast", postgresql_url.split("//")[1]))
        if command[0] == "export":
            name, _, value = command[1].partition("=")
            environment[name] = value
            return ""
        done = installation.run(*command[1:], **environment)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        return done.stdout

    copy, change, replay, *go_on = there
    run(copy)
    run(change)
    assert environment["CANDLECAST_DATABASE_URL"] == postgresql_url
    assert answers(installation, postgresql_url) == before
    assert skill(installation, postgresql_url) == scored
    assert "bit for bit" in run(replay)
    for number, replayed in replays.items():
        assert replayed.stdout == f"forecast {number} replays: bit for bit\n", replayed.stderr
        assert run(f"candlecast replay {number}") == replayed.stdout
    (source / f"{SERIES}.csv").write_text("".join(lines))
    day, forecasts, skills = map(run, go_on)
    assert "after the close of 2019-10-16" in day
    assert "2019-10-17" in forecasts
    assert "range-ewma" in skills
    after = answers(installation, postgresql_url)
    assert after["forecasts"][0]["origin"] == "2019-10-17T00:00:00Z"
    for line in back:
        run(line)
    assert answers(installation, environment["CANDLECAST_DATABASE_URL"]) == after
    assert environment["CANDLECAST_DATABASE_URL"].startswith("sqlite:///")


def _newest_forecast(installation: Installation, url: str, *, model: str) -> str:
    done = installation.run("forecasts", SERIES, "--model", model, "--json", CANDLECAST_DATABASE_URL=url)
    return str(max(row["forecast_id"] for row in json.loads(done.stdout)))
