"""What holds for every network: properties of the methods on random architectures.

Where a rule's denominator is exactly zero, relevance is dropped, never NaN. A linear unit with
pre-activation z = p + n + b (p and n the sums of its positive and negative contributions) drops
the relevance that arrives there

- under Z and Gamma if z = 0;
- under WSquare if all its weights are zero, under Flat if it is connected to padding only;
- under AlphaBeta the share alpha if p + max(b, 0) = 0, the share -beta if n + min(b, 0) = 0;
- under Epsilon never: the share epsilon / (|z| + epsilon) is absorbed instead.

Averages and sums of branches drop it if z = 0, whatever the rule. Otherwise only biases absorb
relevance. `KEPT` states this in formulas, and the tests count what is lost, unit by unit.
"""

from contextlib import contextmanager
from functools import cache
from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops, tree

import innvestigate
from tests.frameworks import examples, gradients, with_gradient
from tests.models import MODELS, TOKEN_MODELS, build, randomize
from tests.test_table import (
    REQUIRED,
    analyzer,
    assert_close,
    silence,
    slow_but,
    without_softmax,
)

pytestmark = pytest.mark.usefixtures("step_by_step")

# --- Random networks ------------------------------------------------------------------------------

ANY = st.sampled_from(["none", "fused", "layer"])
RECTIFIED = st.sampled_from(["fused", "layer"])
PADDING = st.sampled_from(["same", "valid"])
STRETCH = st.sampled_from([{}, {"strides": 2}, {"strides": (1, 2)}, {"dilation_rate": 2}])


def part(kind, **options):
    """A strategy for the description of one part of a network."""
    return st.fixed_dictionaries({"kind": st.just(kind), **options})


def parts(relu, sum_relu):
    """Strategies for a first convolution, further parts of a CNN, and a dense layer."""
    size = st.integers(1, 3)
    convolution = part(
        "convolution",
        units=st.integers(1, 4),
        kernel=st.tuples(size, size),
        padding=PADDING,
        stretch=STRETCH,
        relu=relu,
    )
    pooling = part("maximum", size=size, padding=PADDING) | part(
        "average", size=size, padding=PADDING
    )
    common = part("norm", relu=relu) | part("residual", relu=sum_relu)
    dense = part("dense", units=st.integers(1, 6), relu=relu)
    return convolution, convolution | pooling | common, dense, dense | common


@st.composite
def networks(draw, relu=ANY, sum_relu=ANY):
    """The description of a random network and its input, a plain dict.

    Args:
        relu: Where rectifiers are: none, fused into the layer before, or as a layer.
        sum_relu: The same for residual blocks; "fused" is inside, "layer" after the sum.
    """
    size, convolutional = st.integers(1, 6), draw(st.booleans())
    convolution, any_image, dense, any_vector = parts(relu, sum_relu)
    if convolutional:
        shape, first, others = st.tuples(size, size, st.integers(1, 3)), convolution, any_image
    else:
        shape, first, others = st.tuples(size), dense, any_vector
    return {
        "shape": draw(shape),
        "parts": [draw(first), *draw(st.lists(others, max_size=3))],
        "units": draw(st.integers(1, 4)),
        "signs": draw(st.sampled_from(["any", "any", "any", "positive", "negative"])),
        "input": draw(st.sampled_from(["any", "nonnegative", "sparse", "zero"])),
        "seed": draw(st.integers(0, 99)),
    }


