"""One way through every form of input: arrays, lists, dicts, tf.data, PyDataset, generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from innvestigate.utils.arguments import check_whole


def is_dataset(x: Any) -> bool:
    """Whether x yields batches itself: a `tf.data.Dataset`, `PyDataset` or iterator."""
    arrays = isinstance(x, (np.ndarray, list, tuple, dict, str)) or hasattr(x, "__array__")
    return not arrays and (
        isinstance(x, keras.utils.PyDataset) or hasattr(x, "__iter__") or hasattr(x, "__next__")
    )


def batches(x: Any, batch_size: int) -> Iterator[Any]:
    """The input batch by batch, as numpy.

    Args:
        x: A structure of arrays with equal first dimensions, cut into batches of `batch_size`, or
            a data set that yields batches: inputs, or tuples that start with the inputs as Keras's
            `(inputs, targets)` do.
        batch_size: Samples per batch; data sets bring their own.
    """
    if is_dataset(x):
        items = (x[i] for i in range(len(x))) if isinstance(x, keras.utils.PyDataset) else x
        for item in items:
            inputs = item[0] if isinstance(item, tuple) else item
            yield tree.map_structure(_to_numpy, inputs)
        return
    count = len(tree.flatten(x)[0])
    for start in range(0, count, batch_size):
        yield tree.map_structure(lambda a: a[start : start + batch_size], x)  # noqa: B023


def count_batches(x: Any, batch_size: int) -> int | None:
    """How many batches `batches` will yield, or None if that is unknown."""
    if not is_dataset(x):
        return math.ceil(len(tree.flatten(x)[0]) / batch_size)
    try:
        return len(x)
    except TypeError:
        return None


class Progress:
    """A part of a progress bar, in hundredths of the work (batches where their number is unknown).

    Args:
        bar: The bar, or None for no bar.
        start: Where the part starts.
        end: Where it ends.
    """

    def __init__(self, bar: keras.utils.Progbar | None, start: float = 0, end: float = 0):
        self._bar, self._start, self._end = bar, start, end

    def part(self, start: int, end: int, count: int) -> Progress:
        """The pieces from `start` to `end`, out of `count` equal ones."""
        width = (self._end - self._start) / count
        return Progress(self._bar, self._start + start * width, self._start + end * width)

    def finish(self) -> None:
        """Fill the bar up to the end of this part."""
        if self._bar is not None:
            self._bar.update(int(self._end + 1e-6), finalize=False)


def map_batches(
    function: Callable[[Any, int, Progress], Any], x: Any, batch_size: int = 32, verbose: int = 0
) -> Any:
    """Apply a function to every batch and concatenate what it returns.

    Args:
        function: Maps `(batch, offset, progress)` to a structure of arrays; offset counts the
            samples before, progress is the batch's part of the bar.
        x: See `batches`.
        batch_size: Samples per batch.
        verbose: 1 shows a progress bar, 0 none.

    Returns:
        The structure that `function` returns, of concatenated arrays.

    Raises:
        TypeError: If `batch_size` is no whole number.
        ValueError: If there is no sample, `batch_size` is less than one, or `verbose` no number.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"batch_size must be a whole number. Received: {batch_size!r}.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}.")
    check_whole("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)
    count = count_batches(x, batch_size)
    bar = _bar(count) if verbose else None
    results, offset = [], 0
    for i, batch in enumerate(batches(x, batch_size)):
        progress = (
            Progress(bar, 100 * i / count, 100 * (i + 1) / count)
            if count
            else (Progress(bar, i, i + 1))
        )
        results.append(function(batch, offset, progress))
        offset += len(tree.flatten(batch)[0])
        progress.finish()
    if bar is not None:
        bar.update(100 if count else len(results), finalize=True)
    if not results:
        raise ValueError("The input holds no sample: nothing to analyze.")
    return tree.map_structure(lambda *parts: np.concatenate(parts), *results)


def _bar(count: int | None) -> keras.utils.Progbar:
    if count is None:
        return keras.utils.Progbar(None, unit_name="batch")
    return keras.utils.Progbar(100, unit_name="percent")


def _to_numpy(x: Any) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else keras.ops.convert_to_numpy(x)
