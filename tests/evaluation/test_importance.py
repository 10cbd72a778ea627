"""What matters over a data set: the plain statistics, however the data are split."""

import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import innvestigate
from innvestigate.evaluation import Importance, importance
from innvestigate.evaluation.importance import UNITS
from tests.frameworks import examples

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(200, 4)).astype("float32")
IMAGES = RNG.normal(size=(20, 5, 6, 3)).astype("float32")
TOKENS = RNG.integers(1, 6, (30, 7))


def dense(shape):
    keras.utils.set_random_seed(0)
    parts = [layers.Flatten(), layers.Dense(5, "relu"), layers.Dense(3)]
    return keras.Sequential([keras.Input(shape), *parts])


def reader():
    keras.utils.set_random_seed(0)
    parts = [layers.Embedding(6, 3), layers.LSTM(4), layers.Dense(2)]
    return keras.Sequential([keras.Input((7,), dtype="int32"), *parts])


def analyzer(model, **kwargs):
    return innvestigate.create_analyzer("input_t_gradient", model, **kwargs)


def expected(rows):
    rows = rows.astype("float64")
    return {"mean_abs": np.abs(rows).mean(axis=0), "mean": rows.mean(axis=0)}


def check(found, rows):
    assert (found["count"] == len(rows)).all()
    for name, values in expected(rows.reshape(len(rows), -1)).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-8)


def test_features_of_a_table():
    created = analyzer(dense((4,)))
    found = importance(created, TABLE, names=["age", "sex", "dose", "weight"], batch_size=32)
    assert list(found["feature"]) == ["age", "sex", "dose", "weight"]
    check(found, created.analyze(TABLE))


@pytest.mark.parametrize(
    ("per", "rows", "first"),
    [
        ("feature", lambda y: y, ["0, 0, 0", "0, 0, 1"]),
        ("channel", lambda y: y.reshape(-1, 3), ["0", "1"]),
        ("position", lambda y: y.sum(axis=-1, dtype="float64"), ["0, 0", "0, 1"]),
    ],
)
def test_units_of_images(per, rows, first):
    created = analyzer(dense((5, 6, 3)))
    found = importance(created, IMAGES, per=per, batch_size=8)
    assert list(found[per][:2]) == first
    check(found, rows(created.analyze(IMAGES)))


@pytest.mark.parametrize("as_batches", [False, True])
def test_tokens_are_compared_wherever_they_stand(as_batches):
    created = analyzer(reader())
    data = iter(np.split(TOKENS, 3)) if as_batches else TOKENS
    found = importance(created, data, per="token", batch_size=8, quantiles=[0.5])
    relevance = created.analyze(TOKENS)
    assert set(found["token"]) == {"1", "2", "3", "4", "5"}
    for row in found.itertuples():
        values = relevance[int(row.token) == TOKENS]
        assert row.count == len(values)
        np.testing.assert_allclose(row.mean, values.mean(dtype="float64"), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(row.mean_abs, np.abs(values).mean(dtype="float64"), rtol=1e-6)
    weight = found["count"] * found["mean_abs"]
    assert (np.diff(weight) <= 0).all()


class Endless(keras.utils.PyDataset):
    """Batches of which only `num_batches` says how many there are."""

    num_batches = 3

    def __getitem__(self, i):
        return (TOKENS[10 * i : 10 * i + 10], np.zeros(10))


@pytest.mark.parametrize("form", [np.ndarray.tolist, pd.DataFrame, list, lambda _: Endless()])
def test_tokens_come_in_every_form_of_data(form):
    created = analyzer(reader())
    found = importance(created, form(TOKENS), per="token")
    pd.testing.assert_frame_equal(found, importance(created, TOKENS, per="token"), rtol=1e-5)


@pytest.mark.parametrize("wrong", [3, [], None, [[]], "text"])
def test_what_is_no_data_has_no_tokens(wrong):
    with pytest.raises(ValueError, match="Received"):
        importance(analyzer(reader()), wrong, per="token")


def test_labels_choose_the_neuron():
    created = analyzer(dense((4,)), neuron_selection_mode="index")
    labels = np.arange(200) % 3
    data = ((TABLE[i : i + 50], labels[i : i + 50]) for i in range(0, 200, 50))
    check(importance(created, data, "labels"), created.analyze(TABLE, labels))


def test_quantiles_are_near():
    values = np.random.default_rng(1).normal(size=(20_000, 2)).astype("float32")
    found = Importance(quantiles=[0.9, 0.1])
    for part in np.split(values, 10):
        found.add(part)
    table = found.to_frame()
    assert list(table.columns[-2:]) == ["q0.1", "q0.9"]
    for q in (0.1, 0.9):
        ranks = (values <= table[f"q{q}"].to_numpy()).mean(axis=0)
        np.testing.assert_allclose(ranks, q, atol=0.03)


@examples(30)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 99), st.booleans())
def test_merged_is_whole(sizes, seed, of_tokens):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(size, 4)) for size in sizes]
    tokens = [rng.choice(["a", "b", "the"], part.shape) if of_tokens else None for part in parts]
    per = "token" if of_tokens else "feature"
    whole, merged = Importance(per, [0.5]), Importance(per, [0.5])
    for part, names in zip(parts, tokens, strict=True):
        other = Importance(per, [0.5])
        other.add(part, names)
        whole.add(part, names)
        merged.merge(pickle.loads(pickle.dumps(other)))  # from another process
    columns = [per, "count", "mean_abs", "mean"]
    pd.testing.assert_frame_equal(merged.to_frame()[columns], whole.to_frame()[columns])


