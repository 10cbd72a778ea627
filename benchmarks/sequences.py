"""Networks on sequences, with random weights: what is measured beside images."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

LLAMA = {"layers": 6, "width": 384, "hidden": 1024, "heads": 6, "words": 2000}
TOKENS, SAMPLES = 128, 16
BERT = {"layers": 12, "width": 768, "hidden": 3072, "heads": 12, "words": 30522}
BERT_TOKENS, BERT_SAMPLES = 64, 4


def llama() -> keras.Model:
    """Token ids -> logits of the next one: RMSNormalization, RoPE, causal attention, SwiGLU."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((TOKENS,), dtype="int32")
    x = layers.Embedding(LLAMA["words"], LLAMA["width"])(tokens)
    for _ in range(LLAMA["layers"]):
        x = _attending(x)
        x = _gated(x)
    last = layers.RMSNormalization()(x)[:, -1]
    return keras.Model(tokens, _dense(LLAMA["words"])(last), name="llama")


def tokens() -> np.ndarray:
    """Random token ids."""
    return np.random.default_rng(0).integers(0, LLAMA["words"], (SAMPLES, TOKENS))


def bert() -> keras.Model:
    """Token ids -> two classes, in the size of BERT-base."""
    keras.utils.set_random_seed(0)
    tokens = keras.Input((BERT_TOKENS,), dtype="int32")
    places = layers.Embedding(BERT_TOKENS, BERT["width"])(np.arange(BERT_TOKENS))
    x = layers.Embedding(BERT["words"], BERT["width"])(tokens) + np.asarray(places)
    x = layers.LayerNormalization()(x)
    for _ in range(BERT["layers"]):
        attention = layers.MultiHeadAttention(BERT["heads"], BERT["width"] // BERT["heads"])
        x = layers.LayerNormalization()(x + attention(x, x))
        hidden = layers.Dense(BERT["hidden"], activation="gelu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(BERT["width"])(hidden))
    return keras.Model(tokens, layers.Dense(2)(x[:, 0]), name="bert")


def sentences() -> np.ndarray:
    """Random token ids."""
    return np.random.default_rng(0).integers(1, BERT["words"], (BERT_SAMPLES, BERT_TOKENS))


def lstm() -> keras.Model:
    """64 units over 200 steps."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((200, 8)), layers.LSTM(64), layers.Dense(10)])


def series() -> np.ndarray:
    """Random series of 200 steps."""
    return np.random.default_rng(0).uniform(0, 1, (SAMPLES, 200, 8)).astype("float32")


def _attending(x):
    heads, size = LLAMA["heads"], LLAMA["width"] // LLAMA["heads"]
    h = layers.RMSNormalization()(x)
    query, key, value = (
        layers.EinsumDense("btd,dnh->btnh", (None, heads, size))(h) for _ in range(3)
    )
    attended = ops.dot_product_attention(_rotated(query), _rotated(key), value, is_causal=True)
    return x + layers.EinsumDense("btnh,nhd->btd", (None, LLAMA["width"]))(attended)


def _gated(x):
    h = layers.RMSNormalization()(x)
    hidden = ops.silu(_dense(LLAMA["hidden"])(h)) * _dense(LLAMA["hidden"])(h)
    return x + _dense(LLAMA["width"])(hidden)


def _rotated(x):
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(TOKENS), 10000.0 ** (-np.arange(half) / half))
    angles = np.concatenate([angles, angles], axis=-1)[:, None].astype("float32")
    first, second = ops.split(x, 2, axis=-1)
    return x * np.cos(angles) + ops.concatenate([-second, first], axis=-1) * np.sin(angles)


def _dense(units: int) -> layers.Dense:
    return layers.Dense(units, use_bias=False)
