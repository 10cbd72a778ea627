"""What a model says of samples, beside what is explained of it."""

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from tests.frameworks import on_tensorflow


def two_outputs():
    keras.utils.set_random_seed(0)
    image = layers.Input((4,))
    inner = layers.Dense(5, activation="tanh")(image)
    one = layers.Dense(3, activation="softmax", name="one")(inner)
    return keras.Model(image, [one, layers.Dense(2, name="two")(inner)])


X = np.random.default_rng(0).normal(size=(7, 4)).astype("float32")


@pytest.mark.parametrize("method", ["gradient", "smoothgrad"])
def test_the_models_own_output_and_what_is_explained(method):
    model = two_outputs()
    first, second = model.predict(X, verbose=0)
    analyzer = innvestigate.create_analyzer(method, model, output="one")
    own, logits = analyzer.predictions(X, batch_size=3)
    np.testing.assert_allclose(own, first, rtol=1e-5)
    shifted = np.exp(logits.astype("float64"))
    np.testing.assert_allclose(shifted / shifted.sum(1, keepdims=True), first, rtol=1e-5)
    own, explained = innvestigate.create_analyzer(method, model, output=1).predictions(X)
    np.testing.assert_allclose(own, second, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(explained, second, rtol=1e-5, atol=1e-6)


def test_a_stateful_model_keeps_its_state():
    model = keras.Sequential(
        [layers.Input((3, 2), batch_size=2), layers.SimpleRNN(2, stateful=True), layers.Dense(1)]
    )
    x = np.ones((2, 3, 2), "float32")
    analyzer = innvestigate.create_analyzer("gradient", model)
    first, again = (analyzer.predictions(x, batch_size=2)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    state = model.layers[0].states[0]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(state), np.zeros((2, 2)))


@on_tensorflow
def test_strings_are_turned_into_tokens():
    reading = layers.StringLookup(vocabulary=["a", "b"])
    words = layers.Input((2,), dtype="string")
    embedded = layers.Flatten()(layers.Embedding(3, 2)(reading(words)))
    model = keras.Model(words, layers.Dense(1, activation="sigmoid")(embedded))
    x = np.array([["a", "b"], ["b", "?"]])
    own, logits = innvestigate.create_analyzer("gradient", model).predictions(x)
    expected = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x, "string")))
    np.testing.assert_allclose(own, expected, rtol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, rtol=1e-5)


def test_what_does_not_fit_is_refused():
    analyzer = innvestigate.create_analyzer("gradient", two_outputs(), output=1)
    with pytest.raises(ValueError, match="shape"):
        analyzer.predictions(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="finite"):
        analyzer.predictions(np.full((2, 4), np.nan))
