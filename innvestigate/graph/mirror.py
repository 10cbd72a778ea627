"""From a task and the rules of a method to the mirror: a Keras model from inputs to relevance."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, ops, tree

from innvestigate.backend import argmax, jit_compile
from innvestigate.graph.layers import (
    AtOnce,
    ByLayer,
    ForwardModel,
    Mirror,
    holders_of_variables,
    shaped,
    unpack,
)
from innvestigate.graph.multipliers import (
    Multiplier,
    multiplied,
    multiplier_of,
    relevance,
)
from innvestigate.graph.operations import Kind, body_of, kind_of
from innvestigate.graph.run import (
    At,
    Signals,
    active_inputs,
    backward,
    float_type,
    forward,
    in_floats,
)
from innvestigate.graph.step import Graph, Step, is_complex, is_float
from innvestigate.graph.task import EXPLAINED, OUTPUT, Method, Task


def build_mirror(task: Task, method: Method, name: str) -> keras.Model:
    """The model that runs a graph forward and sends the output's signal back to the targets.

    Args:
        task: What is asked.
        method: Rules, start and finish.
        name: Name of the mirror.

    Returns:
        A model from the flat inputs (and `weights`, unless the mirror chooses the neuron, and the
        shares of `task.through`) to a
        dict of results, one for each target, the value of `task.checked` as `OUTPUT`, and the sum
        of what is explained as `EXPLAINED`.

    Raises:
        ValueError: If no signal can reach a target.
    """
    return Builder(task, method).build(name)


def build_forward(graph: Graph, name: str, kind: type = ForwardModel) -> keras.Model:
    """The model that runs a graph forward, on the weights of the user's model.

    Args:
        graph: The graph.
        name: Name of the model.
        kind: What it is; `keras.Model` where it is to be explained, as one with a call of its own
            has no graph.
    """
    values = {t: _input(t, t.dtype, t.name) for t in graph.flat_inputs}
    with _deep(graph.steps):
        run = ByLayer(float_type(graph)).run
        values = forward(graph.leading_to(graph.flat_outputs), values, run)
        wear = lambda t: values[t]  # noqa: E731
        inputs = tree.map_structure(wear, graph.inputs)
        model = kind(inputs, tree.map_structure(wear, graph.outputs), name=name)
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
        shares: The mirror's inputs for what goes on of signals at `task.through`.
        multiplies: Whether rules may send relevance as multiples of their inputs.
        note_like: A tensor like what is noted of each step beside its signals; None for nothing.
        noted: What was noted of steps, those inside loops included, in the order of the way back.
    """

    note_like: KerasTensor | None = None

    def __init__(self, task: Task, method: Method, how: ByLayer | AtOnce | None = None):
        self.task, self.method, self.graph = task, method, task.graph
        self.how = how or ByLayer(float_type(self.graph))
        self.multiplies = how is None
        self.dtype = self.how.dtype
        self.needed = self.graph.leading_to([task.output, task.checked, *task.targets.values()])
        self.values: dict[KerasTensor, KerasTensor] = {}
        self.constants: list[tuple[Any, dict[KerasTensor, Any]]] = []
        self.looked_up: set[KerasTensor] = set()
        self.shares: list[KerasTensor] = []
        self.noted: dict[Step, Any] = {}
        self.told = 0

    def build(self, name: str) -> keras.Model:
        self.task.check_signal()
        with _deep(self.needed):
            inputs = self.run_forward()
            first, explained, weights = self._start()
            results = self.results(first)
            results[OUTPUT] = self.values[self.task.checked]
            results[EXPLAINED] = explained
            results |= self.further_results()
            mirror = Mirror(inputs + weights + self.shares, results, name=name)
        return _compiled(mirror, self.needed)

    def run_forward(self) -> list:
        """Run the graph; returns the mirror's inputs."""
        inputs = self.inputs("model_input")
        start = dict(zip(self.graph.flat_inputs, inputs, strict=True))
        self.values = forward(self.needed, start, self.how.run)
        return inputs

    def send_back(self, first: tuple) -> Signals:
        """The signals that arrive at tensors when one starts at the output.

        What goes past a tensor of `task.through` is left behind: the way back starts anew there.
        """
        signals: Signals = {}
        start, tensor = first, self.task.output
        for name, end in self.task.through.items():
            found = backward(self.task.steps_to(end), {tensor: [start]}, self.send, self.total)
            if end not in found:
                raise ValueError(
                    f"No signal gets from {tensor.name!r} back to the layer {name!r} of the "
                    "conditions: the output does not depend on it, or the layer was folded into "
                    "another. Layers of several conditions must lie behind each other."
                )
            signals |= found
            start, tensor = self._shared(name, end, found[end][0]), end
        return signals | backward(self.task.steps, {tensor: [start]}, self.send, self.total)

    def _shared(self, name: str, tensor: KerasTensor, signal: tuple) -> tuple:
        """The share of a signal at a tensor that goes on, one more input of the mirror."""
        self.shares.append(_share(tensor, self.dtype, f"{name}.share"))
        weigh = lambda share, *signal: unpack([share * s for s in signal])  # noqa: E731
        like, given = unpack([tensor] * len(signal)), [self.shares[-1], *signal]
        found = tree.flatten(self.layer(f"{name}.condition", weigh, like, given))
        return type(signal)(*found) if isinstance(signal, Multiplier) else tuple(found)

    def results(self, first: tuple) -> dict:
        """What the mirror returns at the targets, given the signal at the output."""
        signals, targets = self.send_back(first), self.task.targets.items()
        return {label: self._result(label, t, signals.get(t)) for label, t in targets}

    def send(self, step: Step, arriving: list) -> list:
        """Send what arrives at a step's outputs back to its inputs."""
        if body_of(step) is not None:
            told = zip(step.outputs, arriving, strict=True)
            arriving = [signal and self.as_relevance(t, signal) for t, signal in told]
            return step.operation.send_back(self, step, arriving)
        return self.send_by_rule(step, arriving)

    def send_by_rule(self, step: Step, arriving: list) -> list:
        """Send signals back by the rule of a step."""
        rule = self.method.rule(step)
        probes = self.probes(step, rule.probes) if step.first else []
        values = self.all(step.inputs), self.all(step.outputs)
        return self.send_by_layer(step, rule, At, 1, [*values, arriving, probes])

    def total(self, tensor: KerasTensor, signals: list[tuple]) -> tuple:
        """Signals that meet at a tensor, added up: as multipliers, if all of them are."""
        if not multiplied(signals):
            return self.how.total([self.as_relevance(tensor, signal) for signal in signals])
        kinds = {*map(type, signals)}
        if len(kinds) > 1:
            kinds = {Multiplier}
            signals = [self._told(tensor, signal, multiplier_of) for signal in signals]
        return kinds.pop()(*self.how.total(signals))

    def as_relevance(self, tensor: KerasTensor, signal: tuple) -> tuple:
        """A signal at a tensor, its relevance in place of a multiplier."""
        return self._told(tensor, signal, relevance) if isinstance(signal, Multiplier) else signal

    def _told(self, tensor: KerasTensor, signal: Any, what: Callable) -> tuple:
        """What a multiplier tells of a tensor."""
        tell = lambda x, m: what(*in_floats([x], self.dtype), type(signal)(m))  # noqa: E731
        self.told += 1
        return (self.layer(f"told.{self.told}", tell, tensor, [self.values[tensor], *signal]),)

    def note(self, rule, at, arrived: list, sent: list) -> Any:
        """What is noted of a step, like `note_like`."""

    def note_ended(self, signals: list) -> Any:
        """What is noted of signals that end at constants, like `note_like`."""

    def further_results(self) -> dict:
        """What a mirror returns beside its results."""
        return {}

    def result(self, label: str, tensor: KerasTensor, signal: tuple) -> KerasTensor:
        """What the method makes of the signal at a tensor asked for."""
        signal = self.as_relevance(tensor, signal)
        finish = lambda x, *signal: self.method.finish(*in_floats([x], self.dtype), *signal)  # noqa: E731
        return self.layer(label, finish, tensor, [self.values[tensor], *signal])

    def send_by_layer(self, step, rule, at: type, width: int, arguments: list) -> list:
        """Pairs of an active input and the signal, `width` tensors, that a rule sends there.

        The third argument of the layer is what arrives at the step's outputs.
        """
        active = active_inputs(step, self.task.active)
        tensors = [step.inputs[i] for i in active]
        multiplier = rule.multiplies(step, arguments[2]) if self.multiplies else None

        def send(inputs, outputs, arriving, *further):
            place = at(step, active, inputs, outputs, self.dtype, *further)
            arrived = place.reached(arriving)
            if multiplier is not None:
                return unpack(rule.multipliers(place, arrived))
            signals = [s for signal in rule.send(place, arrived) for s in signal]
            notes = [] if self.note_like is None else [self.note(rule, place, arrived, signals)]
            return unpack([*signals, *notes])

        likes = [shaped(t, self.dtype) for t in tensors for _ in range(width)]
        found = self.how.call(
            f"{step.name}.{type(rule).__name__}",
            send,
            unpack(likes if self.note_like is None else [*likes, self.note_like]),
            arguments,
            [*holders_of_variables(step), *rule.variables],
        )
        found = found if isinstance(found, list) else [found]
        sent = iter(found)
        if self.note_like is not None:
            self.noted[step] = found[-1]
        if kind_of(step) is Kind.LOOKUP or not self.looked_up.isdisjoint(step.outputs):
            self.looked_up.update(tensors)
        if multiplier is not None:
            return [(t, multiplier(m)) for t, m in zip(tensors, sent, strict=True)]
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
        indices, tensors = False, {tensor}
        for step in self.graph.steps:
            if not tensors.isdisjoint(step.inputs):
                indices |= kind_of(step) in (Kind.LOOKUP, Kind.OPAQUE, Kind.RECURRENT)
                tensors.update(t for t in step.outputs if not is_float(t))
        return tensor.dtype if indices or tensor.dtype in ("string", "bool") else self.dtype

    def _start(self) -> tuple[tuple, Any, list]:
        """The first signal, what is explained of each sample, and the input for weights if any."""
        output, values = self.values[self.task.output], self.worlds([self.task.output])
        largest = self.task.mode == "max_activation"
        if largest:
            weights = self.layer("signal.largest", _one_hot_max, output, [output])
        else:
            weights = keras.Input(output.shape[1:], dtype=self.dtype, name="signal.weights")
        start = lambda weights, y: self.method.start(weights, _ordered(y))  # noqa: E731
        first = self.layer("signal.start", start, output, [weights, output])
        explained = lambda weights, *ys: _row_sums(self.method.value(weights, *ys))  # noqa: E731
        like, given = KerasTensor((None,), self.dtype), [weights, *(y for (y,) in values)]
        return (
            (first,),
            self.layer("explained", explained, like, given),
            [] if largest else [weights],
        )

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
            return self.layer(label, lambda signal: signal, tensor, [*signals[0]])
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


def _row_sums(x):
    return ops.sum(ops.reshape(x, (ops.shape(x)[0], -1)), axis=1)


def _ordered(output):
    """The output, if its numbers are real: some operations of Keras keep it to themselves."""
    if is_complex(output):
        raise ValueError(
            "The model's output holds complex numbers, of which none is larger than another. "
            "Explain a model that ends in keras.ops.real, keras.ops.imag or keras.ops.absolute."
        )
    return output


def _one_hot_max(output):
    output = _ordered(output)
    shape = ops.shape(output)
    flat = ops.reshape(output, (shape[0], -1))
    chosen = ops.arange(ops.shape(flat)[1], dtype="int32") == ops.expand_dims(
        ops.cast(argmax(flat), "int32"), -1
    )
    return ops.reshape(ops.cast(chosen, output.dtype), shape)


def _share(tensor: KerasTensor, dtype: str, name: str):
    """The input for shares that broadcast to a tensor."""
    return keras.Input(batch_shape=(None,) * len(tensor.shape), dtype=dtype, name=name)


def _input(tensor: KerasTensor, dtype: str, name: str):
    return keras.Input(batch_shape=(None, *tensor.shape[1:]), dtype=dtype, name=name)