@contextmanager
def double():
    """All layers that are made inside compute in float64."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def construct(network, bias=False, relu="relu"):
    """The model of a description, with or without biases and any function as its rectifier."""
    with double():
        x = y = layers.Input(network["shape"], dtype="float64")
        for description in network["parts"]:
            y = _append(y, relu, **description)
        y = layers.Flatten()(y) if len(y.shape) > 2 else y
        model = keras.Model(x, layers.Dense(network["units"])(y))
    return _weigh(model, network, bias)


def _append(y, function, kind, relu="none", **options):
    fused = function if relu == "fused" else None
    y = BLOCKS[kind](y, fused, **options)
    if relu != "layer":
        return y
    return layers.ReLU()(y) if function == "relu" else layers.Activation(function)(y)


def _convolution(y, relu, units, kernel, padding, stretch):
    reach = (np.array(kernel) - 1) * stretch.get("dilation_rate", 1) + 1
    padding = "same" if np.any(reach > y.shape[1:3]) else padding
    return layers.Conv2D(units, kernel, padding=padding, activation=relu, **stretch)(y)


def _pooling(layer):
    def pool(y, relu, size, padding):
        return layer(size, padding="same" if size > min(y.shape[1:3]) else padding)(y)

    return pool


def _norm(y, relu):
    y = layers.BatchNormalization()(y)
    return y if relu is None else layers.Activation(relu)(y)


def _residual(y, relu):
    image, units = len(y.shape) > 2, y.shape[-1]
    new = layers.Conv2D(units, 3, padding="same") if image else layers.Dense(units)
    new.activation = keras.activations.get(relu)
    return layers.Add()([y, new(y)])


BLOCKS = {
    "dense": lambda y, relu, units: layers.Dense(units, relu)(y),
    "convolution": _convolution,
    "maximum": _pooling(layers.MaxPooling2D),
    "average": _pooling(layers.AveragePooling2D),
    "norm": _norm,
    "residual": _residual,
}


def _weigh(model, network, bias):
    """Random weights of the signs that are asked for."""
    random = np.random.default_rng(network["seed"])
    sign = {"any": lambda w: w, "positive": np.abs, "negative": lambda w: -np.abs(w)}
    randomize(model, network["seed"])
    for variable in model.variables:
        if variable.name == "kernel":
            variable.assign(sign[network["signs"]](random.normal(size=variable.shape)))
        elif not bias and variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(np.zeros(variable.shape))
    return model


def samples(network):
    """Three samples; under "zero" the first is zero everywhere, under "sparse" half of each."""
    random = np.random.default_rng(network["seed"] + 1)
    x = random.normal(size=(3, *network["shape"]))
    if network["input"] == "nonnegative":
        return np.abs(x)
    if network["input"] == "sparse":
        return np.where(random.random(x.shape) < 0.5, 0, x)
    return x * np.arange(3).reshape(3, *[1] * (x.ndim - 1)) if network["input"] == "zero" else x


def explain(method, model, x, selection=None, mode="max_activation", **kwargs):
    """The result of a method that warns of nothing."""
    create = innvestigate.create_analyzer
    kwargs = {**REQUIRED.get(method, {}), **kwargs}
    with silence():
        return create(method, model, neuron_selection_mode=mode, **kwargs).analyze(x, selection)


def total(x):
    """The sum over each sample."""
    return np.array(x).reshape(len(x), -1).sum(1)


# --- Conservation ---------------------------------------------------------------------------------

EPSILON = 1e-3
RULES = {
    "lrp.z": {},
    "lrp.epsilon": {"epsilon": EPSILON},
    "lrp.gamma": {"gamma": 0.25},
    "lrp.flat": {},
    "lrp.w_square": {},
    "lrp.alpha_1_beta_0": {},
    "lrp.alpha_2_beta_1": {},
}


def ratio(a, b):
    """a / b, and 0 where b is exactly zero."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=b != 0)


def _kept_gamma(p, n, b, w):
    up, down = 1.25 * p + n, p + 1.25 * n
    positive = ratio(up, up + b + 0.25 * np.maximum(b, 0))
    negative = ratio(down, down + b + 0.25 * np.minimum(b, 0))
    return np.select([p + n + b > 0, p + n + b < 0], [positive, negative], 0)


def _kept_alpha_beta(alpha, beta):
    return lambda p, n, b, w: (
        alpha * ratio(p, p + np.maximum(b, 0)) - beta * ratio(n, n + np.minimum(b, 0))
    )


def _connected(p, n, b, w):
    return np.ones_like(p) * (w != 0).any(1)


KEPT = {
    "lrp.z": lambda p, n, b, w: ratio(p + n, p + n + b),
    "lrp.epsilon": lambda p, n, b, w: (
        (p + n) / (p + n + b + np.where(p + n + b < 0, -1, 1) * EPSILON)
    ),
    "lrp.gamma": _kept_gamma,
    "lrp.flat": _connected,
    "lrp.w_square": _connected,
    "lrp.alpha_1_beta_0": _kept_alpha_beta(1, 0),
    "lrp.alpha_2_beta_1": _kept_alpha_beta(2, 1),
}


def affine(layer):
    """A layer without its activation as a matrix (out, in) and a vector (out)."""
    config = {k: v for k, v in layer.get_config().items() if k != "activation"}
    bare, shape = type(layer).from_config(config), layer.input.shape[1:]
    bare.build(layer.input.shape)
    bare.set_weights(layer.get_weights())
    size = int(np.prod(shape))
    b = np.array(bare(np.zeros((1, *shape)))).reshape(1, -1)
    columns = np.array(bare(np.eye(size).reshape(size, *shape))).reshape(size, -1)
    return (columns - b).T, b[0]


