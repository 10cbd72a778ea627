"""Networks with other ends than one number for each class: pairs, images, steps, regions, sizes.

Without biases LRP-z and DeepLIFT share out exactly what is explained; the gradient is that of the
model itself.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops, tree

import innvestigate
from tests.frameworks import gradients

pytestmark = pytest.mark.usefixtures("step_by_step")

FAMILIES = ("guided_backprop", "lrp.alpha_1_beta_0", "integrated_gradients", "occlusion")


RNG = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def _same_numbers(monkeypatch):
    """Each test draws the same, in whatever order they run."""
    monkeypatch.setattr(f"{__name__}.RNG", np.random.default_rng(1))


def uniform(*shape):
    return RNG.uniform(size=(3, *shape)).astype("float32")


def encoder():
    return keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, use_bias=False),
        ]
    )


def twins(join):
    """Two images through one encoder, and what compares their vectors."""
    inputs, encode = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))], encoder()
    model = keras.Model(inputs, join(encode(inputs[0]), encode(inputs[1])))
    return model, [uniform(8, 8, 3), uniform(8, 8, 3)], None


def squared_distance(a, b):
    return ops.sum(ops.square(a - b), axis=-1, keepdims=True)


def weighed_difference(a, b):
    return layers.Dense(1, use_bias=False)(ops.abs(a - b))


def images(size=(None, None)):
    """An image of two channels for an image of three, in any even size."""
    x = keras.Input((*size, 3))
    fine = layers.Conv2D(4, 3, padding="same", activation="relu", use_bias=False)(x)
    coarse = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(fine)
    up = layers.Conv2DTranspose(4, 2, strides=2, activation="relu", use_bias=False)(coarse)
    y = layers.Concatenate()([fine, up])
    return keras.Model(x, layers.Conv2D(2, 1, use_bias=False)(y))


def reconstruction_error():
    x = keras.Input((8, 8, 3))
    code = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", use_bias=False)(x)
    again = layers.Conv2DTranspose(3, 3, strides=2, padding="same", use_bias=False)(code)
    error = ops.mean(ops.square(again - x), axis=(1, 2, 3))
    return keras.Model(x, ops.expand_dims(error, 1)), uniform(8, 8, 3), None


def steps():
    x = keras.Input((None, 4))
    forth = layers.LSTM(3, return_sequences=True, use_bias=False)
    y = layers.Bidirectional(forth)(x)
    scores = layers.TimeDistributed(layers.Dense(2, use_bias=False))
    return keras.Model(x, scores(y)), uniform(7, 4), (5, 1)


def resized():
    x = keras.Input((None, None, 3))
    y = layers.Rescaling(1 / 255)(layers.Resizing(8, 8)(x))
    y = layers.Conv2D(4, 3, activation="relu", use_bias=False)(y)
    y = layers.Dense(3, use_bias=False)(layers.GlobalMaxPooling2D()(y))
    return keras.Model(x, y), 255 * uniform(12, 10, 3), None


def region():
    weights = np.zeros((8, 6, 2), "float32")
    weights[2:5, 1:4, 1] = 1
    return images(), uniform(8, 6, 3), weights


HEADS = {
    "distance of twins": lambda: twins(squared_distance),
    "difference of twins": lambda: twins(weighed_difference),
    "cosine of twins": lambda: twins(lambda a, b: layers.Dot(1, normalize=True)([a, b])),
    "reconstruction error": reconstruction_error,
    "pixel": lambda: (images(), uniform(8, 6, 3), (2, 3, 1)),
    "region": region,
    "pixel of a known size": lambda: (images((8, 6)), uniform(8, 6, 3), (2, 3, 1)),
    "step": steps,
    "image of any size": resized,
}


def chosen(output, selection):
    """The numbers that are explained, as tensors."""
    if isinstance(selection, tuple):
        return output[(slice(None), *selection)]
    weighed = output if selection is None else ops.multiply(output, selection)
    flat = ops.reshape(weighed, (3, -1))
    return ops.max(flat, axis=1) if selection is None else ops.sum(flat, axis=1)


def explained(method, model, x, selection):
    if selection is None:
        return innvestigate.create_analyzer(method, model).analyze(x)
    mode = "index" if isinstance(selection, tuple) else "weights"
    analyzer = innvestigate.create_analyzer(method, model, neuron_selection_mode=mode)
    return analyzer.analyze(x, selection)


def total(relevance):
    return sum(r.reshape(3, -1).sum(1) for r in tree.flatten(relevance))


@pytest.mark.parametrize("name", HEADS)
def test_what_is_explained_is_shared_out(name):
    model, x, selection = HEADS[name]()
    expected = np.array(chosen(model(x), selection))
    for method in ("lrp.z", "deeplift"):
        found = total(explained(method, model, x, selection))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_the_gradient_is_that_of_the_model(name):
    model, x, selection = HEADS[name]()
    expected = gradients(lambda x: chosen(model(x), selection), x)
    found = explained("gradient", model, x, selection)
    for a, b in zip(tree.flatten(found), tree.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:GuidedBackprop has a rule")
@pytest.mark.parametrize("method", FAMILIES)
@pytest.mark.parametrize("name", HEADS)
def test_every_family_explains_every_head(name, method):
    model, x, selection = HEADS[name]()
    for r in tree.flatten(explained(method, model, x, selection)):
        assert np.all(np.isfinite(r))
        assert np.abs(r).max() > 0


def test_one_analyzer_for_images_of_several_sizes():
    model = images()
    analyzer = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index")
    for size in [(8, 6), (4, 10), (8, 6)]:
        x = uniform(*size, 3)
        found = total(analyzer.analyze(x, (1, 2, 0)))
        np.testing.assert_allclose(found, np.array(model(x))[:, 1, 2, 0], rtol=1e-4, atol=1e-6)
