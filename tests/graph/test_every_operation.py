"""Every operation of keras.ops: derivatives, conservation, DeepLIFT's sums, or why not."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from tests.frameworks import NAME
from tests.graph import operation_cases, test_every_layer
from tests.graph.operation_cases import OUTSIDE, names

pytestmark = pytest.mark.usefixtures("step_by_step")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coverage.md").read_text()
GRADIENT, EPSILON, _, DEEPLIFT = range(4)  # the order of what was found
FOUND = json.loads((ROOT / "benchmarks" / "results" / "coverage_layers.json").read_text())
# Keras's own hand JAX a list where it wants a tuple, and torch a tensor where it wants a number
# (full) or a real one where it wants a complex one (imag); it has no derivative of the others.
# On JAX it inverts no batch by its Cholesky factors.
OF_KERAS = {
    "jax": ("cholesky_inverse", "norm", "quantile"),
    "torch": ("floor_divide", "full", "heaviside", "imag", "vander"),
}
HAS_NO_DERIVATIVE = {"jax": ("nextafter", "segment_prod", "while_loop")}.get(NAME, ())
INSIDE = sorted({*names()} - {*OUTSIDE, *OF_KERAS.get(NAME, ())})
GIVEN = {"neuron_selection_mode": "weights", "keep_output_activation": True}

# Where constants absorb relevance, and softmaxes and their logarithms what is not linear in them.
ABSORBS = (
    *("batch_normalization", "layer_normalization", "full_like", "vander"),
    *("dot_product_attention", "softmax", "log_softmax"),
)


def created(method, model, **kwargs):
    """The analyzer, or None for what the page gives a reason for."""
    try:
        return innvestigate.create_analyzer(method, model, **GIVEN, **kwargs)
    except (innvestigate.NoRuleError, ValueError) as error:
        assert isinstance(error, innvestigate.NoRuleError) or "No signal can get" in str(error)
        return None


def has_derivative(name):
    """Whether there is one to speak of: not where none is meant to be, nor of complex numbers."""
    return name not in ("stop_gradient", "polar") and "no gradient" not in said(name, GRADIENT)


def weights_like(y):
    return np.random.default_rng(1).normal(size=y.shape).astype("float32")


def said(name, method):
    return FOUND[f"ops.{name}"][method]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The model ends in a")
@pytest.mark.parametrize("name", INSIDE)
def test_lrp_conserves(name):
    model = operation_cases.model_of(name)
    x = operation_cases.sample(model)
    analyzer = created("lrp.epsilon", model)
    if analyzer is None or "no gradient" in said(name, GRADIENT):
        assert "no" in said(name, EPSILON)
        return
    y = np.array(model(x))
    weights = weights_like(y)
    found, explained = analyzer.analyze(x, weights), np.sum(weights * y)
    assert np.isfinite(found).all()
    if name not in ABSORBS:
        np.testing.assert_allclose(found.sum(), explained, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The model ends in a")
@pytest.mark.parametrize("name", INSIDE)
def test_the_gradient_is_the_derivative(name):
    model = operation_cases.model_of(name)
    x, step = operation_cases.sample(model), 1e-3
    analyzer = created("gradient", model)
    if analyzer is None or not has_derivative(name):
        return
    y = model.predict(x, verbose=0)
    weights = weights_like(y)
    if name in HAS_NO_DERIVATIVE:
        with pytest.raises((NotImplementedError, ValueError), match=r"ifferentiation|gradients"):
            analyzer.analyze(x, weights)
        return
    along = np.random.default_rng(2).normal(size=x.shape).astype("float32")
    there, back = (model.predict(x + h * along, verbose=0) for h in (step, -step))
    expected = np.sum(weights * (there - back)) / (2 * step)
    parts = analyzer.analyze(x, weights) * along
    rounding = 1e-6 * np.abs(weights * y).sum() / step
    assert abs(parts.sum() - expected) <= 1e-2 * np.abs(parts).sum() + rounding


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The model ends in a")
@pytest.mark.parametrize("name", INSIDE)
def test_deeplift_is_complete(name):
    model = operation_cases.model_of(name)
    x = operation_cases.sample(model)
    analyzer = created("deeplift", model, reference_inputs=0.35)
    if analyzer is None or "no gradient" in said(name, GRADIENT):
        assert "no" in said(name, DEEPLIFT)
        return
    y, y0 = np.array(model(x)), np.array(model(np.full_like(x, 0.35)))
    weights = weights_like(y)
    found, change = analyzer.analyze(x, weights), np.sum(weights * (y - y0))
    np.testing.assert_allclose(found.sum(), change, rtol=1e-4, atol=1e-4)


def test_every_public_layer_and_operation_is_on_the_page():
    public = {n for n in dir(layers) if n[0].isupper()}
    public = {n for n in public if not n.startswith(test_every_layer.ALIASES)}
    wanted = {f"layers.{n}" for n in public} | {f"ops.{n}" for n in names()}
    assert {n for n in wanted if f"`{n}`" not in PAGE} == set()
    assert "FAILED" not in PAGE


def variance_of_time(x):
    return keras.ops.var(x, axis=1)


def product_of_time(x):
    return keras.ops.prod(x, axis=1)


@pytest.mark.parametrize("reduce", [variance_of_time, product_of_time])
@pytest.mark.parametrize("method", ["lrp.epsilon", "deeplift"])
def test_any_number_of_places(method, reduce):
    """A product needs to know how many factors there are: it is opened for the data at hand."""
    x = keras.Input((None, 2))
    model = keras.Model(x, reduce(x))
    analyzer = created(method, model)
    for length in (3, 5):
        data = np.random.default_rng(length).uniform(0.5, 1, (2, length, 2)).astype("float32")
        y = np.array(model(data))
        found = analyzer.analyze(data, np.ones_like(y)).sum()
        np.testing.assert_allclose(found, y.sum(), rtol=1e-4)


def test_all_factors_of_a_product_get_equal_parts():
    x = keras.Input((4,))
    model = keras.Model(x, keras.ops.prod(x, axis=1, keepdims=True))
    data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    found = innvestigate.create_analyzer("lrp.epsilon", model).analyze(data)
    np.testing.assert_allclose(found, np.repeat(data.prod(1, keepdims=True) / 4, 4, 1), rtol=1e-5)


def test_normalisation_by_hand_is_that_of_the_layer():
    gamma, beta = operation_cases.affine()
    layer = layers.LayerNormalization(epsilon=1e-3)
    x = keras.Input((6,))
    with_layer = keras.Model(x, layer(x))
    layer.set_weights([gamma, beta])
    by_hand = keras.Model(x, keras.ops.layer_normalization(x, gamma, beta, epsilon=1e-3))
    data = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    for method in ("lrp.epsilon", "deeplift", "gradient"):
        weights = weights_like(data)
        found, expected = (created(method, m).analyze(data, weights) for m in (by_hand, with_layer))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
