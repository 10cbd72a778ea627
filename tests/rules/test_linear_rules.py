"""Every kernel rule in every linear layer equals its formula on the layer's explicit Jacobian.

The formulas and Jacobians are those of `naive`. Relevance starts as weights * output at the output,
here a softplus behind the linear layer: activations hand relevance on unchanged, so R is not simply
proportional to the z that the rules divide by. Weights and inputs are halves (`naive.grid`): where
a rule divides by a signed sum, float32 holds that sum exactly, so an exact zero stays one and
cancellation costs no digits.
"""

from __future__ import annotations

from functools import partial, reduce
from itertools import product
from math import prod

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate import rules
from innvestigate.graph.rewrite import fold_batch_norm, split
from innvestigate.graph.run import run
from innvestigate.graph.trace import trace
from tests.frameworks import NAME

from . import naive
from .naive import signed, softplus

slow = pytest.mark.slow
pytestmark = [
    pytest.mark.usefixtures("step_by_step"),
    pytest.mark.filterwarnings("ignore:The model ends in"),  # whose activations are kept
]

# Rules by name: the library's, and the formula. Of "x >= 0" in a name, `inputs_for` takes notice.
RULES = {
    "z": (rules.Z(), naive.z),
    "z, no bias": (rules.Z(bias=False), partial(naive.z, bias=False)),
    "epsilon": (rules.Epsilon(0.1), partial(naive.epsilon, epsilon=0.1)),
    "epsilon, no bias": (rules.Epsilon(0.2, False), partial(naive.epsilon, epsilon=0.2, bias=0)),
    "w²": (rules.WSquare(), naive.w_square),
    "flat": (rules.Flat(), naive.flat_rule),
    "alpha 1": (rules.AlphaBeta(alpha=1), partial(naive.alpha_beta, alpha=1, beta=0)),
    "alpha 2": (rules.AlphaBeta(2, 1), partial(naive.alpha_beta, alpha=2, beta=1)),
    "beta 2.5, no bias": (
        rules.AlphaBeta(beta=2.5, bias=False),
        partial(naive.alpha_beta, alpha=3.5, beta=2.5, bias=False),
    ),
    "z+": (rules.ZPlus(), partial(naive.alpha_beta, alpha=1, beta=0, bias=False)),
    "z+, x >= 0": (rules.ZPlusFast(), naive.z_plus_fast),
    "alpha-beta of x+": (rules.AlphaBetaX(), naive.alpha_beta_x),
    "gamma": (rules.Gamma(), partial(naive.gamma, gamma=0.25)),
    "gamma 2, no bias": (rules.Gamma(2, bias=False), partial(naive.gamma, gamma=2, bias=False)),
    "box": (rules.ZBox(-2, 2), partial(naive.bounded, low=-2, high=2)),
    "box above 0": (rules.ZBox(0.0, 1.5), partial(naive.bounded, low=0, high=1.5)),
}

