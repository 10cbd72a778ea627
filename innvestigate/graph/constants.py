"""What layers compute from their weights alone: constants of a graph that training changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops, tree


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor made of weights, such as `1 + self.scale`, computed anew whenever it is read.

    Attributes:
        layer: The layer whose weights it is made of.
        compute: Returns all tensors that the layer's call makes of its weights.
        which: Which of these it is.
        shape: Its shape.
        dtype: Its type.
    """

    layer: keras.Layer
    compute: Callable[[], list]
    which: int
    shape: tuple
    dtype: str


def present(structure: Any) -> Any:
    """A structure of arguments with each `Constant`'s present value in its place."""
    computed: dict[Callable, list] = {}

    def value(x):
        if not isinstance(x, Constant):
            return x
        if x.compute not in computed:
            computed[x.compute] = x.compute()
        return computed[x.compute][x.which]

    return tree.map_structure(value, structure)


def value_of(constant: Any):
    """The present value of an array, a variable or a `Constant` as a tensor."""
    return ops.convert_to_tensor(present(constant))


def shape_of(constant: Any) -> tuple:
    """The shape of an array, a variable or a `Constant`."""
    return tuple(constant.shape if isinstance(constant, Constant) else ops.shape(constant))
