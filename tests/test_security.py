"""What SECURITY.md promises about the code and its parts: suppressions have reasons, parts are pinned, tests exist."""

import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))
import audit  # noqa: E402 - from the folder above

SECURITY = (ROOT / "SECURITY.md").read_text()
PACKAGES = ("candlecast", "flows", "tasks", "storage", "models")


def test_every_suppressed_security_rule_has_its_reason_beside_it() -> None:
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"noqa: S\d|nosec", line)
    ]
    assert [line for line in lines if not re.search(r"noqa: S\d+ - \w+", line)] == []
    # SECURITY.md says how many there are.
    assert f"{len(lines)} lines" in SECURITY


def test_bandit_finds_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", *PACKAGES],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_installed_package_is_pinned_and_its_licence_was_checked() -> None:
    assert audit.problems(list(distributions())) == []


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("Name: sqlalchemy\nVersion: 2.1.0\nLicense-Expression: MIT", "sqlalchemy 2.1.0 is installed, constraints.txt"),
        ("Name: unheard-of\nVersion: 1\nLicense-Expression: MIT", "constraints.txt says nothing"),
        ("Name: unheard-of\nVersion: 1\nLicense-Expression: AGPL-3.0-only", "which nobody has looked at"),
        (
            "Name: unheard-of\nVersion: 1\nRequires-Dist: older; python_full_version < '3.11.3'",
            "unheard-of requires older on Python 3.11.0, constraints.txt says nothing",
        ),
        ("Name: unheard-of\nVersion: 1", "the licence '(none stated)'"),
    ],
)
def test_an_unknown_package_version_or_licence_is_reported(tmp_path: Path, metadata: str, message: str) -> None:
    (tmp_path / "METADATA").write_text(f"Metadata-Version: 2.4\n{metadata}\n")
    assert message in "\n".join(audit.problems([Distribution.at(tmp_path)]))


def test_the_constraints_pin_versions_and_name_no_host() -> None:
    lines = [line for line in audit.CONSTRAINTS.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!]*", line)] == []


def test_the_tests_that_the_security_page_names_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", SECURITY))
    assert len(named) >= 12
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_no_file_that_is_read_is_run_as_code() -> None:
    """No pickle, no eval, no YAML or Keras loader: what is stored or fetched is parsed as data."""
    forbidden = re.compile(
        r"\b(pickle|cloudpickle|joblib|dill|marshal|shelve)\b|\b(eval|exec)\(|yaml\.load|load_model|allow_pickle=True"
        r"|torch\.load|read_pickle|shell=True|os\.system|verify=False"
    )
    problems = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in path.read_text().splitlines()
        if forbidden.search(line.split("#")[0]) and '"""' not in line
    ]
    assert problems == []
