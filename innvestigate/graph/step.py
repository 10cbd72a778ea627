"""The Keras model as data: operations (steps) that read and write symbolic tensors.

`KerasTensor`s are told apart by identity, so they serve as keys of dicts and members of sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
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
        outputs: The tensors written.
        layers: The layers around the step, outermost first: nested models, opened layers and,
            last, the layer itself.
        masks: Pairs of a tensor read and the boolean tensor that says which of its places exist,
            for operations that look for such a mask on the tensor itself.
        inputs: The tensors read, each once: those of the arguments, then the masks.
        nonnegative: Whether all values read are known to be >= 0, whatever the model's input.
        gates: Positions in `inputs` of tensors that come out of a sigmoid.
        weights: Positions in `inputs` of tensors that come out of a softmax.
        inverses: Positions in `inputs` of tensors that come out of a reciprocal.
        first: Whether the model's inputs reach the step through shape-only steps.
        closed: Why the layer did not show what is inside, where that was asked for.
        by_value: Whether it decides by the values of its inputs: it cannot be compiled.
    """

    name: str
    operation: Any
    arguments: tuple[tuple, dict]
    outputs: list[KerasTensor]
    layers: tuple[keras.Layer, ...] = ()
    masks: tuple[tuple[KerasTensor, KerasTensor], ...] = ()
    inputs: list[KerasTensor] = field(init=False)
    nonnegative: bool = False
    gates: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    inverses: tuple[int, ...] = ()
    first: bool = False
    closed: str = ""
    by_value: bool = False

    def __post_init__(self):
        self.inputs = tensors_in((self.arguments, [mask for _, mask in self.masks]))

    @property
    def layer(self) -> Any:
        """The innermost Keras layer the step belongs to; the operation itself outside any layer."""
        return self.layers[-1] if self.layers else self.operation

    def renamed(self, swap: Mapping[KerasTensor, KerasTensor]) -> Step:
        """The step on other tensors: those that are keys of `swap` replaced by their values."""
        if not any(t in swap for t in (*self.inputs, *self.outputs)):
            return self
        return replace(
            self,
            arguments=substitute(self.arguments, swap),
            outputs=[swap.get(t, t) for t in self.outputs],
            masks=substitute(self.masks, swap),
        )

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
        masks: Tensors that say which places of others exist.
    """

    steps: list[Step]
    inputs: Any
    outputs: Any
    layer_outputs: dict[str, list[KerasTensor]] = field(default_factory=dict)
    masks: frozenset[KerasTensor] = frozenset()

    @property
    def flat_inputs(self) -> list[KerasTensor]:
        return tree.flatten(self.inputs)

    @property
    def input_names(self) -> list[str]:
        """The names of the flat inputs: the keys of a dict, else those of the tensors."""
        return (
            sorted(self.inputs)
            if isinstance(self.inputs, dict)
            else [t.name for t in self.flat_inputs]
        )

    @property
    def flat_outputs(self) -> list[KerasTensor]:
        return tree.flatten(self.outputs)

    def writers(self) -> dict[KerasTensor, Step]:
        """The step that writes each tensor."""
        return {tensor: step for step in self.steps for tensor in step.outputs}

    def readers(self) -> dict[KerasTensor, list[Step]]:
        """The steps that read each tensor."""
        readers: dict[KerasTensor, list[Step]] = {}
        for step in self.steps:
            for tensor in step.inputs:
                readers.setdefault(tensor, []).append(step)
        return readers

    def leading_to(self, tensors: Iterable[KerasTensor]) -> list[Step]:
        """The steps that `tensors` are computed by, in order."""
        wanted, steps = set(tensors), []
        for step in reversed(self.steps):
            if not wanted.isdisjoint(step.outputs):
                wanted.update(step.inputs)
                steps.append(step)
        return steps[::-1]

    def replaced(self, steps: list[Step], swap: Mapping[KerasTensor, KerasTensor] = {}) -> Graph:
        """The graph with other steps, and other tensors in place of some (see `Step.renamed`)."""
        found = lambda t: _last(swap, t)  # noqa: E731
        return Graph(
            steps,
            self.inputs,
            tree.map_structure(found, self.outputs),
            {name: list(map(found, tensors)) for name, tensors in self.layer_outputs.items()},
            frozenset(tensors_in(list(map(found, self.masks)))),
        )

    def check(self) -> None:
        """Ask that every tensor is written once, before it is read, and that names are unique.

        Raises:
            ValueError: If not; says where.
        """
        known, names = set(self.flat_inputs), set()
        for step in self.steps:
            if step.name in names:
                raise ValueError(f"Two steps are called {step.name!r}.")
            if not known.issuperset(step.inputs):
                raise ValueError(f"{step!r} reads a tensor that no step before it has written.")
            if not known.isdisjoint(step.outputs) or len(set(step.outputs)) < len(step.outputs):
                raise ValueError(f"{step!r} writes a tensor that is written already.")
            names.add(step.name)
            known.update(step.outputs)
        if not known.issuperset(self.flat_outputs):
            raise ValueError("No step writes one of the graph's outputs.")


def tensors_in(structure: Any) -> list[KerasTensor]:
    """The `KerasTensor`s in a structure of arguments, each once, in order of appearance."""
    return list(dict.fromkeys(x for x in tree.flatten(structure) if isinstance(x, KerasTensor)))


def substitute(structure: Any, values: Mapping[KerasTensor, Any]) -> Any:
    """The structure with the value of every known `KerasTensor` in its place."""
    return tree.map_structure(
        lambda x: _last(values, x) if isinstance(x, KerasTensor) else x, structure
    )


def like(tensor: KerasTensor) -> KerasTensor:
    """A new symbolic tensor of the same shape and dtype."""
    return KerasTensor(tensor.shape, tensor.dtype)


def is_float(tensor: Any) -> bool:
    """Whether a tensor holds floating point numbers, real or complex."""
    return is_real(tensor) or is_complex(tensor)


def is_real(tensor: Any) -> bool:
    """Whether a tensor holds real floating point numbers."""
    return "float" in _dtype(tensor)


def is_complex(tensor: Any) -> bool:
    """Whether a tensor holds complex numbers."""
    return "complex" in _dtype(tensor)


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _last(swap: Mapping[KerasTensor, Any], tensor: Any) -> Any:
    """What a tensor stands for in the end, where what replaces it may be replaced, too."""
    while isinstance(tensor, KerasTensor) and tensor in swap:
        tensor = swap[tensor]
    return tensor
