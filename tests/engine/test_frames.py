"""Frames in, frames out: the numbers of arrays bit for bit, under the index and columns given."""

from functools import cache

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import innvestigate
from innvestigate.evaluation import Importance, importance
from tests.frameworks import examples

RANDOM = np.random.default_rng(0)
COLUMNS = ["age", "weight", "year"]
WEIGHTS = np.array([[2.0, -1.0], [0.5, 3.0], [-4.0, 1.0]])
TABLE = pd.DataFrame(
    RANDOM.normal(size=(9, 3)).astype("float32"),
    index=pd.date_range("2024-01-01", periods=9, name="day"),
    columns=pd.Index(COLUMNS, name="what"),
)
PEOPLE = pd.DataFrame(
    {
        "city": pd.Categorical(["oslo", "rome", "oslo", "bonn"]),
        "weight": [60.0, 70.0, 80.0, 90.0],
        "age": np.array([30, 40, 50, 60], "int16"),
    },
    index=["d", "a", "a", "c"],
)


def randomised(model):
    """A model with random weights, none of which is zero."""
    random = np.random.default_rng(1)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


@cache
def network():
    hidden = [layers.Input((3,)), layers.Dense(5, "relu", name="hidden"), layers.Dense(2)]
    return randomised(keras.Sequential(hidden))


@cache
def linear():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2, use_bias=False)])
    model.set_weights([WEIGHTS])
    return model


@cache
def two_inputs():
    numbers, place = layers.Input((3,), name="numbers"), layers.Input((1,), name="place")
    vectors = layers.Flatten()(layers.Embedding(4, 2)(place))
    hidden = layers.Dense(5, "relu")(layers.Concatenate()([numbers, vectors]))
    return randomised(keras.Model([numbers, place], layers.Dense(2)(hidden)))


@cache
def by_column(output_mode="int"):
    """A model of which each column is an input, one of them of strings."""
    age, weight = layers.Input((1,), name="age"), layers.Input((), name="weight")
    city = layers.Input((1,), dtype="string", name="city")
    known = layers.StringLookup(vocabulary=["oslo", "rome"], output_mode=output_mode)(city)
    vector = known if output_mode == "one_hot" else layers.Embedding(4, 3)(known)
    parts = [age, layers.Reshape((1,))(weight), layers.Flatten()(vector)]
    hidden = layers.Dense(5, "relu")(layers.Concatenate()(parts))
    inputs = {"age": age, "city": city, "weight": weight}
    return randomised(keras.Model(inputs, layers.Dense(2)(hidden)))


@cache
def analyzer(model=None, method="lrp.epsilon", **arguments):
    return innvestigate.create_analyzer(method, model or network(), **arguments)


def arrays_of(people):
    """The columns by hand, as the model takes them."""
    return {name: np.array(people[name].tolist()) for name in people}


# --- One input ------------------------------------------------------------------------------------

INDICES = {
    "numbers": pd.RangeIndex,
    "texts": lambda n: pd.Index([f"row {i}" for i in range(n)], name="row"),
    "one and the same": lambda n: pd.Index([7] * n),
    "days": lambda n: pd.date_range("2024", periods=n, name="day"),
    "two levels": lambda n: pd.MultiIndex.from_product([["a"], range(n)], names=["x", None]),
    "backwards": lambda n: pd.Index(range(n)[::-1]),
}
TYPES = ("float32", "float64", "int8", "bool", "Int64", "Float32", "boolean", "category")


@examples(20)
@given(
    st.lists(st.sampled_from(TYPES), min_size=3, max_size=3),
    st.sampled_from(sorted(INDICES)),
    st.integers(1, 9),
    st.integers(1, 10),
    st.randoms(use_true_random=False),
)
def test_a_frame_gets_what_its_numbers_get(types, index, count, batch_size, random):
    largest = [1 if "bool" in each else 3 for each in types]
    rows = [[random.randint(0, most) for most in largest] for _ in range(count)]
    names = random.sample(["b", 2, ("c", 1), "a"], 3)
    columns = pd.Index(names, tupleize_cols=False)
    plain = pd.DataFrame(rows, INDICES[index](count), columns)
    frame = plain.astype(dict(zip(columns, types, strict=True)))
    before = frame.copy()
    found = analyzer().analyze(frame, batch_size=batch_size)
    expected = analyzer().analyze(np.array(rows, "float32"), batch_size=batch_size)
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected, frame.index, columns))
    np.testing.assert_array_equal(found.to_numpy(), expected)
    pd.testing.assert_frame_equal(frame, before)


