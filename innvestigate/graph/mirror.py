"""From a task and the rules of a method to the mirror: a Keras model from inputs to relevance."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import keras
from keras import KerasTensor, ops, tree

from innvestigate.backend import jit_compile
from innvestigate.graph.layers import AtOnce, ByLayer, holders_of_variables, shaped, unpack
from innvestigate.graph.operations import Kind, body_of, kind_of
from innvestigate.graph.run import (
    At,
    active_inputs,
    active_tensors,
    backward,
    float_type,
    forward,
)
from innvestigate.graph.sizes import Sizes
from innvestigate.graph.step import Graph, Step, is_float

OUTPUT = "output:"
"""The name under which a mirror returns a value that the model's output can be compared with."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is asked of a model.

    Attributes:
        graph: The model, in the form that the method works on.
        output: The tensor whose neurons are explained.
        targets: The tensors at which results are asked for, by name; inputs are `input:` and a
            number.
        mode: How neurons are chosen, one of `engine.selection.MODES`. In the mode
            "max_activation" a mirror takes the largest of each sample, in all others it has one
            more input, `weights`, of the output's shape.
        checked: The tensor whose value the mirror returns under the name `OUTPUT`, to be compared
            with the model's; by default the output.
        sizes: How the same is asked for data of known sizes, where the graph holds for no others;
            it is that of `sizes.example` then.
    """

    graph: Graph
    output: KerasTensor
    targets: dict[str, KerasTensor]
    mode: str = "max_activation"
    checked: KerasTensor | None = None
    sizes: Sizes | None = None

    def __post_init__(self):
        if self.checked is None:
            object.__setattr__(self, "checked", self.output)

    @property
    def output_shape(self) -> tuple:
        """Shape of the output without the batch axis, None where the model leaves a size open."""
        return self.output.shape[1:] if self.sizes is None else self.sizes.output_shape

    def fitted(self, inputs: list) -> tuple[Task, list]:
        """The task for the sizes of some inputs, and these with as many rows as it wants."""
        if self.sizes is None:
            return self, inputs
        task, padded = self.sizes.fitted(inputs)
        return task.weighted if self.mode == "weights" else task, padded

    @cached_property
    def active(self) -> set[KerasTensor]:
        """Tensors that depend on a target through numbers that a signal can pass."""
        return active_tensors(self.graph, self.targets.values())

    @cached_property
    def steps(self) -> list[Step]:
        """The steps that a signal passes from the output to the targets, in forward order."""
        return [
            step
            for step in self.graph.leading_to(self.ends)
            if active_inputs(step, self.active) and not self.active.isdisjoint(step.outputs)
        ]

    @property
    def ends(self) -> list[KerasTensor]:
        """The tensors at which signals start."""
        return [self.output]

    @cached_property
    def weighted(self) -> Task:
        """The same question for neurons that are given by their weights."""
        return self if self.mode != "max_activation" else replace(self, mode="weights")

    @cached_property
    def silent(self) -> list[str]:
        """Names of targets that no signal reaches."""
        reached = {self.output}
        for step in reversed(self.steps):
            if not reached.isdisjoint(step.outputs):
                reached.update(step.inputs[i] for i in active_inputs(step, self.active))
        return [name for name, tensor in self.targets.items() if tensor not in reached]

    def check_signal(self) -> None:
        """Ask that signals get somewhere, and to every layer that was asked for.

        Raises:
            ValueError: If not; names a target.
        """
        hidden = [name for name in self.silent if not name.startswith("input:")]
        lost = [name for name in self.silent if self.matters(self.targets[name])]
        if hidden or (lost and len(self.silent) == len(self.targets)):
            name = (hidden or lost)[0]
            raise ValueError(
                f"No signal can get from the chosen output back to {name!r} (dtype "
                f"{self.targets[name].dtype}): the output does not depend on it, or only through "
                "operations on integers or strings, or the layer was folded into another. Choose "
                "other `layers`, such as the first one that holds floating point numbers."
            )

    def matters(self, tensor: KerasTensor) -> bool:
        """Whether the output depends on a tensor in any way."""
        steps = self.graph.leading_to([self.output])
        return any(tensor in step.inputs for step in steps)


@dataclass(frozen=True)
class Method:
    """What the mirror needs to know of a method.

    Attributes:
        rule: Gives the rule of each step on the way.
        start: Maps (weights, output) to the signal at the output.
        finish: Maps (value, signal) to the result at a tensor asked for.
    """

    rule: Callable[[Step], Any]
    start: Callable
    finish: Callable


class Mirror(keras.Model):
    """A functional model whose variables are read once for each call.

    The forward and the backward layer of a step then work on the same tensors, and a compiler sees
    that what both of them compute needs to be computed only once.
    """

    def call(self, inputs, training=None, mask=None):
        values = [(variable, ops.copy(variable)) for variable in self.variables]
        with keras.StatelessScope(values, initialize_variables=False):
            return super().call(inputs, training=training, mask=mask)


def build_mirror(task: Task, method: Method, name: str) -> keras.Model:
    """The model that runs a graph forward and sends the output's signal back to the targets.

    Args:
        task: What is asked.
        method: Rules, start and finish.
        name: Name of the mirror.

    Returns:
        A model from the flat inputs (and `weights`, unless the mirror chooses the neuron) to a
        dict of results, one for each target, and the value of `task.checked` as `OUTPUT`.

    Raises:
        ValueError: If no signal can reach a target.
    """
    return Builder(task, method).build(name)


def build_forward(graph: Graph, name: str) -> keras.Model:
    """The model that runs a graph forward, on the weights of the user's model."""
    values = {t: _input(t, t.dtype, t.name) for t in graph.flat_inputs}
    with _deep(graph.steps):
        run = ByLayer(float_type(graph)).run
        values = forward(graph.leading_to(graph.flat_outputs), values, run)
        wear = lambda t: values[t]  # noqa: E731
        inputs = tree.map_structure(wear, graph.inputs)
        model = keras.Model(inputs, tree.map_structure(wear, graph.outputs), name=name)
    return _compiled(model, graph.steps)


