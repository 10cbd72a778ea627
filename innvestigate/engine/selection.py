"""Neuron selection: from what the user asks for to the weights of the output neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import tree

from innvestigate.utils.arguments import as_array, check_choice
from innvestigate.utils.words import shown

MODES = ("max_activation", "index", "contrast", "all", "weights")


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
        first: The number of the first sample that it holds for.

    Attributes:
        targets: How many selections there are for each sample.
        several: Whether there are several, so that results have an axis for them.

    Raises:
        ValueError: If the selection does not fit the mode or the output.
    """

    def __init__(
        self, mode: str, selection: Any, output_shape: tuple, count: int | None, first: int = 0
    ):
        self.mode, self.shape, self.count = mode, tuple(output_shape), count
        self._first = first
        self._parts: list[_Chosen] = []
        if mode in ("max_activation", "all"):
            if selection is not None:
                raise ValueError(
                    f"In the mode {mode!r} neuron_selection must be None. Received: "
                    f"{shown(selection)}. To choose neurons, create the analyzer with "
                    "neuron_selection_mode='index', 'contrast' or 'weights'."
                )
        elif selection is None:
            raise ValueError(f"In the mode {mode!r} analyze() needs neuron_selection: {self._form}")
        else:
            check = self._check_weights if mode == "weights" else self._check_index
            self._parts = [check(part) for part in self._parted(selection)]
            self.check_count(count)
        numbers = {part.values.shape[1] for part in self._parts if part.several}
        if len(numbers) > 1:
            raise ValueError(
                "Both neurons of a contrast need the same number of selections for each sample. "
                f"Received: {' and '.join(map(str, sorted(numbers)))}."
            )
        self.several, self.targets = bool(numbers), max(numbers, default=1)

    def at(self, labels: Any, offset: int, count: int) -> Selection:
        """The selection of a batch: the same for all, whatever its labels are."""
        return self

    def check_count(self, count: int | None) -> None:
        """Whether there is one entry for each sample, where there is not one for all.

        Args:
            count: The number of samples; None while it is unknown.

        Raises:
            ValueError: If there is not.
        """
        for part in self._parts:
            if part.varies and count is not None and len(part.values) != count:
                raise ValueError(
                    f"neuron_selection holds {len(part.values)} entries for {count} samples: "
                    "expected one for each sample, or one for all."
                )

    def weights(self, offset: int, size: int, shape: tuple, target: int) -> np.ndarray:
        """The weights of a batch: an array of shape `(size, *shape)`.

        Args:
            offset: Samples before the batch.
            size: Samples in the batch.
            shape: Shape of the batch's output without the batch axis, all sizes known.
            target: Which of a sample's selections.
        """
        if self.mode == "all":
            return np.ones((size, *shape), "float32")
        found = [part.rows(offset - self._first, size, target) for part in self._parts]
        if self.mode == "weights":
            dtype = np.result_type(found[0], "float32")
            return np.broadcast_to(found[0], (size, *shape)).astype(dtype)
        first, *against = [self._one_hot(index, (size, *shape)) for index in found]
        return first - against[0] if against else first

    def apart(self, results: Any) -> Any:
        """Results of a row for each selection of each sample, with an axis for several of them."""
        if not self.several:
            return results
        return tree.map_structure(lambda y: y.reshape(-1, self.targets, *y.shape[1:]), results)

    def _one_hot(self, index: np.ndarray, shape: tuple) -> np.ndarray:
        index = np.broadcast_to(index, (shape[0], len(shape) - 1))
        self._check_range(index, shape[1:])
        weights = np.zeros(shape, "float32")
        weights[(np.arange(len(weights)), *index.T)] = 1
        return weights

    @property
    def _form(self) -> str:
        """What a selection is, for messages."""
        if self.mode == "weights":
            return f"an array that broadcasts to the output's shape {self.shape}."
        one = "the index of a neuron, or one for each sample."
        return one if self.mode == "index" else f"a pair (this, that), each {one}"

    def _parted(self, selection: Any) -> list:
        """The selection itself; in a contrast the two that it is made of."""
        if self.mode != "contrast":
            return [selection]
        if not isinstance(selection, (tuple, list)) or len(selection) != 2:
            raise ValueError(
                f"In the mode 'contrast' neuron_selection must be {self._form} "
                f"Received: {shown(selection)}."
            )
        return list(selection)

    def _check_index(self, selection) -> _Chosen:
        rank = len(self.shape)
        index = as_array("neuron_selection", selection)
        if index.dtype.kind not in "iu":
            raise ValueError(
                f"In the mode {self.mode!r} neuron_selection must be integers. Received: "
                f"{shown(selection)}."
            )
        one_for_all = isinstance(selection, tuple) or (rank > 1 and index.ndim == 1)
        if index.ndim == 0 and rank == 1:
            found = _Chosen(index[None, None, None])
        elif one_for_all and index.shape == (rank,):
            found = _Chosen(index[None, None])
        elif index.ndim == 1 and rank == 1 and not isinstance(selection, tuple):
            found = _Chosen(index[:, None, None], varies=True)
        elif index.ndim == 2 and index.shape[1] == rank:
            found = _Chosen(index[:, None], varies=True)
        elif index.ndim == 3 and index.shape[2] == rank and index.size:
            found = _Chosen(index, varies=len(index) != 1, several=True)
        else:
            raise ValueError(
                f"neuron_selection of shape {index.shape} does not fit the output of shape "
                f"{self.shape} (without the batch axis). Expected: "
                + ("an int, " if rank == 1 else "")
                + f"a {rank}-tuple for all samples, or an integer array of shape (batch, {rank}); "
                f"for several neurons of each sample (batch, n, {rank}) or (1, n, {rank})."
            )
        self._check_range(found.values, self.shape)
        return found

    def _check_weights(self, selection) -> _Chosen:
        weights = as_array("neuron_selection", selection)
        if weights.dtype.kind not in "fiub":
            raise ValueError(
                "In the mode 'weights' neuron_selection must be numbers. Received: "
                f"{shown(selection)}."
            )
        if not np.all(np.isfinite(weights)):
            raise ValueError("neuron_selection holds weights that are not finite.")
        rank = len(self.shape)
        several = weights.ndim == rank + 2
        first = weights[:, 0] if several and weights.shape[1] else weights
        expected = (self.count, *self.shape)
        varies = first.ndim == rank + 1 and len(first) != 1
        fits = first.ndim <= rank + 1 and all(
            size is None or given in (1, size)
            for given, size in zip(first.shape[::-1], expected[::-1], strict=False)
        )
        if not fits:
            raise ValueError(
                f"neuron_selection of shape {weights.shape} does not broadcast to the output of "
                f"shape {(self.count or 'batch', *self.shape)}, nor to several weightings of each "
                f"sample, {(self.count or 'batch', 'n', *self.shape)}."
            )
        if not several:
            weights = weights.reshape(*[1] * (rank + 1 - weights.ndim), *weights.shape)[:, None]
        return _Chosen(weights, varies, several)

    def _check_range(self, index, shape) -> None:
        """Whether there are such neurons; all axes but the last may be counted from the end."""
        for axis, size in enumerate(shape):
            least = 0 if axis == len(shape) - 1 else -(size or np.inf)
            wrong = (index[..., axis] < least) | (index[..., axis] >= (size or np.inf))
            if np.any(wrong):
                raise ValueError(
                    f"neuron_selection {int(index[..., axis][wrong][0])} is out of range: axis "
                    f"{axis} of the output has {size} neurons, counted from 0 to {(size or 0) - 1}"
                    + (f", or back from -1 to {least}." if least else ".")
                )


@dataclass(frozen=True)
class Selected:
    """One selection of each sample, out of one or several.

    Attributes:
        selection: All of them.
        target: Which one.
    """

    selection: Selection
    target: int

    def weights(self, offset: int, size: int, shape: tuple) -> np.ndarray:
        """See `Selection.weights`."""
        return self.selection.weights(offset, size, shape, self.target)


@dataclass(frozen=True)
class _Chosen:
    """What a sample's neurons are given by.

    Attributes:
        values: `(samples, selections, ...)`: indices, or weights.
        varies: Whether there is an entry for each sample; else there is one for all.
        several: Whether several selections were given for each sample.
    """

    values: np.ndarray
    varies: bool = False
    several: bool = False

    def rows(self, offset: int, size: int, target: int) -> np.ndarray:
        """One selection of each sample of a batch, or one for all of them."""
        found = self.values[:, target if self.several else 0]
        if not self.varies:
            return found
        found = found[offset : offset + size]
        if len(found) != size:
            raise ValueError(
                f"neuron_selection holds {len(self.values)} entries for more than "
                f"{offset + len(found)} samples: expected one for each sample."
            )
        return found
