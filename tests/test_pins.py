"""A pin that holds a dependency back has a test here that fails once its reason is gone."""

import os
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest


@pytest.mark.network
def test_the_newest_typer_still_checks_parameters_with_pydantic(tmp_path: Path) -> None:
    """Then a reading command imports pydantic, which takes a fifth of its time; else take the newest one."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), "typer"], check=True
    )
    (wheel,) = tmp_path.glob("typer-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        requires = message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []
    assert any(one.startswith("pydantic") for one in requires), "the pin of typer in pyproject.toml may go"


IMPORT = """
import gc, time
gc.disable()
began = time.process_time()
import sqlalchemy
print(time.process_time() - began)
"""


@pytest.mark.network
def test_the_newest_sqlalchemy_still_takes_longer_to_import(tmp_path: Path) -> None:
    """Nearly all of a reading command's time is that import. Else take the newest one."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), "sqlalchemy"],
        check=True,
    )
    seconds: dict[str, list[float]] = {"": [], str(tmp_path): []}
    # In turns, and the least of each: a busy machine makes both slower.
    for _ in range(15):
        for path, measured in seconds.items():
            environment = os.environ | {"PYTHONPATH": path}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            done = subprocess.run(
                [sys.executable, "-c", IMPORT], env=environment, capture_output=True, text=True, check=True
            )
            measured.append(float(done.stdout))
    pinned, newest = map(min, seconds.values())
    assert newest > 1.02 * pinned, "the pin of sqlalchemy in pyproject.toml may go"
