"""From a graph and a plan to the mirror: a Keras model from inputs to relevance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import KerasTensor

from innvestigate.backend import jit_compile
from innvestigate.graph.kinds import Kind, kind_of
from innvestigate.graph.layers import Backward, Fill, Finish, Forward, Start
from innvestigate.graph.step import Graph, Step, is_float


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
    return _Builder(graph, method, output, targets).build(name)


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
    active = _active(graph, targets)
    return [
        step
        for step in graph.leading_to([output])
        if _active_inputs(step, active) and any(id(t) in active for t in step.outputs)
    ]


def _active(graph: Graph, targets: list[KerasTensor]) -> set[int]:
    """Tensors that depend on a target through numbers that a signal can pass."""
    active = set(map(id, targets))
    for step in graph.steps:
        if _active_inputs(step, active):
            shape_only = kind_of(step) is Kind.SHAPE
            active.update(id(t) for t in step.outputs if is_float(t) or shape_only)
    return active


def _active_inputs(step: Step, active: set[int]) -> list[int]:
    """Positions of the inputs that a step sends a signal to.

    What an opaque step does with integers is unknown: they may be indices, which have no gradient.
    """
    opaque = kind_of(step) is Kind.OPAQUE
    return [i for i, t in enumerate(step.inputs) if id(t) in active and (is_float(t) or not opaque)]


class _Builder:
    def __init__(self, graph, method, output, targets):
        self.graph, self.method, self.output, self.targets = graph, method, output, targets
        self.dtype = float_type(graph)
        self.active = _active(graph, list(targets.values()))
        self.steps = on_the_way(graph, output, list(targets.values()))
        self.forward_layers: dict[int, Forward] = {}
        self.arriving: dict[int, list] = {}
        self.sums = 0

    def build(self, name: str) -> keras.Model:
        tensors = self.graph.flat_inputs
        inputs = [_input(t, self._input_type(t), f"model_input_{i}") for i, t in enumerate(tensors)]
        values = dict(zip(map(id, tensors), inputs, strict=True))
        needed = self.graph.leading_to([self.output, *self.targets.values()])
        _run(needed, values, self.forward_layers, self.dtype)
        inputs += self._start(values)
        rules = {id(step): self.method.rule(step) for step in self.steps}
        references = self._references(values, rules)
        for step in reversed(self.steps):
            self._send_back(step, rules[id(step)], values, references.get(id(step)))
        results = {target: self._finish(target, t, values) for target, t in self.targets.items()}
        mirror = keras.Model(inputs, results, name=name)
        mirror.compile(jit_compile=jit_compile)
        return mirror

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

    def _start(self, values) -> list:
        """Put the first signal at the output; returns the input for the weights, if there is."""
        output = values[id(self.output)]
        start = Start(self.method.start, self.method.select_max, self.dtype, "signal.start")
        if self.method.select_max:
            self.arriving[id(self.output)] = [start(output)]
            return []
        weights = keras.Input(output.shape[1:], dtype=self.dtype, name="signal.weights")
        self.arriving[id(self.output)] = [start(output, weights)]
        return [weights]

    def _references(self, values, rules) -> dict[int, list]:
        """The inputs of first steps at the constant inputs that their rules ask for."""
        found = {}
        for step in self.steps:
            constants = rules[id(step)].references if step.first else ()
            for i, constant in enumerate(constants):
                at = {}
                for t in self.graph.flat_inputs:
                    fill = Fill(constant, self.dtype, f"{step.name}.reference.{i}.{t.name}")
                    at[id(t)] = fill(values[id(t)])
                _run(self.graph.leading_to(step.inputs), at, self.forward_layers, self.dtype)
                found.setdefault(id(step), []).append(at[id(step.inputs[0])])
        return found

    def _send_back(self, step, rule, values, references) -> None:
        signals = [self._sum(t) for t in step.outputs]
        if all(signal is None for signal in signals):
            return
        active = _active_inputs(step, self.active)
        layer = Backward(step, rule, active, self.dtype, f"{step.name}.{type(rule).__name__}")
        arguments = [[values[id(t)] for t in step.inputs], [values[id(t)] for t in step.outputs]]
        sent = layer(*arguments, signals, references)
        for i, signal in zip(active, sent if len(active) > 1 else [sent], strict=True):
            self.arriving.setdefault(id(step.inputs[i]), []).append(signal)

    def _sum(self, tensor: KerasTensor):
        """All signals that meet at a tensor, added up."""
        signals = self.arriving.get(id(tensor), [])
        if len(signals) > 1:
            self.sums += 1
            add = keras.layers.Add(dtype=self.dtype, name=f"signal.sum.{self.sums}")
            signals[:] = [add(signals)]
        return signals[0] if signals else None

    def _finish(self, name, tensor, values):
        signal = self._sum(tensor)
        if signal is None and name.startswith("input:") and not self._matters(tensor):
            return Fill(0.0, self.dtype, f"{name.replace(':', '.')}.result")(values[id(tensor)])
        if signal is None:
            raise ValueError(
                f"No signal can get from the chosen output back to {name!r} (dtype "
                f"{tensor.dtype}): the output does not depend on it, or only through operations "
                "on integers or strings, or the layer was folded into another. Choose other "
                "`layers`, such as the first one that holds floating point numbers."
            )
        tokens = not is_float(tensor) and values[id(tensor)].dtype == tensor.dtype
        method = _as_is if tokens else self.method.finish
        layer = Finish(method, self.dtype, f"{name.replace(':', '.')}.result")
        return layer(values[id(tensor)], signal)

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
