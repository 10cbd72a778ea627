"""Bars, dots and what shap is given are the numbers of the relevance, under their names."""

import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

import keras
from keras import layers

import innvestigate
from innvestigate.evaluation import Importance
from innvestigate.visualization import plot_beeswarm, plot_importance, plot_tabular, to_shap

RANDOM = np.random.default_rng(0)
NAMES = ["age", "city", "income"]
RELEVANCE = pd.DataFrame(
    RANDOM.normal(size=(60, 3)) * [0.5, 3, 1], columns=NAMES, index=[f"s{i}" for i in range(60)]
)
VALUES = pd.DataFrame(
    {
        "city": RANDOM.choice(["oslo", "rome"], 60),
        "income": RANDOM.uniform(0, 100, 60),
        "age": RANDOM.integers(0, 90, 60),
    },
    RELEVANCE.index,
)
OUTPUT = RANDOM.normal(size=60)
PARTS = {"person": RELEVANCE[["age", "income"]], "city": RELEVANCE["city"]}


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


def rows_of(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


# --- Series as the row of a frame -----------------------------------------------------------------

ROW = pd.Series([0.5, -3.0, 1.0], NAMES)


@pytest.mark.parametrize(
    "arguments",
    [
        {"values": pd.Series([1 / 3, "red", 2], NAMES)},
        {"values": pd.Series([2, 1 / 3, "red"], ["income", "age", "city"])},
        {"values": [1 / 3, "red", 2]},
        {"values": [1 / 3, "red", 2], "names": NAMES},
    ],
)
def test_a_row_brings_its_names(arguments):
    ax = plot_tabular(ROW, **arguments)
    assert rows_of(ax) == ["city = red", "income = 2", "age = 0.3333"]
    assert [bar.get_width() for bar in ax.patches] == [-3, 1, 0.5]


def test_values_bring_names_to_an_array():
    assert rows_of(plot_tabular(ROW.to_numpy(), values=ROW))[0] == "city = -3"
    numbered = pd.Series([1.0, 2.0], index=[3, 5])
    assert rows_of(plot_tabular(numbered, values=numbered)) == ["5 = 2", "3 = 1"]
    rows = rows_of(plot_tabular(RELEVANCE.iloc[3], values=VALUES.iloc[3]))
    assert dict(row.split(" = ") for row in rows)["city"] == VALUES.iloc[3]["city"]


@pytest.mark.parametrize(
    ("relevance", "values", "match"),
    [
        (ROW.to_numpy(), None, "neither relevance nor values is a series"),
        (ROW, ROW.rename({"age": "Age"}), r"each feature once. Received: \['Age'"),
        (ROW, ROW[["age", "age", "city"]], "each feature once"),
    ],
)
def test_rows_that_do_not_fit(relevance, values, match):
    with pytest.raises(ValueError, match=match):
        plot_tabular(relevance, values=values)


# --- Bars of what matters -------------------------------------------------------------------------


def table(quantiles=None, result=RELEVANCE):
    found = Importance(quantiles=quantiles)
    found.add(result)
    return found.to_frame()


def test_bars_are_the_mean_sizes():
    ax = plot_importance(table())
    assert rows_of(ax) == ["city", "income", "age"]
    means = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(means, RELEVANCE.abs().mean()[rows_of(ax)])
    (ticks,) = ax.collections
    at = [segment[0, 0] for segment in ticks.get_segments()]
    np.testing.assert_allclose(at, RELEVANCE.mean()[rows_of(ax)])
    assert ax.yaxis_inverted() and "%" not in ax.get_xlabel()


def test_lines_go_from_the_lowest_to_the_highest_quantile():
    found = table([0.5, 0.05, 0.95])
    ax = plot_importance(found)
    lines = ax.collections[1].get_segments()
    ends = found.set_index("feature").loc[rows_of(ax), ["q0.05", "q0.95"]]
    np.testing.assert_allclose([line[:, 0] for line in lines], ends)
    assert [line[0, 1] for line in lines] == [0, 1, 2]
    assert "5 % to 95 %" in ax.get_xlabel()
    assert len(plot_importance(table([0.5])).collections) == 1


def test_what_is_not_shown_alone_is_summed_up():
    ax = plot_importance(table([0.1, 0.9]), top=1)
    assert rows_of(ax) == ["city", "2 other features"]
    total = sum(bar.get_width() for bar in ax.patches)
    np.testing.assert_allclose(total, RELEVANCE.abs().mean().sum())
    assert rows_of(plot_importance(table(result=PARTS), top=None))[0] == "city/city"


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        (3, TypeError, "the table of innvestigate.evaluation.importance"),
        (table()[["feature", "mean"]], ValueError, "3 rows, which lack .'mean_abs'."),
        (table().drop(columns="feature"), ValueError, "lack the names of features"),
        (table()[:0], ValueError, "0 rows"),
        (table().assign(mean=np.nan), ValueError, "mean is not finite"),
        (table([0.1, 0.5, 0.9]).assign(**{"q0.9": np.nan}), ValueError, "q0.9 is not finite"),
        (table([0.1, 0.5, 0.9]).assign(**{"q0.5": np.inf}), ValueError, "q0.5 is not finite"),
    ],
)
def test_what_is_no_table_of_importance(wrong, error, match):
    with pytest.raises(error, match=match):
        plot_importance(wrong)