def test_each_number_stands_under_its_name():
    of_second = analyzer(linear(), "input_t_gradient", neuron_selection_mode="index")
    found = of_second.analyze(TABLE, 1, batch_size=4)
    expected = TABLE.astype("float64") * WEIGHTS[:, 1]
    pd.testing.assert_frame_equal(found.astype("float64"), expected, rtol=1e-6)
    assert found.columns.name == "what" and found.index.freq == TABLE.index.freq


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "smoothgrad", "occlusion"])
def test_all_kinds_of_methods(method):
    arguments = {"seed": 0, "augment_by_n": 2} if method == "smoothgrad" else {}
    created = analyzer(method=method, **arguments)
    expected = created.analyze(TABLE.to_numpy(), batch_size=4)
    pd.testing.assert_frame_equal(
        created.analyze(TABLE, batch_size=4), pd.DataFrame(expected, TABLE.index, TABLE.columns)
    )


def test_rows_keep_their_names_when_they_are_shuffled():
    shuffled = TABLE.sample(frac=1, random_state=3)
    found, expected = analyzer().analyze(shuffled, batch_size=2), analyzer().analyze(TABLE)
    assert not found.index.equals(TABLE.index)
    pd.testing.assert_frame_equal(found.sort_index(), expected, rtol=1e-5, check_freq=False)


@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_a_stream_yields_a_frame_for_each_batch(batch_size):
    parts = list(analyzer().stream(TABLE, batch_size=batch_size))
    assert [len(part) for part in parts[:-1]] == [batch_size] * (len(parts) - 1)
    whole = analyzer().analyze(TABLE, batch_size=batch_size)
    pd.testing.assert_frame_equal(pd.concat(parts), whole, check_freq=False)
    (last,) = analyzer().stream(TABLE, batch_size=4, done=8)
    assert last.index.equals(TABLE.index[8:])


def test_data_sets_of_frames(tmp_path):
    TABLE.to_csv(tmp_path / "table.csv")
    expected = analyzer().analyze(TABLE, batch_size=4)
    with pd.read_csv(tmp_path / "table.csv", index_col=0, chunksize=4) as chunks:
        found = analyzer().analyze(chunks)
    assert list(found.index) == [str(day.date()) for day in TABLE.index]
    assert list(found) == COLUMNS
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-5, atol=1e-6)
    labels = np.arange(9) % 2
    of_index = analyzer(neuron_selection_mode="index")
    pairs = ((TABLE[i : i + 4], labels[i : i + 4]) for i in (0, 4, 8))
    pd.testing.assert_frame_equal(
        of_index.analyze(pairs, "labels"),
        of_index.analyze(TABLE, pd.Series(labels), batch_size=4),
        check_freq=False,
    )


def test_batches_with_other_columns_are_not_joined():
    parts = [TABLE[:4], TABLE[COLUMNS[::-1]][4:]]
    with pytest.raises(ValueError, match="the same columns in the same order"):
        analyzer().analyze(iter(parts))
    with pytest.raises(ValueError, match="the same columns in the same order"):
        analyzer().analyze(iter([TABLE[:4], TABLE[4:].to_numpy()]))


def test_several_selections_are_the_first_level_of_the_columns():
    created = analyzer(neuron_selection_mode="index")
    found = created.analyze(TABLE, np.array([[[1], [0]]]), batch_size=4)
    for i, neuron in enumerate((1, 0)):
        expected = created.analyze(TABLE, neuron, batch_size=4)
        pd.testing.assert_frame_equal(found[i], expected, rtol=1e-5, atol=1e-6)
    assert found.columns.names == ["selection", "what"]


def test_results_at_layers_stay_arrays():
    created = analyzer(layers=("input", "hidden"))
    found, expected = created.analyze(TABLE), created.analyze(TABLE.to_numpy())
    pd.testing.assert_frame_equal(
        found["input"], pd.DataFrame(expected["input"], TABLE.index, TABLE.columns)
    )
    np.testing.assert_array_equal(found["hidden"], expected["hidden"])


