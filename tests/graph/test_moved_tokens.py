"""Tokens that are moved before they are looked up get what belongs to them."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate

MOVES = {
    "reshape": (lambda x: ops.reshape(x, (-1, 2, 3)), lambda t: t.reshape(-1, 6)),
    "slice": (lambda x: x[:, 1:4], lambda t: t[:, 1:4]),
    "flip": (lambda x: ops.flip(x, axis=1), lambda t: t[:, ::-1]),
    "twice": (lambda x: ops.concatenate([x, x], axis=1), lambda t: np.tile(t, 2)),
    "cast": (lambda x: ops.cast(x, "int64"), lambda t: t),
    "layer": (layers.Flatten(), lambda t: t),
}
METHODS = ["gradient", "input_t_gradient", "lrp.z", "lrp.alpha_1_beta_0", "deeplift"]


@pytest.fixture(params=["int32", "float32"])
def dtype(request):
    return request.param


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("method", METHODS)
def test_moved_tokens(method, move, dtype):
    """The same as for a model that takes the moved tokens, back in the places they came from."""
    symbolic, concrete = MOVES[move]
    tokens = np.random.default_rng(0).integers(1, 12, (3, 6))
    embedding, dense = layers.Embedding(12, 4), layers.Dense(3)
    x = keras.Input((6,), dtype=dtype)
    moved = keras.Input(concrete(tokens).shape[1:], dtype="int32")
    vectors = embedding(symbolic(x))
    model = keras.Model(x, dense(layers.Flatten()(ops.tanh(vectors))))
    twin = keras.Model(moved, dense(layers.Flatten()(ops.tanh(embedding(moved)))))
    found, expected = (
        innvestigate.create_analyzer(method, m, neuron_selection_mode="index").analyze(t, 1)
        for m, t in ((model, tokens), (twin, concrete(tokens)))
    )
    places = concrete(np.tile(np.arange(6), (3, 1)))
    back = np.zeros(tokens.shape)
    for sample in range(3):
        np.add.at(back[sample], places[sample], expected[sample])
    np.testing.assert_allclose(found, back, rtol=1e-4, atol=1e-6)
    assert np.abs(found).max() > 1e-3


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "lrp.z"])
def test_tokens_that_are_replaced_here_and_there(method):
    """What belongs to a token that stands for others belongs to none of them."""
    tokens = np.array([[3, 8, 5, 9], [1, 2, 7, 4]])
    embedding, dense = layers.Embedding(12, 4), layers.Dense(3)
    x, replaced = (keras.Input((4,), dtype="int32") for _ in range(2))
    kept = ops.where(ops.less(x, 6), ops.flip(x, axis=1), 2)
    head = lambda t: dense(layers.Flatten()(ops.tanh(embedding(t))))  # noqa: E731
    model, twin = keras.Model(x, head(kept)), keras.Model(replaced, head(replaced))
    given = np.where(tokens < 6, tokens[:, ::-1], 2)
    path = {"reference_inputs": 5} if method == "integrated_gradients" else {}
    found, expected = (
        innvestigate.create_analyzer(method, m, neuron_selection_mode="index", **path).analyze(t, 1)
        for m, t in ((model, tokens), (twin, given))
    )
    back = np.where(tokens < 6, expected, 0)[:, ::-1]
    np.testing.assert_allclose(found, back, rtol=1e-4, atol=1e-6)
    assert np.abs(found).max() > 1e-3