# --- Dots of all samples --------------------------------------------------------------------------


def test_dots_stand_at_their_relevance_in_the_colour_of_their_value():
    ax = plot_beeswarm(RELEVANCE, VALUES)
    assert rows_of(ax) == ["city", "income", "age"]
    for place, (name, dots) in enumerate(zip(rows_of(ax), ax.collections, strict=True)):
        at, heights = dots.get_offsets().T
        np.testing.assert_allclose(at, RELEVANCE[name])
        assert (np.abs(heights - place) < 0.5).all() and np.ptp(heights) > 0
    colours = {
        name: dots.get_facecolors() for name, dots in zip(rows_of(ax), ax.collections, strict=True)
    }
    assert len(colours["city"]) == 1  # grey
    order = np.argsort(VALUES["income"], kind="stable")
    greens = colours["income"][order, 1]
    assert (np.diff(greens) >= 0).all() and np.ptp(greens) > 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_dots_without_a_value_are_grey(missing):
    """They are to be seen, and leave the colours of the others as they are."""
    values = np.array([[1.0, missing], [missing, missing], [2.0, missing], [3.0, missing]])
    some, none = plot_beeswarm(RELEVANCE[NAMES[:2]][:4].iloc[:, ::-1], values).collections[:2]
    grey = mpl.colors.to_rgba("0.6")
    np.testing.assert_allclose(none.get_facecolors(), [grey])
    np.testing.assert_allclose(some.get_facecolors()[1], grey)
    alone = plot_beeswarm(np.array([[1.0], [2], [3]]), values[[0, 2, 3], :1]).collections[0]
    np.testing.assert_allclose(some.get_facecolors()[[0, 2, 3]], alone.get_facecolors())


def test_no_two_dots_of_one_place_lie_upon_each_other():
    same = pd.DataFrame({"a": np.repeat([1.0, 2.0], [6, 3])})
    (dots,) = plot_beeswarm(same).collections
    assert len(np.unique(dots.get_offsets().round(6), axis=0)) == 9


@pytest.mark.parametrize(
    ("relevance", "values"),
    [
        (RELEVANCE.to_numpy(), VALUES[NAMES]),
        (PARTS, {"person": VALUES[["income", "age"]], "city": VALUES["city"]}),
        (list(PARTS.values()), VALUES),
        (RELEVANCE, VALUES[NAMES].to_numpy()),
    ],
)
def test_forms_of_samples(relevance, values):
    names = NAMES if isinstance(relevance, np.ndarray) else None
    ax = plot_beeswarm(relevance, values, names=names, top=2)
    assert rows_of(ax) == ["city", "income"]
    expected = plot_beeswarm(RELEVANCE, VALUES).collections[1]
    np.testing.assert_allclose(ax.collections[1].get_offsets(), expected.get_offsets())


def test_columns_of_one_name_are_called_by_their_input():
    ax = plot_beeswarm({"a": RELEVANCE[["age"]], "b": 2 * RELEVANCE[["age"]]})
    assert rows_of(ax) == ["b/age", "a/age"]
    ax = plot_beeswarm({"a": RELEVANCE.to_numpy()[:, 0], "b": RELEVANCE.to_numpy()[:, 1:]})
    assert rows_of(ax) == ["b/0", "b/1", "a"]


@pytest.mark.parametrize(
    ("relevance", "arguments", "match"),
    [
        (RELEVANCE, {"values": VALUES[["age", "city"]]}, r"\(60, 3\). Received: \(60, 2\)"),
        (RELEVANCE, {"values": VALUES.rename(columns={"age": "Age"})}, "has the columns"),
        (RELEVANCE, {"values": VALUES[::-1]}, "another index"),
        (PARTS, {"values": [VALUES[["income", "age"]], VALUES["city"][::-1]]}, "values/1 has"),
        (RELEVANCE.to_numpy()[0], {}, r"pass x\[None\]"),
        (RELEVANCE.assign(age=np.nan), {}, r"finite numbers. It is not in: \['age'\]"),
        (VALUES, {}, r"finite numbers. It is not in: \['city'\]"),
        (RELEVANCE, {"names": ["a", "b", "a"]}, r"Several are called: \['a'\]"),
        (RELEVANCE.set_axis(["c", "b", "c"], axis=1), {}, r"Several are called: .*c'\]"),
        (RELEVANCE, {"names": ["a"]}, "There are 1 names for 3 columns"),
        ([RELEVANCE, RELEVANCE[:3]], {}, "0: 60, 1: 3"),
        (RELEVANCE, {"top": 0}, "top must be a whole number >= 1"),
    ],
)
def test_samples_that_do_not_fit(relevance, arguments, match):
    with pytest.raises(ValueError, match=match):
        plot_beeswarm(relevance, **arguments)


