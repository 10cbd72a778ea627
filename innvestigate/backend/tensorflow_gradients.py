"""Gradients of TensorFlow's operations, stated in operations that other runtimes have, too.

TensorFlow's own are kernels (`MaxPoolGrad`, `Conv2DBackpropInput`, `ReluGrad`), or ask at run time
which axes were broadcast (`BroadcastGradientArgs`). Here every size but that of the batch is known
where the graph is built: a strided convolution goes back as a convolution of the stretched signal,
a maximum by comparing each place of its windows with it. The numbers are the same, ties included;
it costs more memory and time, which is why only exported graphs hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from innvestigate.backend.tensorflow_windows import (
    GRADIENTS as WINDOWS,
)
from innvestigate.backend.tensorflow_windows import (
    reshaped_like,
    stretched,
)


def _unbroadcast(signal, x):
    """A signal at what x was broadcast to, summed over the axes along which it was."""
    further = signal.shape.rank - x.shape.rank
    signal = tf.reduce_sum(signal, axis=list(range(further))) if further else signal
    pairs = zip(x.shape, signal.shape, strict=True)
    axes = [i for i, (own, size) in enumerate(pairs) if own == 1 and size != 1]
    return tf.reduce_sum(signal, axis=axes, keepdims=True) if axes else signal


def _elementwise(*parts: Callable) -> Callable:
    """The gradient of an operation on broadcast tensors, from its parts `(signal, y, *xs)`."""

    def gradient(op, signal):
        xs, (y,) = op.inputs, op.outputs
        return [_unbroadcast(part(signal, y, *xs), x) for part, x in zip(parts, xs, strict=True)]

    return gradient


def _where(condition, signal):
    return tf.where(condition, signal, tf.zeros_like(signal))


def _select(op, signal):
    chosen, *xs = op.inputs
    nothing = tf.zeros_like(signal)
    sent = tf.where(chosen, signal, nothing), tf.where(chosen, nothing, signal)
    return [None, *map(_unbroadcast, sent, xs)]


def _power(signal, y, x, exponent):
    return signal * exponent * tf.pow(x, exponent - 1)


def _of_exponent(signal, y, x, exponent):
    positive = x > 0
    return signal * y * _where(positive, tf.math.log(tf.where(positive, x, tf.ones_like(x))))


def _axes(op) -> list[int]:
    """The axes that an operation reduces."""
    axes = np.reshape(tf.get_static_value(op.inputs[1]), -1).tolist()
    return sorted(axis % op.inputs[0].shape.rank for axis in axes)


def _spread(op, reduced):
    """What belongs to the sums of a reduction, at each number that was summed."""
    if not op.get_attr("keep_dims"):
        for axis in _axes(op):
            reduced = tf.expand_dims(reduced, axis)
    return reduced + tf.zeros_like(op.inputs[0])


def _sum(op, signal):
    return [_spread(op, signal), None]


def _mean(op, signal):
    x = op.inputs[0]
    count = tf.size(x, "int32") / tf.maximum(tf.size(signal, "int32"), 1)
    known = [x.shape[axis] for axis in _axes(op)]
    if None not in known:
        count = np.prod(known, dtype=x.dtype.as_numpy_dtype)
    return [_spread(op, signal) / tf.cast(count, x.dtype), None]


def _extremum(op, signal):
    """The same share for each of several equal ones, as in TensorFlow."""
    found = tf.cast(op.inputs[0] == _spread(op, op.outputs[0]), signal.dtype)
    count = tf.reduce_sum(found, axis=_axes(op), keepdims=True)
    return [found * _spread(op, signal) / count, None]


def _concatenate(op, signal):
    *parts, axis = op.inputs
    axis = int(tf.get_static_value(axis))
    return [*tf.split(signal, [part.shape[axis] for part in parts], axis), None]


def _transpose(op, signal):
    axes = tf.get_static_value(op.inputs[1])
    return [tf.transpose(signal, np.argsort(axes).tolist()), None]


def _reshape(op, signal):
    return [reshaped_like(signal, op.inputs[0]), *[None] * (len(op.inputs) - 1)]


def _matmul(op, signal):
    """Of products with or without axes of a batch, each factor turned or not."""
    names = ("transpose_a", "transpose_b") if op.type == "MatMul" else ("adj_x", "adj_y")
    turned_a, turned_b = map(op.get_attr, names)
    a, b = op.inputs
    to_a = tf.matmul(signal, b, transpose_b=not turned_b)
    if turned_a:
        to_a = tf.matmul(b, signal, transpose_a=turned_b, transpose_b=True)
    to_b = tf.matmul(a, signal, transpose_a=not turned_a)
    if turned_b:
        to_b = tf.matmul(signal, a, transpose_a=True, transpose_b=turned_a)
    return [_unbroadcast(to_a, a), _unbroadcast(to_b, b)]


def _broadcast(op, signal):
    return [_unbroadcast(signal, op.inputs[0]), None]


def _tile(op, signal):
    """The sum of all copies."""
    for axis, (size, of) in enumerate(zip(op.outputs[0].shape, op.inputs[0].shape, strict=True)):
        if size != of:
            signal = tf.add_n(tf.split(signal, size // of, axis))
    return [signal, None]


def _gather(op, signal):
    """Of a choice along one axis: a product with the one-hot vectors of what was chosen."""
    x, indices, axis = op.inputs
    axis = int(tf.get_static_value(axis)) % x.shape.rank
    if op.get_attr("batch_dims"):
        raise TypeError("a choice of other places for each sample (gather with batch_dims)")
    chosen = tf.one_hot(tf.reshape(indices, [-1]), x.shape[axis], dtype=x.dtype)
    places = list(range(axis, axis + indices.shape.rank))
    rest = [i for i in range(signal.shape.rank) if i not in places]
    rows = tf.transpose(signal, [*rest, *places])
    sizes = [-1 if signal.shape[i] is None else signal.shape[i] for i in rest]
    rows = tf.reshape(rows, [*sizes, int(np.prod(indices.shape))])
    back = list(range(x.shape.rank - 1))
    back.insert(axis, x.shape.rank - 1)
    return [tf.transpose(tf.matmul(rows, chosen), back), None, None]


def _slice(op, signal):
    """Of `x[begin:end:stride, ...]`: zeros where nothing was taken from."""
    x, *spans = op.inputs
    begin, end, stride = (tf.get_static_value(span).tolist() for span in spans)
    flags = {
        name: _bits(op.get_attr(f"{name}_mask"), len(begin))
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    taken: list[slice] = []
    kept: list[int] = []
    for i, (start, stop, step) in enumerate(zip(begin, end, stride, strict=True)):
        if flags["ellipsis"][i]:
            later = len(begin) - 1 - i - sum(flags["new_axis"][i:])
            count = x.shape.rank - len(taken) - later
            kept += [len(taken) + j for j in range(count)]
            taken += [slice(None)] * count
        elif not flags["new_axis"][i]:
            shrunk = flags["shrink_axis"][i]
            open_end = flags["end"][i] or (shrunk and start == -1)
            first = None if flags["begin"][i] else start
            last = None if open_end else start + 1 if shrunk else stop
            kept += [] if shrunk else [len(taken)]
            taken.append(slice(first, last, step))
    taken += [slice(None)] * (x.shape.rank - len(taken))
    return [_put_back(signal, x, taken), None, None, None]


def _put_back(signal, x, taken: list[slice]):
    """The signal at what slices took of x, at their places in x."""
    spans = [
        range(0) if size is None else range(*part.indices(size))
        for size, part in zip(x.shape, taken, strict=True)
    ]
    sizes = [-1 if n is None else len(s) for n, s in zip(x.shape, spans, strict=True)]
    signal = tf.reshape(signal, sizes)
    for axis, (size, span) in enumerate(zip(x.shape, spans, strict=True)):
        if size is not None:
            signal = tf.reverse(signal, [axis]) if span.step < 0 else signal
            low = min(span[0], span[-1])
            signal = stretched(signal, axis, abs(span.step))
            length = (len(span) - 1) * abs(span.step) + 1
            signal = _padded(signal, axis, low, size - low - length)
    return signal


def _padded(x, axis: int, before: int, after: int):
    widths = [[0, 0]] * axis + [[before, after]] + [[0, 0]] * (x.shape.rank - axis - 1)
    return tf.pad(x, widths) if before or after else x


def _bits(mask: int, count: int) -> list[bool]:
    return [bool(mask >> i & 1) for i in range(count)]


_SUMS = _elementwise(lambda s, y, a, b: s, lambda s, y, a, b: s)
_QUOTIENT = _elementwise(lambda s, y, a, b: s / b, lambda s, y, a, b: -s * y / b)

GRADIENTS: dict[str, Callable] = {
    "Add": _SUMS,
    "AddV2": _SUMS,
    "Sub": _elementwise(lambda s, y, a, b: s, lambda s, y, a, b: -s),
    "Mul": _elementwise(lambda s, y, a, b: s * b, lambda s, y, a, b: s * a),
    "RealDiv": _QUOTIENT,
    "DivNoNan": _elementwise(
        lambda s, y, a, b: tf.math.divide_no_nan(s, b),
        lambda s, y, a, b: tf.math.divide_no_nan(-s * y, b),
    ),
    "SquaredDifference": _elementwise(
        lambda s, y, a, b: 2.0 * s * (a - b), lambda s, y, a, b: 2.0 * s * (b - a)
    ),
    "Maximum": _elementwise(
        lambda s, y, a, b: _where(a >= b, s), lambda s, y, a, b: _where(a < b, s)
    ),
    "Minimum": _elementwise(
        lambda s, y, a, b: _where(a <= b, s), lambda s, y, a, b: _where(a > b, s)
    ),
    "Pow": _elementwise(_power, _of_exponent),
    "SelectV2": _select,
    "Relu": _elementwise(lambda s, y, x: _where(y > 0, s)),
    "Relu6": _elementwise(lambda s, y, x: _where((y > 0) & (y < 6), s)),
    "LeakyRelu": lambda op, s: [tf.where(op.inputs[0] > 0, s, op.get_attr("alpha") * s)],
    "Elu": _elementwise(lambda s, y, x: tf.where(y < 0, s * (y + 1.0), s)),
    "Selu": _elementwise(lambda s, y, x: tf.where(y < 0, s * (y + _SELU_FLOOR), s * _SELU_SLOPE)),
    "Tanh": _elementwise(lambda s, y, x: s * (1.0 - y * y)),
    "Sigmoid": _elementwise(lambda s, y, x: s * y * (1.0 - y)),
    "Softplus": _elementwise(lambda s, y, x: s * tf.sigmoid(x)),
    "Softsign": _elementwise(lambda s, y, x: s / tf.square(1.0 + tf.abs(x))),
    "Sqrt": _elementwise(lambda s, y, x: 0.5 * s / y),
    "Rsqrt": _elementwise(lambda s, y, x: -0.5 * s * y * y * y),
    "Reciprocal": _elementwise(lambda s, y, x: -s * y * y),
    "Sum": _sum,
    "Mean": _mean,
    "Max": _extremum,
    "Min": _extremum,
    "ConcatV2": _concatenate,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "ExpandDims": _reshape,
    "Squeeze": _reshape,
    "MatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BroadcastTo": _broadcast,
    "GatherV2": _gather,
    "StridedSlice": _slice,
    "Tile": _tile,
    **WINDOWS,
}
"""The gradient of each type of operation: `(op, signal) -> one signal for each input, or None`."""

_SELU_SLOPE = 1.0507009873554805
_SELU_FLOOR = 1.7580993408473768


def portable_vjp(function: Callable, inputs: list) -> tuple:
    """`function(*inputs)` and the map from cotangents to gradients, in the graph being built."""
    inputs = [tf.identity(x) for x in inputs]
    outputs = [tf.identity(y) for y in function(*inputs)]

    def pullback(cotangents):
        signals: dict[Any, list] = {}
        for y, signal in zip(outputs, cotangents, strict=True):
            signals.setdefault(y.ref(), []).append(signal)
        for op in reversed(_between(inputs, outputs)):
            arriving = [_total(signals.pop(y.ref(), [])) for y in op.outputs]
            if any(signal is not None for signal in arriving):
                for x, sent in zip(op.inputs, _sent(op, arriving), strict=True):
                    if sent is not None:
                        signals.setdefault(x.ref(), []).append(sent)
        found = [_total(signals.get(x.ref(), [])) for x in inputs]
        return [tf.zeros_like(x) if s is None else s for x, s in zip(inputs, found, strict=True)]

    return outputs, pullback


def _sent(op, arriving: list) -> list:
    """What an operation sends to each of its inputs, by the table or else by TensorFlow."""
    if op.type in GRADIENTS:
        return GRADIENTS[op.type](op, arriving[0])
    pairs = [(y, s) for y, s in zip(op.outputs, arriving, strict=True) if s is not None]
    ys, signals = zip(*pairs, strict=True)
    xs = list(op.inputs)
    return tf.gradients(list(ys), xs, list(signals), stop_gradients=xs)


def _total(signals: list):
    return tf.add_n(signals) if len(signals) > 1 else signals[0] if signals else None


def _between(inputs: list, outputs: list) -> list:
    """The operations that outputs are computed by from inputs, in order."""
    reached = {x.op for x in inputs}
    seen, found = set(reached), []
    stack = [(y.op, iter(y.op.inputs)) for y in outputs]
    while stack:
        op, further = stack[-1]
        seen.add(op)
        x = next(further, None)
        if x is None:
            stack.pop()
            if op not in reached and any(x.op in reached for x in op.inputs):
                reached.add(op)
                found.append(op)
        elif x.op not in seen:
            stack.append((x.op, iter(x.op.inputs)))
    return found
