"""What of `keras.ops` means the same as a function of TensorFlow."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

_MODULES = (tf, tf.math, tf.nn, tf.linalg)

_RENAMED = {
    "x": """
        abs=absolute ceil cos elu erf exp expm1 floor identity=copy log log1p log_sigmoid
        logical_not negative ones_like reciprocal relu relu6 round rsqrt selu shape sigmoid sign sin
        softplus softsign sqrt square tanh zeros_like
        """,
    "x1 x2": """
        add bias_add=add divide divide_no_nan equal greater greater_equal less less_equal
        logical_and logical_or maximum minimum multiply not_equal pow=power subtract
        """,
    "x axis": "cumsum expand_dims reverse=flip squeeze stack",
    "x axis keepdims": """
        reduce_all=all reduce_any=any reduce_logsumexp=logsumexp reduce_max=max reduce_mean=mean
        reduce_min=min reduce_prod=prod reduce_std=std reduce_sum=sum reduce_variance=var
        """,
    "x approximate": "gelu",
    "x axes": "transpose",
    "x axes _ keepdims": "moments",
    "x dtype": "cast",
    "x k sorted": "top_k",
    "x negative_slope": "leaky_relu",
    "x newshape": "reshape",
    "x num axis": "unstack",
    "x num_classes": "one_hot",
    "x repeats": "tile",
    "x shape": "broadcast_to",
    "x x_min x_max": "clip_by_value=clip",
    "xs axis": "concat=concatenate",
    "condition x1 x2": "where",
    "variable": "stop_gradient",
}
"""What the arguments of functions are called in `keras.ops`, in order; `_` has no name there."""


def _renamed(function: Callable, same: Callable, names: list[str]) -> Callable:
    """A function of `keras.ops` in the form of one of TensorFlow."""
    signature = inspect.signature(function)

    def called(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        known = {}
        every = [*names, *"_" * (len(given.arguments) - len(names))]
        for name, (own, value) in zip(every, given.arguments.items(), strict=True):
            if name != "_":
                known[name] = value
            elif own != "name" and value is not signature.parameters[own].default:
                raise TypeError(f"{function.__name__} of TensorFlow with {own}={value!r}")
        return same(**known)

    return called


def _softmax(logits, axis=None, name=None):
    return ops.softmax(logits, axis=-1 if axis is None else axis)


def _log_softmax(logits, axis=None, name=None):
    return ops.log_softmax(logits, axis=-1 if axis is None else axis)


def _silu(features, beta=1.0):
    return features * ops.sigmoid(beta * features)


def _l2_normalize(x, axis=None, epsilon=1e-12, name=None):
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, epsilon))


def _matmul(a, b, transpose_a=False, transpose_b=False, name=None):
    a, b = (
        ops.swapaxes(x, -1, -2) if turned else x
        for x, turned in ((a, transpose_a), (b, transpose_b))
    )
    return ops.matmul(a, b)


def _pad(tensor, paddings, mode="CONSTANT", constant_values=0, name=None):
    value = {"constant_values": constant_values} if mode.upper() == "CONSTANT" else {}
    return ops.pad(tensor, paddings, mode=mode.lower(), **value)


def _split(value, num_or_size_splits, axis=0, num=None, name="split"):
    if isinstance(num_or_size_splits, int):
        return ops.split(value, num_or_size_splits, axis=axis)
    return ops.split(value, np.cumsum(num_or_size_splits)[:-1].tolist(), axis=axis)


def _gather(params, indices, validate_indices=None, axis=None, batch_dims=0, name=None):
    axis = batch_dims if axis is None else axis
    if not batch_dims:
        return ops.take(params, indices, axis=axis)
    if axis != batch_dims:
        raise TypeError(f"gather of TensorFlow with axis={axis}, batch_dims={batch_dims}")
    indices = _with_shape(indices)
    before, places, after = indices.shape[:axis], indices.shape[axis:], params.shape[axis + 1 :]
    column = ops.reshape(indices, (*before, prod(places), *[1] * len(after)))
    found = ops.take_along_axis(params, column, axis=axis)
    return ops.reshape(found, (*before, *places, *after))


def _gather_nd(params, indices, batch_dims=0, name=None):
    if batch_dims:
        raise TypeError(f"gather_nd of TensorFlow with batch_dims={batch_dims}")
    indices = _with_shape(indices)
    depth = indices.shape[-1]
    sizes, rest = params.shape[1:depth], params.shape[depth:]
    row = indices[..., 0]
    for i, size in enumerate(sizes, 1):
        row = row * size + indices[..., i]
    return ops.take(ops.reshape(params, (-1, *rest)), row, axis=0)


def _with_shape(x):
    return x if hasattr(x, "shape") else np.array(x)


def _resize(
    images, size, method="bilinear", preserve_aspect_ratio=False, antialias=False, name=None
):
    if preserve_aspect_ratio:
        raise TypeError("image.resize of TensorFlow with preserve_aspect_ratio=True")
    return ops.image.resize(
        images, size, interpolation=method, antialias=antialias, data_format="channels_last"
    )


def _resize_to_corners(images, size, method=0, align_corners=False):
    if method not in (0, "bilinear") or not align_corners:
        raise TypeError(f"compat.v1.image.resize with {method=}, {align_corners=}")
    rows, _, _, channels = images.shape
    scale = [(new - 1) / (old - 1) for new, old in zip(size, images.shape[1:3], strict=True)]
    shift = [(1 - factor) / 2 for factor in scale]
    moved = np.array(scale, "float32"), np.array(shift, "float32")
    return ops.image.scale_and_translate(
        images, (rows, *size, channels), *moved, (1, 2), method="bilinear", antialias=False
    )


def _pooled(like: Callable) -> Callable:
    """Poolings of images, sequences and volumes."""

    def pool(input, ksize, strides, padding, data_format=None, name=None):
        layout = _layout(data_format)
        size, steps = (_inside(given, len(input.shape), layout) for given in (ksize, strides))
        return like(input, size, steps, _padding(padding), layout)

    return pool


def _convolved(like: Callable, kernel: str, strides: str = "strides") -> Callable:
    """Convolutions; what two of their arguments are called."""

    def convolve(input, *args, **kwargs):
        names = kernel, strides, "padding", "data_format", "dilations"
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        rank, layout = len(input.shape), _layout(given.get("data_format"))
        steps, apart = (
            _inside(1 if given.get(n) is None else given[n], rank, layout)
            for n in (strides, "dilations")
        )
        weights, padding = ops.convert_to_tensor(given[kernel]), given.get("padding", "VALID")
        return like(input, weights, steps, _padding(padding), layout, apart)

    return convolve


def _layout(data_format: str | None) -> str:
    return "channels_first" if data_format and data_format[1] == "C" else "channels_last"


def _padding(padding: Any) -> str:
    if not isinstance(padding, str):
        raise TypeError(f"a window of TensorFlow with padding={padding!r}")
    return padding.lower()


def _inside(given: Any, rank: int, layout: str) -> tuple[int, ...]:
    """Numbers for the axes between those of samples and channels."""
    numbers = [given] if isinstance(given, int) else list(given)
    if len(numbers) == rank:
        outside = numbers.pop(0), numbers.pop(0 if layout == "channels_first" else -1)
        if outside != (1, 1):
            raise TypeError(f"a window of TensorFlow over samples or channels: {given}")
    return tuple(numbers * (rank - 2) if len(numbers) == 1 else numbers)


class _Rows:
    """What a TensorArray holds, where that is symbolic."""

    def __init__(self, dtype: Any, rows: dict[int, Any]):
        self.dtype, self._rows = dtype, rows

    def write(self, index, value, name=None) -> _Rows:
        return _Rows(self.dtype, {**self._rows, int(index): value})

    def read(self, index, name=None):
        return self._rows[int(index)]

    def stack(self, name=None):
        return ops.stack([self._rows[i] for i in range(len(self._rows))])


def _write(array, index, value, name=None) -> _Rows:
    return _Rows(array.dtype, {}).write(index, value)


_OWN = {
    **{f"avg_pool{places}": _pooled(ops.average_pool) for places in ("", "1d", "2d", "3d")},
    **{f"max_pool{places}": _pooled(ops.max_pool) for places in ("", "1d", "2d", "3d")},
    **{name: _convolved(ops.conv, "filters") for name in ("conv2d", "conv3d", "convolution")},
    "conv1d": _convolved(ops.conv, "filters", "stride"),
    "depthwise_conv2d": _convolved(ops.depthwise_conv, "filter"),
    "einsum": ops.einsum,
    "gather": _gather,
    "gather_nd": _gather_nd,
    "l2_normalize": _l2_normalize,
    "log_softmax": _log_softmax,
    "matmul": _matmul,
    "pad": _pad,
    "silu": _silu,
    "softmax": _softmax,
    "split": _split,
    "swish": _silu,
}
"""Functions whose arguments mean something else than those of `keras.ops`."""


def _found() -> list[tuple[Any, str, Callable]]:
    found: list[tuple[Any, str, Callable]] = [
        (tf.image, "resize", _resize),
        (tf.compat.v1.image, "resize", _resize_to_corners),
        (tf.TensorArray, "write", _write),
    ]
    for module in _MODULES:
        found += [(module, name, same) for name, same in _OWN.items() if hasattr(module, name)]
        for arguments, pairs in _RENAMED.items():
            for name, _, same in (pair.partition("=") for pair in pairs.split()):
                function, like = getattr(module, name, None), getattr(ops, same or name)
                if function is not None:
                    found.append((module, name, _renamed(function, like, arguments.split())))
    return found


SYNONYMS = _found()
"""See `backend`."""
