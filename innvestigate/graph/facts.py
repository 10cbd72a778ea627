"""What a graph tells of the tensors that its steps read: their sign, and what they come out of."""

from __future__ import annotations

from keras import KerasTensor, tree

from innvestigate.graph.linear import Linear
from innvestigate.graph.names import Kind, Trait, has
from innvestigate.graph.operations import (
    activation_name,
    body_of,
    is_inverse,
    is_number,
    is_relu,
    kind_of,
)
from innvestigate.graph.registered import registered_kind
from innvestigate.graph.step import Graph, Step, is_float

_ACTIVATIONS = (Kind.ACTIVATION, Kind.SOFTMAX)
_GATES = ("sigmoid", "hard_sigmoid", "sparse_sigmoid")
_WEIGHTS = ("softmax", "sparsemax")
_NONNEGATIVE = (
    *("exponential", "softplus", "squareplus", "sparse_plus", "relu", "relu6"),
    *(*_GATES, *_WEIGHTS),
)


def annotate(graph: Graph) -> None:
    """Note in each step what the graph tells of its inputs: sign, gates, nearness to the input."""
    _annotate(graph, set(), set(), set(), set(), set(graph.flat_inputs))


def _annotate(
    graph: Graph, nonnegative: set, gates: set, weights: set, inverses: set, near: set
) -> None:
    """The same, given which of the graph's inputs are known to be what."""
    facts = nonnegative, gates, weights, inverses, near
    for step in graph.steps:
        kind = kind_of(step)
        known = [tensor in nonnegative for tensor in step.inputs]
        step.nonnegative = all(known)
        step.gates = tuple(i for i, x in enumerate(step.inputs) if x in gates)
        step.weights = tuple(i for i, x in enumerate(step.inputs) if x in weights)
        step.inverses = tuple(i for i, x in enumerate(step.inputs) if x in inverses)
        if isinstance(step.operation, Linear):
            step.operation.nonnegative = step.nonnegative
        step.first = near.issuperset(step.inputs)
        body = body_of(step)
        if body is not None:
            step.first = step.inputs[0] in near
            read, x = step.inputs[0], body.flat_inputs[0]
            _annotate(body, *({x} if read in fact else set() for fact in facts))
        if _writes_nonnegative(step, kind, known):
            nonnegative.update(step.outputs)
        if _writes(_GATES, step, kind, gates):
            gates.update(step.outputs)
        if _writes(_WEIGHTS, step, kind, weights):
            weights.update(step.outputs)
        if _inverts(step, kind, inverses):
            inverses.update(step.outputs)
        if step.first and kind in (Kind.SHAPE, Kind.UNITS):
            near.update(step.outputs)


def _writes_nonnegative(step: Step, kind: Kind, known: list[bool]) -> bool:
    operation = step.operation
    if registered_kind(operation) is not None:
        return False
    if kind in _ACTIVATIONS and activation_name(operation) in _NONNEGATIVE:
        return True
    if has(operation, Trait.NONNEGATIVE) or is_relu(step):
        return True
    combines = kind in (Kind.SHAPE, Kind.WINNER, Kind.PRODUCT, Kind.SUM)
    may = combines and not has(operation, Trait.OVERSHOOTS)
    return may and all(known) and _constants_nonnegative(step)


def _writes(names: tuple, step: Step, kind: Kind, known: set[KerasTensor]) -> bool:
    """Whether a step writes what activations of these names do, or moves what is known to be so."""
    if kind in _ACTIVATIONS:
        return activation_name(step.operation) in names
    numbers = {t for t in step.inputs if is_float(t)}
    return kind in (Kind.SHAPE, Kind.UNITS) and bool(numbers) and numbers <= known


def _inverts(step: Step, kind: Kind, known: set[KerasTensor]) -> bool:
    """Whether a step writes inverses, moves them or multiplies them."""
    numbers = {t for t in step.inputs if is_float(t)}
    keeps = kind in (Kind.SHAPE, Kind.UNITS, Kind.PRODUCT) and bool(numbers) and numbers <= known
    return keeps or is_inverse(step)


def _constants_nonnegative(step: Step) -> bool:
    """Whether no constant among a step's arguments could bring a negative number in."""
    leaves = tree.flatten(step.arguments)
    return all(
        isinstance(x, (KerasTensor, str, bool, slice, type(None))) or (is_number(x) and x >= 0)
        for x in leaves
    )
