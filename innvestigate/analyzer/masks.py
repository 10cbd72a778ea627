"""Random masks: coarse grids of cells, enlarged and shifted."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from innvestigate.utils.arguments import check_whole
from innvestigate.utils.words import shown


@dataclass(frozen=True)
class Masks:
    """Random masks of an array, in [0, 1] and p on average at each place.

    Attributes:
        shape: Shape of the array.
        cells: Cells along each axis: 1 is one for the whole axis, None one for each place.
        probability: The probability p that a cell is one, and not zero.
        soft: Whether there are numbers between zero and one where cells meet.
        seed: What seeds them.
    """

    shape: tuple
    cells: tuple
    probability: float
    soft: bool
    seed: tuple[int, ...]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """The masks of some numbers, `(k, *shape)`; axes with one cell have the size 1.

        The mask of a number is always the same.
        """
        axes = list(zip(self.shape, self.cells, strict=True))
        grid = [size if cells is None else cells for size, cells in axes]
        ends = [1 if cells in (1, None) else ceil(size / cells) for size, cells in axes]
        draws = [np.random.default_rng((*self.seed, int(number))) for number in numbers]
        found = np.stack([draw.random(grid) < self.probability for draw in draws]).astype(float)
        shifts = np.stack([draw.integers(0, ends) for draw in draws])
        for axis, (size, cells) in enumerate(axes):
            if cells not in (1, None):
                places = shifts[:, axis, None] + np.arange(size)
                weights = _enlargement(size, cells, self.soft)[places]  # (k, size, cells)
                moved = np.moveaxis(found, axis + 1, -1)
                rows = moved.reshape(len(numbers), -1, cells) @ weights.swapaxes(1, 2)
                found = np.moveaxis(rows.reshape(*moved.shape[:-1], size), -1, axis + 1)
        return found


def _enlargement(size: int, cells: int, soft: bool) -> np.ndarray:
    """The share of each cell in each place, `(places, cells)`, of an axis longer by one cell.

    The cells divide the axis evenly. Between their centres numbers are interpolated, beyond the
    first and the last one they stay as they are.
    """
    places = np.arange((cells + 1) * ceil(size / cells))
    centres = (places + 0.5) * cells / len(places)
    if not soft:
        return np.eye(cells)[centres.astype(int)]
    distances = np.abs(np.clip(centres - 0.5, 0, cells - 1)[:, None] - np.arange(cells))
    return np.maximum(1 - distances, 0)


def check_cells(name: str, shape: tuple, given: Any) -> tuple:
    """Cells along each axis of an input, as `Masks` takes them.

    Args:
        name: The input's name.
        shape: The shape of its samples; sizes may be None.
        given: See `RISE`.

    Raises:
        ValueError: If they do not fit the shape.
    """
    if not isinstance(given, (tuple, list)):
        most = check_whole("cells", given, 1)
        if len(shape) < 2:
            return (None,) * len(shape)
        return (*(min(most, size or most) for size in shape[:-1]), 1)
    numbers = tuple(check_whole("cells", number, 1) for number in given)
    fits = all(size is None or n <= size for n, size in zip(numbers, shape, strict=False))
    if len(numbers) > len(shape) or not fits:
        raise ValueError(
            "cells must be a whole number, or a tuple of them for the first axes of a sample, none "
            f"larger than the axis. Received: {shown(given)} for the input {name!r}, whose samples "
            f"have the shape {shape}."
        )
    return numbers + (1,) * (len(shape) - len(numbers))