# Layers by name, and the shape of their inputs.
LAYERS = {
    "dense": (partial(layers.Dense, 4), (5,)),
    "dense, no bias": (partial(layers.Dense, 4, use_bias=False), (5,)),
    "dense, rank 3": (partial(layers.Dense, 3), (2, 2, 4)),
    "conv1d": (partial(layers.Conv1D, 3, 3), (7, 2)),
    "conv1d causal": (partial(layers.Conv1D, 2, 3, padding="causal"), (6, 2)),
    "conv1d causal dilated": (
        partial(layers.Conv1D, 2, 2, padding="causal", dilation_rate=2),
        (6, 2),
    ),
    "conv1d causal strided": (partial(layers.Conv1D, 2, 3, padding="causal", strides=2), (6, 2)),
    "conv2d": (partial(layers.Conv2D, 3, (3, 2)), (5, 4, 2)),
    "conv2d same": (partial(layers.Conv2D, 3, (2, 3), padding="same"), (4, 5, 2)),
    "conv2d same strided": (
        partial(layers.Conv2D, 3, 3, padding="same", strides=(2, 3)),
        (5, 6, 2),
    ),
    "conv2d strided": (partial(layers.Conv2D, 2, (3, 2), strides=2, use_bias=False), (6, 5, 2)),
    "conv2d dilated": (
        partial(layers.Conv2D, 2, 2, padding="same", dilation_rate=(2, 3)),
        (5, 5, 2),
    ),
    "conv2d grouped": (
        partial(layers.Conv2D, 4, 3, groups=2, strides=2, padding="same"),
        (5, 5, 4),
    ),
    "conv3d": (partial(layers.Conv3D, 2, (2, 2, 1)), (3, 3, 2, 2)),
    "conv3d same strided": (
        partial(layers.Conv3D, 2, (2, 3, 2), padding="same", strides=(1, 2, 1)),
        (3, 3, 2, 2),
    ),
    "depthwise1d": (partial(layers.DepthwiseConv1D, 3, depth_multiplier=2, strides=2), (7, 2)),
    "depthwise2d": (partial(layers.DepthwiseConv2D, (3, 2), depth_multiplier=2), (4, 4, 3)),
    "depthwise2d same": (
        partial(layers.DepthwiseConv2D, 3, padding="same", strides=2),
        (5, 5, 3),
    ),
    "depthwise2d dilated": (
        partial(layers.DepthwiseConv2D, 2, padding="same", dilation_rate=2, depth_multiplier=3),
        (4, 5, 2),
    ),
    "separable1d": (partial(layers.SeparableConv1D, 3, 3, depth_multiplier=2), (6, 2)),
    "separable1d same": (partial(layers.SeparableConv1D, 2, 2, padding="same", strides=2), (5, 2)),
    "separable2d": (
        partial(layers.SeparableConv2D, 3, (3, 2), padding="same", depth_multiplier=2),
        (4, 4, 2),
    ),
    "separable2d strided": (partial(layers.SeparableConv2D, 2, 2, strides=2), (4, 5, 3)),
    "transposed1d": (partial(layers.Conv1DTranspose, 3, 3, strides=2), (4, 2)),
    "transposed1d same": (partial(layers.Conv1DTranspose, 2, 4, strides=3, padding="same"), (3, 2)),
    "transposed1d dilated": (
        partial(layers.Conv1DTranspose, 2, 2, dilation_rate=2, padding="same"),
        (4, 2),
    ),
    "transposed2d": (partial(layers.Conv2DTranspose, 2, (2, 3), strides=(3, 2)), (3, 3, 2)),
    "transposed2d same": (
        partial(layers.Conv2DTranspose, 2, 3, strides=2, padding="same"),
        (3, 3, 2),
    ),
    "transposed2d padded": (
        partial(layers.Conv2DTranspose, 2, 2, strides=3, output_padding=(1, 2)),
        (2, 3, 2),
    ),
    "transposed2d same padded": (
        partial(
            layers.Conv2DTranspose, 2, (3, 4), strides=2, padding="same", output_padding=(0, 1)
        ),
        (3, 3, 2),
    ),
    "transposed3d": (
        partial(layers.Conv3DTranspose, 2, 2, strides=(2, 1, 1), padding="same"),
        (2, 2, 3, 2),
    ),
    "einsum": (partial(layers.EinsumDense, "ab,bc->ac", 4, bias_axes="c"), (5,)),
    "einsum ...": (partial(layers.EinsumDense, "...x,xy->...y", 3, bias_axes="y"), (2, 2, 4)),
    "einsum heads": (
        partial(layers.EinsumDense, "abc,cde->abde", (3, 2, 3), bias_axes="de"),
        (3, 4),
    ),
    "einsum joined": (partial(layers.EinsumDense, "abcd,cde->abe", (2, 3)), (2, 2, 3)),
    "einsum across": (partial(layers.EinsumDense, "abc,db->adc", (4, 3), bias_axes="d"), (3, 3)),
    "einsum diagonal": (partial(layers.EinsumDense, "abc,bc->abc", (3, 2), bias_axes="bc"), (3, 2)),
    "batch norm": (layers.BatchNormalization, (5,)),
    "batch norm, rank 4": (layers.BatchNormalization, (2, 3, 3)),
    "batch norm, axis 1": (partial(layers.BatchNormalization, axis=1), (3, 4)),
    "batch norm, plain": (partial(layers.BatchNormalization, scale=False, center=False), (5,)),
}
ALL_RULES_UNMARKED = ("dense", "conv2d same")  # these layers see every rule in a quick run
ALL_LAYERS_UNMARKED = ("gamma",)  # and this rule sees every layer
# An input equals its mean there. XLA multiplies and adds in one operation, which leaves a rounding
# where the others have exactly zero, and rules divide by it or choose their part by its sign.
OF_ROUNDING = [("batch norm, plain", "gamma"), ("batch norm, plain", "z")]


