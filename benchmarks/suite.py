"""Prints the tables of docs/suite.md, on what the tests notice: python benchmarks/suite.py mutants | coverage

`make mutants` and `make coverage` measure first and then call this program. It counts mutants by file and shows those
that no test noticed; it counts lines and branches by package.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from tabulate import tabulate

BIN = Path(sys.executable).parent
PACKAGES = ("models", "storage", "tasks", "flows", "candlecast")
OUTCOMES = ("killed", "timeout", "survived", "no tests")


def output_of(*command: str) -> str:
    """Run a program of this environment and return its output."""
    process = subprocess.run([str(BIN / command[0]), *command[1:]], check=True, capture_output=True, text=True)
    return process.stdout


def mutants() -> None:
    """Print how many mutants were made and killed in each file, and the changes that no test noticed."""
    by_file: dict[str, Counter[str]] = defaultdict(Counter)
    unnoticed = []
    for line in output_of("mutmut", "results", "--all", "true").splitlines():
        name, _, outcome = line.strip().rpartition(": ")
        if not name or outcome == "not checked":
            continue
        file = name.rpartition(".")[0].replace(".", "/") + ".py"
        by_file[file][outcome] += 1
        if outcome != "killed":
            unnoticed.append((name, outcome))
    rows = [[file, counts.total(), *(counts[outcome] for outcome in OUTCOMES)] for file, counts in by_file.items()]
    rows.append(["all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])])
    print(tabulate(rows, headers=["file", "made", *OUTCOMES], tablefmt="github"))
    for name, outcome in unnoticed:
        change = [line for line in output_of("mutmut", "show", name).splitlines() if line[:2] in ("- ", "+ ")]
        print(f"\n{name} ({outcome})", *change, sep="\n")


def coverage() -> None:
    """Print the share of lines and of branches that were run, by package."""
    files = json.loads(output_of("coverage", "json", "--quiet", "-o", "-"))["files"]
    rows: list[list[object]] = []
    for package in (*PACKAGES, ""):
        sums: Counter[str] = Counter()
        for path, file in files.items():
            if path.startswith(package):
                sums.update({name: n for name, n in file["summary"].items() if isinstance(n, int)})
        lines, branches = sums["covered_lines"], sums["covered_branches"]
        rows.append(
            [
                package or "all",
                f"{sums['num_statements']:,}",
                f"{lines / sums['num_statements']:.1%}",
                f"{sums['num_branches']:,}",
                f"{branches / sums['num_branches']:.1%}",
            ]
        )
    print(tabulate(rows, headers=["package", "lines", "run", "branches", "taken"], tablefmt="github"))


if __name__ == "__main__":
    {"mutants": mutants, "coverage": coverage}[sys.argv[1]]()
