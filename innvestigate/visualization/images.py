"""Relevance of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, NullLocator

from innvestigate.utils.arguments import (
    as_array,
    check_array,
    check_flags,
    check_keys,
    check_number,
    check_text,
    check_texts,
    check_whole,
)
from innvestigate.utils.words import shown
from innvestigate.visualization.scales import (
    LARGEST,
    add_colorbar,
    check_axes,
    check_colour_map,
    colour_scale,
    luminance,
    numbers,
    say_sum,
)

FONT, LETTER = 9, 0.075  # points, and the width of a letter of that size in inches
SLANT = 40  # degrees, for titles that are wider than their pictures


def plot_heatmap(
    relevance: np.ndarray,
    ax: Axes | None = None,
    *,
    image: np.ndarray | None = None,
    alpha: float = 0.9,
    grey: bool = True,
    image_cmap: str = "gray_r",
    percentile: float = 99.5,
    signed: bool | None = None,
    colorbar: bool = False,
    extent: Sequence[float] | None = None,
    unit: str = "",
    accounted: float | None = None,
) -> Axes:
    """Draw the relevance of one image.

    Channels are summed. Signed relevance gets a diverging map with zero in its middle (red speaks
    for the output, blue against it, white not at all), positive relevance a sequential one. The
    limits are symmetric, so the sign is never normalised away. Over an image, opacity grows with
    the absolute relevance, so that the image is seen where there is none.

    Args:
        relevance: Array of shape `(height, width)` or `(height, width, channels)`.
        ax: Axes to draw on; by default new ones.
        image: The image to draw below, `(height, width)` or `(height, width, 1, 3 or 4)`, as bytes
            or in [0, 1]. Other values are stretched to that range.
        alpha: Opacity of the strongest relevance over an image, in (0, 1].
        grey: Whether the image below is drawn in pale grey levels, so that every colour is
            relevance.
        image_cmap: Colour map of an image of a single channel; "gray" for photographs.
        percentile: Percentile of the absolute values at which the colours saturate, in (0, 100].
        signed: Whether to use the diverging map; by default wherever a value is negative.
        colorbar: Whether to add a colour bar.
        extent: The edges of the image, (left, right, bottom, top), such as (0, width * spacing,
            height * spacing, 0), to be written along the axes.
        unit: The unit of `extent`, such as "µm".
        accounted: Which share of what is explained the relevance adds up to, as
            `analyzer.accounted` says, to be written below.

    Returns:
        The axes. The relevance is the last one of their `images`.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If the relevance has another rank or is not finite, the image does not fit it,
            `alpha` or `percentile` are out of range, `signed` is False and a value negative, or
            `extent` has no area.
    """
    relevance = relevance_of_pixels(relevance)
    scale = colour_scale(relevance, percentile, signed)
    alpha = check_number("alpha", alpha, above=0, most=1)
    check_flags(grey=grey, colorbar=colorbar)
    check_colour_map("image_cmap", image_cmap)
    check_axes(ax)
    place = _place(extent, check_text("unit", unit))
    below = None if image is None else image_to_look_at(image, relevance.shape)
    ax = plt.subplots(layout="constrained")[1] if ax is None else ax
    opacity = None
    if below is not None:
        draw_image(ax, below, image_cmap, grey, extent=place)
        opacity = alpha * np.minimum(np.abs(relevance) / scale.norm.vmax, 1)
    drawn = _draw_relevance(ax, relevance, scale, opacity, place)
    _measure(ax, place, unit)
    if colorbar:
        add_colorbar(drawn, ax, relevance)
    say_sum(ax, relevance, accounted, below=3 if place is None else 30)
    return ax


def plot_comparison(
    images: np.ndarray,
    relevances: dict[str, np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    max_columns: int = 19,
    cell: float = 1.1,
    percentile: float = 99.5,
    image_cmap: str = "gray_r",
) -> Figure:
    """Draw a grid: one row for each image, one column for each method, the image itself first.

    Args:
        images: Array of shape `(n, height, width[, channels])`, as bytes or in [0, 1]. Other values
            are stretched to that range, image by image.
        relevances: For each method's name, an array `(n, height, width[, channels])`. A method has
            one colour map for all images, each picture limits of its own.
        captions: A text for each image, such as its label and prediction.
        max_columns: Methods side by side; further ones go into another grid below.
        cell: Side of a cell, in inches.
        percentile: See `plot_heatmap`.
        image_cmap: See `plot_heatmap`.

    Returns:
        The figure.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If there are not as many captions or relevances as images, or none; if a
            relevance has another height or width, or is not finite.
    """
    images = as_array("images", images)
    captions = None if captions is None else check_texts("captions", captions)
    relevances = _checked(images, relevances, captions)
    max_columns = check_whole("max_columns", max_columns, 1)
    cell = check_number("cell", cell, above=0, most=LARGEST)
    check_colour_map("image_cmap", image_cmap)
    pixels = {
        name: np.stack([relevance_of_pixels(r) for r in array])
        for name, array in relevances.items()
    }
    for size in {array.shape[1:] for array in pixels.values()}:
        images = np.stack([image_to_look_at(image, size) for image in images])
    names = list(pixels)
    bands = [names[i : i + max_columns] for i in range(0, len(names), max_columns)]
    titles = ["input", *names]
    slant = SLANT if LETTER * max(map(len, titles)) > cell else 0
    left, top, right = _margins(titles, captions, slant)
    width = left + cell * (len(bands[0]) + 1) + right
    height = top + cell * len(images) + 0.1
    figure = plt.figure(figsize=(width, height * len(bands)))
    parts = figure.subfigures(len(bands), 1, squeeze=False)[:, 0]
    for part, band in zip(parts, bands, strict=True):
        axes = part.subplots(len(images), len(bands[0]) + 1, squeeze=False)
        part.subplots_adjust(
            left=left / width,
            right=1 - right / width,
            bottom=0.1 / height,
            top=1 - top / height,
            wspace=0.1,
            hspace=0.1,
        )
        for ax, image in zip(axes[:, 0], images, strict=True):
            draw_image(ax, image, image_cmap)
        for column, name in zip(axes.T[1:], band, strict=False):
            _draw_column(column, pixels[name], percentile)
        for ax in axes[:, len(band) + 1 :].flat:
            ax.set_visible(False)
        _write(axes, ["input", *band], captions, slant)
    return figure


def _draw_column(axes: np.ndarray, pixels: np.ndarray, percentile: float) -> None:
    signed = bool((pixels < 0).any())
    for ax, relevance in zip(axes, pixels, strict=True):
        plot_heatmap(relevance, ax, percentile=percentile, signed=signed)


def _margins(
    titles: list[str], captions: Sequence[str] | None, slant: float
) -> tuple[float, float, float]:
    """Inches on the left, above and on the right, for captions and titles."""
    lines = [line for caption in captions or [] for line in caption.splitlines()]
    left = LETTER * max(map(len, lines), default=0) + 0.15
    length, angle = LETTER * max(map(len, titles)), np.deg2rad(slant)
    return left, 0.3 + length * np.sin(angle), 0.1 + length * np.cos(angle) * bool(slant)


def _write(
    axes: np.ndarray, titles: list[str], captions: Sequence[str] | None, slant: float
) -> None:
    style: dict[str, Any] = {"fontsize": FONT, "parse_math": False}
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, rotation=slant, ha="left" if slant else "center", **style)
    for ax, caption in zip(axes[:, 0], [] if captions is None else captions, strict=False):
        ax.set_ylabel(caption, rotation=0, ha="right", va="center", **style)


def _draw_relevance(
    ax: Axes, relevance: np.ndarray, scale: ScalarMappable, opacity: Any, place: Any
) -> AxesImage:
    return ax.imshow(
        relevance,
        cmap=scale.cmap,
        norm=scale.norm,  # type: ignore[arg-type]  # of which its stubs know less
        alpha=opacity,
        interpolation_stage="data",  # a shrunk picture averages relevance, not red and blue
        extent=place,
    )


def _place(extent: Any, unit: str) -> tuple[float, float, float, float] | None:
    """Where an image lies, checked; None for nowhere in particular."""
    if extent is None:
        if unit:
            raise ValueError(f"unit is that of extent=, which is missing. Received: {shown(unit)}.")
        return None
    edges = check_array("extent", extent)
    if edges.shape != (4,) or edges[0] == edges[1] or edges[2] == edges[3]:
        raise ValueError(
            "extent must be (left, right, bottom, top), with an area between them. Received: "
            f"{shown(extent)}."
        )
    return tuple(edges.tolist())


def _measure(ax: Axes, place: tuple | None, unit: str) -> None:
    """Numbers along the axes, in a unit; none for an image that lies nowhere in particular."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(NullLocator() if place is None else MaxNLocator(5))
        axis.set_label_text(unit, parse_math=False)


