"""What single channels of a layer contribute, and which samples show what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from innvestigate.engine.base import Analyzer
from innvestigate.engine.conditions import channel_axis
from innvestigate.engine.targets import layer_output
from innvestigate.utils.arguments import check_choice, check_kind, check_text, check_whole

POOLINGS: dict[str, Any] = {"sum": np.sum, "max": np.max}


@dataclass(frozen=True)
class ReferenceSamples:
    """The samples in which each channel of a layer counts most.

    Attributes:
        samples: Their numbers in the data, int64 `(channels, k)`, the first ones first.
        values: What the channel got there, float64 `(channels, k)`.
    """

    samples: np.ndarray
    values: np.ndarray


def concept_relevance(
    analyzer: Analyzer,
    x: Any,
    neuron_selection: Any = None,
    *,
    layer: str,
    batch_size: int = 32,
    verbose: int = 0,
) -> np.ndarray:
    """How much each channel of a layer contributes: R_c = Σ over its positions of R.

    The heatmap of a channel alone is `analyzer.analyze(x, conditions={layer: [c]})`, which adds up
    to about R_c: to what the layers below do not keep of it.

    Args:
        analyzer: Any analyzer that takes `layers=`.
        x: See `analyzer.analyze`.
        neuron_selection: See there.
        layer: The layer's name, as in `layers`.
        batch_size: See `analyzer.analyze`.
        verbose: See there.

    Returns:
        Array `(samples, channels)`, with several selections `(samples, n, channels)`. Channels are
        the last axis of what the layer writes, unless it is one that puts them first.

    Raises:
        TypeError: If `analyzer` is none.
        ValueError: If there is no such layer, the method has no results there, or x does not fit.

    Reference: Achtibat et al. 2023, "From attribution maps to human-understandable explanations
    through Concept Relevance Propagation".

    Example:
        >>> found = concept_relevance(analyzer, x, layer=model.layers[0].name)
        >>> top = np.argsort(-found[0])[:5]
    """
    options = {"batch_size": batch_size, "verbose": verbose}
    return np.concatenate(list(_pooled(analyzer, x, neuron_selection, layer, "sum", options)))


def reference_samples(
    analyzer: Analyzer,
    data: Any,
    neuron_selection: Any = None,
    *,
    layer: str,
    k: int = 8,
    pooling: str = "sum",
    batch_size: int = 32,
    verbose: int = 0,
) -> ReferenceSamples:
    """The samples of a data set in which each channel of a layer counts most, in one pass.

    With a method such as `"lrp.epsilon"` that is relevance maximisation: what a channel is used
    for. With the analyzer `"input"` it is activation maximisation: what it reacts to.

    Args:
        analyzer: Any analyzer that takes `layers=`.
        data: See `analyzer.analyze`; a data set is read batch by batch and not held.
        neuron_selection: See there.
        layer: The layer's name, as in `layers`.
        k: How many samples there are to be for each channel; fewer if there are fewer.
        pooling: What a channel gets in a sample: the `"sum"` or the `"max"` over its positions.
        batch_size: See `analyzer.analyze`.
        verbose: See there.

    Raises:
        TypeError: If `analyzer` is none.
        ValueError: As `concept_relevance` does; if k < 1, or there are several selections.

    Reference: Achtibat et al. 2023, section "Relevance Maximization".
    """
    k, first = check_whole("k", k, 1), 0
    options = {"batch_size": batch_size, "verbose": verbose}
    values, samples = np.zeros((0, 0)), np.zeros((0, 0), "int64")
    for found in _pooled(analyzer, data, neuron_selection, layer, pooling, options):
        if found.ndim != 2:
            raise ValueError("reference_samples takes one selection for each sample.")
        numbers = np.broadcast_to(first + np.arange(len(found)), found.T.shape)
        if first == 0:
            values, samples = values.reshape(found.shape[1], 0), samples.reshape(found.shape[1], 0)
        values, samples = np.hstack([values, found.T]), np.hstack([samples, numbers])
        best = np.argsort(-values, axis=1, kind="stable")[:, :k]
        values, samples = (np.take_along_axis(y, best, axis=1) for y in (values, samples))
        first += len(found)
    return ReferenceSamples(samples, values)


def _pooled(
    analyzer: Any, x: Any, neuron_selection: Any, layer: str, pooling: str, options: dict
) -> Iterator[np.ndarray]:
    """What channels get, `(samples, ..., channels)`, batch by batch."""
    check_kind("analyzer", analyzer, Analyzer, "an analyzer that create_analyzer has made")
    layer_output(analyzer.task.graph, check_text("layer", layer), "layer")
    reduce = POOLINGS[check_choice("pooling", pooling, POOLINGS)]
    there = analyzer if layer in analyzer.task.targets else analyzer.rebuilt(layers=[layer])
    tensor = layer_output(there.task.graph, layer, "layer")
    axis = channel_axis(there.task.graph, tensor) - len(tensor.shape)
    for found in there.stream(x, neuron_selection, **options):
        y = np.moveaxis(found[layer], axis, -1)
        positions = range(y.ndim - len(tensor.shape) + 1, y.ndim - 1)
        yield reduce(y.astype("float64"), axis=tuple(positions))
