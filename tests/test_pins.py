"""A pin that holds a dependency back has a test here that fails once its reason is gone."""

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
