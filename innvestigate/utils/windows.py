"""Windows that slide over the axes of a sample."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from innvestigate.utils.arguments import check_whole
from innvestigate.utils.words import shown


@dataclass(frozen=True)
class Windows:
    """Windows of one shape over an array, in the order of their numbers.

    Attributes:
        shape: Shape of the array; sizes may be None as long as no window is asked for.
        window: Shape of a window.
        step: Distance of windows along each axis.
    """

    shape: tuple
    window: tuple
    step: tuple

    @classmethod
    def fitting(cls, name: str, shape: tuple, window: Any, step: Any) -> Windows:
        """Windows over an input of that name.

        Raises:
            ValueError: If window or step do not fit the shape.
        """
        window = _per_axis(name, shape, window, "window_shape")
        step = _per_axis(name, shape, step, "step")
        if any(size is not None and w > size for w, size in zip(window, shape, strict=True)):
            raise ValueError(
                f"The window is larger than the input {name!r}. Received: window_shape={window}; "
                f"the input has the shape {shape}. A tuple gives each axis its own size."
            )
        return cls(shape, window, step)

    def __len__(self) -> int:
        return prod(self._grid)

    @property
    def _grid(self) -> tuple:
        """How many windows there are along each axis."""
        axes = zip(self.shape, self.window, self.step, strict=True)
        return tuple((size - w) // s + 1 for size, w, s in axes)

    def at(self, number: int) -> tuple[slice, ...]:
        """The place of the window of that number."""
        index = np.unravel_index(number, self._grid)
        axes = zip(index, self.window, self.step, strict=True)
        return tuple(slice(i * s, i * s + w) for i, w, s in axes)

    def coverage(self) -> np.ndarray:
        """How many windows cover each feature."""
        found = np.ones((), int)
        for size, w, s, n in zip(self.shape, self.window, self.step, self._grid, strict=True):
            starts = np.arange(n) * s
            place = np.arange(size)[:, None]
            found = found[..., None] * ((starts <= place) & (place < starts + w)).sum(axis=1)
        return found


def _per_axis(name: str, shape: tuple, given: Any, what: str) -> tuple:
    """One whole number >= 1 for each axis."""
    numbers = list(given) if isinstance(given, (tuple, list)) else [given] * len(shape)
    if len(numbers) != len(shape):
        raise ValueError(
            f"{what} needs one number for each axis of a sample. Received: {shown(given)} for the "
            f"input {name!r}; expected: an int or {len(shape)} ints, for the shape {shape}."
        )
    return tuple(check_whole(what, number, 1) for number in numbers)
