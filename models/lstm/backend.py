"""The only module that imports Keras: it keeps TensorFlow quiet and compiles functions for the backend in use.

All computations are written once with `keras.ops`. Only compiling a function differs between backends, and this
module does it. Keras chooses the backend (KERAS_BACKEND, else TensorFlow).
"""

import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

# TensorFlow prints lines about oneDNN and the CPU's features when it is imported; the first setting hides them. The
# second turns oneDNN's operations off, so results do not depend on which of them a CPU has. XLA compiles our functions
# either way.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import keras as keras
import numpy as np
from keras import ops as ops

P = ParamSpec("P")
R = TypeVar("R")

# A tensor of the backend in use: the backends' tensor types have no common base class.
Tensor = Any


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` (tensors in and out, written with keras.ops) compiled once for each set of shapes.

    TensorFlow and jax both compile through XLA; measured, TensorFlow's own graph executor needs three times as
    long for the small matrices here. Torch runs the function line by line, without recording gradients.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        traced: Callable[P, R] = tf.function(function, jit_compile=True, autograph=False)
        return traced
    if backend == "jax":
        import jax

        jitted: Callable[P, R] = jax.jit(function)
        return jitted
    if backend == "torch":
        import torch

        ungraded: Callable[P, R] = torch.no_grad()(function)
        return ungraded
    raise RuntimeError(f"expected Keras on tensorflow, jax or torch, got {backend!r}: set KERAS_BACKEND")


def tensor(values: Any) -> Tensor:  # noqa: ANN401 - anything numpy takes
    """Return `values` as a tensor on the device that computes."""
    return ops.convert_to_tensor(values)


def array(values: Tensor) -> np.ndarray:
    """Return a tensor as a numpy array, waiting for it if it is still being computed."""
    if keras.backend.backend() == "torch":
        # Keras converts through __array__, which warns with numpy 2.
        return np.asarray(values.detach().cpu().numpy())
    return np.asarray(ops.convert_to_numpy(values))


def device() -> str:
    """Return the backend and device for the stored record: "tensorflow on cpu", "jax on NVIDIA ..."."""
    backend = keras.backend.backend()
    return f"{backend} on {_accelerator(backend) or 'cpu'}"


def on_accelerator() -> bool:
    """Return whether an accelerator computes, not the CPU."""
    return _accelerator(keras.backend.backend()) is not None


def _accelerator(backend: str) -> str | None:
    name: str | None = None
    if backend == "tensorflow":
        import tensorflow as tf

        cards = tf.config.list_physical_devices("GPU")
        if cards:
            name = str(tf.config.experimental.get_device_details(cards[0]).get("device_name", "gpu"))
    elif backend == "jax":
        import jax

        first = jax.devices()[0]
        if first.platform != "cpu":
            name = str(first.device_kind)
    elif backend == "torch":
        import torch

        if torch.cuda.is_available():
            name = str(torch.cuda.get_device_name(0))
    return name
