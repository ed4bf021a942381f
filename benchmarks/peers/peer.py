"""Runs other projects ("peers"), each in its own venv, for the benchmarks of this folder.

requirements/NAME.txt pins a peer's packages. The venv is made on first use, in `.venv-peers`, and made again when that
file changes. A script of theirs/ runs in it, imports nothing of this project, and answers one question at a time, so
that both sides can take turns while both are warm.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from tabulate import tabulate

ROOT = Path(__file__).parents[2]
VENVS = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).parent / "requirements"
THEIRS = Path(__file__).parent / "theirs"
# The benchmarks are scripts, not a package; this lets those of this folder import `benchmarks.NAME`, which imports its
# neighbours by their names alone.
sys.path += [str(ROOT), str(ROOT / "benchmarks")]
# No peer sends usage statistics, and none uses a GPU that the other side does not use.
QUIET = {"DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false", "NIXTLA_ID_AS_COL": "1", "CUDA_VISIBLE_DEVICES": ""}

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """The time and CPU seconds of one piece of work, without earlier imports, and its result."""

    seconds: float
    cpu: float
    result: Any


def timed(work: Callable[[], Any]) -> Cost:
    began, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Cost(time.perf_counter() - began, time.process_time() - cpu, result)


def venv(name: str) -> Path:
    """Return the program folder of a peer's venv, which is made if it is missing or its requirements changed."""
    folder, requirements = VENVS / name, (REQUIREMENTS / f"{name}.txt").read_text()
    stamp = folder / ".installed"
    if not stamp.exists() or stamp.read_text() != requirements:
        print(
            f"installing {', '.join(requirements.split())} into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True
        )
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", REQUIREMENTS / f"{name}.txt"], check=True, stdout=sys.stderr)
        # Written last, so that a failed installation is repeated.
        stamp.write_text(requirements)
    return folder / "bin"


class Peer:
    """A running script of theirs/, in the venv of its peer."""

    def __init__(self, script: Path, python: Path) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the peer is
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [python, script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            text=True, cwd=self._folder.name, env=os.environ | QUIET,
        )  # fmt: skip

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def ask(self, question: str, **given: object) -> Cost:
        """Return the peer's result and the time that the peer measured; a failure of the peer ends the benchmark."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"question": question, **given}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise SystemExit(f"{self._process.args}: no answer to {question!r}\n{self._log.read()[-4000:]}")
        return Cost(**json.loads(line))


def peer(name: str, script: str) -> Peer:
    """Return `script` of theirs/, started in the venv of the peer `name`."""
    return Peer(THEIRS / script, venv(name) / "python")


def by_turns(rounds: int, *works: Callable[[], T]) -> list[list[T]]:
    """Return for each of `works` its results of `rounds` rounds; a first, cold round is left out.

    Every second round runs in reverse order, so that no work always follows the same other one.
    """
    results: list[list[T]] = [[] for _ in works]
    for number in range(rounds + 1):
        order = range(len(works)) if number % 2 else reversed(range(len(works)))
        for place in order:
            result = works[place]()
            if number:
                results[place].append(result)
    return results


def no_whole_weeks(text: str) -> int:
    """Return the days between origins that an option gives; raises argparse.ArgumentTypeError for whole weeks."""
    if int(text) % 7 == 0:
        raise argparse.ArgumentTypeError(f"{text} is a multiple of 7: all origins would fall on one weekday")
    return int(text)


def kept(file: Path, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - anything that JSON holds
    """Return the result of `make`, from `file` if an earlier run stored it there."""
    if not file.exists():
        print(f"  {file.stem}", file=sys.stderr, flush=True)
        file.with_suffix(".part").write_text(json.dumps(make()))
        file.with_suffix(".part").rename(file)
    return json.loads(file.read_text())


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def heading(*names: str) -> str:
    """Return the line above every table: the measured versions and the machine."""
    pins = [line for name in names for line in (REQUIREMENTS / f"{name}.txt").read_text().split()]
    ours = f"candlecast {version('candlecast')} (keras {version('keras')}, numpy {version('numpy')})"
    return f"{ours}, compared with {', '.join(dict.fromkeys(pins))}\n{machine()}"


def machine() -> str:
    cpu = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as a Markdown table."""
    return tabulate(rows, head, "github", disable_numparse=True)
