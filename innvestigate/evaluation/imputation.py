"""Noisy linear imputation: what a removed place would be, going by its neighbours."""

from __future__ import annotations

import numpy as np

_TOLERANCE = 1e-5  # of the residual, relative to the right-hand side: far below the noise
_MOST = 2000  # iterations


def imputed(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Samples of which the removed places are the weighted mean of their neighbours.

    For each removed place i: xᵢ = Σⱼ wᵢⱼ xⱼ / Σⱼ wᵢⱼ over its neighbours j that exist, removed ones
    too, with 1/wᵢⱼ the number of axes along which j is one step away. In images that is 2 : 1 for
    neighbours at the side and at the corner. These equations are symmetric and positive definite
    as long as one place is left, and are solved by conjugate gradients.

    Args:
        x: The samples, `(n, *places, channels)`.
        removed: Which places are removed, `(n, *places)`.

    Returns:
        The samples in float64, without noise.

    Raises:
        ValueError: If nothing is left of a sample, or the equations are not solved.
    """
    if removed.reshape(len(removed), -1).all(axis=1).any():
        raise ValueError("Nothing is left of a sample that its places could be imputed from.")
    gone = removed[..., None]
    known = np.where(gone, 0, x.astype("float64"))
    degree = _neighbours(np.ones((1, *x.shape[1:-1], 1)))
    solution = _solved(lambda y: gone * (degree * y - _neighbours(y)), gone * _neighbours(known))
    return known + solution


def _neighbours(y: np.ndarray) -> np.ndarray:
    """Σⱼ wᵢⱼ yⱼ over the neighbours of each place."""
    sums = [y]  # the k-th: over the neighbours that differ along k axes
    for axis in range(1, y.ndim - 1):
        besides = [_beside(each, axis) for each in sums]
        sums = [y, *map(np.add, sums[1:], besides), besides[-1]]
    return sum((each / k for k, each in enumerate(sums[1:], 1)), np.zeros(()))


def _beside(y: np.ndarray, axis: int) -> np.ndarray:
    """The sum of the two neighbours of each place along an axis."""
    found, y = np.zeros_like(y), y.swapaxes(0, axis)
    there = found.swapaxes(0, axis)
    there[1:] += y[:-1]
    there[:-1] += y[1:]
    return found


def _solved(apply, right: np.ndarray) -> np.ndarray:
    """The solution of `apply(y) = right`, for each sample and channel, by conjugate gradients."""
    axes = tuple(range(1, right.ndim - 1))

    def product_of(a, b):
        return (a * b).sum(axis=axes, keepdims=True)

    y, residual, direction = np.zeros_like(right), right, right
    size = product_of(residual, residual)
    enough = _TOLERANCE**2 * size
    for _ in range(_MOST):
        if np.all(size <= enough):
            return y
        image = apply(direction)
        curvature = product_of(direction, image)
        step = np.divide(size, curvature, out=np.zeros_like(size), where=size > enough)
        y, residual = y + step * direction, residual - step * image
        before, size = size, product_of(residual, residual)
        ratio = np.divide(size, before, out=np.zeros_like(size), where=size > enough)
        direction = residual + ratio * direction
    raise ValueError("The equations of noisy linear imputation were not solved.")
