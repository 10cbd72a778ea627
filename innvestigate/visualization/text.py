"""Relevance of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.text import Annotation

from innvestigate.utils.arguments import check_number, check_texts
from innvestigate.visualization.scales import (
    LARGEST,
    check_axes,
    colour_scale,
    ink_on,
    numbers,
    say_sum,
    size_in_points,
)

SMALLEST = 4.0  # points
LINE, PAD, GAP = 1.75, 0.2, 0.15  # of lines, in boxes, between boxes: in units of the font size


@dataclass(frozen=True)
class HTML:
    """A piece of HTML that notebooks display. `str` gives its source."""

    source: str

    def _repr_html_(self) -> str:
        return self.source

    def __str__(self) -> str:
        return self.source


def text_html(tokens: Sequence[str], relevance: np.ndarray, *, signed: bool | None = None) -> HTML:
    """Colour tokens by their relevance, as HTML for notebooks and web pages.

    Red speaks for the output, blue against it; the strongest token has the full colour. The number
    appears where the pointer rests on a token. Where there is no relevance at all, that is said.

    Args:
        tokens: The words or pieces of words. Markup in them is shown, not followed.
        relevance: One number for each token.
        signed: Whether to use the diverging map; by default wherever a value is negative.

    Returns:
        An object that notebooks display; `str` gives its source.

    Raises:
        TypeError: If tokens are not strings, or the relevance is not numeric.
        ValueError: If the relevance is not one finite number for each token, or there is none.
    """
    tokens = check_texts("tokens", tokens)
    relevance = _of_tokens(tokens, relevance)
    colours = colour_scale(relevance, signed=signed).to_rgba(relevance)
    spans = " ".join(
        f'<span title="{value:+.4g}" style="background:{to_hex(colour)};color:{ink_on(colour)};'
        f'padding:0.1em 0.2em;border-radius:0.2em">{escape(token)}</span>'
        for token, value, colour in zip(tokens, relevance, colours, strict=True)
    )
    zero = "" if np.any(relevance) else '<div style="color:#595959">all zero</div>'
    return HTML(f'<div style="line-height:1.9;background:white;padding:0.3em">{spans}{zero}</div>')


def plot_text(
    tokens: Sequence[str],
    relevance: np.ndarray,
    ax: Axes | None = None,
    *,
    targets: Sequence[str] | None = None,
    width: float = 6.4,
    fontsize: float = 11,
    signed: bool | None = None,
    accounted: float | None = None,
) -> Axes:
    """Draw tokens in lines, each on the colour of its relevance; or a matrix for several targets.

    Red speaks for the output, blue against it; the strongest token has the full colour.

    Args:
        tokens: The words or pieces of words.
        relevance: One number for each token; with `targets` a row of such for each target.
        ax: Axes to draw on, by default new ones as high as the text.
        targets: What the rows of a matrix explain, such as the tokens that a model wrote.
        width: Width of new axes, in inches.
        fontsize: Size of the letters, in points. Lines of text are made smaller on axes that are
            too small.
        signed: Whether to use the diverging map; by default wherever a value is negative.
        accounted: Which share of what is explained the relevance adds up to, as
            `analyzer.accounted` says, to be written below.

    Returns:
        The axes, with a text for each token; with `targets` with tokens and targets along the axes.

    Raises:
        TypeError: If tokens are not strings, or the relevance is not numeric.
        ValueError: If the relevance is not one finite number for each token (and target), or there
            is none.
    """
    tokens = check_texts("tokens", tokens)
    check_axes(ax)
    width = check_number("width", width, above=0, most=LARGEST)
    fontsize = check_number("fontsize", fontsize, above=0, most=LARGEST)
    if targets is not None:
        targets = check_texts("targets", targets)
        relevance = _of_targets(tokens, targets, relevance)
        return _plot_matrix(tokens, targets, relevance, ax, width, fontsize, signed)
    relevance = _of_tokens(tokens, relevance)
    colours = colour_scale(relevance, signed=signed).to_rgba(relevance)
    new = None
    if ax is None:
        new = plt.figure(figsize=(width, 1))
        ax = new.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    texts = [
        _draw_token(ax, token, colour, fontsize)
        for token, colour in zip(tokens, colours, strict=True)
    ]
    across, down = size_in_points(ax)
    height = _lay_out(texts, across, down if new is None else np.inf)
    if new is not None:
        new.set_figheight(height / 72)
    say_sum(ax, relevance, accounted)
    return ax


def _plot_matrix(tokens, targets, relevance, ax, width, fontsize, signed) -> Axes:
    """A row for each target, a column for each token."""
    if ax is None:
        height = (len(targets) * LINE * fontsize + max(map(len, tokens)) * fontsize) / 72
        ax = plt.subplots(figsize=(width, height), layout="constrained")[1]
    scale = colour_scale(relevance, signed=signed)
    ax.imshow(relevance, cmap=scale.cmap, norm=scale.norm, aspect="auto", interpolation="none")
    shown = [[token.replace("\n", "↵") for token in labels] for labels in (tokens, targets)]
    ax.set_xticks(range(len(tokens)), shown[0], rotation=90, fontsize=fontsize, parse_math=False)
    ax.set_yticks(range(len(targets)), shown[1], fontsize=fontsize, parse_math=False)
    ax.tick_params(length=0)
    return ax


def _draw_token(ax: Axes, token: str, colour: Any, fontsize: float) -> Annotation:
    return ax.annotate(
        token.replace("\n", "↵"),
        (0, 1),
        (0, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        va="baseline",
        color=ink_on(colour),
        fontsize=fontsize,
        parse_math=False,
        bbox={"boxstyle": f"round,pad={PAD},rounding_size=0.2", "fc": colour, "ec": "none"},
    )


def _lay_out(texts: list[Annotation], width: float, height: float) -> float:
    """Put the texts into lines of a width, smaller if need be; all in points. Gives the height."""
    unit = 72 / texts[0].figure.dpi
    largest = texts[0].get_fontsize()
    for fontsize in [*np.arange(largest, SMALLEST, -0.5)] or [largest]:
        for text in texts:
            text.set_fontsize(fontsize)
        boxes = np.array([text.get_window_extent().width * unit for text in texts])
        boxes += 2 * PAD * fontsize
        places = _wrap(boxes, width, GAP * fontsize)
        used = (places[-1][0] + 1) * LINE * fontsize
        if used <= height and boxes.max() <= width:
            break
    for text, (line, x) in zip(texts, places, strict=True):
        text.set_position((x + PAD * fontsize, -(line + 0.68) * LINE * fontsize))
    return used


def _wrap(boxes: np.ndarray, limit: float, gap: float) -> list[tuple[int, float]]:
    """The line of each box and its distance from the left, for boxes of the given widths."""
    places, line, x = [], 0, 0.0
    for box in boxes:
        if x and x + box > limit:
            line, x = line + 1, 0.0
        places.append((line, x))
        x += box + gap
    return places


def _of_tokens(tokens: Sequence[str], relevance: np.ndarray) -> np.ndarray:
    relevance = numbers(
        relevance,
        "relevance",
        ranks=(1,),
        expected="one number for each token. Sum over the axis of an embedding: relevance.sum(-1). "
        "Rows for several targets need targets=.",
    )
    _check_number(len(tokens), len(relevance))
    return relevance


def _of_targets(tokens: Sequence[str], targets: Sequence[str], relevance: Any) -> np.ndarray:
    expected = "a row for each target with one number for each token."
    relevance = numbers(relevance, "relevance", ranks=(2,), expected=expected)
    if len(relevance) != len(targets):
        raise ValueError(
            f"Expected a row for each target. Received {len(targets)} targets and "
            f"{len(relevance)} rows."
        )
    _check_number(len(tokens), relevance.shape[1])
    return relevance


def _check_number(tokens: int, found: int) -> None:
    if found != tokens:
        raise ValueError(
            f"Expected one number for each token. Received {tokens} tokens and {found} numbers. "
            "Cut off what the padding got: relevance[..., :len(tokens)]."
        )
