"""A forecaster's code version changes with the code that makes its forecasts, and with nothing else."""

import shutil
from pathlib import Path

import pytest

import models.code_version
from models.catalog import MODEL_NAMES
from models.code_version import code_hash, code_version

BEFORE = {name: code_hash(name) for name in MODEL_NAMES}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(models.code_version.__file__).parent, tmp_path / "models"))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, (file, old)
    file.write_text(text.replace(old, new))


def changed(tree: Path) -> set[str]:
    """Return the models whose hash in the copied `tree` is not that of the real one."""
    return {name for name in MODEL_NAMES if code_hash(name, tree) != BEFORE[name]}


def test_a_copy_has_the_same_hashes_and_each_model_has_a_different_one(tree):
    assert changed(tree) == set()
    assert len(set(BEFORE.values())) == len(MODEL_NAMES)
    assert code_version("naive").endswith(f"+models.{BEFORE['naive']}")


def test_comments_docstrings_and_line_breaks_change_no_hash(tree):
    edit(tree / "naive.py", "WINDOW = 365", "# A year.\nWINDOW = (\n    365\n)  # days")
    edit(tree / "naive.py", '"""Return one forecast an origin;', '"""One forecast an origin;')
    edit(tree / "volatility.py", "Everything here is causal", "All of this is causal")
    edit(tree / "volatility.py", '"""(n, H): standard deviation', '"""H columns: standard deviation')
    edit(tree / "history.py", '"""Return the candles as a frame', '"""Give the candles as a frame')
    assert changed(tree) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "models"),
    [
        ("naive.py", "WINDOW = 365", "WINDOW = 364", {"naive", "blend"}),
        ("range_ewma.py", "WARM_UP = 60", "WARM_UP = 61", {"range-ewma", "blend"}),
        ("boosting.py", "rounds: int = 60", "rounds: int = 61", {"blend"}),
        ("lstm/network.py", "LEAST_FREEDOM = 2.1", "LEAST_FREEDOM = 2.2", {"lstm", "blend"}),
        ("lstm/backend.py", "return ops.convert_to_tensor(values)", "return values", {"lstm", "blend", "tutorial"}),
        ("tutorial/cell.py", "return np.asarray(0.5 *", "return np.asarray(0.4 *", {"tutorial"}),
        ("history.py", 'side="right"', 'side="left"', None),
        (
            "history.py",
            "np.append(open_time[1:] != open_time[:-1], True)",
            "np.append(True, open_time[1:] != open_time[:-1])",
            None,
        ),
        ("frames.py", 'candles["close_time"] <= instant', 'candles["close_time"] < instant', None),
        ("quantiles.py", "np.exp(np.sort(quantiles, axis=-1))", "np.exp(quantiles)", None),
    ],
)
def test_an_edit_changes_the_models_that_reach_it_and_no_other(tree, file, old, new, models):
    edit(tree / file, old, new)
    assert changed(tree) == (set(MODEL_NAMES) if models is None else models)


def test_modules_that_no_forecaster_reaches_change_no_hash(tree):
    for name in ("gate.py", "drift.py", "code_version.py", "tutorial/study.py"):
        with (tree / name).open("a") as file:
            file.write("\nX = 1\n")
    (tree / "new.py").write_text("X = 1\n")
    assert changed(tree) == set()


def test_a_module_that_is_imported_inside_a_function_counts(tree):
    (tree / "new.py").write_text("SHIFT = 0.0\n")
    edit(tree / "naive.py", "    quantiles = np.empty(", "    from models import new\n\n    quantiles = np.empty(")
    before = code_hash("naive", tree)
    (tree / "new.py").write_text("SHIFT = 0.1\n")
    assert code_hash("naive", tree) not in (before, BEFORE["naive"])


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="unknown model 'arima'"):
        code_version("arima")
