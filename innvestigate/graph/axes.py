"""Which axes of a model's inputs the axes of its tensors run along."""

from __future__ import annotations

import re
from dataclasses import replace
from math import prod

import keras
from keras import KerasTensor, tree

from innvestigate.graph.linear import Linear
from innvestigate.graph.names import keras_name
from innvestigate.graph.normalization import NORMALIZATIONS
from innvestigate.graph.operations import Kind, Trait, has, kind_of
from innvestigate.graph.step import Graph, Step

Axes = tuple[int | None, ...]

_IN_PLACE = (Kind.ACTIVATION, Kind.SOFTMAX, Kind.UNITS, Kind.NORMALIZATION)
_OF_ROWS = ("Tensordot", "Dot", "Inner")  # products that write the first axes of the first first
_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)


def axes_from(graph: Graph, start: KerasTensor) -> dict[KerasTensor, Axes]:
    """For tensors that depend on a start: which axis of it each of their axes runs along.

    Only operations that are known to keep places are followed. None stands for an axis that runs
    along none, or of which that is not known.
    """
    known: dict[KerasTensor, Axes] = {start: tuple(range(len(start.shape)))}
    for step in graph.steps:
        read = [t for t in step.inputs if t in known]
        for tensor in step.outputs if read else ():
            columns = zip(*(_moved(step, t, known[t], tensor) for t in read), strict=True)
            known[tensor] = tuple(map(_agreed, columns))
    return known


def owner_of(step: Step):
    """The layer or operation that a step is, or is the linear part of."""
    return getattr(step.operation, "layer", step.operation)


def stated_channels(step: Step, tensor: KerasTensor) -> int:
    """The axis of channels of a tensor by the `data_format` of a step, which may run over time."""
    given = owner_of(step).data_format or keras.config.image_data_format()
    over_time = has(step.operation, Trait.OVER_TIME)
    if kind_of(step) is Kind.RECURRENT:
        over_time = len(tensor.shape) == len(step.inputs[0].shape)
    return len(tensor.shape) - 1 if given == "channels_last" else 1 + over_time


def permutation(step: Step, rank: int) -> list[int] | None:
    """Which axes of what it reads a step puts where; None for a step that does something else."""
    if not has(step.operation, Trait.PERMUTES):
        return None
    shape = step.operation.compute_output_spec(KerasTensor(_PRIMES[:rank])).shape
    return [_PRIMES.index(size) for size in shape]


def _agreed(column: tuple[int | None, ...]) -> int | None:
    """The axis that all tensors read along an axis know of, if it is the same."""
    found = {*column} - {None}
    return found.pop() if len(found) == 1 else None


def _moved(step: Step, source: KerasTensor, axes: Axes, written: KerasTensor) -> Axes:
    """Where the axes of what a step writes come from, given those of a tensor that it reads."""
    ways = (follow(step, source, written) for follow in _WAYS)
    found = next((way for way in ways if way is not None), _rows(step, source, written))
    return tuple(None if k is None else axes[k] for k in found)


def _permuted(step: Step, source: KerasTensor, written: KerasTensor) -> list | None:
    return permutation(step, len(source.shape))


def _labelled(step: Step, source: KerasTensor, written: KerasTensor) -> list | None:
    """By the letters of an einsum."""
    equation, place = _equation(step), _place(step, source)
    if "->" not in equation or place is None:
        return None
    *operands, output = re.split(",|->", equation.replace(" ", ""))
    before, after = tuple(source.shape), tuple(written.shape)
    letters = _letters(operands[place], len(before))
    found = [
        letters.index(x) if letters.count(x) == 1 else None for x in _letters(output, len(after))
    ]
    return [_same(k, before, size) for k, size in zip(found, after, strict=True)]


def _equation(step: Step) -> str:
    """The equation of an einsum; empty for other steps, and for a layer over time."""
    owner, label = owner_of(step), {"Einsum": "subscripts", "EinsumDense": "equation"}
    name = None if has(step.operation, Trait.OVER_TIME) else label.get(keras_name(owner) or "")
    return getattr(owner, name) if name else ""


def _letters(term: str, rank: int) -> list:
    """The letters of a term of an einsum; numbers from the right for the axes of its `...`."""
    first, _, last = term.partition("...")
    return [*first, *range(len(first) + len(last) - rank, 0), *last]


def _sliced(step: Step, source: KerasTensor, written: KerasTensor) -> list | None:
    """By the slices of a key: axes that are read from end to end."""
    if not has(step.operation, Trait.SLICES):
        return None
    key = step.arguments[0][1]
    key = key if isinstance(key, tuple) else (key,)
    if not all(k is None or k is Ellipsis or isinstance(k, (slice, int)) for k in key):
        return None
    taken = sum(isinstance(k, (slice, int)) for k in key)
    rest = [slice(None)] * (len(source.shape) - taken)
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    left, found = iter(range(len(source.shape))), []
    for k in (*key[:at], *rest, *key[at + 1 :]):
        axis = None if k is None else next(left)
        if not isinstance(k, int):
            found.append(axis if k == slice(None) else None)
    return found


