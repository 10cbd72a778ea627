"""Relevance of features with names, and curves of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from innvestigate.utils.arguments import check_kind, check_list, check_whole, listed
from innvestigate.visualization.scales import (
    AGAINST,
    FOR,
    check_axes,
    numbers,
    say_sum,
    size_in_points,
)

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#56606b")
PARTS = {"sent": "0.8", "bias": "#0072b2", "stabiliser": "#e69f00", "dropped": "#d55e00"}
MARKERS = (None, "o", "s", "^", "D", "v", "x")


def plot_tabular(
    relevance: np.ndarray,
    ax: Axes | None = None,
    *,
    names: Sequence[str] | None = None,
    values: Sequence[object] | None = None,
    top: int | None = 10,
    accounted: float | None = None,
) -> Axes:
    """Draw the relevance of named features as bars, the largest on top.

    Red bars to the right speak for the output, blue bars to the left against it. What is not shown
    alone is summed up in one pale bar, so that the bars add up to the relevance.

    Args:
        relevance: Array `(features,)`, or a series, such as a row of a frame.
        ax: Axes to draw on; by default new ones.
        names: A name for each feature; by default the index of the relevance if that is a series,
            else that of the values.
        values: The features' values, to be written behind their names. Of two series each value is
            found by its index.
        top: How many features get a bar of their own; None for all.
        accounted: Which share of what is explained the relevance adds up to, as
            `analyzer.accounted` says, to be written below.

    Returns:
        The axes, with a bar for each line, from top to bottom.

    Raises:
        TypeError: If the relevance is not numeric.
        ValueError: If the relevance is not one finite number for each feature, there are not as
            many names or values, or none, two series have not the same index, or top < 1.
    """
    names, values = _given_names(names, relevance, values), _by_index(relevance, values)
    relevance = numbers(
        relevance,
        "relevance",
        ranks=(1,),
        expected="that of one sample, (features,). For a batch, pass relevance[i].",
    )
    check_axes(ax)
    names = [str(name) for name in _for_each("names", names, relevance)]
    values = None if values is None else _for_each("values", values, relevance)
    top = None if top is None else check_whole("top", top, 1)
    order = np.argsort(-np.abs(relevance), kind="stable")
    shown, rest = order[:top], order[len(order) if top is None else top :]
    lengths, labels = relevance[shown], [_label(names, values, i) for i in shown]
    if len(rest):
        lengths = np.append(lengths, relevance[rest].sum())
        labels.append(f"{len(rest)} other feature{'s' * (len(rest) > 1)}")
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 0.8 + 0.28 * len(lengths)), layout="constrained")[1]
    bars = ax.barh(
        np.arange(len(lengths)),
        lengths,
        height=0.7,
        color=[FOR if length > 0 else AGAINST for length in lengths],
    )
    for bar in bars[len(shown) :]:
        bar.set_alpha(0.5)
    ax.bar_label(bars, fmt="{:+#.3g}", padding=3, fontsize=8)
    ax.set_yticks(np.arange(len(lengths)), labels, parse_math=False)
    _style_bars(ax)
    _leave_room(ax, min(0.0, *lengths), max(0.0, *lengths))
    say_sum(ax, relevance, accounted, below=26)
    return ax


def _for_each(name: str, given: Any, relevance: np.ndarray) -> list:
    """An argument as a list, if it has an entry for each number of relevance."""
    found = check_list(name, given)
    if len(found) != len(relevance):
        raise ValueError(
            f"Expected {len(relevance)} {name}, one for each number of relevance. "
            f"Received: {len(found)}."
        )
    return found


def _by_index(relevance: Any, values: Any) -> Any:
    """The values in the order of the relevance, where both are series."""
    if not (isinstance(relevance, pd.Series) and isinstance(values, pd.Series)):
        return values
    both = relevance.index, values.index
    if not all(index.is_unique for index in both) or set(both[0]) != set(both[1]):
        raise ValueError(
            "The values are found by the index of the relevance: each feature once. Received: "
            f"[{listed(both[1])}] and [{listed(both[0])}]."
        )
    return values[relevance.index]


def _given_names(names: Any, relevance: Any, values: Any) -> Any:
    """The names; by default the index of a series."""
    series = [given for given in (relevance, values) if isinstance(given, pd.Series)]
    if names is None and not series:
        raise ValueError(
            "names must be a list, one for each number of relevance. Received: None, and neither "
            "relevance nor values is a series, whose index holds them."
        )
    return list(series[0].index) if names is None else names


def plot_audit(ledger: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw what became of the relevance in each step as stacked bars, the output on top.

    What was sent on is grey; what biases, the stabiliser and exact zeros took is coloured. Positive
    parts go to the right, negative ones to the left.

    Args:
        ledger: The books as a table, `analyzer.audit(x).to_frame()`.
        ax: Axes to draw on; by default new ones.

    Returns:
        The axes, with a bar for each step, from top to bottom.

    Raises:
        ValueError: If the table has no rows, or lacks a column.
    """
    check_axes(ax)
    check_kind("ledger", ledger, pd.DataFrame, "the table analyzer.audit(x).to_frame()")
    missing = [name for name in ("step", *PARTS) if name not in ledger]
    if missing or not len(ledger):
        raise ValueError(
            f"plot_audit draws the table analyzer.audit(x).to_frame() of a method that sends "
            f"relevance from step to step. Received: {len(ledger)} rows, without {missing}."
        )
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 0.9 + 0.26 * len(ledger)), layout="constrained")[1]
    places = np.arange(len(ledger))
    ends = np.zeros((2, len(ledger)))  # where negative and positive parts end
    for part, colour in PARTS.items():
        lengths = ledger[part].to_numpy("float64")
        side = (lengths > 0).astype(int)
        ax.barh(places, lengths, left=ends[side, places], height=0.7, color=colour, label=part)
        ends[side, places] += lengths
    ax.set_yticks(places, ledger["step"], parse_math=False)
    _style_bars(ax)
    ax.legend(fontsize=8, frameon=False)
    return ax


