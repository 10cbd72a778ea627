"""What all pictures share: checked numbers, and the colours that stand for them."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, to_hex

from innvestigate.utils.arguments import (
    as_array,
    check_choice,
    check_flags,
    check_kind,
    check_number,
    numbers_of,
)
from innvestigate.utils.words import shown
from innvestigate.visualization.captions import shares_in_words

DIVERGING, SEQUENTIAL = mpl.colormaps["RdBu_r"], mpl.colormaps["Reds"]
LARGEST = 100
"""Inches and points that nothing may exceed: figures hold pixels."""
FOR, AGAINST = to_hex(DIVERGING(0.87)), to_hex(DIVERGING(0.13))


def numbers(array: Any, name: str, *, ranks: tuple[int, ...], expected: str) -> np.ndarray:
    """An array as float64, checked: of one of the ranks, not empty, all finite."""
    array = as_array(name, array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers. Received: {array.dtype}.")
    if array.ndim not in ranks or not array.size:
        raise ValueError(f"Expected as {name} {expected} Received the shape: {array.shape}.")
    array = array.astype("float64")
    if not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise ValueError(
            f"{name} is not finite at {len(bad)} of {array.size} places, first at "
            f"{tuple(bad[0].tolist())}: {array[tuple(bad[0])]}. There is no colour for that."
        )
    return array


def check_axes(ax: Any) -> None:
    """Refuse what is neither None nor axes of matplotlib.

    Raises:
        TypeError: If it is something else.
    """
    if ax is not None:
        check_kind("ax", ax, Axes, "axes of matplotlib")


def check_colour_map(name: str, value: Any) -> None:
    """Refuse what is no name of a colour map.

    Raises:
        ValueError: If there is no such map.
    """
    check_choice(name, value, mpl.colormaps)


def check_percentile(percentile: float) -> int | float:
    """The percentile, if it is one.

    Raises:
        ValueError: If it is not in (0, 100].
    """
    return check_number("percentile", percentile, above=0, most=100)


def colour_scale(
    relevance: np.ndarray, percentile: float = 100, signed: bool | None = None
) -> ScalarMappable:
    """Colours for relevance: white at zero, saturated at a percentile of the absolute values."""
    percentile = check_percentile(percentile)
    if signed is not None:
        check_flags(signed=signed)
    negative = bool((relevance < 0).any())
    if signed is not None and not signed and negative:
        raise ValueError(
            f"signed=False has no colour for negative relevance. The lowest value is "
            f"{relevance.min():g}. Leave out signed, or pass the absolute values."
        )
    size = np.abs(relevance)
    limit = float(np.percentile(size, percentile) or size.max() or 1.0)
    if not size.any():
        return ScalarMappable(Normalize(-limit if signed else 0, limit), ListedColormap(["white"]))
    if negative or signed:
        return ScalarMappable(Normalize(-limit, limit), DIVERGING)
    return ScalarMappable(Normalize(0, limit), SEQUENTIAL)


def say_sum(ax, relevance: np.ndarray, accounted: float | None, below: float = 3) -> None:
    """Write which share of what is explained relevance adds up to, and where it is all zero.

    Args:
        ax: The axes.
        relevance: The relevance.
        accounted: The share, NaN where nothing is explained; None to write nothing of it.
        below: How far below the axes it is written, in points.

    Raises:
        ValueError: If the share is not one number.
    """
    if accounted is not None:
        share = numbers_of("accounted", accounted)
        if share.ndim:
            raise ValueError(f"accounted must be one number. Received: {shown(accounted)}.")
        style: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "top"}
        told = shares_in_words(share)
        ax.annotate(told, (1, 0), (0, -below), "axes fraction", fontsize=8, color="0.35", **style)
    if not np.any(relevance):
        middle = {"ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(0.5, 0.5, "all zero", fontsize=8, color="0.35", **middle)


def ink_on(colour: tuple[float, ...]) -> str:
    """Black or white, whichever has more contrast with a colour, by the formula of WCAG 2."""
    rgb = np.array(colour[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Grey levels of colours `(..., 3)`, by the weights of Rec. 601."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def add_colorbar(mappable: ScalarMappable, ax, values: np.ndarray):
    """A colour bar whose ends are pointed where values lie beyond them."""
    low, high = mappable.get_clim()
    below, above = bool(low and (values < low).any()), bool((values > high).any())
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]
    return ax.figure.colorbar(
        mappable, ax=ax, extend=extend, fraction=0.046, pad=0.03, label="relevance"
    )


def size_in_points(ax) -> tuple[float, float]:
    """Width and height of axes, after the figure's own layout has been done."""
    ax.get_figure(root=True).draw_without_rendering()
    box = ax.get_window_extent()
    return box.width * 72 / ax.figure.dpi, box.height * 72 / ax.figure.dpi
