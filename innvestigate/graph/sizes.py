"""Asking the same question for data of known sizes.

A layer that computes with the sizes of its input (`ops.arange(ops.shape(x)[1])`) shows its inside
only where they are numbers. Such a model is traced anew for the sizes of the data at hand, and gets
one mirror for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from keras import KerasTensor

from innvestigate.graph.step import Graph, Step
from innvestigate.graph.symbolic import layers_within
from innvestigate.graph.trace import Shapes

_STANDINS = (8, 4, 64, 256, 1024)
"""What stands for a size that is not known yet, until one suits the model."""

_MOST_OF_WEIGHTS = 8
"""How many sizes of weights are tried where no stand-in suits."""

_MOST_PADDING = 8
"""How many times the rows at hand may be run, in place of a mirror of their own."""


@dataclass(frozen=True, eq=False)
class Sizes:
    """How a question is asked for data of known sizes.

    Attributes:
        make: Maps the shapes of the flat inputs to what is asked there (a `graph.task.Task`).
        example: Shapes that stand for those of the data until there is some.
        output_shape: Shape of the output for any data, without the batch axis.
    """

    make: Callable[[Shapes], Any]
    example: Shapes
    output_shape: tuple
    _made: dict[Shapes, Any] = field(default_factory=dict)

    def at(self, shapes: Shapes) -> Any:
        """What is asked at some shapes: always the same object for the same."""
        if shapes not in self._made:
            self._made[shapes] = self.make(shapes)
        return self._made[shapes]

    @property
    def task(self) -> Any:
        """What is asked at the example."""
        return replace(self.make(self.example), sizes=self)

    def fitted(self, inputs: list[np.ndarray]) -> tuple[Any, list[np.ndarray]]:
        """What is asked for some inputs, and these with rows added where others made room for them.

        Where the number of rows counts, few rows, as those of a last batch, are filled up to as
        many as there were before.
        """
        rows, inner = len(inputs[0]), [x.shape[1:] for x in inputs[: len(self.example)]]
        if all(shape[0] is None for shape in self.example):
            return self.at(tuple((None, *shape) for shape in inner)), inputs
        known = [s[0][0] for s in self._made if [shape[1:] for shape in s] == inner]
        fitting = [n for n in known if n is not None and rows <= n <= _MOST_PADDING * rows]
        count = min(fitting, default=rows)
        padded = [np.concatenate([x, *[x[-1:]] * (count - rows)]) for x in inputs]
        return self.at(tuple((count, *shape) for shape in inner)), padded


def find_sizes(graph: Graph, tensors: list[KerasTensor], rewritten, task_for) -> Sizes | None:
    """How to ask for data of known sizes, where layers show more of what is inside then.

    Args:
        graph: The rewritten graph for data of any size.
        tensors: The flat inputs, as the model describes them.
        rewritten: Maps shapes of the flat inputs to the rewritten graph for these.
        task_for: Maps a rewritten graph to what is asked.
    """
    closed, best = _closed(graph), None
    for shapes in _examples(tensors, _sizes_of_weights(closed)):
        if not closed:
            break
        try:
            found = _closed(rewritten(shapes))
        except Exception:  # sizes that do not suit the model, whatever it says to them
            continue
        if len(found) < len(closed):
            closed, best = found, shapes
    if best is None:
        return None
    shape = graph.flat_outputs[0].shape[1:]
    return Sizes(lambda shapes: task_for(rewritten(shapes)), best, shape)


def _closed(graph: Graph) -> list[Step]:
    """The steps of a graph that did not show what is inside."""
    return [step for step in graph.steps if step.closed]


def _sizes_of_weights(steps: list[Step]) -> list[int]:
    """Sizes of the weights of some layers: one may be the number of places that a layer expects."""
    layers = [layer for step in steps for layer in layers_within(step.operation)]
    found = {size for layer in layers for w in layer.weights for size in w.shape}
    return sorted(found.difference(_STANDINS))[:_MOST_OF_WEIGHTS]


def _examples(tensors: list[KerasTensor], further: list[int]) -> Iterator[Shapes]:
    """Shapes that could be those of data: with known sizes, then with a known number of rows, too.

    Args:
        tensors: The flat inputs.
        further: More numbers that could stand for a size.
    """
    shapes = [tuple(t.shape) for t in tensors]
    known = all(None not in shape[1:] for shape in shapes)
    standins = _STANDINS[:1] if known else (*_STANDINS, *further)
    for rows in (None, 2):
        for standin in standins:
            if rows or not known:
                yield tuple(
                    (shape[0] or rows, *(size or standin for size in shape[1:])) for shape in shapes
                )
