"""The forward pass in the model's place, and its comparison with the model's own."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from innvestigate.backend import run_batch
from innvestigate.engine.guard import Guard
from innvestigate.engine.inputs import InputSpec
from innvestigate.graph.final import Final
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.run import run
from innvestigate.graph.step import Graph
from innvestigate.graph.task import Task


class Compared:
    """What compares forward passes with the model: that part of every analyzer.

    Attributes:
        task: What is asked: the graph that the method works on, its output and targets.
        guard: What compares forward passes.
        input_spec: What inputs the model takes.
        final: The final activation that was taken off, if any.
    """

    task: Task
    guard: Guard
    input_spec: InputSpec
    final: Final | None
    _plain: Graph

    def outputs(self, inputs: list) -> np.ndarray:
        """The value of the explained output for rows of inputs."""
        found, checked = run_batch(self._forward, inputs)
        self.verify("forward", inputs, checked)
        return found

    def verify(self, key: Any, inputs: list, checked: np.ndarray | None) -> None:
        """Compare what was computed in the model's place with its own output, once for each key.

        Args:
            key: What computed it.
            inputs: The model's inputs.
            checked: The value of `task.checked`; None if it was not computed.

        Raises:
            ForwardDiffersError: If they differ by more than rounding.
        """
        if self.task.sizes:  # each shape of data has a mirror of its own
            key = key, tuple(x.shape for x in inputs)
        if checked is None or not self.guard.wants(key):
            return
        if self.final is not None:
            tail = self.final.tail
            (checked,) = run(tail, [ops.convert_to_tensor(checked)], tail.flat_outputs)
        self.guard.check(key, inputs, self._of_any_size, checked)

    @property
    def _of_any_size(self) -> Graph:
        """A graph that holds for data of any size."""
        return self._plain if self.task.sizes else self.task.graph

    @cached_property
    def _forward(self) -> keras.Model:
        graph = self._of_any_size
        output, *logits = graph.flat_outputs
        wanted = [output, *(logits or [output])]
        return build_forward(Graph(graph.steps, self.input_spec.tensors, wanted), "forward")