def _pairs() -> list:
    quick = lambda name, rule: name in ALL_RULES_UNMARKED or rule in ALL_LAYERS_UNMARKED  # noqa: E731
    return [
        pytest.param(*pair, id="-".join(pair), marks=() if quick(*pair) else slow)
        for pair in product(LAYERS, RULES)
    ]


@pytest.fixture(autouse=True)
def _seed():
    """In place of clearing Keras's session, which takes longer than a test: all seeds are here."""


def model_of(*stack, shape, draw=naive.grid, dtype="float32"):
    """A Sequential model with weights and biases of both signs."""
    model = keras.Sequential([layers.Input(shape, dtype=dtype), *stack])
    model.set_weights(naive.weights(model, np.random.default_rng(1), draw))
    return model


def lrp(model, x, weights, rule, **kwargs):
    kwargs = {"neuron_selection_mode": "weights", "keep_output_activation": True, **kwargs}
    analyzer = innvestigate.create_analyzer("lrp", model, rule=rule, **kwargs)
    return analyzer.analyze(x, weights)


def inputs_for(rule, shape):
    x = naive.samples(np.random.default_rng(2), *shape)
    return abs(x) if "x >= 0" in rule else x


def weights_for(model, x):
    return naive.grid(np.random.default_rng(3), *model(x).shape)


# The naive side itself


@pytest.mark.parametrize("name", LAYERS)
def test_naive_jacobian_is_the_layers(name):
    make, shape = LAYERS[name]
    model = model_of(make(), shape=shape)
    x = naive.samples(np.random.default_rng(2), *shape)
    naive.assert_close(model(x), naive.forward(naive.affine_maps(model.layers[0], shape), x), 1e-6)


# Rules in layers


@pytest.mark.parametrize(("name", "rule"), _pairs())
def test_rule_in_layer(name, rule):
    make, shape = LAYERS[name]
    model = model_of(make(), layers.Activation("softplus"), shape=shape)
    maps = naive.affine_maps(model.layers[0], shape)
    x = inputs_for(rule, shape)
    x = x + 0.1 if NAME == "jax" and (name, rule) in OF_ROUNDING else x
    w = weights_for(model, x)
    ours, formula = RULES[rule]
    r = naive.flat(w) * softplus(naive.forward(maps, x))
    expected = naive.backward(maps, formula, x, r)
    assert np.any(expected)
    naive.assert_close(lrp(model, x, w, ours), expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "name", ["dense", *(pytest.param(n, marks=slow) for n in ("conv2d same", "depthwise2d"))]
)
def test_rule_behind_relu(name, rule):
    """Where inputs are known to be >= 0 the formulas stay the same."""
    make, shape = LAYERS[name]
    model = model_of(layers.ReLU(), make(), layers.Activation("softplus"), shape=shape)
    maps = naive.affine_maps(model.layers[1], shape)
    x = inputs_for(rule, shape)
    w = weights_for(model, x)
    ours, formula = RULES[rule]
    rectified = naive.plus(x)
    r = naive.flat(w) * softplus(naive.forward(maps, rectified))
    naive.assert_close(lrp(model, x, w, ours), naive.backward(maps, formula, rectified, r))


# What can make numbers negative again after a ReLU.
SIGN_CHANGES = {
    "subtract a constant": lambda y: y - 1.0,
    "times a negative": lambda y: y * -0.5,
    "negative": lambda y: -y,
    "rescaling": layers.Rescaling(1.0, offset=-0.5),
    "padding with negatives": lambda y: ops.pad(
        y, ((0, 0), (1, 1), (0, 0), (0, 0)), "constant", -1
    ),
    "where": lambda y: ops.where(y > 0.5, y, -1.0),
    "minimum with a negative": lambda y: ops.minimum(y, -0.5),
    "subtract tensors": lambda y: layers.Subtract()([y, ops.flip(y, 1)]),
    "an array of summands": lambda y: y + np.array([-1.0, 1.0], "float32"),
    "layer norm": layers.LayerNormalization(),
    "batch norm": layers.BatchNormalization(moving_mean_initializer="ones"),
    "bicubic upsampling": layers.UpSampling2D(2, interpolation="bicubic"),
    "bicubic resizing": layers.Resizing(7, 7, interpolation="bicubic"),
    "linear": layers.Dense(2, kernel_initializer=keras.initializers.Constant(-0.5)),
}


