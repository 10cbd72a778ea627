"""Which layer a map is made of, and what is told of it."""

from __future__ import annotations

from keras import KerasTensor

from innvestigate.engine.base import Analyzer
from innvestigate.engine.plan import PlanLine
from innvestigate.engine.targets import layer_output
from innvestigate.engine.warn import warn
from innvestigate.graph.operations import kind_of
from innvestigate.graph.places import MapLayer, last_map, named_map, sends_signal
from innvestigate.graph.step import Graph, is_float
from innvestigate.graph.task import check_inputs_only


def choose_map_layer(
    method: str, graph: Graph, output: KerasTensor, name: str | None, upsample: bool
) -> MapLayer:
    """The layer of a name, or the last that has places and channels.

    Args:
        method: The method that makes a map of it, for messages.
        graph: The graph.
        output: The tensor whose neurons are explained.
        name: The layer's name; None for the last one.
        upsample: Whether its places have to be those of an input.

    Raises:
        ValueError: If there is none, or no map can be made of it.
    """
    if name is None:
        found = last_map(graph, output)
        if found is None:
            raise ValueError(
                f"{method} makes a map of a layer with places and channels, as convolutions and "
                "poolings write them, and this model has none before its output whose places are "
                "those of an input. Pass layer=..., with upsample=False if its places are no "
                "input's, or use a method that starts from the inputs, such as 'gradient'."
            )
        return found
    tensor = layer_output(graph, name, "layer")
    what = f"The layer {name!r}, of which {method} is to make a map,"
    if len(tensor.shape) < 3 or not is_float(tensor):
        raise ValueError(
            f"{what} writes {tensor.dtype} of the shape {tuple(tensor.shape)}. Expected: floats at "
            "places with channels, (batch, *places, channels)."
        )
    if not sends_signal(graph, output, tensor):
        raise ValueError(f"{what} is not one that the chosen output depends on.")
    found, in_rows = named_map(graph, name, tensor)
    if not (found.inputs if upsample else in_rows):
        raise ValueError(
            f"{what} has places of its own: they are not known to be those of an input"
            + (
                ", to which the map could be resized. upsample=False returns it as it is."
                if upsample
                else ", nor is its first axis known to be that of samples. Choose another layer."
            )
        )
    return found


def check_maps_inputs(analyzer: Analyzer, targets: dict) -> None:
    """Ask that a map is asked for at inputs only.

    Raises:
        ValueError: If not; names the layers.
    """
    name = type(analyzer).__name__
    check_inputs_only(
        targets, f"{name} makes one map, of the layer `layer`, and returns it at the inputs."
    )


def warn_of_inputs_without(analyzer: Analyzer, layer: MapLayer) -> None:
    """Warn of inputs on which the places of a layer do not lie."""
    names = [n for i, n in enumerate(analyzer.input_spec.names) if i not in layer.inputs]
    if names:
        warn(
            f"The map of the layer {layer.name!r} does not lie on the input "
            f"{', '.join(map(repr, names))}, whose result is zero."
        )


def map_line(analyzer: Analyzer, layer: MapLayer) -> PlanLine:
    """The line of a plan that names the layer of the map."""
    writer = analyzer.task.graph.writers()[layer.tensor]
    kind = type(writer.layer).__name__, kind_of(writer).value
    return PlanLine(layer.name, *kind, f"map of {type(analyzer).__name__}", layer.why)
