"""What methods share that replace features of the input and watch the output."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.groups import Groups
from innvestigate.engine.references import References, picked
from innvestigate.engine.variants import VariantsAnalyzer
from innvestigate.graph.run import float_type
from innvestigate.graph.task import Task, input_name
from innvestigate.utils.batching import Progress
from innvestigate.utils.features import Features


class PerturbationAnalyzer(VariantsAnalyzer):
    """Base of analyzers that replace features of the input.

    Args:
        model: See `Analyzer`.
        reference_inputs: What features are replaced by, in any form of `References`.
        **kwargs: See `Analyzer`.

    Attributes:
        references: What features are replaced by.
        float: The floating point type of the results.
    """

    def __init__(self, model, reference_inputs, **kwargs):
        super().__init__(model, **kwargs)
        self.references = References(reference_inputs, self.input_spec)

    def check_model(self, task: Task) -> None:
        self.refuse_hidden_layers("features of the input are replaced.")
        self.float = float_type(task.graph)

    def check_count(self, count: int | None) -> None:
        self.references.check_count(count)

    def at_references(self, batch: Batch, references: list[np.ndarray]) -> np.ndarray:
        """The explained output at each reference of every row, `(n, rows)`."""
        found = []
        for which, rows in expand(replace(batch, progress=Progress(None)), references[0].shape[1]):
            inputs = [picked(r, which[:, None]) for r in references]
            found.append(fold(self.explained(inputs, rows.weights), len(which)))
        return np.concatenate(found)


class GroupsAnalyzer(PerturbationAnalyzer):
    """Base of analyzers that take groups of numbers away together.

    A subclass states `worths`.

    Args:
        model: See `Analyzer`.
        reference_inputs: What stands for a missing feature, in any form of `References`.
        groups: What is one feature, in any form of `Groups`. By default every number is.
        sampling_axes: See `ShapleySampling`.
        **kwargs: See `Analyzer`.

    Attributes:
        groups: What is one feature.
    """

    def __init__(self, model, reference_inputs, groups, sampling_axes=None, **kwargs):
        super().__init__(model, reference_inputs, **kwargs)
        self.groups = Groups(groups, self.input_spec, sampling_axes)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        parts = self.groups.of(batch)
        found: dict[str, np.ndarray] = {}
        for i, (rows, features) in enumerate(parts):
            part = batch.of(rows, batch.progress.part(i, i + 1, len(parts)))
            game = Game(part, self.references.of(part), features, self.explained)
            for kind, values in self.worths(game).items():
                for j, entries in enumerate(features.shared(values)):
                    shape = (len(batch), *entries.shape[1:])
                    name = f"{kind}{input_name(j)}"
                    found.setdefault(name, np.empty(shape, self.float))[rows] = entries
        return found

    @abstractmethod
    def worths(self, game: Game) -> dict[str, np.ndarray]:
        """What each feature is worth, `(rows, features)`, by what stands before an input's name.

        The result itself stands under `""`.
        """


@dataclass(frozen=True)
class Game:
    """The explained output as a function of which features of a sample are present.

    Attributes:
        batch: The samples, with as many features each.
        references: What stands for missing features, for each input `(rows, n, *shape)`.
        features: The features.
        explained: Maps inputs and weights of outputs to the explained output of every row.
    """

    batch: Batch
    references: list[np.ndarray]
    features: Features
    explained: Callable[[list, Any], np.ndarray]

    @property
    def count(self) -> int:
        """The number of references of a sample."""
        return self.references[0].shape[1]

    def whole(self) -> np.ndarray:
        """The explained output at the samples, `(rows,)`."""
        return self.explained(self.batch.inputs, self.batch.weights)

    def at(self, present: np.ndarray, which: np.ndarray, rows: Batch) -> np.ndarray:
        """The explained output where some features are those of a reference, `(k, rows)`.

        Args:
            present: Which features are the sample's own, `(k, features)`.
            which: The number of the reference that the others are of, `(k,)`.
            rows: The samples k times over, as `expand` yields them.
        """
        inputs = [
            _mixed(x, picked(r, which[:, None]), present[:, label])
            for x, r, label in zip(
                self.batch.inputs, self.references, self.features.labels, strict=True
            )
        ]
        return fold(self.explained(inputs, rows.weights), len(which))

    def means(self, count: int, present: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """The explained output for many sets of features, on average over the references.

        Args:
            count: How many sets there are.
            present: Maps numbers of sets, `(k,)`, to which features are in them, `(k, features)`.

        Returns:
            `(count, rows)`.
        """
        found = np.zeros((count, len(self.batch)))
        for numbers, rows in expand(self.batch, count * self.count):
            sets, which = np.divmod(numbers, self.count)
            np.add.at(found, sets, self.at(present(sets), which, rows) / self.count)
        return found


def _mixed(x: np.ndarray, references: np.ndarray, present: np.ndarray) -> np.ndarray:
    """k times the rows of x, with references where a feature is not present.

    Args:
        x: The samples, `(rows, *shape)`.
        references: `(k * rows, *shape)`, all rows for the first of the k, then for the next.
        present: Which features are present, `(k, rows or 1, *shape)`.
    """
    mixed = np.where(present, x[None], fold(references, len(present)))
    return mixed.reshape(references.shape)
