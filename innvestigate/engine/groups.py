"""Groups: what a user says is one feature, for the samples of a batch."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from innvestigate.engine.batch import Batch
from innvestigate.engine.inputs import InputSpec
from innvestigate.utils.arguments import as_array
from innvestigate.utils.features import Features, check_labels, features_of
from innvestigate.utils.words import shown


class Groups:
    """Which entries of a sample are one feature, in any of the forms that users say it in.

    Args:
        given: Integer labels that broadcast to a sample's shape: what shares a label, also across
            inputs, is one feature. A list or dict of these for several inputs, None for an input
            whose every number is a feature of its own. Or a function that maps a batch, in the
            model's structure, to the labels of each of its samples, `(batch, *shape)`, whose axes
            may be 1 but for the first; in a list or dict for several inputs. Samples may differ in
            the number of their groups.
        axes: In place of labels: the axes whose entries are features, see `ShapleySampling`.
        spec: The model's inputs.

    Attributes:
        given: Whether there is anything but features of one number each.

    Raises:
        ValueError: If both are given, or labels or axes do not fit the inputs.
    """

    def __init__(self, given: Any, spec: InputSpec, axes: Any = None):
        if given is not None and axes is not None:
            raise ValueError("Pass either groups or sampling_axes. Received: both.")
        self.given, self._spec = given is not None or axes is not None, spec
        self._function = given if callable(given) else None
        self._labels = spec.each(None if callable(given) else given, "groups")
        self._axes = spec.each(axes, "sampling_axes")
        shapes = [tuple(t.shape[1:]) for t in spec.tensors]
        if not any(None in shape for shape in shapes):
            self._fixed(shapes)

    def of(self, batch: Batch) -> list[tuple[np.ndarray, Features]]:
        """Rows of a batch with as many features each, and what these are.

        Raises:
            ValueError: If labels do not fit the batch.
        """
        given = self._labels
        if self._function is not None:
            found = self._function(self._spec.restore(batch.inputs, self._spec.structure))
            given = self._spec.each(list(found) if isinstance(found, tuple) else found, "groups")
            labels = [self._of_rows(i, x, given[i]) for i, x in enumerate(batch.inputs)]
        else:
            labels = self._fixed([x.shape[1:] for x in batch.inputs])
        parts = features_of(labels, [x is None for x in given])
        if len(parts) > 1 and self._spec.rows is not None:
            raise ValueError(
                f"The model takes {self._spec.rows} samples at a time, so all of a batch need the "
                f"same number of groups. Received: {[len(features) for _, features in parts]}. "
                "Build the model for any number of samples."
            )
        return [(np.arange(len(batch)), parts[0][1])] if len(parts) == 1 else parts

    def _fixed(self, shapes: list[tuple]) -> list[np.ndarray]:
        """The labels that hold for all samples, for each input `(1, *shape)`."""
        given = zip(self._spec.names, shapes, self._labels, self._axes, strict=True)
        return [
            (_by_axes(n, s, axes) if labels is None else check_labels(n, s, labels))[None]
            for n, s, labels, axes in given
        ]

    def _of_rows(self, i: int, x: np.ndarray, given: Any) -> np.ndarray:
        """What the function says of an input, for every row."""
        name = self._spec.names[i]
        if given is None:
            return _by_axes(name, x.shape[1:], None)[None]
        labels = as_array("groups", given)
        if labels.ndim != x.ndim or len(labels) != len(x):
            raise ValueError(
                f"The function groups must return labels for each sample. Received for the input "
                f"{name!r}: the shape {labels.shape}; expected: {x.shape}, where all sizes but the "
                "first may be 1."
            )
        return np.stack([check_labels(name, x.shape[1:], label) for label in labels])


def _by_axes(name: str, shape: tuple, axes: Any) -> np.ndarray:
    """Labels that count the entries along some axes (all for None), the batch axis being 0."""
    known = range(1, len(shape) + 1)
    given = np.atleast_1d(as_array("sampling_axes", known if axes is None else axes))
    whole = given.ndim == 1 and given.dtype.kind in "iu" and given.size
    if axes is not None and (
        not whole or len(np.unique(given)) < len(given) or not np.isin(given, known).all()
    ):
        raise ValueError(
            f"sampling_axes must be axes of the input {name!r}, each once, from 1 to "
            f"{len(shape)}; axis 0 is the batch. Received: {shown(axes)}."
        )
    sizes = [size if axis in given else 1 for axis, size in enumerate(shape, 1)]
    return np.broadcast_to(np.arange(prod(sizes)).reshape(sizes), shape)
