"""Recurrent layers as loops over time: steps that hold a graph, that of one point in time.

Forward, a loop writes all that it carries from one point in time to the next. Backward, it goes
through these points in reverse order: it computes the cell's inner values anew and sends signals
through the cell's own steps, by the rule of each, as they are sent through any graph. What it
carries then are the signals at the states. The graph is the same for any number of points in time.

Where a point in time is masked, what is carried stays as it was, and signals pass it as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

import keras
from keras import KerasTensor, ops, tree

from innvestigate.backend import scan
from innvestigate.graph.layers import AtOnce, holders_of_variables, shaped, unpack
from innvestigate.graph.operations import body_of
from innvestigate.graph.run import active_inputs, active_tensors, backward, forward, summed
from innvestigate.graph.step import Graph, Step, is_float, substitute
from innvestigate.graph.task import Task

CELL = "cell"
"""What the steps inside a loop are named after, until their place is known."""

OUTPUT = "output"
"""The name under which a loop carries the cell's output."""


class Loop(keras.Operation):
    """Runs a cell over time: what it carries, at all points in time, `(batch, time, ...)` each.

    Args:
        layer: The recurrent layer.
        body: The cell, from `[input, *states]` to `[output, *new states]`.
        masked: Whether it is called with a mask, `(batch, time)`.
        apart: Whether the output is carried, too: it is no new state, or differs where masked.
        name: The operation's name.

    Attributes:
        carried: What is carried, by its name: `"output"` if it is, and the cell's new states,
            `"0"`, `"1"`, ...
    """

    def __init__(self, layer, body: Graph, masked: bool, apart: bool, name: str = "loop"):
        super().__init__(name=name)
        self.layer, self.body, self.masked, self.apart = layer, body, masked, apart
        output, *states = body.flat_outputs
        self.carried = {OUTPUT: output} if apart else {}
        self.carried |= {str(i): t for i, t in enumerate(states)}

    def rewritten(self, rewrite: Callable[[Graph], Graph]) -> Loop:
        """The loop with its body rewritten."""
        return Loop(self.layer, rewrite(self.body), self.masked, self.apart, self.name)

    def call(self, sequences, initial_state=None, mask=None):
        def advance(carry, elements):
            values = self.at(elements["x"], carry)
            return self._kept(
                {name: values[t] for name, t in self.carried.items()}, carry, elements
            )

        elements = {"x": by_time(sequences)} | ({} if mask is None else {"mask": by_time(mask)})
        found = scan(advance, self.start(sequences, initial_state), elements)
        return [by_time(found[name]) for name in self.carried]

    def compute_output_spec(self, sequences, initial_state=None, mask=None):
        shape = sequences.shape[:2]
        return [KerasTensor((*shape, *t.shape[1:]), t.dtype) for t in self.carried.values()]

    def start(self, sequences, initial_state) -> dict[str, Any]:
        """What is carried before the first point in time: no output, and the initial states."""
        batch = ops.shape(sequences)[0]
        dtype = sequences.dtype if is_float(sequences) else self.layer.compute_dtype
        if initial_state is None:
            own = self.layer.states if self.layer.stateful else None
            initial_state = self.layer.get_initial_state(batch) if own is None else own
        states = map(ops.convert_to_tensor, tree.flatten(initial_state))
        start = {str(i): ops.cast(x, dtype) for i, x in enumerate(states)}
        if self.apart:
            start[OUTPUT] = ops.zeros((batch, *self.carried[OUTPUT].shape[1:]), dtype)
        return {name: start[name] for name in self.carried}

    def at(self, x, states: dict[str, Any]) -> dict[KerasTensor, Any]:
        """The values of all tensors of the cell at one point in time, given the states before."""
        own, *before = self.body.flat_inputs
        known = {own: x} | {t: states[str(i)] for i, t in enumerate(before)}
        return forward(self.body.steps, known)

    def send_back(self, builder, step: Step, arriving: list) -> list:
        """Send what arrives at a loop's outputs back to its inputs; see `Builder.send`."""
        return _WayBack(self, builder, step).send(arriving)

    @property
    def keeps_output(self) -> bool:
        """Whether the output of a masked point in time is the one before."""
        return self.masked and not self.layer.zero_output_for_mask

    def _kept(self, new: dict, old: dict, elements: dict) -> dict:
        """What is carried on: the new values where the point in time exists, else the old ones."""
        new = {name: ops.cast(y, old[name].dtype) for name, y in new.items()}
        if "mask" not in elements:
            return new
        if not self.keeps_output:
            old = old | {OUTPUT: ops.zeros_like(old[OUTPUT])}
        return {n: ops.where(_spread(elements["mask"], y), y, old[n]) for n, y in new.items()}


@dataclass(frozen=True, eq=False)
class Inside(Task):
    """What is asked of a loop's body: signals at all that it writes are sent to what it reads."""

    @property
    def ends(self) -> list[KerasTensor]:
        return self.graph.flat_outputs


