"""Mirrors that compare an input with a reference: what DeepLIFT runs on.

The graph is run forward twice, on the input and on the reference, and multipliers are sent back.
What arrives at a tensor is one multiplier, or a pair: one for the positive and one for the negative
part of the tensor's difference from its reference. Parts are computed only where a pair is in use.

Masks, and whole numbers that no signal can pass, are those of the input in both runs: which places
exist is a property of the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import KerasTensor, ops

from innvestigate.graph.layers import shaped
from innvestigate.graph.mirror import Builder
from innvestigate.graph.operations import body_of
from innvestigate.graph.run import At, active_inputs, active_tensors, forward, in_floats
from innvestigate.graph.step import Step, is_float
from innvestigate.graph.task import Method, Task


@dataclass(frozen=True)
class Change:
    """What a tensor is at the input and at the reference.

    Attributes:
        value: The tensor at the input.
        reference: The tensor at the reference.
        parts: The positive and the negative part of the difference; None where nobody asks.
    """

    value: Any
    reference: Any
    parts: Any = None

    @property
    def delta(self):
        """The difference from the reference."""
        return self.value - self.reference


class Between(At):
    """Where a rule for differences stands: `At` the input, with what the reference changes.

    Args:
        step: The step.
        active: Positions of the inputs to which signals are sent.
        inputs: The values of all inputs at the input and at the reference.
        outputs: The same for all outputs.
        dtype: See `At`.
        parts: The positive and the negative part of each active input's difference; None where
            nobody asks.

    Attributes:
        x: The `Change` of each active input.
        y: The `Change` of each floating point output.
    """

    def __init__(self, step: Step, active: list[int], inputs, outputs, dtype: str, parts=None):
        super().__init__(step, active, inputs[0], outputs[0], dtype)
        columns = self.inputs, self.active(inputs[1]), parts or [None] * len(active)
        self.x = [Change(*column) for column in zip(*columns, strict=True)]
        references = self.written(outputs[1])
        self.y = [Change(*pair) for pair in zip(self.outputs, references, strict=True)]


def by_sign(delta) -> tuple:
    """The positive and the negative part of a difference, by the sign of each number."""
    return ops.maximum(delta, 0.0), ops.minimum(delta, 0.0)


def by_sign_of(delta, signal: tuple):
    """One multiplier in place of a pair: the one of the difference's sign, the mean at zero."""
    if len(signal) == 1:
        return signal[0]
    up, down = signal
    return 0.5 * (up + down + ops.sign(delta) * (up - down))


def build_difference_mirror(task: Task, method: Method, name: str) -> keras.Model:
    """The model that compares inputs with references and sends multipliers back to the targets.

    Args:
        task: What is asked.
        method: Rules (`rules.deeplift.DifferenceRule`) and start, as for any mirror; finish maps
            `(Change, signal)` to the result at a tensor asked for.
        name: Name of the mirror.

    Returns:
        A model from the flat inputs, the references of each (and `weights`, as for any mirror) to
        a dict of results, as that of any mirror.

    Raises:
        ValueError: If no signal can reach a target.
    """
    return _DifferenceBuilder(task, method).build(name)


class _DifferenceBuilder(Builder):
    def __init__(self, task, method, how=None):
        super().__init__(task, method, how)
        self.varying = active_tensors(self.graph, self.graph.flat_inputs)
        self.references: dict[KerasTensor, KerasTensor] = {}
        self.parts: dict[KerasTensor, list] = {}
        self.writers = self.graph.writers()

    def run_forward(self) -> list:
        inputs, references = super().run_forward(), self.inputs("model_reference")
        start = self.values | dict(zip(self.graph.flat_inputs, references, strict=True))

        def run(step, values):
            written = self.how.run(step, values)
            pairs = zip(step.outputs, written, strict=True)
            return [y if t in self.varying else self.values[t] for t, y in pairs]

        changing = [step for step in self.needed if not self.varying.isdisjoint(step.outputs)]
        self.references = forward(changing, start, run)
        return inputs + references

    def send_by_rule(self, step, arriving):
        rule = self.method.rule(step)
        width = rule.width(max(len(signal) for signal in arriving if signal))
        active = active_inputs(step, self.task.active)
        parts = [self._parts_of(step.inputs[i]) for i in active] if rule.splits else None
        changes = self.worlds(step.inputs), self.worlds(step.outputs)
        return self.send_by_layer(step, rule, Between, width, [*changes, arriving, parts])

    def result(self, label, tensor, signal):
        parts = self._parts_of(tensor) if len(signal) > 1 else None
        change = [self.values[tensor], self.references[tensor]]

        def finish(x, x0, signal, parts):
            x, x0 = in_floats([x, x0], self.dtype)
            return self.method.finish(Change(x, x0, parts), signal)

        return self.layer(label, finish, tensor, [*change, signal, parts])

    def worlds(self, tensors):
        """The values of tensors at the input and at the reference."""
        return [self.all(tensors), [self.references[t] for t in tensors]]

    def enter(self, worlds):
        self.values, self.references = worlds
        self.parts = {}

    def single(self, worlds, signal):
        value, reference = worlds
        return by_sign_of(value - reference, signal)

    def _parts_of(self, tensor: KerasTensor) -> list:
        """The positive and the negative part of a tensor's difference, by its writer's rule."""
        if tensor not in self.parts:
            writer = self.writers.get(tensor)
            writer = None if writer is None or body_of(writer) is not None else writer
            active = [] if writer is None else active_inputs(writer, self.varying)
            if writer is not None and active:
                self._split(writer, self.method.rule(writer), active)
            else:
                change, name = (
                    [self.values[tensor], self.references[tensor]],
                    f"{tensor.name}.parts",
                )
                split = lambda x, x0: list(by_sign(x - x0))  # noqa: E731
                self.parts[tensor] = self.layer(name, split, [tensor, tensor], change)
        return self.parts[tensor]

    def _split(self, step: Step, rule, active: list[int]) -> None:
        """Split the differences of a step's outputs into a positive and a negative part each."""
        parts = [self._parts_of(step.inputs[i]) for i in active] if rule.passes_parts else None
        floats = [t for t in step.outputs if is_float(t)]

        def split(inputs, outputs, parts):
            place = Between(step, active, inputs, outputs, self.dtype, parts)
            return [part for pair in rule.parts(place) for part in pair]

        like = [shaped(t, self.dtype) for t in floats for _ in range(2)]
        changes = [self.worlds(step.inputs), self.worlds(step.outputs)]
        written = self.layer(f"{step.name}.parts", split, like, [*changes, parts])
        for k, t in enumerate(floats):
            self.parts[t] = written[2 * k : 2 * k + 2]
