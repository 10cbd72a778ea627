"""Layers whose output has places and channels, and where the places lie on the model's inputs."""

from __future__ import annotations

from dataclasses import dataclass

from keras import KerasTensor

from innvestigate.graph.axes import axes_from, owner_of, permutation, stated_channels
from innvestigate.graph.operations import Kind, Trait, has, in_place, kind_of
from innvestigate.graph.step import Graph, Step, is_float
from innvestigate.graph.task import MAP, Task

_KEPT = (Kind.ACTIVATION, Kind.SOFTMAX, Kind.UNITS)


@dataclass(frozen=True)
class MapLayer:
    """A layer whose output has places and channels.

    Attributes:
        name: Its name.
        tensor: Its output, `(batch, ...)`.
        channels: The axis of the channels; all others but the first are axes of places.
        inputs: For each input on which the places lie, by its number: the axes of its own that the
            axes of places stand for.
        why: Why it was chosen.
    """

    name: str
    tensor: KerasTensor
    channels: int
    inputs: dict[int, tuple[int, ...]]
    why: str

    @property
    def like(self) -> KerasTensor:
        """A tensor like its map: one number for each place."""
        shape = self.tensor.shape
        return KerasTensor((*shape[: self.channels], *shape[self.channels + 1 :]), "float32")


def last_map(graph: Graph, output: KerasTensor) -> MapLayer | None:
    """The last layer with places and channels before an output; None if there is none.

    Places are told by convolutions, poolings and other layers with a `data_format`. They have to
    be those of an input, and more than one.
    """
    channels, tail = channel_axes(graph), _tail(graph, output)
    origins = {i: axes_from(graph, t) for i, t in enumerate(graph.flat_inputs)}
    why = "the last layer with places and channels before the output"
    for step in reversed(graph.leading_to([output])):
        for tensor in step.outputs:
            if tensor in channels and tensor not in tail and is_float(tensor):
                found = _map_layer(_name(graph, step, tensor), tensor, channels, origins, why)
                several = any(size != 1 for size in found.like.shape[1:])
                if several and found.inputs and sends_signal(graph, output, tensor):
                    return found
    return None


def named_map(graph: Graph, name: str, tensor: KerasTensor) -> tuple[MapLayer, bool]:
    """The layer that writes a tensor, and whether the tensor's first axis is that of samples.

    The last axis holds the channels where nothing else is known.
    """
    origins = {i: axes_from(graph, t) for i, t in enumerate(graph.flat_inputs)}
    channels = channel_axes(graph)
    channels.setdefault(tensor, len(tensor.shape) - 1)
    in_rows = any(found.get(tensor, (None,))[0] == 0 for found in origins.values())
    return _map_layer(name, tensor, channels, origins, f"layer={name!r}"), in_rows


def sends_signal(graph: Graph, output: KerasTensor, tensor: KerasTensor) -> bool:
    """Whether a signal can get from an output back to a tensor."""
    return not Task(graph, output, {MAP: tensor}).silent


def channel_axes(graph: Graph) -> dict[KerasTensor, int]:
    """The axis of channels of tensors with places.

    Those that layers with a `data_format` read and write, and what is made of these place by place.
    """
    known: dict[KerasTensor, int] = {}
    for step in graph.steps:
        for tensor in (*step.inputs[:1], *step.outputs):
            if _states_format(step) and len(tensor.shape) >= 3:
                known.setdefault(tensor, stated_channels(step, tensor))
        for tensor in step.outputs:
            read = [_passed(step, t, known[t], tensor) for t in step.inputs if t in known]
            found = [axis for axis in read if axis is not None]
            if found:
                known.setdefault(tensor, found[0])
    return known


def _map_layer(
    name: str, tensor: KerasTensor, channels: dict[KerasTensor, int], origins: dict, why: str
) -> MapLayer:
    axis, inputs = channels[tensor], {}
    for number, found in origins.items():
        axes = found.get(tensor, ())
        places = tuple(a for k, a in enumerate(axes) if k not in (0, axis))
        if places and 0 not in places and None not in places and len({*places}) == len(places):
            inputs[number] = places
    return MapLayer(name, tensor, axis, inputs, why)


def _name(graph: Graph, step: Step, tensor: KerasTensor) -> str:
    """The name of the layer that writes a tensor; of its step where none does."""
    layers = [name for name, written in graph.layer_outputs.items() if written == [tensor]]
    return step.name if step.name in layers or not layers else layers[-1]


def _tail(graph: Graph, output: KerasTensor) -> set[KerasTensor]:
    """An output and the tensors from which it is computed number by number."""
    writers, found = graph.writers(), {output}
    step = writers.get(output)
    while step is not None and in_place(step) and kind_of(step) in _KEPT:
        found.update(step.inputs)
        step = writers.get(step.inputs[0])
    return found


def _states_format(step: Step) -> bool:
    return hasattr(owner_of(step), "data_format") and not has(owner_of(step), Trait.RESHAPES)


def _passed(step: Step, source: KerasTensor, channels: int, written: KerasTensor) -> int | None:
    """The axis of channels of what a step writes, given that of a tensor that it reads."""
    order = permutation(step, len(source.shape))
    if order is not None:
        return order.index(channels)
    if len(written.shape) != len(source.shape):
        return None
    sizes = zip(source.shape, written.shape, strict=True)
    return channels if all(a == b for k, (a, b) in enumerate(sizes) if k != channels) else None
