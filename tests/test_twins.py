"""The same network built in two ways: whoever wrote it how, the numbers are those of the function.

Each pair is two models with equal weights and their common input.
"""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers, ops, tree

import innvestigate
from tests.frameworks import NAME

pytestmark = pytest.mark.usefixtures("step_by_step")

METHODS = ("gradient", "integrated_gradients", "lrp.epsilon", "lrp.attn", "deeplift")
WIDTH, LENGTH, CLASSES = 8, 6, 3


def sequences(seed=0):
    return np.random.default_rng(seed).normal(size=(4, LENGTH, WIDTH)).astype("float32")


def tokens(seed=0):
    return np.random.default_rng(seed).integers(1, 12, (4, LENGTH)).astype("int32")


def randomized(model):
    """Weights that no test could overlook, zeros at the start of training included."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        values = random.normal(0.1, 0.5, variable.shape)
        variable.assign(np.abs(values) if variable.name == "moving_variance" else values)
    return model


def twin_of(model, twin):
    """The twin with the weights of a model, given in the same order."""
    assert [w.shape for w in model.weights] == [w.shape for w in twin.weights]
    twin.set_weights(model.get_weights())
    return twin


@keras.saving.register_keras_serializable("twins")
class Block(layers.Layer):
    """An encoder block that is a layer of the user's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4)
        self.norm, self.hidden = layers.LayerNormalization(), layers.Dense(12, "gelu")
        self.back = layers.Dense(WIDTH)

    def build(self, shape):
        self.attention.build(shape, shape)
        self.norm.build(shape)
        self.hidden.build(shape)
        self.back.build((*shape[:-1], 12))
        super().build(shape)

    def call(self, x):
        x = x + self.attention(x, x, use_causal_mask=True)
        return x + self.back(self.hidden(self.norm(x)))


class Subclassed(keras.Model):
    """A classifier of sequences that is written as a class."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def call(self, x, training=False):
        for part in self.parts:
            x = part(x, training=training)
        return ops.mean(x, axis=1)


def parts():
    return [layers.Dense(WIDTH, "relu"), layers.BatchNormalization(), layers.Dropout(0.5)]


def subclassed():
    """A class and a functional model of layers."""
    x = sequences()
    model = Subclassed([*parts(), Block(), layers.Dense(CLASSES)])
    model(x)
    into = y = keras.Input((LENGTH, WIDTH))
    for part in [*parts(), Block(), layers.Dense(CLASSES)]:
        y = part(y)
    twin = keras.Model(into, ops.mean(y, axis=1))
    return randomized(model), twin_of(model, twin), x


def opened():
    """A layer of the user's own and the layers it is made of."""
    into = keras.Input((LENGTH, WIDTH))
    model = keras.Model(into, layers.Dense(CLASSES)(Block()(into)[:, -1]))
    own, x = Block(), into
    x = x + own.attention(x, x, use_causal_mask=True)
    x = x + own.back(own.hidden(own.norm(x)))
    twin = keras.Model(into, layers.Dense(CLASSES)(x[:, -1]))
    return randomized(model), twin_of(model, twin), sequences()


def unrolled(layer):
    """A recurrent layer as a loop and as a graph of as many steps."""

    def pair():
        def network(unroll):
            into = keras.Input((LENGTH, WIDTH))
            hidden = layer(5, unroll=unroll, return_sequences=True)(into)
            return keras.Model(into, layers.Dense(CLASSES)(layer(4, unroll=unroll)(hidden)))

        model = randomized(network(False))
        return model, twin_of(model, network(True)), sequences()

    return pair


def nested():
    """Models inside models and the layers in a row, a mask passing through all of them."""
    into = keras.Input((LENGTH,), dtype="int32")

    def row(x):
        x = layers.Embedding(12, WIDTH, mask_zero=True)(x)
        return x, layers.LSTM(5, return_sequences=True)

    x, recurrent = row(into)
    flat = keras.Model(into, layers.Dense(CLASSES)(layers.LSTM(4)(recurrent(x))))
    front, recurrent = row(into)
    front = keras.Model(into, front)
    vectors = keras.Input((LENGTH, WIDTH))
    middle = keras.Model(vectors, recurrent(vectors))
    top = keras.Sequential([layers.LSTM(4), layers.Dense(CLASSES)])
    outer = keras.Model(into, top(keras.Sequential([middle])(front(into))))
    x = tokens()
    x[1, 4:] = x[2, 2:] = 0
    return randomized(flat), twin_of(flat, outer), x


def shared():
    """One layer called twice, and two layers with equal weights."""
    into = keras.Input((LENGTH, WIDTH))
    first, second = layers.Dense(WIDTH, "relu"), layers.Dense(WIDTH, "relu")
    head = layers.Dense(CLASSES)
    model = randomized(keras.Model(into, head(layers.Flatten()(first(first(into))))))
    apart = keras.Model(into, head(layers.Flatten()(second(first(into)))))
    second.set_weights(first.get_weights())
    return model, apart, sequences()


def padded():
    """A network on sequences of any length that leaves out zeros."""
    into = keras.Input((None,), dtype="int32")
    x = layers.Embedding(12, WIDTH, mask_zero=True)(into)
    x = layers.MultiHeadAttention(2, 4)(layers.GRU(WIDTH, return_sequences=True)(x), x)
    x = layers.LSTM(4)(x, mask=ops.not_equal(into, 0))
    return randomized(keras.Model(into, layers.Dense(CLASSES)(x)))


PAIRS = {
    "subclassed": subclassed,
    "own layer": opened,
    "lstm": unrolled(layers.LSTM),
    "gru": unrolled(layers.GRU),
    "simple rnn": unrolled(layers.SimpleRNN),
    "nested": nested,
    "shared": shared,
}
build = cache(lambda pair: PAIRS[pair]())


def explained(method, model, x):
    analyzer = innvestigate.create_analyzer(method, model, neuron_selection_mode="index")
    return analyzer.analyze(x, 1)


def assert_equal(found, expected, tolerance=1e-6):
    """Equal up to a fraction of the largest number, which is no rounding itself."""
    tree.assert_same_structure(found, expected)
    for a, b in zip(tree.flatten(found), tree.flatten(expected), strict=True):
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("method", METHODS)
def test_twins_are_explained_alike(method, pair):
    model, twin, x = build(pair)
    np.testing.assert_allclose(model.predict(x), twin.predict(x), atol=1e-5)
    assert_equal(explained(method, model, x), explained(method, twin, x))


@pytest.mark.parametrize("pair", ["own layer", "lstm", "gru", "simple rnn", "nested", "shared"])
@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_model_is_explained_as_the_saved_one(method, pair, tmp_path):
    _, model, x = build(pair)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_equal(explained(method, loaded, x), explained(method, model, x))


@pytest.mark.parametrize("method", METHODS)
def test_padding_changes_nothing(method):
    model, x = padded(), tokens()
    longer = np.pad(x, ((0, 0), (0, 3)))
    np.testing.assert_allclose(model.predict(longer), model.predict(x), atol=1e-5)
    found = explained(method, model, longer)
    assert (found[:, LENGTH:] == 0).all()
    # JAX's attention rounds to single precision inside, of which a secant keeps fewer digits.
    tolerance = 2e-5 if NAME == "jax" and method == "deeplift" else 1e-6
    assert_equal(found[:, :LENGTH], explained(method, model, x), tolerance)
