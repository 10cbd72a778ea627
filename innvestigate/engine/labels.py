"""Neurons that a data set names itself, by the labels that come with its batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.engine.selection import Selection
from innvestigate.utils.arguments import as_array
from innvestigate.utils.words import shown

LABELS = "labels"
"""The selection that asks for them."""


class Labels:
    """The selections of batches of `(inputs, labels)`.

    Args:
        mode: The neuron selection mode.
        shape: Shape of the explained output without the batch axis.
        index: Which of the model's outputs it is.
        names: The names of all outputs.

    Raises:
        ValueError: If labels cannot choose neurons of such an output, or not in this mode.
    """

    def __init__(self, mode: str, shape: tuple, index: int, names: list[str]):
        if mode != "index" or len(shape) != 1:
            raise ValueError(
                f"neuron_selection={LABELS!r} needs the mode 'index' and an output with one axis. "
                f"Received: the mode {mode!r}, and the shape {tuple(shape)} without the batch axis."
            )
        self._mode, self._shape, self._index, self._names = mode, tuple(shape), index, names

    def at(self, labels: Any, offset: int, count: int) -> Selection:
        """The selection of a batch.

        Args:
            labels: Its labels: whole numbers `(batch,)` or `(batch, 1)`, or one-hot vectors
                `(batch, neurons)`; where the model has several outputs a list or dict of them.
            offset: Samples before the batch.
            count: Samples in the batch.

        Raises:
            ValueError: If there are none, or they name no neuron.
        """
        if labels is None:
            raise ValueError(
                f"neuron_selection={LABELS!r} needs batches of (inputs, labels), as a data set "
                "yields them. Received: inputs alone. Pass the indices as neuron_selection."
            )
        index = self._indices(as_array("The labels", self._own(labels)))
        return Selection(self._mode, index, self._shape, count, first=offset)

    def check_count(self, count: int | None) -> None:
        """Nothing: each batch brings the labels of its samples."""

    def _own(self, labels: Any) -> Any:
        """The labels of the explained output."""
        if isinstance(labels, dict):
            if self._names[self._index] not in labels:
                raise ValueError(
                    f"The labels have the keys {sorted(labels)}. Expected: the name of the "
                    f"explained output, {self._names[self._index]!r}."
                )
            return labels[self._names[self._index]]
        several = isinstance(labels, (list, tuple)) and len(self._names) > 1
        return labels[self._index] if several else labels

    def _indices(self, labels: np.ndarray) -> np.ndarray:
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 1 and labels.dtype.kind in "fiub" and np.all(labels == labels // 1):
            return labels.astype("int64")
        if labels.shape[1:] == self._shape and _is_one_hot(labels):
            return labels.argmax(axis=1)
        raise ValueError(
            "Labels that choose neurons are whole numbers (batch,) or one-hot vectors "
            f"(batch, {self._shape[0]}). Received: {shown(labels)}. Pass indices as "
            "neuron_selection, or weights in the mode 'weights'."
        )


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1))
