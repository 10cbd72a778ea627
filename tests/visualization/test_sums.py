"""Pictures say what their relevance adds up to, and where there is none."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from innvestigate.visualization import (
    plot_audit,
    plot_heatmap,
    plot_sequence_logo,
    plot_tabular,
    plot_text,
    plot_time_series,
)
from innvestigate.visualization.captions import Sums


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


def _drawn_texts(ax):
    return [text.get_text() for text in ax.texts]


TOKENS = ["a", "b", "c"]
SUMS = {
    "heatmap": lambda r, **options: plot_heatmap(r.reshape(1, 3), **options),
    "tabular": lambda r, **options: plot_tabular(r, names=TOKENS, **options),
    "time series": lambda r, **options: plot_time_series(np.arange(3.0), r, **options),
    "logo": lambda r, **options: plot_sequence_logo(r.reshape(1, 3), alphabet="ACG", **options),
    "text": lambda r, **options: plot_text(TOKENS, r, **options),
}


def _told(kind, **options):
    drawn = _drawn_texts(SUMS[kind](np.array([0.5, 0.2, 0.1]), **options))
    return [text for text in drawn if "add" in text]


@pytest.mark.parametrize(
    ("shares", "of", "told"),
    [
        ([1.0], "output", "adds up to 100.00% of the explained output"),
        (0.5, "change", "adds up to 50.00% of the output's change from the reference"),
        ([0.5, np.nan, -1], "output", "adds up to -100.00% to 50.00% of the explained output"),
        ([[1.0], [0.0]], "change", "adds up to 0.00% to 100.00% of the output's change from the"),
        (np.nan, "output", "nothing to add up to: the explained output is zero"),
        ([np.nan] * 2, "change", "nothing to add up to: the output's change from the reference is"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_sums_in_words(shares, of, told):
    assert str(Sums(np.array(shares), of)).startswith(told)
    several = Sums(np.array([shares, shares]), of).at(1)
    assert str(several) == str(Sums(np.array(shares), of))


@pytest.mark.parametrize("kind", SUMS)
def test_pictures_say_what_they_add_up_to(kind):
    relevance = np.array([0.5, 0.2, 0.1])
    assert _told(kind, accounted=0.123) == ["adds up to 12.30% of what is explained"]
    nothing = "nothing to add up to: what is explained is zero"
    assert _told(kind, accounted=np.nan) == [nothing]
    assert _told(kind) == []
    with pytest.raises(ValueError, match="accounted must be one number"):
        SUMS[kind](relevance, accounted=np.array([0.1, 0.2]))


@pytest.mark.parametrize("kind", SUMS)
def test_pictures_of_zeros_say_so(kind):
    assert "all zero" in _drawn_texts(SUMS[kind](np.zeros(3)))
    assert "all zero" not in _drawn_texts(SUMS[kind](np.array([0.0, 0.1, 0.0])))


def test_zeros_are_white():
    drawn = plot_heatmap(np.zeros((2, 2))).images[0]
    assert (drawn.to_rgba(drawn.get_array())[..., :3] == 1).all()


def test_an_audit_is_drawn_as_stacked_bars():
    table = pd.DataFrame(
        {
            "step": ["top", "bottom"],
            "sent": [2.0, -1.0],
            "bias": [1.0, 3.0],
            "stabiliser": [0.5, 0.0],
            "dropped": [0.0, -0.25],
        }
    )
    ax = plot_audit(table)
    bars = {c.get_label(): [(b.get_x(), b.get_width()) for b in c] for c in ax.containers}
    assert bars["sent"] == [(0, 2), (0, -1)]
    assert bars["bias"] == [(2, 1), (0, 3)]
    assert bars["stabiliser"] == [(3, 0.5), (-1, 0)]
    assert bars["dropped"][1] == (-1, -0.25)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["top", "bottom"]
    with pytest.raises(ValueError, match="without \\['sent'"):
        plot_audit(table[["step"]])