def lost(method, layer, x, z, r):
    """The relevance of each sample that a layer is given and does not hand on.

    Args:
        method: The name of the method.
        layer: The layer.
        x: Its input.
        z: Its output.
        r: The relevance of its output.
    """
    r = r.reshape(len(r), -1)
    if isinstance(layer, (layers.AveragePooling2D, layers.Add)):
        return np.sum(r * (z.reshape(r.shape) == 0), 1)
    if not isinstance(layer, (layers.Dense, layers.Conv2D, layers.BatchNormalization)):
        return 0
    w, b = affine(layer)
    contributions = x.reshape(len(x), 1, -1) * w
    p, n = np.maximum(contributions, 0).sum(-1), np.minimum(contributions, 0).sum(-1)
    return np.sum(r * (1 - KEPT[method](p, n, b, w)), 1)


@pytest.mark.parametrize("bias", slow_but(True, [False, True]))
@pytest.mark.parametrize("method", slow_but("lrp.z", RULES))
@examples(20)
@given(network=networks())
def test_every_loss_of_relevance_is_accounted_for(method, bias, network):
    """Σ R(input) + Σ lost = y, the losses counted unit by unit from the weights."""
    model, x = construct(network, bias), samples(network)
    names = [layer.name for layer in model.layers[1:]]
    found = explain(method, model, x, layers=["input", *names], **RULES[method])
    inside = keras.Model(model.input, [[layer.input, layer.output] for layer in model.layers[1:]])
    losses, scale = 0, 1 + np.abs(found["input"]).sum()
    for layer, (into, out) in zip(model.layers[1:], inside(x), strict=True):
        r = found[layer.name]
        losses += lost(method, layer, np.array(into), np.array(out), r)
        scale += np.abs(r).sum()
    y = np.array(model(x)).max(1)
    np.testing.assert_allclose(total(found["input"]) + losses, y, rtol=0, atol=1e-9 * scale)


CONSERVING = ("lrp.z", "lrp.gamma", "lrp.epsilon")


@pytest.mark.parametrize("method", slow_but("lrp.z", CONSERVING))
@examples(10)
@given(network=networks())
def test_without_biases_nothing_is_lost(method, network):
    """Σ R = y whatever the network: a unit with z = 0 is given no relevance in the first place."""
    model, x = construct(network), samples(network)
    r = explain(method, model, x, **({"epsilon": 1e-15} if method == "lrp.epsilon" else {}))
    np.testing.assert_allclose(total(r), np.array(model(x)).max(1), atol=1e-9 * _scale(r))


def _ignores_input(part):
    kernel = part["kind"] in ("convolution", "maximum", "dense")
    return kernel and "dilation_rate" not in part.get("stretch", {})


@pytest.mark.parametrize("method", ["lrp.flat", "lrp.w_square"])
@examples(10)
@given(network=networks(), bias=st.booleans())
def test_rules_that_ignore_the_input_lose_nothing(method, bias, network):
    """Σ R = y, with biases too, unless averages or sums of branches share by the values, or a
    dilated kernel lies on padding alone.
    """
    network = {**network, "parts": [part for part in network["parts"] if _ignores_input(part)]}
    model, x = construct(network, bias), samples(network)
    r = explain(method, model, x)
    np.testing.assert_allclose(total(r), np.array(model(x)).max(1), atol=1e-9 * _scale(r))


