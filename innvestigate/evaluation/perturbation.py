"""Region perturbation: how fast the output falls when what is relevant is replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from innvestigate.evaluation.metric import Metric, mean_and_error
from innvestigate.evaluation.regions import ORDERS, Regions, check_region_shape
from innvestigate.evaluation.replacement import check_perturbation, replacement
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import check_array, check_choices, check_whole, settle
from innvestigate.utils.words import shown


@dataclass(frozen=True)
class RegionPerturbation(Metric):
    """Region perturbation (pixel flipping): replaces regions in the order of their relevance.

    With x⁽ᵏ⁾ the sample whose first k · `regions_per_step` regions are replaced, the curve is
    f(x⁽ᵏ⁾) for k = 0 ... `steps`, and the area over it

    AOPC = 1 / (steps + 1) Σₖ (f(x⁽⁰⁾) - f(x⁽ᵏ⁾))

    A good heatmap has a large AOPC with the most relevant regions first, and a small one with the
    least relevant first. The random order is what both must be compared with.

    Args:
        perturbation: What regions are replaced by: `"zeros"`; `"gaussian"` noise, N(0, 0.3²);
            `"mean"` of the region, for each channel; `"invert"`, the negative; a number (such as
            the id of a padding or unknown token) or an array that broadcasts to a sample; or a
            function of a batch of samples that returns one of these for each, `(n, *shape)`.
        region_shape: Features along the first axes of a region; it covers the other axes, such
            as channels, fully. A whole number holds for all axes but the last (for the only one,
            if there is one). By default 9 for images, 1 for sequences and tabular data.
        steps: How many steps there are; by default until all regions are replaced.
        regions_per_step: Regions replaced at each step.
        orders: Which curves are drawn, of `"most_relevant"`, `"least_relevant"` (first) and
            `"random"`. The random one is drawn once, as that of the method `"random order"`.
        value_range: `(low, high)`: replaced values are clipped to it.

    Reference: Samek et al. 2017, "Evaluating the Visualization of What a Deep Neural Network Has
    Learned", section III.
    """

    perturbation: str | float | np.ndarray | Callable[[np.ndarray], np.ndarray] = "zeros"
    region_shape: int | tuple | None = None
    steps: int | None = None
    regions_per_step: int = 1
    orders: tuple = ORDERS
    value_range: tuple | None = None

    def __post_init__(self):
        check_perturbation(self.perturbation)
        check_region_shape(self.region_shape)
        settle(
            self,
            orders=check_choices("orders", self.orders, ORDERS),
            regions_per_step=check_whole("regions_per_step", self.regions_per_step, 1),
            steps=None if self.steps is None else check_whole("steps", self.steps, 1),
            value_range=_range(self.value_range),
        )

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The curves of a method, by order, `(n, steps + 1)`."""
        return self._curves(subject, [order for order in self.orders if order != "random"])

    def baseline(self, subject: Subject) -> dict[str, np.ndarray]:
        """The curve of the random order."""
        return self._curves(subject, [order for order in self.orders if order == "random"])

    def values(self, measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The AOPC of each sample, by the name of the metric."""
        return {f"aopc_{order}": aopc(curve) for order, curve in measured.items()}

    def tables(
        self, method: str, measured: dict[str, np.ndarray], shape: tuple
    ) -> dict[str, list[pd.DataFrame]]:
        """The curves: method, order, step, fraction, mean, error."""
        regions = len(Regions.fitting(shape, self.region_shape))
        found = []
        for order in (order for order in self.orders if order in measured):
            mean, error = mean_and_error(measured[order])
            step = np.arange(len(mean))
            fraction = np.minimum(step * self.regions_per_step / regions, 1)
            columns = {"step": step, "fraction": fraction, "mean": mean, "error": error}
            found.append(pd.DataFrame({"method": method, "order": order, **columns}))
        return {"curves": found}

    def _curves(self, subject: Subject, orders: list[str]) -> dict[str, np.ndarray]:
        regions = Regions.fitting(subject.x.shape[1:], self.region_shape)
        values = replacement(self.perturbation, subject, regions, self.value_range)
        return {
            order: self._curve(subject, regions, regions.ranks(subject, order), values)
            for order in orders
        }

    def _curve(self, subject, regions, ranks, values) -> np.ndarray:
        places = ranks[:, regions.labels]  # (n, *shape)
        found = [subject.output[None]]
        for chunk in subject.chunks(self._steps(len(regions))):
            replaced = (np.asarray(chunk) + 1) * self.regions_per_step
            mask = places < replaced.reshape(-1, *[1] * places.ndim)
            found.append(subject.outputs(np.where(mask, values, subject.x)))
        return np.concatenate(found).T

    def _steps(self, regions: int) -> int:
        possible = -(-regions // self.regions_per_step)
        if self.steps is not None and self.steps > possible:
            raise ValueError(
                f"There are {regions} regions: with {self.regions_per_step} for each step at most "
                f"{possible} steps. Received: steps={self.steps}. Choose smaller regions or fewer "
                "steps."
            )
        return self.steps or possible


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


def _range(given: Any) -> tuple | None:
    if given is None:
        return None
    bounds = check_array("value_range", given)
    if bounds.shape != (2,) or not bounds[0] < bounds[1]:
        raise ValueError(
            f"value_range must be (low, high) with low < high. Received: {shown(given)}."
        )
    return tuple(bounds.tolist())
