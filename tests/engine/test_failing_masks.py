"""Single models that were once refused, or explained wrongly, each with a right value of its own.

Right values come from numpy, from TensorFlow's tape or from central differences, never from another
analyzer.
"""

import sys
from contextlib import contextmanager

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import innvestigate
from tests.frameworks import gradients, on_tensorflow
from tests.masked import precise
from tests.test_table import assert_close, slow, slow_but

pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not support masking")
NEURON = 1
TINY = {"epsilon": 1e-12}


def explain(method, model, x, neuron=NEURON, **arguments):
    """What a method finds for one neuron."""
    created = innvestigate.create_analyzer(
        method, model, neuron_selection_mode="index", **arguments
    )
    return created.analyze(x, neuron)


def normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def kernel_of(layer):
    """The weights that lead to the explained neuron."""
    return np.array(layer.kernel)[:, NEURON]


def taped(model, x):
    """The gradient of the explained neuron by the framework alone."""
    return gradients(lambda x: model(x)[:, NEURON], x)


def differences(model, x, step=1e-6):
    """Central differences of the explained neuron in each number of a sample."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape[1:]):
        moved = np.zeros_like(x)
        moved[(slice(None), *place)] = step
        up, down = (np.array(model(x + sign * moved))[:, NEURON] for sign in (1, -1))
        found[(slice(None), *place)] = (up - down) / (2 * step)
    return found


# --- Masks ----------------------------------------------------------------------------------------

TOKENS = np.array([[3, 5, 7, 2, 0, 0], [4, 9, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]], "int32")
COUNTS = TOKENS != 0


def token_model(body, dtype="float32"):
    """Tokens of vocabulary 20, their vectors under a mask, a body, two outputs."""
    tokens = layers.Input((6,), dtype="int32")
    vectors = layers.Embedding(20, 4, mask_zero=True, name="vectors", dtype=dtype)(tokens)
    return keras.Model(tokens, layers.Dense(2, dtype=dtype)(body(vectors)))


@on_tensorflow  # whose attention is computed in float64
def test_attention_behind_a_masking_layer():
    """The gradient is that of central differences; padding, which `Masking` cuts off, gets none."""
    with precise():
        x = layers.Input((6, 4), dtype="float64")
        y = layers.Masking()(x)
        y = layers.Flatten()(layers.MultiHeadAttention(2, 4)(y, y))
        model = keras.Model(x, layers.Dense(2)(y))
    samples = normal(3, 6, 4, dtype="float64") * COUNTS[..., None]
    right = differences(model, samples) * COUNTS[..., None]
    assert_close(taped(model, samples), right, 1e-7)
    assert_close(explain("gradient", model, samples), right, 1e-7)
    assert_close(explain("gradient.baseline", model, samples), right, 1e-7)


def test_padding_gets_nothing_through_attention():
    """The z-rule without biases, derived in numpy: attention is a sum that its weights choose."""
    model = token_model(lambda e: layers.Flatten()(layers.Attention(name="scores")([e, e])))
    table, kernel, _ = model.get_weights()
    values = table[TOKENS].astype("float64")
    scores = values @ values.transpose(0, 2, 1)
    weights = np.exp(np.where(COUNTS[:, None], scores, -np.inf))
    weights /= weights.sum(axis=-1, keepdims=True)
    attended = np.where(COUNTS[..., None], weights @ values, 0)
    output = attended.reshape(3, -1) @ kernel
    np.testing.assert_allclose(np.array(model(TOKENS)), output, atol=1e-5)
    relevance = np.where(COUNTS[..., None], kernel[:, NEURON].reshape(6, 4), 0)
    right = (values * (weights.transpose(0, 2, 1) @ relevance)).sum(axis=-1)
    found = explain("lrp.z_IB", model, TOKENS, attention_rule="cp")
    assert not found[~COUNTS].any()
    assert_close(found, right, 1e-4)
    assert not explain("lrp.z_IB", model, TOKENS)[~COUNTS].any()


def test_integrated_gradients_of_a_model_inside():
    """They add up to the difference from the vectors of token 0 under the mask of the sample."""
    inner = keras.Sequential([layers.Input((6, 4)), layers.LSTM(4)])
    model = token_model(inner)
    embedding, head = model.get_layer("vectors"), model.layers[-1]

    def output(tokens):
        hidden = inner.layers[-1](embedding(tokens), mask=ops.convert_to_tensor(COUNTS))
        return np.array(head(hidden))[:, NEURON]

    np.testing.assert_allclose(np.array(model(TOKENS))[:, NEURON], output(TOKENS), rtol=1e-5)
    found = explain("integrated_gradients", model, TOKENS, steps=200)
    assert not found[~COUNTS].any()
    assert_close(found.sum(axis=1), output(TOKENS) - output(0 * TOKENS), 1e-3)


@pytest.mark.parametrize("method", ["deeplift", "integrated_gradients", "input_t_gradient"])
def test_a_masking_layer_keeps_the_mask_of_the_sample(method):
    """A linear model but for the mask: each place that counts has its share of the average."""
    x = layers.Input((6, 4))
    hidden, head = layers.Dense(4), layers.Dense(2)
    y = layers.GlobalAveragePooling1D()(hidden(layers.Masking()(x)))
    model = keras.Model(x, head(y))
    samples = normal(3, 6, 4) * COUNTS[..., None]
    share = samples / COUNTS.sum(axis=1)[:, None, None]
    right = share * (np.array(hidden.kernel) @ kernel_of(head))
    assert_close(explain(method, model, samples), right, 1e-5)


def padded_model():
    """Tokens and the mask of their padding as inputs, an average over what the mask leaves."""
    tokens = layers.Input((6,), dtype="int32", name="token_ids")
    mask = layers.Input((6,), dtype="int32", name="padding_mask")
    vectors = layers.Embedding(20, 4, name="vectors")(tokens)
    average = layers.GlobalAveragePooling1D()(vectors, mask=ops.cast(mask, "bool"))
    model = keras.Model({"token_ids": tokens, "padding_mask": mask}, layers.Dense(3)(average))
    return model, {"token_ids": TOKENS, "padding_mask": COUNTS.astype("int32")}


def right_of_padded_model(model):
    """What a step of each vector's numbers changes."""
    share = COUNTS / COUNTS.sum(axis=1, keepdims=True)
    return share[..., None] * kernel_of(model.layers[-1])


