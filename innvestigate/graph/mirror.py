"""From a graph and a plan to the mirror: a Keras model from inputs to relevance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import KerasTensor, ops

from innvestigate.backend import jit_compile
from innvestigate.graph.layers import Backward, Fill, Finish, Forward, Start
from innvestigate.graph.operations import Kind, kind_of
from innvestigate.graph.step import Graph, Step, is_float


class Mirror(keras.Model):
    """A functional model whose variables are read once for each call.

    The forward and the backward layer of a step then work on the same tensors, and a compiler sees
    that what both of them compute needs to be computed only once.
    """

    def call(self, inputs, training=None, mask=None):
        values = [(variable, ops.copy(variable)) for variable in self.variables]
        with keras.StatelessScope(values, initialize_variables=False):
            return super().call(inputs, training=training, mask=mask)


@dataclass(frozen=True)
class Method:
    """What the mirror needs to know of a method.

    Attributes:
        rule: Gives the rule of each step on the way.
        start: Maps (weights, output) to the signal at the output.
        finish: Maps (value, signal) to the result at a tensor asked for.
        select_max: Whether the mirror itself picks each sample's largest output; otherwise it has
            one more input, `weights`, of the output's shape.
    """

    rule: Callable[[Step], Callable]
    start: Callable
    finish: Callable
    select_max: bool


def build_mirror(
    graph: Graph, method: Method, output: KerasTensor, targets: dict[str, KerasTensor], name: str
) -> keras.Model:
    """The model that runs the graph forward and sends the output's signal back to the targets.

    Args:
        graph: The rewritten graph.
        method: Rules, start and finish.
        output: The tensor whose neurons are explained.
        targets: The tensors at which the signal is asked for, by name.
        name: Name of the mirror.

    Returns:
        A model from the flat inputs (and `weights`, unless `method.select_max`) to a dict of
        signals, one for each target.

    Raises:
        ValueError: If no signal can reach a target.
    """
    return Builder(graph, method, output, targets).build(name)


def build_forward(graph: Graph, name: str) -> keras.Model:
    """The model that runs a graph forward, on the weights of the user's model."""
    dtype = float_type(graph)
    values = {id(t): _input(t, t.dtype, t.name) for t in graph.flat_inputs}
    _run(graph.leading_to(graph.flat_outputs), values, {}, dtype)
    wear = lambda t: values[id(t)]  # noqa: E731
    inputs = keras.tree.map_structure(wear, graph.inputs)
    return keras.Model(inputs, keras.tree.map_structure(wear, graph.outputs), name=name)


def float_type(graph: Graph) -> str:
    """The type that mirrors compute in: float64 if any of the graph's tensors is, else float32.

    Half precision would lose the small denominators that relevance is divided by.
    """
    types = {t.dtype for step in graph.steps for t in (*step.inputs, *step.outputs)}
    return "float64" if "float64" in types else "float32"


def on_the_way(graph: Graph, output: KerasTensor, targets: list[KerasTensor]) -> list[Step]:
    """The steps that a signal passes from the output to the targets, in forward order."""
    active = active_tensors(graph, targets)
    return [
        step
        for step in graph.leading_to([output])
        if active_inputs(step, active) and any(id(t) in active for t in step.outputs)
    ]


def active_tensors(graph: Graph, targets: list[KerasTensor]) -> set[int]:
    """Tensors that depend on a target through numbers that a signal can pass."""
    active = set(map(id, targets))
    for step in graph.steps:
        if active_inputs(step, active):
            shape_only = kind_of(step) is Kind.SHAPE
            active.update(id(t) for t in step.outputs if is_float(t) or shape_only)
    return active


def active_inputs(step: Step, active: set[int]) -> list[int]:
    """Positions of the inputs that a step sends a signal to.

    What an opaque step does with integers is unknown: they may be indices, which have no gradient.
    """
    opaque = kind_of(step) is Kind.OPAQUE
    return [i for i, t in enumerate(step.inputs) if id(t) in active and (is_float(t) or not opaque)]


