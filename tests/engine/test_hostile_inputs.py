"""What users hand over by mistake: refused in one line, or taken for what it is."""

import collections

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

import innvestigate
from innvestigate import evaluation, rules
from innvestigate.genomics import ShuffledReferences
from tests.engine.test_inputs import explain, generator, network

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# --- Data sets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["input_t_gradient", "lrp.epsilon", "occlusion", "smoothgrad"])
@pytest.mark.parametrize("empty", [0, 1, 2], ids=["first", "between", "last"])
def test_empty_batches_are_passed_over(name, empty):
    seed = {"seed": 0, "augment_by_n": 2} if name == "smoothgrad" else {}
    run = explain(network(4), name, **seed)
    parts = [X[:2], X[2:]]
    parts.insert(empty, X[:0])
    assert_close(run(iter(parts)), run(X))


@pytest.mark.parametrize("parts", [[], [X[:0]], [X[:0], X[:0]]], ids=len)
def test_data_sets_of_nothing(parts):
    with pytest.raises(ValueError, match="The input holds no sample"):
        explain(network(4))(iter(parts))


class Batches(keras.utils.PyDataset):
    """As Keras wants them now: with `num_batches`."""

    num_batches = 3

    def __getitem__(self, i):
        return X[2 * i : 2 * i + 2], None


class Endless(keras.utils.PyDataset):
    """That does not say how long it is."""

    def __getitem__(self, i):
        return X[:2], None


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_py_dataset_by_its_number_of_batches(verbose):
    run = explain(network(4))
    assert_close(run(Batches(), verbose=verbose), run(X))


def test_a_py_dataset_without_an_end():
    with pytest.raises(ValueError, match=r"Endless does not say how many batches.*num_batches"):
        explain(network(4))(Endless())


def test_fitted_by_a_py_dataset():
    model = network(4)
    fitted = innvestigate.create_analyzer("pattern.net", model).fit(Batches())
    expected = innvestigate.create_analyzer("pattern.net", model).fit(X)
    assert_close(fitted.analyze(X), expected.analyze(X))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((), "empty tuple"),
        (1.0, "wrong shape"),
        (None, "must hold real numbers"),
        ("text", "must hold real numbers"),
        ({"other": X, 3: X}, r"Received the keys: \['other', 3\]"),
    ],
)
def test_batches_that_are_none(batch, message):
    with pytest.raises(ValueError, match=message):
        explain(network(4))(iter([batch]))


def test_batches_of_unlike_structure_are_not_joined():
    inputs = keras.Input((4,), name="x")
    run = explain(keras.Model(inputs, layers.Dense(2)(inputs)))
    with pytest.raises(ValueError, match="batches of a data set need one structure"):
        run(iter([X, {"x": X}]))


# --- Forms of one array ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(">f8"),
        lambda x: memoryview(x),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, 1)[:, ::2],
        pd.DataFrame,
        keras.ops.convert_to_tensor,
        lambda x: iter([memoryview(x[:2]), x[2:].astype(np.longdouble)]),
    ],
    ids=["longdouble", "big-endian", "memoryview", "F", "strided", "frame", "tensor", "batches"],
)
@pytest.mark.parametrize("name", ["input_t_gradient", "integrated_gradients", "shapley_sampling"])
def test_forms_of_an_array(name, form):
    seed = {"seed": 0, "samples": 2} if name == "shapley_sampling" else {}
    run = explain(network(4), name, **seed)
    assert_close(run(form(X)), run(X))


def test_longdoubles_beyond_other_floats():
    with pytest.raises(ValueError, match="NaN or infinite"):
        explain(network(4))(X * np.longdouble("1e400"))


@pytest.mark.parametrize("form", [np.array, list, pd.Series, keras.ops.convert_to_tensor, tuple])
def test_a_vector_for_columns_of_one_number_as_predict_takes_it(form):
    column = keras.Sequential([layers.Input((1,)), layers.Dense(3, "relu"), layers.Dense(2)])
    x = X[:, 0]
    assert column.predict(x, verbose=0).shape == (5, 2)
    found = explain(column)(form(x))
    assert found.shape == (5,)
    assert_close(found, explain(column)(x[:, None])[:, 0])


def test_a_list_of_one_vector_is_no_row():
    column = keras.Sequential([layers.Input((1,)), layers.Dense(2)])
    (found,) = explain(column)([X[:, 0]])
    assert_close(found, explain(column)(X[:, 0]))
    (found,) = explain(network(5, 1))([np.ones((2, 5, 1))])
    assert found.shape == (2, 5, 1)
    assert np.shape(explain(network(5, 1))([np.ones((5, 1))])) == (1, 5, 1)


def test_vectors_for_columns_among_several_inputs():
    parts = [keras.Input((1,), name=name) for name in "ab"]
    model = keras.Model(parts, layers.Dense(2)(layers.Concatenate()(parts)))
    a, b = explain(model)([X[:, 0], X[:, 1:2]])
    assert (a.shape, b.shape) == ((5,), (5, 1))
    whole = explain(model)({"a": X[:, :1], "b": X[:, 1]})
    assert_close(whole["a"][:, 0], a)
    assert_close(whole["b"][:, None], b)


@pytest.mark.parametrize(
    ("shape", "given", "advised"),
    [((4,), (4,), True), ((4,), (5,), False), ((4, 3), (4, 3), True), ((4, 3), (4, 2), False)],
)
def test_a_batch_axis_is_advised_where_it_is_what_is_missing(shape, given, advised):
    with pytest.raises(ValueError, match="wrong shape") as caught:
        explain(network(*shape))(np.ones(given))
    assert ("x[None]" in str(caught.value)) is advised