def _kept(step: Step, source: KerasTensor, written: KerasTensor) -> list | None:
    """By what is known to keep the order of axes, and of places along them."""
    before, after = tuple(source.shape), tuple(written.shape)
    spreads = _spreads(owner_of(step))
    if len(before) != len(after) or not (spreads or _stays(_inner(step), source)):
        return None
    mixed = _mixed(step, source, written)
    found = [k if spreads else _same(k, before, size) for k, size in enumerate(after)]
    return [None if mixed in (k, k - len(after)) else axis for k, axis in enumerate(found)]


def _same(axis: int | None, before: tuple, size: int | None) -> int | None:
    """An axis, unless it is broadcast."""
    return axis if axis is not None and before[axis] == size else None


def _inner(step: Step) -> Step:
    """The step of the layer that is applied to each point in time, or in linear parts."""
    return replace(step, operation=owner_of(step))


def _stays(step: Step, source: KerasTensor) -> bool:
    """Whether a step writes numbers at the places of a tensor that it reads."""
    kind, operation = kind_of(step), step.operation
    if kind is Kind.PASS:
        return source is step.inputs[0]
    if kind is Kind.RECURRENT:
        return keras_name(operation) is not None and not getattr(operation, "go_backwards", False)
    if has(operation, Trait.MATRICES) and _place(step, source) is None:
        return False
    known = has(operation, Trait.IN_PLACE) or keras_name(operation) in NORMALIZATIONS
    return known or kind in _IN_PLACE


def _spreads(operation) -> bool:
    """Whether an operation writes places over all of those that it reads, in proportion.

    Sides that are padded may differ by one, as those of `padding="same"` do.
    """
    if has(operation, Trait.PADS):
        sides = tree.flatten(getattr(operation, "pad_width", getattr(operation, "padding", None)))
        return all(abs(a - b) <= 1 for a, b in zip(sides[::2], sides[1::2], strict=True))
    cuts = ("crop_to_aspect_ratio", "pad_to_aspect_ratio")
    known = has(operation, Trait.CONVOLUTION) or has(operation, Trait.IN_PROPORTION)
    return known and not any(getattr(operation, name, False) for name in cuts)


def _mixed(step: Step, source: KerasTensor, written: KerasTensor) -> int | None:
    """The axis along which a step mixes numbers or puts further ones."""
    owner = owner_of(step)
    if has(owner, Trait.CONVOLUTION):
        return stated_channels(step, written)
    if has(owner, Trait.JOINS):
        return owner.axis
    if kind_of(_inner(step)) is Kind.RECURRENT:
        return stated_channels(step, written) if hasattr(owner, "data_format") else -1
    if has(owner, Trait.MATRICES):
        return -2 if _place(step, source) else -1
    return -1 if has(owner, Trait.DENSE) else None


def _place(step: Step, source: KerasTensor) -> int | None:
    """Which of a step's arguments a tensor is; None if it is several."""
    if isinstance(step.operation, Linear):
        return step.operation.place
    found = [k for k, x in enumerate(step.arguments[0]) if x is source]
    return found[0] if len(found) == 1 else None


def _reshaped(step: Step, source: KerasTensor, written: KerasTensor) -> list | None:
    """By an axis that is added or taken away."""
    before, after = tuple(source.shape), tuple(written.shape)
    axes, operation = list(range(len(before))), owner_of(step)
    if has(operation, Trait.JOINS) and len(after) == len(before) + 1:
        k = operation.axis % len(after)
        return [*axes[:k], None, *axes[k:]]
    if kind_of(_inner(step)) is Kind.LOOKUP and after[:-1] == before:
        return [*axes, None]
    if not (has(operation, Trait.RESHAPES) or has(operation, Trait.KEEPS_ORDER)):
        return None
    if before == after:
        return axes
    for k in range(len(after) - 1, 0, -1):
        if after[k] == 1 and (*after[:k], *after[k + 1 :]) == before:
            return [*axes[:k], None, *axes[k:]]
    for k in range(len(before) - 1, 0, -1):
        if before[k] == 1 and (*before[:k], *before[k + 1 :]) == after:
            return [*axes[:k], *axes[k + 1 :]]
    return None


_WAYS = (_permuted, _labelled, _sliced, _kept, _reshaped)


def _rows(step: Step, source: KerasTensor, written: KerasTensor) -> list:
    """By the axis of samples alone."""
    rest = [None] * (len(written.shape) - 1)
    return [0 if _keeps_rows(step, source, written) else None, *rest]


def _keeps_rows(step: Step, source: KerasTensor, written: KerasTensor) -> bool:
    """Whether each sample stays a row, though its own axes change."""
    before, after, owner = source.shape[1:], written.shape[1:], owner_of(step)
    if isinstance(owner, keras.Layer):
        return True
    if has(owner, Trait.IN_PLACE):
        return len(after) <= len(before)
    if kind_of(_inner(step)) is Kind.PRODUCT:
        return keras_name(owner) in _OF_ROWS and _place(step, source) == 0
    known = None not in (*before, *after)
    return not has(owner, Trait.RESHAPES) or (known and prod(before) == prod(after))
