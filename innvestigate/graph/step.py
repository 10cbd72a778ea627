"""The Keras model as data: operations (steps) that read and write symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import KerasTensor, tree


@dataclass(eq=False)
class Step:
    """One operation at one place in the graph.

    A layer that is called twice is two steps on one set of weights.

    Attributes:
        name: Readable and unique in its graph; nested models contribute a prefix (`encoder.conv`).
        operation: What is called: a Keras layer, a `keras.ops` operation, a
            `graph.linear.Linear`, or a plain function such as an activation.
        arguments: `(args, kwargs)` of the call, `KerasTensor`s standing for the tensors read.
        inputs: The tensors read, each once.
        outputs: The tensors written.
        layers: The layers around the step, outermost first: nested models, opened layers and,
            last, the layer itself.
        nonnegative: Whether all values read are known to be >= 0, whatever the model's input.
        gates: Positions in `inputs` of tensors that come out of a sigmoid or softmax.
        first: Whether the model's inputs reach the step through shape-only steps.
    """

    name: str
    operation: Callable
    arguments: tuple[tuple, dict]
    inputs: list[KerasTensor]
    outputs: list[KerasTensor]
    layers: tuple[keras.Layer, ...] = ()
    nonnegative: bool = False
    gates: tuple[int, ...] = ()
    first: bool = False

    @property
    def layer(self) -> Any:
        """The innermost Keras layer the step belongs to; the operation itself outside any layer."""
        return self.layers[-1] if self.layers else self.operation

    def __call__(self, *values):
        """The tensors written, as a list, when `values` are read in place of `inputs`."""
        args, kwargs = substitute(
            self.arguments, dict(zip(map(id, self.inputs), values, strict=True))
        )
        with FrozenState():
            outputs = self.operation(*args, **kwargs)
        return [y for y in tree.flatten(outputs) if y is not None]

    def __repr__(self) -> str:
        return f"<Step {self.name}: {type(self.operation).__name__}>"


@dataclass(eq=False)
class Graph:
    """Steps in an order in which they can be run, and the tensors they start and end with.

    Attributes:
        steps: Every step after the steps it reads from.
        inputs: The model's inputs in its own structure (a tensor, list or dict of tensors).
        outputs: The model's outputs in its own structure.
        layer_outputs: What each call of each layer and nested model wrote, by dotted name.
    """

    steps: list[Step]
    inputs: Any
    outputs: Any
    layer_outputs: dict[str, list[KerasTensor]] = field(default_factory=dict)

    @property
    def flat_inputs(self) -> list[KerasTensor]:
        return tree.flatten(self.inputs)

    @property
    def flat_outputs(self) -> list[KerasTensor]:
        return tree.flatten(self.outputs)

    def writers(self) -> dict[int, Step]:
        """The step that writes each tensor, by the tensor's id."""
        return {id(tensor): step for step in self.steps for tensor in step.outputs}

    def readers(self) -> dict[int, list[Step]]:
        """The steps that read each tensor, by the tensor's id."""
        readers: dict[int, list[Step]] = {}
        for step in self.steps:
            for tensor in step.inputs:
                readers.setdefault(id(tensor), []).append(step)
        return readers

    def leading_to(self, tensors: list[KerasTensor]) -> list[Step]:
        """The steps that `tensors` are computed by, in order."""
        wanted, steps = {id(tensor) for tensor in tensors}, []
        for step in reversed(self.steps):
            if any(id(tensor) in wanted for tensor in step.outputs):
                wanted.update(map(id, step.inputs))
                steps.append(step)
        return steps[::-1]

    def run(self, values: list, tensors: list[KerasTensor]) -> list:
        """The values of `tensors` when the model's flat inputs have the given values."""
        known = dict(zip(map(id, self.flat_inputs), values, strict=True))
        for step in self.leading_to(tensors):
            written = step(*(known[id(tensor)] for tensor in step.inputs))
            known.update(zip(map(id, step.outputs), written, strict=True))
        return [known[id(tensor)] for tensor in tensors]


class FrozenState(keras.StatelessScope):
    """Within it, what layers assign to their variables (states, random seeds) is forgotten."""

    def __init__(self):
        super().__init__(initialize_variables=False)

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value


def tensors_in(structure: Any) -> list[KerasTensor]:
    """The `KerasTensor`s in a structure of arguments, each once, in order of appearance."""
    found = {id(x): x for x in tree.flatten(structure) if isinstance(x, KerasTensor)}
    return list(found.values())


def substitute(structure: Any, values: dict[int, Any]) -> Any:
    """The structure with the value of every known `KerasTensor` in its place."""
    return tree.map_structure(
        lambda x: values.get(id(x), x) if isinstance(x, KerasTensor) else x, structure
    )


def like(tensor: KerasTensor) -> KerasTensor:
    """A new symbolic tensor of the same shape and dtype."""
    return KerasTensor(tensor.shape, tensor.dtype)


def is_float(tensor: Any) -> bool:
    """Whether a tensor holds floating point numbers."""
    return "float" in keras.utils.standardize_dtype(tensor.dtype)
