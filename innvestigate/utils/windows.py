"""Windows over the axes of a sample: what occlusion slides, and evaluation tiles samples with.

A window has a size along each axis. Sizes may be left out for the last axes, such as channels: the
window covers these as a whole.
"""

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
        cut: Whether windows at the edges may stand out, and are cut: as many as cover the array,
            evenly on both sides. Otherwise the first is at the origin, and all fit.
    """

    shape: tuple
    window: tuple
    step: tuple
    cut: bool = False

    @classmethod
    def fitting(cls, name: str, shape: tuple, window: Any, step: Any) -> Windows:
        """Windows inside of an input of that name.

        Raises:
            ValueError: If window or step do not fit the shape.
        """
        window = covering(shape, _per_axis(name, shape, window, "window_shape"))
        step = _per_axis(name, shape, step, "step")
        if any(size is not None and w > size for w, size in zip(window, shape, strict=True)):
            raise ValueError(
                f"The window is larger than the input {name!r}. Received: window_shape={window}; "
                f"the input has the shape {shape}. A tuple gives each axis its own size."
            )
        return cls(shape, window, step + (1,) * (len(shape) - len(step)))

    @classmethod
    def tiling(cls, shape: tuple, window: tuple) -> Windows:
        """Windows side by side, which cover each place of an array once."""
        return cls(shape, window, window, cut=True)

    def __len__(self) -> int:
        return prod(n for _, n in self._lines)

    @property
    def _lines(self) -> list[tuple[int, int]]:
        """Along each axis where the first window starts, and how many there are."""
        axes = list(zip(self.shape, self.window, self.step, strict=True))
        if not self.cut:
            return [(0, (size - w) // s + 1) for size, w, s in axes]
        counts = [-(-size // s) for size, _, s in axes]
        return [(-((n * s - size) // 2), n) for (size, _, s), n in zip(axes, counts, strict=True)]

    def at(self, number: int) -> tuple[slice, ...]:
        """The place of the window of that number."""
        index = np.unravel_index(number, [n for _, n in self._lines])
        axes = zip(self._lines, index, self.window, self.step, strict=True)
        starts = [(first + int(i) * s, w) for (first, _), i, w, s in axes]
        return tuple(slice(max(start, 0), start + w) for start, w in starts)

    def coverage(self) -> np.ndarray:
        """How many windows cover each feature."""
        found = np.ones((), int)
        axes = zip(self.shape, self.window, self.step, self._lines, strict=True)
        for size, w, s, (first, n) in axes:
            starts, place = first + np.arange(n) * s, np.arange(size)[:, None]
            found = found[..., None] * ((starts <= place) & (place < starts + w)).sum(axis=1)
        return found

    def labels(self) -> np.ndarray:
        """The number of the window that each place is in; of those side by side."""
        found = np.zeros((), int)
        for size, s, (first, n) in zip(self.shape, self.step, self._lines, strict=True):
            found = found[..., None] * n + (np.arange(size) - first) // s
        return found


def covering(shape: tuple, sizes: tuple) -> tuple:
    """The shape of a window whose sizes are given for the first axes: it covers the others."""
    return sizes + shape[len(sizes) :]


def _per_axis(name: str, shape: tuple, given: Any, what: str) -> tuple:
    """One whole number >= 1 for each axis, or for the first ones."""
    numbers = list(given) if isinstance(given, (tuple, list)) else [given] * len(shape)
    if len(numbers) > len(shape) or (shape and not numbers):
        raise ValueError(
            f"{what} needs one number for each axis of a sample, or for the first ones. Received: "
            f"{shown(given)} for the input {name!r}; expected: an int or up to {len(shape)} ints, "
            f"for the shape {shape}."
        )
    return tuple(check_whole(what, number, 1) for number in numbers)
