"""How much relevance changes when the input hardly does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from innvestigate.evaluation.metric import Metric
from innvestigate.evaluation.replacement import need_floats
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import check_flags, check_number, check_whole, settle

_NEIGHBOURS = 4  # the stream of random numbers that moves samples


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    """Max-sensitivity: the largest change of the relevance near the sample.

    max ‖R(y) - R(x)‖₂ / ‖R(x)‖₂ over random y with |yᵢ - xᵢ| <= `radius`, each explained for the
    neuron of x. Small values are good, but a method that says the same of every input has 0.

    Args:
        radius: How far features are moved at most, in units of the input.
        draws: How many neighbours there are for each sample: each is explained anew.
        normalize: Whether to divide by ‖R(x)‖₂, so that methods of different scale can be
            compared; where that is 0, a change is infinitely large.

    Reference: Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", section 3.
    """

    radius: float = 0.1
    draws: int = 10
    normalize: bool = True

    def __post_init__(self):
        radius, draws = check_number("radius", self.radius, above=0), self.draws
        settle(self, radius=radius, draws=check_whole("draws", draws, 1))
        check_flags(normalize=self.normalize)

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The sensitivity for each sample."""
        need_floats(subject.x, "Max-sensitivity")
        analyzer = subject.method.fixed()
        largest = np.zeros(len(subject))
        for chunk in subject.chunks(self.draws):
            moved = subject.explain(analyzer, self._neighbours(subject, chunk))
            change = moved.astype("float64") - subject.relevance
            largest = np.maximum(largest, _norms(change).max(axis=0))
        if self.normalize:
            norms = _norms(subject.relevance[None].astype("float64"))[0]
            with np.errstate(divide="ignore", invalid="ignore"):
                largest = np.where(largest > 0, largest / norms, 0)
        return {"max_sensitivity": largest}

    def _neighbours(self, subject: Subject, draws: range) -> np.ndarray:
        def move(i: int, draw: int) -> np.ndarray:
            random = subject.random(i, _NEIGHBOURS, draw)
            return random.uniform(-self.radius, self.radius, subject.x.shape[1:])

        moves = [[move(i, draw) for i in range(len(subject))] for draw in draws]
        return (subject.x + np.array(moves)).astype(subject.x.dtype)


def _norms(values: np.ndarray) -> np.ndarray:
    """Euclidean norms of `(k, n, *shape)` over the features, `(k, n)`."""
    return np.sqrt((values.reshape(*values.shape[:2], -1) ** 2).sum(axis=2))
