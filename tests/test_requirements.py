"""What is installed where: one TensorFlow on each kind of machine, and no tool of the tests for who only runs it."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MACHINES = {
    "linux-x86": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux-arm": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "mac-arm": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"},
}
# Those for which TensorFlow 2.21 has files on the package index (November 2026).
CPU_ONLY = {"linux-x86", "windows"}


def required(machine: str, *extras: str) -> list[str]:
    """Return the names of the distributions that `pip install '.[extras]'` asks for on a kind of machine."""
    listed = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    environment = {**default_environment(), **MACHINES[machine], "extra": ""}
    needed = [Requirement(text) for text in listed]
    return [one.name.lower() for one in needed if one.marker is None or one.marker.evaluate(environment)]


def tensorflows(machine: str, *extras: str) -> list[str]:
    return [name for name in required(machine, *extras) if name.startswith("tensorflow")]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_gets_one_tensorflow_and_one_that_exists_for_it(machine: str) -> None:
    assert tensorflows(machine, "cpu") == ["tensorflow-cpu" if machine in CPU_ONLY else "tensorflow"]
    assert tensorflows(machine, "cpu", "test") == tensorflows(machine, "cpu")


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_with_a_gpu_gets_one_tensorflow(machine: str) -> None:
    """Both packages put their files into the same folder: the second one would overwrite parts of the first."""
    assert tensorflows(machine, "gpu") == ["tensorflow"]


def test_what_runs_needs_no_tool_of_the_tests() -> None:
    tests = {Requirement(text).name for text in PROJECT["optional-dependencies"]["test"]}
    assert len(tests) > 20
    assert tests.isdisjoint(required("linux-x86", "cpu"))


def test_every_place_that_installs_candlecast_to_run_names_the_same_extra() -> None:
    assert "$(INSTALL) -e '.[cpu]'\n" in (ROOT / "Makefile").read_text()
    assert "-c constraints.txt -e '.[cpu]'" in (ROOT / "docs" / "deploy" / "Dockerfile").read_text()


def test_make_run_installs_only_what_running_needs_and_says_so_first(tmp_path: Path) -> None:
    """As make would do it in a fresh checkout; nothing is installed."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    lines = {
        target: subprocess.run(
            ["make", "--dry-run", target], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for target in ("run", "serve", "test", "check")
    }
    for target in ("run", "serve"):
        assert re.findall(r"-e '(.+?)'", lines[target]) == [".[cpu]"], target
    for target in ("test", "check"):
        assert re.findall(r"-e '(.+?)'", lines[target]) == [".[cpu]", ".[cpu,test]"], target
    assert "--quiet" not in "".join(lines.values())
    (announced,) = [line for line in lines["run"].splitlines() if line.startswith("echo")]
    assert re.search(r"GB.*minutes", announced)
    assert lines["run"].index(announced) < lines["run"].index("pip install")


@pytest.mark.parametrize(("version", "runs"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_make_and_pip_agree_on_the_versions_of_python(tmp_path: Path, version: tuple[int, int], runs: bool) -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains(".".join(map(str, version))) is runs
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    python = tmp_path / "python"
    # It says that it is another version, and makes no environment.
    pretend = f"import sys; sys.version_info = {(*version, 0)}; sys.version = '{version}'; $2"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec python3 -c "{pretend}"\nexit 7\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "setup", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert ("candlecast needs Python 3.11, 3.12 or 3.13" in done.stderr) is not runs
    assert ("installs what it needs" in done.stdout) is runs
