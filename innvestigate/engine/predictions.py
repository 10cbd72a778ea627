"""What a model says of samples, beside what is explained of it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import keras
import numpy as np

from innvestigate.backend import run_batch
from innvestigate.engine.inputs import InputSpec
from innvestigate.engine.text import Text
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.step import Graph
from innvestigate.utils.batching import each_batch


class Predicting:
    """What runs the model forward as it is: that part of every analyzer."""

    text: Text
    input_spec: InputSpec
    _traced: Graph

    def predictions(self, x: Any, *, batch_size: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """What the model says of each sample, and what of it is explained.

        Args:
            x: See `analyze`.
            batch_size: See `analyze`.

        Returns:
            The model's own output that is explained, `(samples, *output_shape)`; and the same
            without the final activation that was taken off, such as logits in place of
            probabilities. In the mode `"max_activation"` the largest of the latter is explained.

        Raises:
            ValueError: If x does not fit the model or is not finite.
        """

        def said(batch, labels, offset, progress):
            inputs = self.input_spec.flat(self.text.to_tokens(batch), offset)
            return self.said(inputs), self.outputs(inputs)

        given, _ = self.input_spec.check(self.text.to_tokens(x))
        own, explained = zip(*each_batch(said, given, batch_size), strict=True)
        return np.concatenate(own), np.concatenate(explained)

    def said(self, inputs: list) -> np.ndarray:
        """The model's own output for rows of inputs."""
        return run_batch(self._whole, inputs)

    def outputs(self, inputs: list) -> np.ndarray:
        """The value of the explained output for rows of inputs."""
        raise NotImplementedError

    @cached_property
    def _whole(self) -> keras.Model:
        (output,) = self._traced.flat_outputs
        return build_forward(Graph(self._traced.steps, self.input_spec.tensors, output), "whole")
