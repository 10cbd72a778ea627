"""The guard: what is explained computes what the user's model computes, or nothing is explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from innvestigate.backend import call_once, first_numbers
from innvestigate.graph.run import run
from innvestigate.graph.scopes import FrozenState
from innvestigate.graph.step import Graph, is_real
from innvestigate.graph.trace import call_model

_ROUNDING = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.3}
"""By how much of the largest number two ways to compute the same may differ."""


_ACTIVATIONS = 2**24
"""How many numbers the layers of the user's model may write at a time, called one by one."""


class ForwardDiffersError(RuntimeError):
    """The graph that explains a model does not compute what the model computes."""


class Guard:
    """Compares the forward pass of a mirror with the model's own, once for each of them.

    After the model was trained on they are compared once more: what a mirror has frozen shows then.

    Args:
        model: The user's model.
        graph: Its graph as it was traced.
        output: Which of the model's outputs is explained, in the order of the flat outputs.
        enabled: Whether anything is compared.

    Attributes:
        rounding: By how much of the largest number two ways to compute the output may differ.
    """

    def __init__(self, model: keras.Model, graph: Graph, output: int, enabled: bool):
        self._model, self._graph, self._output = model, graph, output
        self.rounding = max((_ROUNDING.get(t, 0) for t in _types(graph)), default=0)
        fixed = any(t.shape[:1] != (None,) for t in graph.flat_inputs)
        whole = fixed or any(step.by_value for step in graph.steps)
        self._rows = None if whole else max(1, int(_ACTIVATIONS / _activations(graph)))
        self._enabled = enabled
        self._known: set = set()
        self._weights = b""

    def renew(self) -> None:
        """Compare everything once more if the model's weights are others than at the last call."""
        weights = _sample_of_weights(self._model)
        if weights != self._weights:
            self._known.clear()
        self._weights = weights

    def wants(self, key: Any) -> bool:
        """Whether what a mirror or graph computes is still to be compared."""
        return self._enabled and key not in self._known

    def check(self, key: Any, inputs: list[np.ndarray], graph: Graph, found: Any) -> None:
        """Compare the model's output with what has been computed in its place.

        Args:
            key: What computed it.
            inputs: The model's flat inputs.
            graph: The rewritten graph, whose layers are compared one by one if the output differs.
            found: What was computed.

        Raises:
            ForwardDiffersError: If they differ by more than rounding; names the first layer whose
                output differs.
        """
        expected, found = self._own(inputs), ops.convert_to_numpy(found)
        if not self._agree(expected, found):
            expected = self._own(inputs, whole=True)  # rows may know of each other
        if not self._agree(expected, found) and not self._is_noise(inputs, expected, found):
            raise ForwardDiffersError(self._message(inputs, graph, expected, found))
        self._known.add(key)

    def _own(self, inputs: list[np.ndarray], whole: bool = False) -> np.ndarray:
        """The model's own output, computed so that its activations fit in memory.

        Called eagerly, a functional model holds what all of its layers write.

        Args:
            inputs: The model's flat inputs.
            whole: Whether all rows are run at a time, whatever that takes.
        """
        rows = len(inputs[0]) if whole else self._rows or len(inputs[0])
        return ops.convert_to_numpy(call_once(self._call, self._typed(inputs), rows))

    def _typed(self, inputs: list[np.ndarray]) -> list:
        tensors = self._graph.flat_inputs
        return [ops.convert_to_tensor(x, t.dtype) for x, t in zip(inputs, tensors, strict=True)]

    def _call(self, *tensors) -> Any:
        packed = tree.pack_sequence_as(self._graph.inputs, list(tensors))
        with FrozenState():
            return tree.flatten(call_model(self._model, packed))[self._output]

    def _agree(self, expected: np.ndarray, found: np.ndarray) -> bool:
        if expected.shape != found.shape:
            return False
        return _gap(expected, found) <= self.rounding * max(_size(expected), 1e-30)

    def _is_noise(self, inputs, expected: np.ndarray, found: np.ndarray) -> bool:
        """Whether the model's output itself changes as much where its inputs are rounded otherwise.

        Such is an output of zero that is the difference of two large numbers.
        """
        if expected.shape != found.shape:
            return False
        gap, random = _gap(expected, found), np.random.default_rng(0)
        nudged = [[_nudged(x, random) for x in inputs] for _ in range(3)]
        noise = max(_gap(self._own(given), expected) for given in nudged)
        by_chance = _gap(self._own(inputs), expected)
        return 10 * by_chance < gap <= 10 * noise < np.inf

    def _message(self, inputs, graph, expected, found) -> str:
        how = f"{found.shape} for {expected.shape}"
        if expected.shape == found.shape:
            how = f"by up to {_gap(expected, found):.3g}, with outputs up to {_size(expected):.3g}"
        return (
            f"The model {self._model.name!r} computes something else than the graph that explains "
            f"it ({how}); the first layer whose output differs is "
            f"{self._first_difference(inputs, graph)}. An explanation "
            "would be one of another function. If the layer draws random numbers or depends on "
            "the time it is called, pass check=False to go on; otherwise please report it with "
            "this message."
        )

    def _first_difference(self, inputs: list[np.ndarray], graph: Graph) -> str:
        """The first layer, in the order of the call, whose output differs."""
        calls: list[tuple[str, Any]] = []
        values = self._typed(inputs)
        with _recorded(calls):
            self._call(*values)
        written = {t for step in graph.steps for t in step.outputs}
        known = {name: ts for name, ts in graph.layer_outputs.items() if written.issuperset(ts)}
        tensors = list(dict.fromkeys(t for ts in known.values() for t in ts))
        found = dict(zip(tensors, run(graph, values, tensors), strict=True))
        for name, outputs in calls:
            pairs = list(zip(outputs, [found[t] for t in known.get(name, [])], strict=False))
            if not all(self._agree(*map(ops.convert_to_numpy, pair)) for pair in pairs):
                return repr(name)
        return "none of those that can be compared one by one"


