"""Which code computes a forecast: the release, and a hash of the modules that the forecaster uses."""

import ast
import hashlib
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

from models.catalog import family

HERE = Path(__file__).parent


@cache
def code_version(model: str) -> str:
    """Return a name for the code that makes the forecasts of `model`, such as `0.1.0+models.1f0c9a44b2d7`.

    It needs no version control on the machine that runs. Raises ValueError for an unknown model.
    """
    return f"{version('candlecast')}+models.{code_hash(model)}"


def code_hash(model: str, folder: Path = HERE) -> str:
    """Return a hash, 12 hexadecimal digits, of the modules in `folder` that the forecaster of `model` imports.

    Imports are followed from module to module, those inside functions too. `models.history` is always included: it
    decides which revision of each candle a forecast sees. The parsed code is hashed, so comments, docstrings and
    line breaks do not count.
    """
    todo = {family(model).home.partition(":")[0], "models.history"}
    hashes: dict[str, str] = {}
    while todo:
        name = todo.pop()
        # A package has no such file; its `__init__` holds a docstring only.
        file = folder.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if name.startswith("models.") and file.is_file():
            hashes[name], imports = _hash_and_imports(file.read_bytes())
            todo |= imports - hashes.keys()
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:12]


@lru_cache
def _hash_and_imports(source: bytes) -> tuple[str, frozenset[str]]:
    """Return the hash of a module's code, and the names of all that it imports."""
    tree = ast.parse(source)
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # An imported name may be a module of a package.
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return hashlib.sha256(repr(_content(tree)).encode()).hexdigest(), frozenset(names)


def _content(node: object) -> object:
    """Return parsed code as nested lists without docstrings and positions.

    Empty fields are left out, because newer Pythons add some to the same code.
    """
    if isinstance(node, list):
        return [_content(part) for part in node if not _is_docstring(part)]
    if not isinstance(node, ast.AST):
        return node
    fields = [[name, _content(value)] for name, value in ast.iter_fields(node) if value is not None and value != []]
    return [type(node).__name__, *fields]


def _is_docstring(node: object) -> bool:
    """Return whether `node` is a string that stands alone: a docstring, or the description below a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
