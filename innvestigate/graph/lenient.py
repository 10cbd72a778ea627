"""Within it, layers do on symbolic tensors what they do on real ones.

Keras's symbolic calls refuse some things that work when a model runs. Keras has no hooks for these,
so its methods are wrapped while a layer is looked into, and put back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from typing import Any

import keras
from keras import KerasTensor, tree
from keras.src import backend as keras_backend

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")


@contextmanager
def lenient() -> Iterator[None]:
    """Layers that cannot be called symbolically are run through; weights may stand on the left."""
    with ExitStack() as stack:
        stack.enter_context(_wrapped(keras.Layer, "__call__", _call))
        for name in _OPERATORS:
            reflected = partial(_reflected, name=f"__r{name}__")
            stack.enter_context(_wrapped(keras.Variable, f"__{name}__", reflected))
        stack.enter_context(_wrapped(keras.ops, "ndim", _rank))
        stack.enter_context(_without(KerasTensor, "__jax_array__"))
        yield


def spec_of(operation: Any, args, kwargs) -> list[KerasTensor]:
    """Tensors like those that an operation writes, in all sizes that follow from its inputs."""
    if not isinstance(operation, keras.Operation):
        return tree.flatten(_written(operation, args, kwargs))
    outputs = tree.flatten(operation.compute_output_spec(*args, **kwargs))
    if not _loses_sizes(outputs, (args, kwargs)):
        return outputs
    return tree.flatten(_written(operation.call, args, kwargs))


def _call(original: Callable, layer, *args, **kwargs):
    """A layer's `__call__`; where it refuses symbolic tensors, its `call` is run in its place."""
    symbolic = bool(_tensors((args, kwargs)))
    try:
        outputs = original(layer, *args, **kwargs)
    except Exception:  # an output of None, an argument that its compute_output_spec does not know
        if not symbolic:
            raise
        return _run_through(layer, args, kwargs)
    if symbolic and (_describes_itself(layer) or _loses_sizes(outputs, (args, kwargs))):
        with suppress(Exception):  # what it says of itself has to do then
            likes = _written(layer.call, args, _known(layer, kwargs))
            if len(tree.flatten(likes)) != len(tree.flatten(outputs)):
                return _run_through(layer, args, kwargs)
            for tensor, like in zip(_tensors(outputs), _tensors(likes), strict=True):
                tensor._shape = like.shape
    return outputs


def _written(function: Callable, args, kwargs) -> Any:
    """Tensors like those that a function returns.

    They are dense: Keras takes a product with a number for sparse.
    """
    dense = lambda x: KerasTensor(x.shape, x.dtype) if isinstance(x, KerasTensor) else x  # noqa: E731
    args, kwargs = tree.map_structure(dense, (args, kwargs))
    return keras_backend.compute_output_spec(function, *args, **kwargs)


def _run_through(layer, args, kwargs):
    return layer.call(*args, **_known(layer, kwargs))


def _known(layer, kwargs: dict) -> dict:
    """The arguments of a layer's `__call__` that its `call` takes."""
    parameters = inspect.signature(layer.call).parameters
    return {name: x for name, x in kwargs.items() if name in parameters or name != "training"}


def _describes_itself(layer) -> bool:
    """Whether a layer of the user's own says by itself what it writes, be that so or not."""
    own = type(layer)
    says = (own.compute_output_spec, own.compute_output_shape)
    keras_says = (keras.Layer.compute_output_spec, keras.Layer.compute_output_shape)
    return says != keras_says and not own.__module__.startswith("keras.")


def _reflected(original: Callable, variable, other, name: str):
    """`variable * x` for a symbolic x, by the operator of x."""
    if isinstance(other, KerasTensor):
        return getattr(other, name)(variable)
    return original(variable, other)


def _rank(original: Callable, x):
    """`ops.ndim`, which is known of symbolic tensors, too."""
    return len(x.shape) if isinstance(x, KerasTensor) else original(x)


def _loses_sizes(outputs: Any, arguments: Any) -> bool:
    """Whether sizes of outputs are unknown though those of all inputs are."""
    sizes = [size for t in _tensors(arguments) for size in t.shape[1:]]
    return None not in sizes and any(None in t.shape[1:] for t in _tensors(outputs))


def _tensors(structure: Any) -> list[KerasTensor]:
    return [x for x in tree.flatten(structure) if isinstance(x, KerasTensor)]


@contextmanager
def _without(owner: type, name: str) -> Iterator[None]:
    """Within it, a class lacks a method: arrays of JAX then leave operators to symbolic tensors."""
    own = vars(owner).get(name)
    if own is None:  # already, as one layer is looked into while another one is
        yield
        return
    delattr(owner, name)
    try:
        yield
    finally:
        setattr(owner, name, own)


@contextmanager
def _wrapped(owner: Any, name: str, wrapper: Callable) -> Iterator[None]:
    """Within it, a method, or a function of a module, goes through `wrapper(original, ...)`."""
    own, original = vars(owner).get(name), getattr(owner, name)
    setattr(owner, name, wraps(original)(lambda *args, **kw: wrapper(original, *args, **kw)))
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
