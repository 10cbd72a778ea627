"""Checks of what the user hands to `analyze`, and the way back to its structure."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from innvestigate.graph.step import Graph, is_float


class InputSpec:
    """What inputs a model takes.

    Args:
        graph: The model's graph, with symbolic inputs in the model's own structure.
    """

    def __init__(self, graph: Graph):
        self.structure = graph.inputs
        self.tensors = graph.flat_inputs
        keys = sorted(self.structure) if isinstance(self.structure, dict) else None
        self.names = keys or [t.name for t in self.tensors]
        self._vocabularies = [_vocabulary(graph, tensor) for tensor in self.tensors]

    def check(self, x: Any) -> tuple[Any, int]:
        """x as arrays in its own structure, and the number of samples.

        Raises:
            ValueError: If x does not fit the model's inputs.
        """
        arrays = [self._as_array(i, a) for i, a in enumerate(self._flatten(x))]
        counts = {len(a) for a in arrays}
        if len(counts) != 1:
            sizes = ", ".join(f"{n!r}: {len(a)}" for n, a in zip(self.names, arrays, strict=True))
            raise ValueError(f"All inputs need the same number of samples. Received: {sizes}.")
        return self.restore(arrays, x), counts.pop()

    def flat(self, batch: Any, offset: int) -> list[np.ndarray]:
        """A batch as a flat list of arrays that are known to fit and to be finite.

        Args:
            batch: A batch in the structure the user chose.
            offset: Samples before the batch, for messages.

        Raises:
            ValueError: If the batch does not fit the model's inputs, or is not finite.
        """
        arrays = [self._as_array(i, a) for i, a in enumerate(self._flatten(batch))]
        for name, array, size in zip(self.names, arrays, self._vocabularies, strict=True):
            _check_finite(name, array, offset)
            _check_tokens(name, array, size, offset)
        return arrays

    def restore(self, arrays: list, x: Any) -> Any:
        """A flat list of arrays, in the structure of x."""
        if isinstance(x, dict):
            return dict(zip(self.names, arrays, strict=True))
        if self._is_single(x):
            return arrays[0]
        return type(x)(arrays) if isinstance(x, (list, tuple)) else list(arrays)

    def each(self, given: Any, what: str) -> list:
        """One entry for each input, out of a list or dict of them or one that holds for all.

        Args:
            given: What the user gave. A list is one entry if the model has a single input.
            what: Its name, for messages.

        Raises:
            ValueError: If the list or dict does not match the model's inputs.
        """
        if isinstance(given, dict):
            return self._by_name(given, what)
        if not isinstance(given, list) or len(self.tensors) == 1:
            return [given] * len(self.tensors)
        if len(given) != len(self.tensors):
            raise ValueError(
                f"{what} holds {len(given)} entries. Expected: one for each of the model's "
                f"{len(self.tensors)} inputs ({', '.join(self.names)})."
            )
        return given

    def _is_single(self, x: Any) -> bool:
        if len(self.tensors) != 1 or isinstance(x, dict):
            return False
        wrapped = isinstance(x, (list, tuple)) and len(x) == 1
        return not (wrapped and np.ndim(x[0]) == len(self.tensors[0].shape))

    def _flatten(self, x: Any) -> list:
        if isinstance(x, dict):
            return self._by_name(x, "The dict of inputs")
        if self._is_single(x):
            return [x]
        if not isinstance(x, (list, tuple)) or len(x) != len(self.tensors):
            what = f"{len(x)} arrays" if isinstance(x, (list, tuple)) else type(x).__name__
            raise ValueError(
                f"The model has {len(self.tensors)} inputs ({', '.join(self.names)}): expected a "
                f"list of {len(self.tensors)} arrays or a dict by these names. Received: {what}."
            )
        if isinstance(self.structure, dict):
            raise ValueError(
                f"The model takes its inputs as a dict with the keys {self.names}. Received: a "
                f"{type(x).__name__}."
            )
        return list(x)

    def _by_name(self, given: dict, what: str) -> list:
        if set(given) != set(self.names):
            raise ValueError(
                f"{what} does not match the model's inputs. Received the keys: {sorted(given)}; "
                f"expected: {sorted(self.names)}."
            )
        return [given[name] for name in self.names]

    def _as_array(self, i: int, x: Any) -> np.ndarray:
        name, tensor = self.names[i], self.tensors[i]
        try:
            array = np.asarray(x)
        except ValueError as error:
            raise ValueError(f"Input {name!r} is not an array: {error}") from None
        numeric = tensor.dtype != "string"
        if numeric and array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            raise ValueError(
                f"Input {name!r} must hold real numbers. Received the type {array.dtype}."
            )
        expected = tuple(tensor.shape[1:])
        fits = array.ndim == len(expected) + 1 and all(
            size in (None, given) for size, given in zip(expected, array.shape[1:], strict=True)
        )
        if not fits:
            hint = ""
            if array.ndim == len(expected):
                hint = " Is the batch axis missing? Then pass x[None]."
            raise ValueError(
                f"Input {name!r} has the wrong shape. Received: {array.shape}; expected: "
                f"{('batch', *expected)}.{hint}"
            )
        if is_float(tensor) and array.dtype.kind in "iub":
            array = array.astype("float32")
        elif "int" in tensor.dtype and array.dtype.kind == "f":
            _check_whole(name, array)
        return array


def _check_whole(name: str, array: np.ndarray) -> None:
    fractions = array[np.isfinite(array) & (array != np.trunc(array))]
    if fractions.size:
        raise ValueError(
            f"Input {name!r} takes whole numbers. Received: {fractions[:5]} ... Round them as they "
            "are meant."
        )


def _vocabulary(graph: Graph, tensor: keras.KerasTensor) -> int | None:
    """How many tokens the embeddings know that read an input; None if none does."""
    readers = [step.operation for step in graph.steps if any(t is tensor for t in step.inputs)]
    sizes = [op.input_dim for op in readers if isinstance(op, keras.layers.Embedding)]
    return min(sizes, default=None)


def _check_tokens(name: str, array: np.ndarray, size: int | None, offset: int) -> None:
    if size is None:
        return
    wrong = (array < -size) | (array >= size)
    if wrong.any():
        sample = int(np.flatnonzero(wrong.any(axis=tuple(range(1, wrong.ndim))))[0])
        raise ValueError(
            f"Input {name!r} holds the token {array[wrong][0]} in sample {sample + offset}, and "
            f"its embedding knows the tokens 0 to {size - 1}. Replace it, or enlarge input_dim."
        )


def _check_finite(name: str, array: np.ndarray, offset: int) -> None:
    if array.dtype.kind not in "fV":
        return
    finite = np.isfinite(array.astype("float64") if array.dtype.kind == "V" else array)
    bad = np.flatnonzero(~finite.all(axis=tuple(range(1, finite.ndim)))) + offset
    if len(bad):
        shown = ", ".join(map(str, bad[:10])) + (" ..." if len(bad) > 10 else "")
        raise ValueError(
            f"Input {name!r} holds NaN or infinite values in sample {shown}: an explanation of "
            "them would be meaningless. Remove or repair these samples."
        )