@pytest.mark.parametrize("name", SIGN_CHANGES)
def test_negative_inputs_behind_relu_are_noticed(name):
    """α-β separates x⁺ from x⁻ unless x >= 0 is certain: here it is not."""
    inputs, conv = layers.Input((4, 4, 2)), layers.Conv2D(3, 2)
    between = layers.Identity(name="between")(SIGN_CHANGES[name](layers.ReLU()(inputs)))
    model = keras.Model(inputs, conv(between))
    conv.set_weights(naive.weights(conv, np.random.default_rng(1)))
    x = inputs_for("", (4, 4, 2))
    at = np.asarray(keras.Model(inputs, between)(x), "float64")
    assert at.min() < 0
    w = weights_for(model, x)
    maps = naive.affine_maps(conv, at.shape[1:])
    ours, formula = RULES["alpha 2"]
    expected = naive.backward(maps, formula, at, naive.flat(w) * naive.forward(maps, at))
    naive.assert_close(lrp(model, x, w, ours, layers=["between"])["between"], expected)


# Special settings of rules


@pytest.mark.parametrize("name", ["dense, rank 3", "conv2d same strided", "batch norm, rank 4"])
def test_bounds_may_be_arrays(name):
    """The bounded rule with one low and one high for each channel."""
    make, shape = LAYERS[name]
    model = model_of(make(), layers.Activation("softplus"), shape=shape)
    maps = naive.affine_maps(model.layers[0], shape)
    steps = np.arange(shape[-1]) / 2
    low, high = -2 + steps, 3 - steps
    x = inputs_for("", shape)
    w = weights_for(model, x)
    r = naive.flat(w) * softplus(naive.forward(maps, x))
    tiled = {"low": np.tile(low, prod(shape[:-1])), "high": np.tile(high, prod(shape[:-1]))}
    expected = naive.backward(maps, partial(naive.bounded, **tiled), x, r)
    naive.assert_close(lrp(model, x, w, rules.ZBox(low, high)), expected)


def test_array_bounds_of_an_inner_layer():
    """Behind a ReLU the bounds are those of the layer's own input."""
    low, high = np.array([-1.0, 0.0, 0.5]), np.array([1.0, 2.0, 3.0])
    model = model_of(layers.ReLU(), layers.Dense(4), layers.Activation("softplus"), shape=(3,))
    maps = naive.affine_maps(model.layers[1], (3,))
    x = inputs_for("", (3,))
    w = weights_for(model, x)
    r = naive.flat(w) * softplus(naive.forward(maps, naive.plus(x)))
    expected = naive.bounded(*maps, naive.plus(x), r, low, high)
    naive.assert_close(lrp(model, x, w, rules.ZBox(low, high)), expected)


def test_bounds_go_through_padding_and_rescaling():
    """Bounds of the model's input reach a first layer as x does: negated here, zero if padded."""
    preprocess = [layers.Rescaling(-2.0, offset=0.5), layers.ZeroPadding2D(1), layers.Conv2D(3, 2)]
    model = model_of(*preprocess, layers.Activation("softplus"), shape=(3, 4, 2))
    maps = naive.affine_maps(model.layers[2], (5, 6, 2))
    x = inputs_for("", (3, 4, 2))
    w = weights_for(model, x)
    padded = lambda y: np.pad(-2 * y + 0.5, ((0, 0), (1, 1), (1, 1), (0, 0)))  # noqa: E731
    at, low, high = (
        padded(x),
        *(padded(np.full_like(x[:1], bound)).ravel() for bound in (1.5, -1.5)),
    )
    r = naive.flat(w) * softplus(naive.forward(maps, at))
    expected = naive.backward(maps, partial(naive.bounded, low=low, high=high), at, r)
    expected = expected.reshape(at.shape)[:, 1:-1, 1:-1]
    naive.assert_close(lrp(model, x, w, rules.ZBox(-1.5, 1.5)), expected)


