"""What methods share that run many variants of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.engine.base import Analyzer
from innvestigate.engine.selection import one_hot_max
from innvestigate.graph.task import check_inputs_only


class VariantsAnalyzer(Analyzer):
    """Base of methods that run many variants of each sample.

    All variants are explained for the same neuron. In the mode `"max_activation"` that is the one
    whose output is largest at the sample itself.
    """

    def weights(self, selection, inputs, offset) -> np.ndarray | None:
        if self.neuron_selection_mode == "max_activation":
            return one_hot_max(self.outputs(inputs))
        return super().weights(selection, inputs, offset)

    def explained(self, inputs: list, weights: Any) -> np.ndarray:
        """The explained sum of outputs of every row, `(rows,)`."""
        weighted = self.outputs(inputs).astype("float64") * weights
        return weighted.reshape(len(weighted), -1).sum(axis=1)

    def refuse_hidden_layers(self, why: str) -> None:
        """Refuse layers other than the input as places where results are asked for."""
        own = type(self).__name__
        check_inputs_only(self.task.targets, f"{own} explains the model's inputs only: {why}")
