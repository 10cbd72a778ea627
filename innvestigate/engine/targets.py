"""Which output is explained, and at which tensors."""

from __future__ import annotations

import keras
import numpy as np
from keras import KerasTensor

from innvestigate.graph.step import Graph, is_complex
from innvestigate.graph.task import input_name
from innvestigate.utils.words import shown


def choose_output(model: keras.Model, graph: Graph, output: str | int | None) -> KerasTensor:
    """The tensor of the output of a name or index; of a single one if neither is given.

    Raises:
        ValueError: If there is no such output, or several and none was chosen, or it holds complex
            numbers.
    """
    tensor = _chosen(model, graph, output)
    if is_complex(tensor):
        raise ValueError(
            f"The output of the model {model.name!r} holds complex numbers (dtype {tensor.dtype}), "
            "of which none is larger than another, and which have no gradient by itself. Explain a "
            "model that ends in keras.ops.real, keras.ops.imag or keras.ops.absolute of it."
        )
    return tensor


def _chosen(model: keras.Model, graph: Graph, output: str | int | None) -> KerasTensor:
    tensors = graph.flat_outputs
    names = output_names(model, graph)
    if output is None:
        if len(tensors) == 1:
            return tensors[0]
        raise ValueError(
            f"The model {model.name!r} has {len(tensors)} outputs: {', '.join(names)}. Choose one "
            f"by name or index, for example output={names[0]!r}."
        )
    if isinstance(output, str) and output in names:
        return tensors[names.index(output)]
    whole = isinstance(output, (int, np.integer)) and not isinstance(output, bool)
    if whole and 0 <= int(output) < len(tensors):
        return tensors[int(output)]
    raise ValueError(
        f"There is no output {shown(output)}. The model {model.name!r} has: {', '.join(names)}, or "
        f"index 0 to {len(tensors) - 1}."
    )


def output_names(model: keras.Model, graph: Graph) -> list[str]:
    """The names of all outputs, in the order of the graph's."""
    if isinstance(graph.outputs, dict):
        return sorted(graph.outputs)
    names = list(getattr(model, "output_names", None) or [])
    count = len(graph.flat_outputs)
    return names if len(names) == count else [f"output_{i}" for i in range(count)]


def choose_targets(graph: Graph, layers) -> dict[str, KerasTensor]:
    """The tensors at which results are asked for, by name; inputs are `input:` and a number.

    Raises:
        ValueError: If a layer's name is unknown or ambiguous, or it has several outputs.
    """
    inputs = {input_name(i): t for i, t in enumerate(graph.flat_inputs)}
    if layers is None:
        return inputs
    names = layers if isinstance(layers, (list, tuple)) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"layers must be a non-empty list or tuple of layer names. Received: {shown(layers)}."
        )
    targets: dict[str, KerasTensor] = {}
    for name in names:
        targets.update(inputs if name == "input" else {name: layer_output(graph, name)})
    return targets


def layer_output(graph: Graph, name: str, argument: str = "layers") -> KerasTensor:
    """The tensor that the layer of a name writes, the names of nested models before it or not.

    Args:
        graph: The graph.
        name: The name.
        argument: The argument that it was given as, for messages.

    Raises:
        ValueError: If the name is unknown or ambiguous, or the layer has several outputs.
    """
    known = graph.layer_outputs
    found = [name] if name in known else [n for n in known if n.split(".")[-1] == name]
    if len(found) != 1:
        problem = "is ambiguous" if found else "is unknown"
        further = "'input' or " if argument == "layers" else ""
        raise ValueError(
            f"The layer name {shown(name)} {problem}. Expected in {argument}: {further}"
            f"one of {', '.join(found or known)}."
        )
    if len(known[found[0]]) != 1:
        raise ValueError(
            f"The layer {name!r} has {len(known[found[0]])} outputs; results can be asked for at "
            "layers with one output."
        )
    return known[found[0]][0]