@pytest.mark.parametrize("bounds", [(0, 1.5), (-1.5, 0), (np.zeros(5), 2)])
def test_bounds_of_mixed_number_types(bounds):
    model = model_of(layers.Dense(3), shape=(5,))
    maps = naive.affine_maps(model.layers[0], (5,))
    x = inputs_for("", (5,))
    w = weights_for(model, x)
    expected = naive.bounded(*maps, x, w * naive.forward(maps, x), *bounds)
    naive.assert_close(lrp(model, x, w, rules.ZBox(*bounds)), expected)


def test_epsilon_by_default_and_the_sign_of_zero():
    """ε is 1e-7, and an output of exactly zero counts as positive."""
    model = model_of(layers.Dense(1, activation="sigmoid"), shape=(2,))
    model.set_weights([np.array([[1.0], [-1.0]]), np.zeros(1)])
    relevance = lrp(model, np.ones((1, 2)), 1.0, rules.Epsilon())
    naive.assert_close(relevance, 0.5 * np.array([[1, -1]]) / 1e-7)


@pytest.mark.parametrize("tiny", [1e-30, 1e-37])
def test_parts_too_small_to_divide_by_count_as_zero(tiny):
    model = keras.Sequential([layers.Input((2,)), layers.Dense(1), layers.Dense(1)])
    for layer, kernel in zip(model.layers, ([[1.0], [1.0]], [[1e4]]), strict=True):
        layer.set_weights([np.array(kernel), np.zeros(1)])
    relevance = innvestigate.create_analyzer("lrp.alpha_2_beta_1", model).analyze(
        np.array([[1.0, -tiny]])
    )
    np.testing.assert_allclose(relevance[0, 0], 4e4, rtol=1e-6)
    assert -2e4 <= relevance[0, 1] <= 0


@pytest.mark.parametrize("rule", RULES)
def test_zero_denominators_drop_relevance(rule):
    """No NaN and no share of relevance where there is nothing to divide by.

    The columns of W: z = 0 by cancellation, W = 0, no negative part, no positive part, all there.
    """
    model = model_of(layers.Dense(5, activation="sigmoid"), shape=(2,))
    kernel = np.array([[1, 0, 1, -1, 2], [-1, 0, 0.5, -2, -1]])
    model.set_weights([kernel, np.array([0, 0, 0, 0, 0.5])])
    maps = naive.affine_maps(model.layers[0], (2,))
    x = np.array([[1.0, 1], [0, 0], [0, 1], [0.5, 0], [1, 0.5]])
    r = 1 / (1 + np.exp(-naive.forward(maps, x)))
    ours, formula = RULES[rule]
    naive.assert_close(lrp(model, x, 1.0, ours), formula(*maps, x, r))


# Number types


@pytest.mark.parametrize("rule", ["z", "epsilon, no bias", "alpha 2", "gamma", "flat", "box"])
@pytest.mark.parametrize("name", ["dense", pytest.param("conv2d same strided", marks=slow)])
def test_float64_model(name, rule):
    """A float64 model is analyzed in float64: to ten digits, on numbers that are no halves."""
    make, shape = LAYERS[name]
    stack = make(dtype="float64"), layers.Activation("tanh", dtype="float64")
    model = model_of(*stack, shape=shape, draw=signed, dtype="float64")
    maps = naive.affine_maps(model.layers[0], shape)
    x = signed(np.random.default_rng(2), 4, *shape)
    w = weights_for(model, x)
    ours, formula = RULES[rule]
    relevance = lrp(model, x, w, ours)
    assert relevance.dtype == "float64"
    r = naive.flat(w) * np.tanh(naive.forward(maps, x))
    naive.assert_close(relevance, naive.backward(maps, formula, x, r), 1e-10)


def test_float64_weights_of_a_float64_model():
    model = model_of(layers.Dense(2, dtype="float64"), shape=(3,), draw=signed, dtype="float64")
    maps = naive.affine_maps(model.layers[0], (3,))
    x, w = np.ones((1, 3)), np.array([[1 / 3, 0.1]])
    expected = naive.z(*maps, x, w * naive.forward(maps, x))
    naive.assert_close(lrp(model, x, w, rules.Z()), expected, 1e-10)


