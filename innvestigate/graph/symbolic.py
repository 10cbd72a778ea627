"""Running layers on symbolic tensors, and what it shows: the calls inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, ops, tree
from keras.src import backend as keras_backend

from innvestigate.graph.constants import Computation, Constant
from innvestigate.graph.lenient import lenient
from innvestigate.graph.scopes import FrozenState, WeightReads

_UNKNOWN = "it computes with sizes that are not known"


_ASKED_FOR_VALUES = ("as a boolean", "actual numerical value", "called on meta tensors")
"""What Keras says of `if x > 0` and `np.sum(x)`, x being symbolic; torch of x without data."""


class RefusedError(Exception):
    """A layer does not show what is inside; says why."""


class DecidesError(RefusedError):
    """A layer asks for values where there are none."""


@dataclass(frozen=True)
class Call:
    """One call of an operation on symbolic tensors, as Keras's nodes record it.

    Attributes:
        operation: What was called.
        arguments: `(args, kwargs)`.
        inputs: The symbolic tensors among them.
        outputs: What it returned, a flat list.
    """

    operation: Any
    arguments: tuple[tuple, dict]
    inputs: list[KerasTensor]
    outputs: list[KerasTensor]


def call_of(node) -> Call:
    """What a node records."""
    arguments = node.arguments.args, node.arguments.kwargs
    return Call(node.operation, arguments, node.input_tensors, node.outputs)


def calls_within(
    layer, inputs: list, known: list[Constant], run: Callable
) -> tuple[list[Call], list]:
    """The calls by which a layer computes its outputs from symbolic inputs, and these outputs.

    What is computed from the layer's weights alone is a `Constant` among the arguments, or an
    output. No values are needed to find that out: zeros stand for the constants that it is given.

    Args:
        layer: The layer.
        inputs: The symbolic inputs.
        known: The constants among what the layer is called on.
        run: Maps values of these constants to the outputs.

    Raises:
        RefusedError: If that cannot be found out.
    """

    def calls(given):
        try:
            return _calls(layer, inputs, partial(run, given))
        except RefusedError:
            raise
        except Exception as error:  # whatever a layer raises when it is given symbolic tensors
            lines = str(error).strip().splitlines() or [""]
            if any(words in lines[0] for words in _ASKED_FOR_VALUES):
                raise DecidesError("its call decides by the values of its inputs") from error
            told = f"{type(error).__name__}: {lines[0][:200]}"
            raise RefusedError(f"its call cannot be run without data ({told})") from error

    def values(*given) -> list:
        with FrozenState():
            return [x for x in tree.flatten(_arguments(*calls(given))) if _is_computed(x)]

    with WeightReads() as reads:
        found, outputs = calls(_zeros(known))
    if not (reads.seen or known):
        return found, outputs
    likes = _spec_of(values, known)
    compute = Computation(values, known)
    constants = iter(Constant(layer, compute, i, t.shape, t.dtype) for i, t in enumerate(likes))
    swap = lambda x: next(constants) if _is_computed(x) else x  # noqa: E731
    arguments, outputs = tree.map_structure(swap, _arguments(found, outputs))
    pairs = zip(found, arguments, strict=True)
    return [replace(call, arguments=given) for call, given in pairs], outputs


def _spec_of(values: Callable, known: list[Constant]) -> list[KerasTensor]:
    """Tensors like those that are made of constants, whatever their values.

    Raises:
        RefusedError: If the values decide. On torch Keras then tries again, with values.
    """
    decided: list[Exception] = []

    def noted(*given):
        try:
            return values(*given)
        except DecidesError as error:
            decided.append(error)
            raise

    try:
        likes = keras_backend.compute_output_spec(noted, *map(_like, known))
        if not decided:
            return likes
    except Exception as error:  # whatever a layer raises when its weights hold no values
        decided.append(error)
    raise RefusedError("it decides by the values of its weights") from decided[0]


def _like(constant: Constant) -> KerasTensor:
    return KerasTensor(constant.shape, constant.dtype)


def outputs_of(layer, known: list[Constant], run: Callable) -> list:
    """What `run` makes of symbolic tensors of any size; nothing if it refuses them."""
    with untouched(layer), lenient():
        try:
            return tree.flatten(run(_zeros(known)))
        except Exception:  # whatever a layer raises when it is given symbolic tensors
            return []


def _zeros(known: list[Constant]) -> list:
    """What stands for constants where no values are needed."""
    return [ops.zeros(x.shape, x.dtype) for x in known]


def _is_computed(x: Any) -> bool:
    return ops.is_tensor(x) and not isinstance(x, keras.Variable)


def layers_within(operation: Any) -> list[keras.Layer]:
    """A layer and all layers inside; nothing for what is no layer."""
    return list(operation._flatten_layers()) if isinstance(operation, keras.Layer) else []


def _arguments(calls: list[Call], outputs: list) -> tuple[list, list]:
    return [call.arguments for call in calls], outputs


def _calls(layer, inputs, run) -> tuple[list[Call], list]:
    layer._get_call_context().set_value("training", False)
    try:
        with untouched(layer) as touch, lenient():
            outputs = tree.flatten(run())
            nodes = _nodes_between(inputs, [y for y in outputs if isinstance(y, KerasTensor)])
            touch(nodes)
            calls = [_with_sizes(call_of(node)) for node in nodes]
    finally:
        layer._maybe_reset_call_context()
    made = [x for x in tree.flatten(_arguments(calls, outputs)) if _is_computed(x)]
    if any(0 in x.shape for x in made) and any(None in t.shape for t in inputs):
        raise RefusedError(_UNKNOWN)  # as many places as ops.arange(0, None) has
    return calls, outputs


def _with_sizes(call: Call) -> Call:
    """The call of an operation whose arguments hold no unknown size in the place of a number."""
    operation = call.operation
    if isinstance(operation, keras.Layer) or not isinstance(operation, keras.Operation):
        return call
    for name, value in vars(operation).items():
        if name.startswith("_") or not isinstance(value, (tuple, list)) or None not in value:
            continue
        if name != "newshape" or -1 in value or value.count(None) > 1:
            raise RefusedError(_UNKNOWN)
        inferred = tuple(-1 if size is None else size for size in value)
        return replace(call, operation=type(operation)(inferred))
    return call


@contextmanager
def untouched(layer: keras.Layer) -> Iterator[Callable]:
    """Takes off the nodes and tensors that layers gain within it; yields what is told of others.

    A layer may keep a tensor that it has made in an attribute, which would be a symbolic one.
    """
    inside = layers_within(layer)
    before = [(sub, list(sub._inbound_nodes), list(sub._outbound_nodes)) for sub in inside]
    kept = [(vars(sub), dict(vars(sub))) for sub in inside]
    others: list = []
    try:
        yield others.extend
    finally:
        for node in others:
            _forget(node)
        for sub, inbound, outbound in before:
            sub._inbound_nodes[:], sub._outbound_nodes[:] = inbound, outbound
        for attributes, own in kept:
            _put_back(attributes, own)


def _put_back(attributes: dict, before: dict) -> None:
    """Take tensors out of the attributes of a layer that were not there before."""
    for name, value in list(attributes.items()):
        known = name in before
        if known and value is before[name]:
            continue
        if any(isinstance(x, KerasTensor) or _is_computed(x) for x in tree.flatten(value)):
            attributes.pop(name)
            attributes.update({name: before[name]} if known else {})


def _forget(node) -> None:
    """Take a node off its operation and those that it reads from."""
    touched = [node.operation._inbound_nodes]
    for tensor in node.input_tensors:
        history = getattr(tensor, "_keras_history", None)
        if history is not None and history.operation is not None:
            touched.append(history.operation._outbound_nodes)
    for recorded in touched:
        if node in recorded:
            recorded.remove(node)


def _nodes_between(inputs: list, outputs: list) -> list:
    """Nodes that lead from inputs to outputs, in order."""
    ordered, done, stack = [], set(), [(t, False) for t in reversed(outputs)]
    known = set(inputs)
    while stack:
        found, ready = stack.pop()
        if ready:
            ordered.append(found)
        if ready or found in known:
            continue
        history = getattr(found, "_keras_history", None)
        if history is None or history.operation is None:
            raise RefusedError("it reads a symbolic tensor that is not among its arguments")
        node = history.operation._inbound_nodes[history.node_index]
        if node in done:
            continue
        done.add(node)
        stack.append((node, True))
        stack.extend((t, False) for t in reversed(node.input_tensors))
    return ordered
