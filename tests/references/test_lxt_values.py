"""AttnLRP on two blocks of transformers: our numbers against LXT's, written by `make_lxt.py`."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from tests.references import transformer_cases as cases

FOLDER = Path(__file__).parent / "lxt"
TOLERANCE = 1e-4


def rotated(x):
    cos, sin = (a[None, :, None] for a in cases.rotation())
    first, second = ops.split(x, 2, axis=-1)
    return x * cos + ops.concatenate([-second, first], axis=-1) * sin


def encoder(x, mask):
    norm = lambda name: layers.LayerNormalization(epsilon=cases.EPSILON, name=name)  # noqa: E731
    h = norm("norm_1")(x)
    attention = layers.MultiHeadAttention(2, cases.SIZE, name="attention")
    x = layers.Add()([x, attention(h, h, attention_mask=mask[:, None])])
    hidden = layers.Dense(cases.HIDDEN, "gelu", name="up")(norm("norm_2")(x))
    x = layers.Add()([x, layers.Dense(cases.WIDTH, name="down")(hidden)])
    return layers.Dense(cases.CLASSES, name="head")(x[:, 0])


def llama(x, mask):
    def norm(name):
        return layers.RMSNormalization(epsilon=cases.EPSILON, name=name)

    def dense(size, name):
        return layers.Dense(size, use_bias=False, name=name)

    def projected(x, name, heads):
        shape = (None, heads, cases.SIZE)
        return layers.EinsumDense("btd,dnh->btnh", shape, name=name)(x)

    h = norm("norm_1")(x)
    query, key = rotated(projected(h, "query", 4)), rotated(projected(h, "key", 2))
    attended = ops.dot_product_attention(query, key, projected(h, "value", 2), is_causal=True)
    out = layers.EinsumDense("btnh,nhd->btd", (None, cases.WIDTH), name="out")
    x = layers.Add()([x, out(attended)])
    h = norm("norm_2")(x)
    gated = ops.silu(dense(cases.HIDDEN, "gate")(h)) * dense(cases.HIDDEN, "up")(h)
    x = x + dense(cases.WIDTH, "down")(gated)
    return dense(cases.CLASSES, "head")(norm("norm_3")(x)[:, -1])


NETWORKS = {"encoder": encoder, "llama": llama}


@cache
def built(name):
    """The network of a name in Keras, with the weights that LXT ran it with."""
    x = keras.Input((cases.TOKENS, cases.WIDTH))
    mask = keras.Input((cases.TOKENS,), dtype="bool")
    inputs = [x, mask] if name == "encoder" else x
    model = keras.Model(inputs, NETWORKS[name](x, mask))
    arrays = cases.weights(name)
    for variable in model.weights:
        variable.assign(arrays[_name(variable.path)])
    return model


def _name(path):
    """What a variable of this path is called among the cases: `norm_1/beta` `norm.1.bias`."""
    *_, layer, last = path.split("/")
    layer = "out" if layer == "attention_output" else layer.replace("norm_", "norm.")
    return f"{layer}.bias" if last in ("bias", "beta") else layer


@pytest.mark.filterwarnings("ignore:No signal can reach the input")  # the mask
@pytest.mark.parametrize("name", NETWORKS)
def test_attention_aware_relevance(name):
    with np.load(FOLDER / f"{name}.npz") as stored:
        output, expected = stored["output"], stored["relevance"]
    model, (x, mask) = built(name), cases.inputs()
    xs = [x, mask] if name == "encoder" else x
    np.testing.assert_allclose(model(xs), output, atol=1e-5)
    analyzer = innvestigate.create_analyzer(
        "lrp.attn", model, epsilon=1e-12, neuron_selection_mode="index"
    )
    found = analyzer.analyze(xs, cases.INDEX)
    found = found[0] if name == "encoder" else found
    error = np.abs(found - expected).max(axis=(1, 2)) / np.abs(expected).max(axis=(1, 2))
    assert error.max() < TOLERANCE, error
