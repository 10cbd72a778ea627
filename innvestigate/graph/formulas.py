"""Operations that DeepLIFT takes apart into simpler ones, each of which has a rule of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
from keras import KerasTensor, ops

from innvestigate.graph.decompositions import Formula, as_formula
from innvestigate.graph.masks import ComputeMask
from innvestigate.graph.operations import Trait, has, keras_name
from innvestigate.graph.rewrite import open_layers
from innvestigate.graph.step import Graph, Step


def take_apart(graph: Graph) -> Graph:
    """Put products in place of quotients, masking, attention and logsumexp of a graph."""
    steps = []
    for step in _masked_by_product(graph):
        formula = FORMULAS.get(keras_name(step.operation))
        if formula is not None and _applies(step):
            step = as_formula(step, formula)
        steps.append(step)
    return open_layers(graph.replaced(steps), lambda step: isinstance(step.operation, Formula))


def _masked_by_product(graph: Graph) -> list[Step]:
    """The steps of a graph, each Masking as the product of its input and the mask that it makes."""
    steps, masks = [], {}
    for step in graph.steps:
        maker = getattr(step.operation, "layer", None)
        if isinstance(step.operation, ComputeMask) and has(maker, Trait.MASKING):
            masks[maker, step.inputs[0]] = step.outputs[0]
        if has(step.operation, Trait.MASKING):
            steps += _product_with(masks[step.operation, step.inputs[0]], step)
        else:
            steps.append(step)
    return steps


def _product_with(mask: KerasTensor, step: Step) -> list[Step]:
    x, y = step.inputs[0], step.outputs[0]
    factor = KerasTensor((*y.shape[:-1], 1), y.dtype)
    product = keras.layers.Multiply(dtype=y.dtype)
    cast = lambda mask: ops.expand_dims(ops.cast(mask, y.dtype), -1)  # noqa: E731
    return [
        Step(f"{step.name}.exists", cast, ((mask,), {}), [factor], step.layers),
        Step(step.name, product, (([x, factor],), {}), [y], step.layers),
    ]


def _applies(step: Step) -> bool:
    """A quotient by a constant is left alone: it is a change of units."""
    args = step.arguments[0]
    return not has(step.operation, Trait.QUOTIENT) or isinstance(args[1], KerasTensor)


def _quotient(operation, x, y):
    return ops.multiply(x, ops.reciprocal(y))


def _quotient_or_zero(operation, x, y):
    inverse = keras.layers.Activation(_reciprocal_or_zero, dtype=y.dtype, name="reciprocal")
    return ops.multiply(x, inverse(y))


def _reciprocal_or_zero(y):
    return ops.divide_no_nan(ops.ones_like(y), y)


def _log_sum_exp(operation, x):
    """τ of a log-softmax x - τ, whose rule knows Δτ."""
    rank, axis = len(x.shape), operation.axis
    axes = range(rank) if axis is None else axis if isinstance(axis, (list, tuple)) else [axis]
    axes = [i % rank for i in axes]
    kept = [i for i in range(rank) if i not in axes]
    sizes = [-1 if x.shape[i] is None else x.shape[i] for i in kept]
    count = math.prod(x.shape[i] for i in axes)
    flat = ops.reshape(ops.transpose(x, [*kept, *axes]), [*sizes, count])
    y = (flat - ops.log_softmax(flat, axis=-1))[..., 0]
    return ops.expand_dims(y, sorted(axes)) if operation.keepdims else y


def _attention(operation, query, key, value, bias=None, mask=None, scale=None):
    """Attention in steps; without a soft cap of the logits, which Keras has on TPUs only."""
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


FORMULAS: dict[str | None, Callable] = {
    "Divide": _quotient,
    "TrueDivide": _quotient,
    "DivideNoNan": _quotient_or_zero,
    "DotProductAttention": _attention,
    "Logsumexp": _log_sum_exp,
}