# --- Several inputs -------------------------------------------------------------------------------

PLACES = pd.Series(np.arange(9) % 4, TABLE.index, name="place")
TWO = {
    "list": (lambda *x: list(x), lambda y: y),
    "tuple": (lambda *x: x, lambda y: y),
    "dict": (lambda *x: dict(zip(("numbers", "place"), x, strict=True)), lambda y: [*y.values()]),
}


@pytest.mark.parametrize("form", TWO)
@pytest.mark.parametrize("with_series", [True, False])
def test_structures_of_frames(form, with_series):
    make, leaves = TWO[form]
    place = PLACES if with_series else PLACES.to_frame()
    created = analyzer(two_inputs())
    x = make(TABLE, place)
    found = created.analyze(x, batch_size=4)
    expected = leaves(created.analyze(make(TABLE.to_numpy(), place.to_numpy()), batch_size=4))
    assert type(found) is type(x)
    pd.testing.assert_frame_equal(
        leaves(found)[0], pd.DataFrame(expected[0], TABLE.index, TABLE.columns)
    )
    assert type(leaves(found)[1]) is type(place)
    np.testing.assert_array_equal(leaves(found)[1].to_numpy(), expected[1])
    assert leaves(found)[1].index.equals(TABLE.index)


def test_an_array_beside_a_frame_stays_one():
    found = analyzer(two_inputs()).analyze([TABLE, PLACES.to_numpy()])
    assert isinstance(found[0], pd.DataFrame) and isinstance(found[1], np.ndarray)


@pytest.mark.parametrize("order", [["city", "weight", "age"], ["age", "city", "weight"]])
@pytest.mark.parametrize(("kind", "batch_size"), [("category", 2), ("object", 3), ("str", 32)])
def test_each_column_is_an_input_wherever_it_stands(order, kind, batch_size):
    people = PEOPLE.astype({"city": kind})[order]
    created = analyzer(by_column())
    found = created.analyze(people, batch_size=batch_size)
    expected = created.analyze(arrays_of(PEOPLE), batch_size=batch_size)
    assert list(found) == order and found.index.equals(PEOPLE.index)
    for name in order:
        np.testing.assert_array_equal(found[name], np.ravel(expected[name]))
    parts = list(created.stream(people, batch_size=3))
    assert [list(part) for part in parts] == [order, order]
    assert pd.concat(parts).index.equals(people.index)
    assert created.tokens(people)["city"].tolist() == ["oslo", "rome", "oslo", "[UNK]"]


def test_columns_with_several_selections():
    created = analyzer(by_column(), neuron_selection_mode="index")
    found = created.analyze(PEOPLE, np.array([[[1], [0]]]))
    for i, neuron in enumerate((1, 0)):
        expected = created.analyze(PEOPLE, neuron)
        pd.testing.assert_frame_equal(found[i], expected, rtol=1e-4, atol=1e-5)


def test_a_column_of_several_numbers_is_parted():
    created = analyzer(by_column("one_hot"))
    found, expected = created.analyze(PEOPLE), created.analyze(arrays_of(PEOPLE))
    assert list(found) == ["city/0", "city/1", "city/2", "weight", "age"]
    np.testing.assert_array_equal(found.iloc[:, :3].to_numpy(), expected["city"])
    words = created.tokens(PEOPLE)
    assert list(words) == list(found) and words.iloc[0, :3].tolist() == ["[UNK]", "oslo", "rome"]


# --- What does not fit ----------------------------------------------------------------------------

NONE = PEOPLE.astype({"city": "object"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PEOPLE.drop(columns="age"), r"has to be a column: .* lacks \['age'\]"),
        (PEOPLE.assign(cat=1), r"has besides \['cat'\]"),
        (pd.concat([PEOPLE, PEOPLE[["age"]]], axis=1), r"has in all \['city', .*'age', 'age'\]"),
        (PEOPLE.assign(age=[1, np.nan, 3, 4]), r"column 'age', is missing .* 1 rows, .*: 'a'"),
        (PEOPLE.assign(age=pd.array([1, None, 3, 4], "Int64")), "column 'age', is missing"),
        (PEOPLE.assign(weight=np.inf), "column 'weight', is missing .NaN. or infinite in 4 rows"),
        (NONE.assign(city=["oslo", None, "a", "b"]), "column 'city', is missing"),
        (
            PEOPLE.assign(age=list("abcd")),
            "column 'age', must hold numbers. Received: (str|object)",
        ),
        (PEOPLE.assign(age=pd.Categorical(list("abcd"))), r"category.*x\[column\].cat.codes"),
        (PEOPLE.assign(age=pd.Timestamp("2024")), "column 'age', must hold numbers.*datetime"),
        (NONE.assign(city=[1.5, "a", "b", "c"]), "Input 'city' takes strings. Received: 1.5"),
    ],
)
def test_columns_that_do_not_fit_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        analyzer(by_column()).analyze(wrong)


