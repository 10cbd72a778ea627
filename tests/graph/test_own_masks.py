"""Masks that a layer's own call puts on what it writes, as `TokenAndPositionEmbedding` does."""

import keras
import keras_hub
import numpy as np
import pytest
from keras import layers, ops
from keras.src.backend import get_keras_mask, set_keras_mask

import innvestigate
from innvestigate.graph.trace import trace

pytestmark = [
    pytest.mark.filterwarnings("ignore:Layer .* does not support masking"),
    pytest.mark.filterwarnings("ignore:.* was passed an input with a mask"),
    pytest.mark.usefixtures("step_by_step"),
]
TOKENS = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 0], [3, 1, 0, 0, 0, 0]])
METHODS = ("gradient", "integrated_gradients", "lrp.epsilon", "deeplift", "occlusion")


class Vectors(layers.Layer):
    """Vectors of tokens; a subclass says what is done with them."""

    def __init__(self, masks=False, **kwargs):
        super().__init__(**kwargs)
        self.table = layers.Embedding(9, 4, embeddings_initializer="normal", mask_zero=masks)

    def build(self, shape):
        self.table.build(shape)


class PutsOn(Vectors):
    def call(self, tokens):
        y = self.table(tokens) + 1.0
        set_keras_mask(y, ops.not_equal(tokens, 0))
        return y


class HandsOn(Vectors):
    """The mask of an inner layer, put on what is made of its output."""

    def __init__(self, **kwargs):
        super().__init__(masks=True, **kwargs)

    def call(self, tokens):
        vectors = self.table(tokens)
        y = 2.0 * vectors - 0.1
        set_keras_mask(y, get_keras_mask(vectors))
        return y


class Returns(HandsOn):
    """The very tensor that an inner layer has put a mask on."""

    def call(self, tokens):
        return self.table(tokens)


class Keeps(layers.Layer):
    """The mask of the input on the output, though no masks are supported."""

    def call(self, x):
        y = ops.tanh(3.0 * x)
        set_keras_mask(y, get_keras_mask(x))
        return y


class Within(layers.Layer):
    """A layer that puts on masks inside another one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = PutsOn()

    def build(self, shape):
        self.inner.build(shape)

    def call(self, tokens):
        return self.inner(tokens)


FRONTS = {
    "puts on": lambda x: PutsOn()(x),
    "hands on": lambda x: HandsOn()(x),
    "returns": lambda x: Returns()(x),
    "within": lambda x: Within()(x),
    "KerasHub": lambda x: keras_hub.layers.TokenAndPositionEmbedding(9, 6, 4, mask_zero=True)(x),
    "reversible": lambda x: layers.ReversibleEmbedding(9, 4, mask_zero=True)(x),
    "keeps": lambda x: Keeps()(layers.Embedding(9, 4, mask_zero=True)(x)),
    "keeps another's": lambda x: Keeps()(PutsOn()(x)),
}
BACKS = {
    "mean": lambda y: layers.GlobalAveragePooling1D()(y),
    "LSTM": lambda y: layers.LSTM(3)(y),
    "attention": lambda y: layers.GlobalAveragePooling1D()(
        layers.LayerNormalization()(layers.MultiHeadAttention(2, 3)(y, y))
    ),
}


def network(front, back, length=6):
    keras.utils.set_random_seed(1)
    x = keras.Input((length,), dtype="int32")
    return keras.Model(x, layers.Dense(2)(BACKS[back](FRONTS[front](x))))


def explained(method, model, x, **kwargs):
    kwargs |= {"steps": 4} if method == "integrated_gradients" else {}
    return innvestigate.create_analyzer(method, model, **kwargs).analyze(x)


@pytest.mark.parametrize("back", BACKS)
@pytest.mark.parametrize("front", FRONTS)
def test_places_that_do_not_exist_get_nothing(front, back):
    """The guard asks that what is explained is what the model computes, its masks included."""
    model = network(front, back)
    for method in METHODS[:-1]:
        found = explained(method, model, TOKENS)
        assert not found[TOKENS == 0].any()
        assert (found[TOKENS != 0] != 0).all() or method == "lrp.epsilon"


@pytest.mark.parametrize("method", METHODS)
def test_padding_changes_nothing(method):
    """The length is unknown: the layer shows its inside only for the sizes of data."""
    model = network("KerasHub", "LSTM", length=None)
    found = explained(method, model, TOKENS[:1, :4])
    longer = explained(method, model, TOKENS[:1])
    np.testing.assert_allclose(longer, np.pad(found, [(0, 0), (0, 2)]), atol=1e-7)


@pytest.mark.parametrize("front", ["puts on", "KerasHub"])
def test_deeplift_adds_up(front):
    model, x = network(front, "attention"), TOKENS[1:2]
    found = explained("deeplift", model, x, reference_inputs=2)
    y, y0 = np.array(model(x)), np.array(model(np.where(x == 0, 0, 2)))
    np.testing.assert_allclose(found.sum(), (y - y0)[0, y.argmax()], rtol=1e-4)


def test_a_mask_that_is_kept_needs_no_step_of_its_own():
    model = network("keeps", "mean")
    graph = trace(model)
    (reader,) = [step for step in graph.steps if step.masks and "pooling" in step.name]
    assert reader.masks[0][1] in graph.masks
    assert set(graph.masks) == {mask for step in graph.steps for _, mask in step.masks}
    assert len([step for step in graph.steps if "mask" in step.name]) == 1


def test_the_model_is_left_alone():
    model = network("KerasHub", "LSTM")
    nodes = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    before = model.predict(TOKENS, verbose=0)
    explained("lrp.epsilon", model, TOKENS)
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == nodes
    np.testing.assert_array_equal(model.predict(TOKENS, verbose=0), before)
