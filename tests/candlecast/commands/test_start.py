"""What a reading command imports, because its imports are nearly all of its time."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from candlecast.cli import READING
from candlecast.commands import read
from candlecast.commands.app import application

ROOT = Path(__file__).parents[3]
SERIES = "Coinbase_BTCUSD_d"
ARGUMENTS = {"candles": [SERIES], "chance": [SERIES, "--above", "8000"], "paths": [SERIES]}
# Each takes more than a hundredth of the time of such a command.
NOT_NEEDED = {
    "alembic", "dotenv", "fastapi", "keras", "matplotlib", "numpy", "pandas", "prefect", "pydantic", "rich", "scipy",
    "sklearn", "tabulate", "tensorflow", "wcwidth",
}  # fmt: skip

# It draws samples.
COMPUTES_WITH = {"paths": {"numpy"}}


def test_the_reading_commands_are_known_before_they_are_imported() -> None:
    assert set(READING) == set(get_command(read.app).commands)


@pytest.mark.parametrize("name", READING)
def test_a_reading_command_is_prepared_without_the_others(name: str) -> None:
    assert list(get_command(application(only=name)).commands) == [name]


@pytest.mark.parametrize("name", READING)
def test_a_reading_command_imports_what_it_needs_and_nothing_else(daily_done, name: str) -> None:
    program = (
        "import sys\nfrom candlecast.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, name, *ARGUMENTS.get(name, [])],
        cwd=daily_done.folder, env=daily_done.environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.splitlines()[-1].split())
    assert imported & NOT_NEEDED <= COMPUTES_WITH.get(name, set())
    # Nor the commands that write.
    assert "candlecast.commands.operate" not in imported


@pytest.mark.parametrize("name", READING)
def test_a_reading_command_leaves_no_file_beside_the_database(daily_done, name: str) -> None:
    before = sorted(daily_done.database.parent.glob("candlecast.db*"))
    daily_done.run(name, *ARGUMENTS.get(name, []))
    assert sorted(daily_done.database.parent.glob("candlecast.db*")) == before
