"""The example notebook runs where `make run` has run."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]


# The kernel's client leaves a socket open until garbage collection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning")
def test_the_notebook_runs_from_top_to_bottom_and_shows_what_it_says(daily_done, tmp_path, monkeypatch):
    shutil.copy(daily_done.database, tmp_path / "candlecast.db")
    notebook = nbformat.read(ROOT / "docs" / "reading.ipynb", as_version=4)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert "MPLBACKEND" not in os.environ
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.output_type for output in outputs].count("error") == 0
    assert any("image/png" in output.get("data", {}) for output in outputs)
    texts = [output["data"]["text/plain"] for output in outputs if "text/plain" in output.get("data", {})]
    assert any("range-ewma" in text and "q90" in text for text in texts)
    assert any(text.endswith("of 352'") for text in texts)
