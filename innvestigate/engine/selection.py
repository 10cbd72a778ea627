"""Neuron selection: from what the user asks for to the weights of the output neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.utils.arguments import as_array, check_choice

MODES = ("max_activation", "index", "all", "weights")


def check_mode(mode: str) -> str:
    """The mode, if there is one of that name.

    Raises:
        ValueError: If there is not.
    """
    return check_choice("neuron_selection_mode", mode, MODES)


def one_hot_max(output: np.ndarray) -> np.ndarray:
    """Weights that select the largest neuron of each sample's output; the first among equals."""
    weights = np.zeros((len(output), int(np.prod(output.shape[1:]))), "float32")
    flat = output.reshape(weights.shape)
    weights[np.arange(len(output)), flat.argmax(axis=1)] = 1
    return weights.reshape(output.shape)


class Selection:
    """The output neurons that one call of `analyze` explains.

    Args:
        mode: One of `MODES`.
        selection: What `analyze` was given.
        output_shape: Shape of the output without the batch axis; sizes may be None.
        count: Number of samples, or None if unknown (data sets).

    Raises:
        ValueError: If the selection does not fit the mode or the output.
    """

    def __init__(self, mode: str, selection: Any, output_shape: tuple, count: int | None):
        self.mode, self.shape, self.count = mode, tuple(output_shape), count
        self._varies = False
        self.selection: Any = None
        if mode in ("max_activation", "all"):
            if selection is not None:
                raise ValueError(
                    f"In the mode {mode!r} neuron_selection must be None. Received: {selection!r}. "
                    "To choose neurons, create the analyzer with neuron_selection_mode='index' or "
                    "'weights'."
                )
        elif selection is None:
            raise ValueError(
                f"In the mode {mode!r} analyze() needs neuron_selection: "
                + (
                    "the index of a neuron, or one for each sample."
                    if mode == "index"
                    else f"an array that broadcasts to the output's shape {self.shape}."
                )
            )
        else:
            check = self._check_index if mode == "index" else self._check_weights
            self.selection = check(selection)
            self.check_count(count)

    def check_count(self, count: int | None) -> None:
        """Whether there is one entry for each sample, where there is not one for all.

        Args:
            count: The number of samples; None while it is unknown.

        Raises:
            ValueError: If there is not.
        """
        if self._varies and count is not None and len(self.selection) != count:
            raise ValueError(
                f"neuron_selection holds {len(self.selection)} entries for {count} samples: "
                "expected one for each sample, or one for all."
            )

    def weights(self, offset: int, size: int, shape: tuple) -> np.ndarray:
        """The weights of a batch: an array of shape `(size, *shape)`.

        Args:
            offset: Samples before the batch.
            size: Samples in the batch.
            shape: Shape of the batch's output without the batch axis, all sizes known.
        """
        if self.mode == "all":
            return np.ones((size, *shape), "float32")
        per_sample = self.selection
        if self._varies:
            per_sample = per_sample[offset : offset + size]
            if len(per_sample) != size:
                raise ValueError(
                    f"neuron_selection holds {len(self.selection)} entries for more than "
                    f"{offset + len(per_sample)} samples: expected one for each sample."
                )
        if self.mode == "weights":
            dtype = np.result_type(per_sample, "float32")
            return np.broadcast_to(per_sample, (size, *shape)).astype(dtype)
        index = np.broadcast_to(per_sample, (size, len(shape)))
        self._check_range(index, shape)
        weights = np.zeros((size, *shape), "float32")
        weights[(np.arange(size), *index.T)] = 1
        return weights

    def _check_index(self, selection) -> np.ndarray:
        rank = len(self.shape)
        index = as_array("neuron_selection", selection)
        if index.dtype.kind not in "iu":
            raise ValueError(
                f"In the mode 'index' neuron_selection must be integers. Received: {selection!r}."
            )
        one_for_all = isinstance(selection, tuple) or (rank > 1 and index.ndim == 1)
        if index.ndim == 0 and rank == 1:
            index, self._varies = index[None], False
        elif one_for_all and index.shape == (rank,):
            self._varies = False
        elif index.ndim == 1 and rank == 1 and not isinstance(selection, tuple):
            index, self._varies = index[:, None], True
        elif index.ndim == 2 and index.shape[1] == rank:
            self._varies = True
        else:
            raise ValueError(
                f"neuron_selection of shape {index.shape} does not fit the output of shape "
                f"{self.shape} (without the batch axis). Expected: "
                + ("an int, " if rank == 1 else "")
                + f"a {rank}-tuple for all samples, or an integer array of shape (batch, {rank})."
            )
        self._check_range(index, self.shape)
        return index

    def _check_weights(self, selection) -> np.ndarray:
        weights = as_array("neuron_selection", selection)
        if weights.dtype.kind not in "fiub":
            raise ValueError(
                f"In the mode 'weights' neuron_selection must be numbers. Received: {selection!r}."
            )
        if not np.all(np.isfinite(weights)):
            raise ValueError("neuron_selection holds weights that are not finite.")
        expected = (self.count, *self.shape)
        self._varies = weights.ndim == len(expected) and len(weights) != 1
        fits = weights.ndim <= len(expected) and all(
            size is None or given in (1, size)
            for given, size in zip(weights.shape[::-1], expected[::-1], strict=False)
        )
        if not fits:
            raise ValueError(
                f"neuron_selection of shape {weights.shape} does not broadcast to the output of "
                f"shape {(self.count or 'batch', *self.shape)}."
            )
        return weights

    def _check_range(self, index, shape) -> None:
        for axis, size in enumerate(shape):
            wrong = (index[..., axis] < 0) | (index[..., axis] >= (size or np.inf))
            if np.any(wrong):
                raise ValueError(
                    f"neuron_selection {int(index[..., axis][wrong][0])} is out of range: axis "
                    f"{axis} of the output has {size} neurons, counted from 0 to {(size or 0) - 1}."
                )
