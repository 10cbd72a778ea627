"""Every layer of keras.layers: the gradient methods equal the framework's own, and LRP works.

A layer that Keras adds is missed by no table: the test of completeness fails until it is listed.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from tests.frameworks import gradients

FLAT, SEQUENCE, IMAGE, VOLUME = (6,), (6, 4), (8, 8, 4), (6, 6, 6, 2)

pytestmark = pytest.mark.usefixtures("step_by_step")

ONE_INPUT = {
    **{
        name: (getattr(layers, name)(), FLAT)
        for name in ("ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "Identity", "Flatten")
    },
    **{
        name: (getattr(layers, name)(0.5), SEQUENCE)
        for name in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")
    },
    **{
        f"{kind}{rank}D": (getattr(layers, f"{kind}{rank}D")(*arguments), shape)
        for kind, arguments in (
            ("AveragePooling", (2,)),
            ("MaxPooling", (2,)),
            ("GlobalAveragePooling", ()),
            ("GlobalMaxPooling", ()),
            ("AdaptiveAveragePooling", (2,)),
            ("AdaptiveMaxPooling", (2,)),
            ("Conv", (3, 3)),
            ("Cropping", (1,)),
            ("ZeroPadding", (1,)),
            ("UpSampling", (2,)),
            ("SpatialDropout", (0.5,)),
        )
        for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"Conv{rank}DTranspose": (getattr(layers, f"Conv{rank}DTranspose")(3, 3), shape)
        for rank, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))
    },
    **{
        f"ConvLSTM{rank}D": (getattr(layers, f"ConvLSTM{rank}D")(2, 3), (3, *shape))
        for rank, shape in ((1, SEQUENCE), (2, (5, 5, 2)), (3, (4, 4, 4, 1)))
    },
    "Activation": (layers.Activation("tanh"), FLAT),
    "ActivityRegularization": (layers.ActivityRegularization(0.1), FLAT),
    "BatchNormalization": (layers.BatchNormalization(), IMAGE),
    "Bidirectional": (layers.Bidirectional(layers.GRU(3)), SEQUENCE),
    "CenterCrop": (layers.CenterCrop(4, 4), IMAGE),
    "Dense": (layers.Dense(3, activation="gelu"), FLAT),
    "DepthwiseConv1D": (layers.DepthwiseConv1D(3), SEQUENCE),
    "DepthwiseConv2D": (layers.DepthwiseConv2D(3, depth_multiplier=2), IMAGE),
    "EinsumDense": (layers.EinsumDense("abc,cd->abd", (6, 5), bias_axes="d"), SEQUENCE),
    "GRU": (layers.GRU(3, return_sequences=True), SEQUENCE),
    "GroupNormalization": (layers.GroupNormalization(2), IMAGE),
    "LSTM": (layers.LSTM(3), SEQUENCE),
    "Lambda": (layers.Lambda(lambda x: keras.ops.relu(x) * 2.0), FLAT),
    "LayerNormalization": (layers.LayerNormalization(), SEQUENCE),
    "Masking": (layers.Masking(), SEQUENCE),
    "MelSpectrogram": (
        layers.MelSpectrogram(num_mel_bins=8, fft_length=64, sequence_stride=32),
        (256,),
    ),
    "Normalization": (layers.Normalization(mean=[1.0] * 4, variance=[2.0] * 4), SEQUENCE),
    "Permute": (layers.Permute((2, 1)), SEQUENCE),
    "Pipeline": (layers.Pipeline([layers.Rescaling(0.5), layers.Rescaling(2.0, 1.0)]), IMAGE),
    "RMSNormalization": (layers.RMSNormalization(), SEQUENCE),
    "RNN": (layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), SEQUENCE),
    "RepeatVector": (layers.RepeatVector(3), FLAT),
    "Rescaling": (layers.Rescaling(1 / 127.5, -1.0), IMAGE),
    "Reshape": (layers.Reshape((3, 2)), FLAT),
    "Resizing": (layers.Resizing(5, 11), IMAGE),
    "STFTSpectrogram": (
        layers.STFTSpectrogram(frame_length=64, frame_step=32, fft_length=64),
        (256, 1),
    ),
    "SeparableConv1D": (layers.SeparableConv1D(3, 3, activation="relu"), SEQUENCE),
    "SeparableConv2D": (layers.SeparableConv2D(3, 3, strides=2, padding="same"), IMAGE),
    "SimpleRNN": (layers.SimpleRNN(3), SEQUENCE),
    "SpectralNormalization": (layers.SpectralNormalization(layers.Dense(3)), FLAT),
    "TimeDistributed": (layers.TimeDistributed(layers.Dense(3, activation="relu")), SEQUENCE),
    "UnitNormalization": (layers.UnitNormalization(), SEQUENCE),
}
MERGING = {
    name: (getattr(layers, name)(), SEQUENCE)
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
}
MERGING["Dot"] = (layers.Dot(axes=2), SEQUENCE)
ATTENTION = {
    "Attention": lambda x, y: layers.Attention()([x, y]),
    "AdditiveAttention": lambda x, y: layers.AdditiveAttention()([x, y]),
    "MultiHeadAttention": lambda x, y: layers.MultiHeadAttention(2, 3)(x, y),
    "GroupQueryAttention": lambda x, y: layers.GroupQueryAttention(4, 4, 2)(x, y),
}
TOKENS = ("Embedding", "ReversibleEmbedding", "CategoryEncoding")

# Layers whose inside LRP cannot see: an error that names them, until a rule is given.
NO_LRP_RULE = {}
# Layers without a gradient of their own: what they are instead.
NO_GRADIENT = {
    "abstract": {"Layer", "Wrapper", "InputLayer", "InputSpec", "Input"},
    "cells, run by RNN": {"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"},
    "discrete": {
        *("Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"),
        "TextVectorization",
    },
    "other frameworks": {"FlaxLayer", "JaxLayer", "TorchModuleWrapper", "TFSMLayer"},
    "augmentation, the identity outside training": {
        *(name for name in dir(layers) if name.startswith("Rand")),
        *("AugMix", "AutoContrast", "CutMix", "Equalization", "MixUp", "Solarization"),
        *("ContrastLimitedAdaptiveHistogramEqualization", "MaxNumBoundingBoxes"),
    },
}
ALIASES = ("Convolution", "AvgPool", "MaxPool1D", "MaxPool2D", "MaxPool3D", "GlobalAvgPool")
ALIASES += ("GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPool3D", "SeparableConvolution")


def tabled():
    """The layers of which `build` makes a model."""
    return sorted({*ONE_INPUT, *MERGING, *ATTENTION, *TOKENS})


def samples(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(3, *shape)).astype("float32")


def renewed(layer):
    config = layer.get_config() | {"name": "layer_under_test"}
    return layer if isinstance(layer, layers.Lambda) else type(layer).from_config(config)


def build(name):
    """A model around one layer, and inputs for it."""
    if name in TOKENS:
        return build_for_tokens(name)
    if name in ONE_INPUT:
        layer, shape = ONE_INPUT[name]
        inputs = [keras.Input(shape)]
        y = renewed(layer)(inputs[0])
    else:
        inputs = [keras.Input(SEQUENCE), keras.Input(SEQUENCE)]
        shape = SEQUENCE
        layer = MERGING[name][0] if name in MERGING else None
        y = layer(inputs) if layer is not None else ATTENTION[name](*inputs)
    y = layers.Flatten()(y)
    model = keras.Model(inputs, layers.Dense(3)(y))
    return model, [samples(shape, seed) for seed in range(len(inputs))]


def build_for_tokens(name):
    arguments = {"CategoryEncoding": {"num_tokens": 7, "output_mode": "one_hot"}}
    layer = getattr(layers, name)(**arguments.get(name, {"input_dim": 7, "output_dim": 3}))
    tokens = keras.Input((5,), dtype="int32")
    model = keras.Model(tokens, layers.Dense(2)(layers.Flatten()(layer(tokens))))
    return model, np.arange(10).reshape(2, 5) % 7


def test_the_table_is_complete():
    listed = {*ONE_INPUT, *MERGING, *ATTENTION, *TOKENS, *set().union(*NO_GRADIENT.values())}
    names = {name for name in dir(layers) if name[0].isupper() and not name.startswith(ALIASES)}
    assert names - listed == set()


@pytest.mark.parametrize("name", [*ONE_INPUT, *MERGING, *ATTENTION])
def test_gradient_equals_tape(name):
    model, xs = build(name)
    expected = gradients(lambda xs: ops.max(model(xs), axis=-1), xs)
    found = innvestigate.create_analyzer("gradient", model).analyze(xs)
    for g, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6 * np.abs(e).max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GuidedBackprop has a rule")
@pytest.mark.parametrize("name", [*ONE_INPUT, *MERGING, *ATTENTION])
def test_guided_backprop_runs(name):
    model, xs = build(name)
    for g in innvestigate.create_analyzer("guided_backprop", model).analyze(xs):
        assert np.all(np.isfinite(g))


@pytest.mark.parametrize("name", [*ONE_INPUT, *MERGING, *ATTENTION])
def test_lrp_works(name):
    model, xs = build(name)
    analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
    for r in analyzer.analyze(xs):
        assert np.all(np.isfinite(r))


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("method", ["gradient", "lrp.epsilon", "guided_backprop"])
def test_tokens_get_one_value_each(name, method):
    model, x = build(name)
    r = innvestigate.create_analyzer(method, model).analyze(x)
    assert r.shape == (2, 5)
    assert np.all(np.isfinite(r)) and np.abs(r).min() > 0


AUGMENTATIONS = {
    "RandomFlip": "horizontal_and_vertical",
    "RandomRotation": 0.5,
    "RandomContrast": 0.5,
    "RandomZoom": 0.5,
}


class Subclassed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.augment, self.head = layer, layers.Dense(2)

    def call(self, x, training=None):
        return self.head(layers.Flatten()(self.augment(x, training=training)))


@pytest.mark.parametrize("subclassed", [False, True])
@pytest.mark.parametrize(("name", "argument"), AUGMENTATIONS.items())
def test_augmentation_is_the_identity(name, argument, subclassed):
    layer = getattr(layers, name)(argument)
    model = Subclassed(layer)
    if not subclassed:
        model = keras.Sequential([keras.Input(IMAGE), layer, layers.Flatten(), layers.Dense(2)])
    x = samples(IMAGE)
    expected = model.predict(x, verbose=0).max(1)
    r = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    np.testing.assert_allclose(r.sum((1, 2, 3)), expected, rtol=1e-4)
