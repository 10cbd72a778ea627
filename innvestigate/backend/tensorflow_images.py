"""Operations on images whose derivative TensorFlow lacks or only approaches: written by others.

TensorFlow sends a gradient back through a transformed image by the inverse transformation, which
is no adjoint of interpolation; none gets to the transformation; and `hsv_to_rgb` sends none. Its
largest number of a volume sends the whole gradient to each of several that are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf
from keras import ops


def affine_transform(operation, images, transform):
    """`keras.ops.image.affine_transform`."""
    return _as_keras(operation, images, lambda x: _transformed(operation, x, transform))


def perspective_transform(operation, images, start_points, end_points):
    """`keras.ops.image.perspective_transform`."""
    transform = _homography(*(tf.cast(p, images.dtype) for p in (start_points, end_points)))
    return _as_keras(operation, images, lambda x: _transformed(operation, x, transform))


def hsv_to_rgb(operation, images):
    """`keras.ops.image.hsv_to_rgb`: v (1 - s clip(min(k, 4 - k), 0, 1)), k = (n + 6 h) mod 6."""

    def convert(x):
        hue, saturation, value = tf.unstack(x, axis=-1)
        k = (tf.constant([5.0, 3.0, 1.0], x.dtype) + 6.0 * hue[..., None]) % 6.0
        share = tf.clip_by_value(tf.minimum(k, 4.0 - k), 0.0, 1.0)
        return value[..., None] * (1.0 - saturation[..., None] * share)

    return _as_keras(operation, images, convert)


def max_pooling(operation, x):
    """`keras.ops.max_pool`; of a volume as the maximum along one axis of those of its planes."""
    if x.shape.rank != 5:
        return operation(x)
    given = operation.pool_size, operation.strides or operation.pool_size
    (depth, *size), (step, *strides) = ((n,) * 3 if isinstance(n, int) else n for n in given)
    first = operation.data_format == "channels_first"
    x = tf.cast(x, getattr(operation, "compute_dtype", x.dtype))
    x = tf.transpose(x, (0, 2, 3, 4, 1)) if first else x
    _, count, rows, columns, channels = ops.shape(x)
    planes = ops.reshape(x, (-1, rows, columns, channels))
    planes = ops.max_pool(planes, size, strides, operation.padding, "channels_last")
    _, rows, columns, _ = ops.shape(planes)
    y = ops.reshape(planes, (-1, count, rows * columns, channels))
    y = ops.max_pool(y, (depth, 1), (step, 1), operation.padding, "channels_last")
    y = ops.reshape(y, (-1, ops.shape(y)[1], rows, columns, channels))
    return tf.transpose(y, (0, 4, 1, 2, 3)) if first else y


def _as_keras(operation, images, function: Callable):
    """A function of `(n, rows, columns, channels)`, in the layout and rank of an operation."""
    x = images if images.shape.rank == 4 else images[None]
    first = operation.data_format == "channels_first"
    y = function(tf.transpose(x, (0, 2, 3, 1)) if first else x)
    y = tf.transpose(y, (0, 3, 1, 2)) if first else y
    return y if images.shape.rank == 4 else y[0]


def _homography(start, end):
    """The transformation of four corners `end` to `start`, solved for: `(n, 8)`."""
    start, end = (tf.reshape(points, (-1, 4, 2)) for points in (start, end))
    known = tf.concat([end, tf.ones_like(end[..., :1])], axis=-1)
    products = -start[..., None] * end[..., None, :]  # of each coordinate there and each here
    nothing = tf.zeros_like(known)
    rows = tf.concat(
        [
            tf.stack([known, nothing], axis=2),
            tf.stack([nothing, known], axis=2),
            products,
        ],
        axis=-1,
    )
    solved = tf.linalg.solve(tf.reshape(rows, (-1, 8, 8)), tf.reshape(start, (-1, 8, 1)))
    return tf.reshape(solved, (-1, 8))


def _transformed(operation, x, transform):
    """The image at (X, Y) / Z, with X = a x + b y + c, Y = d x + e y + f, Z = g x + h y + 1."""
    t = tf.reshape(tf.cast(transform, x.dtype), (-1, 8, 1, 1))
    rows, columns = tf.shape(x)[1], tf.shape(x)[2]
    down = tf.cast(tf.range(rows), x.dtype)[:, None]
    right = tf.cast(tf.range(columns), x.dtype)[None, :]
    across, along, depth = (
        t[:, i] * right + t[:, i + 1] * down + (t[:, i + 2] if i < 6 else 1.0) for i in (0, 3, 6)
    )
    mode = getattr(operation, "fill_mode", "constant")
    inside = _INSIDE.get(mode, lambda place, size: place)  # what is constant outside is filled in
    row = inside(along / depth, tf.cast(rows, x.dtype))
    column = inside(across / depth, tf.cast(columns, x.dtype))
    fill = tf.cast(operation.fill_value, x.dtype)
    read = _read if operation.interpolation == "nearest" else _between
    return read(x, row, column, fill)


def _between(x, along, across, fill):
    """Bilinear interpolation."""
    row, column = tf.floor(along), tf.floor(across)
    low, left = (along - row)[..., None], (across - column)[..., None]
    above, below = (
        (1.0 - left) * _read(x, at, column, fill) + left * _read(x, at, column + 1.0, fill)
        for at in (row, row + 1.0)
    )
    return (1.0 - low) * above + low * below


def _read(x, row, column, fill):
    """The pixels at the nearest whole places, and what fills places outside."""
    count, rows, columns, channels = tf.unstack(tf.shape(x))
    row, column = (
        tf.cast(tf.sign(place) * tf.floor(tf.abs(place) + 0.5), "int32") for place in (row, column)
    )
    exists = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    places = tf.where(exists, row * columns + column, 0)
    places = tf.broadcast_to(places, (count, rows, columns))
    pixels = tf.reshape(x, (count, rows * columns, channels))
    return tf.where(exists[..., None], tf.gather(pixels, places, batch_dims=1), fill)


def _reflected(place, size):
    """In dcba|abcd|dcba."""
    behind = (place + 0.5) % (2.0 * size)
    return _nearest(tf.minimum(behind, 2.0 * size - behind) - 0.5, size)


def _wrapped(place, size):
    """In abcd|abcd|abcd, as TensorFlow counts periods."""
    periods = tf.floor(tf.abs(place) / tf.maximum(size - 1.0, 1.0))
    before = place + size * (periods + 1.0)
    behind = place - size * periods
    return _nearest(tf.where(place < 0, before, behind), size)


def _nearest(place, size):
    return tf.clip_by_value(place, 0.0, size - 1.0)


_INSIDE = {"nearest": _nearest, "reflect": _reflected, "wrap": _wrapped}
"""Where places outside of an image are read inside, by `fill_mode`."""

DIFFERENTIABLE: dict[str | None, Callable] = {
    "AffineTransform": affine_transform,
    "HSVToRGB": hsv_to_rgb,
    "MaxPool": max_pooling,
    "MaxPooling3D": max_pooling,
    "PerspectiveTransform": perspective_transform,
}
