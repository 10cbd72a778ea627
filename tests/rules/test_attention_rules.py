"""Relevance through softmax and attention, against `naive`: one step after the other, in numpy.

R is weights * softplus(z), as in `test_structure_rules`.
"""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import innvestigate
from innvestigate import rules
from tests.frameworks import examples, not_on_torch

from . import naive
from .naive import softplus
from .test_structure_rules import joined, lrp, model_of, output_of, samples, signed_samples
from .test_structure_rules import weights_for as weights_of

pytestmark = [
    pytest.mark.usefixtures("step_by_step"),
    pytest.mark.filterwarnings("ignore:The model ends in", "ignore:No signal can reach"),
]

# Softmax

SOFTMAXES = {
    "operation": (ops.softmax, -1),
    "operation on axis 1": (lambda x: ops.softmax(x, axis=1), 1),
    "activation": (keras.activations.softmax, -1),
    "activation layer": (layers.Activation("softmax"), -1),
    "layer": (layers.Softmax(), -1),
    "layer on axis 1": (layers.Softmax(axis=1), 1),
    "layer on two axes": (layers.Softmax(axis=(1, 2)), (1, 2)),
}


@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_is_linearised(name):
    """R_i = x_i (R_i - s_i Σ R), and not R: a softmax is not elementwise."""
    call, axis = SOFTMAXES[name]
    model = model_of(call, (3, 4))
    (x,) = xs = samples([(3, 4)])
    w = weights_of(model, xs)
    r = w * softplus(naive.softmax(x, axis))
    naive.assert_close(lrp(model, xs, w), naive.softmax_rule(x, r, axis))


def log_softmax(x):
    """log softmax(x) and its Jacobian δ_ji - s_i."""
    return np.log(naive.softmax(x)), np.eye(4) - naive.softmax(x)[..., None, :]


def sparsemax(x):
    """Keras's sparsemax, and its Jacobian by central differences: it is piecewise linear."""
    y = lambda x: naive.array(ops.sparsemax(x.astype("float32")))  # noqa: E731
    steps = np.eye(4)[:, None, None] / 512
    return y(x), np.moveaxis(y(x + steps) - y(x - steps), 0, -1) * 256


@pytest.mark.parametrize("function", [log_softmax, sparsemax])
def test_relatives_of_the_softmax_are_linearised(function):
    """R_i = x_i Σ_j J_ji R_j / y_j"""
    model = model_of(getattr(ops, function.__name__), (3, 4))
    (x,) = xs = samples([(3, 4)], signed_samples)
    y, jacobian = function(x)
    w = weights_of(model, xs)
    s = np.divide(w * softplus(y), y, out=np.zeros_like(y), where=y != 0)
    naive.assert_close(lrp(model, xs, w), x * np.einsum("...ji,...j->...i", jacobian, s), 1e-4)


