"""What one run of the model works on: samples, or many variants of a few samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from innvestigate.utils.batching import Progress


@dataclass(frozen=True)
class Batch:
    """Rows that are explained together.

    Attributes:
        inputs: The model's inputs, a flat list of arrays with one entry for each row.
        weights: The weights of the output neurons, `(rows, *output_shape)`; None where each row's
            largest output is to be explained.
        samples: Which sample of the call to `analyze` each row belongs to, `(rows,)`.
        limit: How many rows are run at a time.
        progress: The part of the progress bar that the batch fills.
        shares: How much of what arrives at hidden layers goes on, `(rows, ...)` by their names.
    """

    inputs: list[np.ndarray]
    weights: np.ndarray | None
    samples: np.ndarray
    limit: int
    progress: Progress
    shares: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.samples)

    def of(self, rows: np.ndarray, progress: Progress) -> Batch:
        """Some rows by their numbers, and the part of the progress bar that they fill."""
        return replace(
            self,
            inputs=[x[rows] for x in self.inputs],
            weights=None if self.weights is None else self.weights[rows],
            samples=self.samples[rows],
            progress=progress,
        )

    def repeat(self, count: int) -> Batch:
        """All rows `count` times over, one whole copy after the other."""
        return replace(
            self,
            inputs=[_repeat(x, count) for x in self.inputs],
            weights=None if self.weights is None else _repeat(self.weights, count),
            samples=_repeat(self.samples, count),
            shares={name: _repeat(share, count) for name, share in self.shares.items()},
        )


def expand(batch: Batch, count: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """The batch `count` times over, in pieces of at most `batch.limit` rows.

    Memory does not grow with `count`, as long as the caller reduces each piece at once.

    Args:
        batch: The rows to be multiplied.
        count: How many variants of each row there will be.

    Yields:
        The numbers of the variants, `(k,)`, out of 0 ... count - 1, and k copies of the batch one
        after the other. Arrays of results have the shape `(k * rows, ...)`; `(k, rows, ...)` after
        `fold(array, k)`.
    """
    at_once = max(1, batch.limit // len(batch))
    for start in range(0, count, at_once):
        variants = np.arange(start, min(start + at_once, count))
        progress = batch.progress.part(start, start + len(variants), count)
        yield variants, replace(batch.repeat(len(variants)), progress=progress)
        progress.finish()


def by_sample(batch: Batch, count: int, explain: Callable) -> dict[str, np.ndarray]:
    """The results of variants of each row, `count` rows for each row of the batch.

    Args:
        batch: The rows.
        count: How many variants of each there are.
        explain: Maps what `expand` yields to results by name.
    """
    pieces = [
        {name: fold(y, len(variants)) for name, y in explain(variants, rows).items()}
        for variants, rows in expand(batch, count)
    ]
    joined = {name: concatenated([piece[name] for piece in pieces]) for name in pieces[0]}
    return {name: y.swapaxes(0, 1).reshape(-1, *y.shape[2:]) for name, y in joined.items()}


def concatenated(arrays: list) -> Any:
    """Arrays one after the other; a single one, or None, as it is."""
    return arrays[0] if len(arrays) == 1 or arrays[0] is None else np.concatenate(arrays)


def fold(array: np.ndarray, count: int) -> np.ndarray:
    """Results of `expand`ed rows as `(count, rows, ...)`."""
    return array.reshape(count, len(array) // count, *array.shape[1:])


def _repeat(array: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([array] * count) if count > 1 else array


class Moments:
    """Mean and variance of arrays that arrive in pieces, in float64."""

    def __init__(self):
        self.count = 0
        self.mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, values: np.ndarray) -> None:
        """Take in values along the first axis."""
        mean = values.mean(axis=0, dtype="float64")
        self._squares += np.square(values - mean).sum(axis=0)
        self._squares += np.square(mean - self.mean) * (
            self.count * len(values) / (self.count + len(values))
        )
        self.count += len(values)
        self.mean += (mean - self.mean) * (len(values) / self.count)

    @property
    def variance(self) -> np.ndarray:
        """The mean squared distance from the mean."""
        return self._squares / self.count
