"""A TensorFlow that ends the process that imports it, as on a processor without AVX: the other forecasts are made."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from installation import Installation

DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n"
KILLED = "importing tensorflow kills the process (SIGILL), so no network can be trained or forecast here"


@pytest.fixture
def deadly(empty: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation where the module `tensorflow` kills the process."""
    (empty.folder / "fake" / "tensorflow").mkdir(parents=True)
    (empty.folder / "fake" / "tensorflow" / "__init__.py").write_text(DIES)
    paths = [str(empty.folder / "fake"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty.folder / "cache"))
    return empty


@pytest.mark.slow
def test_forecasts_that_need_no_network_are_stored_and_the_day_names_what_died(deadly: Installation) -> None:
    done = deadly.run("daily", CANDLECAST_MODEL="lstm")
    assert done.returncode == 1, done.stderr[-3000:]
    assert KILLED in done.stderr
    assert "training did not finish, the champion stays" in done.stderr
    with closing(sqlite3.connect(deadly.database)) as database:
        live = database.execute("SELECT model FROM forecasts WHERE kind = 'live' ORDER BY model").fetchall()
        assert live == [("naive",), ("range-ewma",)]
    assert not list(deadly.folder.glob("cache/candlecast/*"))


def test_doctor_prints_each_check_as_it_is_done_and_names_the_one_that_died(deadly: Installation) -> None:
    command = [str(Path(sys.executable).parent / "candlecast"), "doctor"]
    with subprocess.Popen(
        command, cwd=deadly.folder, env=deadly.environment(), stdout=subprocess.PIPE, text=True
    ) as doctor:
        assert doctor.stdout is not None
        first = doctor.stdout.readline()
        # The checks that import Prefect and TensorFlow are still to come.
        alive = doctor.poll() is None
        rest = doctor.stdout.read()
    assert alive
    assert first.startswith("ok     source: ")
    assert f"WRONG  device: {KILLED}" in rest
    assert doctor.returncode == 1


@pytest.mark.slow
def test_a_tensorflow_that_imports_is_tried_once(empty: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty.folder / "cache"))
    marks = []
    for _ in range(2):
        empty.run("doctor")
        marks.append([(file.name, file.stat().st_mtime_ns) for file in empty.folder.glob("cache/candlecast/*")])
    assert len(marks[0]) == 1
    assert marks[0] == marks[1]