def test_sequences_of_free_length():
    """A size that only the data tells."""
    model = model_of(layers.Dense(3), shape=(None, 4))
    x = inputs_for("", (2, 4))
    w = weights_for(model, x)
    maps = naive.affine_maps(model.layers[0], (2, 4))
    expected = naive.z(*maps, naive.flat(x), naive.flat(w) * naive.forward(maps, x))
    naive.assert_close(lrp(model, x, w, rules.Z()), expected)


def test_lora_is_part_of_the_kernel():
    model = model_of(layers.Dense(4), shape=(3,))
    model.layers[0].enable_lora(2)
    model.set_weights(naive.weights(model, np.random.default_rng(1)))
    maps = naive.affine_maps(model.layers[0], (3,))
    x = inputs_for("", (3,))
    naive.assert_close(model(x), naive.forward(maps, x))
    expected = naive.alpha_beta(*maps, x, naive.forward(maps, x), 2, 1)
    naive.assert_close(lrp(model, x, 1.0, rules.AlphaBeta(2, 1)), expected)


# One function written in several ways


@pytest.mark.parametrize("rule", ["alpha 2", pytest.param("epsilon", marks=slow)])
@pytest.mark.parametrize(
    "name",
    ["dense", *(pytest.param(n, marks=slow) for n in ("conv2d", "separable2d", "transposed2d"))],
)
def test_relu_fused_or_separate(name, rule):
    """A fused ReLU, a ReLU layer, an Activation and `ops.relu` all hand relevance on."""
    make, shape = LAYERS[name]
    inputs = layers.Input(shape)
    ways = [
        make(activation="relu")(inputs),
        layers.ReLU()(make()(inputs)),
        layers.Activation("relu")(make()(inputs)),
        ops.relu(make()(inputs)),
    ]
    models = [keras.Model(inputs, y) for y in ways]
    values = naive.weights(models[0], np.random.default_rng(1))
    x = inputs_for("", shape)
    w = weights_for(models[0], x)
    maps, (ours, formula) = None, RULES[rule]
    for model in models:
        model.set_weights(values)
        maps = maps or naive.affine_maps(model.layers[1], shape)
        r = naive.flat(w) * naive.plus(naive.forward(maps, x))
        naive.assert_close(lrp(model, x, w, ours), naive.backward(maps, formula, x, r))


class Raw(layers.Layer):
    """A layer that calls an operation on its own kernel and bias."""

    def __init__(self, operation, kernel, bias):
        super().__init__()
        self.operation = operation
        self.kernel = self.add_weight(shape=kernel.shape)
        self.bias = self.add_weight(shape=bias.shape)

    def call(self, x):
        return self.operation(x, self.kernel, self.bias)


# Operations, and the entry of LAYERS that they spell out.
OPERATIONS = {
    "matmul": (lambda x, W, b: ops.matmul(x, W) + b, "dense"),
    "@": (lambda x, W, b: x @ W + b, "dense, rank 3"),
    "dot": (lambda x, W, b: ops.add(b, ops.dot(x, W)), "dense"),
    "einsum": (lambda x, W, b: ops.einsum("...i,ij->...j", x, W) + b, "dense, rank 3"),
    "tensordot": (lambda x, W, b: ops.tensordot(x, W, 1) + b, "dense, rank 3"),
    "kernel first": (lambda x, W, b: ops.matmul(W, x) + b, "einsum across"),
    "einsum kernel first": (lambda x, W, b: ops.einsum("db,abc->adc", W, x) + b, "einsum across"),
    "conv": (lambda x, W, b: ops.conv(x, W, (2, 3), padding="same") + b, "conv2d same strided"),
    "depthwise": (lambda x, W, b: ops.depthwise_conv(x, W) + b, "depthwise2d"),
    "transposed": (
        lambda x, W, b: ops.conv_transpose(x, W, 2, padding="same") + b,
        "transposed2d same",
    ),
}


@pytest.mark.parametrize("rule", ["z", "flat", "alpha 2", "gamma", "box"])
@pytest.mark.parametrize(
    "name", [pytest.param(o, marks=() if o == "matmul" else slow) for o in OPERATIONS]
)
def test_raw_operation_is_a_layer(name, rule):
    """A raw operation on a kernel, plus a bias, is treated as the layer of the same function."""
    operation, layer = OPERATIONS[name]
    make, shape = LAYERS[layer]
    twin = model_of(make(), shape=shape).layers[0]
    kernel, bias = twin.get_weights()
    raw = Raw(operation, kernel, bias)
    model = keras.Sequential([layers.Input(shape), raw, layers.Activation("softplus")])
    raw.set_weights([kernel, bias])
    maps = naive.affine_maps(twin, shape)
    x = inputs_for(rule, shape)
    w = weights_for(model, x)
    ours, formula = RULES[rule]
    r = naive.flat(w) * softplus(naive.forward(maps, x))
    naive.assert_close(lrp(model, x, w, ours), naive.backward(maps, formula, x, r))


