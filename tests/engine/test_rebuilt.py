"""The same method again: in another mode, on another model."""

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate


def network(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [layers.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)]
    )


X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
ARGUMENTS = {
    "lrp.alpha_beta": {"alpha": 1.5},
    "smoothgrad": {"noise_scale": 0.3, "augment_by_n": 3, "seed": 1},
    "deeplift": {"reference_inputs": 0.5},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_kept(name):
    model, other = network(0), network(1)
    analyzer = innvestigate.create_analyzer(name, model, **ARGUMENTS[name])
    again = analyzer.rebuilt(neuron_selection_mode="index")
    top = model.predict(X, verbose=0).argmax(axis=1)
    np.testing.assert_allclose(again.analyze(X, top), analyzer.analyze(X), atol=1e-6)
    assert analyzer.neuron_selection_mode == "max_activation"
    expected = innvestigate.create_analyzer(name, other, **ARGUMENTS[name]).analyze(X)
    np.testing.assert_array_equal(analyzer.rebuilt(other).analyze(X), expected)


def test_wrappers_are_rebuilt_from_the_inside():
    model, other = network(0), network(1)
    gradient = innvestigate.create_analyzer("gradient", model)
    wrapped = innvestigate.analyzer.PathIntegrator(gradient, 0.5, steps=4)
    again = wrapped.rebuilt(other, neuron_selection_mode="index")
    expected = innvestigate.create_analyzer(
        "integrated_gradients", other, reference_inputs=0.5, steps=4, neuron_selection_mode="index"
    )
    np.testing.assert_allclose(again.analyze(X, 2), expected.analyze(X, 2), atol=1e-6)


def test_what_was_fitted_is_kept_for_the_same_model_only():
    model = network(0)
    analyzer = innvestigate.create_analyzer("pattern.net", model)
    analyzer.fit(X)
    again = analyzer.rebuilt(neuron_selection_mode="index")
    top = model.predict(X, verbose=0).argmax(axis=1)
    np.testing.assert_allclose(again.analyze(X, top), analyzer.analyze(X), atol=1e-6)
    with pytest.raises(RuntimeError, match="fit"):
        analyzer.rebuilt(network(1)).analyze(X)


def test_unknown_arguments_are_refused():
    analyzer = innvestigate.create_analyzer("lrp.epsilon", network(0))
    with pytest.raises(TypeError, match="colour"):
        analyzer.rebuilt(colour=1)
    with pytest.raises(TypeError, match="Keras model"):
        analyzer.rebuilt("model")
