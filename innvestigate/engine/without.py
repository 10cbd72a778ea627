"""Models without their final activation, on the same weights."""

from __future__ import annotations

from collections.abc import Callable

import keras

from innvestigate.graph.mirror import build_forward
from innvestigate.graph.operations import Kind, kind_of
from innvestigate.graph.rewrite import drop_activation
from innvestigate.graph.step import Step
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
    graph, dropped = _without(model)
    if not any(dropped):
        raise ValueError(
            f"No output of the model {model.name!r} ends in a softmax: there is nothing to take "
            "off. For other activations use model_wo_output_activation."
        )
    return build_forward(graph, f"{model.name}_wo_softmax")


def model_wo_output_activation(model: keras.Model) -> keras.Model:
    """The model without its final activations, on the same weights; the model is not changed.

    Args:
        model: A built Keras model.

    Returns:
        A functional model with the same inputs, and the pre-activation of every output.
    """
    graph, _ = _without(model, lambda step: kind_of(step) is Kind.ACTIVATION)
    return build_forward(graph, f"{model.name}_wo_output_activation")


def _without(model: keras.Model, *wanted: Callable[[Step], bool]):
    graph = trace(model)
    return graph, [drop_activation(graph, t, *wanted) is not None for t in graph.flat_outputs]