# Folding BatchNormalization. Numbers are no halves any more: rules that divide by a signed sum
# without the bias, which could come close to zero, stay out of the list. For all others R / z is
# well conditioned: R is |weights| * |tanh(z)|, of one sign so that no sum of it cancels either.

FOLD_RULES = ["z", "epsilon", "w²", "flat", "alpha 2", "z+", "gamma", "alpha-beta of x+", "box"]
norm = layers.BatchNormalization
FOLDS = {
    "dense → bn": (lambda: [layers.Dense(4), norm()], (3,)),
    "bn → dense": (lambda: [norm(), layers.Dense(4)], (3,)),
    "conv → bn": (lambda: [layers.Conv2D(3, 2, padding="same"), norm()], (3, 4, 2)),
    "bn → conv": (lambda: [norm(), layers.Conv2D(3, 2, strides=2)], (4, 5, 2)),
    "depthwise → bn": (
        lambda: [layers.DepthwiseConv2D(2, depth_multiplier=2), norm()],
        (3, 4, 2),
    ),
    "transposed → bn": (lambda: [layers.Conv2DTranspose(3, 2, strides=2), norm()], (2, 3, 2)),
    "no bias → bn": (lambda: [layers.Conv1D(3, 2, use_bias=False), norm()], (4, 2)),
    "causal → bn": (lambda: [layers.Conv1D(3, 2, padding="causal"), norm()], (4, 2)),
    "rank 3 → bn": (lambda: [layers.Dense(4), norm(axis=2)], (2, 3)),
    "plain bn → dense": (
        lambda: [norm(scale=False, center=False), layers.Dense(4, use_bias=False)],
        (3, 2),
    ),
    "bn → conv1d": (lambda: [norm(), layers.Conv1D(3, 2, dilation_rate=2)], (4, 2)),
    "bn → conv3d": (lambda: [norm(), layers.Conv3D(2, 2, use_bias=False)], (2, 3, 2, 2)),
    "bn → dense → bn": (lambda: [norm(), layers.Dense(4), norm()], (3,)),
    "dense → bn → bn": (lambda: [layers.Dense(4), norm(), norm()], (3,)),
}


def check_folded(stack, shape, rule, merge):
    """The rule in a folded stack of layers equals its formula on `merge(maps of the layers)`."""
    model = model_of(*stack, layers.Activation("tanh"), shape=shape, draw=signed)
    maps = merge([naive.affine_maps(layer, layer.input.shape[1:]) for layer in stack])
    x = inputs_for(rule, shape)
    w = abs(weights_for(model, x)) * np.sign(np.array(model(x)))
    ours, formula = RULES[rule]
    r = abs(naive.flat(w) * np.tanh(naive.forward(maps, x)))
    expected = naive.backward(maps, formula, x, r)
    naive.assert_close(lrp(model, x, w, ours, fold_batch_norm=True), expected)


@pytest.mark.parametrize("rule", FOLD_RULES)
@pytest.mark.parametrize(
    "name", [pytest.param(f, marks=() if f == "dense → bn" else slow) for f in FOLDS]
)
def test_rule_in_folded_layers(name, rule):
    """Folded, the layers are one: the rule sees the merged kernel and bias."""
    make, shape = FOLDS[name]
    one = lambda maps: [reduce(naive.Affine.then, [layer for (layer,) in maps])]  # noqa: E731
    check_folded(make(), shape, rule, one)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["separable", "grouped"])
def test_rule_in_folded_convolution_of_another_kind(kind):
    """A BatchNormalization merges into the pointwise part of a separable convolution."""
    conv = {
        "separable": layers.SeparableConv2D(3, 2, depth_multiplier=2),
        "grouped": layers.Conv2D(4, 2, groups=2),
    }[kind]
    merge = lambda maps: [*maps[0][:-1], maps[0][-1].then(*maps[1])]  # noqa: E731
    check_folded([conv, norm()], (3, 4, 2), "alpha 2", merge)


