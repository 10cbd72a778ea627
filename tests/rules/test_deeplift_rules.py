"""The DeepLIFT rules against naive derivations in numpy, and what each rule promises by itself."""

import re
import warnings
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.rules import MeanGradient, Rescale
from tests.frameworks import NAME
from tests.models import randomize
from tests.test_properties import affine, double

pytestmark = pytest.mark.usefixtures("step_by_step")

RULES = ("rescale", "reveal_cancel")
TINY = 1e-7
RELU = (lambda z: np.maximum(z, 0.0), lambda z: float(z > 0))
TANH = (np.tanh, lambda z: 1 - np.tanh(z) ** 2)


# --- The naive derivation: networks as lists of matrices, functions and windows -------------------


class Linear:
    """z = W x + b, whose summands are positive and negative contributions."""

    def __init__(self, w, b):
        self.w, self.b = w, b

    def forward(self, x):
        return self.w @ x + self.b

    def parts(self, x, x0, before):
        summands = self.w * (x - x0)
        return np.where(summands > 0, summands, 0).sum(1), np.where(summands < 0, summands, 0).sum(
            1
        )

    def back(self, x, x0, before, up, down):
        m = np.zeros(len(x))
        for j, i in np.ndindex(*self.w.shape):
            summand = self.w[j, i] * (x[i] - x0[i])
            chosen = (up[j] + down[j]) / 2 if summand == 0 else up[j] if summand > 0 else down[j]
            m[i] += self.w[j, i] * chosen
        return m, m


class Diagonal:
    """z = s x + b: parts are scaled, and change places where s is negative."""

    def __init__(self, scale, shift):
        self.scale, self.shift = scale, shift

    def forward(self, x):
        return self.scale * x + self.shift

    def parts(self, x, x0, before):
        return self._pass(*before)

    def back(self, x, x0, before, up, down):
        return self._pass(up, down)

    def _pass(self, up, down):
        rises = self.scale > 0
        return (
            self.scale * np.where(rises, up, down),
            self.scale * np.where(rises, down, up),
        )


class Elementwise:
    """y = f(x), by Rescale or RevealCancel."""

    def __init__(self, function, rule):
        (self.f, self.df), self.rule = function, rule

    def forward(self, x):
        return self.f(x)

    def parts(self, x, x0, before):
        pairs = [self._parts(*numbers) for numbers in zip(x, x0, *before, strict=True)]
        return tuple(np.array(pairs).T)

    def back(self, x, x0, before, up, down):
        slopes = []
        for z, z0, p, n in zip(x, x0, *before, strict=True):
            if self.rule == "rescale":
                slopes.append([self._rescale(z, z0)] * 2)
            else:
                p, n = p or TINY, n or -TINY
                slopes.append(np.divide(self._parts(z, z0, p, n), [p, n]))
        slopes = np.array(slopes).T
        return slopes[0] * up, slopes[1] * down

    def _rescale(self, z, z0):
        return self.df(z0) if abs(z - z0) < 1e-7 else (self.f(z) - self.f(z0)) / (z - z0)

    def _parts(self, z, z0, p, n):
        if self.rule == "rescale":
            return p * self._rescale(z, z0), n * self._rescale(z, z0)
        f = self.f
        return (
            (f(z0 + p) - f(z0) + f(z0 + p + n) - f(z0 + n)) / 2,
            (f(z0 + n) - f(z0) + f(z0 + n + p) - f(z0 + p)) / 2,
        )


class Maxima:
    """The largest number of each window of a list of places."""

    def __init__(self, windows):
        self.windows = windows

    def forward(self, x):
        return np.array([x[window].max() for window in self.windows])

    def parts(self, x, x0, before):
        delta = self.forward(x) - self.forward(x0)
        return np.maximum(delta, 0), np.minimum(delta, 0)

    def back(self, x, x0, before, up, down):
        m = np.zeros(len(x))
        for window, p, n in zip(self.windows, up, down, strict=True):
            change = x[window].max() - x0[window].max()
            i = window[np.argmax((x if change > 0 else x0)[window])]
            chosen = p if change > 0 else n if change < 0 else (p + n) / 2
            m[i] += chosen * (change / (x[i] - x0[i]) if x[i] != x0[i] else 1)
        return m, m