@contextmanager
def _recorded(calls: list) -> Iterator[None]:
    """Note what each layer writes, by the name that a trace gives to the call."""
    original = keras.Layer.__call__
    stack: list[str] = []
    seen: set[str] = set()

    def call(layer, *args, **kwargs):
        name = ".".join([*stack[-1:], layer.name]) if len(stack) > 1 else layer.name
        unique, count = name, 1
        while unique in seen:
            count += 1
            unique = f"{name}.{count}"
        seen.add(unique)
        stack.append(unique)
        try:
            outputs = original(layer, *args, **kwargs)
        finally:
            stack.pop()
        calls.append((unique, [y for y in tree.flatten(outputs) if y is not None]))
        return outputs

    keras.Layer.__call__ = call  # Keras has no hook that sees what every layer writes
    try:
        yield
    finally:
        keras.Layer.__call__ = original


def _activations(graph: Graph) -> int:
    """How many numbers a model's layers write for one sample, as far as shapes tell."""
    sizes = (prod(size or 1 for size in t.shape) for step in graph.steps for t in step.outputs)
    return max(sum(sizes), 1)


def _sample_of_weights(model: keras.Model) -> bytes:
    """A few numbers of a few variables, trained and adapted ones: quick to read."""
    trained = list(model.trainable_variables)[::-1]
    others = [v for v in model.non_trainable_variables if "float" in str(v.dtype)][::-1]
    chosen = [v for group in (trained, others) for v in group[:: -(-len(group) // 16) or 1]]
    return b"".join(first_numbers(v.value, 4).tobytes() for v in chosen)


def _nudged(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Floating point numbers as they may be after a rounding or two."""
    if x.dtype.kind != "f":
        return x
    size = 4 * np.finfo(x.dtype).eps
    return (x * (1 + random.uniform(-size, size, x.shape))).astype(x.dtype)


def _size(x: np.ndarray) -> float:
    """The largest finite number."""
    return float(np.abs(x[np.isfinite(x)].astype("float64")).max(initial=0))


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference; infinite where one of two numbers is not finite."""
    same = (a == b) | ~(np.isfinite(a) | np.isfinite(b))
    gap = np.abs(a[~same].astype("float64") - b[~same].astype("float64"))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0))


def _types(graph: Graph) -> set[str]:
    """The floating point types that a model computes in."""
    written = [t for step in graph.steps for t in step.outputs]
    types = {t.dtype for t in (*graph.flat_inputs, *written) if is_real(t)}
    layers = {layer for step in graph.steps for layer in step.layers}
    types |= {layer.compute_dtype for layer in layers}
    # Keras multiplies matrices of float64 in float32, except on TensorFlow
    return {keras.backend.result_type(t, t) for t in types if t in _ROUNDING}
