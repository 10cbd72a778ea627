"""Tokens: paths and noise run between their vectors, and each token gets its vector's sum."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.analyzer import GaussianSmoother, PathIntegrator
from tests.models import build

TOKENS = np.array([[1, 4, 4, 0], [3, 2, 0, 0]], "int32")


def make(name, model, mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


@cache
def reader(masked=False, dtype="int32"):
    """Tokens, vectors, tanh units, an average over the tokens, two outputs."""
    keras.utils.set_random_seed(1)
    parts = [
        layers.Embedding(6, 3, embeddings_initializer="normal", mask_zero=masked, dtype="float64"),
        layers.Dense(4, "tanh", dtype="float64"),
        layers.GlobalAveragePooling1D(dtype="float64"),
        layers.Dense(2, dtype="float64"),
    ]
    model = keras.Sequential([layers.Input((4,), dtype=dtype), *parts])
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


def share(tokens, masked):
    """How much each token counts in the average."""
    counts = (tokens != 0) if masked else np.ones_like(tokens)
    return counts / counts.sum(axis=1, keepdims=True)


def gradient(vectors, tokens, neuron, masked):
    """The gradient of an output at each vector, by hand."""
    _, first, bias, second, _ = reader(masked).get_weights()
    hidden = np.tanh(vectors @ first + bias)
    return share(tokens, masked)[..., None] * (((1 - hidden**2) * second[:, neuron]) @ first.T)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reference", [0, np.array([5, 5, 1, 2])])
def test_integrated_gradients_of_tokens(masked, reference):
    table = reader(masked).get_weights()[0]
    start = table[np.broadcast_to(reference, TOKENS.shape)]
    away, expected = table[TOKENS] - start, 0
    for k in range(1, 6):
        expected = expected + away * gradient(start + k / 5 * away, TOKENS, 1, masked) / 5
    arguments = {"steps": 5, "quadrature": "right", "reference_inputs": reference}
    explain = make("integrated_gradients", reader(masked), **arguments).analyze
    np.testing.assert_allclose(explain(TOKENS, 1), expected.sum(axis=-1), rtol=1e-9, atol=1e-15)
    found = explain(TOKENS, 1, batch_size=3)
    np.testing.assert_allclose(found, expected.sum(axis=-1), rtol=1e-9, atol=1e-15)


def test_masked_tokens_get_nothing_and_the_mask_is_that_of_the_sample():
    explain = make("integrated_gradients", reader(True), reference_inputs=5, steps=200).analyze
    found = explain(TOKENS, 0)
    np.testing.assert_array_equal(found != 0, TOKENS != 0)
    as_long = np.where(TOKENS == 0, 0, 5)
    difference = np.array(reader(True)(TOKENS) - reader(True)(as_long))[:, 0]
    np.testing.assert_allclose(found.sum(axis=1), difference, rtol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("reduce", "reduced"),
    [("mean", np.mean), ("square", lambda g, axis: (g**2).mean(axis)), ("variance", np.var)],
)
def test_smoothgrad_of_tokens(masked, reduce, reduced):
    draws = [
        [np.random.default_rng((9, s, d)).standard_normal((4, 3)) for s in range(2)]
        for d in range(6)
    ]
    vectors = reader(masked).get_weights()[0][TOKENS] + 0.3 * np.array(draws)
    expected = reduced(gradient(vectors, TOKENS, 0, masked), axis=0)
    length = lambda g: np.sqrt((g**2).sum(axis=-1))  # noqa: E731
    expected = length(expected) if reduce == "mean" else expected.sum(axis=-1)
    arguments = {"noise_scale": 0.3, "augment_by_n": 6, "seed": 9, "reduce": reduce}
    for batch_size in (1, 32):
        found = make("smoothgrad", reader(masked), **arguments)
        found = found.analyze(TOKENS, 0, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["saliency", "lrp.epsilon"])
@pytest.mark.parametrize("mode", ["index", "max_activation"])
def test_any_mirror_can_start_from_vectors(name, mode):
    """Without noise nothing changes, masks included."""
    inner = make(name, reader(True), mode)
    selection = 1 if mode == "index" else None
    found = GaussianSmoother(inner, 0, augment_by_n=3).analyze(TOKENS, selection)
    np.testing.assert_allclose(found, inner.analyze(TOKENS, selection), rtol=1e-9, atol=1e-12)


def test_smoothing_at_the_vectors_and_behind_them():
    names = [layer.name for layer in reader().layers[:2]]
    inner = make("gradient", reader(), layers=(*names, "input"))
    found = GaussianSmoother(inner, 0, augment_by_n=2).analyze(TOKENS, 1)
    expected = inner.analyze(TOKENS, 1)
    assert set(found) == set(expected)
    for layer, y in expected.items():
        np.testing.assert_allclose(found[layer], y, rtol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
def test_tokens_that_come_as_floats(masked):
    model = reader(masked, dtype="float32")
    explain = make("integrated_gradients", model, reference_inputs=2).analyze
    expected = make("integrated_gradients", reader(masked), reference_inputs=2).analyze(TOKENS, 0)
    np.testing.assert_allclose(explain(TOKENS.astype("float32"), 0), expected, rtol=1e-9)


@cache
def table_reader():
    """Two columns of one input with a table each, one of them read twice, and numbers."""
    keras.utils.set_random_seed(2)
    ids, numbers = layers.Input((3,), dtype="int32"), layers.Input((2,))
    user = layers.Embedding(5, 4, name="user")
    parts = [user(ids[:, 0]), user(ids[:, 2]), layers.Embedding(7, 2)(ids[:, 1]), numbers]
    y = layers.Dense(6, "tanh")(layers.Concatenate()(parts))
    return keras.Model([ids, numbers], layers.Dense(2)(y))


IDS = np.array([[1, 6, 3], [4, 0, 4], [0, 2, 0]], "int32")
NUMBERS = np.random.default_rng(3).normal(size=(3, 2)).astype("float32")


def test_results_find_back_to_the_places_of_their_tokens():
    reference = [np.array([0, 2, 0]), 0.5]
    explain = make("integrated_gradients", table_reader(), reference_inputs=reference).analyze
    ids, numbers = explain([IDS, NUMBERS], 1)
    assert ids.shape == IDS.shape and numbers.shape == NUMBERS.shape
    np.testing.assert_array_equal(ids != 0, reference[0] != IDS)
    start = [np.array([[0, 2, 0]] * 3), np.full((3, 2), 0.5, "float32")]
    difference = np.array(table_reader()([IDS, NUMBERS]) - table_reader()(start))[:, 1]
    np.testing.assert_allclose(ids.sum(axis=1) + numbers.sum(axis=1), difference, atol=1e-4)


def test_each_place_gets_its_own_share():
    """With one column away from the reference, that column gets all of the difference."""
    start = [np.array([[1, 2, 3]]), NUMBERS[:1]]
    for column in range(3):
        ids = start[0].copy()
        ids[0, column] = 0
        explain = make("integrated_gradients", table_reader(), reference_inputs=start).analyze
        found, numbers = explain([ids, NUMBERS[:1]], 0)
        difference = np.array(table_reader()([ids, NUMBERS[:1]]) - table_reader()(start))[0, 0]
        assert found[0, column] == pytest.approx(difference, abs=1e-5)
        assert not np.delete(found[0], column).any() and not numbers.any()


def test_a_token_that_is_looked_up_twice_gets_both_sums():
    keras.utils.set_random_seed(3)
    tokens = layers.Input((3,), dtype="int32")
    vectors = [layers.Embedding(5, size)(tokens) for size in (2, 4)]
    y = layers.Flatten()(layers.Concatenate()(vectors))
    model = keras.Model(tokens, layers.Dense(2)(layers.Dense(6, "tanh")(y)))
    x = np.array([[1, 2, 3], [4, 4, 0]])
    found = make("integrated_gradients", model).analyze(x, 1)
    difference = np.array(model(x) - model(0 * x))[:, 1]
    np.testing.assert_allclose(found.sum(axis=1), difference, atol=1e-5)
    single = np.array([[1, 0, 0]])
    found = make("integrated_gradients", model).analyze(single, 1)
    difference = np.array(model(single) - model(0 * single))[0, 1]
    np.testing.assert_allclose(found, [[difference, 0, 0]], atol=1e-6)


class Reader(keras.Model):
    """The masked reader as a subclassed model, its masks handed on by Keras."""

    def __init__(self):
        super().__init__()
        self.parts = [keras.models.clone_model(reader(True)).layers[i] for i in range(4)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def nested_reader():
    tokens = layers.Input((4,), dtype="int32")
    return keras.Model(tokens, keras.models.clone_model(reader(True))(tokens))


@pytest.mark.parametrize("kind", [Reader, nested_reader])
def test_masks_survive_in_models_of_every_kind(kind):
    model = kind()
    model(TOKENS)
    model.set_weights(reader(True).get_weights())
    found = make("integrated_gradients", model, reference_inputs=5).analyze(TOKENS, 0)
    expected = make("integrated_gradients", reader(True), reference_inputs=5).analyze(TOKENS, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_other_models_of_the_suite():
    model, x = build("embedding")
    found = make("integrated_gradients", model, steps=500, reference_inputs=3).analyze(x, 0)
    logits = innvestigate.model_wo_softmax(model)
    difference = np.array(logits(x) - logits(np.full_like(x, 3)))[:, 0]
    np.testing.assert_allclose(found.sum(axis=1), difference, rtol=0.02, atol=1e-4)


# --- What cannot be done --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["occlusion", "integrated_gradients", "random"])
def test_analyzers_that_cannot_start_from_vectors(name):
    inner = make(name, reader())
    with pytest.raises(ValueError, match="cannot start from their vectors"):
        GaussianSmoother(inner)


def test_models_that_compute_with_their_tokens():
    tokens = layers.Input((4,))
    vectors = layers.Flatten()(layers.Embedding(6, 3)(tokens))
    model = keras.Model(tokens, layers.Dense(2)(ops.concatenate([vectors, tokens / 6], axis=-1)))
    with pytest.raises(ValueError, match="also computes with their numbers"):
        PathIntegrator(make("gradient", model))


def test_references_that_are_no_tokens():
    created = make("integrated_gradients", reader(), reference_inputs=0.5)
    with pytest.raises(TypeError, match="do not fit its samples"):
        created.analyze(TOKENS, 0)