def vectors_of(model, tokens):
    return np.array(model.get_layer("vectors").embeddings)[tokens]


AT_PADDED_TOKENS = {
    "gradient": lambda g, v, v0: np.linalg.norm(g, axis=-1),
    "saliency": lambda g, v, v0: np.abs(g).sum(axis=-1),
    "input_t_gradient": lambda g, v, v0: (g * v).sum(axis=-1),
    "lrp.z": lambda g, v, v0: (g * v).sum(axis=-1),
    "integrated_gradients": lambda g, v, v0: (g * (v - v0)).sum(axis=-1),
    "deeplift": lambda g, v, v0: (g * (v - v0)).sum(axis=-1),
}


@pytest.mark.parametrize("method", AT_PADDED_TOKENS)
def test_a_mask_that_is_an_input(method):
    """It gets zeros; tokens get what is theirs under the sample's mask."""
    model, x = padded_model()
    vectors = vectors_of(model, TOKENS), vectors_of(model, 0 * TOKENS)
    right = AT_PADDED_TOKENS[method](right_of_padded_model(model), *vectors)
    found = explain(method, model, x)
    assert not found["padding_mask"].any() and found["padding_mask"].shape == TOKENS.shape
    assert_close(found["token_ids"], right, 1e-5)


def test_the_vectors_beside_a_mask_that_is_an_input():
    model, x = padded_model()
    found = explain("gradient", model, x, layers=("vectors",))["vectors"]
    assert_close(found, right_of_padded_model(model), 1e-5)


# --- Tokens ---------------------------------------------------------------------------------------

ONCE = np.array([[1, 4, 2, 9, 0], [8, 3, 5, 7, 6]], "int32")
TWICE = np.array([[1, 4, 4, 9, 4], [8, 8, 5, 8, 5]], "int32")


def category_model(mode):
    tokens = layers.Input((5,), dtype="int32")
    encoded = layers.CategoryEncoding(10, mode)(tokens)
    return keras.Model(tokens, layers.Dense(3)(encoded))