def naive(stages, x, x0, start):
    """The multipliers of a flat input."""
    seen, delta = [], x - x0
    parts = np.maximum(delta, 0), np.minimum(delta, 0)
    for stage in stages:
        seen.append((x, x0, parts))
        parts = stage.parts(x, x0, parts)
        x, x0 = stage.forward(x), stage.forward(x0)
    up = down = start
    for stage, values in zip(stages[::-1], seen[::-1], strict=True):
        up, down = stage.back(*values, up, down)
    return up


def norm_stage(layer):
    w, b = affine(layer)
    return Diagonal(np.diag(w), b)


def dense(function, name):
    model = keras.Sequential(
        [
            layers.Input((5,), dtype="float64"),
            layers.Dense(6, name),
            layers.Dense(4),
            layers.BatchNormalization(),
            layers.Activation(name),
            layers.Dense(3),
        ]
    )
    return model, lambda rule: [
        Linear(*affine(model.layers[0])),
        Elementwise(function, rule),
        Linear(*affine(model.layers[1])),
        norm_stage(model.layers[2]),
        Elementwise(function, rule),
        Linear(*affine(model.layers[4])),
    ]


def convolutional():
    parts = [
        layers.Conv2D(2, 2, activation="relu"),
        layers.MaxPooling2D(2, strides=1),
        layers.Conv2D(2, 2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(2),
    ]
    model = keras.Sequential([layers.Input((4, 4, 2), dtype="float64"), *parts])
    places = np.arange(18).reshape(3, 3, 2)
    windows = [places[i : i + 2, j : j + 2, c].ravel() for i, j, c in np.ndindex(2, 2, 2)]
    return model, lambda rule: [
        Linear(*affine(parts[0])),
        Elementwise(RELU, rule),
        Maxima(windows),
        Linear(*affine(parts[2])),
        norm_stage(parts[3]),
        Elementwise(RELU, rule),
        Linear(*affine(parts[6])),
    ]


NETWORKS = {
    "dense relu": lambda: dense(RELU, "relu"),
    "dense tanh": lambda: dense(TANH, "tanh"),
    "convolutional": convolutional,
}


def built(make, seed=0):
    """A model in float64 with random weights."""
    keras.utils.set_random_seed(seed)
    with double():
        found = make()
    randomize(found[0] if isinstance(found, tuple) else found, seed)
    return found


def two_samples(model, seed=1):
    """Samples and references for each input, one number of each equal."""
    random = np.random.default_rng(seed)
    pairs = [random.normal(size=(2, 3, *x.shape[1:])) for x in model.inputs]
    for x, x0 in pairs:
        x.reshape(3, -1)[:, 1] = x0.reshape(3, -1)[:, 1]
    x, x0 = ([pair[i] for pair in pairs] for i in (0, 1))
    return (x, x0) if len(x) > 1 else (x[0], x0[0])


def explain(model, x, x0, rule="rescale", name="deeplift", **kwargs):
    kwargs = {"neuron_selection_mode": "weights", "keep_output_activation": True, **kwargs}
    kwargs["check"] = NAME != "jax"  # which computes attention in float32
    if name == "deeplift":
        kwargs.update(rule=rule, reference_inputs=x0)
    weights = np.linspace(-1, 2, model.output_shape[-1])
    return innvestigate.create_analyzer(name, model, **kwargs).analyze(x, weights)


def total(r):
    return sum(np.asarray(a).reshape(len(a), -1).sum(1) for a in keras.tree.flatten(r))


def explained(model, x):
    y = np.array(model(x))
    return total([y * np.linspace(-1, 2, y.shape[-1])])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_multipliers_equal_the_naive_derivation(network, rule, seed):
    model, stages = built(NETWORKS[network], seed)
    x, x0 = two_samples(model)
    start = np.linspace(-1, 2, model.output_shape[-1])
    found = explain(model, x, x0, rule, return_multipliers=True)
    expected = [
        naive(stages(rule), a.ravel(), b.ravel(), start) for a, b in zip(x, x0, strict=True)
    ]
    expected = np.reshape(expected, x.shape)
    tolerance = 1e-9 if rule == "rescale" else 1e-6  # the limits are finite differences there
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    contributions = explain(model, x, x0, rule)
    np.testing.assert_allclose(contributions, expected * (x - x0), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(contributions, found * (x - x0), rtol=1e-9, atol=1e-11)


# --- Single rules ---------------------------------------------------------------------------------


def minimum_network():
    """min(a, b) = a - max(a - b, 0)"""
    inputs = layers.Input((2,), dtype="float64")
    first = layers.Dense(1, use_bias=False, name="first")(inputs)
    difference = layers.Dense(1, activation="relu", use_bias=False, name="difference")(inputs)
    model = keras.Model(inputs, layers.Subtract()([first, difference]))
    model.get_layer("first").set_weights([np.array([[1.0], [0.0]])])
    model.get_layer("difference").set_weights([np.array([[1.0], [-1.0]])])
    return model


@pytest.mark.parametrize(("a", "b"), [(3.0, 1.0), (1.0, 4.0), (2.5, 2.0), (0.3, 7.0)])
def test_reveal_cancel_splits_a_minimum_in_halves(a, b):
    """The paper's example, section 3.4: Rescale gives all to the smaller input."""
    model, x = built(minimum_network), np.array([[a, b]])
    model.get_layer("first").set_weights([np.array([[1.0], [0.0]])])
    model.get_layer("difference").set_weights([np.array([[1.0], [-1.0]])])
    half = min(a, b) / 2
    np.testing.assert_allclose(_plain(model, x, "reveal_cancel"), [[half, half]], atol=1e-12)
    np.testing.assert_allclose(
        _plain(model, x, "rescale"), [[a, 0.0] if a < b else [0.0, b]], atol=1e-12
    )


def _plain(model, x, rule, **kwargs):
    mode = {"neuron_selection_mode": "all"}
    return innvestigate.create_analyzer("deeplift", model, rule=rule, **mode, **kwargs).analyze(x)


@pytest.mark.parametrize("rule", RULES)
def test_without_a_difference_multipliers_are_the_gradient_at_the_reference(rule):
    model, _ = built(NETWORKS["dense tanh"])
    x, _ = two_samples(model)
    found = explain(model, x, x, rule, return_multipliers=True)
    np.testing.assert_allclose(found, explain(model, x, None, name="gradient"), rtol=1e-6)


def unit(activation):
    return keras.Sequential([layers.Input((2,), dtype="float64"), layers.Dense(1, activation)])


def test_reveal_cancel_takes_the_limit_where_a_part_is_zero():
    """Nothing pushes down: m⁻ is ½ (f'(z₀) + f'(z₀ + Δ⁺)). x₂ does not change, and gets a mean."""
    model = built(lambda: unit("tanh"))
    model.layers[0].set_weights([np.array([[1.5], [2.0]]), np.array([0.2])])
    found = _plain(model, np.array([[0.6, 0.0]]), "reveal_cancel", return_multipliers=True)
    up = (np.tanh(1.1) - np.tanh(0.2)) / 0.9
    down = (TANH[1](0.2) + TANH[1](1.1)) / 2
    np.testing.assert_allclose(found, [[1.5 * up, 2 * (up + down) / 2]], rtol=1e-6)


@pytest.mark.parametrize(("x", "up", "down"), [(1.0, 1.0, 0.5), (-1.0, 0.5, 0.0)])
def test_the_limit_at_a_kink_is_taken_from_the_side_of_the_part(x, up, down):
    model = built(lambda: unit("relu"))
    model.layers[0].set_weights([np.array([[1.0], [1.0]]), np.array([0.0])])
    found = _plain(model, np.array([[x, 0.0]]), "reveal_cancel", return_multipliers=True)
    np.testing.assert_allclose(found, [[up if x > 0 else down, (up + down) / 2]], atol=1e-6)


@pytest.mark.parametrize(
    ("x", "x0", "expected"),
    [
        ([5, 1, 2], [0, 0, 0], [5, 0, 0]),
        ([5, 1, 2], [0, 3, 0], [2, 0, 0]),
        ([1, 0, 2], [0, 4, 0], [0, -2, 0]),
        ([1, 3, 0], [3, 1, 0], [0, 0, 0]),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_one_that_decides_on_the_change_of_a_maximum_receives_it(x, x0, expected, sign):
    inputs = layers.Input((3,), dtype="float64")
    operation = ops.max if sign == 1 else ops.min
    model = built(lambda: keras.Model(inputs, operation(inputs, axis=1, keepdims=True)))
    x, x0 = sign * np.array([x], "float64"), sign * np.array([x0], "float64")
    found = _plain(model, x, "rescale", reference_inputs=x0)
    np.testing.assert_allclose(found, [sign * np.array(expected)], atol=1e-12)


def test_the_winner_of_a_maximum_is_the_original_s_choice():
    model = built(
        lambda: keras.Sequential(
            [layers.Input((4, 1), dtype="float64"), layers.GlobalMaxPooling1D()]
        )
    )
    x, x0 = np.array([[[5.0], [1], [2], [3]]]), np.array([[[1.0], [3], [0], [0]]])
    arguments = {"max_pooling": "winner", "reference_inputs": x0}
    found = _plain(model, x, "rescale", **arguments)
    np.testing.assert_allclose(found[..., 0], [[4, 0, 0, 0]])


def test_softmax_is_its_jacobian_at_the_logarithmic_means():
    with double():
        model = keras.Sequential(
            [layers.Input((4,), dtype="float64"), layers.Activation("softmax")]
        )
    random = np.random.default_rng(0)
    x, x0 = random.normal(size=(2, 1, 4)) * 3
    y, y0 = (np.exp(a) / np.exp(a).sum() for a in (x[0], x0[0]))
    mean = (y - y0) / (np.log(y) - np.log(y0))
    jacobian = np.diag(mean) - np.outer(mean, mean) / mean.sum()
    np.testing.assert_allclose(jacobian @ (x - x0)[0], y - y0, rtol=1e-12)
    found = explain(model, x, x0, return_multipliers=True)
    np.testing.assert_allclose(found[0], np.linspace(-1, 2, 4) @ jacobian, rtol=1e-10)


def test_a_product_gives_half_to_the_change_of_each_factor():
    a, b = layers.Input((3,), dtype="float64"), layers.Input((3,), dtype="float64")
    model = built(lambda: keras.Model([a, b], layers.Multiply()([a, b])))
    (x, z), (x0, z0) = two_samples(model)
    w = np.linspace(-1, 2, 3)
    found = explain(model, [x, z], [x0, z0])
    np.testing.assert_allclose(found[0], w * (x - x0) * (z + z0) / 2, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found[1], w * (z - z0) * (x + x0) / 2, rtol=1e-12, atol=1e-14)


# --- The sum of contributions, step by step -------------------------------------------------------


def around(*parts, shape=(5,), wide=6):
    """Parts of a network between two dense layers."""

    def make():
        inputs = layers.Input(shape, dtype="float64")
        y = layers.Dense(wide, "tanh")(inputs)
        for part in parts:
            y = part(y)
        y = layers.Flatten()(y) if len(y.shape) > 2 else y
        return keras.Model(inputs, layers.Dense(2)(y))

    return make


def merged(merge, shape=(5,), count=2, wide=6):
    def make():
        inputs = layers.Input(shape, dtype="float64")
        y = merge([layers.Dense(wide, "tanh")(inputs) for _ in range(count)])
        y = layers.Flatten()(y) if len(y.shape) > 2 else y
        return keras.Model(inputs, layers.Dense(2)(y))

    return make


def token_mixer(layer):
    return merged(lambda parts: layer(*parts), shape=(4, 3))


def biased(x, y):
    """Attention with a bias of its logits that depends on the input, as relative positions do."""
    q, v = (x[:, :, None] for x in (x, y))
    bias = ops.matmul(x, ops.transpose(y, (0, 2, 1)))[:, None]
    return ops.dot_product_attention(q, v, v, bias=bias)[:, :, 0]


def masked_softmax(x):
    allowed = np.array([[1] * 6, [0] * 6, [1, 0] * 3, [0, 1] * 3, [0, 0, 1] * 2], bool)
    return layers.Softmax()(x, mask=ops.convert_to_tensor(allowed))


IMAGE, SEQUENCE = (5, 4, 3), (5, 3)
with double():
    STEPS = {
        **{
            f"activation {name}": around(layers.Dense(6, activation=name))
            for name in dir(keras.activations)
            if not name.startswith("_")
            and name not in ("get", "serialize", "deserialize", "glu", "threshold", "sparsemax")
        },
        **{
            f"{name}{rank}D": around(
                getattr(layers, f"{name}{rank}D")(*size), shape=(4,) * rank + (2,)
            )
            for rank in (1, 2)
            for name, size in (
                ("MaxPooling", (2, 1)),
                ("AveragePooling", (2, 1)),
                ("GlobalMaxPooling", ()),
                ("GlobalAveragePooling", ()),
                ("AdaptiveMaxPooling", (2,)),
                ("AdaptiveAveragePooling", (2,)),
            )
        },
        **{
            name: merged(getattr(layers, name)())
            for name in (
                "Add",
                "Subtract",
                "Average",
                "Concatenate",
                "Maximum",
                "Minimum",
                "Multiply",
            )
        },
        "three factors": merged(layers.Multiply(), count=3),
        "four factors": merged(lambda parts: parts[0] * parts[1] * parts[2] * parts[3], count=4),
        "a square": around(lambda y: y * y),
        "Dot": merged(layers.Dot(2), shape=SEQUENCE),
        "Dot of unit vectors": merged(layers.Dot(2, normalize=True), shape=SEQUENCE),
        "matmul": merged(
            lambda p: ops.matmul(p[0], ops.transpose(p[1], (0, 2, 1))), shape=SEQUENCE
        ),
        "einsum": merged(lambda p: ops.einsum("abc,adc,aec->abde", *p), shape=SEQUENCE, count=3),
        "quotient": merged(lambda parts: parts[0] / (parts[1] + 2)),
        "reciprocal": around(lambda y: 1.0 / (y + 2)),
        "gated linear unit": around(lambda y: ops.glu(y)),
        "Softmax over another axis": around(layers.Softmax(axis=1), shape=SEQUENCE),
        "PReLU": around(layers.PReLU(alpha_initializer="normal")),
        "clip": around(lambda y: ops.clip(y, -0.3, 0.4)),
        "maximum with a number": around(lambda y: ops.maximum(y, 0.1)),
        "power": around(lambda y: ops.power(y, 2)),
        "abs": around(layers.Dense(6), ops.abs),
        "BatchNormalization": around(layers.BatchNormalization(), layers.ReLU()),
        "norm and Subtract": merged(
            lambda p: ops.relu(layers.Subtract()([layers.BatchNormalization()(p[0]), -2 * p[1]]))
        ),
        "LayerNormalization": around(layers.LayerNormalization()),
        "LayerNormalization over two axes": around(
            layers.LayerNormalization((1, 2)), shape=SEQUENCE
        ),
        "LayerNormalization by the rms": around(layers.LayerNormalization(rms_scaling=True)),
        "GroupNormalization": around(layers.GroupNormalization(2), shape=IMAGE),
        "RMSNormalization": around(layers.RMSNormalization()),
        "UnitNormalization": around(layers.UnitNormalization()),
        "MultiHeadAttention": token_mixer(layers.MultiHeadAttention(2, 3)),
        "causal attention": token_mixer(
            lambda x, y: layers.MultiHeadAttention(2, 3)(x, y, use_causal_mask=True)
        ),
        "GroupQueryAttention": token_mixer(layers.GroupQueryAttention(4, 4, 2)),
        "attention in steps": token_mixer(layers.MultiHeadAttention(2, 3, dropout=0.5)),
        "attention with a bias": token_mixer(biased),
        "Attention": merged(lambda parts: layers.Attention()(parts), shape=(4, 3)),
        "AdditiveAttention": merged(lambda p: layers.AdditiveAttention()(p), shape=(4, 3)),
        "a softmax of which a row is masked": around(masked_softmax, shape=SEQUENCE),
        "UpSampling2D": around(layers.UpSampling2D(2, interpolation="bilinear"), shape=IMAGE),
        "cumsum and mean": around(lambda y: ops.mean(ops.cumsum(y, axis=1), -1), shape=SEQUENCE),
        "padding": around(
            layers.ZeroPadding1D(1), layers.Conv1D(2, 3, activation="relu"), shape=(4, 2)
        ),
        "Masking": around(layers.Masking(0.0), shape=SEQUENCE),
    }


SINGLE = (
    *("MultiHeadAttention", "causal attention", "attention with a bias"),
    *("UpSampling2D", "GroupQueryAttention"),
)
"""Steps that Keras computes in single precision, in part, even in a float64 model."""
PRECISION = 1e-6 if NAME == "jax" else 1e-7
OF_TORCH = ("MultiHeadAttention",) if NAME == "torch" else ()
"""Steps whose single precision torch takes at another place than the graph: the guard tells."""


@pytest.mark.parametrize("name", sorted({*STEPS} - {*OF_TORCH}))
def test_contributions_add_up_to_the_difference(name):
    model = built(STEPS[name])
    x, x0 = two_samples(model)
    difference = explained(model, x) - explained(model, x0)
    for rule in RULES:
        found = explain(model, x, x0, rule)
        tolerance = (PRECISION if name in SINGLE else 1e-9) * (1 + np.abs(found).sum())
        np.testing.assert_allclose(total(found), difference, rtol=0, atol=tolerance)


SMOOTH = (
    *("activation tanh", "activation softmax", "activation log_softmax"),
    *("MaxPooling2D", "Maximum", "three factors", "einsum", "quotient", "GroupNormalization"),
    *("LayerNormalization by the rms", "UnitNormalization", "MultiHeadAttention"),
)


@pytest.mark.parametrize("name", sorted({*SMOOTH} - {*OF_TORCH}))
def test_close_to_the_reference_multipliers_are_the_gradient(name):
    model = built(STEPS[name])
    x, x0 = two_samples(model)
    found = explain(model, x, x + 1e-5 * x0, return_multipliers=True)
    gradient = explain(model, x, None, name="gradient")
    np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-3 * np.abs(gradient).max())


@pytest.mark.parametrize("layer", ["LayerNormalization", "RMSNormalization", "UnitNormalization"])
def test_normalisation_of_a_reference_of_zeros(layer):
    """The reference's deviation is zero; multipliers stay as small as the output's change asks."""
    with double():
        model = keras.Sequential([layers.Input((6,), dtype="float64"), getattr(layers, layer)()])
    x, _ = two_samples(model)
    found = explain(model, x, 0)
    np.testing.assert_allclose(total(found), explained(model, x) - explained(model, 0 * x))
    assert np.abs(found).max() < 20


SPREADS = {
    "no inverse that is known": lambda x, v: x * ops.exp(-0.5 * ops.log(v)),
    "a quotient": lambda x, v: x / ops.sqrt(v),
    "rsqrt": lambda x, v: x * ops.rsqrt(v),
    "a power": lambda x, v: ops.power(v, -0.5) * x,
    "one over": lambda x, v: ops.multiply(1.0 / ops.sqrt(v), x),
    "a scaled inverse": lambda x, v: (x * (ops.rsqrt(v) * np.full(6, 0.5, "float32"))) * 2.0,
}
DEPTH = 7


class ByHand(layers.Layer):
    """A normalisation by the root mean square, as models write it themselves."""

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def call(self, x):
        return SPREADS[self.how](x, ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-6)


def chain(norm):
    """Blocks of a matrix, a normalisation and tanh, in float32."""
    keras.utils.set_random_seed(3)
    parts = [layers.Input((5,))]
    for _ in range(DEPTH):
        parts += [layers.Dense(6, use_bias=False), norm(), layers.Activation("tanh")]
    return keras.Sequential([*parts, layers.Dense(2, use_bias=False)])


def multipliers_of_a_chain(model, x, x0, m, halves):
    """The multipliers at x, by quotients n σ = W x or by halves of the product W x · (1 / σ)."""
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    kernels, seen = [np.asarray(layer.kernel, "float64") for layer in dense], []
    for kernel in kernels[:-1]:
        c, c0 = x @ kernel, x0 @ kernel
        s, s0 = (np.sqrt(np.mean(a * a) + 1e-6) for a in (c, c0))
        seen.append((c, c0, s, s0))
        x, x0 = np.tanh(c / s), np.tanh(c0 / s0)
    m = kernels[-1] @ m
    for kernel, (c, c0, s, s0) in zip(kernels[-2::-1], seen[::-1], strict=True):
        n, n0 = c / s, c0 / s0
        with np.errstate(invalid="ignore"):
            m = m * np.where(n == n0, 1 - np.tanh(n0) ** 2, (np.tanh(n) - np.tanh(n0)) / (n - n0))
        to_spread = -np.sum(m * (n + n0)) / (s + s0)
        to_c = 2 / (s + s0) * m
        if halves:
            to_c, to_spread = (1 / s + 1 / s0) / 2 * m, np.sum(m * (c + c0)) / 2 * -1 / (s * s0)
        m = kernel @ (to_c + to_spread / (s + s0) * (c + c0) / len(c))
    return m


@pytest.mark.parametrize("how", [*list(SPREADS)[1:], "RMSNormalization"])
def test_a_chain_of_normalisations_stays_bounded_at_a_reference_of_zeros(how):
    """All spreads are √ε at the reference; halves of products cancel there and fill float32."""
    own = partial(layers.RMSNormalization, epsilon=1e-6)
    model = chain(own if how == "RMSNormalization" else partial(ByHand, how))
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    found = explain(model, x, 0, return_multipliers=True)
    m = np.linspace(-1, 2, 2)
    naive, halves = (
        [multipliers_of_a_chain(model, row, 0 * row, m, by_halves) for row in x]
        for by_halves in (False, True)
    )
    assert np.abs(halves).max() > 1e6 * np.abs(naive).max()
    np.testing.assert_allclose(found, naive, rtol=1e-3, atol=1e-4 * np.abs(naive).max())
    difference = explained(model, x) - explained(model, 0 * x)
    size = np.abs(found * x).sum()
    np.testing.assert_allclose(total(found * x), difference, rtol=0, atol=1e-5 * size)


def warned(model, x, x0, rule="rescale", **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explain(model, x, x0, rule, **kwargs)
    return [str(w.message) for w in caught if "add up to" in str(w.message)]


def test_contributions_that_rounding_has_spoilt_are_warned_of():
    model = chain(partial(ByHand, "no inverse that is known"))
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    (told,) = warned(model, x, 0)
    found = re.search(r"sample (\d) add up to (\S+), but the output changed by (\S+):", told)
    sample, total_, change = int(found[1]), float(found[2]), float(found[3])
    difference = explained(model, x) - explained(model, 0 * x)
    np.testing.assert_allclose(change, difference[sample], rtol=1e-4)
    contributions = explain(model, x, 0).astype("float64")
    np.testing.assert_allclose(total_, total(contributions)[sample], rtol=1e-4)
    assert abs(total_ - change) > 10 * abs(change)
    assert warned(model, x, 0, return_multipliers=True) == []  # they need not add up
    assert warned(model, x, x[::-1] * 1.1) == []
    assert warned(chain(partial(ByHand, "rsqrt")), x, 0) == []


def test_rules_that_promise_no_sum_are_not_measured_by_it():
    model = chain(partial(ByHand, "no inverse that is known"))
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    rules = [(lambda layer: isinstance(layer, layers.Activation), MeanGradient(2))]
    assert warned(model, x, 0, [*rules, (lambda layer: True, "rescale")]) == []


def test_a_quotient_through_zero_keeps_the_sum():
    """The divisor changes its sign between reference and input: no mean of it can be divided by."""
    a, b = layers.Input((3,), dtype="float64"), layers.Input((3,), dtype="float64")
    model = built(lambda: keras.Model([a, b], a / b))
    (x, s), (x0, s0) = two_samples(model)
    s, s0 = np.abs(s) + 0.1, -np.abs(s0) - 0.1
    found = explain(model, [x, s], [x0, s0])
    difference = explained(model, [x, s]) - explained(model, [x0, s0])
    np.testing.assert_allclose(total(found), difference, rtol=1e-9)


def test_the_mean_gradient_stands_in_for_a_rule():
    model = built(around(layers.Reshape((3, 2)), layers.LSTM(4, name="memory")))
    x, x0 = two_samples(model)
    rules = [
        (lambda layer: layer.name == "memory", MeanGradient(12)),
        (lambda layer: True, Rescale),
    ]
    found = explain(model, x, x0, rules)
    difference = explained(model, x) - explained(model, x0)
    np.testing.assert_allclose(total(found), difference, rtol=0, atol=1e-6)


def test_a_mean_gradient_needs_a_point():
    with pytest.raises(ValueError, match=r"points must be a whole number from 1 to .* Received: 0"):
        MeanGradient(0)


def test_rules_for_differences_are_no_rules_for_relevance():
    model = built(lambda: unit("relu"))
    with pytest.raises(TypeError, match=r"Rescale\(\) is a DeepLIFT rule"):
        innvestigate.create_analyzer("lrp", model, rule=Rescale()).analyze(np.ones((1, 2)))
