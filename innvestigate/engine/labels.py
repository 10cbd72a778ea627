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
        ValueError: If labels cannot choose neurons in this mode.
    """

    def __init__(self, mode: str, shape: tuple, index: int, names: list[str]):
        if mode != "index":
            raise ValueError(
                f"neuron_selection={LABELS!r} needs the mode 'index'. Received: the mode {mode!r}."
            )
        self._mode, self._shape, self._index, self._names = mode, tuple(shape), index, names

    def at(self, labels: Any, offset: int, count: int) -> Selection:
        """The selection of a batch.

        Args:
            labels: Its labels: whole numbers `(batch,)` or `(batch, 1)`, or one-hot vectors
                `(batch, neurons)`; of an output with k axes indices `(batch, k)`. Where the model
                has several outputs a list or dict of them.
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
        rank = len(self._shape)
        if rank == 1 and labels.ndim == 1:
            labels = labels[:, None]
        if labels.shape[1:] == (rank,) and _is_whole(labels):
            return labels.astype("int64")
        if rank == 1 and labels.shape[1:] == self._shape and _is_one_hot(labels):
            return labels.argmax(axis=1)
        form = f"(batch,) or one-hot vectors (batch, {self._shape[0]})"
        raise ValueError(
            f"Labels that choose neurons are whole numbers {form if rank == 1 else ('batch', rank)}"
            f". Received: {shown(labels)}. Pass indices as neuron_selection, or weights in the "
            "mode 'weights'."
        )


def _is_whole(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "fiub" and bool(np.all(labels == labels // 1))


def _is_one_hot(labels: np.ndarray) -> bool:
    return bool(np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1))