@pytest.mark.parametrize("method", ["input_t_gradient", "lrp.z"])
@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_tokens_as_categories(mode, method):
    """Each token has the weight of its category."""
    model = category_model(mode)
    right = kernel_of(model.layers[-1])[ONCE]
    np.testing.assert_allclose(right.sum(axis=1), np.array(model(ONCE))[:, NEURON], rtol=1e-5)
    assert_close(explain(method, model, ONCE), right, 1e-5)


@pytest.mark.parametrize("method", ["input_t_gradient", "lrp.z"])
@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_tokens_that_are_there_several_times(mode, method):
    """Counted, each has its category's weight; otherwise they share it, in whatever way."""
    model = category_model(mode)
    found, weights = explain(method, model, TWICE), kernel_of(model.layers[-1])
    if mode == "count":
        assert_close(found, weights[TWICE], 1e-5)
    assert_close(found.sum(axis=1), np.array(model(TWICE))[:, NEURON], 1e-5)
    for sample, tokens in zip(found, TWICE, strict=True):
        for token in set(tokens):
            times = np.sum(tokens == token) if mode == "count" else 1
            together = sample[tokens == token].sum()
            assert together == pytest.approx(times * weights[token], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("method", ["gradient", "input_t_gradient"])
def test_the_head_of_a_tied_language_model(method):
    """The logit of a word is the product of two vectors, of which one is a weight."""
    tokens = layers.Input((5,), dtype="int32")
    embedding = layers.ReversibleEmbedding(10, 4)
    model = keras.Model(tokens, embedding(embedding(tokens), reverse=True)[:, 0])
    table = np.array(embedding.embeddings)
    output = table[ONCE[:, 0]] @ table[NEURON]
    np.testing.assert_allclose(np.array(model(ONCE))[:, NEURON], output, rtol=1e-5)
    right = np.zeros(ONCE.shape)
    right[:, 0] = output if method == "input_t_gradient" else np.linalg.norm(table[NEURON])
    assert_close(explain(method, model, ONCE), right, 1e-5)


class Table(layers.Layer):
    """An embedding of the user's own."""

    def build(self, shape):
        self.table = self.add_weight(shape=(10, 4), initializer="random_normal", name="table")

    def call(self, x):
        return ops.take(self.table, x, axis=0)


def taking_model(own_layer):
    """A model that takes vectors from a table, and the table."""
    tokens, table = layers.Input((5,), dtype="int32"), Table()
    if own_layer:
        vectors = table(tokens)
        values = np.array(table.table)
    else:
        values = normal(10, 4)
        vectors = ops.take(values, tokens, axis=0)
    return keras.Model(tokens, layers.Dense(2)(layers.Flatten()(vectors))), values


@pytest.mark.parametrize("own_layer", [True, False])
@pytest.mark.parametrize("method", ["gradient", "input_t_gradient", "lrp.epsilon", "deeplift"])
def test_vectors_that_are_taken_from_a_table(method, own_layer):
    model, table = taking_model(own_layer)
    weights = kernel_of(model.layers[-1]).reshape(5, 4)
    vectors = table[ONCE]
    right = ((vectors - (table[0] if method == "deeplift" else 0)) * weights).sum(axis=-1)
    if method == "gradient":
        right = np.tile(np.linalg.norm(weights, axis=-1), (len(ONCE), 1))
    arguments = TINY if method == "lrp.epsilon" else {}
    assert_close(explain(method, model, ONCE, **arguments), right, 1e-4)


# --- Layers ---------------------------------------------------------------------------------------


class Twice(layers.Layer):
    """Returns a tensor twice."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        y = self.dense(x)
        return {"last": y, "all": [y, y]}


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "deeplift"])
def test_a_tensor_that_is_returned_twice(method, both):
    x, twice, head = layers.Input((6,)), Twice(), layers.Dense(3)
    first, second = twice(x)["all"]
    model = keras.Model(x, head(first + second if both else first))
    samples = normal(2, 6)
    gradient = (2 if both else 1) * np.array(twice.dense.kernel) @ kernel_of(head)
    assert_close(taped(model, samples), np.tile(gradient, (2, 1)), 1e-5)
    factor = np.ones_like(samples) if method == "gradient" else samples
    arguments = TINY if method == "lrp.epsilon" else {}
    assert_close(explain(method, model, samples, **arguments), factor * gradient, 1e-4)


class Same(layers.Layer):
    """Hands its input on as it is, but for training."""

    def call(self, x, training=False):
        return x * 2.0 if training else x


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "deeplift"])
def test_a_layer_that_returns_its_input(method):
    x, head = layers.Input((6,)), layers.Dense(3)
    model = keras.Model(x, head(Same()(x)))
    samples = normal(2, 6)
    factor = np.ones_like(samples) if method == "gradient" else samples
    arguments = TINY if method == "lrp.epsilon" else {}
    found = explain(method, model, samples, **arguments)
    assert_close(found, factor * kernel_of(head), 1e-4)


def activated(activation):
    keras.utils.set_random_seed(3)
    parts = layers.Dense(6, activation=activation), layers.Dense(2)
    return keras.Sequential([layers.Input((5,)), *parts])


@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "deeplift"])
def test_a_lambda_as_an_activation(method):
    """It is a rectifier by another name."""
    model, samples = activated(lambda z: ops.maximum(z, 0)), normal(3, 5)
    first, _, second, _ = model.get_weights()
    right = ((samples @ first > 0) * second[:, NEURON]) @ first.T
    assert_close(taped(model, samples), right, 1e-5)
    right = right if method == "gradient" else samples * right
    arguments = TINY if method == "lrp.epsilon" else {}
    assert_close(explain(method, activated("relu"), samples, **arguments), right, 1e-4)
    assert_close(explain(method, model, samples, **arguments), right, 1e-4)


def test_the_input_analyzer_at_a_layer():
    """What stands there: the layer's activations."""
    model = keras.Sequential(
        [layers.Input((5,)), layers.Dense(3, "tanh", name="hidden"), layers.Dense(2)]
    )
    samples, kernel = normal(2, 5), np.array(model.layers[0].kernel)
    found = innvestigate.create_analyzer("input", model, layers=("hidden", "input"))
    found = found.analyze(samples)
    assert set(found) == {"hidden", "input"}
    np.testing.assert_allclose(found["hidden"], np.tanh(samples @ kernel), rtol=1e-5)
    np.testing.assert_array_equal(found["input"], samples)


@on_tensorflow
def test_the_softmax_of_tensorflow():
    """It is taken off, with one warning, as Keras's own."""
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation=tf.nn.softmax)])
    with pytest.warns(UserWarning, match="ends in a softmax") as warned:
        created = innvestigate.create_analyzer("lrp.z", model)
    assert sum("softmax" in str(warning.message) for warning in warned) == 1
    samples, kernel = normal(5, 4), np.array(model.layers[0].kernel)
    chosen = (samples @ kernel).argmax(axis=1)
    assert_close(created.analyze(samples), samples * kernel.T[chosen], 1e-5)


