"""`lrp.attn` and DeepLIFT through layers of transformers, Keras's and KerasHub's."""

from functools import cache

import keras
import keras_hub
import numpy as np
import pytest
from keras import layers, ops

import innvestigate

hub = keras_hub.layers
pytestmark = pytest.mark.usefixtures("step_by_step")

TOKENS = np.array([[3, 4, 5, 0, 0], [1, 2, 3, 4, 5], [7, 0, 0, 0, 0]])
REFERENCE = np.array([[8, 8, 8, 0, 0], [8, 8, 8, 8, 8], [8, 0, 0, 0, 0]])


def model_of(call):
    """A network on tokens, of which 0 is padding."""
    keras.utils.set_random_seed(1)
    tokens = keras.Input((5,), dtype="int32")
    vectors = layers.Embedding(9, 8, embeddings_initializer="normal")(tokens) * 20.0
    return keras.Model(tokens, layers.Dense(2)(layers.Flatten()(call(vectors, tokens))))


def exists(tokens):
    return ops.not_equal(tokens, 0)


def encoded(vectors, tokens, **kwargs):
    layer = hub.TransformerEncoder(16, 2, **kwargs)
    return layer(vectors, padding_mask=exists(tokens))


def decoded(vectors, tokens):
    mask = exists(tokens)
    memory = hub.TransformerEncoder(16, 2)(vectors, padding_mask=mask)
    return hub.TransformerDecoder(16, 2)(
        vectors, memory, decoder_padding_mask=mask, encoder_padding_mask=mask
    )


def capped(vectors, _):
    """Attention of the user's own, with a bias for each distance and a soft cap of its logits."""
    scores = ops.matmul(vectors, ops.transpose(vectors, (0, 2, 1))) / 8**0.5
    scores = hub.AlibiBias()(ops.stack([scores, -scores], axis=1))
    weights = ops.softmax(3.0 * ops.tanh(scores / 3.0))
    return ops.matmul(weights, vectors[:, None])


STEPS = {
    "TransformerEncoder": encoded,
    "TransformerEncoder, norm first": lambda v, t: encoded(
        v, t, normalize_first=True, activation="gelu", dropout=0.1
    ),
    "TransformerDecoder": lambda v, t: hub.TransformerDecoder(16, 2)(
        v, decoder_padding_mask=exists(t)
    ),
    "TransformerDecoder on an encoder": decoded,
    "CachedMultiHeadAttention": lambda v, t: hub.CachedMultiHeadAttention(2, 4)(v, v),
    "RotaryEmbedding": lambda v, t: hub.RotaryEmbedding()(v),
    "PositionEmbedding": lambda v, t: v + hub.PositionEmbedding(5)(v),
    "SinePositionEncoding": lambda v, t: v + hub.SinePositionEncoding()(v),
    "AdditiveAttention": lambda v, t: layers.AdditiveAttention()([v, v], use_causal_mask=True),
    "Attention by concatenation": lambda v, t: layers.Attention(
        score_mode="concat", use_scale=True
    )([v, v]),
    "attention over two axes": lambda v, t: layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))(
        *[ops.reshape(v, (-1, 5, 2, 4))] * 2
    ),
    "a sliding window": lambda v, t: layers.GroupQueryAttention(3, 4, 2, sliding_window=2)(
        v, v, use_causal_mask=True
    ),
    "biased and capped logits": capped,
}


ABSORBING = ("PositionEmbedding", "SinePositionEncoding")
"""What they add to vectors absorbs its share."""

built = cache(lambda name: model_of(STEPS[name]))


@pytest.mark.parametrize("name", sorted({*STEPS} - {*ABSORBING}))
def test_constant_weights_conserve_relevance(name):
    """All biases of a fresh network are zero."""
    model = built(name)
    analyzer = innvestigate.create_analyzer("lrp.attn", model, attention_rule="cp", epsilon=1e-9)
    output = np.array(model(TOKENS)).max(axis=1)
    np.testing.assert_allclose(analyzer.analyze(TOKENS).sum(axis=1), output, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_queries_and_keys_get_something(name):
    """AttnLRP and CP-LRP differ where there are weights of attention, and nowhere else."""
    model = built(name)
    values = {
        rule: innvestigate.create_analyzer("lrp.attn", model, attention_rule=rule).analyze(TOKENS)
        for rule in ("attn", "cp")
    }
    assert np.isfinite(values["attn"]).all()
    plan = innvestigate.create_analyzer("lrp.attn", model).plan()
    attends = any(line.kind in ("softmax along an axis", "attention in one piece") for line in plan)
    change = np.abs(values["attn"] - values["cp"]).max() / np.abs(values["cp"]).max()
    assert (change > 1e-4) == attends


@pytest.mark.parametrize("name", STEPS)
def test_contributions_add_up(name):
    model = built(name)
    analyzer = innvestigate.create_analyzer(
        "deeplift", model, reference_inputs=REFERENCE, neuron_selection_mode="index"
    )
    found = analyzer.analyze(TOKENS, 0)
    difference = np.array(model(TOKENS))[:, 0] - np.array(model(REFERENCE))[:, 0]
    scale = 1 + np.abs(found).sum(axis=1)
    np.testing.assert_allclose(found.sum(axis=1) / scale, difference / scale, rtol=0, atol=1e-5)
