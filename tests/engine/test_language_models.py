"""The next token as what is explained; one token against another; several of them in one call."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import innvestigate
from innvestigate.engine.mirror import MirrorAnalyzer

TOKENS = np.array([[1, 4, 4, 2, 3, 5], [3, 2, 5, 0, 0, 0], [2, 2, 1, 6, 0, 0]], "int32")
WORDS = 7
SEVERAL = np.array([[(0, 3), (3, 1), (-1, 6), (-2, 0)]])
METHODS = {
    "gradient": {},
    "lrp.epsilon": {},
    "deeplift": {"reference_inputs": np.array([[1] * 6, [2] * 6, [3] * 6])},
    "integrated_gradients": {"reference_inputs": 1, "steps": 3},
    "smoothgrad": {"augment_by_n": 3, "seed": 0},
    "occlusion": {"reference_inputs": 1},
    "shapley_sampling": {"reference_inputs": 1, "samples": 4, "seed": 0},
    "random": {"seed": 0},
}


@cache
def causal(length=6):
    """Vectors, tanh units of each token and the one before it, a token that comes next."""
    keras.utils.set_random_seed(0)
    tokens = layers.Input((length,), dtype="int32")
    vectors = layers.Embedding(WORDS, 3)(tokens)
    hidden = layers.Conv1D(4, 2, padding="causal", activation="tanh")(vectors)
    model = keras.Model(tokens, layers.Dense(WORDS)(hidden))
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])
    return model


def create(method="gradient", mode="index", model=None, **arguments):
    model = model or causal()
    return innvestigate.create_analyzer(method, model, neuron_selection_mode=mode, **arguments)


def naive(tokens, position, word):
    """Input times gradient of a logit, from the formula: at the vectors, summed for each token."""
    table, kernel, bias, out, _ = (np.float64(w) for w in causal().get_weights())
    vectors = table[tokens]
    before = vectors[position - 1] if position else 0 * vectors[0]
    slope = 1 - np.tanh(before @ kernel[0] + vectors[position] @ kernel[1] + bias) ** 2
    found = np.zeros(len(tokens))
    found[position] = (kernel[1] @ (slope * out[:, word])) @ vectors[position]
    if position:
        found[position - 1] += (kernel[0] @ (slope * out[:, word])) @ before
    return found


@pytest.mark.parametrize("length", [6, None])
@pytest.mark.parametrize("position", [0, 3, -1, -6])
def test_a_token_at_a_position(position, length):
    found = create("input_t_gradient", model=causal(length)).analyze(TOKENS, (position, 4))
    expected = [naive(row, position % 6, 4) for row in TOKENS]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_last_token_of_each_sample():
    """Under padding: as without it."""
    lengths = (TOKENS != 0).sum(axis=1)
    at = np.stack([lengths - 1, [6, 1, 2]], axis=1)
    found = create("lrp.epsilon", model=causal(None)).analyze(TOKENS, at)
    for row, length, (_, word), r in zip(TOKENS, lengths, at, found, strict=True):
        alone = create("lrp.epsilon", model=causal(None)).analyze(row[None, :length], (-1, word))
        np.testing.assert_allclose(r[:length], alone[0], rtol=1e-4, atol=1e-6)
        assert not r[length:].any()


@pytest.mark.parametrize("method", METHODS)
def test_several_tokens_in_one_call(method):
    arguments = METHODS[method]
    analyzer = create(method, **arguments)
    found = analyzer.analyze(TOKENS, SEVERAL)
    assert found.shape == (3, 4, 6)
    for i, one in enumerate(SEVERAL[0]):
        expected = create(method, **arguments).analyze(TOKENS, tuple(one))
        np.testing.assert_allclose(found[:, i], expected, rtol=1e-4, atol=1e-6)
    for batch_size in (1, 2, 5):
        again = analyzer.analyze(TOKENS, SEVERAL, batch_size=batch_size)
        np.testing.assert_allclose(again, found, rtol=1e-3, atol=1e-5)


def test_other_tokens_for_each_sample():
    each = np.array([[(0, 1), (1, 2)], [(2, 3), (3, 4)], [(4, 5), (5, 6)]])
    analyzer = create("input_t_gradient")
    found = analyzer.analyze(TOKENS, each)
    expected = [[naive(row, *one) for one in some] for row, some in zip(TOKENS, each, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    data = tf.data.Dataset.from_tensor_slices(TOKENS).batch(2)
    np.testing.assert_allclose(analyzer.analyze(data, each), expected, rtol=1e-4, atol=1e-6)


def test_no_more_rows_than_a_batch_at_a_time(monkeypatch):
    rows, explain = [], MirrorAnalyzer.explain

    def watched(analyzer, batch, *args):
        rows.append(len(batch))
        return explain(analyzer, batch, *args)

    monkeypatch.setattr(MirrorAnalyzer, "explain", watched)
    for method in ("gradient", "integrated_gradients"):
        create(method).analyze(TOKENS, np.tile(SEVERAL, (1, 5, 1)), batch_size=8)
    assert max(rows) == 6 and sum(rows[:10]) == 60


@pytest.mark.parametrize("several", [False, True])
def test_this_token_rather_than_that(several):
    this, that = np.array([(-1, 3), (2, 1)]), np.array([(-1, 5), (2, 2)])
    weights = np.zeros((1, 2, 6, WORDS))
    for k in range(2):
        weights[0, k, this[k, 0], this[k, 1]] = 1
        weights[0, k, that[k, 0], that[k, 1]] = -1
    if several:
        pair = (this[None], that[None])
    else:
        weights, pair = weights[:, 0], (tuple(this[0]), tuple(that[0]))
    for method in ("lrp.epsilon", "integrated_gradients", "occlusion"):
        found = create(method, "contrast").analyze(TOKENS, pair)
        expected = create(method, "weights").analyze(TOKENS, weights)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(found).max() > 0.01


def test_one_class_rather_than_another():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(5)])
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    found = create("gradient", "contrast", model).analyze(x, (3, [0, 1]))
    kernel = np.array(model.layers[0].kernel)
    np.testing.assert_allclose(found, (kernel[:, [3, 3]] - kernel[:, [0, 1]]).T, rtol=1e-5)
    each = create("gradient", model=model).analyze(x, np.arange(5).reshape(1, 5, 1))
    np.testing.assert_allclose(each, np.broadcast_to(kernel.T, (2, 5, 4)), rtol=1e-5)


def test_several_weightings_and_hidden_layers():
    weights = np.random.default_rng(0).normal(size=(3, 2, 6, WORDS))
    names = [layer.name for layer in causal().layers[1:3]]
    explain = create("lrp.epsilon", "weights", layers=(*names, "input")).analyze
    found = explain(TOKENS, weights)
    assert {name: y.shape for name, y in found.items()} == {
        names[0]: (3, 2, 6, 3),
        names[1]: (3, 2, 6, 4),
        "input": (3, 2, 6),
    }
    for k in range(2):
        one = explain(TOKENS, weights[:, k])
        for name, y in found.items():
            np.testing.assert_allclose(y[:, k], one[name], rtol=1e-4, atol=1e-6)


def test_the_error_of_shapley_values_has_their_structure():
    analyzer = create("shapley_sampling", reference_inputs=1, samples=6, seed=0)
    found = analyzer.analyze(TOKENS, SEVERAL)
    several = analyzer.standard_error
    assert several.shape == found.shape
    analyzer.analyze(TOKENS, tuple(SEVERAL[0, 1]))
    np.testing.assert_allclose(several[:, 1], analyzer.standard_error, rtol=1e-4, atol=1e-6)


def test_what_no_window_covers_is_told_once():
    analyzer = create("occlusion", window_shape=4, step=4)
    with pytest.warns(UserWarning, match="No window covers 2 features") as told:
        found = analyzer.analyze(TOKENS, SEVERAL)
    assert len(told) == 1
    assert np.isnan(found[..., 4:]).all() and np.isfinite(found[..., :4]).all()


@cache
def translator():
    """An encoder and a decoder that attends to it and, causally, to what was said."""
    keras.utils.set_random_seed(1)
    source = layers.Input((5,), dtype="int32", name="source")
    said = layers.Input((4,), dtype="int32", name="said")
    encoded = layers.Dense(4, "tanh")(layers.Embedding(WORDS, 4)(source))
    decoded = layers.Embedding(WORDS, 4)(said)
    attend = layers.MultiHeadAttention(2, 2)
    decoded = layers.Add()([decoded, attend(decoded, decoded, use_causal_mask=True)])
    decoded = layers.Add()([decoded, layers.MultiHeadAttention(2, 2)(decoded, encoded)])
    return keras.Model({"source": source, "said": said}, layers.Dense(WORDS)(decoded))


@pytest.mark.parametrize(
    "method", ["gradient", "integrated_gradients", "occlusion", "lrp.attn", "deeplift"]
)
def test_from_one_sequence_to_another(method):
    """What is said later has no part in a token; the source has, and so has what was said."""
    x = {"source": np.array([[1, 2, 3, 4, 5]] * 2), "said": np.array([[6, 2, 1, 3], [5, 4, 3, 2]])}
    each = np.stack([np.arange(4), [[2, 1, 3, 0], [4, 3, 2, 1]][0]], axis=1)[None]
    found = create(method, model=translator()).analyze(x, each)
    assert found["source"].shape == (2, 4, 5) and found["said"].shape == (2, 4, 4)
    later = np.triu(np.ones((4, 4), bool), 1)
    np.testing.assert_allclose(found["said"][:, later], 0, atol=1e-7)
    assert np.abs(found["said"][:, ~later]).max() > 1e-3
    assert (np.abs(found["source"]).max(axis=-1) > 1e-5).all()


@pytest.mark.parametrize(
    ("mode", "selection", "message"),
    [
        ("index", (6, 0), r"neuron_selection 6 is out of range: axis 0 .* back from -1 to -6"),
        ("index", (-7, 0), r"neuron_selection -7 is out of range: axis 0"),
        ("index", (0, -1), r"neuron_selection -1 is out of range: axis 1 .* from 0 to 6\.$"),
        ("index", np.zeros((2, 4, 2), int), "holds 2 entries for 3 samples"),
        ("index", np.zeros((3, 4, 3), int), r"shape \(3, 4, 3\) does not fit .*\(batch, n, 2\)"),
        ("index", np.zeros((3, 0, 2), int), r"shape \(3, 0, 2\) does not fit"),
        ("contrast", (0, 1), "does not fit the output"),
        ("contrast", None, r"needs neuron_selection: a pair \(this, that\)"),
        ("contrast", 3, r"must be a pair \(this, that\).*Received: 3"),
        ("contrast", (SEVERAL, SEVERAL[:, :2]), "same number of selections.*Received: 2 and 4"),
        ("weights", np.zeros((3, 2, 5, WORDS)), "does not broadcast .* several weightings"),
        ("all", SEVERAL, "must be None"),
    ],
)
def test_what_is_no_selection(mode, selection, message):
    with pytest.raises(ValueError, match=message):
        create(mode=mode).analyze(TOKENS, selection)
