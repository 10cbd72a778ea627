"""Two blocks of transformers, their weights and samples. Imports no framework.

`encoder`: LayerNormalization, attention with a padding mask, GELU, biases everywhere. `llama`:
RMSNormalization, causal grouped-query attention with rotary positions, SwiGLU, no biases.
"""

import numpy as np

INDEX = 1
SAMPLES, TOKENS, WIDTH, HIDDEN, CLASSES = 3, 6, 8, 12, 3
HEADS, SIZE = {"encoder": (2, 2), "llama": (4, 2)}, 4
"""Heads of queries, of keys and values; numbers of each."""
EPSILON = 1e-5
LENGTHS = (6, 4, 2)

_NORMS = {"norm.1": (WIDTH,), "norm.2": (WIDTH,)}
SHAPES = {
    "encoder": {
        **_NORMS,
        **dict.fromkeys(("norm.1.bias", "norm.2.bias"), (WIDTH,)),
        **dict.fromkeys(("query", "key", "value"), (WIDTH, 2, SIZE)),
        **dict.fromkeys(("query.bias", "key.bias", "value.bias"), (2, SIZE)),
        "out": (2, SIZE, WIDTH),
        "out.bias": (WIDTH,),
        "up": (WIDTH, HIDDEN),
        "up.bias": (HIDDEN,),
        "down": (HIDDEN, WIDTH),
        "down.bias": (WIDTH,),
        "head": (WIDTH, CLASSES),
        "head.bias": (CLASSES,),
    },
    "llama": {
        **_NORMS,
        "query": (WIDTH, 4, SIZE),
        "key": (WIDTH, 2, SIZE),
        "value": (WIDTH, 2, SIZE),
        "out": (4, SIZE, WIDTH),
        "gate": (WIDTH, HIDDEN),
        "up": (WIDTH, HIDDEN),
        "down": (HIDDEN, WIDTH),
        "norm.3": (WIDTH,),
        "head": (WIDTH, CLASSES),
    },
}


def weights(network):
    """The arrays of a network by name."""
    random = np.random.RandomState(5)
    found = {}
    for name, shape in SHAPES[network].items():
        low, high = (0.5, 1.5) if name in ("norm.1", "norm.2", "norm.3") else (-0.8, 0.8)
        found[name] = random.uniform(low, high, shape).astype("float32")
    return found


def inputs():
    """The vectors of the tokens, and which of them exist."""
    x = np.random.RandomState(7).uniform(-1.5, 1.5, (SAMPLES, TOKENS, WIDTH)).astype("float32")
    return x, np.arange(TOKENS) < np.array(LENGTHS)[:, None]


def rotation():
    """Cosines and sines of rotary positions, (tokens, numbers of a head)."""
    angles = np.outer(np.arange(TOKENS), 10000.0 ** (-np.arange(SIZE // 2) / (SIZE // 2)))
    angles = np.concatenate([angles, angles], axis=-1)
    return np.cos(angles).astype("float32"), np.sin(angles).astype("float32")
