"""The samples of an evaluation, and the output of the model that is watched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from innvestigate.backend import jit_compile
from innvestigate.utils.arguments import as_array, check_kind
from innvestigate.utils.batching import Progress
from innvestigate.utils.words import shown


@dataclass(frozen=True)
class Subject:
    """A batch of samples with one explained output neuron each.

    Attributes:
        x: The samples, `(n, *shape)`.
        neuron: The explained neuron of each, as an index into the flattened output, `(n,)`.
        output: The value of that neuron at each sample, `(n,)`.
        numbers: The number of each sample in the whole data, `(n,)`.
        forward: Maps rows of inputs to the model's output, flattened.
        batch_size: Rows that are run at a time.
        seed: Seed of everything random; a sample's draws depend on it and its number alone.
        progress: The part of the progress bar that a metric fills.
        relevance: What a method says of the samples, `(n, *shape)`; None before one is asked.
        method: The method; None before one is asked.
    """

    x: np.ndarray
    neuron: np.ndarray
    output: np.ndarray
    numbers: np.ndarray
    forward: Forward
    batch_size: int
    seed: int
    progress: Progress = field(default_factory=lambda: Progress(None))
    relevance: Any = None
    method: Any = None

    def __len__(self) -> int:
        return len(self.x)

    def random(self, sample: int, *purpose: int) -> np.random.Generator:
        """A generator for one sample of the batch, the same whatever the batch."""
        return np.random.default_rng((self.seed, int(self.numbers[sample]), *purpose))

    def chunks(self, count: int) -> Iterator[range]:
        """Numbers of variants, of so many at a time that `batch_size` rows are run.

        Chunks are as even as can be, as models are compiled for each size. The progress bar fills
        as they are done.
        """
        at_once = max(1, self.batch_size // len(self))
        edges = np.linspace(0, count, -(-count // at_once) + 1).astype(int).tolist()
        for start, end in pairwise(edges):
            yield range(start, end)
            self.progress.part(start, end, count).finish()

    def parts(self, count: int) -> Iterator[Subject]:
        """The same subject for each of so many tasks, which fill the progress bar in turn."""
        for i in range(count):
            yield replace(self, progress=self.progress.part(i, i + 1, count))

    def explain(self, analyzer: Any, variants: np.ndarray | None = None) -> np.ndarray:
        """What an analyzer says of the samples' neurons.

        Args:
            analyzer: The analyzer, which takes neurons.
            variants: Variants of the samples, `(k, n, *shape)`; by default the samples themselves.

        Returns:
            The relevance, in the shape of the variants.
        """
        variants = self.x[None] if variants is None else variants
        rows = variants.reshape(-1, *self.x.shape[1:])
        neuron = np.tile(self.neuron, len(variants))
        found = self.method.ask(analyzer, rows, neuron, self.forward.output_shape)
        return found.reshape(variants.shape)

    def outputs(self, variants: np.ndarray) -> np.ndarray:
        """The explained output at variants of the samples.

        Args:
            variants: `(k, n, *shape)`.

        Returns:
            `(k, n)`, in float64.
        """
        found = self._rows(variants)[:, np.arange(len(self)), self.neuron]
        return found.astype("float64")

    def is_largest(self, variants: np.ndarray) -> np.ndarray:
        """Whether the class of the explained neuron is found at variants of the samples.

        It is where the neuron is the largest output along the last axis, at its own place: of the
        classes of its pixel or token, where each has an output. Of several labels that hold side
        by side it is the one with the largest output, above one half or not.

        Args:
            variants: `(k, n, *shape)`.

        Returns:
            `(k, n)`, of booleans.

        Raises:
            ValueError: If there is one output only, or one at each place.
        """
        rows = self._rows(variants)
        classes = self.forward.output_shape[-1] if self.forward.output_shape else 1
        if classes < 2:
            raise ValueError(
                "Which output is the largest is no question for a model with one output, or one "
                "at each place. Use a metric that follows the output, such as RegionPerturbation "
                "or Deletion."
            )
        place, wanted = np.divmod(self.neuron, classes)
        by_place = rows.reshape(*rows.shape[:2], -1, classes)
        return by_place[:, np.arange(len(self)), place].argmax(axis=-1) == wanted

    def _rows(self, variants: np.ndarray) -> np.ndarray:
        """The whole output at variants, `(k, n, neurons)`."""
        rows = self.forward(variants.reshape(-1, *self.x.shape[1:]))
        return rows.reshape(*variants.shape[:2], -1)


class Forward:
    """A model's forward pass, compiled apart from the model, which keeps its own settings.

    Args:
        model: A built Keras model with one input and one output.
        batch_size: Rows that are run at a time.

    Attributes:
        output_shape: Shape of a sample's output, known after the first call.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it has several inputs or outputs.
    """

    def __init__(self, model: keras.Model, batch_size: int):
        check_kind("model", model, keras.Model, "a Keras model")
        for what in ("inputs", "outputs"):
            tensors = getattr(model, what, None) or [None]
            if len(tensors) > 1:
                raise ValueError(
                    f"evaluate follows one output under changes of one input. Received: a model "
                    f"with {len(tensors)} {what}. Wrap it in a model of one input and one output."
                )
        self._batch_size, self._model = batch_size, Inference(model)
        self._model.compile(jit_compile=jit_compile)
        self.output_shape: tuple = ()
        inputs = getattr(model, "inputs", None)
        self._sample_shape = None if not inputs else tuple(inputs[0].shape[1:])

    def check(self, x: np.ndarray) -> np.ndarray:
        """Samples, if the model takes their shape; as for `predict`, a last axis of one may differ.

        Raises:
            ValueError: If it does not.
        """
        expected = self._sample_shape
        if expected is not None and not _fits(x.shape[1:], expected):
            raise ValueError(
                f"The model takes samples of the shape {expected}. Received: {x.shape[1:]}."
            )
        return x

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """The flattened output of each row, `(rows, neurons)`."""
        starts = range(0, len(rows), self._batch_size)
        found = [self._model.predict_on_batch(rows[i : i + self._batch_size]) for i in starts]
        if not isinstance(found[0], np.ndarray):
            raise ValueError(
                "evaluate follows one output. Received: a model that returns "
                f"{type(found[0]).__name__}. Wrap it in a model with one output."
            )
        self.output_shape = found[0].shape[1:]
        return np.concatenate(found).reshape(len(rows), -1)


def _fits(given: tuple, expected: tuple) -> bool:
    """Whether sizes are those expected, of which None is any, but for a last axis of one."""
    short, wanted = (shape[:-1] if shape[-1:] == (1,) else shape for shape in (given, expected))
    pairs = ((given, expected), (short, wanted))
    return any(
        len(a) == len(b) and all(size in (None, n) for n, size in zip(a, b, strict=True))
        for a, b in pairs
    )


class Inference(keras.Model):
    """Runs a model as it predicts."""

    def __init__(self, model: keras.Model):
        super().__init__(name="inference", dtype=model.dtype_policy, autocast=False)
        self.model = model

    def call(self, x):
        """The model's output."""
        return self.model(x, training=False)