# --- Explanations of shap -------------------------------------------------------------------------


def test_explanations_hold_the_numbers_and_names():
    found = to_shap(RELEVANCE, OUTPUT, VALUES)
    np.testing.assert_array_equal(found.values, RELEVANCE)
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), OUTPUT)
    assert found.feature_names == NAMES
    assert found.data.tolist() == VALUES[NAMES].to_numpy().tolist()
    assert to_shap(RELEVANCE, 2.0).data is None
    parts = to_shap(PARTS, pd.Series(OUTPUT, RELEVANCE.index))
    assert parts.feature_names == ["age", "income", "city"]
    np.testing.assert_array_equal(parts.values[:, 2], RELEVANCE["city"])


def network():
    keras.utils.set_random_seed(0)
    model = [layers.Input((3,)), layers.Dense(8, "relu"), layers.Dense(2)]
    return keras.Sequential(model)


@pytest.mark.parametrize("method", ["deeplift", "shapley_sampling"])
def test_the_base_is_the_output_at_the_reference(method):
    model, reference = network(), np.array([0.3, -1.0, 2.0], "float32")
    arguments = {"seed": 0, "samples": 4} if method == "shapley_sampling" else {}
    arguments |= {"reference_inputs": reference, "neuron_selection_mode": "index"}
    analyzer = innvestigate.create_analyzer(method, model, **arguments)
    found = to_shap(analyzer.analyze(RELEVANCE, 1), model.predict(RELEVANCE, verbose=0)[:, 1])
    expected = model.predict(reference[None], verbose=0)[0, 1]
    np.testing.assert_allclose(found.base_values, expected, rtol=1e-4, atol=1e-5)


def test_waterfalls_draw_the_numbers():
    import shap

    shap.plots.waterfall(to_shap(RELEVANCE, OUTPUT, VALUES)[4], show=False)
    main, base, top = mpl.pyplot.gcf().axes
    drawn = [float(text.get_text().replace("−", "-")) for text in main.texts]
    np.testing.assert_allclose(sorted(drawn), sorted(RELEVANCE.iloc[4]), atol=0.006)
    ends = [axes.get_xticklabels()[1].get_text().replace("−", "-") for axes in (base, top)]
    starts = OUTPUT[4] - RELEVANCE.iloc[4].sum(), OUTPUT[4]
    np.testing.assert_allclose([float(end.strip("\n$= ")) for end in ends], starts, atol=0.001)


def test_swarms_of_shap_draw_the_numbers():
    import shap

    ax = shap.plots.beeswarm(to_shap(RELEVANCE, OUTPUT, VALUES), show=False)
    drawn = np.concatenate([dots.get_offsets()[:, 0] for dots in ax.collections])
    np.testing.assert_allclose(np.sort(drawn), np.sort(np.ravel(RELEVANCE)))


A, B = RELEVANCE[["age"]], RELEVANCE[["city"]]


@pytest.mark.parametrize(
    ("result", "output", "data", "names"),
    [
        ([A, B], 1.0, [A, B[::-1]], "data/1 has another index than result/0"),
        ([A, B[::-1]], 1.0, None, "relevance/1 has another index than relevance/0"),
        ([A, B["city"][::-1]], 1.0, None, "relevance/1 has another index than relevance/0"),
        (A, pd.Series(OUTPUT, A.index)[::-1], None, "output has another index than result"),
        (A.to_numpy(), pd.Series(OUTPUT), A, "data has another index than output"),
    ],
)
def test_all_rows_have_one_index(result, output, data, names):
    with pytest.raises(ValueError, match=names):
        to_shap(result, output, data)


@pytest.mark.parametrize("output", [OUTPUT[:, None], OUTPUT[:5], np.nan, "text"])
def test_outputs_that_do_not_fit(output):
    with pytest.raises(ValueError, match="output must be"):
        to_shap(RELEVANCE, output)


def test_without_shap_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(ImportError, match=r"pip install 'innvestigate\[shap\]'"):
        to_shap(RELEVANCE, OUTPUT)
