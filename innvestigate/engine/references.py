"""References: the inputs that a sample is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import KerasTensor

from innvestigate.engine.batch import Batch
from innvestigate.engine.export import ExportError
from innvestigate.engine.inputs import InputSpec
from innvestigate.utils.arguments import as_array
from innvestigate.utils.batching import as_given
from innvestigate.utils.words import shown

FORMS = (
    "a number; an array of the input's shape; one reference for each sample, (batch, *shape); n "
    "for each sample, (batch, n, *shape), or for all of them, (1, n, *shape), which is "
    "references[None]; or a function from inputs to any of these. For several inputs a list or a "
    "dict of these"
)


class References:
    """What a method compares its samples with, in any of the forms that users give it in.

    Args:
        given: A number; an array of the input's shape; an array with a batch axis, one reference
            for each sample (a single one holds for all); an array `(batch, n, *shape)`, n
            references for each sample; or a function that maps a batch, in the model's structure,
            to any of these. For several inputs a list or dict of these; one number holds for all
            inputs.
        spec: The model's inputs.
        argument: The argument that they were given as, for messages.

    Raises:
        TypeError: If `given` is none of these.
        ValueError: If an array does not fit the model's input or is not finite.
    """

    def __init__(self, given: Any, spec: InputSpec, argument: str = "reference_inputs"):
        self._spec, self._argument = spec, argument
        self._function = given if callable(given) else None
        self._arrays: Any = None if callable(given) else self._parse(given)

    def check_count(self, count: int | None) -> None:
        """Whether there is one reference for each sample, where there is not one for all.

        Args:
            count: The number of samples; None while it is unknown.

        Raises:
            ValueError: If there is not.
        """
        if self._arrays is not None and count is not None:
            self._check_rows(self._arrays, count)

    def _check_rows(self, arrays: list[np.ndarray], count: int) -> None:
        for name, tensor, array in zip(self._spec.names, self._spec.tensors, arrays, strict=True):
            if _per_sample(array, tensor) and len(array) != count:
                raise ValueError(
                    f"{self._argument} of input {name!r} are for {len(array)} samples, shape "
                    f"{array.shape}. Received: {count} samples. Expected: {FORMS}."
                )

    def of(self, batch: Batch) -> list[np.ndarray]:
        """The references of every row, for each input an array `(rows, n, *shape)`.

        Raises:
            ValueError: If they do not fit the batch.
        """
        arrays, rows = self._arrays, batch.samples
        if self._function is not None:
            arrays = self._parse(
                self._function(self._spec.restore(batch.inputs, self._spec.structure))
            )
            rows = np.arange(len(batch))
            self._check_rows(arrays, len(batch))
        found = [self._broadcast(i, arrays[i], x, rows) for i, x in enumerate(batch.inputs)]
        counts = {r.shape[1] for r in found}
        if len(counts - {1}) > 1:
            raise ValueError(
                "All inputs need the same number of references. Received: "
                + ", ".join(
                    f"{name!r}: {r.shape[1]}"
                    for name, r in zip(self._spec.names, found, strict=True)
                )
            )
        n = max(counts)
        return [np.broadcast_to(r, (len(r), n, *r.shape[2:])) for r in found]

    def fixed(self) -> list[np.ndarray]:
        """The one reference that holds for all samples, for each input an array `(1, *shape)`.

        Raises:
            ExportError: If there are several, or a function makes them.
        """
        shapes = [tuple(t.shape[1:]) for t in self._spec.tensors]
        arrays = self._arrays or []
        single = [
            array.reshape(array.shape[array.ndim - len(shape) :])
            for array, shape in zip(arrays, shapes, strict=bool(arrays))
            if array.size <= 1 or array.size == np.prod(array.shape[array.ndim - len(shape) :])
        ]
        if len(single) < len(shapes) or any(None in shape for shape in shapes):
            raise ExportError(
                f"An exported explainer compares all samples with one {self._argument} of a known "
                "size. Received: several, a function, or inputs of unknown size. Create the "
                "analyzer with a number or an array of the input's shape."
            )
        types = [t.dtype for t in self._spec.tensors]
        pairs = zip(single, shapes, types, strict=True)
        return [np.broadcast_to(a, (1, *shape)).astype(t) for a, shape, t in pairs]

    def _parse(self, given: Any) -> list[np.ndarray]:
        given = list(given) if isinstance(given, tuple) else as_given(given)
        one = len(self._spec.tensors) > 1 and not isinstance(given, (dict, list))
        if one and as_array(self._argument, given).ndim:
            raise ValueError(
                f"The model has {len(self._spec.tensors)} inputs "
                f"({', '.join(self._spec.names)}). Received: one array as {self._argument}. "
                f"Expected: {FORMS}."
            )
        parts = self._spec.each(given, self._argument)
        checked = zip(self._spec.names, self._spec.tensors, parts, strict=True)
        return [
            _as_array(f"{self._argument} of input {name!r}", tensor, part)
            for name, tensor, part in checked
        ]

    def _broadcast(self, i: int, array: np.ndarray, x: np.ndarray, rows) -> np.ndarray:
        """One input's references for the rows of a batch."""
        rank = x.ndim - 1
        if _per_sample(array, self._spec.tensors[i]):
            if rows.max() >= len(array):
                raise ValueError(
                    f"{self._argument} of input {self._spec.names[i]!r} are for {len(array)} "
                    f"samples. Received: more than that. Expected: {FORMS}."
                )
            array = array[rows]
        if array.ndim == rank + 2:
            shape = (len(x), array.shape[1], *x.shape[1:])
        else:
            array = array[:, None] if array.ndim == rank + 1 else array
            shape = (len(x), 1, *x.shape[1:])
        array = self._as_type(i, array, x.dtype)
        try:
            return np.broadcast_to(array, shape)
        except ValueError:
            raise ValueError(
                f"{self._argument} of input {self._spec.names[i]!r} have the shape "
                f"{self._arrays[i].shape if self._arrays else array.shape}. Expected, for samples "
                f"of the shape {x.shape[1:]}: {FORMS}."
            ) from None

    def _as_type(self, i: int, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """An array in the type of the samples: nothing is rounded to fit whole numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype)
        if dtype.kind == "f" and not np.all(np.isfinite(cast)):
            raise ValueError(
                f"{self._argument} of input {self._spec.names[i]!r} hold numbers that {dtype}, in "
                "which the model takes its samples, cannot hold. Scale them."
            )
        if dtype.kind in "iub" and not np.array_equal(cast, array):
            raise TypeError(
                f"{self._argument} of input {self._spec.names[i]!r} do not fit its samples, which "
                f"are of type {dtype}. Received: {array.reshape(-1)[:5]} ... Expected: whole "
                "numbers in the range of that type."
            )
        return cast


def picked(references: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Some references of every row, as rows.

    Args:
        references: One input's references, `(rows, n, *shape)`.
        which: Numbers of references, `(k, rows)` or, the same for all rows, `(k, 1)`.

    Returns:
        `(k * rows, *shape)`, all rows for the first of the k, then for the next.
    """
    chosen = references[np.arange(len(references)), which]
    return chosen.reshape(-1, *references.shape[2:])


def _per_sample(array: np.ndarray, tensor: KerasTensor) -> bool:
    return array.ndim >= len(tensor.shape) and len(array) != 1


def _as_array(name: str, tensor: KerasTensor, given: Any) -> np.ndarray:
    array = as_array(name, given)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must be {FORMS}. Received: {shown(given)} (of type {type(given).__name__})."
        )
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinite values.")
    shape = tuple(tensor.shape[1:])
    own = array.shape[array.ndim - len(shape) :]
    fits = array.ndim == 0 or (
        len(shape) <= array.ndim <= len(shape) + 2
        and all(size in (None, given) for size, given in zip(shape, own, strict=True))
    )
    if not fits or array.size == 0:
        raise ValueError(
            f"{name} has the wrong shape. Received: {array.shape}; expected for inputs of shape "
            f"{shape}: {FORMS}."
        )
    return array
