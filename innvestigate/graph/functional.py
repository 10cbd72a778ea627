"""The graphs that functional models carry with them, as Keras keeps them.

Keras shows the layers of a model to the public, but not the calls of them: a shared layer has
several, each on other tensors. It keeps these as nodes, by depth.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, tree
from keras.src.models.functional import Functional

from innvestigate.graph.signature import not_built
from innvestigate.graph.symbolic import Call, call_of


def function_of(operation: Any):
    """The functional graph that calling the operation runs, or None if it has none."""
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        if operation._functional is None and operation.built:
            return None
        if operation._functional is None:
            raise not_built(operation)
        return operation._functional
    if type(operation) is keras.Function:
        return operation
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def calls_of(function) -> list[Call]:
    """The calls in a functional model in the order in which Keras runs them."""
    depths = sorted(function._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in function._nodes_by_depth[depth]]
    return [call_of(x) for x in nodes if not x.is_input and x.operation is not None]


def inputs_for(function, args, kwargs) -> list | None:
    """What a nested model was called on, in the order of its own inputs."""
    given = args[0] if args else kwargs.get("inputs")
    by_place = isinstance(function, Functional) and not isinstance(function.input, dict)
    if isinstance(given, dict) and by_place:
        given = [given.get(tensor.name) for tensor in function.inputs]
    values = tree.flatten(given)
    fits = len(values) == len(function.inputs) and all(
        isinstance(value, KerasTensor) and _differ_by_one(value.shape, tensor.shape)
        for value, tensor in zip(values, function.inputs, strict=True)
    )
    return values if fits else None


def _differ_by_one(given: tuple, expected: tuple) -> bool:
    """Whether two shapes are of one rank, or the longer one ends in an axis of 1."""
    more = len(expected) - len(given)
    return more == 0 or (abs(more) == 1 and max(given, expected, key=len)[-1] == 1)
