"""What matters over many samples: one bar for each feature, or one dot for each of its values."""

from __future__ import annotations

import re
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from innvestigate.utils.arguments import check_kind, check_whole
from innvestigate.visualization.frames import relevance_table, value_table
from innvestigate.visualization.scales import check_axes, numbers

BAR, VALUES, NO_VALUE = "0.72", mpl.colormaps["viridis"], "0.6"
QUANTILE = re.compile(r"q(0|1|0\.\d+|\d+e-\d+)")
SLOTS = 90
"""How many dots there is room for side by side."""
APART = 0.09
"""How far dots are above one another, where there is room: the rows are 1 apart."""


def plot_importance(table: pd.DataFrame, ax: Axes | None = None, *, top: int | None = 10) -> Axes:
    """Draw the mean size of the relevance of features as bars, the largest on top.

    A bar is (1/n) Σ|R|, a line upon it goes from the lowest to the highest quantile of R that the
    table has, and a tick is (1/n) ΣR. What is not shown alone is summed up in one pale bar.

    Args:
        table: What `innvestigate.evaluation.importance` returns.
        ax: Axes to draw on; by default new ones.
        top: How many features get a bar of their own; None for all.

    Returns:
        The axes, with a bar for each line, from top to bottom.

    Raises:
        TypeError: If the table is not a DataFrame.
        ValueError: If the table is empty, a column is missing or a number in it not finite, or
            top < 1.
    """
    check_axes(ax)
    names = _names(table)
    quantiles = sorted((n for n in table if QUANTILE.fullmatch(str(n))), key=lambda n: float(n[1:]))
    mean_abs, mean, *spread = (
        numbers(table[name], name, ranks=(1,), expected="one number for each row.")
        for name in ("mean_abs", "mean", *quantiles)
    )
    order = np.argsort(-mean_abs, kind="stable")
    top = len(order) if top is None else check_whole("top", top, 1)
    shown, rest = order[:top], order[top:]
    ax = ax or _new_axes(len(shown) + bool(len(rest)))
    places = np.arange(len(shown))
    ax.barh(places, mean_abs[shown], height=0.7, color=BAR)
    ax.vlines(mean[shown], places - 0.35, places + 0.35, color="black", lw=1.6)
    labels = [names[i] for i in shown]
    told = "bar: mean of |relevance|, tick: mean"
    if len(quantiles) > 1:
        ax.hlines(places, spread[0][shown], spread[-1][shown], color="black", lw=1)
        told += f", line: {_percent(quantiles[0])} to {_percent(quantiles[-1])}"
    if len(rest):
        ax.barh(len(shown), mean_abs[rest].sum(), height=0.7, color=BAR, alpha=0.5)
        labels.append(f"{len(rest)} other feature{'s' * (len(rest) > 1)}")
    _style(ax, labels)
    ax.set_xlabel(told)
    return ax


def plot_beeswarm(
    relevance: Any,
    values: Any = None,
    ax: Axes | None = None,
    *,
    names: Any = None,
    top: int | None = 10,
) -> Axes:
    """Draw a dot for each sample and feature at its relevance, coloured by the feature's value.

    The features of the largest mean |relevance| are on top. Colours go from the 5 % to the 95 %
    quantile of a feature's values. Columns that are no numbers, such as categories, are grey, and
    so are samples whose value is NaN or infinite.

    Args:
        relevance: A frame; an array `(samples, features)`; or a list or dict of these, as of
            several inputs.
        values: The values of the features, in any of these forms; those of frames are found by
            their columns. None for grey dots.
        ax: Axes to draw on; by default new ones.
        names: A name for each feature; by default the columns of the frame.
        top: How many features are shown; None for all.

    Returns:
        The axes, with a collection of dots for each feature, from top to bottom.

    Raises:
        TypeError: If names are no texts.
        ValueError: If the relevance is no table of finite numbers, values or names do not fit it,
            two features have one name, or top < 1.
    """
    check_axes(ax)
    table = relevance_table(relevance, names)
    coloured = None if values is None else value_table("values", values, relevance, table)
    top = table.shape[1] if top is None else check_whole("top", top, 1)
    shown = table.abs().mean().sort_values(ascending=False, kind="stable").index[:top]
    ax = ax or _new_axes(len(shown), 0.42)
    span = float(np.ptp(table[shown].to_numpy())) or 1.0
    for place, name in enumerate(shown):
        at = table[name].to_numpy("float64")
        colours = _colours(None if coloured is None else coloured[name])
        ax.scatter(at, place + _swarm(at, span), s=11, lw=0, c=colours)
    _style(ax, list(shown))
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlabel("relevance")
    if coloured is not None:
        _add_values_bar(ax)
    return ax


def _names(table: Any) -> list[str]:
    """What the rows of a table of importance are called."""
    check_kind("table", table, pd.DataFrame, "the table of innvestigate.evaluation.importance")
    units = [n for n in ("feature", "channel", "position", "token") if n in table]
    missing = {"mean_abs", "mean"} - set(table.columns)
    if missing or not units or not len(table):
        raise ValueError(
            "Expected the table of innvestigate.evaluation.importance. Received: "
            f"{len(table)} rows, which lack {sorted(missing) or 'the names of features'}."
        )
    columns = ["result"] * ("result" in table) + units[:1]
    return ["/".join(map(str, row)) for row in table[columns].itertuples(index=False)]


def _percent(quantile: str) -> str:
    return f"{100 * float(quantile[1:]):g} %"


def _swarm(at: np.ndarray, span: float) -> np.ndarray:
    """How far dots are moved up and down, that those of nearly the same place lie side by side."""
    slots = np.round(at * (SLOTS / span)).astype("int64")
    order = np.argsort(slots, kind="stable")
    _, first, counts = np.unique(slots[order], return_index=True, return_counts=True)
    rank = np.empty(len(at))
    rank[order] = np.arange(len(at)) - np.repeat(first, counts)
    side = np.ceil(rank / 2) * np.where(rank % 2, 1, -1)
    return side * min(APART, 0.45 / max(np.abs(side).max(), 1))


def _colours(values: pd.Series | None) -> Any:
    """The colours of a feature's values."""
    if values is None or values.dtype.kind not in "fiub":
        return NO_VALUE
    values = values.to_numpy("float64")
    known = values[np.isfinite(values)]
    if not known.size:
        return NO_VALUE
    low, high = np.percentile(known, [5, 95])
    if low == high:
        low, high = known.min(), known.max()
    shades = mpl.colors.Normalize(low, high, clip=True)(values)
    return VALUES.with_extremes(bad=NO_VALUE)(np.where(np.isfinite(values), shades, np.nan))


def _add_values_bar(ax: Axes) -> None:
    """A colour bar from low to high values."""
    bar = ax.figure.colorbar(ScalarMappable(cmap=VALUES), ax=ax, fraction=0.03, pad=0.02)
    bar.set_ticks([0, 1], labels=["low", "high"])
    bar.set_label("value of the feature", labelpad=-12)
    bar.outline.set_visible(False)


def _new_axes(rows: int, height: float = 0.28) -> Axes:
    return plt.subplots(figsize=(6.4, 0.8 + height * rows), layout="constrained")[1]


def _style(ax: Axes, labels: list[str]) -> None:
    """Rows from top to bottom, and a line at zero."""
    ax.set_yticks(np.arange(len(labels)), labels, parse_math=False)
    ax.invert_yaxis()
    ax.axvline(0, color="black", lw=0.8, zorder=0.5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
