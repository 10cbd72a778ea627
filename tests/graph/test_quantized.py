"""Quantized layers: linear maps of rounded inputs, whichever way their weights are stored.

Modes are checked by what does not depend on how weights are stored: without biases LRP-z hands on
all of the output, and DeepLIFT's contributions add up to the change that the model itself shows.
"""

import keras
import numpy as np
import pytest
from keras import layers
from keras.quantizers import (
    AbsMaxQuantizer,
    AWQConfig,
    GPTQConfig,
    Int4QuantizationConfig,
    Int8QuantizationConfig,
)

import innvestigate

pytestmark = pytest.mark.usefixtures("step_by_step")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6, 5)).astype("float32")
PER_CHANNEL = Int4QuantizationConfig(block_size=-1, activation_quantizer=AbsMaxQuantizer())
MODES = {
    "int8": ("int8", None),
    "int8, weights only": ("int8", Int8QuantizationConfig(activation_quantizer=None)),
    "int4": ("int4", None),
    "int4, in groups": ("int4", Int4QuantizationConfig(block_size=2)),
    "int4, inputs rounded, too": ("int4", PER_CHANNEL),
}
STORED = {
    "gptq": GPTQConfig(dataset=None, tokenizer=None, weight_bits=4, group_size=4),
    "awq": AWQConfig(dataset=None, tokenizer=None, group_size=4),
}


def network(bias=False):
    inputs = keras.Input((6, 5))
    axes = "d" if bias else None
    y = layers.EinsumDense("abc,cd->abd", (6, 5), bias_axes=axes, activation="relu")(inputs)
    y = layers.Dense(7, activation="relu", use_bias=bias)(layers.Flatten()(y))
    return keras.Model(inputs, layers.Dense(3, use_bias=bias)(y))


def learn(model):
    """Give every layer that can a learned part."""
    for layer in model.layers:
        if hasattr(layer, "enable_lora"):
            layer.enable_lora(2)
            layer.lora_kernel_b.assign(RNG.normal(size=layer.lora_kernel_b.shape))


def explained(method, model, x=X):
    return innvestigate.create_analyzer(method, model).analyze(x)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_conserves(mode, lora):
    model = network()
    model.quantize(MODES[mode][0], config=MODES[mode][1])
    if lora:
        learn(model)
    y = np.array(model(X))
    assert np.abs(explained("gradient", model)).max() > 0
    np.testing.assert_allclose(explained("lrp.z", model).sum((1, 2)), y.max(1), rtol=1e-4)
    np.testing.assert_allclose(explained("deeplift", model).sum((1, 2)), y.max(1), rtol=1e-4)


@pytest.mark.parametrize("mode", STORED)
def test_modes_that_show_their_kernel_conserve(mode):
    model = keras.Sequential([layers.Input((8,)), layers.Dense(4, use_bias=False)])
    dense = model.layers[0]
    dense.quantize(mode, config=STORED[mode])
    dense.quantized_kernel.assign(RNG.integers(0, 255, dense.quantized_kernel.shape))
    dense.kernel_scale.assign(RNG.uniform(0.01, 0.1, dense.kernel_scale.shape))
    dense.kernel_zero.assign(RNG.integers(0, 15, dense.kernel_zero.shape))
    setattr(dense, f"is_{mode}_calibrated", True)
    x = RNG.normal(size=(3, 8)).astype("float32")
    np.testing.assert_allclose(
        explained("lrp.z", model, x).sum(1), np.array(model(x)).max(1), rtol=1e-4
    )


@pytest.mark.parametrize("method", ["lrp.epsilon", "lrp.alpha_1_beta_0"])
def test_relevance_of_an_int8_layer_is_that_of_its_rounded_numbers(method):
    model = keras.Sequential([layers.Input((5,)), layers.Dense(3)])
    dense, x = model.layers[0], X[:, 0]
    dense.bias.assign([0.3, -0.2, 0.1])
    model.quantize("int8")
    w, b = (np.asarray(v, "float64") for v in (dense.kernel, dense.bias))
    w = w / np.asarray(dense.kernel_scale, "float64")
    scale = 127 / (np.abs(x).max(1, keepdims=True).astype("float64") + 1e-7)
    rounded = np.round(x * scale) / scale
    parts = rounded[:, :, None] * w
    if method == "lrp.alpha_1_beta_0":
        parts, shift = np.maximum(parts, 0), np.maximum(b, 0)
    else:
        shift = b
    z = rounded @ w + b
    chosen = z.argmax(1)
    rows = np.arange(len(x))
    shares = parts[rows, :, chosen] / (parts.sum(1) + shift)[rows, chosen, None]
    np.testing.assert_allclose(
        explained(method, model, x), shares * z.max(1, keepdims=True), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_of_a_quantized_embedding(mode, tied):
    tokens = keras.Input((5,), dtype="int32")
    embedding = layers.ReversibleEmbedding(9, 4, tie_weights=tied)
    model = keras.Model(tokens, embedding(embedding(tokens), reverse=True))
    model.quantize(mode)
    x = np.arange(10).reshape(2, 5) % 9
    analyzer = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index")
    np.testing.assert_allclose(
        analyzer.analyze(x, (2, 3)).sum(1), np.array(model(x))[:, 2, 3], rtol=1e-4
    )


def test_weights_that_change_are_seen():
    model = network()
    model.quantize("int8")
    analyzer = innvestigate.create_analyzer("lrp.z", model)
    before = analyzer.analyze(X)
    last = model.layers[-1]
    last.kernel_scale.assign(0.5 * last.kernel_scale)
    np.testing.assert_allclose(analyzer.analyze(X), 2 * before, rtol=1e-4, atol=1e-6)


def test_a_quantized_transformer_is_seen_into():
    inputs = keras.Input((6, 5))
    y = layers.MultiHeadAttention(2, 3, use_bias=False)(inputs, inputs)
    y = layers.Dense(2, use_bias=False)(layers.Flatten()(y))
    model = keras.Model(inputs, y)
    model.quantize("int8")
    found = explained("deeplift", model).sum((1, 2))
    np.testing.assert_allclose(found, np.array(model(X)).max(1), rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("ignore:GuidedBackprop has a rule")
def test_the_gradient_of_an_opened_layer_is_that_of_keras():
    model = keras.Sequential([layers.Input((5,)), layers.Dense(4), layers.Dense(3)])
    model.quantize("int8")
    expected = explained("gradient", model, X[:, 0])
    found = explained("guided_backprop", model, X[:, 0])  # which looks into opaque layers
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
