"""Operations that are taken apart into simpler ones, each of which a rule can speak of."""

from __future__ import annotations

import math

import keras
from keras import KerasTensor, ops

from innvestigate.graph.operations import keras_name
from innvestigate.graph.rewrite import open_layers
from innvestigate.graph.step import Graph, Step


def take_apart(graph: Graph) -> None:
    """Put products in place of quotients, attention and gated linear units of a graph."""
    for step in graph.steps:
        formula = FORMULAS.get(keras_name(step.operation))
        if formula is not None and _applies(step):
            step.operation = _Formula(step.operation, formula)
    open_layers(graph, lambda step: isinstance(step.operation, _Formula))


class _Formula(keras.Layer):
    """An operation, written as a formula of simpler ones."""

    def __init__(self, operation, formula):
        super().__init__()
        self.operation, self.formula = operation, formula

    def call(self, *args, **kwargs):
        return self.formula(self.operation, *args, **kwargs)


def _applies(step: Step) -> bool:
    """A quotient by a constant is left alone: it is a change of units."""
    args = step.arguments[0]
    return "Divide" not in keras_name(step.operation) or isinstance(args[1], KerasTensor)


def _quotient(operation, x, y):
    return ops.multiply(x, ops.reciprocal(y))


def _gated_linear_unit(operation, x):
    signal, gate = ops.split(x, 2, axis=operation.axis)
    return ops.multiply(signal, ops.sigmoid(gate))


def _attention(operation, query, key, value, bias=None, mask=None, scale=None):
    if operation.attn_logits_soft_cap is not None:
        raise NotImplementedError("attention with a soft cap of its logits")
    groups = query.shape[2] // key.shape[2]
    if groups > 1:
        key, value = (ops.repeat(x, groups, axis=2) for x in (key, value))
    logits = ops.einsum("btnh,bsnh->bnts", query, key)
    logits = logits * (1 / math.sqrt(key.shape[-1]) if scale is None else scale)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = ops.where(mask, logits, -1e9)
    if operation.is_causal:
        logits = ops.tril(logits) + ops.triu(0.0 * logits - 1e9, k=1)
    return ops.einsum("bnts,bsnh->btnh", ops.softmax(logits), value)


FORMULAS = {
    "Divide": _quotient,
    "TrueDivide": _quotient,
    "Glu": _gated_linear_unit,
    "DotProductAttention": _attention,
}
