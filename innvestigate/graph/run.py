"""Running a graph forward and signals back: plain loops over steps, for tensors of any kind.

How one step is executed is an argument. `execute` runs it at once; a mirror puts a Keras layer
in its place (`graph.mirror`), so that its summary reads as the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial, reduce
from operator import add
from typing import Any

from keras import KerasTensor, ops, tree

from innvestigate.backend import DIFFERENTIABLE
from innvestigate.graph.constants import constants_of, held, present, shared
from innvestigate.graph.names import keras_name
from innvestigate.graph.operations import Kind, body_of, kind_of
from innvestigate.graph.scopes import FrozenState
from innvestigate.graph.step import Graph, Step, is_complex, is_float, substitute
from innvestigate.graph.trace import take_masks_off, wearing

Values = dict[KerasTensor, Any]
Signals = dict[KerasTensor, list[tuple]]


def forward(steps: Iterable[Step], values: Values, call: Callable | None = None) -> Values:
    """The values of all tensors that steps write, next to those that are known.

    Args:
        steps: The steps, in order.
        values: What is known before.
        call: `(step, values of its inputs) -> values of its outputs`; by default `execute`.
    """
    values, call = dict(values), call or execute
    for step in steps:
        written = call(step, [values[t] for t in step.inputs])
        values.update(zip(step.outputs, written, strict=True))
    return values


def backward(steps: Iterable[Step], signals: Signals, send: Callable, total: Callable) -> Signals:
    """All signals that arrive at each tensor, when steps send back what arrives at their outputs.

    A signal is a tuple of tensors shaped like the tensor at which it arrives: of one relevance or
    gradient, of one multiplier of DeepLIFT or a pair; or it is a `graph.multipliers.Multiplier`.

    Args:
        steps: The steps that pass signals on, in the order of the forward pass.
        signals: What arrives at the start.
        send: `(step, the signal at each output or None) -> pairs of an input and its signal`.
        total: `(tensor, signals) -> signal`: how signals that meet at a tensor are added up.
    """
    signals = {tensor: list(met) for tensor, met in signals.items()}
    for step in reversed(list(steps)):
        arriving = []
        for tensor in step.outputs:
            if len(signals.get(tensor, ())) > 1:
                signals[tensor] = [total(tensor, signals[tensor])]
            arriving.append(signals[tensor][0] if tensor in signals else None)
        if any(signal is not None for signal in arriving):
            for tensor, signal in send(step, arriving):
                signals.setdefault(tensor, []).append(signal)
    return {t: [total(t, met)] if len(met) > 1 else met for t, met in signals.items()}


def execute(step: Step, values: list) -> list:
    """What a step writes when `values` are read in place of its inputs."""
    at = dict(zip(step.inputs, values, strict=True))
    args, kwargs = substitute(step.arguments, at)
    with FrozenState(), wearing([(at[tensor], at[mask]) for tensor, mask in step.masks]):
        args, kwargs = present((args, kwargs))
        outputs = tree.flatten(_function(step.operation)(*args, **kwargs))
    found = [y for y in outputs if y is not None]
    take_masks_off(found)
    return found if len(found) == len(step.outputs) else outputs


def computed_once(steps: Iterable[Step]) -> AbstractContextManager:
    """Within it, what several of the steps read of a layer's weights is computed once."""
    return held(shared(map(constants_of, _with_bodies(steps))))


def _with_bodies(steps: Iterable[Step]) -> Iterator[Step]:
    for step in steps:
        yield step
        body = body_of(step)
        if body is not None:
            yield from _with_bodies(body.steps)


def _function(operation) -> Callable:
    """What an operation computes, in a form whose derivative is right."""
    same = DIFFERENTIABLE.get(keras_name(operation))
    return operation if same is None else partial(same, operation)


def run(graph: Graph, inputs: list, tensors: list[KerasTensor]) -> list:
    """The values of `tensors` when the graph's flat inputs have the given values."""
    known = dict(zip(graph.flat_inputs, inputs, strict=True))
    steps = graph.leading_to(tensors)
    with computed_once(steps):
        values = forward(steps, known)
    return [values[tensor] for tensor in tensors]


def in_floats(values: list, dtype: str) -> list:
    """Tensors in floating point: whole numbers, which may get a signal, in a given type."""
    return [x if is_float(x) else ops.cast(x, dtype) for x in values]


