"""Relevance along a sequence: letters, time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from innvestigate.utils.arguments import (
    check_choice,
    check_flags,
    check_list,
    check_text,
    check_texts,
)
from innvestigate.utils.words import shown
from innvestigate.visualization.scales import (
    add_colorbar,
    check_axes,
    colour_scale,
    numbers,
    say_sum,
)

LETTERS = {"A": "#009e73", "C": "#0072b2", "G": "#e69f00", "T": "#d55e00", "U": "#d55e00"}
INK, SHADE = "#404040", "#fff0b0"
FONT = FontProperties(family="sans", weight="bold")
WIDTH, WIDEST = 0.95, "E"  # of a place; a letter that is narrower than this one is not made wider


def plot_sequence_logo(
    relevance: np.ndarray,
    ax: Axes | None = None,
    *,
    alphabet: str = "ACGT",
    highlights: Sequence[tuple[int, int]] = (),
    accounted: float | None = None,
) -> Axes:
    """Draw letters as high as their relevance: above the line for the output, below it against it.

    Where several letters have relevance at one place they are stacked. For relevance of one-hot
    sequences, the letters that do not occur have none after input times gradient and its kin.

    Args:
        relevance: Array `(length, letters)`.
        ax: Axes to draw on; by default new ones.
        alphabet: The letters, in the order of the last axis. A, C, G, T and U have colours of their
            own.
        highlights: Places to shade, as pairs (start, end) where the end is not part of it, counted
            from 0.
        accounted: Which share of what is explained the relevance adds up to, as
            `analyzer.accounted` says, to be written below.

    Returns:
        The axes. Place i is at x = i.

    Raises:
        TypeError: If the relevance is not numeric.
        ValueError: If the relevance has another shape or is not finite, letters occur twice, or a
            highlight is not a range of places.
    """
    relevance = numbers(
        relevance,
        "relevance",
        ranks=(2,),
        expected="that of one sequence, (length, letters). For a batch, pass relevance[i].",
    )
    check_axes(ax)
    check_text("alphabet", alphabet)
    if len(set(alphabet)) != len(alphabet) or relevance.shape[1] != len(alphabet):
        raise ValueError(
            f"Expected different letters, one for each column of relevance. Received the alphabet "
            f"{shown(alphabet)} and the shape {relevance.shape}."
        )
    highlights = [_places(pair, len(relevance)) for pair in check_list("highlights", highlights)]
    if ax is None:
        size = (float(np.clip(0.14 * len(relevance), 4, 14)), 1.8)
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    for start, end in highlights:
        ax.axvspan(start - 0.5, end - 0.5, color=SHADE, lw=0, zorder=-2)
    for position, row in enumerate(relevance):
        for side in (row.clip(min=0), row.clip(max=0)):
            _draw_stack(ax, position, side, alphabet)
    ax.axhline(0, color="black", lw=0.8)
    low, high = relevance.clip(max=0).sum(-1).min(), relevance.clip(min=0).sum(-1).max()
    margin = 0.05 * (high - low) or 1.0
    ax.set(xlim=(-0.5, len(relevance) - 0.5), ylim=(low - margin, high + margin))
    ax.set(xlabel="position", ylabel="relevance")
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    ax.spines[["top", "right"]].set_visible(False)
    say_sum(ax, relevance, accounted, below=26)
    return ax


def _places(pair: Any, length: int) -> tuple[int, int]:
    """A highlight, if it is a range of places.

    Raises:
        ValueError: If it is not.
    """
    given = tuple(pair) if isinstance(pair, (list, tuple, np.ndarray)) else ()
    whole = all(isinstance(n, (int, np.integer)) for n in given)
    if len(given) != 2 or not whole or not 0 <= given[0] < given[1] <= length:
        raise ValueError(
            f"highlights are pairs (start, end) with 0 <= start < end <= {length}. "
            f"Received: {shown(pair)}."
        )
    return int(given[0]), int(given[1])


def _draw_stack(ax: Axes, position: int, row: np.ndarray, alphabet: str) -> None:
    """Letters on top of each other, away from the line, the largest outside."""
    base = 0.0
    for i in np.argsort(np.abs(row)):
        if row[i]:
            _draw_letter(ax, alphabet[i], position, *sorted((base, base + row[i])))
            base += row[i]


def _draw_letter(ax: Axes, letter: str, position: int, bottom: float, top: float) -> None:
    """A letter, stretched from one height to the other one."""
    outline = TextPath((0, 0), letter, size=1, prop=FONT)
    box, widest = outline.get_extents(), TextPath((0, 0), WIDEST, size=1, prop=FONT).get_extents()
    stretch = WIDTH / max(box.width, widest.width), (top - bottom) / box.height
    placed = Affine2D().translate(-(box.x0 + box.x1) / 2, -box.y0).scale(*stretch)
    path = placed.translate(position, bottom).transform_path(outline)
    ax.add_patch(PathPatch(path, facecolor=LETTERS.get(letter, INK), lw=0))


def plot_time_series(
    series: np.ndarray,
    relevance: np.ndarray,
    ax: Axes | None = None,
    *,
    style: str = "line",
    time: Sequence[float] | None = None,
    names: Sequence[str] | None = None,
    percentile: float = 99.5,
    signed: bool | None = None,
    colorbar: bool = False,
    accounted: float | None = None,
) -> Axes:
    """Draw a time series in the colours of its relevance.

    Red speaks for the output, blue against it, on one scale for all channels. Several channels are
    stacked, each stretched to its own range.

    Args:
        series: Array `(time,)` or `(time, channels)`.
        relevance: Array of the shape of `series`.
        ax: Axes to draw on; by default new ones.
        style: "line" colours the line, "background" the area behind it.
        time: When the values were measured, ascending; by default 0, 1, 2, ...
        names: A name for each channel.
        percentile: Percentile of the absolute values at which the colours saturate, in (0, 100].
        signed: Whether to use the diverging map; by default wherever a value is negative.
        colorbar: Whether to add a colour bar.
        accounted: Which share of what is explained the relevance adds up to, as
            `analyzer.accounted` says, to be written below.

    Returns:
        The axes.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If shapes or lengths do not fit, a number is not finite, `time` does not ascend,
            or `style` is unknown.
    """
    check_choice("style", style, ("line", "background"))
    check_flags(colorbar=colorbar)
    check_axes(ax)
    series, relevance, times = _check_series(series, relevance, time)
    count = series.shape[1]
    names = None if names is None else check_texts("names", names)
    if names is not None and len(names) != count:
        raise ValueError(f"Expected {count} names, one for each channel. Received: {len(names)}.")
    scale = colour_scale(relevance, percentile, signed)
    scale.set_array(relevance)
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 1.4 + 0.7 * count), layout="constrained")[1]
    edges = np.concatenate([times[:1], (times[1:] + times[:-1]) / 2, times[-1:]])
    draw = _draw_line if style == "line" else _draw_background
    rows = [_row(values) for values in series.T] if count == 1 else _stacked(series)
    for (values, limits), shares in zip(rows, relevance.T, strict=True):
        draw(ax, times, edges, values, limits, shares, scale)
    ax.set(xlim=edges[[0, -1]], ylim=(rows[-1][1][0], rows[0][1][1]), xlabel="time")
    if count > 1:
        labels = [str(i) for i in range(count)] if names is None else names
        ax.set_yticks(np.arange(count)[::-1] + 0.5, labels, parse_math=False)
        ax.tick_params(axis="y", length=0)
    elif names is not None:
        ax.set_ylabel(names[0], parse_math=False)
    if colorbar:
        add_colorbar(scale, ax, relevance)
    say_sum(ax, relevance, accounted, below=26)
    return ax


def _row(values: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Values, and limits with a margin."""
    margin = 0.08 * np.ptp(values) or 1.0
    return values, (values.min() - margin, values.max() + margin)


