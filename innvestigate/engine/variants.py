"""What methods share that run many variants of each sample."""

from __future__ import annotations

import numpy as np

from innvestigate.engine.base import Analyzer
from innvestigate.engine.selection import one_hot_max


class VariantsAnalyzer(Analyzer):
    """Base of methods that run many variants of each sample.

    All variants are explained for the same neuron. In the mode `"max_activation"` that is the one
    whose output is largest at the sample itself.
    """

    def _weights(self, selection, inputs, offset) -> np.ndarray:
        if self.neuron_selection_mode == "max_activation":
            return one_hot_max(self._outputs(inputs))
        return super()._weights(selection, inputs, offset)

    def _refuse_hidden_layers(self, why: str) -> None:
        hidden = [name for name in self._targets if not name.startswith("input:")]
        if hidden:
            raise ValueError(
                f"{type(self).__name__} explains the model's inputs only: {why} Received: "
                f"layers={hidden}. Leave `layers` out."
            )
