"""Noisy linear imputation: what a removed place would be, going by its neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np

from innvestigate.utils.arguments import check_array

_TOLERANCE = 1e-8  # of the residual, relative to the right-hand side: far below the noise


def imputed(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Samples of which the removed places are the weighted mean of their neighbours.

    For each removed place i: xᵢ = Σⱼ wᵢⱼ xⱼ / Σⱼ wᵢⱼ over its neighbours j that exist, removed ones
    too, with 1/wᵢⱼ the number of axes along which j is one step away. In images that is 2 : 1 for
    neighbours at the side and at the corner. These equations are sparse, symmetric and positive
    definite as long as one place is left. SciPy solves them: by factors where places have one axis
    or two, by conjugate gradients where they have more, as factors would fill the memory there.

    Args:
        x: The samples, `(n, *places, channels)`.
        removed: Which places are removed, `(n, *places)`.

    Returns:
        The samples in float64, without noise.

    Raises:
        ImportError: If SciPy is not installed: `pip install 'innvestigate[evaluation]'`.
        ValueError: If nothing is left of a sample, x holds NaN or infinite values, or the equations
            are not solved.
    """
    if removed.reshape(len(removed), -1).all(axis=1).any():
        raise ValueError("Nothing is left of a sample that its places could be imputed from.")
    found = check_array("x", x).astype("float64")
    for sample, gone in zip(found, removed, strict=True):
        if gone.any():
            sample[gone] = _solution(sample, gone)
    return found


def _solution(sample: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """What the removed places of a sample are, `(removed places, channels)`."""
    places, kept = np.arange(gone.size).reshape(gone.shape), ~gone.reshape(-1)
    pairs = [(places[a].reshape(-1), places[b].reshape(-1), w) for a, b, w in _shifts(gone.shape)]
    here, there = (np.concatenate(part) for part in list(zip(*pairs, strict=True))[:2])
    weights = np.concatenate([np.full(len(a), w) for a, _, w in pairs])
    beside = _scipy("sparse").csr_array((weights, (here, there)), (gone.size, gone.size))
    own = _scipy("sparse").diags_array(beside.sum(axis=1)[~kept])
    rows = beside[~kept]
    right = rows[:, kept] @ sample.reshape(gone.size, -1)[kept]
    solve = _by_factors if gone.ndim < 3 else _by_iteration
    return solve(own - rows[:, ~kept], right)


def _shifts(shape: tuple) -> Iterator[tuple[tuple, tuple, float]]:
    """For each direction of a neighbour where places have one, where these are, and its weight."""
    for step in product((-1, 0, 1), repeat=len(shape)):
        if any(step):
            here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True))
            there = tuple(
                slice(part.start + s, part.stop + s) for part, s in zip(here, step, strict=True)
            )
            yield here, there, 1 / np.abs(step).sum()


def _by_factors(matrix: Any, right: np.ndarray) -> np.ndarray:
    """The solution for each column, for a symmetric positive definite matrix."""
    factors = _scipy("sparse.linalg").splu(
        matrix.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return factors.solve(right)


def _by_iteration(matrix: Any, right: np.ndarray) -> np.ndarray:
    """The same by conjugate gradients."""
    found = [_scipy("sparse.linalg").cg(matrix, column, rtol=_TOLERANCE) for column in right.T]
    if any(failed for _, failed in found):
        raise ValueError(
            "The equations of noisy linear imputation were not solved. Received: samples whose "
            f"neighbours add up to {np.abs(right).max():g}. Pass them in a smaller range, "
            "or remove smaller fractions."
        )
    return np.stack([column for column, _ in found], axis=1)


def _scipy(name: str) -> Any:
    """A part of SciPy."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError as error:
        raise ImportError("ROAD needs SciPy: pip install 'innvestigate[evaluation]'.") from error
