"""What the sums that patterns follow from have to be, wherever they come from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

SUMS = ("active", "count", "y", "x", "xy")
_COUNTED = 1e-6
_LARGEST = 1e120
"""Of larger sums no product is left in the floating point range."""


def digest_of(state: dict[str, np.ndarray]) -> str:
    """The SHA-256 of arrays with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, array in sorted(state.items()):
        digest.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def count_of(array: Any) -> int:
    """A count out of an array of no axes.

    Raises:
        ValueError: If it is none.
    """
    array = np.asarray(array)
    if array.shape or array.dtype.kind not in "iu" or array < 0:
        raise ValueError(f"expected a count, received {array!r}")
    return int(array)


def check_sums(layer: str, sums: dict[str, np.ndarray]) -> None:
    """Whether sums can be those of a kernel: complete, finite, of shapes and counts that fit.

    Args:
        layer: The kernel's name.
        sums: The sums by the names in `SUMS`.

    Raises:
        ValueError: If not.
    """
    if set(sums) != set(SUMS):
        raise ValueError("These statistics are incomplete: some sums of a kernel are missing.")
    kernel, neurons = sums["xy"].shape, sums["y"].shape
    fit = sums["x"].shape == kernel and len(neurons) == len(kernel)
    fit = fit and all(n in (1, size) for n, size in zip(neurons, kernel, strict=True))
    if not fit or any(sums[key].shape != neurons for key in ("active", "count")):
        shapes = {key: array.shape for key, array in sums.items()}
        raise ValueError(f"The sums of {layer!r} are of shapes that do not fit: {shapes}.")
    for key, array in sums.items():
        if array.dtype.kind != "f" or not np.all(np.abs(array, dtype="float64") < _LARGEST):
            raise ValueError(f"The sums {key!r} of {layer!r} are no finite numbers.")
    active, count = sums["active"], sums["count"]
    if not np.all((active >= 0) & (active <= count * (1 + _COUNTED)) & (count > 0)):
        raise ValueError(f"The counts of {layer!r} contradict each other.")
