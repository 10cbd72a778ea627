"""Tokens by their vectors: paths and noise run between vectors, not between integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from keras import KerasTensor, ops, tree

from innvestigate.backend import run_batch
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.operations import Kind, kind_of, stays
from innvestigate.graph.rewrite import from_vectors
from innvestigate.graph.run import execute, forward
from innvestigate.graph.sizes import Sizes
from innvestigate.graph.step import Graph
from innvestigate.graph.task import Task, input_name


def looks_up(graph: Graph) -> bool:
    """Whether a graph looks up vectors for tokens of its inputs."""
    return any(kind_of(step) is Kind.LOOKUP for step in graph.steps) and bool(
        from_vectors(graph)[1]
    )


class Vectors:
    """A task that starts from the vectors of a model's tokens, and the ways there and back.

    Args:
        task: What is asked of a model that looks up tokens.

    Attributes:
        task: The same for the model's n inputs and the vectors, which are inputs n, n + 1, ...,
            one array for each look-up, and for neurons that are given by their weights.
        tokens: Positions of the inputs that hold tokens.
        graph: The model's graph, from tokens.
        read: The tensors by which vectors are looked up.
        forward: The model from the inputs to the vectors.

    Raises:
        ValueError: If the model also computes with the numbers of its tokens.
    """

    def __init__(self, task: Task):
        self.graph = task.graph
        cut, lookups = from_vectors(self.graph)
        self.read = [step.inputs[0] for step in lookups]
        self.tokens = _sources(self.graph, self.read)
        found = [step.outputs[0] for step in lookups]
        self.forward = build_forward(
            Graph(self.graph.steps, self.graph.flat_inputs, found), "vectors"
        )
        inputs = self.graph.flat_inputs
        self._names = [input_name(len(inputs) + k) for k in range(len(lookups))]
        gone = [input_name(i) for i in self.tokens]
        targets = {name: t for name, t in task.targets.items() if name not in gone}
        if len(targets) < len(task.targets):
            targets.update(zip(self._names, cut.inputs[len(inputs) :], strict=True))
        self._of_size: dict[Task, Vectors] = {}
        sizes = None if task.sizes is None else self._sizes(task.sizes)
        self.task = Task(cut, task.output, targets, "weights", task.checked, sizes)
        self._asked = task
        self._refuse_numbers(Task(cut, task.output, {str(i): cut.inputs[i] for i in self.tokens}))

    def of(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """The vectors of the tokens in rows of inputs, for each look-up `(rows, ..., size)`."""
        fitted, given = self._fitted(inputs)
        return [y[: len(inputs[0])] for y in tree.flatten(run_batch(fitted.forward, given))]

    def to_tokens(
        self, results: dict[str, np.ndarray], inputs: list[np.ndarray], per_token: Callable
    ) -> dict[str, np.ndarray]:
        """The results with those at vectors made one number each, at its token.

        Args:
            results: Results by the name of their target.
            inputs: The model's inputs.
            per_token: Maps the results at vectors to one number for each.
        """
        if self._names[0] not in results:
            return results
        places, count = list(inputs), 1
        for i in self.tokens:
            places[i] = count + np.arange(inputs[i].size, dtype="int32").reshape(inputs[i].shape)
            count += inputs[i].size
        sums = np.zeros(count)
        for name, place in zip(self._names, self._moved(inputs, places, count), strict=True):
            found = per_token(results[name])
            np.add.at(sums, place[: len(found)].reshape(-1), found.reshape(-1))
        at_tokens = {input_name(i): sums[places[i]] for i in self.tokens}
        return {name: y for name, y in results.items() if name not in self._names} | at_tokens

    def _moved(self, inputs: list, places: list, count: int) -> list[np.ndarray]:
        """The places that the tokens at each look-up come from, 0 where a constant stands instead.

        A place moves as the token in it does; a constant is what further places do not change.
        """
        fitted, tokens = self._fitted(inputs)
        graph, read = fitted.graph, fitted.read
        steps = graph.leading_to(read)
        start = dict(zip(graph.flat_inputs, map(ops.convert_to_tensor, tokens), strict=True))
        known = forward(steps, start)

        def move(step, values):
            return [known[t] for t in step.outputs] if stays(step) else execute(step, values)

        def end(given: list) -> list[np.ndarray]:
            there = dict(zip(graph.flat_inputs, map(ops.convert_to_tensor, given), strict=True))
            moved = forward(steps, there, move)
            return [ops.convert_to_numpy(moved[t]) for t in read]

        near = self._fitted(places)[1]
        far = [x + count if i in self.tokens else x for i, x in enumerate(near)]
        return [np.where(a == b, 0, a) for a, b in zip(end(near), end(far), strict=True)]

    def _fitted(self, inputs: list) -> tuple[Vectors, list]:
        """The vectors for the sizes of some inputs, and these with as many rows as they want."""
        task, given = self._asked.fitted(inputs)
        return self._of(task), given

    def _of(self, task: Task) -> Vectors:
        if task is self._asked:
            return self
        if task not in self._of_size:
            self._of_size[task] = Vectors(task)
        return self._of_size[task]

    def _sizes(self, sizes: Sizes) -> Sizes:
        """How the task from vectors is asked for data of known sizes."""
        count = len(sizes.example)
        at = lambda shapes: self._of(sizes.at(shapes[:count])).task  # noqa: E731
        return replace(sizes, make=at, _made={})

    def _refuse_numbers(self, at_tokens: Task) -> None:
        if at_tokens.steps:
            raise ValueError(
                "The model looks up vectors for its tokens, and also computes with their numbers "
                f"(at {at_tokens.steps[0].name!r}): there is no path between tokens for both. Give "
                "the numbers an input of their own."
            )


def _sources(graph: Graph, tensors: list[KerasTensor]) -> list[int]:
    """Positions of the inputs that tensors are made of."""
    read = {t for step in graph.leading_to(tensors) for t in step.inputs} | set(tensors)
    return [i for i, t in enumerate(graph.flat_inputs) if t in read]
