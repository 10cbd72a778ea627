"""What methods share that run many variants of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from innvestigate.analyzer.base import Analyzer
from innvestigate.analyzer.selection import one_hot_max


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


def check_whole(name: str, value: Any, least: int) -> int:
    """The argument, if it is a whole number of at least `least`.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}. Received: {value!r}.")
    return int(value)


def check_seed(seed: Any) -> int | None:
    """The seed, if it is None or a whole number >= 0.

    Raises:
        ValueError: If it is neither.
    """
    return None if seed is None else check_whole("seed", seed, 0)


def seed_or_fresh(seed: int | None) -> int:
    """The seed; where there is none, one that nobody has used yet."""
    return np.random.SeedSequence().entropy if seed is None else seed
