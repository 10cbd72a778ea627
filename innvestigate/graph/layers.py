"""The Keras layers a mirror is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import KerasTensor, tree

from innvestigate.graph.constants import Constant
from innvestigate.graph.step import Step, like


class MirrorLayer(keras.Layer):
    """A layer that runs a function, in one float type.

    The user's layers are called on real tensors only, so no node is left on them.

    Args:
        function: What the layer computes from a list of arguments.
        outputs: Tensors like those that it returns, in their structure.
        dtype: The float type.
        name: The layer's name.
        holders: Layers and variables whose values are read, for Keras to track.
        runs: The step of the user's model that the layer stands for.
    """

    def __init__(
        self,
        function: Callable,
        outputs: Any,
        dtype: str,
        name: str,
        holders: Iterable = (),
        runs: Step | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.function, self.outputs_like, self.runs = function, outputs, runs
        self.holders = list(holders)
        self.built = True

    def call(self, arguments):
        return self.function(*arguments)

    def compute_output_spec(self, arguments):
        return tree.map_structure(like, self.outputs_like)


def original_layer(layer):
    """The user's layer that a layer of a mirror runs; any other layer itself."""
    runs = getattr(layer, "runs", None)
    return runs.layer if isinstance(runs, Step) else layer


def holders_of_variables(step: Step) -> list:
    """Layers and variables whose values a step reads."""
    operation = getattr(step.operation, "layer", step.operation)
    holders = [operation] if isinstance(operation, keras.Layer) else []
    leaves = tree.flatten((step.arguments, getattr(step.operation, "constants", ())))
    holders += [leaf for leaf in leaves if isinstance(leaf, keras.Variable)]
    return holders + [leaf.layer for leaf in leaves if isinstance(leaf, Constant)]


def unpack(values: list):
    """A single value itself, several as a list: how Keras layers return them."""
    return values[0] if len(values) == 1 else values


def shaped(tensor: KerasTensor, dtype: str) -> KerasTensor:
    """A tensor of a tensor's shape in another type."""
    return KerasTensor(tensor.shape, dtype)
