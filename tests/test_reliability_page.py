"""The page that says what happens when something breaks names tests that exist, and marks those that are slow."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`( †)?", PAGE)


def is_slow(module: ast.Module, test: ast.FunctionDef) -> bool:
    """Whether a test is left out of `make test`, by a mark of its own or of its module's."""
    marks = [node.value for node in module.body if isinstance(node, ast.Assign)] + list(test.decorator_list)
    return any("pytest.mark.slow" in ast.unparse(mark) for mark in marks)


def test_every_row_names_tests_that_exist_and_marks_the_slow_ones() -> None:
    for path, name, dagger in NAMED:
        module = ast.parse((ROOT / path).read_text())
        functions = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
        assert len(functions) == 1, f"{path}::{name}"
        assert bool(dagger) == is_slow(module, functions[0]), f"{path}::{name}"


def test_every_row_has_a_fault_what_happens_a_test_and_runs() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 25
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4, row
        assert all(cells), row
        if cells[0] != "fault":
            # As many figures as tests.
            assert cells[2].count("::") == len(cells[3].split(", ")) >= 1, row