def inside(step: Step, active: set[KerasTensor]) -> Task:
    """What is asked of the body of a loop, `active` being the active tensors of its graph.

    Its targets are the cell's input `"x"` and its states, `"0"`, `"1"`, ..., as far as they are
    active: a state also is where the new state before it is.
    """
    body = step.operation.body
    own, *states = body.flat_inputs
    read = {"x": own} | {str(i): t for i, t in enumerate(states)}
    reached = {name for name, tensor in _roles(step).items() if tensor in active}
    while True:
        found = active_tensors(body, [read[name] for name in reached])
        after = enumerate(body.flat_outputs[1:])
        further = {str(i) for i, t in after if t in found} - reached
        if not further:
            targets = {name: t for name, t in read.items() if name in reached}
            return Inside(body, body.flat_outputs[0], targets, "weights")
        reached |= further


def deep_steps(task: Task) -> Iterator[Step]:
    """The steps that a signal passes, those inside a loop after the loop."""
    for step in task.steps:
        yield step
        if body_of(step) is not None:
            yield from deep_steps(inside(step, task.active))


def rewrite_bodies(graph: Graph, rewrite: Callable[[Graph], Graph]) -> Graph:
    """The graph with the bodies of all its loops rewritten, however deep."""

    def rewritten(step: Step) -> Step:
        if body_of(step) is None:
            return step
        anew = lambda body: rewrite_bodies(rewrite(_placed(step, body)), rewrite)  # noqa: E731
        return replace(step, operation=step.operation.rewritten(anew))

    return graph.replaced([rewritten(step) for step in graph.steps])


def _placed(loop: Step, body: Graph) -> Graph:
    """A loop's body whose steps say where they are: inside all the layers around the loop."""
    placed = []
    for step in body.steps:
        name = f"{loop.name}.{step.name.removeprefix(f'{CELL}.')}"
        placed.append(replace(step, name=name, layers=(*loop.layers, *step.layers[1:])))
    return body.replaced(placed)


def deep_writers(graph: Graph) -> dict[KerasTensor, Step]:
    """The step that writes each tensor, those inside loops included."""
    inner = (body_of(step) for step in graph.steps)
    found = (deep_writers(body) for body in inner if body is not None)
    return reduce(or_, found, graph.writers())


