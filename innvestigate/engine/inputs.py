"""Checks of what the user hands to `analyze`, and the way back to its structure."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pandas as pd

from innvestigate.engine.frames import by_input, is_frame, to_array
from innvestigate.graph.step import Graph, is_float
from innvestigate.graph.symbolic import layers_within
from innvestigate.utils.arguments import as_array, listed
from innvestigate.utils.batching import as_given, is_dataset
from innvestigate.utils.words import one_line, shown


class InputSpec:
    """What inputs a model takes.

    Args:
        graph: The model's graph, with symbolic inputs in the model's own structure.

    Attributes:
        rows: How many samples the model takes at a time, where its inputs fix that; None otherwise.
            Sample i belongs to the i-th state of a stateful layer.
    """

    def __init__(self, graph: Graph):
        self.structure = graph.inputs
        self.tensors = graph.flat_inputs
        self.names = graph.input_names
        self.rows = next((t.shape[0] for t in self.tensors if t.shape[:1] != (None,)), None)
        self._stateful = _stateful_layer(graph)
        self._vocabularies = [_vocabulary(graph, tensor) for tensor in self.tensors]

    def check(self, x: Any) -> tuple[Any, int | None]:
        """x as arrays in its own structure and shape, and the number of samples.

        Data sets are returned as they are, and None: their samples are checked as they come.

        Raises:
            ValueError: If x does not fit the model's inputs.
        """
        if is_dataset(x):
            return x, None
        x = as_given(x)
        arrays = self._arrays(x)
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
        arrays = self._arrays(batch)
        if self._stateful and self.rows not in (None, len(arrays[0])):
            raise ValueError(
                f"The layer {self._stateful!r} is stateful: it holds the states of {self.rows} "
                f"samples, and runs as many at a time. Received: a batch of {len(arrays[0])}. Pass "
                f"{self.rows} samples, or several times as many with batch_size={self.rows}, which "
                "all start from the present states; or build the model with stateful=False."
            )
        for i, (name, array) in enumerate(zip(self.names, arrays, strict=True)):
            _check_finite(name, array, offset)
            _check_range(name, array, self.tensors[i], offset)
            _check_tokens(name, array, self._vocabularies[i], offset)
        return arrays

    def check_constants(self, **constants: Any) -> None:
        """Whether arguments are constants that broadcast over a sample of each input.

        Raises:
            ValueError: If one does not; names it.
        """
        for argument, value in constants.items():
            for name, tensor in zip(self.names, self.tensors, strict=True):
                check_broadcasts(argument, value, tensor, f"the input {name!r}")

    def restore(self, arrays: list, x: Any) -> Any:
        """A flat list of arrays, in the structure of x and with as many axes (see `_fitting`)."""
        x = self._by_column(x)
        if isinstance(x, dict):
            named = zip(self.names, arrays, strict=True)
            return {name: _with_axes_of(x[name], array) for name, array in named}
        if self._is_single(x):
            return _with_axes_of(x, arrays[0])
        if not isinstance(x, (list, tuple)) or len(x) != len(arrays):
            return list(arrays)
        return type(x)(map(_with_axes_of, x, arrays))

    def flattened(self, x: Any) -> list:
        """What stands for each input, in the model's order, out of the structure of samples.

        Raises:
            ValueError: If it is not the model's structure.
        """
        x = self._by_column(x)
        if isinstance(x, dict):
            return self._by_name(x, "The dict of inputs")
        if self._is_single(x):
            return [x]
        if not isinstance(x, (list, tuple)) or len(x) != len(self.tensors):
            what = f"{len(x)} entries" if isinstance(x, (list, tuple)) else shown(x)
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

    def _by_column(self, x: Any) -> Any:
        """A dict of the columns of a frame where each is an input; else x."""
        columns = isinstance(x, pd.DataFrame) and len(self.tensors) > 1
        return by_input(x, self.names) if columns else x

    def _is_single(self, x: Any) -> bool:
        if len(self.tensors) != 1 or isinstance(x, dict):
            return False
        if not isinstance(x, (list, tuple)) or len(x) != 1:
            return True
        shape, rank = self.tensors[0].shape, _rank(x[0])
        column = tuple(shape[1:]) == (1,) and rank == 1 and hasattr(x[0], "shape")
        return not (rank == len(shape) or column)

    def _by_name(self, given: dict, what: str) -> list:
        if set(given) != set(self.names):
            raise ValueError(
                f"{what} does not match the model's inputs. Received the keys: "
                f"[{listed(given)}]; expected: [{listed(sorted(self.names))}]."
            )
        return [given[name] for name in self.names]

    def _arrays(self, x: Any) -> list[np.ndarray]:
        return [self._as_array(i, a) for i, a in enumerate(self.flattened(x))]

    def _as_array(self, i: int, x: Any) -> np.ndarray:
        name, tensor = self.names[i], self.tensors[i]
        of_strings = tensor.dtype == "string"
        array = to_array(name, x, of_strings) if is_frame(x) else as_array(f"Input {name!r}", x)
        if of_strings:
            array = _as_strings(name, array)
        elif array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            function = callable(x) and not isinstance(x, type)
            hint = " A function that makes batches is to be called: x()." if function else ""
            kind = one_line(f"{array.dtype} (of a {type(x).__name__})", 100)
            raise ValueError(
                f"Input {name!r} must hold real numbers. Received the type {kind}.{hint}"
            )
        array = _fitting(name, array, tuple(tensor.shape[1:]))
        if is_float(tensor) and array.dtype.kind in "iub":
            array = array.astype("float32")
        elif "int" in tensor.dtype and array.dtype.kind == "f":
            _check_whole(name, array)
        return array


def check_broadcasts(argument: str, value: Any, tensor: keras.KerasTensor, what: str) -> None:
    """Whether a number or array broadcasts over a sample of a tensor.

    Args:
        argument: The argument that it was given as.
        value: The number or array.
        tensor: The tensor.
        what: The tensor in words.

    Raises:
        ValueError: If it does not.
    """
    shape, given = tuple(tensor.shape[1:]), np.shape(value)
    sizes = zip(given[::-1], shape[::-1], strict=False)
    if len(given) > len(shape) or any(n not in (1, m or n) for n, m in sizes):
        raise ValueError(
            f"{argument} of the shape {given} does not broadcast over {what}, whose samples have "
            f"the shape {shape}."
        )


def _as_strings(name: str, array: np.ndarray) -> np.ndarray:
    """An array of str or bytes, as one of objects that tensors of strings can be made of."""
    strings = np.asarray(array, object)
    wrong = [x for x in strings.reshape(-1) if not isinstance(x, (str, bytes))]
    if wrong:
        raise ValueError(
            f"Input {name!r} takes strings. Received: {shown(wrong[0])} (of type "
            f"{type(wrong[0]).__name__}). Replace what is missing by a string, such as ''."
        )
    return strings


def _fitting(name: str, array: np.ndarray, shape: tuple) -> np.ndarray:
    """The array as samples of a shape; as for Keras, a last axis of size one may be left out.

    Or there may be one too many. Where an array without its batch axis would fit as well, it is
    not guessed which axis is missing, but for vectors, where both are the same.
    """
    alone = len(shape) > 1 and _fits(array.shape, shape)
    if array.ndim == len(shape) and shape[-1:] == (1,) and not alone:
        fitting = array[..., None]
    else:
        fitting = array[..., 0] if array.shape[len(shape) + 1 :] == (1,) else array
    if not _fits(fitting.shape[1:], shape):
        missing = _fits(array.shape, shape)
        hint = " Is the batch axis missing? Then pass x[None]." if missing else ""
        raise ValueError(
            f"Input {name!r} has the wrong shape. Received: {array.shape}; expected: "
            f"{('batch', *shape)}.{hint}"
        )
    return fitting


def _fits(given: tuple, shape: tuple) -> bool:
    return len(given) == len(shape) and all(
        size in (None, n) for size, n in zip(shape, given, strict=True)
    )


def _rank(x: Any) -> int:
    """The number of axes of an array, a tensor, a symbolic one or nested lists."""
    return len(x.shape) if hasattr(x, "shape") else as_array("The input", x).ndim


def _with_axes_of(x: Any, array: np.ndarray) -> np.ndarray:
    """An array that `_fitting` has made of x, or a result of its shape, in the shape of x."""
    missing = _rank(x) - array.ndim
    return array[..., 0] if missing == -1 else array[..., None] if missing == 1 else array


def _check_whole(name: str, array: np.ndarray) -> None:
    fractions = array[np.isfinite(array) & (array != np.trunc(array))]
    if fractions.size:
        raise ValueError(
            f"Input {name!r} takes whole numbers. Received: {fractions[:5]} ... Round them as they "
            "are meant."
        )


def _stateful_layer(graph: Graph) -> str | None:
    """The name of a layer that starts from the states that the call before has left, if any."""
    layers = (layer for step in graph.steps for layer in layers_within(step.operation))
    return next((layer.name for layer in layers if getattr(layer, "stateful", False)), None)


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
        raise ValueError(
            f"Input {name!r} holds the token {array[wrong][0]} in sample "
            f"{_samples(wrong, offset)}, and "
            f"its embedding knows the tokens 0 to {size - 1}. Replace it, or enlarge input_dim."
        )


def _check_finite(name: str, array: np.ndarray, offset: int) -> None:
    if array.dtype.kind not in "fV":
        return
    finite = np.isfinite(array.astype("float64") if array.dtype.kind == "V" else array)
    if not finite.all():
        raise ValueError(
            f"Input {name!r} holds NaN or infinite values in sample {_samples(~finite, offset)}: "
            "an explanation of them would be meaningless. Remove or repair these samples."
        )


def _check_range(name: str, array: np.ndarray, tensor: keras.KerasTensor, offset: int) -> None:
    """Whether finite numbers stay finite in the type that the model takes."""
    if not is_float(tensor) or array.dtype == tensor.dtype:
        return
    with np.errstate(over="ignore"):
        beyond = ~np.isfinite(array.astype(tensor.dtype, copy=False))
    if beyond.any():
        raise ValueError(
            f"Input {name!r} holds numbers that {tensor.dtype}, in which the model takes it, "
            f"cannot hold, in sample {_samples(beyond, offset)}. Scale the data."
        )


def _samples(which: np.ndarray, offset: int) -> str:
    """The numbers of the samples with an entry that is true, as text."""
    found = np.flatnonzero(which.any(axis=tuple(range(1, which.ndim)))) + offset
    return ", ".join(map(str, found[:10])) + (" ..." if len(found) > 10 else "")
