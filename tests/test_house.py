"""The house rules that no linter knows."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("candlecast", "flows", "tasks", "storage", "models")


def test_every_init_but_the_python_api_is_a_docstring_and_nothing_else() -> None:
    api = ROOT / "candlecast" / "__init__.py"
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py") if path != api]
    assert len(files) >= len(PACKAGES)
    for path in files:
        (only,) = ast.parse(path.read_text()).body
        assert isinstance(only, ast.Expr), path
        assert isinstance(only.value, ast.Constant), path
        assert isinstance(only.value.value, str), path


def test_no_module_hides_a_package_when_its_folder_comes_first_on_the_path() -> None:
    """Prefect puts a flow file's own folder first: flows/models.py would hide models."""
    assert not [path for package in PACKAGES for path in (ROOT / package).glob("*.py") if path.stem in PACKAGES]


def test_every_function_has_a_return_type() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.returns is None and node.name != "__init__"
    ]
    assert silent == []


def test_no_private_name_of_prefect_is_imported() -> None:
    """Prefect changes them without notice."""
    imports = [
        ".".join([node.module, alias.name]) if isinstance(node, ast.ImportFrom) and node.module else alias.name
        for folder in (*PACKAGES, "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    prefects = [name for name in imports if name.split(".")[0] == "prefect"]
    assert len(prefects) > 30
    assert [name for name in prefects if "._" in name] == []


def test_no_function_or_local_has_a_name_that_says_nothing() -> None:
    nothing = {"said", "made", "found", "told", "shown", "tell", "insist", "heed", "polite", "exclusively"}
    functions = [
        (path.relative_to(ROOT), node)
        for folder in (*PACKAGES, "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert len(functions) > 1000
    names = [(path, function.lineno, function.name) for path, function in functions]
    for path, function in functions:
        for node in ast.walk(function):
            if isinstance(node, ast.arg):
                names.append((path, node.lineno, node.arg))
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append((path, node.lineno, node.id))
    assert [f"{path}:{line} {name}" for path, line, name in names if name.strip("_") in nothing] == []
