"""What is asked of a model, and what is needed to know of the method that answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from keras import KerasTensor

from innvestigate.graph.run import active_inputs, active_tensors
from innvestigate.graph.sizes import Sizes
from innvestigate.graph.step import Graph, Step

OUTPUT = "output:"
"""The name under which a mirror returns a value that the model's output can be compared with."""

EXPLAINED = "explained:"
"""The name under which a mirror returns, for each sample, the number that results may add up to."""

MAP = "map:"
"""The name of a result that is a map of a layer's places, and lies on no input."""

INPUT = "input:"
"""What the name of a target or a result at an input begins with; the input's number follows."""


def input_name(number: int) -> str:
    """The name of a target or a result at an input."""
    return f"{INPUT}{number}"


def input_number(name: str) -> int:
    """The number of the input of that name."""
    return int(name.removeprefix(INPUT))


def at_inputs(named: Mapping[str, Any]) -> dict[str, Any]:
    """Those of targets or results that lie at inputs, by name."""
    return {name: value for name, value in named.items() if name.startswith(INPUT)}


def at_layers(named: Mapping[str, Any]) -> dict[str, Any]:
    """Those of targets or results that lie at hidden layers, by name."""
    return {name: value for name, value in named.items() if not name.startswith(INPUT)}


def check_inputs_only(targets: dict[str, KerasTensor], why: str) -> None:
    """Ask that results are asked for at inputs only.

    Args:
        targets: Where they are asked for.
        why: Why not elsewhere, as a sentence.

    Raises:
        ValueError: If not; names the layers.
    """
    if hidden := [*at_layers(targets)]:
        raise ValueError(f"{why} Received: layers={hidden}. Leave `layers` out.")


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
        through: Tensors by name, from the output to the inputs: only what passes all of them goes
            on, in the shares that the mirror has one more input for each.
    """

    graph: Graph
    output: KerasTensor
    targets: dict[str, KerasTensor]
    mode: str = "max_activation"
    checked: KerasTensor | None = None
    sizes: Sizes | None = None
    through: dict[str, KerasTensor] = field(default_factory=dict)

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
        hidden = [name for name in self.silent if not name.startswith(INPUT)]
        lost = [name for name in self.silent if self.matters(self.targets[name])]
        if hidden or (lost and len(self.silent) == len(self.targets)):
            name = (hidden or lost)[0]
            raise ValueError(
                f"No signal can get from the chosen output back to {name!r} (dtype "
                f"{self.targets[name].dtype}): the output does not depend on it, or only through "
                "operations on integers or strings, or the layer was folded into another. Choose "
                "other `layers`, such as the first one that holds floating point numbers."
            )

    def steps_to(self, tensor: KerasTensor) -> list[Step]:
        """The steps that a signal passes on its way to a tensor."""
        return replace(self, targets={tensor.name: tensor}).steps

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
        value: Maps (weights, output) to what results may add up to, a part for each neuron.
    """

    rule: Callable[[Step], Any]
    start: Callable
    finish: Callable
    value: Callable
