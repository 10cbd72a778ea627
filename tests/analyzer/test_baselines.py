"""The input and noise, at the input and at hidden layers."""

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate

X = np.random.default_rng(0).normal(size=(5, 6, 2)).astype("float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((6, 2)),
            layers.Conv1D(3, 2, activation="relu", name="convolution"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax", name="dense"),
        ]
    )


def hidden(model, name):
    return keras.Model(model.inputs, model.get_layer(name).output).predict(X, verbose=0)


@pytest.mark.parametrize("names", [("dense",), ("convolution", "dense"), ("input", "dense")])
def test_values_at_layers(model, names):
    found = innvestigate.create_analyzer("input", model, layers=names).analyze(X, batch_size=2)
    assert set(found) == set(names)
    for name in names:
        expected = X if name == "input" else hidden(model, name)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("names", [("dense",), ("convolution", "dense"), ("input", "dense")])
def test_noise_has_the_shape_of_layers(model, names):
    create = innvestigate.create_analyzer
    found = create("random", model, layers=names, stddev=3, seed=0).analyze(X)
    values = create("input", model, layers=names).analyze(X)
    assert {n: y.shape for n, y in found.items()} == {n: y.shape for n, y in values.items()}
    everything = np.concatenate([y.ravel() for y in found.values()])
    assert 1.5 < everything.std() < 4.5
    assert len(np.unique(everything)) == everything.size


def test_integers_at_a_layer():
    tokens = keras.Input((3,), dtype="int32")
    shifted = layers.Lambda(lambda x: x + 1, output_shape=(3,), dtype="int32", name="shifted")
    vectors = layers.Embedding(9, 2)(shifted(tokens))
    model = keras.Model(tokens, layers.Dense(2)(layers.Flatten()(vectors)))
    x = np.arange(6).reshape(2, 3)
    found = innvestigate.create_analyzer("input", model, layers=("shifted",)).analyze(x)["shifted"]
    np.testing.assert_array_equal(found, x + 1)
    assert found.dtype == "float32"


def test_noise_depends_on_the_seed_and_the_sample_alone(model):
    analyzer = innvestigate.create_analyzer("random", model, seed=1)
    found = analyzer.analyze(X)
    np.testing.assert_array_equal(analyzer.analyze(X), found)
    np.testing.assert_array_equal(analyzer.analyze(X, batch_size=2), found)
    np.testing.assert_array_equal(analyzer.analyze(0 * X[:3], batch_size=1), found[:3])
    other = innvestigate.create_analyzer("random", model, seed=2).analyze(X)
    assert not np.isin(other, found).any()
    assert len(np.unique(found)) == found.size


def test_noise_without_a_seed_is_new_each_time(model):
    analyzer = innvestigate.create_analyzer("random", model)
    first, second = analyzer.analyze(X), analyzer.analyze(X, batch_size=2)
    assert not np.isin(first, second).any()
    assert len(np.unique(second)) == second.size


def test_noise_of_several_inputs_and_types():
    a, b = keras.Input((3,), name="a"), keras.Input((4,), dtype="float64", name="b")
    joined = layers.Concatenate(dtype="float64")([a, b])
    model = keras.Model([a, b], layers.Dense(2, dtype="float64")(joined))
    x = [np.ones((20, 3)), np.ones((20, 4))]
    found = innvestigate.create_analyzer("random", model, seed=0, stddev=0.5).analyze(x)
    assert [y.dtype for y in found] == ["float64", "float64"]
    assert 0.3 < np.std(np.concatenate(found, axis=1)) < 0.7
    assert not np.isin(found[0], found[1]).any()


@pytest.mark.parametrize("stddev", [-1, np.nan, np.inf, "a", None, True])
def test_wrong_deviation(model, stddev):
    with pytest.raises(ValueError, match="stddev must be a finite number >= 0"):
        innvestigate.create_analyzer("random", model, stddev=stddev)
