"""Models without their final activation, on the same weights."""

from __future__ import annotations

from collections.abc import Callable

import keras

from innvestigate.graph.final import changes_sign, is_activation, take_off
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.operations import is_softmax
from innvestigate.graph.step import Graph, Step
from innvestigate.graph.trace import trace


def model_wo_softmax(model: keras.Model) -> keras.Model:
    """The model without its final softmax, on the same weights; the model itself is not changed.

    Args:
        model: A built Keras model, one or more of whose outputs end in a softmax.

    Returns:
        A functional model with the same inputs, and logits in place of probabilities.

    Raises:
        ValueError: If no output ends in a softmax.
    """
    graph, dropped = _without(model, is_softmax)
    if not any(dropped):
        raise ValueError(
            f"No output of the model {model.name!r} ends in a softmax: there is nothing to take "
            "off. For other activations use model_wo_output_activation."
        )
    return build_forward(graph, f"{model.name}_wo_softmax", keras.Model)


def model_wo_output_activation(model: keras.Model) -> keras.Model:
    """The model without its final activations, on the same weights; the model is not changed.

    Args:
        model: A built Keras model.

    Returns:
        A functional model with the same inputs, and the pre-activation of every output.
    """
    graph, _ = _without(model, changes_sign, is_activation)
    return build_forward(graph, f"{model.name}_wo_output_activation", keras.Model)


def _without(model: keras.Model, *kinds: Callable[[Step], bool]) -> tuple[Graph, list[bool]]:
    """The graph without the final activations, and for each output whether there was one.

    Args:
        model: The model.
        *kinds: Which activations are to go; of an output, those of the first kind that it ends in.
    """
    graph, dropped = trace(model), []
    for i in range(len(graph.flat_outputs)):
        found = (take_off(graph, graph.flat_outputs[i], wanted) for wanted in kinds)
        final = next((final for final in found if final is not None), None)
        graph = graph if final is None else final.graph
        dropped.append(final is not None)
    return graph, dropped