def flat_neuron(neuron: Any, shape: tuple, offset: int, count: int) -> np.ndarray:
    """What the user gave as `neuron`, as indices into the flattened output, for a batch.

    Args:
        neuron: An index, a tuple of indices for outputs with several axes, or one of these for
            each sample of the whole data.
        shape: Shape of a sample's output.
        offset: Samples before the batch.
        count: Samples in the batch.

    Raises:
        ValueError: If it does not fit the output or the data.
    """
    index = as_array("neuron", neuron)
    rank = len(shape)
    one = index.ndim == 0 or (index.shape == (rank,) and isinstance(neuron, tuple))
    index = index.reshape(1, -1) if one else index.reshape(len(index), -1)
    if index.dtype.kind not in "iu" or index.shape[1] != rank:
        raise ValueError(
            f"neuron must be an index into the output of shape {shape} (a tuple of {rank} for "
            f"outputs with {rank} axes), or one for each sample. Received: {shown(neuron)}."
        )
    if not one:
        index = index[offset : offset + count]
    if np.any(index < 0) or np.any(index >= shape):
        raise ValueError(f"neuron is out of range for outputs of shape {shape}: {neuron!r}.")
    if not one and len(index) != count:
        raise ValueError(
            f"neuron holds {len(neuron)} entries, and there are more samples. Expected: one for "
            "each sample, or one for all."
        )
    return np.broadcast_to(np.ravel_multi_index(tuple(index.T), shape), (count,))