def _style_bars(ax: Axes) -> None:
    """Axes of bars from top to bottom, to both sides of zero."""
    ax.invert_yaxis()
    ax.axvline(0, color="black", lw=0.8)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_xlabel("relevance")


def _leave_room(ax: Axes, low: float, high: float) -> None:
    """Put limits around bars from low to high that leave room for the numbers at their ends."""
    sides = np.array([low < 0, high > 0 or low == 0])
    share = min(36 / size_in_points(ax)[0], 0.35) * sides  # of the width, for the numbers
    room = share * ((high - low) or 1.0) / (1 - share.sum())
    ax.set_xlim(low - room[0], high + room[1])


def plot_perturbation_curves(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw how the output falls while more and more regions of the input are replaced.

    One line for each method and order, with a band of one standard error to both sides. The random
    order is dashed. With the most relevant regions first, the steeper the fall, the better. Of the
    metric "road" the curves are the accuracy.

    Args:
        table: A row for each method, order and step, with the columns `method`, `order`,
            `fraction` (of the regions that are replaced), `mean` and `error`: the `curves` of
            `innvestigate.evaluation.evaluate`. Rows of the order "random" are the baseline. Where
            there is a column `metric`, it holds one: `curves[curves["metric"] == "insertion"]`.
        ax: Axes to draw on; by default new ones.

    Returns:
        The axes, with a line for each method and order and a legend on their right.

    Raises:
        TypeError: If the table is not a DataFrame.
        ValueError: If the table is empty, a column is missing, a fraction or mean is not finite, or
            there are curves of several metrics.
    """
    check_axes(ax)
    _check_table(table)
    if ax is None:
        ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")[1]
    random = table["order"] == "random"
    orders = list(dict.fromkeys(table["order"][~random]))
    methods = list(dict.fromkeys(table["method"][~random]))
    for (method, order), rows in table[~random].groupby(["method", "order"], sort=False):
        number = methods.index(method)
        _draw_curve(
            ax,
            rows,
            label=method if len(orders) == 1 else f"{method}, {order.replace('_', ' ')}",
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number // len(COLOURS) % len(MARKERS)],
            ls=("-", "-.", ":")[orders.index(order) % 3],
        )
    for method, rows in table[random].groupby("method", sort=False):
        _draw_curve(ax, rows, label=method, color="0.4", ls="--")
    changed, watched = _labels(table)
    ax.set(xlabel=f"fraction of {changed}", ylabel=watched, xlim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    legend = ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for text in legend.get_texts():
        text.set_parse_math(False)
    return ax


def _labels(table: pd.DataFrame) -> tuple[str, str]:
    """What is changed along the curves, and what they show."""
    metric = table["metric"].iloc[0] if "metric" in table else ""
    known = {"insertion": ("regions put back", "output"), "road": ("places removed", "accuracy")}
    return known.get(metric, ("regions replaced", "output"))


def _draw_curve(ax: Axes, rows: pd.DataFrame, **style: Any) -> None:
    rows = rows.sort_values("fraction")
    x, mean, error = (rows[name].to_numpy("float64") for name in ("fraction", "mean", "error"))
    (line,) = ax.plot(x, mean, lw=1.5, ms=4, markevery=0.1, **style)
    ax.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.15, lw=0)


def _check_table(table: pd.DataFrame) -> None:
    check_kind("table", table, pd.DataFrame, "a pandas DataFrame")
    missing = {"method", "order", "fraction", "mean", "error"} - set(table.columns)
    if missing or not len(table):
        raise ValueError(
            f"Expected a row for each method, order and step. The table has {len(table)} rows and "
            f"lacks the columns: {sorted(missing)}."
        )
    metrics = list(dict.fromkeys(table["metric"])) if "metric" in table else []
    if len(metrics) > 1:
        raise ValueError(
            f"The table holds curves of several metrics: {', '.join(map(str, metrics))}. Choose "
            f"one: table[table['metric'] == {metrics[0]!r}]."
        )
    for name, column in {
        "fraction": table["fraction"],
        "mean": table["mean"],
        "error": table["error"].fillna(0),  # a single sample has none
    }.items():
        numbers(column, name, ranks=(1,), expected="one number for each row.")


def _label(names: Sequence[str], values: Sequence[object] | None, i: int) -> str:
    if values is None:
        return str(names[i])
    value = values[i]
    return f"{names[i]} = {value:.4g}" if isinstance(value, Real) else f"{names[i]} = {value}"