def _compiled(model: keras.Model, steps: list[Step]) -> keras.Model:
    """The model, to be run as a whole, or step by step where one decides by values."""
    eagerly = any(step.by_value for step in steps)
    model.compile(jit_compile=jit_compile and not eagerly, run_eagerly=eagerly)
    return model


class Builder:
    """Runs a graph forward and signals back, by one rule for each step.

    Args:
        task: What is asked.
        method: Rules, start and finish.
        how: How all of it is computed, by default by Keras layers, which build a mirror.

    Attributes:
        values: The values of the graph's tensors.
        constants: Constants that rules ask for, with the graph's inputs there, where these are not
            the constants themselves.
    """

    def __init__(self, task: Task, method: Method, how: ByLayer | AtOnce | None = None):
        self.task, self.method, self.graph = task, method, task.graph
        self.how = how or ByLayer(float_type(self.graph))
        self.dtype = self.how.dtype
        self.needed = self.graph.leading_to([task.output, task.checked, *task.targets.values()])
        self.values: dict[KerasTensor, KerasTensor] = {}
        self.constants: list[tuple[Any, dict[KerasTensor, Any]]] = []
        self.looked_up: set[KerasTensor] = set()

    def build(self, name: str) -> keras.Model:
        self.task.check_signal()
        with _deep(self.needed):
            inputs = self.run_forward()
            first, weights = self._start()
            starts = {self.task.output: [first]}
            signals = backward(self.task.steps, starts, self.send, self.how.total)
            targets = self.task.targets.items()
            results = {label: self._result(label, t, signals.get(t)) for label, t in targets}
            results[OUTPUT] = self.values[self.task.checked]
            mirror = Mirror(inputs + weights, results, name=name)
        return _compiled(mirror, self.needed)

    def run_forward(self) -> list:
        """Run the graph; returns the mirror's inputs."""
        inputs = self.inputs("model_input")
        start = dict(zip(self.graph.flat_inputs, inputs, strict=True))
        self.values = forward(self.needed, start, self.how.run)
        return inputs

    def send(self, step: Step, arriving: list) -> list:
        """Send what arrives at a step's outputs back to its inputs."""
        if body_of(step) is not None:
            return step.operation.send_back(self, step, arriving)
        return self.send_by_rule(step, arriving)

    def send_by_rule(self, step: Step, arriving: list) -> list:
        """Send signals back by the rule of a step."""
        rule = self.method.rule(step)
        probes = self.probes(step, rule.probes) if step.first else []
        values = self.all(step.inputs), self.all(step.outputs)
        return self.send_by_layer(step, rule, At, 1, [*values, arriving, probes])

    def result(self, label: str, tensor: KerasTensor, signal: tuple) -> KerasTensor:
        """What the method makes of the signal at a tensor asked for."""
        finish = lambda x, *signal: self.method.finish(self.number(x), *signal)  # noqa: E731
        return self.layer(label, finish, tensor, [self.values[tensor], *signal])

    def number(self, value):
        """A value in floating point: indices stay integers, also where they are numbers, too."""
        return value if is_float(value) else ops.cast(value, self.dtype)

    def send_by_layer(self, step, rule, at: type, width: int, arguments: list) -> list:
        """Pairs of an active input and the signal, `width` tensors, that a rule sends there."""
        active = active_inputs(step, self.task.active)
        tensors = [step.inputs[i] for i in active]

        def send(inputs, outputs, arriving, *further):
            place = at(step, active, inputs, outputs, self.dtype, *further)
            return unpack(
                [s for signal in rule.send(place, place.reached(arriving)) for s in signal]
            )

        sent = self.how.call(
            f"{step.name}.{type(rule).__name__}",
            send,
            unpack([shaped(t, self.dtype) for t in tensors for _ in range(width)]),
            arguments,
            [*holders_of_variables(step), *rule.variables],
        )
        sent = iter(sent if isinstance(sent, list) else [sent])
        if kind_of(step) is Kind.LOOKUP or not self.looked_up.isdisjoint(step.outputs):
            self.looked_up.update(tensors)
        return [(t, tuple(next(sent) for _ in range(width))) for t in tensors]

    def worlds(self, tensors) -> list[list]:
        """The values of tensors wherever the graph is run: here at the input alone."""
        return [self.all(tensors)]

    def enter(self, worlds: list[dict]) -> None:
        """Stand where the tensors of the graph have the given values in each of the worlds."""
        (self.values,) = worlds

    def single(self, worlds: list, signal: tuple) -> Any:
        """One number in place of a signal at a tensor, given the tensor in each of the worlds."""
        return signal[0]

    def all(self, tensors) -> list:
        """The values of tensors in the forward pass."""
        return [self.values[t] for t in tensors]

    def inputs(self, name: str) -> list:
        """Inputs of the mirror, one for each of the model."""
        tensors = self.graph.flat_inputs
        return [_input(t, self._input_type(t), f"{name}_{i}") for i, t in enumerate(tensors)]

    def layer(self, name: str, function: Callable, outputs, arguments: list):
        """What a layer of the mirror makes of some tensors, shaped like `outputs`."""
        like = tree.map_structure(lambda t: shaped(t, self.dtype), outputs)
        return self.how.call(name, function, like, arguments)

    def _input_type(self, tensor) -> str:
        """Integers stay integers where they are indices; otherwise signals need floats."""
        if is_float(tensor):
            return self.dtype
        indices, tensors = tensor not in self.task.active, {tensor}
        for step in self.graph.steps:
            if not tensors.isdisjoint(step.inputs):
                indices |= kind_of(step) in (Kind.LOOKUP, Kind.OPAQUE, Kind.RECURRENT)
                tensors.update(t for t in step.outputs if not is_float(t))
        return tensor.dtype if indices or tensor.dtype in ("string", "bool") else self.dtype

    def _start(self) -> tuple[tuple, list]:
        """The first signal, and the input for the weights, if there is."""
        output, start = self.values[self.task.output], self.method.start
        if self.task.mode == "max_activation":
            largest = lambda output: start(_one_hot_max(output), output)  # noqa: E731
            return (self.layer("signal.start", largest, output, [output]),), []
        weights = keras.Input(output.shape[1:], dtype=self.dtype, name="signal.weights")
        return (self.layer("signal.start", start, output, [weights, output]),), [weights]

    def probes(self, step: Step, constants: Iterable) -> list:
        """The first input of a first step where the graph's inputs are constant."""
        found = []
        for i, constant in enumerate(constants):
            inputs = next((at for known, at in self.constants if known is constant), None)
            start = self._filled(f"{step.name}.probe.{i}", constant) if inputs is None else inputs
            values = forward(self.graph.leading_to(step.inputs[:1]), start, self.how.run)
            found.append(values[step.inputs[0]])
        return found

    def _filled(self, name: str, constant) -> dict:
        """The graph's inputs, filled with a constant."""
        fill = partial(_filled, constant)
        return {
            t: self.layer(f"{name}.{t.name}", fill, t, [self.values[t]])
            for t in self.graph.flat_inputs
        }

    def _result(self, target: str, tensor: KerasTensor, signals: list | None):
        label = f"{target.replace(':', '.')}.result"
        if signals is None:
            return self.layer(label, _zeros_like(self.dtype), tensor, [self.values[tensor]])
        if tensor in self.looked_up:  # the method has been applied to the tokens' vectors
            return self.layer(label, lambda signal: signal, tensor, [signals[0][0]])
        return self.result(label, tensor, signals[0])


@contextmanager
def _deep(steps: list[Step]) -> Iterator[None]:
    """Within it, Keras can follow a chain of all steps, there and back: it does so by recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 1000 + 20 * len(steps)))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _filled(value, x):
    """A tensor of the shape of x that holds a value."""
    return ops.zeros_like(x) + ops.cast(value, x.dtype)


def _zeros_like(dtype: str) -> Callable:
    return lambda x: ops.zeros(ops.shape(x), dtype)


def _one_hot_max(output):
    shape = ops.shape(output)
    flat = ops.reshape(output, (shape[0], -1))
    chosen = ops.arange(ops.shape(flat)[1], dtype="int32") == ops.expand_dims(
        ops.cast(ops.argmax(flat, axis=-1), "int32"), -1
    )
    return ops.reshape(ops.cast(chosen, output.dtype), shape)


def _input(tensor: KerasTensor, dtype: str, name: str):
    return keras.Input(batch_shape=(None, *tensor.shape[1:]), dtype=dtype, name=name)
