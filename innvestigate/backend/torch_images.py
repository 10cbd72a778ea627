"""Operations on images that on torch write over what they read."""

from __future__ import annotations

from collections.abc import Callable

from keras import ops


def affine_transform(operation, images, transform):
    """`keras.ops.image.affine_transform`, which swaps the columns of the transform it is given."""
    return operation(images, ops.copy(transform))


DIFFERENTIABLE: dict[str | None, Callable] = {"AffineTransform": affine_transform}
"""See `backend`."""
