"""What single channels contribute, and the samples that show what they stand for."""

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.analyzer import concept_relevance, reference_samples
from tests.models import randomize

X = np.random.default_rng(0).normal(size=(7, 5, 4, 2)).astype("float32")


def network():
    keras.utils.set_random_seed(3)
    parts = [layers.Conv2D(3, 2, activation="relu", name="first"), layers.Flatten()]
    model = keras.Sequential([layers.Input((5, 4, 2)), *parts, layers.Dense(4)])
    randomize(model)
    return model


def create(name="lrp.epsilon", mode="index", **arguments):
    return innvestigate.create_analyzer(name, network(), neuron_selection_mode=mode, **arguments)


def at_layer(name="lrp.epsilon"):
    return create(name, layers=["first"])


def test_channels_get_the_sum_over_their_positions():
    found = concept_relevance(create(), X, 1, layer="first", batch_size=3)
    expected = at_layer().analyze(X, 1)["first"].sum(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    again = concept_relevance(at_layer(), X, 1, layer="first")
    np.testing.assert_allclose(found, again, rtol=1e-5)


def test_heatmaps_of_channels_add_up_to_their_relevance():
    analyzer = create("lrp.epsilon_IB")
    found = concept_relevance(analyzer, X, 1, layer="first")
    for channel in range(3):
        alone = analyzer.analyze(X, 1, conditions={"first": channel}).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(alone, found[:, channel], rtol=1e-3, atol=1e-5)


def test_several_selections():
    found = concept_relevance(create(), X, [[[0], [2]]], layer="first")
    assert found.shape == (7, 2, 3)
    for k, neuron in enumerate((0, 2)):
        one = concept_relevance(create(), X, neuron, layer="first")
        np.testing.assert_allclose(found[:, k], one, rtol=1e-5)


def test_one_dimension_and_dense_layers():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="hidden"), layers.Dense(2)])
    analyzer = innvestigate.create_analyzer("lrp.z", model, layers=["hidden"])
    found = concept_relevance(analyzer, X[:, 0, :, 0], layer="hidden")
    np.testing.assert_array_equal(found, analyzer.analyze(X[:, 0, :, 0])["hidden"])


@pytest.mark.parametrize("name", ["lrp.epsilon", "input"])
@pytest.mark.parametrize(("pooling", "reduce"), [("sum", np.sum), ("max", np.max)])
@pytest.mark.parametrize("batch_size", [2, 32])
def test_samples_in_which_channels_count_most(name, pooling, reduce, batch_size):
    selection = None if name == "input" else 1
    analyzer = create(name, "max_activation" if name == "input" else "index", layers=["first"])
    values = reduce(analyzer.analyze(X, selection)["first"].astype("float64"), axis=(1, 2))
    options = {"layer": "first", "k": 3, "pooling": pooling, "batch_size": batch_size}
    found = reference_samples(analyzer, X, selection, **options)
    expected = np.argsort(-values, axis=0, kind="stable")[:3].T
    np.testing.assert_array_equal(found.samples, expected)
    best = np.take_along_axis(values.T, expected, axis=1)
    np.testing.assert_allclose(found.values, best, rtol=1e-5)


def test_data_sets_of_fewer_samples_than_asked_for():
    found = reference_samples(create(), iter([X[:2], X[2:4]]), 1, layer="first", k=9)
    assert found.samples.shape == found.values.shape == (3, 4)
    whole = reference_samples(create(), X[:4], 1, layer="first", k=9)
    np.testing.assert_array_equal(found.samples, whole.samples)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="analyzer must be an analyzer"):
        concept_relevance(network(), X, 1, layer="first")
    with pytest.raises(ValueError, match="'frist' is unknown"):
        concept_relevance(create(), X, 1, layer="frist")
    with pytest.raises(ValueError, match="k must be a whole number >= 1"):
        reference_samples(create(), X, 1, layer="first", k=0)
    with pytest.raises(ValueError, match="pooling must be one of"):
        reference_samples(create(), X, 1, layer="first", pooling="mean")
    with pytest.raises(ValueError, match="one selection for each sample"):
        reference_samples(create(), X, [[[0], [2]]], layer="first")
    with pytest.raises(ValueError, match="explains the model's inputs only"):
        occlusion = innvestigate.create_analyzer("occlusion", network())
        concept_relevance(occlusion, X, layer="first")