def test_several_results_are_told_apart():
    model = dense((4,))
    names = ["input", model.layers[1].name]
    found = importance(analyzer(model, layers=names), TABLE)
    assert set(found["result"]) == {*names}
    assert len(found) == 4 + 5


@pytest.mark.parametrize(
    ("kwargs", "told"),
    [
        ({"per": "pixel"}, "per must be one of"),
        ({"quantiles": [1.5]}, r"in \[0, 1\]"),
        ({"quantiles": "many"}, "quantiles"),
        ({"names": ["a"]}, "1 names for 4 units"),
        ({"per": "token", "names": ["a"]}, "leave `names` out"),
    ],
)
def test_errors(kwargs, told):
    with pytest.raises(ValueError, match=told):
        importance(analyzer(dense((4,))), TABLE, **kwargs)


def test_samples_of_other_shapes_are_no_rows():
    found = Importance()
    found.add(np.ones((2, 3)))
    with pytest.raises(ValueError, match="per='token'"):
        found.add(np.ones((2, 4)))
    with pytest.raises(ValueError, match="can be merged"):
        found.merge(Importance("channel"))
    with pytest.raises(TypeError, match="other must be an Importance"):
        found.merge(3)
    with pytest.raises(ValueError, match="No results"):
        Importance().to_frame()
    with pytest.raises(ValueError, match="needs a token"):
        Importance("token").add(np.ones((2, 3)))
    with pytest.raises(ValueError, match="tokens must be texts"):
        Importance("token").add(np.ones((2, 3)), np.ones((2, 3), object))


@pytest.mark.parametrize("wrong", [3, "ab", {}, [1], None, {"a": np.ones(2), "b": np.ones(3)}])
def test_what_is_no_result_changes_nothing(wrong):
    found = Importance()
    found.add({"a": np.ones((2, 3)), "b": np.ones((2, 4))})
    before = found.to_frame()
    for result in (wrong, {"a": np.ones((2, 3)), "b": np.ones((2, 5))}):
        with pytest.raises(ValueError, match=r"result must be|per='token'"):
            found.add(result)
    other = Importance()
    other.add({"a": np.ones((2, 3)), "b": np.ones((2, 5))})
    with pytest.raises(ValueError, match="per='token'"):
        found.merge(other)
    pd.testing.assert_frame_equal(found.to_frame(), before)


@pytest.mark.parametrize("per", UNITS)
def test_one_number_for_each_sample_is_one_unit(per):
    found = Importance(per)
    found.add(np.array([1.0, -3.0]))
    table = found.to_frame()
    assert table[["count", "mean_abs", "mean"]].to_numpy().tolist() == [[2, 2, -1]]


def test_wrong_names_are_found_before_the_data_are_run():
    def data():
        yield TABLE[:8]
        raise AssertionError("the next batch was asked for")

    with pytest.raises(ValueError, match="1 names for 4 units"):
        importance(analyzer(dense((4,))), data(), names=["a"])
