"""Runs the networks' tests with Keras on JAX and on PyTorch, each in a separate interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from missing import skip_or_fail

HERE = Path(__file__).parent
SUITES = ("test_network.py", "test_fleet.py", "test_forecaster.py", "../test_blend.py", "../tutorial/test_recipe.py")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_networks_tests_pass_on_another_backend(backend: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        if backend == "jax":
            skip_or_fail("jax is not installed")
        pytest.skip(f"{backend} is not installed; candlecast does not depend on it")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(str(HERE / name) for name in SUITES)],
        cwd=HERE.parents[2], env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
