"""Analyzers to compare others with: the input itself, and noise."""

from __future__ import annotations

import numpy as np

from innvestigate.engine.base import Analyzer
from innvestigate.engine.batch import Batch
from innvestigate.graph.run import float_type


class Input(Analyzer):
    """Returns the input: what a heatmap must differ from."""

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        dtype = float_type(self.task.graph)
        return {f"input:{i}": x.astype(dtype) for i, x in enumerate(batch.inputs)}


class Random(Analyzer):
    """Returns normally distributed noise of the input's shape: what a heatmap must beat.

    Args:
        model: See `Analyzer`.
        stddev: Standard deviation of the noise, >= 0.
        seed: Seed of the noise; None for other noise each time.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If stddev is negative.
    """

    def __init__(self, model, stddev: float = 1.0, seed: int | None = None, **kwargs):
        if not stddev >= 0:
            raise ValueError(f"stddev must be >= 0. Received: {stddev}.")
        self._stddev, self._generator = stddev, np.random.default_rng(seed)
        super().__init__(model, **kwargs)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        dtype, noise = float_type(self.task.graph), self._generator.normal
        return {
            f"input:{i}": noise(0, self._stddev, x.shape).astype(dtype)
            for i, x in enumerate(batch.inputs)
        }
