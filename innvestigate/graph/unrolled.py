"""Recurrent layers that stay one step, as they are where a method has no rules for their insides.

The step runs the layer's loop in place of the layer. Where a backend unrolls loops, to write a
graph for a runtime that has none, its gradient is then one of plain operations.
"""

from __future__ import annotations

from dataclasses import replace

import keras

from innvestigate.graph.rewrite import is_recurrent, open_layers
from innvestigate.graph.run import run
from innvestigate.graph.step import Graph, Step


class Unrolled(keras.Layer):
    """What is inside of a recurrent layer, as a layer on the same weights.

    Args:
        step: The step that calls the layer.
    """

    def __init__(self, step: Step):
        super().__init__(name=step.name, autocast=False)
        closed = Graph([step], step.inputs, step.outputs)
        self.layer, self.inside = step.operation, open_layers(closed, is_recurrent)
        self.built = True

    def call(self, *inputs):
        return run(self.inside, list(inputs), self.inside.flat_outputs)


def unrolled(graph: Graph) -> Graph:
    """The graph with its recurrent layers unrolled; itself if it has none."""
    if not any(map(is_recurrent, graph.steps)):
        return graph
    return graph.replaced([_unrolled(s) if is_recurrent(s) else s for s in graph.steps])


def _unrolled(step: Step) -> Step:
    return replace(step, operation=Unrolled(step), arguments=(tuple(step.inputs), {}), masks=())