class Builder:
    """Builds a mirror. What arrives at a tensor is a tuple of signals, here of a single one."""

    def __init__(self, graph, method, output, targets):
        self.graph, self.method, self.output, self.targets = graph, method, output, targets
        self.dtype = float_type(graph)
        self.active = active_tensors(graph, list(targets.values()))
        self.steps = on_the_way(graph, output, list(targets.values()))
        self.needed = graph.leading_to([output, *targets.values()])
        self.values: dict[int, KerasTensor] = {}
        self.forward_layers: dict[int, Forward] = {}
        self.arriving: dict[int, list[tuple]] = {}
        self.looked_up: set[int] = set()
        self.sums = 0

    def build(self, name: str) -> keras.Model:
        inputs = self._run_forward() + self._start()
        for step in reversed(self.steps):
            if any(self.arriving.get(id(t)) for t in step.outputs):
                self._send_back(step, self.method.rule(step))
        results = {target: self._finish(target, t) for target, t in self.targets.items()}
        mirror = Mirror(inputs, results, name=name)
        mirror.compile(jit_compile=jit_compile)
        return mirror

    def _run_forward(self) -> list:
        """Run the graph; returns the mirror's inputs."""
        inputs = self._inputs("model_input")
        self.values.update(zip(map(id, self.graph.flat_inputs), inputs, strict=True))
        _run(self.needed, self.values, self.forward_layers, self.dtype)
        return inputs

    def _inputs(self, name: str) -> list:
        tensors = self.graph.flat_inputs
        return [_input(t, self._input_type(t), f"{name}_{i}") for i, t in enumerate(tensors)]

    def _input_type(self, tensor) -> str:
        """Integers stay integers where they are indices; otherwise signals need floats."""
        if is_float(tensor):
            return self.dtype
        indices, tensors = id(tensor) not in self.active, {id(tensor)}
        for step in self.graph.steps:
            if any(id(t) in tensors for t in step.inputs):
                indices |= kind_of(step) in (Kind.LOOKUP, Kind.OPAQUE)
                tensors.update(id(t) for t in step.outputs if not is_float(t))
        return tensor.dtype if indices or tensor.dtype in ("string", "bool") else self.dtype

    def _start(self) -> list:
        """Put the first signal at the output; returns the input for the weights, if there is."""
        output = self.values[id(self.output)]
        start = Start(self.method.start, self.method.select_max, self.dtype, "signal.start")
        if self.method.select_max:
            self.arriving[id(self.output)] = [(start(output),)]
            return []
        weights = keras.Input(output.shape[1:], dtype=self.dtype, name="signal.weights")
        self.arriving[id(self.output)] = [(start(output, weights),)]
        return [weights]

    def _send_back(self, step: Step, rule) -> None:
        """Send what arrives at a step's outputs back to its inputs."""
        active = active_inputs(step, self.active)
        layer = Backward(step, rule, active, self.dtype, f"{step.name}.{type(rule).__name__}")
        relevances = [signals and signals[0] for signals in map(self._sum, step.outputs)]
        references = self._references(step, rule) if step.first and rule.references else None
        sent = layer(self._all(step.inputs), self._all(step.outputs), relevances, references)
        self._arrive(step, active, sent if isinstance(sent, list) else [sent])

    def _all(self, tensors) -> list:
        return [self.values[id(t)] for t in tensors]

    def _references(self, step: Step, rule) -> list:
        """The input of a first step at the constant inputs that its rule asks for."""
        found = []
        for i, constant in enumerate(rule.references):
            at = {}
            for t in self.graph.flat_inputs:
                fill = Fill(constant, self.dtype, f"{step.name}.reference.{i}.{t.name}")
                at[id(t)] = fill(self.values[id(t)])
            _run(self.graph.leading_to(step.inputs), at, self.forward_layers, self.dtype)
            found.append(at[id(step.inputs[0])])
        return found

    def _arrive(self, step: Step, active: list[int], sent: list) -> None:
        """Note the signals that a step sent, the same number of them to each active input."""
        width = len(sent) // len(active)
        if kind_of(step) is Kind.LOOKUP or any(id(t) in self.looked_up for t in step.outputs):
            self.looked_up.update(id(step.inputs[i]) for i in active)
        for k, i in enumerate(active):
            signals = tuple(sent[k * width : (k + 1) * width])
            self.arriving.setdefault(id(step.inputs[i]), []).append(signals)

    def _sum(self, tensor: KerasTensor) -> tuple | None:
        """All signals that meet at a tensor, added up; a single one counts for all of a tuple."""
        met = self.arriving.get(id(tensor), [])
        if len(met) > 1:
            width = max(map(len, met))
            self.sums += 1
            columns = zip(*(s if len(s) == width else s * width for s in met), strict=True)
            names = [f"signal.sum.{self.sums}", f"signal.sum.{self.sums}.negative"]
            met[:] = [
                tuple(
                    keras.layers.Add(dtype=self.dtype, name=name)(list(column))
                    for name, column in zip(names, columns, strict=False)
                )
            ]
        return met[0] if met else None

    def _finish(self, name: str, tensor: KerasTensor):
        signals = self._sum(tensor)
        label = f"{name.replace(':', '.')}.result"
        if signals is None and name.startswith("input:") and not self._matters(tensor):
            return Fill(0.0, self.dtype, label)(self.values[id(tensor)])
        if signals is None:
            raise ValueError(
                f"No signal can get from the chosen output back to {name!r} (dtype "
                f"{tensor.dtype}): the output does not depend on it, or only through operations "
                "on integers or strings, or the layer was folded into another. Choose other "
                "`layers`, such as the first one that holds floating point numbers."
            )
        if id(tensor) in self.looked_up:  # the method has been applied to the tokens' vectors
            return Finish(_as_is, self.dtype, label)(self.values[id(tensor)], signals[0])
        return self._result(tensor, signals, label)

    def _result(self, tensor: KerasTensor, signals: tuple, label: str):
        """What the method makes of the signals at a tensor asked for."""
        layer = Finish(self.method.finish, self.dtype, label)
        return layer(self.values[id(tensor)], signals[0])

    def _matters(self, tensor) -> bool:
        """Whether the output depends on a tensor in any way."""
        steps = self.graph.leading_to([self.output])
        return any(t is tensor for step in steps for t in step.inputs)


def _as_is(value, signal):
    """At tokens the method has been applied to their vectors already."""
    return signal


def _run(steps: list[Step], values: dict, layers: dict[int, Forward], dtype: str) -> None:
    """Run steps forward on symbolic values, one layer for each step."""
    for step in steps:
        if id(step) not in layers:
            layers[id(step)] = Forward(step, dtype, step.name)
        written = layers[id(step)]([values[id(t)] for t in step.inputs])
        written = written if isinstance(written, list) else [written]
        values.update(zip(map(id, step.outputs), written, strict=True))


def _input(tensor: KerasTensor, dtype: str, name: str):
    return keras.Input(batch_shape=(None, *tensor.shape[1:]), dtype=dtype, name=name)
