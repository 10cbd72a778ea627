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

from innvestigate.backend import wear_masks
from innvestigate.graph.layers import Finish, LocalStep, MirrorLayer, StepLayer, unpack
from innvestigate.graph.mirror import Builder, Method, active_inputs, active_tensors
from innvestigate.graph.step import Graph, Step, is_float


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
    parts: tuple | None = None

    @property
    def delta(self):
        """The difference from the reference."""
        return self.value - self.reference


def by_sign(delta) -> tuple:
    """The positive and the negative part of a difference, by the sign of each number."""
    return ops.maximum(delta, 0.0), ops.minimum(delta, 0.0)


def build_difference_mirror(
    graph: Graph, method: Method, output: KerasTensor, targets: dict[str, KerasTensor], name: str
) -> keras.Model:
    """The model that compares inputs with references and sends multipliers back to the targets.

    Args:
        graph: The rewritten graph.
        method: Rules (`rules.deeplift.DifferenceRule`) and start, as for any mirror; finish maps
            `(Change, signals)` to the result at a tensor asked for.
        output: The tensor whose neurons are explained.
        targets: The tensors at which the result is asked for, by name.
        name: Name of the mirror.

    Returns:
        A model from the flat inputs, the references of each (and `weights`, unless
        `method.select_max`) to a dict of results, one for each target.

    Raises:
        ValueError: If no signal can reach a target.
    """
    return _DifferenceBuilder(graph, method, output, targets).build(name)


class _DifferenceBuilder(Builder):
    def __init__(self, graph, method, output, targets):
        super().__init__(graph, method, output, targets)
        self.varying = active_tensors(graph, graph.flat_inputs)
        self.references: dict[int, KerasTensor] = {}
        self.parts: dict[int, list] = {}
        self.writers = graph.writers()

    def _run_forward(self) -> list:
        inputs = super()._run_forward()
        references = self._inputs("model_reference")
        at = {**self.values, **dict(zip(map(id, self.graph.flat_inputs), references, strict=True))}
        for step in self.needed:
            if any(id(t) in self.varying for t in step.outputs):
                forward = self.forward_layers[id(step)]
                written = forward([at[id(t)] for t in step.inputs], self._all(step.inputs))
                written = written if isinstance(written, list) else [written]
                changed = zip(map(id, step.outputs), written, strict=True)
                at.update((i, y) for i, y in changed if i in self.varying)
        self.references = at
        return inputs + references

    def _send_back(self, step: Step, rule) -> None:
        active = active_inputs(step, self.varying)
        arriving = [self._sum(t) for t in step.outputs]
        width = rule.width(max(len(signals) for signals in arriving if signals))
        parts = [self._parts_of(step.inputs[i]) for i in active] if rule.splits else None
        name = f"{step.name}.{type(rule).__name__}"
        layer = Multipliers(step, rule, active, width, self.dtype, name)
        changes = self._both(step.inputs), self._both(step.outputs)
        sent = layer(*changes, arriving, parts)
        self._arrive(step, active, sent if isinstance(sent, list) else [sent])

    def _both(self, tensors) -> list:
        return [self._all(tensors), [self.references[id(t)] for t in tensors]]

    def _parts_of(self, tensor: KerasTensor) -> list:
        """The positive and the negative part of a tensor's difference, by its writer's rule."""
        if id(tensor) not in self.parts:
            writer = self.writers.get(id(tensor))
            active = active_inputs(writer, self.varying) if writer else []
            if active:
                self._split(writer, self.method.rule(writer), active)
            else:
                name = f"{tensor.name}.parts"
                self.parts[id(tensor)] = SplitBySign(self.dtype, name)(*self._both([tensor]))
        return self.parts[id(tensor)]

    def _split(self, step: Step, rule, active: list[int]) -> None:
        parts = [self._parts_of(step.inputs[i]) for i in active] if rule.passes_parts else None
        layer = Parts(step, rule, active, self.dtype, f"{step.name}.parts")
        written = layer(self._both(step.inputs), self._both(step.outputs), parts)
        floats = [t for t in step.outputs if is_float(t)]
        for k, t in enumerate(floats):
            self.parts[id(t)] = written[2 * k : 2 * k + 2]

    def _result(self, tensor, signals, label):
        change = [self.values[id(tensor)], self.references[id(tensor)]]
        parts = self._parts_of(tensor) if len(signals) > 1 else None
        return FinishDifference(self.method.finish, self.dtype, label)(*change, signals, parts)


class _DifferenceLayer(StepLayer):
    """A layer that works on what one step changes between reference and input."""

    def __init__(self, step: Step, rule, active: list[int], dtype: str, name: str):
        super().__init__(step, dtype, name)
        self.rule = rule
        self.active = active

    def _changes(self, inputs, outputs, parts):
        """The step as a function of its active inputs, their changes and those of its outputs."""
        values, references = inputs
        wear_masks(references, values)
        local = LocalStep(self.step, values, self.active, self.compute_dtype)
        parts = parts or [None] * len(self.active)
        columns = local.inputs, local.active(references), parts
        x = [Change(*column) for column in zip(*columns, strict=True)]
        y = [Change(v, r) for v, r in zip(*outputs, strict=True) if is_float(v)]
        return local, x, y


class Multipliers(_DifferenceLayer):
    """Sends the multipliers of one step's outputs back to its inputs, `width` to each of them."""

    def __init__(self, step, rule, active, width: int, dtype: str, name: str):
        super().__init__(step, rule, active, dtype, name)
        self.width = width

    def call(self, inputs, outputs, arriving, parts=None):
        local, x, y = self._changes(inputs, outputs, parts)
        kept = [s for s, t in zip(arriving, self.step.outputs, strict=True) if is_float(t)]
        width = max(len(signals) for signals in kept if signals)
        signals = [_widened(s, width, change) for s, change in zip(kept, y, strict=True)]
        return unpack([m for sent in self.rule.send(local, x, y, signals) for m in sent])

    def compute_output_spec(self, inputs, outputs, arriving, parts=None):
        shapes = [self.step.inputs[i].shape for i in self.active]
        return unpack([KerasTensor(s, self.dtype) for s in shapes for _ in range(self.width)])


class Parts(_DifferenceLayer):
    """Splits the differences of a step's outputs into a positive and a negative part each."""

    def call(self, inputs, outputs, parts=None):
        changes = self._changes(inputs, outputs, parts)
        return [part for pair in self.rule.parts(*changes) for part in pair]

    def compute_output_spec(self, inputs, outputs, parts=None):
        floats = [y for y in self.step.outputs if is_float(y)]
        return [KerasTensor(y.shape, self.dtype) for y in floats for _ in range(2)]


class SplitBySign(MirrorLayer):
    """Splits an input's difference into a positive and a negative part."""

    def call(self, values, references):
        return list(by_sign(values[0] - references[0]))

    def compute_output_spec(self, values, references):
        return [KerasTensor(values[0].shape, self.dtype) for _ in range(2)]


class FinishDifference(Finish):
    """What a method makes of a change and the arriving signals at a tensor asked for."""

    def call(self, value, reference, signals, parts=None):
        return self.method(Change(value, reference, parts), tuple(signals))

    def compute_output_spec(self, value, reference, signals, parts=None):
        return KerasTensor(value.shape, self.dtype)


def _widened(signals, width: int, change: Change) -> tuple:
    """The signals of one output as a tuple of a given width; zeros where nothing arrives."""
    if signals is None:
        return (ops.zeros_like(change.value),) * width
    return tuple(signals) if len(signals) == width else tuple(signals) * width
