"""Results in arrays that the user has made."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.stores.base import Store
from innvestigate.utils.structures import named, results_of


class ArrayStore(Store):
    """Arrays to which slices are assigned: numpy's, memory maps, HDF5 data sets, zarr's.

    Args:
        out: One of them, or a structure of them as `analyze` returns.
        resume: Must not be set: they do not know what was written to them.

    Raises:
        TypeError: If there is something that takes no slices.
        ValueError: If `resume` is set.
    """

    def __init__(self, out: Any, resume: bool):
        self._arrays = named(out)
        for array in self._arrays.values():
            if not hasattr(array, "__setitem__") or not hasattr(array, "shape"):
                raise TypeError(
                    "out must be a path, or arrays in the structure of the result. Received: a "
                    f"{type(array).__name__}."
                )
        if resume:
            raise ValueError("resume=True needs a path as `out`: arrays hold no record.")

    def append(self, result: Any) -> None:
        arrays = results_of(result)
        if set(arrays) != set(self._arrays):
            raise ValueError(
                f"out holds the arrays {sorted(self._arrays)}. Expected: {sorted(arrays)}."
            )
        end = self.written + len(next(iter(arrays.values())))
        for name, array in arrays.items():
            self._assign(name, array, end)
        self.written = end

    def _assign(self, name: str, array: np.ndarray, end: int) -> None:
        target = self._arrays[name]
        if tuple(target.shape[1:]) != array.shape[1:] or target.shape[0] < end:
            raise ValueError(
                f"out has the shape {tuple(target.shape)} for {name}. Expected: an entry for each "
                f"of at least {end} samples, of the shape {array.shape[1:]}."
            )
        target[self.written : end] = array
