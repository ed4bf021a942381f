"""Times the README's first steps: python benchmarks/newcomer.py

It clones this checkout and, with only Python, git and make, runs `make run` twice, the first reading commands, the
schedule and the web page, and then installs what the tests need. Every command is in the README. The clone is removed
afterwards.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from candlecast.orchestrator.server import free_port

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DEADLINE_S = 900


def environment(clone: Path) -> dict[str, str]:
    """Return a newcomer's environment: no variables of candlecast or Prefect, and an empty home folder."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CANDLECAST_", "PREFECT_"))}
    return inherited | {"HOME": str(clone.parent / "home")}


def check_in_readme(command: str) -> None:
    if command not in README:
        raise SystemExit(f"the README has no {command!r}")


def output_of(command: str, clone: Path) -> str:
    """Run one line of the README in the clone; returns its output."""
    check_in_readme(command)
    process = subprocess.run(
        ["bash", "-c", command], cwd=clone, env=environment(clone), capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{process.stderr[-3000:]}")
    return process.stdout


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing came within {DEADLINE_S} s")
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start_and_stop(clone: Path, command: str, port: int, ready: Callable[[str], bool]) -> tuple[float, float]:
    """Start a server, wait until `ready(log)`, and stop it; returns the seconds of the start and of the stop."""
    check_in_readme(command)
    log = clone.parent / "server.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command} --port {port}"], cwd=clone, env=environment(clone), stdout=out, stderr=out
        )
    wait_until(lambda: process.poll() is not None or ready(log.read_text()))
    started = time.perf_counter()
    if process.poll() is not None:
        raise SystemExit(f"{command} ended:\n{log.read_text()[-3000:]}")
    process.send_signal(signal.SIGINT)
    process.wait(120)
    return started - began, time.perf_counter() - started


def installed(clone: Path, target: str, label: str) -> tuple[str, float, str]:
    """Return the row of an installation: how long it took, and how large the environment then is."""
    began = time.perf_counter()
    subprocess.run(["make", target], cwd=clone, env=environment(clone), check=True, capture_output=True)
    seconds = time.perf_counter() - began
    size = sum(path.lstat().st_size for path in (clone / ".venv").rglob("*"))
    return label, seconds, f".venv has {size / 1e9:.1f} GB"


def main() -> None:
    rows: list[tuple[str, float, str]] = []

    def timed(command: str, expected: str) -> None:
        began = time.perf_counter()
        match = re.search(expected, output_of(command, clone))
        if match is None:
            raise SystemExit(f"{command} does not print {expected!r}")
        rows.append((command, time.perf_counter() - began, match[0]))

    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "candlecast"
        (Path(name) / "home").mkdir()
        began = time.perf_counter()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        rows.append(("git clone", time.perf_counter() - began, ""))
        rows.append(installed(clone, "setup", "make setup (the first half of make run)"))
        timed("make run", "Skill of blend against naive.*")
        timed("make run", "Plot: .*")
        timed(".venv/bin/candlecast forecasts", "q50")
        timed(".venv/bin/candlecast skill", "p_value")
        port = free_port()
        start, stop = start_and_stop(
            clone, ".venv/bin/candlecast serve", port, lambda text: "daily from 00:05 UTC" in text
        )
        rows += [(".venv/bin/candlecast serve", start, "daily from 00:05 UTC"), ("Ctrl-C", stop, "")]
        url = f"http://127.0.0.1:{port}/api/v1/forecasts/latest"
        start, stop = start_and_stop(clone, ".venv/bin/candlecast web", port, lambda _: answers(url))
        rows += [(".venv/bin/candlecast web", start, "/api/v1/forecasts/latest"), ("Ctrl-C", stop, "")]
        more = installed(clone, ".venv/.tested", "what make test installs besides")
    print(tabulate(rows, ["step", "seconds", "output"], floatfmt=".1f", tablefmt="github"))
    print(f"\nfrom clone to a live schedule and a first query: {sum(seconds for _, seconds, _ in rows):.0f} s")
    print("\n" + tabulate([more], tablefmt="plain", floatfmt=".1f"))


if __name__ == "__main__":
    sys.exit(main())