@pytest.mark.filterwarnings("ignore:The model ends in a sigmoid")
@pytest.mark.parametrize("method", ["lrp.epsilon", "lrp.z", "deeplift", "integrated_gradients"])
@pytest.mark.parametrize("scale", [1, -1])
def test_what_lowers_a_probability_speaks_against_it(method, scale):
    """The logit is (2, 1) · (-1, 1), or minus that: its parts have the signs of the products."""
    model = keras.Sequential([layers.Input((2,)), layers.Dense(1, activation="sigmoid")])
    model.set_weights([scale * np.array([[-1.0], [1.0]]), np.array([0.0])])
    found = explain(method, model, np.array([[2.0, 1.0]]), neuron=0)
    np.testing.assert_array_equal(np.sign(found), scale * np.array([[-1, 1]]))
    np.testing.assert_allclose(found[0, 0] / found[0, 1], -2, rtol=1e-3)


# --- Types of numbers -----------------------------------------------------------------------------


@contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def image_model(dtype, weights=None):
    with policy(dtype):
        x = layers.Input((8, 8, 3))
        y = layers.Flatten()(layers.Conv2D(2, 3, activation="relu")(x))
        model = keras.Model(x, layers.Dense(3)(y))
    if weights is not None:
        model.set_weights([w.astype("float32") for w in weights])
    return model


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 0.01), ("bfloat16", 0.06)])
@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "deeplift"])
def test_convolutions_in_half_precision(method, dtype, tolerance):
    """As close to single precision, with the same weights, as half precision can be.

    Without biases, relevance and contributions are the input times the gradient.
    """
    half = image_model(dtype)
    single = image_model("float32", half.get_weights())
    samples = normal(4, 8, 8, 3).astype("float16").astype("float32")
    found = explain(method, half, samples)
    assert np.all(np.isfinite(found))
    right = taped(single, samples)
    assert_close(found, right if method == "gradient" else samples * right, tolerance)


