"""The only module that imports Keras: it keeps TensorFlow quiet and holds what differs between Keras's backends.

All computations are written once with `keras.ops`. Backends differ in how a function is compiled and how its gradient
is taken. KERAS_BACKEND chooses the backend, else it is TensorFlow. Importing this module raises NetworksUnusable on a
machine that cannot import that library.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

# TensorFlow prints lines about oneDNN and the CPU's features when it is imported; the first setting hides them. The
# second turns oneDNN's operations off, so results do not depend on which of them a CPU has. XLA compiles our functions
# either way.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# TensorFlow and jax would take nearly all memory of a GPU at once; other programs may use it too.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# Keras neither reads nor writes ~/.keras/keras.json: a user's float64 or backend there would change our networks.
os.environ["KERAS_HOME"] = os.devnull

from models.lstm.probe import check_that_it_imports

check_that_it_imports(os.environ.get("KERAS_BACKEND") or "tensorflow")

import keras as keras  # noqa: E402 - only after the check
import numpy as np  # noqa: E402
from keras import ops as ops  # noqa: E402

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
    raise _unknown(backend)


# Returns a loss, one number, and its gradient for each of the weights, from the weights and one batch x, y.
LossAndGradient = Callable[[Sequence[Tensor], Tensor, Tensor], tuple[Tensor, Sequence[Tensor]]]


def compiled_descent(
    loss_and_gradient: LossAndGradient,
    optimizer: "keras.optimizers.Optimizer",
    variables: "Sequence[keras.Variable]",
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a compiled function that makes one optimizer step for each batch of x, y and returns each step's loss.

    The first axis of x and y is the batch. The function changes `variables` and the optimizer's own in place.
    """
    optimizer.build(variables)
    if keras.backend.backend() != "jax":

        def one_step(carried: Tensor, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            value, gradient = loss_and_gradient([variable.value for variable in variables], *batch)
            optimizer.apply(gradient, variables)
            return carried, value

        def all_steps(x: Tensor, y: Tensor) -> Tensor:
            return ops.scan(one_step, ops.zeros(()), (x, y))[1]

        return compiled(all_steps)

    # A compiled function of jax cannot change variables, so their values go in and come out.
    changed = [*variables, *optimizer.variables]
    n = len(variables)

    def one_pure_step(values: list[Tensor], batch: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor]:
        value, gradient = loss_and_gradient(values[:n], *batch)
        weights, slots = optimizer.stateless_apply(values[n:], gradient, values[:n])
        return [*weights, *slots], value

    pure_steps = compiled(lambda values, x, y: ops.scan(one_pure_step, values, (x, y)))

    def all_steps_in_place(x: Tensor, y: Tensor) -> Tensor:
        values, losses = pure_steps([variable.value for variable in changed], x, y)
        for variable, value in zip(changed, values, strict=True):
            variable.assign(value)
        return losses

    return all_steps_in_place


def differentiated(
    function: Callable[[Sequence[Tensor]], tuple[Tensor, Tensor]], at: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return what `function` returns at `at`, a number and another tensor, and the number's gradient for each of `at`.

    The gradient is taken by the backend's automatic differentiation.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(at)
            value, other = function(at)
        return value, other, tape.gradient(value, at)
    if backend == "jax":
        import jax

        (value, other), gradient = jax.value_and_grad(function, has_aux=True)(list(at))
        return value, other, gradient
    if backend == "torch":
        import torch

        with torch.enable_grad():
            leaves = [one.detach().requires_grad_() for one in at]
            value, other = function(leaves)
            return value.detach(), other.detach(), torch.autograd.grad(value, leaves)
    raise _unknown(backend)


def _unknown(backend: str) -> RuntimeError:
    return RuntimeError(f"expected Keras on tensorflow, jax or torch, got {backend!r}: set KERAS_BACKEND")


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