def summed(signals: list[tuple]) -> tuple:
    """Signals that meet at a tensor, added up; a single one counts for both of a pair."""
    width = max(map(len, signals))
    columns = zip(*(s if len(s) == width else s * width for s in signals), strict=True)
    return tuple(reduce(add, column) for column in columns)


class At:
    """What a rule may want to know of a step: where it stands, and the step as a function.

    Called with values of its active inputs, it returns the outputs at which a signal may arrive.

    Args:
        step: The step.
        active: Positions of the inputs to which signals are sent.
        inputs: The values of all inputs.
        outputs: The values of all outputs.
        dtype: Floating point type of the outputs, and of active inputs that hold integers.
        probes: The values of the step's first input at the constants that a rule asked for.

    Attributes:
        operation: What the step calls, for linear steps a `graph.linear.Linear`.
        inputs: The values of the active inputs, in floating point.
        outputs: The values of the outputs at which a signal may arrive, in floating point.
        places: Positions of the active inputs among all inputs of the step.
        gates: Positions among the active inputs of gates (see `Step`).
        weights: Positions among the active inputs of a softmax's outputs.
        inverses: Positions among the active inputs of what comes out of a reciprocal.
        factors: How many tensors the operation's arguments hold, repeated ones included.
        probes: See above.
    """

    def __init__(self, step: Step, active: list[int], inputs, outputs, dtype: str, probes=()):
        self.operation, self.step, self.probes = step.operation, step, list(probes)
        self._values, self.places, self._dtype = list(inputs), active, dtype
        found = signalled(step, active)
        self._reached = [i for i, y in enumerate(outputs) if y is not None and i in found]
        self.inputs = self.active(inputs)
        self.outputs = self.written(outputs)
        self.gates = tuple(k for k, i in enumerate(active) if i in step.gates)
        self.weights = tuple(k for k, i in enumerate(active) if i in step.weights)
        self.inverses = tuple(k for k, i in enumerate(active) if i in step.inverses)
        self.factors = sum(isinstance(x, KerasTensor) for x in tree.flatten(step.arguments))

    def active(self, values: list) -> list:
        """The active ones among values of all inputs, in floating point."""
        return in_floats([values[i] for i in self.places], self._dtype)

    def written(self, values: list) -> list:
        """Those at which a signal may arrive among values of all outputs, in floating point."""
        return in_floats(self.reached(values), self._dtype)

    def reached(self, values: list) -> list:
        """What belongs to the outputs at which a signal may arrive, out of one entry for each."""
        return [values[i] for i in self._reached]

    def __call__(self, *inputs):
        values = list(self._values)
        for i, x in zip(self.places, inputs, strict=True):
            values[i] = x
        outputs = self.reached(execute(self.step, values))
        return [y if is_complex(y) else ops.cast(y, self._dtype) for y in outputs]


def active_tensors(graph: Graph, targets: Iterable[KerasTensor]) -> set[KerasTensor]:
    """Tensors that depend on a target through numbers that a signal can pass."""
    active = set(targets)
    for step in graph.steps:
        active.update(step.outputs[i] for i in signalled(step, active_inputs(step, active)))
    return active


def signalled(step: Step, active: list[int]) -> list[int]:
    """Positions of the outputs at which a signal may arrive, given those of the active inputs.

    Integers get one only as tokens: whole numbers that are at most moved.
    """
    moved = kind_of(step) is Kind.SHAPE and not any(is_float(step.inputs[i]) for i in active)
    return [i for i, t in enumerate(step.outputs) if active and (is_float(t) or moved)]


def active_inputs(step: Step, active: set[KerasTensor]) -> list[int]:
    """Positions of the inputs that a step sends a signal to.

    What an opaque step does with integers is unknown: they may be indices, which have no gradient.
    To attention and to loops they are masks. What is constant hears of no input.
    """
    if kind_of(step) is Kind.CONSTANT:
        return []
    floats = kind_of(step) in (Kind.OPAQUE, Kind.ATTENTION, Kind.RECURRENT)
    return [i for i, t in enumerate(step.inputs) if t in active and (is_float(t) or not floats)]


def float_type(graph: Graph) -> str:
    """The type that mirrors compute in: float64 if any of the graph's tensors is, else float32.

    Half precision would lose the small denominators that relevance is divided by.
    """
    types = {t.dtype for step in graph.steps for t in (*step.inputs, *step.outputs)}
    return "float32" if types.isdisjoint(("float64", "complex128")) else "float64"