@pytest.mark.parametrize("alpha", slow_but(2, [1, 2, 3.5]))
@examples(10)
@given(sizes=st.lists(st.integers(2, 6), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_alpha_beta_loses_nothing_where_both_parts_are_there(alpha, sizes, seed):
    """Σ R = y if each unit of an MLP has a positive and a negative contribution."""
    model, x = both_parts(sizes, seed)
    r = explain("lrp.alpha_beta", model, x, alpha=alpha)
    np.testing.assert_allclose(total(r), np.array(model(x)).max(1), atol=1e-9 * _scale(r))


def both_parts(sizes, seed):
    """A tanh network and a sample at which each unit has contributions of both signs."""
    random = np.random.default_rng(seed)
    x = h = random.normal(size=(1, sizes[0]))
    with double():
        stack = [layers.Dense(size, "tanh", use_bias=False) for size in sizes[1:]]
        model = keras.Sequential([layers.Input(x.shape[1:], dtype="float64"), *stack])
    for layer in stack:
        w = np.abs(random.normal(size=layer.kernel.shape)) * np.sign(h[0])[:, None]
        w[0] *= -1
        layer.kernel.assign(w * random.choice([-1, 1], size=w.shape[1]))
        h = np.array(layer(h))
    return model, x


def _scale(r):
    return 1 + np.abs(r).sum()


def stack(*weights):
    """A float64 model of dense layers with the given kernels and biases."""
    model = keras.Sequential([layers.Input((len(weights[0][0]),), dtype="float64")])
    for kernel, bias in weights:
        model.add(layers.Dense(len(bias), dtype="float64"))
        model.layers[-1].set_weights([np.array(kernel, "float64"), np.array(bias, "float64")])
    return model


HIDDEN_ZERO = {
    "Z": (0, 0),
    "ZIgnoreBias": (0, 0),
    "Gamma": (0, 0),
    innvestigate.rules.Epsilon(0.5): (6, -6),
    "Alpha1Beta0": (3, 0),
    "Alpha2Beta1": (6, -3),
    "ZPlus": (3, 0),
    "ZPlusFast": (3, 0),
    "Flat": (1.5, 1.5),
    "WSquare": (1.5, 1.5),
    innvestigate.rules.ZBox(-1, 2): (2, 1),
}


@pytest.mark.parametrize(("rule", "expected"), HIDDEN_ZERO.items())
def test_relevance_that_meets_a_zero(rule, expected):
    """A unit with z = 1 - 1 is given R = 3 by the Flat rule above it."""
    model = stack(([[1], [-1]], [0]), ([[1]], [3]))
    rules = [(lambda layer: layer is model.layers[-1], "Flat"), (lambda layer: True, rule)]
    np.testing.assert_allclose(explain("lrp", model, np.ones((1, 2)), rule=rules), [expected])


ONE_UNIT = [
    ("lrp.z", (1, -3), 0, (1, -3)),
    ("lrp.z", (1, -3), 1, (1, -3)),
    ("lrp.z_IB", (1, -3), 1, (0.5, -1.5)),
    ("lrp.w_square", (1, -3), 0, (-0.2, -1.8)),
    ("lrp.flat", (1, -3), 0, (-1, -1)),
    ("lrp.z_plus", (1, -3), 3, (1, 0)),
    ("lrp.z", (0, 0), 1, (0, 0)),
    ("lrp.z_IB", (0, 0), 1, (0, 0)),
    ("lrp.w_square", (0, 0), 1, (0, 0)),
    ("lrp.flat", (0, 0), 1, (0.5, 0.5)),
    ("lrp.alpha_1_beta_0", (-1, -3), 0, (0, 0)),
    ("lrp.alpha_2_beta_1", (-1, -3), 0, (1, 3)),
    ("lrp.alpha_2_beta_1", (1, 3), 0, (2, 6)),
    ("lrp.alpha_2_beta_1", (1, 3), -1, (1.5, 4.5)),
    ("lrp.alpha_2_beta_1", (1, 2), 1, (2, 4)),
    ("lrp.alpha_2_beta_1_IB", (1, 2), 1, (8 / 3, 16 / 3)),
    ("lrp.gamma", (0, 0), 1, (0, 0)),
    ("lrp.gamma", (3, -1), 0, (2 * 3.75 / 2.75, -2 / 2.75)),
    ("lrp.gamma", (1, -3), 0, (2 / 2.75, -2 * 3.75 / 2.75)),
]


@pytest.mark.parametrize(("method", "kernel", "bias", "expected"), ONE_UNIT)
def test_relevance_of_one_unit(method, kernel, bias, expected):
    """Results worked out by hand for x = (1, 1)."""
    model = stack((np.array(kernel)[:, None], [bias]))
    np.testing.assert_allclose(explain(method, model, np.ones((1, 2))), [expected], rtol=1e-12)


@examples(10)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_biases_absorb_what_is_missing_under_the_z_rule(sizes, seed):
    """An MLP, compared number by number with the z-rule in a few lines of numpy."""
    random = np.random.default_rng(seed)
    shapes = list(pairwise(sizes))
    model = stack(*((random.normal(size=shape), random.normal(size=shape[1])) for shape in shapes))
    x, absorbed = random.normal(size=(3, sizes[0])), 0
    values = [x]
    for layer in model.layers:
        values.append(np.array(layer(values[-1])))
    r = values[-1] * (values[-1] == values[-1].max(1, keepdims=True))
    for layer, into, z in zip(model.layers[::-1], values[-2::-1], values[:0:-1], strict=True):
        absorbed += np.sum(np.array(layer.bias) * r / z, 1)
        r = into * (r / z @ np.array(layer.kernel).T)
    found = explain("lrp.z", model, x)
    np.testing.assert_allclose(found, r, atol=1e-9 * _scale(r))
    np.testing.assert_allclose(values[-1].max(1) - total(found), absorbed, atol=1e-9 * _scale(r))


# --- The gradient family --------------------------------------------------------------------------

FLOAT_MODELS = [name for name in MODELS if name not in (*TOKEN_MODELS, "uint8")]
GRADIENTS = {
    "gradient": lambda x, g: g,
    "gradient.baseline": lambda x, g: g,
    "saliency": lambda x, g: np.abs(g),
    "input_t_gradient": lambda x, g: x * g,
}


def taped(model, x):
    """The gradient of each sample's largest output, by the framework alone."""
    return gradients(lambda x: ops.max(ops.reshape(model(x), (3, -1)), axis=1), x)


@cache
def taped_logit(name):
    model = without_softmax(name)
    return taped(lambda x: _chosen(name, model(x)), build(name)[1])


def _chosen(name, y):
    return y[1] if name == "two_outputs" else y


@pytest.mark.parametrize("model", FLOAT_MODELS)
@pytest.mark.parametrize("method", slow_but("gradient", GRADIENTS))
def test_gradients_are_those_of_a_tape(method, model):
    x = build(model)[1]
    expected = tree.map_structure(GRADIENTS[method], x, taped_logit(model))
    assert_close(analyzer(method, model).analyze(x), expected, 1e-6)


@pytest.mark.parametrize("method", GRADIENTS)
def test_gradients_of_a_probability_are_those_of_a_tape(method):
    model, x = build("cnn")
    found = explain(method, model, x, keep_output_activation=True)
    assert_close(found, GRADIENTS[method](x, taped(model, x)), 1e-6)


RECTIFIERS = {  # the signal is rectified instead on the way back, or as well
    "deconvnet": with_gradient(ops.relu, lambda x, signal: ops.relu(signal)),
    "guided_backprop": with_gradient(
        ops.relu, lambda x, signal: ops.where(x > 0, ops.relu(signal), 0.0)
    ),
    "gradient": ops.relu,
}


@pytest.mark.parametrize("method", slow_but("guided_backprop", RECTIFIERS))
@examples(10)
@given(network=networks(), bias=st.booleans())
def test_rectifier_methods_are_gradients_of_other_rectifiers(method, bias, network):
    model, other = construct(network, bias), construct(network, bias, RECTIFIERS[method])
    x = samples(network)
    assert_close(explain(method, model, x), taped(other, x), 1e-9)


@examples(10)
@given(network=networks())
def test_lrp_z_is_input_times_gradient(network):
    """On piecewise linear networks without biases."""
    model, x = construct(network), samples(network)
    assert_close(explain("lrp.z", model, x), x * taped(model, x), 1e-9)


# --- Samples and weights --------------------------------------------------------------------------


def test_noise_is_drawn_sample_by_sample():
    """The noise of a seed does not depend on the batches."""
    model, x = build("cnn_bn")
    first, second = (innvestigate.create_analyzer("random", model, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.analyze(x), second.analyze(x, batch_size=1))
    noise = innvestigate.create_analyzer("random", model, stddev=3, seed=1).analyze(x)
    assert abs(noise.mean()) < 0.5
    assert 2.5 < noise.std() < 3.5


LINEAR = ["gradient", "lrp.z", "lrp.epsilon", "lrp.alpha_2_beta_1", "lrp.gamma"]


@pytest.mark.parametrize("model", ["mlp", "cnn_bn", "residual", "segmentation"])
@pytest.mark.parametrize("method", slow_but("lrp.gamma", LINEAR))
def test_relevance_is_linear_in_the_weights(method, model):
    x, shape = build(model)[1], without_softmax(model).output_shape[1:]
    u, v = np.random.default_rng(0).normal(size=(2, len(x), *shape)).astype("float32")
    of_u, of_v, of_both = (
        analyzer(method, model, "weights").analyze(x, weights) for weights in (u, v, 2 * u - 3 * v)
    )
    assert of_both.any()
    assert_close(of_both, 2 * of_u - 3 * of_v, 1e-4)


# --- Deep Taylor ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", slow_but("deep_taylor", ["deep_taylor", "deep_taylor.bounded"]))
@examples(10)
@given(network=networks(RECTIFIED, st.just("fused")), bias=st.booleans())
def test_deep_taylor_is_nonnegative_and_zero_at_a_negative_output(method, bias, network):
    """With rectifiers after every linear layer, so that only numbers >= 0 are summed or averaged,
    and the input inside the box of z^B.
    """
    model, x = construct(network, bias), samples(network)
    y = np.array(model(x))
    for chosen in (y.argmin(1), y.argmax(1)):
        found = explain(method, model, x, chosen, "index")
        assert found.min() >= -1e-9 * np.abs(found).max()
        assert not found[y[range(3), chosen] <= 0].any()
