"""Normalisation layers in parts: what is divided, by what, and what is done afterwards.

Layer, group, RMS and unit normalisation divide by a statistic of the very sample they normalise.
Relevance treats that divisor as a constant, which leaves a linear map of the centred input (the
LN-rule of Ali et al. 2022, "XAI for Transformers", section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import ops


@dataclass(frozen=True)
class Normalization:
    """y = affine(centred(x) / spread(x)), spread = √(square(x) + ε).

    Attributes:
        centred: `(layer, x) -> c`, linear in x.
        square: `(layer, x) -> v`, a quadratic form of x: its variance or mean square.
        affine: `(layer, n, x) -> γ n + β` in the shape of x.
    """

    centred: Callable
    square: Callable
    affine: Callable

    def spread(self, layer, x):
        """The divisor; a unit normalisation's is bounded from below in place of an ε."""
        square = self.square(layer, x)
        if hasattr(layer, "epsilon"):
            epsilon = keras.config.epsilon() if layer.epsilon is None else layer.epsilon
            return ops.sqrt(square + epsilon)
        return ops.sqrt(ops.maximum(square, 1e-24))

    def detached(self, layer, x):
        """The layer with its divisor held constant."""
        normalized = self.centred(layer, x) / ops.stop_gradient(self.spread(layer, x))
        return self.affine(layer, normalized, x)


def _centred(layer, x):
    if getattr(layer, "rms_scaling", False):
        return x
    return x - ops.mean(x, axis=_axes(layer, x), keepdims=True)


def _variance(layer, x):
    return ops.var(x, axis=_axes(layer, x), keepdims=True)


def _affine(layer, n, x):
    return _scaled(layer, n, _axes(layer, x))


def _grouped(layer, x):
    """x with its channels parted into groups, and the axes that statistics are taken over."""
    axis, shape = layer.axis % len(x.shape), list(ops.shape(x))
    channels = [layer.groups, shape[axis] // layer.groups]
    grouped = ops.reshape(x, [*shape[:axis], *channels, *shape[axis + 1 :]])
    return grouped, [i for i in range(1, len(grouped.shape)) if i != axis]


def _group_centred(layer, x):
    grouped, axes = _grouped(layer, x)
    return grouped - ops.mean(grouped, axis=axes, keepdims=True)


def _group_variance(layer, x):
    grouped, axes = _grouped(layer, x)
    return ops.var(grouped, axis=axes, keepdims=True)


def _group_affine(layer, n, x):
    return _scaled(layer, ops.reshape(n, ops.shape(x)), [layer.axis % len(x.shape)])


def _mean_square(layer, x):
    return ops.mean(ops.square(x), axis=_axes(layer, x), keepdims=True)


def _rms_affine(layer, n, x):
    return n * ops.reshape(layer.scale, _broadcast_shape(x, _axes(layer, x)))


def _sum_of_squares(layer, x):
    return ops.sum(ops.square(x), axis=_axes(layer, x), keepdims=True)


NORMALIZATIONS: dict[str | None, Normalization] = {
    "LayerNormalization": Normalization(_centred, _variance, _affine),
    "GroupNormalization": Normalization(_group_centred, _group_variance, _group_affine),
    "RMSNormalization": Normalization(lambda layer, x: x, _mean_square, _rms_affine),
    "UnitNormalization": Normalization(lambda layer, x: x, _sum_of_squares, lambda layer, n, x: n),
    "LayerNorm": Normalization(_centred, _variance, lambda layer, n, x: n),
    "RMSNorm": Normalization(lambda layer, x: x, _mean_square, lambda layer, n, x: n),
}


def _scaled(layer, y, axes):
    shape = _broadcast_shape(y, axes)
    gamma, beta = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    if gamma is not None:
        y = y * ops.reshape(gamma, shape)
    return y if beta is None else y + ops.reshape(beta, shape)


def _broadcast_shape(x, axes) -> list:
    return [x.shape[i] if i in axes else 1 for i in range(len(x.shape))]


def _axes(layer, x) -> list:
    axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return [i % len(x.shape) for i in axis]
