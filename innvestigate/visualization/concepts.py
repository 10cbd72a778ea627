"""Single channels of a layer: where they are used in an image, and samples that show what for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from innvestigate.utils.arguments import as_array, check_number, check_texts
from innvestigate.visualization.images import draw_image, image_to_look_at, plot_heatmap


def plot_concepts(
    image: np.ndarray,
    heatmaps: np.ndarray,
    references: np.ndarray,
    *,
    reference_heatmaps: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    cell: float = 1.1,
) -> Figure:
    """Draw a row for each channel: its heatmap over the image, then its reference samples.

    Args:
        image: The image that is explained, `(height, width[, channels])`, as bytes or in [0, 1].
            Other values are stretched to that range.
        heatmaps: The heatmap of each channel alone, as `analyze(x, conditions=...)` returns them,
            `(n, height, width[, channels])`.
        references: The k samples in which each channel counts most, as
            `innvestigate.analyzer.reference_samples` finds them,
            `(n, k, height, width[, channels])`, each drawn as `image` is.
        reference_heatmaps: The heatmaps of the channels in these, in the same shape, to be drawn
            over them; by default they are shown as they are.
        names: What to call the channels; by default numbers of the rows.
        cell: Side of a picture, in inches.

    Returns:
        The figure.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If a reference has not 1, 3 or 4 channels, or there are not as many heatmaps,
            references and names; see also `plot_heatmap`.

    Example:
        >>> layer = model.layers[0].name
        >>> found = innvestigate.analyzer.reference_samples(analyzer, x_train, layer=layer, k=6)
        >>> maps = [analyzer.analyze(x[:1], conditions={layer: c})[0] for c in (0, 1)]
        >>> figure = plot_concepts(x[0], np.stack(maps), x_train[found.samples[[0, 1]]])
    """
    heatmaps, references = as_array("heatmaps", heatmaps), as_array("references", references)
    cell = check_number("cell", cell, above=0)
    if heatmaps.ndim < 3 or references.ndim < 4 or not references.size:
        raise ValueError(
            "Expected heatmaps (n, height, width[, channels]) and references (n, k, height, width[,"
            f" channels]). Received the shapes: {heatmaps.shape} and {references.shape}."
        )
    names = [str(i) for i in range(len(heatmaps))] if names is None else check_texts("names", names)
    over: Any = [[None] * references.shape[1]] * len(references)
    if reference_heatmaps is not None:
        over = as_array("reference_heatmaps", reference_heatmaps)
        if over.shape[:4] != references.shape[:4]:
            shapes = f"{over.shape} and {references.shape}"
            raise ValueError(f"reference_heatmaps must fit references. Received: {shapes}.")
    if not len(heatmaps) == len(references) == len(names) == len(over):
        raise ValueError(
            "Expected as many heatmaps, references, reference_heatmaps and names. Received: "
            f"{len(heatmaps)}, {len(references)}, {len(over)} and {len(names)}."
        )
    rows, columns = len(heatmaps), 1 + references.shape[1]
    size = (cell * columns + 0.4, cell * rows * heatmaps.shape[1] / heatmaps.shape[2] + 0.1)
    figure = plt.figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, name, heatmap, samples, maps in zip(
        grid, names, heatmaps, references, over, strict=True
    ):
        plot_heatmap(heatmap, axes[0], image=image)
        axes[0].set_ylabel(name, fontsize=8, parse_math=False)
        for ax, sample, found in zip(axes[1:], samples, maps, strict=True):
            _draw_sample(ax, sample, found)
    return figure


def _draw_sample(ax: Any, sample: np.ndarray, heatmap: np.ndarray | None) -> None:
    if heatmap is None:
        draw_image(ax, image_to_look_at(sample, sample.shape[:2]))
    else:
        plot_heatmap(heatmap, ax, image=sample)