def _stacked(series: np.ndarray) -> list[tuple[np.ndarray, tuple[float, float]]]:
    """Each channel in a row of height one, the first on top."""
    rows = []
    for bottom, values in zip(np.arange(series.shape[1])[::-1], series.T, strict=True):
        _, (low, high) = _row(values)
        rows.append((bottom + (values - low) / (high - low), (bottom, bottom + 1)))
    return rows


def _draw_background(ax, time, edges, values, limits, relevance, scale) -> None:
    ax.pcolormesh(edges, limits, relevance[None], cmap=scale.cmap, norm=scale.norm)
    ax.plot(time, values, color="black", lw=1)


def _draw_line(ax, time, edges, values, limits, relevance, scale) -> None:
    """Each value colours the line from half way before to half way after it."""
    ax.plot(time, values, color="0.6", lw=3.5, solid_capstyle="round")
    heights = np.interp(edges, time, values)
    pieces = np.stack(
        [
            np.stack([edges[:-1], heights[:-1]], axis=-1),
            np.stack([time, values], axis=-1),
            np.stack([edges[1:], heights[1:]], axis=-1),
        ],
        axis=1,
    )
    ax.add_collection(
        LineCollection(
            list(pieces),
            array=relevance,
            cmap=scale.cmap,
            norm=scale.norm,
            lw=2.2,
            zorder=3,
            capstyle="round",
        )
    )


def _check_series(series, relevance, time) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series and relevance `(time, channels)` and the times, as float64."""
    shape = "(time,) or (time, channels)."
    series = numbers(series, "series", ranks=(1, 2), expected=shape)
    relevance = numbers(relevance, "relevance", ranks=(1, 2), expected=shape)
    if series.shape != relevance.shape:
        raise ValueError(
            f"series and relevance must have one shape. Received: {series.shape} and "
            f"{relevance.shape}."
        )
    length = len(series)
    time = np.arange(length) if time is None else time
    time = numbers(time, "time", ranks=(1,), expected="one number for each value of the series.")
    if len(time) != length or length < 2 or not (np.diff(time) > 0).all():
        raise ValueError(
            f"Expected at least two points of time, ascending, one for each of the {length} values "
            f"of the series. Received {len(time)}."
        )
    return series.reshape(length, -1), relevance.reshape(length, -1), time
