"""A working directory with folders called models, flows, tasks and storage stops no process that candlecast starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installation import Installation

ROOT = Path(__file__).parents[2]
PACKAGES = ("flows", "models", "storage", "tasks")


@pytest.fixture
def hiding(empty: Installation) -> Installation:
    """An installation whose folder holds packages of the user with candlecast's names; importing one of them fails."""
    for name in PACKAGES:
        (empty.folder / name).mkdir()
        (empty.folder / name / "__init__.py").write_text("raise SystemExit('the user\\'s own package was imported')\n")
    return empty


def python(installation: Installation, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=installation.folder, env=installation.environment(**{"PYTHONPATH": str(ROOT), **more}),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_the_commands_work_beside_them(
    hiding: Installation, daily_done: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(daily_done.database, hiding.database)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    forecasts = hiding.run("forecasts")
    assert forecasts.returncode == 0, forecasts.stderr
    assert "hides" not in forecasts.stderr
    assert forecasts.stdout == daily_done.run("forecasts").stdout
    as_module = python(hiding, "-m", "candlecast", "forecasts")
    assert (as_module.returncode, as_module.stdout) == (0, forecasts.stdout)


def test_daily_and_the_server_it_starts_work_beside_them(hiding: Installation) -> None:
    done = python(hiding, "-m", "candlecast", "daily")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "close forecast by range-ewma after the close of 2019-10-16" in done.stdout


def test_a_served_flow_run_finds_candlecasts_flows(hiding: Installation) -> None:
    """Prefect puts the working directory first on the path for it, whatever PYTHONSAFEPATH says."""
    code = (
        "from prefect.flows import load_flow_from_entrypoint\n"
        "flow = load_flow_from_entrypoint('candlecast.orchestrator.served.scheduled')\n"
        "import flows.daily\n"
        "print(flow.name, flow.fn is flows.daily.daily.fn, flow.timeout_seconds)\n"
    )
    done = python(hiding, "-c", code, PYTHONSAFEPATH="1")
    assert done.stdout == "daily True 86000.0\n", done.stderr[-3000:]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_python_api_names_the_folder_that_hides_a_package(empty: Installation, name: str) -> None:
    (empty.folder / name).mkdir()
    (empty.folder / name / "__init__.py").touch()
    done = python(empty, "-c", "import candlecast; candlecast.series()")
    assert done.returncode == 1
    place = (empty.folder / name).resolve()
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {place} hides candlecast's own package {name!r}: rename it, or run Python in another folder"
    )


def test_a_folder_on_the_import_path_is_named_too(hiding: Installation) -> None:
    """Only packages in the working directory are ignored."""
    (hiding.folder / "elsewhere" / "tasks").mkdir(parents=True)
    (hiding.folder / "elsewhere" / "tasks" / "__init__.py").touch()
    path = f"{hiding.folder / 'elsewhere'}{os.pathsep}{ROOT}"
    done = python(hiding, "-P", "-c", "import candlecast", PYTHONPATH=path)
    assert f"{(hiding.folder / 'elsewhere' / 'tasks').resolve()} hides" in done.stderr


def test_a_folder_without_an_init_hides_nothing(empty: Installation, daily_done: Installation) -> None:
    (empty.folder / "models").mkdir()
    shutil.copy(daily_done.database, empty.database)
    done = python(empty, "-c", "import candlecast; print(len(candlecast.series()))")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
