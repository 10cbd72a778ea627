"""Models out of the ordinary: half precision, LoRA, unused inputs, several calls, free sizes."""

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate

RNG = np.random.default_rng(0)


def test_half_precision_is_explained_in_single_precision():
    half = keras.DTypePolicy("mixed_float16")
    model = keras.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu", dtype=half, use_bias=False),
            layers.GlobalAveragePooling2D(dtype=half),
            layers.Dense(3, dtype=half, use_bias=False),
        ]
    )
    x = RNG.normal(size=(4, 8, 8, 3)).astype("float16")
    logits = model.predict(x, verbose=0).astype("float32").max(1)
    for name in ("gradient", "lrp.epsilon", "lrp.alpha_2_beta_1", "guided_backprop"):
        r = innvestigate.create_analyzer(name, model).analyze(x)
        assert r.dtype == "float32" and np.all(np.isfinite(r))
    r = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    np.testing.assert_allclose(r.sum((1, 2, 3)), logits, rtol=5e-3)


def test_lora_kernels_are_those_in_effect():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, use_bias=False)])
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(RNG.normal(size=(2, 3)))
    x = RNG.normal(size=(5, 4)).astype("float32")
    r = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    np.testing.assert_allclose(r.sum(1), model.predict(x, verbose=0).max(1), rtol=1e-5)


def test_an_input_that_the_output_does_not_depend_on_gets_zeros():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    model = keras.Model([a, b], [layers.Dense(2)(a + b), layers.Dense(2)(a)])
    x = [np.ones((2, 4)), np.ones((2, 4))]
    for name in ("gradient", "lrp.z"):
        first, second = innvestigate.create_analyzer(name, model, output=1).analyze(x)
        assert np.abs(first).max() > 0
        np.testing.assert_array_equal(second, np.zeros((2, 4)))


def test_an_encoder_called_twice_conserves_relevance():
    encoder = keras.Sequential(
        [layers.Input((4,)), layers.Dense(6, activation="softplus", use_bias=False)]
    )
    a, b = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([a, b], layers.Dot(1)([encoder(a), encoder(b)]))
    x = [RNG.normal(size=(3, 4)).astype("float32") for _ in range(2)]
    r = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    total = sum(part.sum(1) for part in r)
    np.testing.assert_allclose(total, model.predict(x, verbose=0)[:, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("mode", "selection"),
    [("index", (1, 2, 3)), ("weights", np.ones((8, 8, 1))), ("weights", [0, 0, 0, 1])],
)
def test_selection_in_outputs_of_free_size(mode, selection):
    x = keras.Input((None, None, 3))
    model = keras.Model(x, layers.Conv2D(4, 3, padding="same")(x))
    data = RNG.normal(size=(2, 8, 8, 3)).astype("float32")
    found = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode=mode).analyze(
        data, selection
    )
    output = model.predict(data, verbose=0)
    weights = np.zeros(output.shape[1:])
    if mode == "index":
        weights[selection] = 1
    else:
        weights[:] = selection
    bias_free = (output * weights).sum((1, 2, 3))
    np.testing.assert_allclose(found.sum((1, 2, 3)), bias_free, rtol=1e-4)


def test_input_and_random():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    x = RNG.normal(size=(50, 4)).astype("float32")
    np.testing.assert_array_equal(innvestigate.create_analyzer("input", model).analyze(x), x)
    noise = [
        innvestigate.create_analyzer("random", model, seed=seed, stddev=2).analyze(x)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(noise[0], noise[1])
    assert np.abs(noise[0] - noise[2]).max() > 0.1
    assert 1.5 < noise[0].std() < 2.5


def test_an_input_rule_that_applies_to_no_layer_is_said():
    tokens = keras.Input((5,), dtype="int32")
    y = layers.Conv1D(3, 2, activation="relu")(layers.Embedding(9, 4)(tokens))
    model = keras.Model(tokens, layers.Dense(2)(layers.Flatten()(y)))
    with pytest.warns(UserWarning, match=r"ZBox\(low=0, high=1\) applies to no layer"):
        innvestigate.create_analyzer("deep_taylor.bounded", model, low=0, high=1)


def test_until_layer_idx_counts_the_same_without_softmax():
    inputs = y = keras.Input((8, 8, 2))
    for _ in range(3):
        y = layers.Conv2D(3, 3, activation="relu")(y)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(y)))
    x = RNG.normal(size=(2, 8, 8, 2)).astype("float32")
    found = [
        innvestigate.create_analyzer(
            "lrp.sequential_preset_b_flat_until_idx", m, until_layer_idx=index
        ).analyze(x)
        for m in (model, innvestigate.model_wo_softmax(model))
        for index in (1, 3)
    ]
    np.testing.assert_allclose(found[0], found[2], rtol=1e-6)
    np.testing.assert_allclose(found[1], found[3], rtol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-3 * np.abs(found[0]).max()


def test_relevance_that_is_not_finite_is_said():
    model = keras.Sequential([layers.Input((2,)), *(layers.Dense(2) for _ in range(2))])
    first, second = model.layers
    first.set_weights([np.array([[1, 0], [-1, 1]]), np.zeros(2)])
    second.set_weights([np.array([[1e20, 0], [1, 0]]), np.zeros(2)])
    x = np.array([[1.0, 1.0], [1.0 + 1e-7, 1.0]], "float32") * np.float32(1e30)
    with pytest.warns(UserWarning, match="is not finite"):
        innvestigate.create_analyzer("lrp.z", model).analyze(x)
