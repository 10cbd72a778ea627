"""What layers compute from their weights alone: constants of a graph that training changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras
from keras import ops, tree


@dataclass(frozen=True, eq=False)
class Computation:
    """All that a layer's call makes of its weights alone.

    Attributes:
        values: Maps the present values of `known` to the tensors.
        known: The constants among what the layer is called on.
    """

    values: Callable[..., list]
    known: list[Constant]

    def __call__(self) -> list:
        return self.values(*present(self.known))


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor made of weights, such as `1 + self.scale`, computed anew in each run of a graph.

    Attributes:
        layer: The layer whose weights it is made of.
        compute: Returns all tensors that the layer's call makes of its weights.
        which: Which of these it is.
        shape: Its shape.
        dtype: Its type.
    """

    layer: keras.Layer
    compute: Computation
    which: int
    shape: tuple
    dtype: str


_HELD: ContextVar[Mapping[Computation, list]] = ContextVar("_HELD", default=MappingProxyType({}))


def constants_in(structure: Any) -> list[Constant]:
    """The constants in a structure of arguments."""
    return [leaf for leaf in tree.flatten(structure) if isinstance(leaf, Constant)]


def constants_of(step) -> list[Constant]:
    """The constants that a step reads."""
    return constants_in((step.arguments, getattr(step.operation, "constants", ())))


def shared(readers: Iterable[list[Constant]]) -> list[Computation]:
    """The computations that several readers of constants need, each behind those that it needs."""
    reads: Counter[Computation] = Counter()
    found: list[Computation] = []

    def note(constants: list[Constant]) -> None:
        for compute in {constant.compute for constant in constants}:
            reads[compute] += 1
            if reads[compute] == 1:
                note(compute.known)
                found.append(compute)

    for constants in readers:
        note(constants)
    return [compute for compute in found if reads[compute] > 1]


@contextmanager
def held(computations: Iterable[Computation]) -> Iterator[None]:
    """Run computations now, and not again within it.

    Each runs a layer's whole call, which is dear where the layer is large and many steps inside
    read from it. It is to be entered where no loop or inner function is being traced.
    """
    token = _HELD.set(_HELD.get())
    try:
        for compute in computations:
            if compute not in _HELD.get():
                _HELD.set({**_HELD.get(), compute: compute()})
        yield
    finally:
        _HELD.reset(token)


def present(structure: Any) -> Any:
    """A structure of arguments with each `Constant`'s present value in its place."""
    computed = dict(_HELD.get())

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
