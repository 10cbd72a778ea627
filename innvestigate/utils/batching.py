"""One way through every form of input: arrays, lists, dicts, tf.data, PyDataset, generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from innvestigate.utils.arguments import check_whole, listed
from innvestigate.utils.words import shown


def is_dataset(x: Any) -> bool:
    """Whether x yields batches itself: a `tf.data.Dataset`, `PyDataset` or iterator."""
    if isinstance(x, keras.utils.PyDataset):
        return True
    return isinstance(x, Iterable) and not (isinstance(x, Collection) or hasattr(x, "__array__"))


def as_given(x: Any) -> Any:
    """The samples in one of the structures that are known here: mappings are dicts."""
    return dict(x) if isinstance(x, Mapping) else x


def batches(x: Any, batch_size: int) -> Iterator[Any]:
    """The input batch by batch, as numpy.

    Args:
        x: A structure of arrays with equal first dimensions, cut into batches of `batch_size`, or
            a data set that yields batches: inputs, or tuples that start with the inputs as Keras's
            `(inputs, targets)` do. Empty batches are passed over.
        batch_size: Samples per batch; data sets bring their own.
    """
    return (inputs for inputs, _ in labelled_batches(x, batch_size))


def labelled_batches(x: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    """As `batches`, each with what follows the inputs in its tuple; None if nothing does."""
    if is_dataset(x):
        for item in _items(x):
            if isinstance(item, tuple) and not item:
                raise ValueError("A batch of the data set is an empty tuple: it has no inputs.")
            given, labels, *_ = (*item, None) if isinstance(item, tuple) else (item, None)
            inputs = _to_numpy(as_given(given))
            if not _is_empty(inputs):
                yield inputs, _to_numpy(labels)
        return
    count = len(tree.flatten(x)[0])
    for start in range(0, count, batch_size):
        yield tree.map_structure(lambda a: a[start : start + batch_size], x), None  # noqa: B023


def count_batches(x: Any, batch_size: int) -> int | None:
    """How many batches `batches` will yield, or None if that is unknown."""
    if not is_dataset(x):
        return math.ceil(len(tree.flatten(x)[0]) / batch_size)
    try:
        return x.num_batches if isinstance(x, keras.utils.PyDataset) else len(x)
    except (NotImplementedError, TypeError):
        return None


def _items(x: Any) -> Iterator[Any]:
    """What a data set yields: a `PyDataset` all of its batches, if it says how many there are."""
    count = count_batches(x, 1)
    if not isinstance(x, keras.utils.PyDataset):
        return iter(x)
    if count is None:
        raise ValueError(
            f"The PyDataset {type(x).__name__} does not say how many batches it has. Expected: a "
            "property num_batches that is a number, or __len__."
        )
    return (x[i] for i in range(count))


def _is_empty(batch: Any) -> bool:
    """Whether all arrays of a batch are empty."""
    shapes = [x.shape for x in _leaves(batch) if isinstance(x, np.ndarray)]
    return bool(shapes) and all(shape[:1] == (0,) for shape in shapes)


def _size(batch: Any) -> int:
    """The number of samples of a batch of arrays, or of one in nested lists."""
    first = next(iter(_leaves(batch)), batch)
    if np.ndim(first):
        return len(first)
    return len(batch) if isinstance(batch, Collection) else 1  # which is refused where it is read


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


def check_batch_size(batch_size: Any) -> int:
    """The batch size as an int.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is less than one.
    """
    if not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"batch_size must be a whole number. Received: {shown(batch_size)}.")
    return check_whole("batch_size", batch_size, 1)


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

    def unlabelled(batch, _, offset, progress):
        return function(batch, offset, progress)

    return joined(list(each_batch(unlabelled, x, batch_size, verbose)))


def each_batch(
    function: Callable[[Any, Any, int, Progress], Any],
    x: Any,
    batch_size: int = 32,
    verbose: int = 0,
    done: int = 0,
) -> Iterator[Any]:
    """What a function returns for every batch, one after the other.

    Args:
        function: Maps `(batch, labels, offset, progress)` to anything; see `map_batches` and
            `labelled_batches`.
        x: See `batches`.
        batch_size: Samples per batch.
        verbose: 1 shows a progress bar, 0 none.
        done: How many samples are passed over: those of whole batches.

    Raises:
        TypeError: If `batch_size` is no whole number.
        ValueError: If there is no sample, `batch_size` is less than one, `verbose` no number, or
            no batch ends after the samples that are done.
    """
    batch_size = check_batch_size(batch_size)
    check_whole("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)
    return _each_batch(function, x, batch_size, verbose, done)


def _each_batch(function, x, batch_size, verbose, done) -> Iterator[Any]:
    count = count_batches(x, batch_size)
    bar = _bar(count) if verbose else None
    i = end = 0
    for i, (batch, labels) in enumerate(labelled_batches(x, batch_size), 1):
        part = (100 * (i - 1) / count, 100 * i / count) if count else (i - 1, i)
        progress, start, end = Progress(bar, *part), end, end + _size(batch)
        if start < done < end:
            raise ValueError(
                f"The first {done} samples are done, and a batch holds the samples {start} to "
                f"{end - 1}. Pass the data and the batch_size of before."
            )
        if start >= done:
            yield function(batch, labels, start, progress)
        progress.finish()
    if bar is not None:
        bar.update(100 if count else i, finalize=True)
    if not end:
        raise ValueError("The input holds no sample: nothing to analyze.")
    if end < done:
        raise ValueError(f"{done} samples are done, and the input holds {end} only.")


def joined(results: list) -> Any:
    """The results of all batches in one structure."""
    forms = {_form(result): result for result in results}
    if len(forms) > 1:
        raise ValueError(
            "The batches of a data set need one structure and one shape of samples, as their "
            f"results are joined. Received: {listed(forms)}. Analyze them one by one."
        )
    return tree.map_structure(lambda *parts: np.concatenate(parts), *results)


def _form(result: Any) -> str:
    """A structure of arrays and the shapes of their samples, as text."""
    return str(tree.map_structure(lambda x: str(("batch", *x.shape[1:])), result))


def _bar(count: int | None) -> keras.utils.Progbar:
    if count is None:
        return keras.utils.Progbar(None, unit_name="batch")
    return keras.utils.Progbar(100, unit_name="percent")


def _to_numpy(x: Any) -> Any:
    """Tensors as arrays; what else is in a batch is looked at where it is checked."""
    if isinstance(x, dict):
        return {key: _to_numpy(part) for key, part in x.items()}
    if type(x) in (list, tuple):
        return type(x)(map(_to_numpy, x))
    return keras.ops.convert_to_numpy(x) if keras.ops.is_tensor(x) else x


def _leaves(x: Any) -> list:
    """What is in a structure, in its own order: keys may be of any kind."""
    if not isinstance(x, (dict, list, tuple)):
        return [x]
    parts = x.values() if isinstance(x, dict) else x
    return [leaf for part in parts for leaf in _leaves(part)]
