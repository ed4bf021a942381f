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


@pytest.mark.slow
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


def hides(folder: Path) -> str:
    """The error about a folder that hides one of our packages."""
    return (
        f"{folder.resolve()} hides candlecast's own package {folder.name!r}: rename it, or run Python in another folder"
    )


@pytest.mark.parametrize("name", PACKAGES)
def test_the_python_api_names_the_folder_that_hides_a_package(empty: Installation, name: str) -> None:
    (empty.folder / name).mkdir()
    (empty.folder / name / "__init__.py").touch()
    done = python(empty, "-c", "import candlecast; candlecast.series()")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {hides(empty.folder / name)}"


@pytest.mark.parametrize("arguments", [("own.py",), ("-m", "own")])
def test_a_program_beside_such_a_folder_is_told_of_it(empty: Installation, arguments: tuple[str, ...]) -> None:
    (empty.folder / "models").mkdir()
    (empty.folder / "models" / "__init__.py").touch()
    (empty.folder / "own.py").write_text("import candlecast\n")
    done = python(empty, *arguments)
    assert done.stderr.splitlines()[-1] == f"ImportError: {hides(empty.folder / 'models')}"


# The kernel's client leaves a socket open until garbage collection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning")
def test_a_notebook_beside_such_a_folder_is_told_of_it(empty: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython puts the working directory before the installed packages, and after PYTHONPATH."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    (empty.folder / "models").mkdir()
    (empty.folder / "models" / "__init__.py").touch()
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(empty.folder / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(empty.folder / "runtime"))
    cell = nbformat.v4.new_code_cell(f"import sys; sys.path.append({str(ROOT)!r}); import candlecast")
    place = {"metadata": {"path": str(empty.folder)}}
    client = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=120, resources=place)
    with pytest.raises(CellExecutionError) as error:
        client.execute()
    assert (error.value.ename, error.value.evalue) == ("ImportError", hides(empty.folder / "models"))


def test_a_folder_on_the_import_path_is_named_too(hiding: Installation) -> None:
    """Only packages in the working directory are ignored."""
    (hiding.folder / "elsewhere" / "tasks").mkdir(parents=True)
    (hiding.folder / "elsewhere" / "tasks" / "__init__.py").touch()
    path = f"{hiding.folder / 'elsewhere'}{os.pathsep}{ROOT}"
    done = python(hiding, "-P", "-c", "import candlecast", PYTHONPATH=path)
    assert f"{(hiding.folder / 'elsewhere' / 'tasks').resolve()} hides" in done.stderr


def test_a_folder_without_an_init_that_is_in_use_already_is_not_replaced(empty: Installation) -> None:
    (empty.folder / "models").mkdir()
    (empty.folder / "models" / "own.py").touch()
    code = f"import sys, models.own; sys.path.append({str(ROOT)!r}); import candlecast"
    done = python(empty, "-c", code, PYTHONPATH="")
    assert done.stderr.splitlines()[-1] == f"ImportError: {hides(empty.folder / 'models')}"


def test_a_folder_without_an_init_hides_nothing(empty: Installation, daily_done: Installation) -> None:
    (empty.folder / "models").mkdir()
    shutil.copy(daily_done.database, empty.database)
    done = python(empty, "-c", "import candlecast; print(len(candlecast.series()))")
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
