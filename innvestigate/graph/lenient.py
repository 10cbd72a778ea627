"""Within it, layers do on symbolic tensors what they do on real ones.

Keras's symbolic calls refuse some things that work when a model runs. Keras has no hooks for these,
so its methods are wrapped while a layer is looked into, and put back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from string import ascii_lowercase
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, tree
from keras.src import backend as keras_backend
from keras.src.utils.backend_utils import DynamicBackend

from innvestigate.backend import SYNONYMS

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul")
_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")


@contextmanager
def lenient() -> Iterator[None]:
    """Layers that cannot be called symbolically are run through; weights may stand on the left."""
    with ExitStack() as stack:
        stack.enter_context(_wrapped(keras.Layer, "__call__", _call))
        for name in _OPERATORS:
            reflected = partial(_reflected, name=f"__r{name}__")
            stack.enter_context(_wrapped(keras.Variable, f"__{name}__", reflected))
        reversible = keras.layers.ReversibleEmbedding
        stack.enter_context(_wrapped(reversible, "compute_mask", _mask_of_tokens))
        stack.enter_context(_wrapped(keras.ops, "ndim", _rank))
        for name in _COMPARISONS:
            stack.enter_context(_wrapped(keras.ops, name, partial(_compared, name=name)))
        for name in ("norm", "quantile"):
            stack.enter_context(_wrapped(keras.ops, name, _along_axes))
        stack.enter_context(_wrapped(keras.ops, "cond", _decided))
        stack.enter_context(_wrapped(keras.ops, "einsum", _in_small_letters))
        stack.enter_context(_wrapped(keras.ops, "fori_loop", _again_and_again))
        stack.enter_context(_wrapped(DynamicBackend, "__getattr__", _operation))
        stack.enter_context(_without(KerasTensor, "__jax_array__"))
        for owner, name, same in SYNONYMS:
            stack.enter_context(_wrapped(owner, name, partial(_in_keras, same=same)))
        yield


def spec_of(operation: Any, args, kwargs) -> list[KerasTensor]:
    """Tensors like those that an operation writes, in all sizes that follow from its inputs."""
    if not isinstance(operation, keras.Operation):
        return tree.flatten(_written(operation, args, kwargs))
    outputs = tree.flatten(operation.compute_output_spec(*args, **kwargs))
    if _may_be_wrong(operation, outputs, (args, kwargs)):
        with suppress(Exception):  # what it says of itself has to do then
            found = _tensors(_written(operation.call, args, kwargs))
            return found if len(found) == len(outputs) else outputs
    return outputs


def _call(original: Callable, layer, *args, **kwargs):
    """A layer's `__call__`; where it refuses symbolic tensors, its `call` is run in its place."""
    symbolic = bool(_tensors((args, kwargs)))
    try:
        outputs = original(layer, *args, **kwargs)
    except Exception:  # an output of None, an argument that its compute_output_spec does not know
        if not symbolic:
            raise
        return _run_through(layer, args, kwargs)
    if symbolic and _may_be_wrong(layer, outputs, (args, kwargs)):
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


def _in_small_letters(original: Callable, subscripts: str, *operands, **kwargs):
    """`ops.einsum`, which finds no sizes for capital letters."""
    letters = dict.fromkeys(x for x in subscripts if x.isalpha())
    small = str.maketrans(dict(zip(letters, ascii_lowercase, strict=False)))
    return original(subscripts.translate(small), *operands, **kwargs)


def _again_and_again(original: Callable, lower, upper, body_fun: Callable, init_val: Any):
    """`ops.fori_loop`, as calls of its body one after the other."""
    if not isinstance(upper - lower, int):
        return original(lower, upper, body_fun, init_val)
    carry = init_val
    for i in range(lower, upper):
        carry = body_fun(i, carry)
    return carry


def _in_keras(original: Callable, *args, same: Callable, **kwargs):
    """A function of the backend; on symbolic tensors, the one of Keras that means the same."""
    return (same if _tensors((args, kwargs)) else original)(*args, **kwargs)


def _operation(original: Callable, backend, name: str):
    """The backend of a layer that prepares data, which are operations on symbolic tensors, too."""
    return getattr(keras.ops, name, None) or original(backend, name)


def _may_be_wrong(operation, outputs: Any, arguments: Any) -> bool:
    """Whether an operation may write other tensors than it says."""
    return _describes_itself(operation) or _loses_sizes(outputs, arguments)


def _describes_itself(operation) -> bool:
    """Whether a layer of the user's own says by itself what it writes, be that so or not."""
    own = type(operation)
    if not isinstance(operation, keras.Layer) or own.__module__.startswith("keras."):
        return False
    says = (own.compute_output_spec, own.compute_output_shape)
    return says != (keras.Layer.compute_output_spec, keras.Layer.compute_output_shape)


def _reflected(original: Callable, variable, other, name: str):
    """`variable * x` for a symbolic x, by the operator of x."""
    if isinstance(other, KerasTensor):
        return getattr(other, name)(variable)
    return original(variable, other)


def _mask_of_tokens(original: Callable, layer, inputs, mask=None):
    """The mask that a ReversibleEmbedding, when it is run, puts on the vectors of its tokens."""
    vectors = "float" in inputs.dtype and inputs.shape[-1] == layer.output_dim
    return None if vectors else keras.layers.Embedding.compute_mask(layer, inputs, mask)


def _rank(original: Callable, x):
    """`ops.ndim`, which is known of symbolic tensors, too."""
    return len(x.shape) if isinstance(x, KerasTensor) else original(x)


def _compared(original: Callable, *args, name: str, **kwargs):
    """A comparison, which plain numbers such as sizes need no tensors for."""
    numbers = all(isinstance(x, (int, float)) for x in (*args, *kwargs.values()))
    return getattr(np, name)(*args, *kwargs.values()) if numbers else original(*args, **kwargs)


def _along_axes(original: Callable, *args, **kwargs):
    """An operation along an axis, of which it would make a list: JAX cannot hash one."""
    call = inspect.signature(original).bind(*args, **kwargs)
    axis = call.arguments.get("axis")
    if isinstance(axis, int):
        call.arguments["axis"] = (axis,)
    return original(*call.args, **call.kwargs)


def _decided(original: Callable, pred, true_fn, false_fn):
    """`ops.cond`, which goes one way where sizes decide."""
    if isinstance(pred, (bool, np.bool_)):
        return (true_fn if pred else false_fn)()
    return original(pred, true_fn, false_fn)


def _loses_sizes(outputs: Any, arguments: Any) -> bool:
    """Whether sizes of outputs are unknown though those of all inputs are."""
    shapes = [t.shape for t in _tensors(arguments)]
    if any(None in shape[1:] for shape in shapes):
        return False
    rows = all(None not in shape[:1] for shape in shapes)
    return any(None in t.shape[0 if rows else 1 :] for t in _tensors(outputs))


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
