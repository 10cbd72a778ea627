"""Metrics that compare relevance with what the output really does when features are removed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from innvestigate.evaluation.metric import Metric, correlation
from innvestigate.evaluation.regions import Regions, check_region_shape, region_sizes
from innvestigate.evaluation.replacement import (
    check_perturbation,
    need_floats,
    replacement,
)
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import (
    check_choice,
    check_flags,
    check_number,
    check_whole,
    settle,
)

KINDS = ("removal", "noise")
_SUBSETS, _PERTURBATIONS = 2, 3  # streams of random numbers


@dataclass(frozen=True)
class SensitivityN(Metric):
    """Sensitivity-n: does the relevance of n features predict what their removal costs?

    Pearson's correlation, over random sets S of n features, of Σ_{i ∈ S} Rᵢ and f(x) - f(x
    without S). It is 1 if the two are always proportional, as for input times gradient of a
    linear model; 0 where one of them does not vary.

    Args:
        n: How many features are removed; a tenth of them by default.
        subsets: How many sets there are for each sample.
        region_shape: What counts as a feature, see `RegionPerturbation`.
        perturbation: What features are replaced by, see `RegionPerturbation`.

    Reference: Ancona et al. 2018, "Towards better understanding of gradient-based attribution
    methods for deep neural networks", section 4.
    """

    n: int | None = None
    subsets: int = 100
    region_shape: int | tuple | None = None
    perturbation: str | float | np.ndarray | Callable[[np.ndarray], np.ndarray] = "zeros"

    def __post_init__(self):
        n, subsets = self.n, check_whole("subsets", self.subsets, 2)
        settle(self, n=None if n is None else check_whole("n", n, 1), subsets=subsets)
        check_region_shape(self.region_shape)
        check_perturbation(self.perturbation)

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The correlation for each sample."""
        regions = Regions.fitting(subject.x.shape[1:], self.region_shape)
        n = self._n(len(regions))
        values = replacement(self.perturbation, subject, regions)
        relevance = regions.sums(subject.relevance)
        credits, drops = [], []
        for chunk in subject.chunks(self.subsets):
            removed = _subsets(subject, chunk, len(regions), n)
            changed = np.where(removed[:, :, regions.labels], values, subject.x)
            drops.append(subject.output - subject.outputs(changed))
            credits.append((removed * relevance).sum(axis=2))
        return {"sensitivity_n": correlation(np.concatenate(credits).T, np.concatenate(drops).T)}

    def _n(self, features: int) -> int:
        n = max(1, features // 10) if self.n is None else self.n
        if n > features:
            raise ValueError(
                f"n is larger than the number of features. Received: n={n}; there are {features} "
                "(see region_shape)."
            )
        return n


def _subsets(subject: Subject, draws: range, features: int, n: int) -> np.ndarray:
    """Random sets of n features, as masks `(k, samples, features)`."""
    found = np.zeros((len(draws), len(subject), features), bool)
    for k, draw in enumerate(draws):
        for i in range(len(subject)):
            found[k, i, subject.random(i, _SUBSETS, draw).permutation(features)[:n]] = True
    return found


@dataclass(frozen=True)
class Infidelity(Metric):
    """Infidelity: the squared error of the relevance as a linear prediction of changes.

    E_I [(β Iᵀ R - (f(x) - f(x - I)))²] over random perturbations I. If the relevance is one of
    contributions, as x ⊙ gradient is, and not of slopes, as the gradient is, then what stands for
    Iᵀ R at the removal of a region is the sum of its relevance.

    Args:
        kind: `"removal"` of a region at a random place, or `"noise"`, I ~ N(0, `noise_scale`²).
        contributions: Whether the relevance is one of contributions: LRP, DeepLIFT, input times
            gradient, integrated gradients, occlusion, Shapley values; not gradient, SmoothGrad,
            guided backprop. Only slopes go with noise.
        normalize: Whether β is the factor that makes the error of a sample smallest, so that
            methods of different scale can be compared, or 1.
        draws: How many perturbations there are for each sample.
        region_shape: Shape of the removed region, see `RegionPerturbation`.
        perturbation: What it is replaced by, see `RegionPerturbation`.
        noise_scale: Standard deviation of the noise, in units of the input.

    Reference: Yeh et al. 2019, "On the (In)fidelity and Sensitivity of Explanations", section 2.
    """

    kind: str = "removal"
    contributions: bool = True
    normalize: bool = True
    draws: int = 100
    region_shape: int | tuple | None = None
    perturbation: str | float | np.ndarray | Callable[[np.ndarray], np.ndarray] = "zeros"
    noise_scale: float = 0.1

    def __post_init__(self):
        check_choice("kind", self.kind, KINDS)
        check_flags(contributions=self.contributions, normalize=self.normalize)
        if self.kind == "noise" and self.contributions:
            raise ValueError(
                "Noise goes with slopes. Received: kind='noise', contributions=True. Expected: "
                "contributions=False, or kind='removal'."
            )
        noise = check_number("noise_scale", self.noise_scale, above=0)
        draws = check_whole("draws", self.draws, 2 if self.normalize else 1)
        settle(self, noise_scale=noise, draws=draws)
        check_region_shape(self.region_shape)
        check_perturbation(self.perturbation)

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The infidelity for each sample."""
        if self.kind == "noise" or not self.contributions:
            need_floats(subject.x, "Infidelity of slopes")
        changes = self._noise if self.kind == "noise" else self._removal(subject)
        terms, changed_by = [], []
        for chunk in subject.chunks(self.draws):
            changed, products = changes(subject, chunk)
            changed_by.append(subject.output - subject.outputs(changed))
            terms.append(products.reshape(*products.shape[:2], -1).sum(axis=2))
        predicted, drops = np.concatenate(terms), np.concatenate(changed_by)
        if self.normalize:
            square = (predicted**2).sum(axis=0)
            product = (predicted * drops).sum(axis=0)
            predicted *= np.divide(product, square, out=np.zeros_like(square), where=square > 0)
        return {"infidelity": ((predicted - drops) ** 2).mean(axis=0)}

    def _noise(self, subject: Subject, draws: range) -> tuple[np.ndarray, np.ndarray]:
        """Noisy variants `(k, n, *shape)`, and the terms of Iᵀ R."""
        shape = subject.x.shape[1:]
        noise = np.stack(
            [
                [
                    subject.random(i, _PERTURBATIONS, draw).normal(0, self.noise_scale, shape)
                    for i in range(len(subject))
                ]
                for draw in draws
            ]
        )
        changed = (subject.x - noise).astype(subject.x.dtype)
        return changed, (subject.x.astype("float64") - changed) * subject.relevance

    def _removal(self, subject: Subject) -> Callable:
        """What makes variants with a region removed, and the terms of what predicts the drop."""
        shape = subject.x.shape[1:]
        sizes = region_sizes(shape, self.region_shape)
        values = replacement(self.perturbation, subject, Regions.fitting(shape, self.region_shape))
        terms = subject.relevance.astype("float64")
        if not self.contributions:
            terms = terms * (subject.x.astype("float64") - values)

        def changes(subject: Subject, draws: range) -> tuple[np.ndarray, np.ndarray]:
            mask = np.zeros((len(draws), *subject.x.shape), bool)
            for k, draw in enumerate(draws):
                for i in range(len(subject)):
                    random = subject.random(i, _PERTURBATIONS, draw)
                    starts = [random.integers(s - r + 1) for s, r in zip(shape, sizes, strict=True)]
                    mask[k, i][tuple(map(slice, starts, np.add(starts, sizes)))] = True
            return np.where(mask, values, subject.x), mask * terms

        return changes
