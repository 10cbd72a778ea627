"""What metrics share that follow a model while more and more is taken from its samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import pandas as pd

from innvestigate.evaluation.metric import Metric, mean_and_error
from innvestigate.evaluation.subject import Subject


class CurvesMetric(Metric):
    """Base of metrics with a curve for each order in which something is taken away.

    A subclass states `curves` and `fractions_at`.

    Attributes:
        name: The name of the metric.
        orders: The orders; "random" is the baseline.
    """

    name: ClassVar[str]
    orders: tuple

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The curves of a method, by order, `(n, steps + 1)`, and a value of each sample."""
        return self.curves(subject, [order for order in self.orders if order != "random"])

    def baseline(self, subject: Subject) -> dict[str, np.ndarray]:
        """The same for the random order."""
        return self.curves(subject, [order for order in self.orders if order == "random"])

    def values(self, measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The value of each sample, by the name of the metric."""
        return {name: y for name, y in measured.items() if name not in self.orders}

    def tables(
        self, method: str, measured: dict[str, np.ndarray], shape: tuple
    ) -> dict[str, list[pd.DataFrame]]:
        """The curves: method, metric, order, step, fraction, mean, error."""
        curves = {order: measured[order] for order in self.orders if order in measured}
        return {"curves": curve_tables(method, self.name, curves, self.fractions_at(shape))}

    @abstractmethod
    def curves(self, subject: Subject, orders: list[str]) -> dict[str, np.ndarray]:
        """Curves and values for some of the orders."""

    @abstractmethod
    def fractions_at(self, shape: tuple) -> np.ndarray:
        """What fraction of samples of a shape has been taken away at each step."""


def curve_tables(
    method: str, metric: str, curves: dict[str, np.ndarray], fraction: np.ndarray
) -> list[pd.DataFrame]:
    """Curves by order, `(n, steps + 1)`, as rows of the table `curves` of `Evaluation`."""
    found = []
    for order, curve in curves.items():
        mean, error = mean_and_error(curve)
        columns = {"step": np.arange(len(mean)), "fraction": fraction, "mean": mean, "error": error}
        found.append(pd.DataFrame({"method": method, "metric": metric, "order": order, **columns}))
    return found
