"""What a test needs of the framework behind Keras: derivatives and closed functions.

Nothing here uses innvestigate: its gradients are compared with these.
"""

import contextlib
import importlib
import re
import sys

import keras
import numpy as np
import pytest
from hypothesis import Phase, settings
from keras import ops, tree
from keras.src.backend.common import dtypes

NAME = keras.backend.backend()
framework = importlib.import_module(NAME)
on_tensorflow = pytest.mark.only("tensorflow")
not_on_torch = pytest.mark.only("tensorflow", "jax")


def compute_in_float64() -> None:
    """Rules are derived in float64, which Keras rounds on all frameworks but one, by a table."""
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
    if NAME == "jax":
        framework.config.update("jax_enable_x64", True)


def in_float32():
    """What users of JAX compute in: a context without the 64-bit mode that the suite has there."""
    return framework.enable_x64(False) if NAME == "jax" else contextlib.nullcontext()


@contextlib.contextmanager
def run_step_by_step():
    """Within it TensorFlow traces nothing."""
    if NAME != "tensorflow":
        yield
        return
    framework.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        framework.config.run_functions_eagerly(False)


def examples(count: int) -> settings:
    """Settings of a test of that many random examples, the same in every run.

    On JAX, where each model is compiled, a fifth of them.
    """
    count = max(2, count // 5) if NAME == "jax" else count
    phases = Phase.generate, Phase.shrink
    return settings(deadline=None, max_examples=count, derandomize=True, phases=phases)


def _numbers(tensor, dtype=None, copy=None) -> np.ndarray:
    """What numpy reads of torch's tensors. Tests may read what torch is about to differentiate."""
    caller = sys._getframe(1).f_globals["__name__"]
    if caller.startswith("innvestigate.") and tensor.requires_grad:
        raise RuntimeError("A tensor that requires a gradient is read as an array.")
    return np.array(tensor.detach().cpu().numpy(), dtype)


def read_any_tensor() -> None:
    """Let numpy read every tensor on torch, as it does on other frameworks."""
    if NAME == "torch":
        framework.Tensor.__array__ = _numbers


def here(cases: dict) -> dict:
    """The cases there are here: those with `tf` in their name are TensorFlow's alone."""
    return {
        name: case
        for name, case in cases.items()
        if NAME == "tensorflow" or "tf" not in re.split(r"\W+", name)
    }


def gradients(function, x):
    """The derivatives of the sum of what a function makes of some tensors, in their structure."""
    flat = [ops.convert_to_tensor(a) for a in tree.flatten(x)]

    def total(tensors):
        return ops.sum(function(tree.pack_sequence_as(x, tensors)))

    found = {"tensorflow": _tape, "jax": _jax, "torch": _autograd}[NAME](total, flat)
    return tree.pack_sequence_as(x, [np.array(gradient) for gradient in found])


def _tape(total, tensors):
    with framework.GradientTape() as tape:
        tape.watch(tensors)
        y = total(tensors)
    zero = framework.UnconnectedGradients.ZERO
    return tape.gradient(y, tensors, unconnected_gradients=zero)


def _jax(total, tensors):
    return framework.grad(total)(tensors)


def _autograd(total, tensors):
    attention = framework.nn.attention
    tensors = [tensor.detach().requires_grad_() for tensor in tensors]
    with attention.sdpa_kernel(attention.SDPBackend.MATH):  # the fused one's is wrong under masks
        y = total(tensors)
    return framework.autograd.grad(y, tensors, allow_unused=True, materialize_grads=True)


def with_gradient(forward, backward):
    """A function of a tensor; signals go back by a function of the tensor and the signal."""

    @ops.custom_gradient
    def function(x):
        def grad(*signals, upstream=None):
            return backward(x, signals[0] if upstream is None else upstream)

        return forward(x), grad

    return function


def closed(x):
    """The tensor itself, by a function that Keras cannot call on symbolic tensors."""
    if NAME == "tensorflow":
        return framework.raw_ops.Identity(input=x)
    if NAME == "jax":
        return framework.lax.optimization_barrier(x)
    return framework.ops.aten.alias(x)
