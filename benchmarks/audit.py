"""What is installed, checked without a network: python benchmarks/audit.py

Every distribution of this environment has what it asks for, is pinned in constraints.txt at the installed version, and
has a licence that lets the project be used and passed on. Exit 1 and a line for each that is not so. Known
vulnerabilities are another matter: `pip-audit -r constraints.txt` asks a service on the network for those.
"""

import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
# Part of every environment, and the installer's to update.
INSTALLERS = {"pip", "setuptools", "wheel", "candlecast"}
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|HPND|Zlib|CC0|Unlicense|MIT-CMU|MIT-0)\b", re.IGNORECASE
)
# Not permissive, or silent in their metadata; each was looked at in November 2026.
ACCEPTED = {
    "psycopg": "LGPL-3.0: imported and unmodified, exchangeable by whoever installs it",
    "psycopg-binary": "LGPL-3.0: as psycopg",
    "certifi": "MPL-2.0: copyleft of its own files only",
    "pathspec": "MPL-2.0: as certifi",
    "hypothesis": "MPL-2.0: as certifi; for tests",
    "text-unidecode": "Artistic or GPL, at our choice Artistic; asked for by Prefect through python-slugify",
    "namex": "Apache-2.0, by its repository; asked for by Keras",
    "axe-playwright-python": "MIT, with axe-core under MPL-2.0, by its files; for tests",
}


def normal(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """Return what constraints.txt pins."""
    lines = [line.strip() for line in CONSTRAINTS.read_text().splitlines()]
    return {normal(name): version for name, version in (line.split("==") for line in lines if line and line[0] != "#")}


def licence(distribution: Distribution) -> str:
    """Return what a distribution says of its licence, by expression, classifier or free text."""
    metadata = distribution.metadata
    stated = metadata.get("License-Expression")
    classifiers = [one for one in metadata.get_all("Classifier") or [] if one.startswith("License ::")]
    return stated or "; ".join(one.split(" :: ")[-1] for one in classifiers) or (metadata.get("License") or "")[:100]


def problems(found: list[Distribution]) -> list[str]:
    """Return a line for each installed distribution that is not pinned as it is, or whose licence nobody looked at."""
    pins, lines = pinned(), []
    for distribution in found:
        name, version = normal(distribution.metadata["Name"]), distribution.version
        if name in INSTALLERS:
            continue
        if pins.get(name) != version:
            lines.append(f"{name} {version} is installed, constraints.txt says {pins.get(name, 'nothing')}")
        terms = licence(distribution)
        if name not in ACCEPTED and (not PERMISSIVE.search(terms) or "GPL" in terms):
            lines.append(f"{name} {version} has the licence {terms or '(none stated)'!r}, which nobody has looked at")
    return sorted(lines)


def main() -> int:
    """Check everything, print what is wrong, and return the exit code."""
    found = list(distributions())
    wrong = problems(found)
    check = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if check.returncode:
        wrong.append(check.stdout.strip())
    print("\n".join(wrong) or f"{len(found)} distributions: requirements met, versions pinned, licences looked at")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
