"""Features: which entries of a sample are taken away together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from innvestigate.utils.arguments import as_array
from innvestigate.utils.words import shown


@dataclass(frozen=True)
class Features:
    """The feature that each entry of some samples belongs to.

    Attributes:
        labels: For each input the number of the feature of every entry: `(samples, *shape)`, or
            `(1, *shape)` where it is the same for all samples.
        sizes: How many entries each feature has, `(samples or 1, features)`.
    """

    labels: list[np.ndarray]
    sizes: np.ndarray

    def __len__(self) -> int:
        return self.sizes.shape[1]

    def shared(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of features at the entries of each input, which share them evenly.

        Args:
            values: `(samples, features)`.

        Returns:
            For each input `(samples, *shape)`.
        """
        each = values / self.sizes
        flat = [label.reshape(len(label), -1) for label in self.labels]
        found = [
            np.take_along_axis(each, np.broadcast_to(f, (len(each), f.shape[1])), axis=1)
            for f in flat
        ]
        shapes = [label.shape[1:] for label in self.labels]
        return [y.reshape(-1, *shape) for y, shape in zip(found, shapes, strict=True)]


def features_of(labels: list[np.ndarray], alone: list[bool]) -> list[tuple[np.ndarray, Features]]:
    """The features of some samples, with those together that have as many of them.

    Args:
        labels: For each input the labels of its entries, `(samples, *shape)`, or `(1, *shape)`
            where they are the same for all samples: what shares one, also across inputs, is one
            feature.
        alone: For each input whether its features are its own: labels from 0, which mean nothing
            elsewhere.

    Returns:
        Numbers of samples, and their features. One sample, 0, stands for all if all are alike.
    """
    count = max(map(len, labels))
    rows = [[x[i if len(x) > 1 else 0].reshape(-1) for x in labels] for i in range(count)]
    flat, sizes = zip(*[_numbered(row, alone) for row in rows], strict=True)
    counts, ends = np.array([*map(len, sizes)]), np.cumsum([x.size for x in rows[0]])
    found = []
    for members in [np.flatnonzero(counts == n) for n in np.unique(counts)]:
        parts = np.split(np.stack([flat[i] for i in members]), ends[:-1], axis=1)
        shaped = [y.reshape(-1, *x.shape[1:]) for x, y in zip(labels, parts, strict=True)]
        found.append((members, Features(shaped, np.stack([sizes[i] for i in members]))))
    return found


def _numbered(labels: list[np.ndarray], alone: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """The number of the feature of each entry of one sample, and how many entries each has."""
    pairs = list(zip(labels, alone, strict=True))
    together = [label for label, own in pairs if not own]
    names, inverse = np.unique(np.concatenate([*together, _NOTHING]), return_inverse=True)
    numbers, count = [], len(names)
    for label, own in pairs:
        if own:
            numbers.append(count + label)
            count += label.max(initial=-1) + 1
        else:
            part, inverse = np.split(inverse, [label.size])
            numbers.append(part)
    flat = np.concatenate(numbers)
    return flat, np.bincount(flat, minlength=count)


_NOTHING = np.zeros(0, "int64")


def check_labels(name: str, shape: tuple, groups: Any) -> np.ndarray:
    """Labels of the entries of a sample, broadcast to its shape.

    Args:
        name: The name of the input.
        shape: The shape of its samples.
        groups: Integer labels.

    Raises:
        ValueError: If they are no whole numbers, or do not fit the shape.
    """
    labels = as_array("groups", groups)
    if labels.dtype.kind not in "iub":
        raise ValueError(
            f"groups must be integer labels. Received for the input {name!r}: {shown(groups)}."
        )
    try:
        return np.broadcast_to(labels.astype("int64"), shape)
    except ValueError:
        raise ValueError(
            f"groups of the shape {labels.shape} do not broadcast to the input {name!r}, whose "
            f"samples have the shape {shape}."
        ) from None
