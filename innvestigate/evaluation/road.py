"""ROAD: region perturbation that does not betray which places it has removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from innvestigate.evaluation.curves import CurvesMetric
from innvestigate.evaluation.imputation import imputed
from innvestigate.evaluation.regions import ORDERS, Regions
from innvestigate.evaluation.replacement import need_floats
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import check_array, check_choices, check_number, settle
from innvestigate.utils.words import shown

_IMPUTED = 5  # the stream of random numbers that is added to what is imputed


@dataclass(frozen=True)
class Road(CurvesMetric):
    """ROAD, remove and debias: how often the class is still found without the relevant places.

    A fraction of the places (pixels, points in time) is removed in the order of their relevance,
    summed over the last axis. Each of them becomes the weighted mean of its neighbours, removed
    ones too, and noise N(0, `noise`²): a system of linear equations for each sample and fraction,
    which SciPy solves (`pip install 'innvestigate[evaluation]'`). So the shape of what is removed
    cannot be seen, which the network might read the class from. The curve is the accuracy: whether
    the class is found, on average over samples. The number of a sample is the mean over the
    fractions.

    A class is found where the explained neuron is the largest output along the last axis: of a
    model with outputs for each pixel or token, the largest at the neuron's own. Of labels that hold
    side by side, each with a sigmoid, only the one with the largest output counts as found, whether
    or not it exceeds one half.

    With the most relevant places first, `road_most_relevant`, a good heatmap has a small one; with
    the least relevant first, `road_least_relevant`, a large one. Both must be compared with
    `road_random`. To explain the label of each sample, rather than what the network says, pass it
    as `neuron` of `evaluate`.

    Neighbours of an image are the eight around a pixel, those at the corner with half the weight.
    Along d axes they are the 3ᵈ - 1 places around one, with the weight 1/k if k axes differ.

    Args:
        fractions: Which fractions of the places are removed, rising, in (0, 1). Their numbers are
            rounded down; a fraction of less than one place is refused.
        noise: Standard deviation of the noise, in units of the input.
        orders: Out of `"most_relevant"`, `"least_relevant"` (first) and `"random"`, which is that
            of the method `"random order"`.

    Reference: Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution
    Methods", section 4.
    """

    fractions: tuple = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    noise: float = 0.01
    orders: tuple = ORDERS

    name: ClassVar[str] = "road"

    def __post_init__(self):
        settle(
            self,
            fractions=_as_fractions(self.fractions),
            noise=check_number("noise", self.noise, least=0),
            orders=check_choices("orders", self.orders, ORDERS),
        )

    def fractions_at(self, shape: tuple) -> np.ndarray:
        """The fractions of the places that are removed, none of them first."""
        return np.array([0, *self.fractions])

    def curves(self, subject: Subject, orders: list[str]) -> dict[str, np.ndarray]:
        need_floats(subject.x, "ROAD")
        if subject.x.ndim < 3:
            raise ValueError(
                "ROAD needs samples with neighbouring places, such as images. Received: samples "
                f"of the shape {subject.x.shape[1:]}, which has no axis but the last."
            )
        pixels, found = Regions.fitting(subject.x.shape[1:], 1), {}
        for order, part in zip(orders, subject.parts(len(orders)), strict=True):
            found[order] = self._curve(part, pixels, pixels.ranks(part, order))
            found[f"road_{order}"] = found[order][:, 1:].mean(axis=1)
        return found

    def _curve(self, subject: Subject, pixels: Regions, ranks: np.ndarray) -> np.ndarray:
        places, removed = ranks[:, pixels.labels[..., 0]], self._counts(len(pixels))
        found = [subject.is_largest(subject.x[None])]
        for chunk in subject.chunks(len(self.fractions)):
            variants = [self._without(subject, places < removed[k]) for k in chunk]
            found.append(subject.is_largest(np.stack(variants)))
        return np.concatenate(found).T.astype("float64")

    def _counts(self, places: int) -> list[int]:
        """How many places each fraction is, rounded down."""
        counts = [int(fraction * places + 1e-6) for fraction in self.fractions]
        if counts[0] < 1:
            raise ValueError(
                f"Of {places} places the fraction {self.fractions[0]:g} is none: nothing would be "
                f"removed. Choose fractions of at least 1/{places}."
            )
        return counts

    def _without(self, subject: Subject, removed: np.ndarray) -> np.ndarray:
        """The samples without some places, `(n, *shape)`, in their type."""
        shape = subject.x.shape[1:]
        noise = [
            subject.random(i, _IMPUTED, int(gone.sum())).normal(0, self.noise, shape)
            for i, gone in enumerate(removed)
        ]
        found = imputed(subject.x, removed) + removed[..., None] * np.stack(noise)
        return found.astype(subject.x.dtype)


def _as_fractions(given) -> tuple:
    values = check_array("fractions", given).reshape(-1)
    if np.any(values <= 0) or np.any(values >= 1) or np.any(np.diff(values) <= 0):
        raise ValueError(f"fractions must rise, and be in (0, 1). Received: {shown(given)}.")
    return tuple(values.tolist())