def draw_image(
    ax: Axes, image: np.ndarray, cmap: str = "gray_r", grey: bool = False, extent: Any = None
) -> None:
    """Draw an image; in grey levels it is paler, and colours on top stand out."""
    if image.ndim == 3 and grey:
        image, cmap = luminance(image[..., :3]), "gray"
    colours = image if image.ndim == 3 else mpl.colormaps[cmap](image)[..., :3]
    ax.imshow(0.55 + 0.45 * colours if grey else colours, extent=extent)
    ax.set(xticks=[], yticks=[])


def relevance_of_pixels(relevance: Any) -> np.ndarray:
    """The relevance of each pixel `(height, width)`: the sum over channels."""
    relevance = numbers(
        relevance,
        "relevance",
        ranks=(2, 3),
        expected="that of one image, (height, width) or (height, width, channels). For a batch, "
        "pass relevance[i].",
    )
    return relevance.sum(axis=-1) if relevance.ndim == 3 else relevance


def image_to_look_at(image: Any, size: tuple[int, int]) -> np.ndarray:
    """An image `(height, width)` or `(height, width, 3 or 4)` in [0, 1], of the given size."""
    bytes_given = as_array("image", image).dtype == "uint8"
    image = numbers(
        image, "image", ranks=(2, 3), expected="(height, width) or (height, width, channels)."
    )
    if image.shape[:2] != size or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"Expected an image of the relevance's height and width {size}, with 1, 3 or 4 "
            f"channels. Received the shape: {image.shape}."
        )
    image = image[..., 0] if image.shape[2:] == (1,) else image
    if bytes_given:
        return image / 255
    low, high = image.min(), image.max()
    return (image - low) / ((high - low) or 1) if low < 0 or high > 1 else image


def _checked(images: np.ndarray, relevances: Any, captions: Sequence[str] | None) -> dict:
    """The relevances as arrays, one for each image."""
    given = check_keys("relevances", relevances)
    found = {name: as_array(f"relevance by {name!r}", x) for name, x in given.items()}
    counts = {len(array) if array.ndim else 0 for array in (images, *found.values())}
    counts |= set() if captions is None else {len(captions)}
    if len(counts) != 1 or 0 in counts or not found:
        raise ValueError(
            "Expected as many captions and relevances as images, and at least one. Received "
            f"{len(found)} methods and the lengths {sorted(counts)}."
        )
    return found