class _WayBack:
    """Sends signals back through a loop.

    Args:
        loop: The loop.
        builder: What sends signals through the graph that the loop is a step of.
        step: The loop's step there.
    """

    def __init__(self, loop: Loop, builder, step: Step):
        self.loop, self.builder, self.step = loop, builder, step
        self.task = inside(step, builder.task.active)
        self.active = active_inputs(step, builder.task.active)
        own = [inner for inner in deep_steps(self.task) if body_of(inner) is None]
        self.rules = {inner: builder.method.rule(inner) for inner in own}
        self.constants = [c for inner in own if inner.first for c in self.rules[inner].probes]
        self.inner = type(builder)(self.task, builder.method, AtOnce(builder.dtype))
        steps = [step, *deep_steps(self.task)][::-1]
        self.noted = [] if builder.note_like is None else steps

    def send(self, arriving: list) -> list:
        """Pairs of an active input of the step and the signal there."""
        step, builder = self.step, self.builder
        probes = builder.probes(step, self.constants)
        tensors = [step.inputs[i] for i in self.active]
        likes = [shaped(t, builder.dtype) for t in tensors]
        found = builder.how.call(
            f"{step.name}.back",
            lambda *arguments: unpack(self._run(*arguments)),
            unpack([*likes, *(builder.note_like for _ in self.noted)]),
            [builder.worlds(step.inputs), builder.worlds(step.outputs), arriving, probes],
            [*holders_of_variables(step), *(v for r in self.rules.values() for v in r.variables)],
        )
        found = found if isinstance(found, list) else [found]
        builder.noted |= zip(self.noted, found[len(likes) :], strict=True)
        return [(t, (signal,)) for t, signal in zip(tensors, found, strict=False)]

    def _run(self, inputs: list, outputs: list, arriving: list, probes: list) -> list:
        """The signals at the active inputs, given the values of all inputs and outputs."""
        given = [_given(self.step, values) for values in inputs]
        starts = [self.loop.start(x, states) for x, states, _ in given]
        carried = [dict(zip(self.loop.carried, ys, strict=True)) for ys in outputs]
        elements: dict[str, Any] = {
            "x": [by_time(x) for x, _, _ in given],
            "before": [_before(*pair) for pair in zip(starts, carried, strict=True)],
            "probes": [by_time(x) for x in probes],
            "signals": {
                name: by_time(self.builder.single([ys[name] for ys in carried], signal))
                for name, signal in zip(self.loop.carried, arriving, strict=True)
                if signal is not None
            },
        }
        mask = given[0][2]
        elements |= {} if mask is None else {"mask": by_time(mask)}
        last = starts[0] | {"x": elements["x"][0][0]}
        found = scan(self._back, self._nothing(last), elements, backwards=True)
        sent = {name: by_time(s) if name == "x" else s[0] for name, s in found.items()}
        notes = [sent.pop(_note(i)) for i in range(len(self.noted))]
        roles = _roles(self.step).items()
        of = lambda i: [  # noqa: E731
            (sent[name],) for name, t in roles if t is self.step.inputs[i] and name in sent
        ]
        if notes:
            notes[-1] = self.builder.note_ended(self._ended(sent, elements))
        return [*(summed(of(i))[0] for i in self.active), *notes]

    def _ended(self, sent: dict, elements: dict) -> list:
        """Signals that go nowhere: at initial states and masked outputs that are constants."""
        receivers = [self.step.inputs[i] for i in self.active]
        given = {n for n, t in _roles(self.step).items() if any(t is x for x in receivers)}
        ended = [signal for name, signal in sent.items() if name not in given]
        if "mask" in elements and not self.loop.keeps_output and OUTPUT in elements["signals"]:
            signal = elements["signals"][OUTPUT]
            missing = 1.0 - ops.cast(elements["mask"], signal.dtype)
            trailing = (1,) * (len(signal.shape) - 2)
            ended.append(signal * ops.reshape(missing, (*ops.shape(missing), *trailing)))
        return ended

    def _nothing(self, like: dict) -> dict:
        """Zeros for all signals that are carried, shaped as in `like`."""
        names = [*self.task.targets, *([OUTPUT] if self.loop.keeps_output else [])]
        dtype, note = self.builder.dtype, self.builder.note_like
        notes = {_note(i): ops.zeros(note.shape, dtype) for i in range(len(self.noted))}
        return {name: ops.zeros_like(like[name], dtype=dtype) for name in names} | notes

    def _back(self, carry: dict, elements: dict) -> dict:
        """What is carried one point in time back, given what arrives at one."""
        pairs = zip(elements["x"], elements["before"], strict=True)
        worlds = [self.loop.at(*pair) for pair in pairs]
        self.inner.enter(worlds)
        at = [worlds[0] | {self.task.graph.flat_inputs[0]: x} for x in elements["probes"]]
        self.inner.constants = list(zip(self.constants, at, strict=True))
        signals, past = self._parted(carry, elements)
        arrived = backward(self.task.steps, signals, self.inner.send, self.inner.total)
        for name, tensor in self.task.targets.items():
            value = [of[tensor] for of in worlds]
            if tensor in arrived:
                signal = self.inner.single(value, arrived[tensor][0])
                past[name] = past[name] + signal if name in past else signal
        for i, step in enumerate(self.noted):
            past[_note(i)] = carry[_note(i)] + self.inner.noted.get(step, 0.0)
        return {name: past.get(name, nothing) for name, nothing in self._nothing(carry).items()}

    def _parted(self, carry: dict, elements: dict) -> tuple[dict, dict]:
        """The signals at what a cell writes, and those that pass it as the point is masked."""
        signals: dict[KerasTensor, list] = {}
        past = {}
        for name, tensor in self.loop.carried.items():
            found = [(of[name],) for of in (carry, elements["signals"]) if name in of]
            if not found:
                continue
            (total,) = summed(found)
            if "mask" in elements:
                exists, nothing = _spread(elements["mask"], total), ops.zeros_like(total)
                past[name] = ops.where(exists, nothing, total)
                total = ops.where(exists, total, nothing)
            if tensor in self.task.active:
                signals.setdefault(tensor, []).append((total,))
        return signals, past


def _roles(step: Step) -> dict[str, Any]:
    """What a loop's step reads: its sequences `"x"` and its initial states `"0"`, `"1"`, ..."""
    (sequences,), kwargs = step.arguments
    states = kwargs["initial_state"]
    given = [] if states is None else tree.flatten(states)
    return {"x": sequences} | {str(i): state for i, state in enumerate(given)}


def _given(step: Step, values: list) -> tuple:
    """A loop's sequences, initial states and mask, given the values of its step's inputs."""
    (sequences,), kwargs = substitute(step.arguments, dict(zip(step.inputs, values, strict=True)))
    return sequences, kwargs["initial_state"], kwargs["mask"]


def _before(start: dict, carried: dict) -> dict:
    """The states before each point in time, time first."""
    return {
        name: ops.concatenate([ops.expand_dims(start[name], 0), by_time(y)[:-1]], axis=0)
        for name, y in carried.items()
        if name != OUTPUT
    }


def _note(i: int) -> str:
    """The name under which what is noted of a step is carried back."""
    return f"note:{i}"


def _spread(mask, y):
    """A mask of samples in the number of axes that a tensor has."""
    return ops.reshape(ops.cast(mask, "bool"), (-1, *(1,) * (len(y.shape) - 1)))


def by_time(x):
    """A tensor with its first two axes, batch and time, in each other's place."""
    return ops.swapaxes(x, 0, 1)
