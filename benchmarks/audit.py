"""Checks the installed distributions without a network: python benchmarks/audit.py

Each distribution of this environment must have its requirements installed, be pinned in constraints.txt at the
installed version, and have a licence under which the project may be used and distributed. What it requires on another
supported version of Python must be pinned too. The program prints a line for each distribution that fails and exits
with 1. It does not look for known vulnerabilities; `pip-audit -r constraints.txt` does, through a service on the
network.
"""

import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# Every environment has these, and the installer updates them.
INSTALLERS = {"pip", "setuptools", "wheel", "candlecast"}
# Requirements differ between these; redis needs async-timeout before Python 3.11.3.
SUPPORTED_PYTHONS = ("3.11.0", "3.11.9", "3.12.0", "3.13.0")
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|HPND|Zlib|CC0|Unlicense|MIT-CMU|MIT-0)\b", re.IGNORECASE
)
# Licences that are not permissive or not stated in the metadata; each was reviewed in November 2026.
ACCEPTED = {
    "psycopg": "LGPL-3.0: imported unmodified, and every user can replace it",
    "psycopg-binary": "LGPL-3.0: as psycopg",
    "certifi": "MPL-2.0: copyleft of its own files only",
    "pathspec": "MPL-2.0: as certifi",
    "hypothesis": "MPL-2.0: as certifi; for tests",
    "text-unidecode": "Artistic or GPL, and we choose Artistic; Prefect requires it through python-slugify",
    "namex": "Apache-2.0, according to its repository; Keras requires it",
    "axe-playwright-python": "MIT, with axe-core under MPL-2.0, according to its files; for tests",
}


def normal(name: str) -> str:
    """Return a distribution's name in the normalised form that package indexes compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """Return the versions that constraints.txt pins, by distribution."""
    lines = [line.strip() for line in CONSTRAINTS.read_text().splitlines()]
    return {normal(name): version for name, version in (line.split("==") for line in lines if line and line[0] != "#")}


def licence(distribution: Distribution) -> str:
    """Return the licence in a distribution's metadata: its expression, else its classifiers, else its free text."""
    metadata = distribution.metadata
    stated = metadata.get("License-Expression")
    classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")]
    return stated or "; ".join(text.split(" :: ")[-1] for text in classifiers) or (metadata.get("License") or "")[:100]


def requirements(distribution: Distribution) -> dict[str, str]:
    """Return what a distribution requires without extras, each with the first of SUPPORTED_PYTHONS that needs it."""
    first: dict[str, str] = {}
    for requirement in map(Requirement, distribution.requires or []):
        for python in SUPPORTED_PYTHONS:
            major, minor, _ = python.split(".")
            where = {"python_version": f"{major}.{minor}", "python_full_version": python, "extra": ""}
            if requirement.marker is None or requirement.marker.evaluate(where):
                first.setdefault(normal(requirement.name), python)
    return first


def problems(installed: list[Distribution]) -> list[str]:
    """Return a line for each distribution or requirement that is not pinned, and for each licence not reviewed."""
    pins, lines = pinned(), []
    for distribution in installed:
        name, version = normal(distribution.metadata["Name"]), distribution.version
        if name in INSTALLERS:
            continue
        if pins.get(name) != version:
            lines.append(f"{name} {version} is installed, constraints.txt says {pins.get(name, 'nothing')}")
        lines += [
            f"{name} requires {required} on Python {python}, constraints.txt says nothing"
            for required, python in requirements(distribution).items()
            if required not in pins and required not in INSTALLERS
        ]
        terms = licence(distribution)
        if name not in ACCEPTED and (not PERMISSIVE.search(terms) or "GPL" in terms):
            lines.append(f"{name} {version} has the licence {terms or '(none stated)'!r}, which nobody has looked at")
    return sorted(lines)


def main() -> int:
    """Check everything, print what is wrong, and return the exit code."""
    installed = list(distributions())
    wrong = problems(installed)
    check = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if check.returncode:
        wrong.append(check.stdout.strip())
    print("\n".join(wrong) or f"{len(installed)} distributions: requirements met, versions pinned, licences reviewed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
