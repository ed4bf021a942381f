"""The pages name every command, setting, table and view, and the commands of the README run."""

import re
import shutil
import sys
from dataclasses import fields
from pathlib import Path

from sqlalchemy import text
from stores import Store
from typer.main import get_command

from candlecast.commands.app import application
from flows.settings import Settings
from storage.database.engine import open_database, reading
from storage.tables import VIEWS, metadata
from tasks.steps.chance import answered_chance
from tasks.steps.chosen import ForecastChoice

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
DESIGN = (ROOT / "docs" / "design.md").read_text()
README = (ROOT / "README.md").read_text()
READING = (ROOT / "docs" / "reading.md").read_text()


def test_every_command_is_in_the_operating_page_and_has_help():
    commands = get_command(application()).commands
    missing = [name for name in commands if f"`{name}" not in OPERATING]
    assert missing == []
    assert [name for name, command in commands.items() if not command.help] == []


def test_every_setting_is_in_the_operating_page_with_its_default():
    for field in fields(Settings):
        name, default = field.name, field.default
        (line,) = [line for line in OPERATING.splitlines() if line.startswith(f"| `CANDLECAST_{name.upper()}`")]
        if isinstance(default, float) and default.is_integer():
            default = int(default)
        documented = ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
        cell = line.split("|")[2].strip()
        assert cell == (f"`{documented}`" if documented else "none" if default is None else "empty"), name


def test_every_table_and_view_is_in_the_design_page_with_the_views_columns():
    for name in [*metadata.tables, *VIEWS]:
        assert f"`{name}" in DESIGN, name


def test_relative_links_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"


def test_the_readmes_reading_commands_run(daily_done, tmp_path):
    shutil.copy(daily_done.database, tmp_path / "candlecast.db")
    ran = 0
    for line in re.findall(r"^\.venv/bin/candlecast (.+)$", README, re.MULTILINE):
        command = line.split("#")[0].split()
        if command[0] not in ("forecasts", "chance", "paths", "note", "skill", "candles", "models", "series"):
            continue
        done = daily_done.run(*command, CANDLECAST_DATABASE_URL=f"sqlite:///{tmp_path / 'candlecast.db'}")
        assert done.returncode == 0, (command, done.stderr)
        ran += 1
    assert ran >= 7


def test_the_reading_pages_sql_runs_and_finds_rows(daily_done):
    import sqlite3

    queries = re.findall(r"```sql\n(.+?)```", READING, re.DOTALL)
    assert len(queries) == 4
    with sqlite3.connect(daily_done.database) as conn:
        for query in queries:
            # The champion is range-ewma in the tests' installation, and blend in a reader's.
            assert conn.execute(query.replace("'blend'", "'range-ewma'")).fetchall(), query


def test_the_reading_pages_bracket_of_a_chance_is_that_of_the_sample(daily_done):
    import sqlite3

    with sqlite3.connect(daily_done.database) as conn:
        assert conn.execute(bracket_query()).fetchall() == [(0.15, 0.2)]


def test_the_reading_pages_bracket_holds_the_chance_on_both_databases(database_url):
    engine = open_database(database_url)
    store = Store(engine)
    version = store.add_version()
    store.promote(version)
    store.add_forecasts(version, [store.origin])
    choice, query = ForecastChoice(store.series), bracket_query().replace("Coinbase_BTCUSD_d", store.series)
    with reading(engine) as conn:
        for price in (99.0, 100.2, 103.3, 105.0, 109.8, 111.0):
            ((low, high),) = conn.execute(text(query.replace("7800", str(price)))).all()
            answer = answered_chance(conn, choice, below=price)
            if answer.bound == "exact":
                assert low <= answer.chance <= high
            else:
                assert (low is None, high is None) == (answer.bound == "at most", answer.bound == "at least")
    engine.dispose()


def bracket_query() -> str:
    (query,) = re.findall(r"```sql\n(SELECT max.+?)```", READING, re.DOTALL)
    return query


def test_the_reading_pages_commands_run(daily_done, tmp_path):
    import subprocess

    shutil.copy(daily_done.database, tmp_path / "candlecast.db")
    blocks = re.findall(r"```sh\n(candlecast .+?)```", READING, re.DOTALL)
    (commands,) = [block for block in blocks if "--plot" in block]
    environment = daily_done.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for line in commands.splitlines():
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), line
        assert len(done.stdout.splitlines()) >= 3


def test_the_readmes_sql_runs(daily_done):
    import sqlite3

    (query,) = re.findall(r'sqlite3 candlecast.db "([^"]+)"', README)
    with sqlite3.connect(daily_done.database) as conn:
        assert len(conn.execute(query).fetchall()) == 7


def test_the_readme_names_every_page():
    pages = [path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")]
    assert len(pages) >= 9
    assert [page for page in pages if f"{page}" not in README] == []
    assert "`docs/decisions/`" in README


def test_the_reading_pages_file_for_a_hub_is_written(daily_done, tmp_path):
    (line,) = re.findall(r"^candlecast (forecasts .+ --format hub -o .+)$", READING, re.MULTILINE)
    *words, name = line.split()
    done = daily_done.run(*words, str(tmp_path / name))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, "tasks.json"]


def test_the_reading_pages_questions_have_the_answers_of_the_sample(daily_done, monkeypatch):
    import candlecast

    (questions, answers), *_ = re.findall(r"```sh\n(candlecast chance .+?)```\n\n```\n(.+?)```", READING, re.DOTALL)
    lines = [daily_done.run(*line.split()[1:]).stdout for line in questions.splitlines()]
    assert "".join(lines) == answers
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", f"sqlite:///{daily_done.database}")
    asked = re.findall(r"^(candlecast\.(?:chance|price)\(.+?\))", READING, re.MULTILINE)
    values = [eval(line, {"candlecast": candlecast}) for line in asked]
    assert [f"{100 * values[0]:.1f} %", f"{values[1]:,.2f} USD"] == ["23.1 %", "7,311.53 USD"]
    assert all(value in answers for value in ("23.1 %", "7,311.53 USD"))


def test_the_reading_pages_paths_and_note_are_those_of_the_sample(daily_done, monkeypatch):
    import subprocess

    import candlecast

    examples = re.findall(r"```sh\n(candlecast (?:paths|note) .+?)\n```\n\n```\n(.+?)```", READING, re.DOTALL)
    assert len(examples) == 2
    environment = daily_done.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for line, printed in examples:
        done = subprocess.run(
            ["bash", "-c", line], cwd=daily_done.folder, env=environment, capture_output=True, text=True, check=False
        )
        # The last digits depend on the machine.
        assert re.sub(r"\.(\d{3})\d+", r".\1", done.stdout) == re.sub(r"\.(\d{3})\d+", r".\1", printed)
    monkeypatch.setenv("CANDLECAST_DATABASE_URL", f"sqlite:///{daily_done.database}")
    (code,) = re.findall(r"```python\n(paths = .+?)```", READING, re.DOTALL)
    *lines, last = code.splitlines()
    names = {"candlecast": candlecast}
    exec("\n".join(lines), names)
    assert f"any close below,7500.0,{eval(last, names)}," in READING