@pytest.mark.parametrize(
    "x",
    [
        *([], (), {}, set(), {1.0}, [[1], [2, 3]], [[[1]], 2], np.array([None]), X + 1j, X[:0]),
        *(np.full((5, 4), "2020", "datetime64[Y]"), object(), len, 1j, "x"),
        collections.UserDict(other=X),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_is_no_array_of_samples(x):
    with pytest.raises(ValueError) as caught:
        explain(network(4))(x)
    assert "\n" not in str(caught.value)


# --- Arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("low", [np.zeros(3), np.zeros((2, 4)), np.zeros((5, 1, 4))])
def test_boxes_of_the_wrong_size_are_refused_at_creation(low):
    with pytest.raises(ValueError, match=r"low of the shape .* does not broadcast"):
        innvestigate.create_analyzer("deep_taylor.bounded", network(4), low=low, high=9)


def test_boxes_of_hidden_layers_are_looked_at_too():
    parts = layers.Dense(5, activation="relu", name="first"), layers.Dense(2, name="second")
    model = keras.Sequential([layers.Input((4,)), *parts])
    box = [(lambda layer: layer.name == "second", rules.ZBox(np.zeros(4), 1))]
    with pytest.raises(ValueError, match="does not broadcast over the input of 'second'"):
        innvestigate.create_analyzer("lrp", model, rule=[*box, (lambda layer: True, "Z")])


def test_bounds_of_a_box_that_do_not_go_together():
    with pytest.raises(ValueError, match="low and high need shapes that broadcast"):
        rules.ZBox(np.zeros(3), np.ones(4))


@pytest.mark.parametrize("number", [np.inf, np.nan, -np.inf, 10**400, 1e300, 1e-300, 1j, "1", True])
def test_numbers_that_single_precision_does_not_hold(number):
    for make in (
        lambda: rules.Epsilon(number),
        lambda: rules.AlphaBeta(number),
        lambda: rules.AlphaBetaX(number),
        lambda: rules.Gamma(number),
        lambda: evaluation.MaxSensitivity(number),
        lambda: innvestigate.create_analyzer("smoothgrad", network(4), noise_scale=number),
    ):
        with pytest.raises(ValueError, match=r"must be a finite number.*Received"):
            make()


@pytest.mark.parametrize("flag", [0, 1, "yes", None, [True], np.array([True])])
def test_flags_that_are_no_booleans(flag):
    for make in (
        lambda: rules.Z(flag),
        lambda: rules.Attention(flag),
        lambda: rules.Product(flag),
        lambda: evaluation.MaxSensitivity(normalize=flag),
        lambda: evaluation.Infidelity(contributions=flag),
    ):
        with pytest.raises(ValueError, match="must be True or False"):
            make()


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
def test_whole_numbers_of_numpy_go_wherever_whole_numbers_go(kind):
    model = network(4)
    two = kind(2)
    for name, more in {
        "integrated_gradients": {"steps": two},
        "expected_gradients": {"samples": two, "seed": two},
        "smoothgrad": {"augment_by_n": two, "seed": two},
        "shapley_sampling": {"samples": two, "seed": two},
        "rise": {"masks": two, "cells": two, "seed": two},
        "lime": {"samples": two, "seed": two},
        "occlusion": {"window_shape": two, "step": two},
        "random": {"seed": two},
        "lrp.sequential_preset_b_flat_until_idx": {"until_layer_idx": two},
        "gradient": {"output": kind(0)},
    }.items():
        plain = {key: int(value) for key, value in more.items()}
        found = explain(model, name, **more)(X, batch_size=two, verbose=kind(0))
        assert_close(found, explain(model, name, **plain)(X, batch_size=2))
    index = explain(model, neuron_selection_mode="index")
    assert_close(index(X, kind(1)), index(X, 1))
    metric = evaluation.RegionPerturbation(steps=two, region_shape=kind(1))
    assert metric == evaluation.RegionPerturbation(steps=2, region_shape=1)
    assert ShuffledReferences(two, two) == ShuffledReferences(2, 2)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble, np.array])
def test_numbers_of_numpy_are_numbers(kind):
    half = kind(0.5)
    assert rules.Epsilon(half) == rules.Epsilon(0.5)
    assert rules.Gamma(half) == rules.Gamma(0.5)
    model = network(4)
    for name, argument in {"lrp.epsilon": "epsilon", "random": "stddev"}.items():
        seed = {"seed": 0} if name == "random" else {}
        found = explain(model, name, **{argument: half}, **seed)(X)
        assert_close(found, explain(model, name, **{argument: 0.5}, **seed)(X))


def test_a_layer_is_no_condition_on_layers():
    layer = layers.Dense(2)
    with pytest.raises(ValueError, match="the condition a function of the layer"):
        innvestigate.create_analyzer("lrp", network(4), rule=[(layer, "Z")])
    with pytest.raises(TypeError, match="condition must be a function of a step"):
        rules.Line(rules.Z(), layer, "that layer")


def test_as_many_steps_as_you_like_may_be_asked_for():
    made = innvestigate.create_analyzer("integrated_gradients", network(4), steps=10**18)
    assert made.get_config()["steps"] == 10**18


def test_whole_numbers_that_arrays_cannot_count_to():
    with pytest.raises(ValueError, match="steps must be a whole number from 1 to"):
        innvestigate.create_analyzer("integrated_gradients", network(4), steps=10**400)
    assert ShuffledReferences(2, 10**40).seed == 10**40


def test_a_large_batch_size_and_generators():
    run = explain(network(4))
    assert_close(run(X, batch_size=10**18), run(X))
    assert_close(run(generator(X), batch_size=10**18), run(X))
