"""Regions: the parts that a sample is perturbed by, and the orders in which that is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from innvestigate.utils.arguments import check_whole
from innvestigate.utils.windows import Windows, covering
from innvestigate.utils.words import shown

ORDERS = ("most_relevant", "least_relevant", "random")
_ORDER = 0  # the stream of random numbers that orders regions


@dataclass(frozen=True)
class Regions:
    """A grid of regions over a sample.

    Attributes:
        labels: The number of the region of each feature, in the shape of a sample.
        sizes: How many features each region has.
    """

    labels: np.ndarray
    sizes: np.ndarray

    @classmethod
    def fitting(cls, shape: tuple, region_shape: Any) -> Regions:
        """A grid over samples of a shape.

        Regions that stand out are cut; the grid lies so that this is even on both sides.

        Args:
            shape: Shape of a sample.
            region_shape: See `RegionPerturbation`.

        Raises:
            ValueError: If the regions do not fit the shape.
        """
        labels = Windows.tiling(shape, region_sizes(shape, region_shape)).labels()
        return cls(labels, np.bincount(labels.reshape(-1)))

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Values `(n, *shape)` added up in each region, `(n, regions)`, in float64."""
        flat = values.reshape(len(values), -1).astype("float64")
        labels = self.labels.reshape(-1)
        return np.stack([np.bincount(labels, row, len(self)) for row in flat])

    def ranks(self, subject: Any, order: str) -> np.ndarray:
        """The place of each region in an order, `(n, regions)`; 0 is the first.

        Regions are as relevant as their features on average. Equal ones come in random order.

        Args:
            subject: The samples, a `Subject`.
            order: One of `ORDERS`.
        """
        shuffled = np.stack(
            [subject.random(i, _ORDER).permutation(len(self)) for i in range(len(subject))]
        )
        if order == "random":
            return shuffled
        means = self.sums(subject.relevance) / self.sizes
        key = -means if order == "most_relevant" else means
        return np.lexsort((shuffled, key), axis=1).argsort(axis=1)


def check_region_shape(given: Any) -> tuple | None:
    """The sizes in a `region_shape`, as a tuple of at least one; None for the default.

    Raises:
        ValueError: If it is neither a whole number >= 1 nor a tuple of them.
    """
    if given is None:
        return None
    sizes = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if not sizes:
        raise ValueError("region_shape must hold at least one whole number. Received: none.")
    return tuple(check_whole("region_shape", size, 1) for size in sizes)


def region_sizes(shape: tuple, given: Any) -> tuple:
    """Features along each axis of a region.

    Raises:
        ValueError: If the region does not fit samples of the shape.
    """
    numbers = check_region_shape((9 if len(shape) > 2 else 1) if given is None else given) or ()
    if not isinstance(given, (tuple, list)):
        numbers *= max(1, len(shape) - 1)
    if len(numbers) > len(shape):
        raise ValueError(
            "region_shape must be a whole number, or a tuple of them for the first axes of a "
            f"sample. Received: {shown(given)}; a sample has the shape {shape}."
        )
    sizes = covering(shape, numbers)
    if any(r > size for r, size in zip(sizes, shape, strict=True)):
        told = f"the default, {numbers[0]}" if given is None else f"region_shape={shown(given)}"
        raise ValueError(
            f"The region is larger than a sample. Received: {told}; a sample has the shape {shape}."
            " Pass a smaller one by region_shape=."
        )
    return sizes
