"""Strings: explanations start at the tokens that a model's own layers make of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops, tree

from innvestigate.backend import holds_strings
from innvestigate.engine.frames import arrays_in
from innvestigate.engine.guard import Guard
from innvestigate.engine.inputs import InputSpec
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.rewrite import from_tokens
from innvestigate.graph.run import run
from innvestigate.graph.step import Graph, Step
from innvestigate.utils.batching import is_dataset

_COMPARED = 32
"""How many samples the rest of a model is compared with the model on."""


class Text:
    """The part of a model that reads strings, and the rest, which begins at their tokens.

    Strings have no gradient, and no mirror holds them. So what turns them into numbers
    (TextVectorization, StringLookup, Hashing, ...) is run once, on all samples, before anything is
    explained.

    Args:
        model: A Keras model, with or without strings among its inputs.
        graph: Its graph.
        check: Whether the rest on tokens is compared with the model on strings, at the first call.

    Attributes:
        graph: The rest as a graph. Tokens are inputs in the place of the strings that they are
            made of; where that is not one for one, see `graph.rewrite.from_tokens`.
        model: The rest as a model on the same weights; without strings the model itself.
    """

    def __init__(self, model: keras.Model, graph: Graph, check: bool):
        self._whole, self._spec, self._parts = graph, InputSpec(graph), from_tokens(graph)
        self.graph, self.model = graph, model
        if self._parts is not None:
            self.graph = self._parts[1]
            self.model = build_forward(self.graph, model.name, keras.Model)
        compares = check and holds_strings and self._parts is not None
        outputs = range(len(self.graph.flat_outputs))
        self._guards = [Guard(model, self._whole, i, compares) for i in outputs]

    def to_tokens(self, x: Any) -> Any:
        """What the rest of the model takes: x itself, or tokens where there are strings in it.

        Args:
            x: Samples as for `analyze`. Tokens in the place of strings, and data sets, are
                returned as they are.

        Raises:
            ValueError: If x does not fit the model.
            ForwardDiffersError: If the rest on tokens is another function than the model.
        """
        if self._parts is None or is_dataset(x) or not _holds_strings(x):
            return x
        front, _ = self._parts
        inputs = self._spec.flat(self._spec.check(x)[0], 0)
        pairs = zip(inputs, front.flat_inputs, strict=True)
        given = [_as_tensor(array) if t.dtype == "string" else array for array, t in pairs]
        found = [ops.convert_to_numpy(y) for y in run(front, given, front.flat_outputs)]
        self._compare(inputs, found)
        return tree.pack_sequence_as(self.graph.inputs, found)

    def arrays(self, x: Any) -> Any:
        """x as arrays in its own structure, strings and tokens as they are; data sets, too.

        Raises:
            ValueError: If x does not fit the model.
        """
        of_strings = self._parts is not None and not is_dataset(x) and _holds_strings(x)
        spec = self._spec if of_strings else InputSpec(self.graph)
        return spec.check(x)[0]

    def words(self, x: Any) -> list[np.ndarray]:
        """What the numbers at each flat input of the rest stand for, as text.

        Args:
            x: Samples as for `to_tokens`.
        """
        spec = InputSpec(self.graph)
        tokens = spec.flat(spec.check(self.to_tokens(x))[0], 0)
        if self._parts is None:
            return [array.astype(str) for array in tokens]
        front, _ = self._parts
        known = {}
        if _holds_strings(x):
            strings = self._spec.flat(self._spec.check(x)[0], 0)
            known = dict(zip(front.flat_inputs, strings, strict=True))
        writers = front.writers()
        pairs = zip(tokens, front.flat_outputs, strict=True)
        return [_words(array, writers.get(tensor), known) for array, tensor in pairs]

    def _compare(self, inputs: list, tokens: list) -> None:
        for guard, output in zip(self._guards, self.graph.flat_outputs, strict=True):
            if guard.wants(output):
                rows = [x[:_COMPARED] for x in inputs]
                (found,) = run(self.graph, [t[:_COMPARED] for t in tokens], [output])
                guard.check(output, rows, self._whole, found)


def _holds_strings(x: Any) -> bool:
    arrays = (array for leaf in tree.flatten(x) for array in arrays_in(leaf))
    return any(array.dtype.kind in "OSU" for array in arrays)


def _as_tensor(strings: np.ndarray) -> Any:
    """Strings as a tensor, where there are such; otherwise Keras's layers take them as they are."""
    return ops.convert_to_tensor(strings, "string") if holds_strings else strings


def _words(numbers: np.ndarray, writer: Step | None, strings: dict) -> np.ndarray:
    """Words of the writer's vocabulary; else the strings that the numbers are of, one for one."""
    layer: Any = None if writer is None else writer.operation
    if hasattr(layer, "get_vocabulary"):
        vocabulary = np.array(layer.get_vocabulary(), str)
        if layer.get_config().get("output_mode", "int") == "int":
            return vocabulary[numbers]
        further = [""] * (numbers.shape[-1] - len(vocabulary))  # max_tokens that are none yet
        return np.broadcast_to([*vocabulary, *further], numbers.shape)
    read = None if writer is None else strings.get(writer.inputs[0])
    return (numbers if read is None or read.shape != numbers.shape else read).astype(str)