def test_gradients_through_complex_numbers():
    """The real part of the number of radius x and angle x is x cos x."""
    with precise():
        x, head = layers.Input((4,), dtype="float64"), layers.Dense(3)
        model = keras.Model(x, head(ops.cast(ops.real(ops.polar(x, x)), "float64")))
    samples = normal(2, 4, dtype="float64")
    right = (np.cos(samples) - samples * np.sin(samples)) * kernel_of(head)
    assert_close(differences(model, samples, 1e-3), right, 1e-4)
    assert_close(explain("gradient", model, samples), right, 1e-4)


@pytest.mark.parametrize("method", ["gradient", "input_t_gradient"])
def test_bits_that_are_looked_at(method):
    """The sign of a float is that of its bits read as a whole number; no gradient passes there."""
    x, head = layers.Input((4,)), layers.Dense(2)
    gate = ops.cast(ops.view(x, "int32") > 0, "float32")
    model, samples = keras.Model(x, head(x * gate)), normal(3, 4)
    np.testing.assert_allclose(
        np.array(model(samples)), np.maximum(samples, 0) @ np.array(head.kernel), atol=1e-6
    )
    right = (samples > 0) * kernel_of(head) * (1 if method == "gradient" else samples)
    assert_close(taped(model, samples), (samples > 0) * kernel_of(head), 1e-6)
    assert_close(explain(method, model, samples), right, 1e-6)


def test_contributions_through_a_quotient_add_up():
    x = layers.Input((4,))
    above, below = layers.Dense(5)(x), layers.Dense(5, "softplus")(x)
    model = keras.Model(x, layers.Dense(2)(ops.divide_no_nan(above, below)))
    samples = normal(6, 4)
    right = np.array(model(samples) - model(0 * samples))[:, NEURON]
    assert_close(explain("deeplift", model, samples).sum(axis=1), right, 1e-4)


# --- Depth ----------------------------------------------------------------------------------------


def mixing(size, seed):
    """A kernel without negative numbers that keeps the sum of what it is given."""
    return 0.9 * np.eye(size) + 0.1 * np.eye(size)[np.random.default_rng(seed).permutation(size)]


@pytest.mark.parametrize("method", slow_but("lrp.z", ["gradient", "lrp.z", "deeplift"]))
def test_six_hundred_layers(method):
    """Nothing is below zero, so the network is the product of its kernels."""
    parts = [layers.Dense(4, "relu", use_bias=False) for _ in range(600)]
    model = keras.Sequential([layers.Input((4,)), *parts])
    kernels = [mixing(4, seed) for seed in range(600)]
    kernels[-1] = np.array([[1, 2, 0, 1], [0, 1, 1, 0], [3, 1, 0, 0], [0, 5, 1, 1]])
    model.set_weights(kernels)
    product = np.eye(4)
    for kernel in kernels:
        product = product @ kernel
    samples = np.random.default_rng(0).uniform(0.1, 1, (3, 4)).astype("float32")
    np.testing.assert_allclose(np.array(model(samples)), samples @ product, rtol=1e-3)
    factor = np.ones_like(samples) if method == "gradient" else samples
    assert_close(explain(method, model, samples), factor * product[:, NEURON], 1e-3)


@contextmanager
def deep_recursion():
    """Keras itself walks a graph by recursion when a model is made of it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def scaled(x):
    """x again, after two thousand operations that are exact."""
    for _ in range(1000):
        x = x * 2.0 * 0.5
    return x


class Chain(layers.Layer):
    """Two thousand operations in one layer."""

    def call(self, x):
        return scaled(x)


@slow
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon"])
def test_two_thousand_operations(method, inside):
    x, head = layers.Input((4,)), layers.Dense(3)
    with deep_recursion():
        model = keras.Model(x, head(Chain()(x) if inside else scaled(x)))
    samples = normal(2, 4)
    factor = np.ones_like(samples) if method == "gradient" else samples
    arguments = TINY if method == "lrp.epsilon" else {}
    found = explain(method, model, samples, **arguments)
    assert_close(found, factor * kernel_of(head), 1e-4)
