"""Mirrors that make a map of a layer, and lay it on the model's inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import prod

from keras import KerasTensor, ops

from innvestigate.graph.layers import ByLayer
from innvestigate.graph.mirror import Builder
from innvestigate.graph.places import MapLayer
from innvestigate.graph.run import in_floats
from innvestigate.graph.task import MAP, Method, Task


class MapBuilder(Builder):
    """Builds mirrors that send a signal back to a layer, and make a map of it.

    Args:
        task: What is asked; the results at all targets are the map.
        method: See `Builder`; finish maps the layer's output and the signal there, channels last,
            to the map.
        layer: The layer.
        how: See `Builder`.
    """

    def __init__(self, task: Task, method: Method, layer: MapLayer, how=None):
        super().__init__(task, method, how)
        self.map_layer = layer

    def results(self, first: tuple) -> dict:
        return self.on_inputs(self.map(first), self.task.targets, shared_on_input)

    def map(self, first: tuple) -> KerasTensor:
        """The map, at the places of its layer, given the signal at the output."""
        tensor, axis = self.map_layer.tensor, self.map_layer.channels
        ((signal,),) = self.send_back(first)[tensor]

        def finish(*values):
            value, signal = (ops.moveaxis(x, axis, -1) for x in in_floats(list(values), self.dtype))
            return self.method.finish(value, signal)

        return self.layer("signal.map", finish, self.map_layer.like, [self.values[tensor], signal])

    def on_inputs(self, found: KerasTensor, names: Iterable[str], place: Callable) -> dict:
        """A map by the names of results: put on inputs by a function, or as it is."""
        return {name: found if name == MAP else self._on(name, found, place) for name in names}

    def _on(self, name: str, found: KerasTensor, place: Callable) -> KerasTensor:
        number = int(name.split(":")[1])
        tensor = self.graph.flat_inputs[number]
        put = partial(place, axes=self.map_layer.inputs.get(number))
        return self.layer(f"input.{number}.map", put, tensor, [found, self.values[tensor]])


class GuidedMapBuilder(Builder):
    """Builds mirrors whose results at inputs are multiplied by a map that lies on them.

    Args:
        task: What is asked.
        method: See `Builder`.
        at_layer: What is asked for the map: task and method as for `MapBuilder`.
        layer: The layer.
    """

    def __init__(self, task: Task, method: Method, at_layer: tuple[Task, Method], layer: MapLayer):
        super().__init__(task, method)
        self.maps = MapBuilder(*at_layer, layer, ByLayer(self.dtype, "map."))

    def results(self, first: tuple) -> dict:
        found, self.maps.values = super().results(first), self.values
        maps = self.maps.on_inputs(self.maps.map(first), found, on_input)
        return {name: self._product(name, y, maps[name]) for name, y in found.items()}

    def _product(self, name: str, *factors: KerasTensor) -> KerasTensor:
        label = f"{name.replace(':', '.')}.product"
        return self.layer(label, ops.multiply, factors[0], list(factors))


def on_input(found, x, axes: tuple[int, ...] | None):
    """A map at the places of an input, the same along all of its other axes.

    Linear between the middles of the map's places, and constant beyond the outermost.

    Args:
        found: The map, `(batch, *places)`.
        x: The input.
        axes: Its axes that the axes of places stand for; None for a map that does not lie on it.
    """
    shape = ops.shape(x)
    if axes is None:
        return ops.zeros(shape, found.dtype)
    for axis, at in enumerate(axes, 1):
        found = _resized(found, axis, shape[at])
    order = sorted(range(len(axes)), key=lambda k: axes[k])
    found = ops.transpose(found, (0, *(k + 1 for k in order)))
    for axis in range(1, len(shape)):
        found = found if axis in axes else ops.expand_dims(found, axis)
    return ops.broadcast_to(found, shape)


def shared_on_input(found, x, axes: tuple[int, ...] | None):
    """A map at the places of an input, shared out evenly along all of its other axes."""
    others = [n for axis, n in enumerate(ops.shape(x)) if axis and axis not in (axes or ())]
    return on_input(found, x, axes) / ops.cast(prod(others), found.dtype)


def _resized(x, axis: int, size):
    """x with another size of an axis, by linear interpolation between the middles of places."""
    known = ops.shape(x)[axis]
    scale = ops.cast(known, x.dtype) / ops.cast(size, x.dtype)
    middles = (ops.arange(size, dtype=x.dtype) + 0.5) * scale - 0.5
    middles = ops.clip(middles, 0, ops.cast(known - 1, x.dtype))
    below = ops.floor(middles)
    first = ops.cast(below, "int32")
    after = ops.minimum(first + 1, known - 1)
    part = ops.reshape(middles - below, (-1, *[1] * (len(x.shape) - axis - 1)))
    low, high = ops.take(x, first, axis), ops.take(x, after, axis)
    return low + part * (high - low)
