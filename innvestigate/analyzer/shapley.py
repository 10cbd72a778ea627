"""Shapley values, estimated from random orders of the features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from innvestigate.analyzer.perturbation import PerturbationAnalyzer
from innvestigate.engine.batch import Batch, Moments, expand, fold
from innvestigate.engine.ledger import Books
from innvestigate.engine.references import picked
from innvestigate.graph.task import EXPLAINED
from innvestigate.utils.arguments import as_array, check_seed, check_whole, seed_or_fresh
from innvestigate.utils.batching import Progress
from innvestigate.utils.words import shown


class ShapleySampling(PerturbationAnalyzer):
    """Shapley values, estimated from random orders of the features.

    Features of the reference are replaced by the sample's one by one, in a random order; each is
    credited with the change of the explained output. R_i is the mean credit over all orders.
    Each order is walked in its reverse too, which lowers the variance. For each order the credits
    add up to the difference of the output at the sample and at its reference, so R does. The
    orders are the same for all samples.

    Args:
        model: See `Analyzer`. Only its forward pass is needed, `samples` times the number of
            features times for each sample and reference.
        reference_inputs: What stands for a missing feature, in any form of `References`; of
            several for a sample the mean is taken. A token input's is a token.
        samples: How many orders there are, an even number: each comes with its reverse.
        groups: Integer labels that broadcast to a sample's shape: what shares a label, also
            across inputs, is one feature, and shares its value evenly. A list or dict of these
            for several inputs. By default every number is a feature.
        sampling_axes: Instead of groups: the axes of x whose entries are features (0 is the batch
            axis); along the other axes they are grouped. `(1, 2)` makes pixels the features of
            images with channels. For several inputs it holds for each, or a list or dict has one
            for each; features of different inputs are never grouped.
        seed: Seed of the orders; None for other orders each time.
        **kwargs: See `Analyzer`.

    Attributes:
        standard_error: The standard error of the last result, in its structure: the deviation of
            the pairs of an order and its reverse, over the square root of their number. NaN for
            a single pair.

    Raises:
        ValueError: If an argument does not fit the input, both `groups` and `sampling_axes` are
            given, or hidden layers are asked for.

    Reference: Castro et al. 2009, "Polynomial calculation of the Shapley value based on sampling",
    section 3; Mitchell et al. 2022, "Sampling Permutations for Shapley Value Estimation", section
    2.4 (antithetic pairs).
    """

    adds_up_to = "change"

    def __init__(
        self,
        model,
        reference_inputs=0,
        samples: int = 32,
        groups=None,
        sampling_axes=None,
        seed: int | None = None,
        **kwargs,
    ):
        samples = check_whole("samples", samples, 2)
        if samples % 2:
            raise ValueError(
                f"samples must be even, as each order comes with its reverse. Received: {samples}."
            )
        if groups is not None and sampling_axes is not None:
            raise ValueError("Pass either groups or sampling_axes. Received: both.")
        self._pairs, self._seed = samples // 2, check_seed(seed)
        self.standard_error = None
        super().__init__(model, reference_inputs, **kwargs)
        self._groups = self.input_spec.each(groups, "groups")
        self._axes = self.input_spec.each(sampling_axes, "sampling_axes")
        shapes = [tuple(t.shape[1:]) for t in self.input_spec.tensors]
        if not any(None in shape for shape in shapes):
            self._labels(shapes)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        references = self._references.of(batch)
        labels, sizes = self._labels([x.shape[1:] for x in batch.inputs])
        walks = Walks(references[0].shape[1], len(sizes), seed_or_fresh(self._seed))
        starts = self._at_references(batch, references)
        if not np.all(np.isfinite(starts)):
            raise ValueError(
                "The model's output at reference_inputs is not finite: it has no value when all "
                "features are missing (as where all tokens are masked). Choose another reference."
            )
        moments, credit, last = Moments(), np.zeros((len(batch), len(sizes))), None
        for numbers, rows in expand(batch, self._pairs * walks.pair):
            which, position, feature, present = walks.at(numbers)
            inputs = [
                _mixed(x, picked(r, which[:, None]), present[:, label])
                for x, r, label in zip(batch.inputs, references, labels, strict=True)
            ]
            values = fold(self._explained(inputs, rows.weights), len(numbers))
            for k, number in enumerate(numbers):
                last = starts[which[k]] if position[k] == 0 else last
                credit[:, feature[k]] += values[k] - last
                last = values[k]
                if (number + 1) % walks.pair == 0:
                    moments.add(credit[None] * (len(sizes) / walks.pair))
                    credit[:] = 0
        with np.errstate(invalid="ignore"):
            error = np.sqrt(moments.variance / (moments.count - 1))
        errors = self._at_entries(error / sizes, labels)
        means = self._at_entries(moments.mean / sizes, labels)
        return means | {f"error of {name}": y for name, y in errors.items()}

    def booked(self, batch: Batch, books: Books) -> dict[str, np.ndarray]:
        starts = self._at_references(batch, self._references.of(batch))
        change = self._explained(batch.inputs, batch.weights) - starts.mean(axis=0)
        return self.explain(batch) | {EXPLAINED: change}

    def _at_entries(self, values: np.ndarray, labels: list) -> dict[str, np.ndarray]:
        """Values of features `(rows, features)` at the entries of each input."""
        return {f"input:{i}": values[:, x].astype(self._dtype) for i, x in enumerate(labels)}

    def restore(self, results: dict, batch: Any) -> Any:
        errors = {name: results.pop(f"error of {name}") for name in self.task.targets}
        return [super(ShapleySampling, self).restore(y, batch) for y in (results, errors)]

    def finished(self, result: Any, offset: int = 0) -> Any:
        result, self.standard_error = result
        return super().finished(result, offset)

    def _at_references(self, batch: Batch, references: list) -> np.ndarray:
        """The explained output at each reference, `(n, rows)`."""
        values = []
        for which, rows in expand(replace(batch, progress=Progress(None)), references[0].shape[1]):
            inputs = [picked(r, which[:, None]) for r in references]
            values.append(fold(self._explained(inputs, rows.weights), len(which)))
        return np.concatenate(values)

    def _labels(self, shapes: list[tuple]) -> tuple[list[np.ndarray], np.ndarray]:
        """The number of the feature that each entry of a sample belongs to, and their sizes."""
        labels, count = [], 0
        given = zip(self.input_spec.names, shapes, self._groups, self._axes, strict=True)
        for name, shape, groups, axes in given:
            if groups is None:
                label = count + _features(name, shape, axes)
                count = label.max() + 1
            else:
                label = _group_labels(name, shape, groups)
                count = max(count, label.max() + 1)
            labels.append(label)
        flat = np.concatenate([label.reshape(-1) for label in labels])
        _, flat, sizes = np.unique(flat, return_inverse=True, return_counts=True)
        ends = np.cumsum([label.size for label in labels])
        parts = np.split(flat, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)], sizes


@dataclass(frozen=True)
class Walks:
    """Steps from references to a sample, by random orders of the features and their reverses.

    Steps are numbered by order, then reference, direction and position.

    Attributes:
        references: The number of references.
        features: The number of features.
        seed: Seed of the orders.
    """

    references: int
    features: int
    seed: int

    @property
    def pair(self) -> int:
        """How many steps an order and its reverse take, over all references."""
        return self.references * 2 * self.features

    def at(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Some steps: reference, position, the feature added, and which ones are present then.

        Args:
            numbers: The numbers of k steps.

        Returns:
            Three integer arrays `(k,)` and a boolean one `(k, features)`.
        """
        pairs, steps = np.divmod(numbers, self.pair)
        shape = (self.references, 2, self.features)
        which, backward, position = np.unravel_index(steps, shape)
        orders = {
            pair: np.random.default_rng((self.seed, pair)).permutation(self.features)
            for pair in np.unique(pairs)
        }
        feature = np.empty(len(numbers), int)
        present = np.zeros((len(numbers), self.features), bool)
        for k, (pair, back, end) in enumerate(zip(pairs, backward, position, strict=True)):
            order = orders[pair][::-1] if back else orders[pair]
            feature[k] = order[end]
            present[k, order[: end + 1]] = True
        return which, position, feature, present


