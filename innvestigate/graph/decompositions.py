"""Operations that no rule speaks of, written by simpler ones that rules do speak of.

Each formula is exact: `(operation, *arguments of its call) -> outputs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import log

import keras
from keras import ops, tree

from innvestigate.graph.step import Step
from innvestigate.graph.symbolic import RefusedError


class Formula(keras.Layer):
    """An operation, written as a formula of simpler ones."""

    def __init__(self, operation, formula: Callable):
        super().__init__()
        self.operation, self.formula = operation, formula

    def call(self, *args, **kwargs):
        return self.formula(self.operation, *args, **kwargs)


def as_formula(step: Step, formula: Callable) -> Step:
    """A step whose operation is written as a formula."""
    return replace(step, operation=Formula(step.operation, formula))


def _epsilon(operation) -> float:
    return keras.config.epsilon() if operation.epsilon is None else operation.epsilon


def _along(x, values, axis):
    """Numbers for each place along some axes of x, in a shape that broadcasts over x."""
    axes = {i % len(x.shape) for i in (axis if isinstance(axis, (list, tuple)) else [axis])}
    return ops.reshape(values, [n if i in axes else 1 for i, n in enumerate(x.shape)])


def _scaled(x, scale, shift, axis):
    x = x if scale is None else x * _along(x, scale, axis)
    return x if shift is None else x + _along(x, shift, axis)


def _batch_normalization(operation, x, mean, variance, offset=None, scale=None):
    axis = operation.axis
    spread = ops.sqrt(_along(x, variance, axis) + operation.epsilon)
    return _scaled((x - _along(x, mean, axis)) / spread, scale, offset, axis)


def _layer_normalization(operation, x, gamma=None, beta=None):
    axis = operation.axis
    centred = x - ops.mean(x, axis=axis, keepdims=True)
    variance = ops.mean(ops.square(centred), axis=axis, keepdims=True)
    divided = x if operation.rms_scaling else centred
    shift = None if operation.rms_scaling else beta
    return _scaled(divided / ops.sqrt(variance + _epsilon(operation)), gamma, shift, axis)


def _rms_normalization(operation, x, scale=None):
    square = ops.mean(ops.square(x), axis=operation.axis, keepdims=True)
    return _scaled(x / ops.sqrt(square + _epsilon(operation)), scale, None, operation.axis)


def _normalize(operation, x):
    size = _vector_norm(x, operation.order, operation.axis, keepdims=True)
    return x / ops.maximum(size, _epsilon(operation))


def _norm(operation, x):
    axis = operation.axis or list(range(len(x.shape)))
    if len(axis) > 1 and operation.ord not in (None, "fro"):
        raise RefusedError("it is a matrix norm other than Frobenius's")
    order = 2 if operation.ord in (None, "fro") else operation.ord
    return _vector_norm(x, order, tuple(axis), operation.keepdims)


def _vector_norm(x, order, axis, keepdims):
    """(Σ |x|ᵖ)^(1/p), for p = ±∞ the largest or smallest |x|."""
    if order == 0:
        raise RefusedError("it counts numbers that are not zero")
    if abs(order) == float("inf"):
        extremum = ops.max if order > 0 else ops.min
        return extremum(ops.abs(x), axis=axis, keepdims=keepdims)
    if order == 2:
        return ops.sqrt(ops.sum(ops.square(x), axis=axis, keepdims=keepdims))
    total = ops.sum(ops.power(ops.abs(x), order), axis=axis, keepdims=keepdims)
    return ops.power(total, 1 / order)


def _variance(operation, x, mean: Callable = ops.mean):
    square = ops.square(x - mean(x, axis=operation.axis, keepdims=True))
    return mean(square, axis=operation.axis, keepdims=operation.keepdims)


def _deviation(operation, x, mean: Callable = ops.mean):
    return ops.sqrt(_variance(operation, x, mean))


def _moments(operation, x):
    axes, keepdims = operation.axes, operation.keepdims
    centred = x - ops.mean(x, axis=axes, keepdims=True)
    return ops.mean(x, axis=axes, keepdims=keepdims), ops.mean(
        ops.square(centred), axis=axes, keepdims=keepdims
    )


def _weighted_average(operation, x, weights):
    axis = operation.axis
    if len(weights.shape) < len(x.shape):
        weights = _along(x, weights, axis)
    return ops.sum(x * weights, axis=axis) / ops.sum(weights, axis=axis)


def _range(operation, x):
    axis, keepdims = operation.axis, operation.keepdims
    return ops.max(x, axis=axis, keepdims=keepdims) - ops.min(x, axis=axis, keepdims=keepdims)


def _slices(x, axis: int) -> list:
    """The parts of x along an axis, each of size 1 there."""
    if axis is None or x.shape[axis] is None:
        raise RefusedError("the number of its factors is not known")
    return list(ops.split(x, x.shape[axis], axis=axis))


def _multiplied(factors: list):
    """A product of which each factor is an equal part."""
    return keras.layers.Multiply(dtype=factors[0].dtype)(factors) if factors[1:] else factors[0]


def _product(operation, x):
    axes = operation.axis if isinstance(operation.axis, (list, tuple)) else [operation.axis]
    factors = [x]
    for axis in axes:
        factors = [part for factor in factors for part in _slices(factor, axis)]
    y = _multiplied(factors)
    return y if operation.keepdims else ops.squeeze(y, axis=tuple(axes))


def _cumulative_product(operation, x):
    factors = _slices(x, operation.axis)
    products = [_multiplied(factors[: i + 1]) for i in range(len(factors))]
    return ops.concatenate(products, axis=operation.axis)


def _without_nan(formula: Callable) -> Callable:
    """A formula for products in which what is no number counts as 1."""
    infinity = float("inf")
    fill = partial(ops.nan_to_num, nan=1.0, posinf=infinity, neginf=-infinity)
    return lambda operation, x: formula(operation, fill(x))


def _power(operation, x, exponent):
    return ops.exp(exponent * ops.log(x))


def _powers(operation, x):
    count = x.shape[0] if operation.N is None else operation.N
    powers = [ops.ones_like(x), *(x if k == 1 else ops.power(x, k) for k in range(1, count))]
    return ops.stack(powers[:count][:: 1 if operation.increasing else -1], axis=-1)


def _log_add_exp(operation, x, y, unit: float = 1.0):
    wide = [x + ops.zeros_like(y), y + ops.zeros_like(x)]
    return ops.logsumexp(ops.stack(wide, axis=-1) * unit, axis=-1) / unit


def _hypotenuse(operation, x, y):
    return ops.sqrt(ops.square(x) + ops.square(y))


def _angle(operation, y, x):
    """The half angle: tan(φ / 2) = y / (r + x)."""
    return 2.0 * ops.arctan(y / (_hypotenuse(operation, x, y) + x))


def _remainder(whole: Callable) -> Callable:
    return lambda operation, x, y: x - y * whole(x / y)


def _distances(operation, x, y):
    difference = ops.expand_dims(x, -2) - ops.expand_dims(y, -3)
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1))


def _separable_convolution(operation, x, depthwise_kernel, pointwise_kernel):
    layout = {"data_format": operation.data_format}
    y = ops.depthwise_conv(
        x,
        depthwise_kernel,
        strides=operation.strides,
        padding=operation.padding,
        dilation_rate=operation.dilation_rate,
        **layout,
    )
    return ops.conv(y, pointwise_kernel, strides=1, padding="valid", **layout)


def _gated_linear_unit(operation, x):
    signal, gate = ops.split(x, 2, axis=operation.axis)
    return ops.multiply(signal, ops.sigmoid(gate))


def _several_hot(operation, tokens):
    vectors = ops.one_hot(tokens, operation.num_classes, axis=operation.axis, dtype=operation.dtype)
    return ops.max(vectors, axis=1 if len(tokens.shape) > 1 else 0)


def _elements(structure, length=None) -> list:
    """The structures of the elements along the first axis of all tensors of a structure."""
    count = length if structure is None else tree.flatten(structure)[0].shape[0]
    if count is None:
        raise RefusedError("the number of its steps is not known")
    if structure is None:
        return [None] * count
    return [tree.map_structure(lambda x: x[i], structure) for i in range(count)]  # noqa: B023


def _stacked(elements: list):
    return tree.map_structure(lambda *each: ops.stack(each), *elements)


def _mapped(operation, function, elements):
    return _stacked([function(element) for element in _elements(elements)])


def _mapped_by_attribute(operation, elements):
    return _mapped(operation, operation.function, elements)


def _scanned(operation, function, carry, elements=None):
    order = -1 if operation.reverse else 1
    written = []
    for element in _elements(elements, operation.length)[::order]:
        carry, y = function(carry, element)
        written.append(y)
    return carry, _stacked(written[::order])


def _accumulated(operation, function, elements):
    """An associative scan, one element after the other."""
    axis, order = operation.axis, -1 if operation.reverse else 1
    parts = list(zip(*(_slices(x, axis) for x in tree.flatten(elements)), strict=True))[::order]
    packed = [tree.pack_sequence_as(elements, list(part)) for part in parts]
    written = packed[:1]
    for element in packed[1:]:
        written.append(function(written[-1], element))
    joined = lambda *each: ops.concatenate(each, axis=axis)  # noqa: E731
    return tree.map_structure(joined, *written[::order])


def _counted_loop(operation, value):
    for i in range(operation.lower, operation.upper):
        value = operation.body_fun(i, value)
    return value


DECOMPOSITIONS: dict[str | None, Callable] = {
    "Arctan2": _angle,
    "AssociativeScan": _accumulated,
    "Average": _weighted_average,
    "BatchNorm": _batch_normalization,
    "CDist": _distances,
    "Cumprod": _cumulative_product,
    "FloorDivide": lambda operation, x, y: ops.floor(x / y),
    "Fmod": _remainder(ops.trunc),
    "ForiLoop": _counted_loop,
    "Glu": _gated_linear_unit,
    "Hypot": _hypotenuse,
    "LayerNorm": _layer_normalization,
    "Ldexp": lambda operation, x, exponent: x * ops.power(2.0, exponent),
    "Logaddexp": _log_add_exp,
    "Logaddexp2": partial(_log_add_exp, unit=log(2)),
    "Map": _mapped,
    "Mod": _remainder(ops.floor),
    "Moments": _moments,
    "MultiHot": _several_hot,
    "Nancumprod": _without_nan(_cumulative_product),
    "Nanprod": _without_nan(_product),
    "Nanstd": partial(_deviation, mean=ops.nanmean),
    "Nanvar": partial(_variance, mean=ops.nanmean),
    "Norm": _norm,
    "Normalize": _normalize,
    "Power": _power,
    "Prod": _product,
    "Ptp": _range,
    "RMSNorm": _rms_normalization,
    "Scan": _scanned,
    "SeparableConv": _separable_convolution,
    "Std": _deviation,
    "Vander": _powers,
    "Var": _variance,
    "VectorizedMap": _mapped_by_attribute,
}
