"""Models that compute with the sizes of their data have one mirror for each of these."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.engine.guard import ForwardDiffersError
from tests.frameworks import on_tensorflow
from tests.graph.test_symbolic import Heads, TokenAndPosition

METHODS = ["gradient", "integrated_gradients", "lrp.epsilon", "deeplift", "occlusion"]


def token_model(places):
    """By known sizes only, with a number of rows that counts: `Heads` reshapes by all of them."""
    x = keras.Input((places,), dtype="int32")
    y = Heads()(ops.tanh(TokenAndPosition()(x)))
    y = ops.mean(ops.reshape(y, (-1, 5, 2)), axis=1)
    return keras.Model(x, layers.Dense(3)(y))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_reshapes_by_the_batch_size(method):
    model = token_model(5)
    tokens = np.random.default_rng(0).integers(1, 12, (7, 5))
    analyzer = innvestigate.create_analyzer(method, model)
    whole = analyzer.analyze(tokens)
    in_pieces = innvestigate.create_analyzer(method, model).analyze(tokens, batch_size=3)
    np.testing.assert_allclose(whole, in_pieces, atol=1e-5)
    one = innvestigate.create_analyzer(method, model).analyze(tokens[:1])
    np.testing.assert_allclose(whole[:1], one, atol=1e-5)
    assert (whole != 0).any(axis=1).all()


def test_rows_are_added_to_a_last_batch_in_place_of_a_mirror():
    analyzer = innvestigate.create_analyzer("lrp.epsilon", token_model(5))
    tokens = np.random.default_rng(0).integers(1, 12, (10, 5))
    analyzer.analyze(tokens, batch_size=4)
    rows = [task.graph.flat_inputs[0].shape[0] for task in analyzer._mirrors]
    assert rows == [4]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", ["max_activation", "index", "all", "weights"])
def test_sequences_of_any_length(method, mode):
    x = keras.Input((None,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(ops.tanh(TokenAndPosition()(x)))
    model = keras.Model(x, layers.Dense(3)(y))
    analyzer = innvestigate.create_analyzer(method, model, neuron_selection_mode=mode)
    chosen = {"index": 1, "weights": np.array([1.0, -1.0, 0.5])}.get(mode)
    for length in (4, 9):
        tokens = np.random.default_rng(length).integers(1, 12, (3, length))
        found = analyzer.analyze(tokens, chosen)
        assert found.shape == tokens.shape
        if method in ("integrated_gradients", "deeplift"):
            before, after = (model.predict(t, verbose=0) for t in (tokens * 0, tokens))
            picked = {
                "max_activation": np.eye(3)[after.argmax(axis=1)],
                "index": np.eye(3)[1],
                "all": np.ones(3),
            }.get(mode, chosen)
            change = ((after - before) * picked).sum(axis=1)
            np.testing.assert_allclose(found.sum(axis=1), change, atol=1e-4)


def test_outputs_of_each_place():
    x = keras.Input((None,), dtype="int32")
    model = keras.Model(x, layers.Dense(3)(ops.tanh(TokenAndPosition()(x))))
    analyzer = innvestigate.create_analyzer(
        "input_t_gradient", model, neuron_selection_mode="index"
    )
    tokens = np.random.default_rng(0).integers(1, 12, (3, 7))
    found = analyzer.analyze(tokens, (6, 2))
    assert (found[:, 6] != 0).all() and not found[:, :6].any()
    with pytest.raises(ValueError, match="out of range"):
        analyzer.analyze(tokens, (7, 2))


def test_subclassed_models_that_ask_for_the_batch_size():
    class Flat(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(ops.reshape(x, (ops.shape(x)[0], -1)))

    model, x = Flat(), np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32")
    model(x)
    found = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index").analyze(
        x, 1
    )
    expected = x * ops.convert_to_numpy(model.dense.kernel)[:, 1].reshape(5, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


class Causal(layers.Layer):
    """As many places as there are, by a function that takes None for none at all."""

    def call(self, x):
        places = ops.arange(0, ops.shape(x)[1])
        seen = ops.cast(places[None] <= places[:, None], x.dtype)
        return ops.einsum("ts,bsd->btd", seen, x)


class Six(layers.Layer):
    """Adds a table of six places, and so takes sequences of that length only."""

    def build(self, shape):
        self.table = self.add_weight((6, shape[-1]), initializer="random_normal")

    def call(self, x):
        return x + (1 + self.table) * ops.ones((ops.shape(x)[1], 1))


SIX = pytest.param(Six, (6,), marks=on_tensorflow)  # elsewhere Keras cannot guess its shape


@pytest.mark.parametrize(("layer", "lengths"), [(Causal, (4, 9)), SIX])
@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "deeplift"])
def test_sizes_that_are_guessed_at_first(method, layer, lengths):
    x = keras.Input((None,), dtype="int32")
    y = layer()(layers.Embedding(12, 4)(x))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))
    analyzer = innvestigate.create_analyzer(method, model)
    for length in lengths:
        tokens = np.random.default_rng(length).integers(1, 12, (3, length))
        found = analyzer.analyze(tokens)
        assert found.shape == tokens.shape and (found != 0).all()


@pytest.mark.parametrize("like", [ops.zeros_like, ops.ones_like])
@pytest.mark.parametrize("method", ["lrp.z", "deeplift"])
def test_no_signal_passes_what_ignores_its_input(method, like):
    x = keras.Input((4,))
    y = ops.concatenate([x, like(x)], axis=-1)
    model = keras.Model(x, layers.Dense(3, use_bias=False)(y))
    data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    analyzer = innvestigate.create_analyzer(method, model, neuron_selection_mode="index")
    kernel = ops.convert_to_numpy(model.layers[-1].kernel)[:4, 1]
    np.testing.assert_allclose(analyzer.analyze(data, 1), data * kernel, rtol=1e-3, atol=1e-6)


def test_the_guard_looks_at_each_shape():
    x = keras.Input((None,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(ops.tanh(TokenAndPosition()(x)))
    analyzer = innvestigate.create_analyzer("lrp.epsilon", keras.Model(x, layers.Dense(3)(y)))
    analyzer.analyze(np.ones((2, 4), int))
    other = innvestigate.create_analyzer("lrp.epsilon", keras.Model(x, layers.Dense(3)(y + 1)))
    object.__setattr__(analyzer.task.sizes, "make", other.task.sizes.make)  # a planted fault
    analyzer.analyze(np.ones((2, 4), int))  # this shape has its mirror, which is right
    with pytest.raises(ForwardDiffersError):
        analyzer.analyze(np.ones((2, 5), int))