def _mixed(x: np.ndarray, references: np.ndarray, present: np.ndarray) -> np.ndarray:
    """k times the rows of x, with references where a feature is not present.

    Args:
        x: The samples, `(rows, *shape)`.
        references: `(k * rows, *shape)`, all rows for the first of the k, then for the next.
        present: Which features are present, `(k, *shape)`.
    """
    mixed = np.where(present[:, None], x[None], fold(references, len(present)))
    return mixed.reshape(references.shape)


def _features(name: str, shape: tuple, axes: Any) -> np.ndarray:
    """Labels that count the entries along some axes (all for None), the batch axis being 0."""
    known = range(1, len(shape) + 1)
    given = np.atleast_1d(as_array("sampling_axes", known if axes is None else axes))
    whole = given.ndim == 1 and given.dtype.kind in "iu" and given.size
    if not whole or len(np.unique(given)) < len(given) or not np.isin(given, known).all():
        raise ValueError(
            f"sampling_axes must be axes of the input {name!r}, each once, from 1 to "
            f"{len(shape)}; axis 0 is the batch. Received: {shown(axes)}."
        )
    sizes = [size if axis in given else 1 for axis, size in enumerate(shape, 1)]
    return np.broadcast_to(np.arange(prod(sizes)).reshape(sizes), shape)


def _group_labels(name: str, shape: tuple, groups: Any) -> np.ndarray:
    """The label of every entry of a sample."""
    labels = as_array("groups", groups)
    if labels.dtype.kind not in "iub":
        raise ValueError(
            f"groups must be integer labels. Received for the input {name!r}: {shown(groups)}."
        )
    try:
        return np.broadcast_to(labels, shape)
    except ValueError:
        raise ValueError(
            f"groups of the shape {labels.shape} do not broadcast to the input {name!r}, whose "
            f"samples have the shape {shape}."
        ) from None
