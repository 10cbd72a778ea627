"""What of a signal goes on at hidden layers: heatmaps of some channels, neurons or tokens alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import KerasTensor

from innvestigate.engine.targets import layer_output
from innvestigate.graph.places import channel_axes
from innvestigate.graph.step import Graph
from innvestigate.utils.arguments import as_array, check_array, check_keys
from innvestigate.utils.words import shown

if TYPE_CHECKING:
    from innvestigate.engine.base import Analyzer


class Conditions:
    """What of the signal at hidden layers goes on, as `analyze` is asked: R ← c ⊙ R.

    What goes past a layer, as by a skip connection, is left behind, so the result is that of the
    chosen parts alone. The results of all channels of a layer add up to the result without
    conditions where nothing goes past it (and the method does not rectify signals, as guided
    backpropagation does). With layers behind each other: what passes all of them.

    Args:
        analyzer: The analyzer that is asked.
        given: By the name of a layer (as in `layers`) which parts of its output go on: a channel's
            number or a list of them (whole numbers, at most one axis); or an array c of floats or
            bools that broadcasts to the output `(batch, *shape)`, as for a single neuron, a token
            or an attention head. None for no conditions.

    Attributes:
        given: As above.

    Raises:
        TypeError: If `given` is no dict of names.
        ValueError: If the method sends no signal through layers, a name is unknown, there is no
            such channel, or an array does not fit.

    Reference: Achtibat et al. 2023, "From attribution maps to human-understandable explanations
    through Concept Relevance Propagation", section "Concept Relevance Propagation".
    """

    def __init__(self, analyzer: Analyzer, given: Any):
        found = self.given = {} if given is None else check_keys("conditions", given)
        if found and not analyzer.passes_layers:
            raise ValueError(
                f"{type(analyzer).__name__} sends no signal back through the layers to its inputs, "
                f"so there are no conditions to set. Received: conditions={shown(given)}. Methods "
                "that do: 'lrp.*', 'gradient', 'deeplift', 'integrated_gradients'."
            )
        graph = analyzer.task.graph
        tensors = {name: layer_output(graph, name, "conditions") for name in found}
        order = {t: place for place, step in enumerate(graph.steps) for t in step.outputs}
        names = sorted(tensors, key=lambda name: -order.get(tensors[name], -1))
        known = analyzer.task.sizes is None  # else sizes are those of an example
        self._shares = {
            name: _share(name, found[name], tensors[name], graph, known) for name in names
        }

    def __bool__(self) -> bool:
        return bool(self._shares)

    def check_count(self, count: int | None) -> None:
        """Whether there is one entry for each sample, where there is not one for all.

        Args:
            count: The number of samples; None while it is unknown.

        Raises:
            ValueError: If there is not.
        """
        for name, share in self._shares.items():
            if count is not None and len(share) not in (1, count):
                raise ValueError(
                    f"conditions[{name!r}] holds {len(share)} entries for {count} samples: "
                    "expected one for each sample, or one for all."
                )

    def of(self, offset: int, size: int) -> dict[str, np.ndarray]:
        """The share of each row of a batch, `(size, ...)` by layer, from the output to the input.

        Args:
            offset: Samples before the batch.
            size: Samples in the batch.

        Raises:
            ValueError: If an array holds fewer samples than there are.
        """
        return {name: _rows(name, share, offset, size) for name, share in self._shares.items()}


def _rows(name: str, share: np.ndarray, offset: int, size: int) -> np.ndarray:
    if len(share) == 1:
        return np.repeat(share, size, axis=0)
    found = share[offset : offset + size]
    if len(found) != size:
        raise ValueError(
            f"conditions[{name!r}] holds {len(share)} entries for more than {offset + len(found)} "
            "samples: expected one for each sample, or one for all."
        )
    return found


def channel_axis(graph: Graph, tensor: KerasTensor) -> int:
    """The axis of a tensor that holds channels: the last one, unless a layer puts them first."""
    return channel_axes(graph).get(tensor, len(tensor.shape) - 1)


def check_fits(name: str, share: np.ndarray, shape: tuple) -> None:
    """Whether a share broadcasts to what a layer writes, of a shape with None where it is open.

    Raises:
        ValueError: If it does not.
    """
    sizes = zip(share.shape[::-1], shape[::-1], strict=False)
    if share.ndim > len(shape) or any(n not in (1, m) for n, m in sizes if m is not None):
        raise ValueError(
            f"conditions[{name!r}] of shape {share.shape} does not broadcast to what the layer "
            f"writes, {('batch', *shape[1:])}. Expected: a list of channels, or an array that does."
        )


def _share(name: str, given: Any, tensor: KerasTensor, graph: Graph, known: bool) -> np.ndarray:
    """What goes on at a layer: an array with an axis for each of the tensor's."""
    array, rank = as_array(f"conditions[{name!r}]", given), len(tensor.shape)
    if array.dtype.kind in "iu" and array.ndim <= 1:
        return _of_channels(name, np.ravel(array), tensor, channel_axis(graph, tensor))
    array = check_array(f"conditions[{name!r}]", array).astype("float64")
    check_fits(name, array, (None, *tensor.shape[1:]) if known else (None,) * rank)
    return array.reshape(*[1] * (rank - array.ndim), *array.shape)


def _of_channels(name: str, channels: np.ndarray, tensor: KerasTensor, axis: int) -> np.ndarray:
    size = tensor.shape[axis]
    wrong = channels[(channels < 0) | (channels >= (np.inf if size is None else size))]
    if size is None or not channels.size or wrong.size:
        raise ValueError(
            f"conditions[{name!r}] must be numbers of channels, from 0 to "
            f"{'an unknown size' if size is None else size - 1}, at least one. Received: "
            f"{shown(channels.tolist())}."
        )
    share = np.zeros(size)
    share[channels] = 1
    return share.reshape([size if i == axis else 1 for i in range(len(tensor.shape))])
