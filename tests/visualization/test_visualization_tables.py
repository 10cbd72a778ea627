"""Bars and curves have the lengths, signs and heights of their numbers."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from innvestigate.visualization import plot_perturbation_curves, plot_tabular

RELEVANCE = np.array([0.5, -3.0, 1.0, 0.0, 2.0])
NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


def names_of(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def test_bars_are_sorted_by_size_and_point_to_their_side():
    before = RELEVANCE.copy()
    ax = plot_tabular(RELEVANCE, names=NAMES)
    assert [bar.get_width() for bar in ax.patches] == [-3, 2, 1, 0.5, 0]
    assert names_of(ax) == ["b", "e", "c", "a", "d"]
    assert ax.yaxis_inverted()
    for bar in ax.patches[:4]:
        red, _, blue, _ = bar.get_facecolor()
        assert (red > blue + 0.3) == (bar.get_width() > 0)
        assert (blue > red + 0.3) == (bar.get_width() < 0)
    numbers = [text.get_text() for text in ax.texts]
    assert [float(number) for number in numbers] == [-3, 2, 1, 0.5, 0]
    assert numbers[:2] == ["-3.00", "+2.00"]
    np.testing.assert_array_equal(RELEVANCE, before)


def test_values_stand_behind_their_names():
    values = [1 / 3, "red", np.float32(2), 12345.678, None]
    ax = plot_tabular(RELEVANCE, names=NAMES, values=values)
    assert names_of(ax) == ["b = red", "e = None", "c = 2", "a = 0.3333", "d = 1.235e+04"]


def test_bars_add_up():
    ax = plot_tabular(RELEVANCE, names=NAMES, top=2)
    assert [bar.get_width() for bar in ax.patches] == [-3, 2, 1.5]
    assert names_of(ax) == ["b", "e", "3 other features"]
    assert ax.patches[2].get_alpha() == 0.5
    assert names_of(plot_tabular(RELEVANCE, names=NAMES, top=4))[-1] == "1 other feature"
    many = np.arange(40.0)
    assert len(plot_tabular(many, names=list(map(str, many))).patches) == 11
    assert len(plot_tabular(many, names=list(map(str, many)), top=None).patches) == 40


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_stay_inside_small_axes(sign):
    _, ax = mpl.pyplot.subplots(figsize=(3, 2), layout="constrained")
    plot_tabular(sign * RELEVANCE, ax, names=["a rather long name"] * 5)
    ax.figure.canvas.draw()
    frame = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1


def test_zeros_are_drawn():
    ax = plot_tabular(np.zeros(2), names=["a", "b"])
    assert [bar.get_width() for bar in ax.patches] == [0, 0]


@pytest.mark.parametrize(
    ("relevance", "arguments", "match"),
    [
        (RELEVANCE[None], {"names": NAMES}, r"pass relevance\[i\]"),
        (RELEVANCE[:0], {"names": []}, r"Received the shape: \(0,\)"),
        (np.array([np.inf]), {"names": ["a"]}, "not finite"),
        (RELEVANCE, {"names": NAMES[:3]}, "Expected 5 names.* Received: 3"),
        (RELEVANCE, {"names": NAMES, "values": [1]}, "Expected 5 values.* Received: 1"),
        (RELEVANCE, {"names": NAMES, "top": 0}, "top must be a whole number >= 1"),
    ],
)
def test_errors_of_bars(relevance, arguments, match):
    with pytest.raises(ValueError, match=match):
        plot_tabular(relevance, **arguments)


def curve(method, order, means, error=0.1):
    steps = np.arange(len(means))
    return pd.DataFrame(
        {"method": method, "order": order, "step": steps, "fraction": steps / 10}
        | {"mean": means, "error": error}
    )


TABLE = pd.concat(
    [
        curve("random order", "random", [1.0, 0.8, 0.7]),
        curve("gradient", "most_relevant", [1.0, 0.6, -0.2]),
        curve("lrp", "most_relevant", [1.0, 0.3, 0.1]),
    ]
)


def test_curves_are_the_table():
    before = TABLE.copy()
    ax = plot_perturbation_curves(TABLE.sample(frac=1, random_state=0))
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"random order", "gradient", "lrp"}
    np.testing.assert_allclose(lines["gradient"].get_xydata(), [[0, 1], [0.1, 0.6], [0.2, -0.2]])
    styles = {name: line.get_linestyle() for name, line in lines.items()}
    assert styles == {"random order": "--", "gradient": "-", "lrp": "-"}
    assert len({line.get_color() for line in ax.lines}) == 3
    assert {text.get_text() for text in ax.get_legend().get_texts()} == set(lines)
    pd.testing.assert_frame_equal(TABLE, before)


@pytest.mark.parametrize(
    ("metric", "changed", "watched"),
    [
        ("region_perturbation", "regions replaced", "output"),
        ("insertion", "regions put back", "output"),
        ("road", "places removed", "accuracy"),
    ],
)
def test_the_axes_say_what_happens(metric, changed, watched):
    ax = plot_perturbation_curves(TABLE.assign(metric=metric))
    assert ax.get_xlabel() == f"fraction of {changed}" and ax.get_ylabel() == watched


def test_bands_are_one_error_to_both_sides():
    ax = plot_perturbation_curves(curve("a", "most_relevant", [1.0, 0.5], [0.1, 0.2]))
    (band,) = ax.collections
    vertices = band.get_paths()[0].vertices
    heights = {x: sorted({y for at, y in vertices.round(9) if at == x}) for x in (0, 0.1)}
    assert heights == {0: [0.9, 1.1], 0.1: [0.3, 0.7]}


def test_a_single_sample_has_no_band():
    ax = plot_perturbation_curves(curve("a", "most_relevant", [1.0, 0.5], np.nan))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 0.5])


def test_orders_of_one_method_share_its_colour():
    table = pd.concat([TABLE, curve("lrp", "least_relevant", [1.0, 0.9, 0.8])])
    lines = {line.get_label(): line for line in plot_perturbation_curves(table).lines}
    most, least = lines["lrp, most relevant"], lines["lrp, least relevant"]
    assert most.get_color() == least.get_color()
    assert most.get_linestyle() != least.get_linestyle() != "--"


def test_many_methods_can_be_told_apart():
    table = pd.concat([curve(f"method {i}", "most_relevant", [1, 0.5]) for i in range(30)])
    lines = plot_perturbation_curves(table).lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 30


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        (TABLE.iloc[:0], ValueError, "The table has 0 rows"),
        (TABLE.drop(columns=["mean", "order"]), ValueError, r"\['mean', 'order'\]"),
        (TABLE.assign(mean=np.nan), ValueError, "mean is not finite"),
        (
            pd.concat([TABLE.assign(metric="deletion"), TABLE.assign(metric="insertion")]),
            ValueError,
            r"several metrics: deletion, insertion. Choose one: table\[table\['metric'\] ==",
        ),
        (TABLE.to_dict(), TypeError, "table must be a pandas DataFrame. Received: .*of type dict"),
    ],
)
def test_errors_of_curves(table, error, match):
    with pytest.raises(error, match=match):
        plot_perturbation_curves(table)
