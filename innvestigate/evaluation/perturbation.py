"""Region perturbation: how fast the output falls when what is relevant is replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from innvestigate.evaluation.curves import CurvesMetric
from innvestigate.evaluation.regions import ORDERS, Regions, check_region_shape
from innvestigate.evaluation.replacement import check_perturbation, replacement
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import check_array, check_choices, check_whole, settle
from innvestigate.utils.words import shown

STEPS = 20
"""In how many steps all is replaced, at most, if neither their number nor their size is given."""


@dataclass(frozen=True)
class RegionPerturbation(CurvesMetric):
    """Region perturbation (pixel flipping): replaces regions in the order of their relevance.

    With x⁽ᵏ⁾ the sample whose first k · `regions_per_step` regions are replaced, the curve is
    f(x⁽ᵏ⁾) for k = 0 ... `steps`, and the area over it

    AOPC = 1 / (steps + 1) Σₖ (f(x⁽⁰⁾) - f(x⁽ᵏ⁾))

    A good heatmap has a large AOPC with the most relevant regions first, and a small one with the
    least relevant first. The random order is what both must be compared with.

    The model runs `steps` times for each sample: twice for each method, once for the random order.
    By default that is 20 steps, so that an image costs 40 forward passes for each method and 20
    more, whatever its size. `RegionPerturbation(regions_per_step=1)` draws the finest curve, which
    takes as many steps as there are regions: 625 for an image of 224 × 224 pixels.

    Args:
        perturbation: What regions are replaced by: `"zeros"`; `"gaussian"` noise, N(0, 0.3²);
            `"mean"` of the region, for each channel; `"blur"`, the sample blurred along all axes
            but the last by a Gaussian of a standard deviation of 5, cut at 5 to each side;
            `"invert"`, the negative; a number (such as the id of a padding or unknown token) or an
            array that broadcasts to a sample; or a function of a batch of samples that returns one
            of these for each, `(n, *shape)`.
        region_shape: Features along the first axes of a region; it covers the other axes, such
            as channels, fully. A whole number holds for all axes but the last (for the only one,
            if there is one). By default 9 for images, 1 for sequences and tabular data.
        steps: How many steps there are; by default until all regions are replaced.
        regions_per_step: Regions replaced at each step; by default one if `steps` are given, else
            as many as replace all regions in at most 20 steps.
        orders: Which curves are drawn, of `"most_relevant"`, `"least_relevant"` (first) and
            `"random"`. The random one is drawn once, as that of the method `"random order"`.
        value_range: `(low, high)`: replaced values are clipped to it.

    Reference: Samek et al. 2017, "Evaluating the Visualization of What a Deep Neural Network Has
    Learned", section III.
    """

    perturbation: str | float | np.ndarray | Callable[[np.ndarray], np.ndarray] = "zeros"
    region_shape: int | tuple | None = None
    steps: int | None = None
    regions_per_step: int | None = None
    orders: tuple = ORDERS
    value_range: tuple | None = None

    name: ClassVar[str] = "region_perturbation"

    def __post_init__(self):
        check_perturbation(self.perturbation)
        check_region_shape(self.region_shape)
        settle(
            self,
            orders=check_choices("orders", self.orders, ORDERS),
            regions_per_step=_count("regions_per_step", self.regions_per_step),
            steps=_count("steps", self.steps),
            value_range=_range(self.value_range),
        )

    def fractions_at(self, shape: tuple) -> np.ndarray:
        """The fractions of the regions that are replaced."""
        return self._fractions(len(Regions.fitting(shape, self.region_shape)))

    def ends(self, x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a curve starts from, and what is put in its place.

        Args:
            x: The samples, `(n, *shape)`.
            values: What stands for features that are taken away, `(n, *shape)`.
        """
        return x, values

    def area(self, curves: np.ndarray, fraction: np.ndarray) -> dict[str, np.ndarray]:
        """The number that a curve is summed up by, `(n,)`, and its name.

        Args:
            curves: The output at each step, `(n, steps + 1)`.
            fraction: The fraction of the regions that each step has replaced, `(steps + 1,)`.
        """
        return {"aopc": aopc(curves)}

    def curves(self, subject: Subject, orders: list[str]) -> dict[str, np.ndarray]:
        regions = Regions.fitting(subject.x.shape[1:], self.region_shape)
        values = replacement(self.perturbation, subject, regions, self.value_range)
        fraction, found = self._fractions(len(regions)), {}
        for order, part in zip(orders, subject.parts(len(orders)), strict=True):
            found[order] = self._curve(part, regions, regions.ranks(part, order), values)
            areas = self.area(found[order], fraction)
            found |= {f"{name}_{order}": area for name, area in areas.items()}
        return found

    def _curve(self, subject, regions, ranks, values) -> np.ndarray:
        places = ranks[:, regions.labels]  # (n, *shape)
        before, after = self.ends(subject.x, values)
        known = before is subject.x
        found = [subject.output[None] if known else subject.outputs(before[None])]
        for chunk in subject.chunks(self._steps(len(regions))):
            replaced = (np.asarray(chunk) + 1) * self._per_step(len(regions))
            mask = places < replaced.reshape(-1, *[1] * places.ndim)
            found.append(subject.outputs(np.where(mask, after, before)))
        return np.concatenate(found).T

    def _per_step(self, regions: int) -> int:
        fewest = 1 if self.steps else -(-regions // STEPS)
        return self.regions_per_step or fewest

    def _steps(self, regions: int) -> int:
        possible = -(-regions // self._per_step(regions))
        if self.steps is not None and self.steps > possible:
            raise ValueError(
                f"There are {regions} regions: with {self._per_step(regions)} for each step at "
                f"most {possible} steps. Received: steps={self.steps}. Choose smaller regions or "
                "fewer steps."
            )
        return self.steps or possible

    def _fractions(self, regions: int) -> np.ndarray:
        steps = np.arange(self._steps(regions) + 1)
        return np.minimum(steps * self._per_step(regions) / regions, 1)


@dataclass(frozen=True)
class Deletion(RegionPerturbation):
    """Deletion: how low the output is while what is most relevant is taken away.

    As `RegionPerturbation`; with the fraction t of the regions replaced, the area under the curve

    AUC = ∫₀¹ f(x⁽ᵗ⁾) dt

    by the trapezoidal rule. A good heatmap has a small one. With `steps` the integral ends at the
    last step, and is divided by its fraction. The number is `deletion_most_relevant`, and must be
    compared with `deletion_random`.

    The original replaces 224 pixels of an image at each step:
    `Deletion(region_shape=1, regions_per_step=224)`.

    Args:
        perturbation: See `RegionPerturbation`.
        region_shape: See there.
        steps: See there.
        regions_per_step: See there.
        orders: See there.
        value_range: See there.

    Reference: Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", section 4.
    """

    orders: tuple = ("most_relevant", "random")

    name: ClassVar[str] = "deletion"

    def area(self, curves: np.ndarray, fraction: np.ndarray) -> dict[str, np.ndarray]:
        """The area under the curves, `(n,)`."""
        return {self.name: np.trapezoid(curves, fraction, axis=1) / fraction[-1]}


@dataclass(frozen=True)
class Insertion(Deletion):
    """Insertion: how high the output is once what is most relevant is there.

    The curve starts from the sample of which all regions are replaced, and puts the sample's own
    back, those first that come first in the order. With x̃⁽ᵗ⁾ the replaced sample into which the
    first fraction t of the regions is put back, the number is the area under the curve

    AUC = ∫₀¹ f(x̃⁽ᵗ⁾) dt

    by the trapezoidal rule. A good heatmap has a large one. The number is
    `insertion_most_relevant`, and must be compared with `insertion_random`.

    Args:
        perturbation: What regions are replaced by before they are put back, see
            `RegionPerturbation`. By default a blurred sample: what it lacks is detail, and regions
            that are put back have no sharp borders.
        region_shape: See there.
        steps: See there.
        regions_per_step: Regions put back at each step, see there.
        orders: See there.
        value_range: See there.

    Reference: Petsiuk et al. 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", section 4.
    """

    perturbation: str | float | np.ndarray | Callable[[np.ndarray], np.ndarray] = "blur"

    name: ClassVar[str] = "insertion"

    def ends(self, x: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The replaced samples, and the samples."""
        return values, x


def aopc(curves: np.ndarray) -> np.ndarray:
    """Area over the perturbation curve: 1 / (L + 1) Σₖ (f(x⁽⁰⁾) - f(x⁽ᵏ⁾)) for k = 0 ... L.

    Args:
        curves: The explained output of each sample at each step, `(n, L + 1)`.

    Returns:
        `(n,)`.

    Raises:
        ValueError: If it is an array of another shape, or not finite.

    Reference: Samek et al. 2017, "Evaluating the Visualization of What a Deep Neural Network Has
    Learned", equation 12.
    """
    curves = check_array("curves", curves)
    if curves.ndim != 2:
        raise ValueError(
            f"curves must be an array of the shape (n, steps + 1). Received: {shown(curves)}."
        )
    return (curves[:, :1] - curves.astype("float64")).mean(axis=1)


def _count(name: str, given: Any) -> int | None:
    return None if given is None else check_whole(name, given, 1)


def _range(given: Any) -> tuple | None:
    if given is None:
        return None
    bounds = check_array("value_range", given)
    if bounds.shape != (2,) or not bounds[0] < bounds[1]:
        raise ValueError(
            f"value_range must be (low, high) with low < high. Received: {shown(given)}."
        )
    return tuple(bounds.tolist())
