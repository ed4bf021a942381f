"""What a user has set for Keras elsewhere changes nothing here, and no GPU is taken as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import json, os
import numpy as np
from models.lstm.backend import array, device, keras, tensor
print(json.dumps([device().split()[0], keras.config.floatx(), keras.config.epsilon(), str(array(tensor([0.1])).dtype),
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"], os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"]]))
"""
OURS = ["tensorflow", "float32", 1e-7, "float32"]


def printed_settings(home: Path, **more: str) -> list[object]:
    names = ("KERAS_", "TF_FORCE", "XLA_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    # The mark of an earlier import lies in the cache.
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=env | {"HOME": str(home), "XDG_CACHE_HOME": cache} | more,
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    values: list[object] = json.loads(done.stdout)
    return values


@pytest.mark.parametrize(
    "settings", [{"floatx": "float64", "backend": "jax", "epsilon": 0.01}, {"floatx": "nonsense", "epsilon": "none"}]
)
def test_a_users_own_keras_json_changes_nothing(tmp_path: Path, settings: dict[str, object]) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    assert printed_settings(tmp_path) == [*OURS, "true", "false"]
    assert json.loads((tmp_path / ".keras" / "keras.json").read_text()) == settings


def test_no_keras_json_is_left_and_memory_growth_can_be_chosen(tmp_path: Path) -> None:
    assert printed_settings(tmp_path, TF_FORCE_GPU_ALLOW_GROWTH="false") == [*OURS, "false", "false"]
    assert not (tmp_path / ".keras").exists()
