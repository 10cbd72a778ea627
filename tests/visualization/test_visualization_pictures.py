"""Every picture as a whole, against one that has been looked at (`baseline/`).

After a wanted change look at the new picture, whose path the failure names, and copy it there.
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.testing.compare import compare_images

from innvestigate.visualization import (
    plot_comparison,
    plot_heatmap,
    plot_perturbation_curves,
    plot_sequence_logo,
    plot_tabular,
    plot_text,
    plot_time_series,
)

BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 5  # of 255, root mean square: a flipped sign differs by more than 10
ROWS, COLUMNS = np.mgrid[-1:1:16j, -1:1:16j]
RELEVANCE = np.exp(-8 * ((ROWS - 0.4) ** 2 + COLUMNS**2)) - np.exp(
    -4 * ((ROWS + 0.5) ** 2 + (COLUMNS + 0.4) ** 2)
)
PHOTO = np.stack([(ROWS + 1) / 2, (COLUMNS + 1) / 2, np.hypot(ROWS, COLUMNS) / 2], axis=-1)
TIME = np.linspace(0, 6, 80)
SERIES = np.stack([np.sin(TIME), np.cos(3 * TIME)], axis=-1)
SHARES = np.stack([np.cos(2 * TIME), TIME / 6 - 0.2], axis=-1)


@pytest.fixture(autouse=True)
def _own_style():
    with mpl.style.context("default"), mpl.rc_context({"backend": "agg"}):
        yield
        mpl.pyplot.close("all")


def axes(width, height):
    return mpl.pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def draw_heatmap(sign=1):
    return plot_heatmap(sign * RELEVANCE, axes(2.4, 2), colorbar=True).figure


def draw_positive_heatmap():
    return plot_heatmap(np.abs(RELEVANCE), axes(2.4, 2), colorbar=True).figure


def draw_overlay(sign=1):
    return plot_heatmap(sign * RELEVANCE, axes(2, 2), image=PHOTO).figure


def draw_comparison(sign=1):
    relevances = {"gradient": RELEVANCE, "lrp.epsilon_plus": -RELEVANCE}
    batches = {name: sign * np.stack([r, r**3]) for name, r in relevances.items()}
    return plot_comparison(np.stack([PHOTO, 1 - PHOTO]), batches, ["first", "second"])


def draw_text(sign=1):
    tokens = ["not", "a", "good", "film", ",", "but", "<great>", "fun", "to", "watch", "!"]
    return plot_text(tokens, sign * np.linspace(-2, 2, 11) ** 3, width=2.6).figure


def draw_text_matrix(sign=1):
    tokens = ["a", "good", "film", "$but$", "long"]
    relevance = sign * np.tril(np.add.outer(np.arange(5), -2 * np.arange(5)) + 1.0)
    return plot_text(tokens, relevance, targets=[*tokens[1:], "."], width=2.6).figure


def draw_sequence_logo(sign=1):
    relevance = sign * np.eye(4)[[0, 1, 2, 3, 3, 1, 0, 2]] * np.linspace(-1, 2, 8)[:, None]
    return plot_sequence_logo(relevance, axes(3, 1.6), highlights=[(5, 8)]).figure


def draw_time_series(sign=1):
    return plot_time_series(SERIES[:, 0], sign * SHARES[:, 0], axes(3, 1.6), time=TIME).figure


def draw_channels(sign=1):
    ax = axes(3.2, 2)
    names = ["one", "two"]
    plot_time_series(SERIES, sign * SHARES, ax, style="background", names=names, colorbar=True)
    return ax.figure


def draw_tabular(sign=1):
    relevance = sign * np.array([0.5, -3.0, 1.0, 0.2, 2.0, -0.7])
    ax = axes(3, 1.8)
    return plot_tabular(relevance, ax, names=list("abcdef"), values=range(6), top=4).figure


def draw_perturbation_curves(sign=1):
    fraction = np.linspace(0, 1, 11)
    tables = [
        pd.DataFrame({"method": method, "order": order, "fraction": fraction}).assign(
            mean=sign * np.exp(-speed * fraction), error=0.05
        )
        for method, order, speed in [
            ("lrp", "most_relevant", 4),
            ("lrp", "least_relevant", 0.3),
            ("gradient", "most_relevant", 2),
            ("random order", "random", 1),
        ]
    ]
    return plot_perturbation_curves(pd.concat(tables), axes(4, 2)).figure


SIGNED = [
    *(draw_heatmap, draw_overlay, draw_comparison, draw_text, draw_text_matrix, draw_sequence_logo),
    *(draw_time_series, draw_channels, draw_tabular, draw_perturbation_curves),
]


@pytest.mark.parametrize("draw", [*SIGNED, draw_positive_heatmap])
def test_the_picture_is_the_one_that_was_looked_at(draw, tmp_path):
    drawn = tmp_path / f"{draw.__name__.removeprefix('draw_')}.png"
    draw().savefig(drawn, dpi=50)
    assert compare_images(BASELINE / drawn.name, drawn, tol=TOLERANCE) is None


@pytest.mark.parametrize("draw", SIGNED)
def test_a_flipped_sign_is_seen(draw, tmp_path):
    images = []
    for sign in (1, -1):
        draw(sign).savefig(tmp_path / "picture.png", dpi=50)
        images.append(mpl.pyplot.imread(tmp_path / "picture.png")[..., :3] * 255)
    assert np.sqrt(np.mean((images[0] - images[1]) ** 2)) > 10
