"""Normalisation layers with their scale held constant.

Layer, group, RMS and unit normalisation divide by a statistic of the very sample they normalise.
Relevance treats that divisor as a constant, which leaves a linear map of the centred input (the
LN-rule of Ali et al. 2022, "XAI for Transformers", section 4).
"""

from __future__ import annotations

from keras import ops


def layer_normalization(layer, x):
    """γ (x - mean) / std + β, the deviation held constant; with RMS scaling γ x / std."""
    axes = [axis % len(x.shape) for axis in _as_list(layer.axis)]
    variance = ops.var(x, axis=axes, keepdims=True)
    inverse = ops.stop_gradient(ops.rsqrt(variance + layer.epsilon))
    if getattr(layer, "rms_scaling", False):
        y = x * inverse
    else:
        y = (x - ops.mean(x, axis=axes, keepdims=True)) * inverse
    return _affine(layer, y, axes)


def group_normalization(layer, x):
    """γ (x - mean) / std + β over groups of channels, the deviation held constant."""
    axis = layer.axis % len(x.shape)
    shape = list(ops.shape(x))
    grouped = ops.reshape(
        x, [*shape[:axis], layer.groups, shape[axis] // layer.groups, *shape[axis + 1 :]]
    )
    axes = [i for i in range(1, len(grouped.shape)) if i != axis]
    variance = ops.var(grouped, axis=axes, keepdims=True)
    inverse = ops.stop_gradient(ops.rsqrt(variance + layer.epsilon))
    y = (grouped - ops.mean(grouped, axis=axes, keepdims=True)) * inverse
    return _affine(layer, ops.reshape(y, shape), [axis])


def rms_normalization(layer, x):
    """scale · x / rms(x), the root mean square held constant."""
    axes = [axis % len(x.shape) for axis in _as_list(layer.axis)]
    square = ops.mean(ops.square(x), axis=axes, keepdims=True)
    y = x * ops.stop_gradient(ops.rsqrt(square + layer.epsilon))
    return y * ops.reshape(layer.scale, _broadcast_shape(x, axes))


def unit_normalization(layer, x):
    """x / ‖x‖, the norm held constant."""
    axes = [axis % len(x.shape) for axis in _as_list(layer.axis)]
    square = ops.sum(ops.square(x), axis=axes, keepdims=True)
    return x * ops.stop_gradient(ops.rsqrt(ops.maximum(square, 1e-12)))


DETACHED = {
    "LayerNormalization": layer_normalization,
    "GroupNormalization": group_normalization,
    "RMSNormalization": rms_normalization,
    "UnitNormalization": unit_normalization,
}


def _affine(layer, y, axes):
    shape = _broadcast_shape(y, axes)
    gamma, beta = getattr(layer, "gamma", None), getattr(layer, "beta", None)
    if gamma is not None:
        y = y * ops.reshape(gamma, shape)
    return y if beta is None else y + ops.reshape(beta, shape)


def _broadcast_shape(x, axes) -> list:
    return [x.shape[i] if i in axes else 1 for i in range(len(x.shape))]


def _as_list(axis) -> list:
    return list(axis) if isinstance(axis, (list, tuple)) else [axis]
