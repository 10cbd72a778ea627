"""Analyzers to compare others with: the input itself, and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from innvestigate.backend import run_batch
from innvestigate.engine.base import Analyzer
from innvestigate.engine.batch import Batch
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.run import float_type
from innvestigate.graph.step import Graph
from innvestigate.graph.task import Task, at_layers, input_name
from innvestigate.utils.arguments import check_number, check_seed, seed_or_fresh


class Input(Analyzer):
    """Returns the input, at `layers` their output: what a heatmap must differ from."""

    explains_output = False

    def taken_off(self, graph: Graph) -> Graph:
        return graph  # there is nothing to explain

    def check_model(self, task: Task) -> None:
        hidden = at_layers(task.targets)
        self._dtype, self._hidden = float_type(task.graph), None
        if hidden:
            graph = replace(task.graph, inputs=task.graph.flat_inputs, outputs=hidden)
            self._hidden = build_forward(graph, "hidden")

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        values = {input_name(i): x for i, x in enumerate(batch.inputs)}
        if self._hidden is not None:
            values |= run_batch(self._hidden, batch.inputs)
        return {name: values[name].astype(self._dtype) for name in self.task.targets}


class Random(Input):
    """Returns normally distributed noise of the input's shape: what a heatmap must beat.

    The noise of a sample depends on the seed and its number alone.

    Args:
        model: See `Analyzer`.
        stddev: Standard deviation of the noise, >= 0.
        seed: Seed of the noise; None for other noise each time.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If stddev is negative or seed is no whole number >= 0.
    """

    def __init__(self, model, stddev: float = 1.0, seed: int | None = None, **kwargs):
        self._stddev, self._seed = check_number("stddev", stddev, least=0), check_seed(seed)
        super().__init__(model, **kwargs)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        found, seed = super().explain(batch), seed_or_fresh(self._seed)
        for row, sample in enumerate(batch.samples):
            random = np.random.default_rng((seed, sample))
            for values in found.values():
                noise = random.standard_normal(values.shape[1:], np.dtype(self._dtype).type)
                values[row] = noise * np.asarray(self._stddev, self._dtype)
        return found
