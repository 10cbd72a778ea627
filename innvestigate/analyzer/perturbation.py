"""What methods share that replace features of the input and watch the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.engine.references import References
from innvestigate.engine.variants import VariantsAnalyzer
from innvestigate.graph.run import float_type
from innvestigate.graph.task import Task


class PerturbationAnalyzer(VariantsAnalyzer):
    """Base of analyzers that replace features of the input.

    Args:
        model: See `Analyzer`.
        reference_inputs: What features are replaced by, in any form of `References`.
        **kwargs: See `Analyzer`.
    """

    def __init__(self, model, reference_inputs, **kwargs):
        super().__init__(model, **kwargs)
        self._references = References(reference_inputs, self.input_spec)

    def check_model(self, task: Task) -> None:
        self.refuse_hidden_layers("features of the input are replaced.")
        self._dtype = float_type(task.graph)

    def check_count(self, count: int | None) -> None:
        self._references.check_count(count)

    def _explained(self, inputs: list, weights: Any) -> np.ndarray:
        """The explained sum of outputs of every row, `(rows,)`."""
        weighted = self.outputs(inputs).astype("float64") * weights
        return weighted.reshape(len(weighted), -1).sum(axis=1)
