"""Which masks Keras's layers look for, and which ones they compute."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import KerasTensor, tree
from keras.src.layers.merging.base_merge import Merge

from innvestigate.graph.step import tensors_in


class ComputeMask:
    """The mask that a layer computes for what it writes, as an operation of its own.

    Args:
        layer: The layer.
        which: Which of the layer's masks, in the order of its outputs.
    """

    def __init__(self, layer: keras.Layer, which: int):
        self.layer, self.which = layer, which

    def __call__(self, inputs, previous_mask):
        return masks_of(self.layer, inputs, previous_mask)[self.which]


class PutOn(ComputeMask):
    """The mask that a layer's own call puts on what it writes, found by calling it.

    Args:
        layer: The layer.
        which: See `ComputeMask`.
        worn_by: Finds the mask that a tensor wears.
    """

    def __init__(self, layer: keras.Layer, which: int, worn_by: Callable):
        super().__init__(layer, which)
        self.worn_by = worn_by

    def __call__(self, *args, **kwargs):
        return self.worn_by(tree.flatten(self.layer(*args, **kwargs))[self.which])


def masks_of(layer: keras.Layer, inputs, previous_mask) -> list:
    """The masks that the outputs of a layer wear after its call, None where there is none."""
    if is_reversible(layer):  # its call puts the mask on itself
        return [keras.layers.Embedding.compute_mask(layer, inputs)]
    return tree.flatten(layer.compute_mask(inputs, previous_mask))


def is_reversible(layer: keras.Layer) -> bool:
    """Whether a layer looks tokens up, and also goes back from vectors to their logits."""
    return isinstance(layer, keras.layers.ReversibleEmbedding)


def wants_masks(operation: Any) -> bool:
    """Whether an operation may look for masks on its tensors: layers of which nothing is known."""
    if not isinstance(operation, keras.Layer):
        return False
    if not type(operation).__module__.startswith("keras.") or isinstance(operation, Merge):
        return True
    return any("mask" in name for name in inspect.signature(operation.call).parameters)


def masks_for(layer, args, kwargs, masks: dict) -> dict[str, Any]:
    """The mask arguments that Keras fills in from the tensors of a call, where none is given."""
    parameters = inspect.signature(layer.call).parameters
    given = {**dict(zip(parameters, args, strict=False)), **kwargs}
    tensors = {name: x for name, x in given.items() if tensors_in(x)}
    find = lambda x: masks.get(x) if isinstance(x, KerasTensor) else None  # noqa: E731
    names = {f"{name}_mask": x for name, x in tensors.items()}
    if len(tensors) == 1:
        names = {"mask": next(iter(tensors.values()))}
    return {
        name: tree.map_structure(find, x)
        for name, x in names.items()
        if name in parameters and given.get(name) is None
    }