def test_a_frame_for_one_input_that_does_not_fit():
    with pytest.raises(ValueError, match=r"column 'year', is missing .*2024-01-03"):
        analyzer().analyze(TABLE.assign(year=TABLE["year"].where(TABLE.index != "2024-01-03")))
    with pytest.raises(ValueError, match=r"wrong shape. Received: \(9, 2\)"):
        analyzer().analyze(TABLE[COLUMNS[:2]])
    with pytest.raises(ValueError, match=r"wrong shape. Received: \(9, 0\)"):
        analyzer().analyze(TABLE[[]])
    with pytest.raises(ValueError, match="has to be a column"):
        analyzer(two_inputs()).analyze(TABLE)
    city = layers.Input((2,), dtype="string")
    known = layers.StringLookup(vocabulary=["oslo"], output_mode="multi_hot")(city)
    created = analyzer(randomised(keras.Model(city, layers.Dense(1)(known))))
    with pytest.raises(ValueError, match="takes strings, and a frame one column"):
        created.analyze(pd.DataFrame({"a": ["oslo"], "b": ["rome"]}))


# --- What takes results ---------------------------------------------------------------------------


def test_books_are_those_of_arrays():
    created, plain = analyzer(), TABLE.to_numpy()
    np.testing.assert_array_equal(created.accounted(TABLE), created.accounted(plain))
    ledger = created.audit(TABLE)
    pd.testing.assert_frame_equal(ledger.to_frame(), created.audit(plain).to_frame())
    pd.testing.assert_frame_equal(ledger.results, created.analyze(TABLE, check=True), rtol=1e-5)


def test_stores_hold_arrays(tmp_path):
    analyzer().analyze(TABLE, out=tmp_path / "found.npy", batch_size=4)
    expected = analyzer().analyze(TABLE, batch_size=4)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), expected.to_numpy())


def test_columns_name_what_matters():
    created = analyzer()
    found = importance(created, TABLE, batch_size=4)
    assert found["feature"].tolist() == COLUMNS
    expected = created.analyze(TABLE, batch_size=4)
    np.testing.assert_allclose(found["mean_abs"], expected.abs().mean(), rtol=1e-5)
    other = importance(created, TABLE, names=["x", "y", "z"])
    assert other["feature"].tolist() == ["x", "y", "z"]
    people = importance(analyzer(by_column()), PEOPLE)
    assert people["feature"].tolist() == list(PEOPLE)


def test_what_matters_in_several_frames():
    found = importance(analyzer(two_inputs()), {"numbers": TABLE, "place": PLACES})
    assert found["result"].tolist() == ["numbers"] * 3 + ["place"]
    assert found["feature"].tolist() == [*COLUMNS, "place"]
    several = analyzer(neuron_selection_mode="index").analyze(TABLE, np.array([[[0], [1]]]))
    units = Importance()
    units.add(several)
    assert units.to_frame()["feature"].tolist() == [f"{i}, {c}" for i in (0, 1) for c in COLUMNS]


def test_statistics_of_other_columns_are_not_mixed():
    first, other = Importance(), Importance()
    first.add(TABLE)
    other.add(TABLE[COLUMNS[::-1]])
    for mix in (lambda: first.add(TABLE[COLUMNS[::-1]]), lambda: first.merge(other)):
        with pytest.raises(ValueError, match="the same columns in the same order"):
            mix()
    assert first.to_frame()["count"].tolist() == [9] * 3
    merged = Importance()
    merged.merge(first)
    pd.testing.assert_frame_equal(merged.to_frame(), first.to_frame())
