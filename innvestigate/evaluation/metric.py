"""What all metrics share."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd

from innvestigate.evaluation.subject import Subject


class Metric:
    """Base of metrics: measures batches of samples, and says what the results are called.

    What is measured is a dict of arrays with one row for each sample.
    """

    @property
    def count(self) -> int | None:
        """For how many samples the metric was given something, such as masks; None if nothing."""
        return None

    def begin(self, model: keras.Model, seed: int) -> Metric:
        """What measures one run of `evaluate`: the metric itself, where nothing is kept."""
        return self

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """Measure a method at a batch of samples."""
        raise NotImplementedError

    def baseline(self, subject: Subject) -> dict[str, np.ndarray]:
        """Measure what methods are to be compared with; it has no relevance."""
        return {}

    def values(self, measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One number for each sample, `(n,)`, by the name of the metric."""
        return measured

    def tables(
        self, method: str, measured: dict[str, np.ndarray], shape: tuple
    ) -> dict[str, list[pd.DataFrame]]:
        """What there is to tell beyond one number: parts of the tables of `Evaluation`, by name.

        Args:
            method: The name of the method.
            measured: What was measured of all samples.
            shape: Shape of a sample.
        """
        return {}


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over samples, the first axis; the error of one sample is NaN."""
    if len(values) == 1:
        return values[0], np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; 0 where one side does not vary."""
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.divide((a * b).sum(axis=-1), scale, out=np.zeros_like(scale), where=scale > 0)
