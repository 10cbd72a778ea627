"""The guard: what is explained computes what the user's model computes, or nothing is explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from innvestigate.backend import call_once
from innvestigate.graph.run import FrozenState, run
from innvestigate.graph.step import Graph, is_real
from innvestigate.graph.trace import call_model

_ROUNDING = {"float64": 1e-8, "float32": 1e-3, "float16": 0.1, "bfloat16": 0.3}
"""By how much of the largest number two ways to compute the same may differ."""


class ForwardDiffersError(RuntimeError):
    """The graph that explains a model does not compute what the model computes."""


class Guard:
    """Compares the forward pass of a mirror with the model's own, once for each of them.

    Args:
        model: The user's model.
        graph: Its graph as it was traced.
        output: Which of the model's outputs is explained, in the order of the flat outputs.
        enabled: Whether anything is compared.
    """

    def __init__(self, model: keras.Model, graph: Graph, output: int, enabled: bool):
        self._model, self._graph, self._output = model, graph, output
        self._rounding = max((_ROUNDING.get(t, 0) for t in _types(graph)), default=0)
        self._pending = enabled
        self._known: set = set()

    def wants(self, key: Any) -> bool:
        """Whether what a mirror or graph computes is still to be compared."""
        return self._pending and key not in self._known

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
        outputs = call_once(self._call, self._typed(inputs))
        expected = ops.convert_to_numpy(outputs[self._output])
        if not self._agree(expected, ops.convert_to_numpy(found)):
            raise ForwardDiffersError(self._message(inputs, graph, expected, found))
        self._known.add(key)

    def _typed(self, inputs: list[np.ndarray]) -> list:
        tensors = self._graph.flat_inputs
        return [ops.convert_to_tensor(x, t.dtype) for x, t in zip(inputs, tensors, strict=True)]

    def _call(self, *tensors) -> list:
        packed = tree.pack_sequence_as(self._graph.inputs, list(tensors))
        with FrozenState():
            return tree.flatten(call_model(self._model, packed))

    def _agree(self, expected: np.ndarray, found: np.ndarray) -> bool:
        if expected.shape != found.shape:
            return False
        finite = np.isfinite(expected)
        if not finite.any() or not np.array_equal(finite, np.isfinite(found)):
            return not finite.any() and not np.isfinite(found).any()
        a, b = expected[finite].astype("float64"), found[finite].astype("float64")
        return bool(np.abs(a - b).max() <= self._rounding * max(np.abs(a).max(), 1e-30))

    def _message(self, inputs, graph, expected, found) -> str:
        found = ops.convert_to_numpy(found)
        gap = np.nanmax(np.abs(expected - found)) if expected.shape == found.shape else None
        how = f"by up to {gap:.3g}" if gap is not None else f"{found.shape} for {expected.shape}"
        return (
            f"The model {self._model.name!r} computes something else than the graph that explains "
            f"it ({how}, with outputs up to {np.nanmax(np.abs(expected)):.3g}); the first layer "
            f"whose output differs is {self._first_difference(inputs, graph)}. An explanation "
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
        for name, outputs in calls:
            tensors = graph.layer_outputs.get(name, [])
            if not tensors or len(tensors) != len(outputs) or not written.issuperset(tensors):
                continue
            pairs = zip(outputs, run(graph, values, tensors), strict=True)
            if not all(self._agree(*map(ops.convert_to_numpy, pair)) for pair in pairs):
                return repr(name)
        return "none of those that can be compared one by one"


@contextmanager
def _recorded(calls: list) -> Iterator[None]:
    """Note what each layer writes, by the name that a trace gives to the call."""
    original, stack, seen = keras.Layer.__call__, [], set()

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


def _types(graph: Graph) -> set[str]:
    """The floating point types that a model computes in."""
    written = [t for step in graph.steps for t in step.outputs]
    types = {t.dtype for t in (*graph.flat_inputs, *written) if is_real(t)}
    layers = {layer for step in graph.steps for layer in step.layers}
    return types | {layer.compute_dtype for layer in layers}