ALLOWED = np.array([[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
MASKED = {
    "where": lambda x, allowed: ops.softmax(ops.where(allowed, x, -1e9)),
    "added": lambda x, allowed: ops.softmax(x + np.where(allowed, 0, -1e9).astype("float32")),
    "layer": lambda x, allowed: layers.Softmax()(x, mask=ops.convert_to_tensor(allowed)),
    "infinite": lambda x, allowed: ops.softmax(ops.where(allowed, x, -np.inf)),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_places_get_exactly_nothing(name):
    """Also where all of a row is masked: -1e9 is no logit that relevance could be a share of."""
    allowed = ALLOWED[:2] if name == "infinite" else ALLOWED
    model = model_of(lambda x: MASKED[name](x, allowed), allowed.shape)
    (x,) = xs = samples([allowed.shape], signed_samples)
    w = weights_of(model, xs)
    found = lrp(model, xs, w)
    assert not found[:, ~allowed].any()
    r = w * output_of(model, xs) * allowed
    expected = naive.softmax_rule(np.where(allowed, x, -np.inf)[:, :2], r[:, :2])
    naive.assert_close(found[:, :2], expected)


# Products with the output of a softmax

WEIGHED = {
    "matmul": lambda s, v: ops.matmul(s, v),
    "einsum": lambda s, v: ops.einsum("bij,bjk->bik", s, v),
    "dropout": lambda s, v: ops.matmul(layers.Dropout(0.5)(s), v),
    "elementwise": lambda s, v: ops.sum(s[..., None] * v[:, None], axis=2),
    "multiply": lambda s, v: ops.sum(layers.Multiply()([s[..., None], v[:, None]]), axis=2),
}


@pytest.mark.parametrize("rule", ["attn", "cp"])
@pytest.mark.parametrize("name", WEIGHED)
def test_weights_are_a_factor_or_constants(name, rule):
    """Written as a matrix product or elementwise and summed: half each, or the values get all."""
    model = model_of(lambda a, v: WEIGHED[name](ops.softmax(a), v), (2, 3), (3, 4))
    a, v = xs = samples([(2, 3), (3, 4)], signed_samples)
    s = naive.softmax(a)
    w = weights_of(model, xs)
    shares = (0, 1) if rule == "cp" else (0.5, 0.5)
    r_s, r_v = naive.product_rule("nij,njk->nik", s, v, w * softplus(s @ v), shares)
    found = lrp(model, xs, w, attention_rule=rule)
    naive.assert_close(joined(found), joined([naive.softmax_rule(a, r_s), r_v]))


def test_the_weights_of_experts_can_be_gates():
    """Two experts that a softmax weighs: half for the router, or, in one layer, all for experts."""
    mix = layers.Multiply(name="mix")
    model = model_of(
        lambda a, v: ops.sum(mix([ops.softmax(a)[..., None], v]), axis=1), (2,), (2, 3)
    )
    a, v = xs = samples([(2,), (2, 3)], signed_samples)
    s = naive.softmax(a)[..., None]
    z = (s * v).sum(1, keepdims=True)
    w = weights_of(model, xs)
    r = s * v / z * (w * softplus(z[:, 0]))[:, None]
    halves = [naive.softmax_rule(a, r.sum(-1) / 2), r / 2]
    naive.assert_close(joined(lrp(model, xs, w)), joined(halves))
    in_mix = [
        (lambda layer: layer.name == "mix", rules.Product(constant_weights=True)),
        (lambda layer: True, "Z"),
    ]
    naive.assert_close(joined(lrp(model, xs, w, in_mix)), joined([np.zeros_like(a), r]))


def test_a_product_of_a_tensor_with_itself():
    """Each of the two factors gets half: not twice the relevance."""
    model = model_of(lambda x: layers.Dot(2)([x, x]), (3, 4))
    (x,) = xs = samples([(3, 4)], signed_samples)
    w = weights_of(model, xs)
    z = np.einsum("nik,njk->nij", x, x)
    parts = naive.product_rule("nik,njk->nij", x, x, w * softplus(z))
    naive.assert_close(lrp(model, xs, w), sum(parts))


def test_a_gated_unit():
    """silu(a) b: half each, and the activation passes its half on."""
    model = model_of(lambda a, b: ops.silu(a) * b, (4,), (4,))
    a, b = xs = samples([(4,), (4,)], signed_samples)
    w = weights_of(model, xs)
    half = w * softplus(a / (1 + np.exp(-a)) * b) / 2
    naive.assert_close(joined(lrp(model, xs, w)), joined([half, half]))


# Attention

T, S, HEADS, SIZE = 3, 4, 2, 3
CAUSAL = np.tril(np.ones((T, S), bool))
PADDED = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 1, 0]], bool)[:, None, None]


def in_one_piece(**kwargs):
    return lambda q, k, v: ops.dot_product_attention(q, k, v, **kwargs)


def in_steps(q, k, v):
    logits = ops.einsum("btnh,bsnh->bnts", q, k) * 0.5
    return ops.einsum("bnts,bsnh->btnh", ops.softmax(logits), v)


CASES = {
    "plain": (in_one_piece(), np.ones((T, S), bool), SIZE**-0.5),
    "scaled": (in_one_piece(scale=0.5), np.ones((T, S), bool), 0.5),
    "in steps": (in_steps, np.ones((T, S), bool), 0.5),
    "causal": (in_one_piece(is_causal=True), CAUSAL, SIZE**-0.5),
}


def heads_first(x):
    return np.swapaxes(x, 1, 2)


def heads_last(arrays):
    return joined([np.swapaxes(a, 1, 2) for a in arrays])


@pytest.mark.parametrize("rule", ["attn", "cp"])
@pytest.mark.parametrize("name", CASES)
def test_attention(name, rule):
    call, allowed, scale = CASES[name]
    shapes = (T, HEADS, SIZE), (S, HEADS, SIZE), (S, HEADS, SIZE)
    model = model_of(call, *shapes)
    xs = samples(shapes, signed_samples)
    q, k, v = map(heads_first, xs)
    z = naive.attention(q, k, v, allowed, scale)[-1]
    naive.assert_close(output_of(model, xs), softplus(heads_first(z)))
    w = weights_of(model, xs)
    r = heads_first(w) * softplus(z)
    cp = rule == "cp"
    *expected, _ = naive.attention_rule(q, k, v, allowed, scale, r, constant_weights=cp)
    naive.assert_close(joined(lrp(model, xs, w, attention_rule=rule)), heads_last(expected))


@not_on_torch  # Keras refuses a bias and a mask together there
def test_attention_with_padding_a_bias_and_grouped_queries():
    """Two heads of queries read each head of keys and values, which gets what both send."""
    shapes = (T, 2 * HEADS, SIZE), (S, HEADS, SIZE), (S, HEADS, SIZE), (2 * HEADS, T, S)
    inputs = [*map(layers.Input, shapes), layers.Input((1, 1, S), dtype="bool")]
    z = ops.dot_product_attention(*inputs[:3], bias=inputs[3], mask=inputs[4])
    model = keras.Model(inputs, ops.softplus(z))
    *xs, bias = samples(shapes, signed_samples)
    q, k, v = map(heads_first, xs)
    k, v = (np.repeat(x, 2, axis=1) for x in (k, v))
    data = [*xs, bias, PADDED]
    z = naive.attention(q, k, v, PADDED, SIZE**-0.5, bias)[-1]
    naive.assert_close(output_of(model, data), softplus(heads_first(z)))
    w = weights_of(model, data)
    r = heads_first(w) * softplus(z)
    r_q, r_k, r_v, r_b = naive.attention_rule(q, k, v, PADDED, SIZE**-0.5, r, bias)
    *found, nothing = lrp(model, data, w)
    r_k, r_v = (x.reshape(4, HEADS, 2, S, SIZE).sum(2) for x in (r_k, r_v))
    expected = [heads_first(r_q), heads_first(r_k), heads_first(r_v), r_b]
    naive.assert_close(joined(found), joined(expected))
    assert not found[2][np.broadcast_to(~PADDED[:, 0, 0], (4, S))].any()
    assert not nothing.any()


def test_a_tensor_that_attends_to_itself():
    """The query, key and value of attention may be one tensor: it gets what each of them would."""
    model = model_of(lambda x: ops.dot_product_attention(x, x, x), (T, HEADS, SIZE))
    (x,) = xs = samples([(T, HEADS, SIZE)], signed_samples)
    h = heads_first(x)
    w = weights_of(model, xs)
    allowed = np.ones((T, T), bool)
    r = heads_first(w) * softplus(naive.attention(h, h, h, allowed, SIZE**-0.5)[-1])
    *expected, _ = naive.attention_rule(h, h, h, allowed, SIZE**-0.5, r)
    naive.assert_close(lrp(model, xs, w), heads_first(sum(expected)))


LAYERS = {
    "MultiHeadAttention": lambda **kwargs: layers.MultiHeadAttention(2, SIZE, **kwargs),
    "GroupQueryAttention": lambda **kwargs: layers.GroupQueryAttention(SIZE, 4, 2, **kwargs),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_in_one_piece_and_in_steps(name):
    """Dropout has Keras compute attention in steps, which a rule sees one by one: same numbers."""
    found = []
    x = signed_samples(np.random.default_rng(4), 5, 4)
    for dropout in (0.0, 0.5):
        attention = LAYERS[name](dropout=dropout)
        model = model_of(lambda x: attention(x, x), (5, 4))  # noqa: B023
        w = weights_of(model, [x])
        found.append(lrp(model, [x], w, rules.Epsilon()))
    naive.assert_close(found[0], found[1], 1e-4)


# Whole blocks


def block(x, mask, bias=False):
    """A block of an encoder as most are written, with the mask of what exists."""
    h = layers.RMSNormalization()(x)
    attention = layers.MultiHeadAttention(2, 3, use_bias=bias)
    x = x + attention(h, h, attention_mask=mask[:, None])
    h = layers.LayerNormalization(center=bias)(x)
    h = layers.Dense(6, "gelu", use_bias=bias)(h) * layers.Dense(6, use_bias=bias)(h)
    return x + layers.Dense(4, use_bias=bias)(h)


def transformer(bias=False, length=None):
    """Two blocks on tokens of which 0 is padding, an average over the others, two outputs."""
    keras.utils.set_random_seed(3)
    tokens = layers.Input((length,), dtype="int32")
    mask = ops.not_equal(tokens, 0)
    x = layers.Embedding(9, 4, embeddings_initializer="normal")(tokens) * 20.0
    x = block(block(x, mask, bias), mask, bias)
    y = layers.GlobalAveragePooling1D()(x, mask=mask)
    return keras.Model(tokens, layers.Dense(2, use_bias=bias)(y))


SENTENCES = st.lists(st.integers(1, 8), min_size=1, max_size=5)
MODEL = transformer()


@pytest.fixture(scope="module")
def analyzers():
    """AttnLRP and CP-LRP of one model without biases."""
    return {
        rule: innvestigate.create_analyzer("lrp.attn", MODEL, attention_rule=rule, epsilon=1e-9)
        for rule in ("attn", "cp")
    }


@examples(15)
@given(sentence=SENTENCES)
def test_constant_weights_conserve_relevance(analyzers, sentence):
    x = np.pad(sentence, (0, 6 - len(sentence)))[None]
    found = analyzers["cp"].analyze(x)
    explained = np.asarray(MODEL(x)).max()
    np.testing.assert_allclose(found.sum(), explained, rtol=0, atol=1e-4 * np.abs(found).max())


@examples(15)
@given(sentence=SENTENCES, rule=st.sampled_from(["attn", "cp"]))
def test_padding_gets_nothing_and_changes_nothing(analyzers, sentence, rule):
    short, long = (np.pad(sentence, (0, n - len(sentence)))[None] for n in (5, 6))
    less, more = (analyzers[rule].analyze(x) for x in (short, long))
    assert not more[long == 0].any()
    np.testing.assert_allclose(more[:, :5], less, atol=1e-5 * abs(less).max())


class Ledger:
    """A block with biases in numpy, written from the rules; keeps what each step absorbs."""

    def __init__(self, model):
        self.weights = iter(map(naive.array, model.get_weights()))
        self.absorbed = 0.0

    def next(self, count):
        return [next(self.weights) for _ in range(count)]

    def note(self, before, *after):
        """What a step got and did not hand on."""
        self.absorbed += before.sum((1, 2)) - sum(a.sum((1, 2)) for a in after)
        return after if len(after) > 1 else after[0]

    def dense(self, x, z, kernel, r):
        """The z-rule; a bias in z absorbs its share."""
        return self.note(r, x * ((r / z) @ kernel.T))

    def add(self, a, b, r):
        return self.note(r, a / (a + b) * r, b / (a + b) * r)


def heads_of(x):
    return np.moveaxis(x.reshape(*x.shape[:2], 2, 3), 2, 1)


def merged(h):
    return np.moveaxis(h, 1, 2).reshape(len(h), -1, 6)


def block_by_hand(model, x, w):
    """Relevance of the input of `block`, of R = w * y, and what its steps have absorbed."""
    book = Ledger(model)
    (scale,) = book.next(1)
    h = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale
    kernels, biases = zip(*(book.next(2) for _ in "qkv"), strict=True)
    kernels = [k.reshape(4, 6) for k in kernels]
    projected = [h @ k + b.ravel() for k, b in zip(kernels, biases, strict=True)]
    q, k, v = map(heads_of, projected)
    everything = np.ones((5, 5), bool)
    attended = merged(naive.attention(q, k, v, everything, 3**-0.5)[-1])
    out, out_bias = book.next(2)
    out = out.reshape(6, 4)
    attention = attended @ out + out_bias
    y = x + attention
    gamma, beta = book.next(2)
    centred = y - y.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3)
    n = centred / spread * gamma + beta
    (up, up_bias), (gate, gate_bias), (down, down_bias) = (book.next(2) for _ in range(3))
    a, b = n @ up + up_bias, n @ gate + gate_bias
    g = a * 0.5 * (1 + np.vectorize(math.erf)(a / np.sqrt(2)))
    z = (g * b) @ down + down_bias

    r_y, r_z = book.add(y, z, w * (y + z))
    half = book.dense(g * b, z, down, r_z) / 2
    r_n = book.dense(n, a, up, half) + book.dense(n, b, gate, half)
    s = r_n / n * gamma / spread
    r_y = r_y + book.note(r_n, y * (s - s.mean(-1, keepdims=True)))
    r_x, r_attention = book.add(x, attention, r_y)
    r = book.dense(attended, attention, out, r_attention)
    *parts, _ = naive.attention_rule(q, k, v, everything, 3**-0.5, heads_of(r))
    parts = book.note(r, *map(merged, parts))
    for part, z, kernel in zip(parts, projected, kernels, strict=True):
        r_x = r_x + book.dense(h, z, kernel, part)
    return r_x, book.absorbed


def test_a_block_with_biases():
    """Relevance is what the rules say, and what is missing is what biases and softmax absorbed."""
    mask = ops.convert_to_tensor(np.ones((1, 5), bool))
    model = model_of(lambda x: block(x, mask, bias=True), (5, 4), activation="linear")
    (x,) = xs = samples([(5, 4)], signed_samples)
    w = weights_of(model, xs)
    expected, absorbed = block_by_hand(model, x, w)
    found = lrp(model, xs, w)
    naive.assert_close(found, expected, 1e-4)
    given = (w * output_of(model, xs)).sum((1, 2))
    assert (abs(absorbed) > 1e-2 * abs(given)).all()
    np.testing.assert_allclose(found.sum((1, 2)), given - absorbed, rtol=1e-3, atol=1e-3)