def fold(model):
    """The model's graph, folded, and how many BatchNormalizations are left as their own step."""
    graph = trace(model)
    graph = fold_batch_norm(split(graph))
    graph.check()
    own = [step for step in graph.steps if "BatchNorm" in type(step.layer).__name__]
    return graph, len(own)


@pytest.mark.parametrize("name", FOLDS)
def test_folding_keeps_the_function(name):
    make, shape = FOLDS[name]
    model = model_of(*make(), shape=shape, draw=signed)
    graph, left = fold(model)
    x = inputs_for("", shape).astype("float32")
    assert left == 0
    naive.assert_close(run(graph, [ops.convert_to_tensor(x)], graph.flat_outputs)[0], model(x))


def test_folding_concerns_one_call_of_a_shared_layer():
    a, b = layers.Input((3,)), layers.Input((3,))
    shared = layers.Dense(4)
    model = keras.Model([a, b], layers.Concatenate()([norm()(shared(a)), shared(b)]))
    model.set_weights(naive.weights(model, np.random.default_rng(1), signed))
    graph, left = fold(model)
    xs = [ops.convert_to_tensor(inputs_for("", (3,)).astype("float32"))] * 2
    assert left == 0
    naive.assert_close(run(graph, xs, graph.flat_outputs)[0], model(xs))


def _read_twice(inputs):
    y = layers.Dense(3)(inputs)
    return layers.Add()([norm()(y), layers.ReLU()(y)])


def _norm_read_twice(inputs):
    y = norm()(inputs)
    return layers.Add()([layers.Dense(3)(y), y])


UNFOLDED = {
    "padded": (lambda x: layers.Conv2D(2, 2, padding="same")(norm()(x)), (3, 3, 2)),
    "depthwise": (lambda x: layers.DepthwiseConv2D(2)(norm()(x)), (3, 3, 2)),
    "grouped": (lambda x: layers.Conv2D(4, 2, groups=2)(norm()(x)), (3, 3, 4)),
    "causal": (lambda x: layers.Conv1D(2, 2, padding="causal")(norm()(x)), (4, 2)),
    "activation between": (lambda x: norm()(layers.Dense(3, activation="relu")(x)), (3,)),
    "other axis": (lambda x: norm(axis=1)(layers.Dense(3)(x)), (3, 4)),
    "other axis before": (lambda x: layers.Dense(3)(norm(axis=1)(x)), (3, 4)),
    "einsum": (lambda x: norm()(layers.EinsumDense("ab,bc->ac", 3)(x)), (4,)),
    "norm read twice": (_norm_read_twice, (3,)),
    "read twice": (_read_twice, (4,)),
}


@pytest.mark.parametrize(
    "name", ["padded", "read twice", *(pytest.param(n, marks=slow) for n in list(UNFOLDED)[1:-1])]
)
def test_what_does_not_fold_stays(name):
    call, shape = UNFOLDED[name]
    inputs = layers.Input(shape)
    model = keras.Model(inputs, call(inputs))
    model.set_weights(naive.weights(model, np.random.default_rng(1), signed))
    assert fold(model)[1] == 1
    x = inputs_for("", shape)
    ours = rules.AlphaBeta(2, 1)
    expected = lrp(model, x, 1.0, ours)
    naive.assert_close(lrp(model, x, 1.0, ours, fold_batch_norm=True), expected, 1e-6)


@pytest.mark.parametrize("output", [0, 1, 2])
def test_folding_spares_the_output(output):
    """In a model with several outputs, one that is explained is not merged away."""
    inputs = layers.Input((3,))
    normed = norm()(inputs)
    dense = layers.Dense(4)(normed)
    model = keras.Model(inputs, [normed, dense, norm()(dense)])
    model.set_weights(naive.weights(model, np.random.default_rng(1), signed))
    x = inputs_for("", (3,))
    alone = keras.Model(inputs, model.outputs[output])
    ours = rules.AlphaBeta(2, 1)
    expected = lrp(alone, x, 1.0, ours, fold_batch_norm=True)
    found = lrp(model, x, 1.0, ours, fold_batch_norm=True, output=output)
    naive.assert_close(found, expected, 1e-6)
