"""Pictures of relevance, drawn with matplotlib. Works on any arrays, with or without analyzers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def plot_heatmap(
    relevance: np.ndarray,
    ax: Axes | None = None,
    *,
    percentile: float = 99.5,
    signed: bool | None = None,
) -> Axes:
    """Draw the relevance of one image.

    Channels are summed. Signed relevance gets a diverging map with zero in its middle (red speaks
    for the output, blue against it, white not at all), positive relevance a sequential one. The
    limits are symmetric, so the sign is never normalised away.

    Args:
        relevance: Array of shape `(height, width)` or `(height, width, channels)`.
        ax: Axes to draw on; by default new ones.
        percentile: Percentile of the absolute values at which the colours saturate, in (0, 100].
        signed: Whether to use the diverging map; by default wherever a value is negative.

    Returns:
        The axes.

    Raises:
        ValueError: If the relevance has another rank.
    """
    relevance = np.asarray(relevance, dtype="float64")
    if relevance.ndim not in (2, 3):
        raise ValueError(
            "Expected the relevance of one image: (height, width) or (height, width, channels). "
            f"Received: {relevance.shape}. For a batch, pass relevance[i]."
        )
    if relevance.ndim == 3:
        relevance = relevance.sum(axis=-1)
    ax = plt.subplots()[1] if ax is None else ax
    limit = np.percentile(np.abs(relevance), percentile) or np.abs(relevance).max() or 1.0
    signed = bool((relevance < 0).any()) if signed is None else signed
    colours = ("RdBu_r", -limit) if signed else ("Reds", 0)
    ax.imshow(
        relevance,
        cmap=colours[0],
        vmin=colours[1],
        vmax=limit,
        interpolation_stage="data",  # a shrunk picture averages relevance, not red and blue
    )
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def plot_comparison(
    images: np.ndarray,
    relevances: dict[str, np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    max_columns: int = 19,
    cell: float = 1.1,
    percentile: float = 99.5,
) -> Figure:
    """Draw a grid: one row for each image, one column for each method, the image itself first.

    Args:
        images: Array of shape `(n, height, width, channels)`, for `imshow`.
        relevances: For each method's name, an array of the shape of `images`.
        captions: A text for each image, such as its label and prediction.
        max_columns: Methods side by side; further ones go into another grid below.
        cell: Side of a cell, in inches.
        percentile: See `plot_heatmap`.

    Returns:
        The figure.

    Raises:
        ValueError: If there are not as many captions or relevances as images, or none.
    """
    counts = {len(images), *map(len, relevances.values())} | (
        {len(captions)} if captions else set()
    )
    if len(counts) != 1 or 0 in counts or not relevances:
        raise ValueError(
            f"Expected as many captions and relevances as images ({len(images)}), and at least "
            f"one. Received {len(relevances)} methods and the lengths {sorted(counts)}."
        )
    names = list(relevances)
    bands = [names[i : i + max_columns] for i in range(0, len(names), max_columns)]
    width, height = cell * (len(bands[0]) + 1) + 2.4, cell * len(images) + 1.9
    figure = plt.figure(figsize=(width, height * len(bands)))
    parts = figure.subfigures(len(bands), 1, squeeze=False)[:, 0]
    for part, band in zip(parts, bands, strict=True):
        axes = part.subplots(len(images), len(bands[0]) + 1, squeeze=False)
        part.subplots_adjust(
            left=1.2 / width, right=1 - 1.2 / width, bottom=0.02, top=1 - 1.8 / height, wspace=0.1
        )
        _draw_band(axes, images, {name: relevances[name] for name in band}, captions, percentile)
    return figure


def _draw_band(axes, images, relevances, captions, percentile) -> None:
    for i, image in enumerate(images):
        first = axes[i, 0]
        first.imshow(image, cmap="gray_r" if image.shape[-1] == 1 else None)
        first.set_xticks([])
        first.set_yticks([])
        if captions:
            first.set_ylabel(captions[i], rotation=0, ha="right", va="center", fontsize=9)
        for ax, relevance in zip(axes[i, 1:], relevances.values(), strict=False):
            plot_heatmap(relevance[i], ax, percentile=percentile)
        for ax in axes[i, len(relevances) + 1 :]:
            ax.set_visible(False)
    for ax, title in zip(axes[0], ["input", *relevances], strict=False):
        ax.set_title(title, rotation=40, ha="left", va="bottom", fontsize=9)
