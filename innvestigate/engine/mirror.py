"""Analyzers that send a signal back through the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from innvestigate.backend import run_batch
from innvestigate.engine.base import Analyzer
from innvestigate.engine.batch import Batch
from innvestigate.engine.conditions import check_fits
from innvestigate.engine.export import ExportError, Servable
from innvestigate.engine.ledger import Books
from innvestigate.engine.plan import Plan, PlanLine, plan_line
from innvestigate.engine.selection import one_hot_max
from innvestigate.engine.targets import layer_output
from innvestigate.engine.vectors import Vectors
from innvestigate.engine.warn import warn
from innvestigate.graph.ledger import NOTES, build_ledger
from innvestigate.graph.mirror import build_mirror
from innvestigate.graph.operations import body_of
from innvestigate.graph.recurrent import deep_steps
from innvestigate.graph.task import Method, Task
from innvestigate.graph.unrolled import unrolled
from innvestigate.rules import Composite


class MirrorAnalyzer(Analyzer):
    """An analyzer that sends a signal back through the model, by one rule for each step.

    Attributes:
        model: The mirror, a `keras.Model` whose summary reads as the method.
        passes_layers: See `Analyzer`.
        sends_one_signal: Whether the mirror needs the model's inputs only, not references, too.
        references: What samples are compared with (`References`); None where nothing is.
    """

    build_model = staticmethod(build_mirror)
    passes_layers = True
    sends_one_signal = True
    references: Any = None

    def build(self) -> None:
        self._mirrors: dict[Task, keras.Model] = {}
        self._through: dict[tuple[Task, tuple[str, ...]], Task] = {}
        self._ledgers: dict[Task, tuple[keras.Model, list[tuple[str, str]]]] = {}
        super().build()
        if self.task.sizes is None:
            self.mirror(self.task)
        else:  # the mirrors that will be run are those for the sizes of data
            self.task.check_signal()
            self._checked_composite(self.task)
        self._warn_of_silent()

    @property
    def model(self) -> keras.Model:
        return self.mirror(self.task)

    def plan(self) -> Plan:
        """Print and return, step by step, which rule is used and why.

        Returns:
            One `PlanLine` for each step between the chosen output and the tensors asked for, those
            inside a loop behind it.
        """
        plan = Plan(self.plan_lines())
        print(plan)
        return plan

    def plan_lines(self) -> list[PlanLine]:
        """The lines of the plan."""
        composite = self.composite(self.task)
        return [plan_line(step, composite) for step in deep_steps(self.task)]

    def mirror(self, task: Task) -> keras.Model:
        """The mirror that answers a task: the model's own, or one on other inputs or targets."""
        if task not in self._mirrors:
            method = self._method(self._checked_composite(task))
            self._mirrors[task] = self.build_model(task, method, type(self).__name__)
        return self._mirrors[task]

    def explain(self, batch: Batch, task: Task | None = None) -> dict[str, np.ndarray]:
        task = task or self.task
        if batch.weights is None:
            return self._run(task, batch.inputs, batch.shares)
        return self._run(task.weighted, [*batch.inputs, batch.weights], batch.shares)

    def booked(self, batch: Batch, books: Books) -> dict[str, np.ndarray]:
        if self.adds_up_to != "output" or not books.in_detail:
            return self.explain(batch)
        task, given, weights = self.task, batch.inputs, batch.weights
        if weights is None and task.sizes:
            weights = one_hot_max(self.outputs(batch.inputs))
        if weights is not None:
            task, given = task.weighted.fitted([*batch.inputs, weights])
            given[-1][len(batch) :] = 0  # rows that only fill up the batch
        mirror, steps = self._ledger(task)
        found = run_batch(mirror, given)
        books.note(steps, found.pop(NOTES))
        return {name: y[: len(batch)] for name, y in found.items()}

    def servable(self, weights: np.ndarray | None, rows: int | None) -> Servable:
        mode = "max_activation" if weights is None else "weights"
        task = replace(self._exported_task(rows), mode=mode)
        method = self._method(self._checked_composite(task))
        mirror = self.build_model(task, method, type(self).__name__)
        further = [] if self.references is None else self.references.fixed()
        return Servable(mirror, list(task.targets), self.by_layer, further, weights)

    @cached_property
    def vectors(self) -> Vectors:
        """What is asked, for the vectors of the model's tokens."""
        return Vectors(self.task)

    def composite(self, task: Task) -> Composite:
        """The rules of the method, for the steps of a task."""
        raise NotImplementedError

    def start(self, weights, output):
        """The signal at the output, given the weights of its neurons."""
        raise NotImplementedError

    def value(self, weights, output):
        """What results may add up to, a part for each neuron of the output."""
        return weights * output

    def finish(self, value, signal):
        """The result at a tensor of the given value where the given signal arrives."""
        return signal

    def per_token(self, found):
        """One number for each token, from what `finish` makes of its vector (the last axis)."""
        return ops.sum(found, axis=-1)

    def _checked_composite(self, task: Task) -> Composite:
        """The rules of the method, one for each step that is no loop."""
        composite = self.composite(task)
        composite.check(step for step in deep_steps(task) if body_of(step) is None)
        return composite

    def _exported_task(self, rows: int | None) -> Task:
        """The question for known sizes, and with loops that can be unrolled."""
        if self.task.sizes is None:
            return replace(self.task, graph=unrolled(self.task.graph))
        shapes = tuple((rows, *t.shape[1:]) for t in self.input_spec.tensors)
        if any(None in shape[1:] for shape in shapes):
            raise ExportError(
                "The model computes with the sizes of its inputs, and gets a mirror for each. "
                f"Received inputs of the shapes {', '.join(map(str, shapes))}. Build the model "
                "with inputs whose sizes are known, all but that of the batch."
            )
        if rows is None and self.task.sizes.example[0][0] is not None:
            raise ExportError(
                "The model computes with the number of its samples, and gets a mirror for each. "
                "Pass batch_size=..., which is how many the exported explainer will take."
            )
        return self.task.sizes.at(shapes)

    def _ledger(self, task: Task) -> tuple[keras.Model, list[tuple[str, str]]]:
        """The mirror that keeps books, and the steps that it notes with their rules."""
        if task not in self._ledgers:
            composite = self.composite(task)
            mirror, steps = build_ledger(task, self._method(composite), type(self).__name__)
            rule = lambda step: "states" if body_of(step) else repr(composite.choose(step).rule)  # noqa: E731
            self._ledgers[task] = mirror, [(step.name, rule(step)) for step in steps]
        return self._ledgers[task]

    def _method(self, composite: Composite) -> Method:
        rule = lambda step: composite.choose(step).rule  # noqa: E731
        return Method(rule, self.start, self.finish, self.value)

    def _run(self, task: Task, inputs: list[np.ndarray], shares: Mapping) -> dict[str, np.ndarray]:
        """The results of the mirror that suits the sizes of some inputs."""
        fitted, given = task.fitted([*inputs, *shares.values()])
        for name, share in shares.items() if task.sizes else ():
            check_fits(name, share, (None, *layer_output(fitted.graph, name).shape[1:]))
        found = run_batch(self.mirror(self._passing(fitted, tuple(shares))), given)
        return {name: y[: len(inputs[0])] for name, y in found.items()}

    def _passing(self, task: Task, layers: tuple[str, ...]) -> Task:
        """The task for what passes some layers: always the same object for the same."""
        if not layers:
            return task
        key = task, layers
        if key not in self._through:
            through = {name: layer_output(task.graph, name) for name in layers}
            self._through[key] = replace(task, through=through)
        return self._through[key]

    def _warn_of_silent(self) -> None:
        task = self.task
        silent = [int(name.split(":")[1]) for name in task.silent]
        names = [
            self.input_spec.names[i] for i in silent if task.matters(self.input_spec.tensors[i])
        ]
        if names:
            warn(
                f"No signal can reach the input {', '.join(map(repr, names))}: the model only "
                "compares it, or computes with it as integers or strings, as it does with padding "
                "masks. Its result is zero."
            )
