"""Gradients of TensorFlow's convolutions and poolings. See `tensorflow_gradients`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import tensorflow as tf


def reshaped_like(signal, x):
    """A signal in the shape of x, of which one size may be open."""
    shape = [-1 if size is None else size for size in x.shape]
    return tf.reshape(signal, shape if shape.count(-1) < 2 else tf.shape(x))


def stretched(x, axis: int, stride: int):
    """x with `stride - 1` zeros between neighbours along an axis."""
    if stride == 1 or x.shape[axis] == 1:
        return x
    sizes = [-1 if size is None else size for size in x.shape]
    wide = tf.expand_dims(x, axis + 1)
    widths = [[0, 0]] * (axis + 1) + [[0, stride - 1]] + [[0, 0]] * (x.shape.rank - axis - 1)
    sizes[axis] *= stride
    last = [slice(None)] * axis + [slice(0, sizes[axis] - stride + 1)]
    return tf.reshape(tf.pad(wide, widths), sizes)[tuple(last)]


@dataclass(frozen=True)
class _Span:
    """The windows of an operation along one axis.

    Attributes:
        axis: The axis.
        size: How many places it has.
        count: How many windows there are.
        width: How many places a window has.
        stride: The distance of two windows.
        dilation: The distance of two places of a window.
        before: How many places of padding come before the first.
    """

    axis: int
    size: int
    count: int
    width: int
    stride: int
    dilation: int
    before: int

    @property
    def reach(self) -> int:
        """The places from the first to the last of a window."""
        return (self.width - 1) * self.dilation + 1

    @property
    def covered(self) -> int:
        """The places from the first window's first to the last one's last."""
        return (self.count - 1) * self.stride + self.reach

    @property
    def after(self) -> int:
        """The places of padding that windows cover after the last; negative if not all are."""
        return self.covered - self.size - self.before


def _spans(op, width) -> list[_Span]:
    """The windows of an operation whose places are the axes between the first and the last."""
    if op.get_attr("data_format").decode() not in ("NHWC", "NDHWC"):
        raise TypeError("a convolution or pooling with channels first")
    x, y = op.inputs[0], op.outputs[0]
    strides = op.get_attr("strides")
    dilations = op.get_attr("dilations") if "dilations" in op.node_def.attr else [1] * len(strides)
    padding = op.get_attr("padding").decode()
    given = op.get_attr("explicit_paddings") if padding == "EXPLICIT" else None
    spans = []
    for i, n in enumerate(width, 1):
        if x.shape[i] is None:
            raise TypeError("a convolution or pooling over an axis of unknown size")
        span = _Span(i, x.shape[i], y.shape[i], int(n), strides[i], dilations[i], 0)
        before = max(span.covered - span.size, 0) // 2 if padding == "SAME" else 0
        spans.append(replace(span, before=given[2 * i] if given else before))
    return spans


def _fitted(x, widths: dict[int, tuple[int, int]], value=0.0):
    """x with places added before and after each of some axes; negative numbers take them away."""
    taken, added = [slice(None)] * x.shape.rank, [[0, 0]] * x.shape.rank
    for axis, (before, after) in widths.items():
        taken[axis] = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
        added[axis] = [max(before, 0), max(after, 0)]
    if any(min(pair) < 0 for pair in widths.values()):
        x = x[tuple(taken)]
    return tf.pad(x, added, constant_values=value) if np.any(added) else x


def _apart(signal, spans: list[_Span]):
    """A signal with the windows' distance between its places."""
    for span in spans:
        signal = stretched(signal, span.axis, span.stride)
    return signal


def _around(signal, spans: list[_Span]):
    """What a turned kernel runs over, so that it writes one number for each place of the input."""
    widths = {s.axis: (s.reach - 1 - s.before, s.reach - 1 - s.after) for s in spans}
    return _fitted(_apart(signal, spans), widths)


def _convolution(op, signal):
    """Wᵀ s: a convolution of the stretched signal with the turned kernel."""
    x, kernel = op.inputs
    spans = _spans(op, kernel.shape[:-2])
    own, channels = x.shape[-1], kernel.shape[-1]
    groups = own // kernel.shape[-2]
    places = list(range(len(spans)))
    turned = tf.reverse(kernel, places)
    sizes = kernel.shape[:-2].as_list()
    if groups > 1:
        turned = tf.reshape(turned, [*sizes, own // groups, groups, channels // groups])
        turned = tf.transpose(turned, [*places, *(len(sizes) + i for i in (2, 1, 0))])
        turned = tf.reshape(turned, [*sizes, channels // groups, own])
    else:
        turned = tf.transpose(turned, [*places, len(sizes) + 1, len(sizes)])
    sent = tf.nn.convolution(
        _around(signal, spans), turned, padding="VALID", dilations=[s.dilation for s in spans]
    )
    return [tf.ensure_shape(sent, x.shape), None]


def _depthwise(op, signal):
    x, kernel = op.inputs
    spans = _spans(op, kernel.shape[:2])
    own, multiplier = kernel.shape[2:]
    turned = tf.reshape(tf.reverse(kernel, [0, 1]), [*kernel.shape[:2], own * multiplier, 1])
    sent = tf.nn.depthwise_conv2d(
        _around(signal, spans),
        turned,
        strides=[1] * 4,
        padding="VALID",
        dilations=[s.dilation for s in spans],
    )
    if multiplier > 1:
        sizes = [-1, *x.shape[1:-1], own, multiplier]
        sent = tf.reduce_sum(tf.reshape(sent, sizes), axis=-1)
    return [sent, None]


def _put_back(signal, spans: list[_Span], offsets: tuple):
    """A signal of each window, at one of its places."""
    widths = {}
    for s, offset in zip(spans, offsets, strict=True):
        last = (s.count - 1) * s.stride + offset - s.before
        widths[s.axis] = offset - s.before, s.size - 1 - last
    return _fitted(_apart(signal, spans), widths)


def _max_pooling(op, signal):
    """To the first place of each window that holds its maximum."""
    x, y = op.inputs[0], op.outputs[0]
    spans = _spans(op, op.get_attr("ksize")[1:-1])
    around = _fitted(x, {s.axis: (s.before, s.after) for s in spans}, x.dtype.min)
    left = tf.ones_like(y)
    parts = []
    for offsets in product(*(range(s.width) for s in spans)):
        places = [
            slice(o, o + (s.count - 1) * s.stride + 1, s.stride)
            for s, o in zip(spans, offsets, strict=True)
        ]
        here = left * tf.cast(around[(slice(None), *places)] == y, y.dtype)
        left = left - here
        parts.append(_put_back(here * signal, spans, offsets))
    return [tf.add_n(parts)]


def _average_pooling(op, signal):
    """Equal parts to all places of a window that are no padding."""
    spans = _spans(op, op.get_attr("ksize")[1:-1])
    for span in spans:
        found = [
            sum(0 <= i * span.stride + j - span.before < span.size for j in range(span.width))
            for i in range(span.count)
        ]
        shape = [1] * signal.shape.rank
        shape[span.axis] = span.count
        signal = signal / tf.constant(np.reshape(found, shape), signal.dtype)
        parts = [_put_back(signal, [span], (offset,)) for offset in range(span.width)]
        signal = tf.add_n(parts)
    return [signal]


GRADIENTS: dict[str, Callable] = {
    "AvgPool": _average_pooling,
    "AvgPool3D": _average_pooling,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "MaxPool": _max_pooling,
}
"""See `tensorflow_gradients.GRADIENTS`."""
