"""Kernel SHAP and LIME: against exact Shapley values and a regression that is written out."""

import sys
from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from tests.analyzer import coalitions
from tests.analyzer.coalitions import by_hand, shapley
from tests.models import build

pytestmark = pytest.mark.usefixtures("step_by_step")

X = np.random.default_rng(0).normal(size=(3, 4))
REFERENCE = np.random.default_rng(1).normal(size=4)
METHODS = {"kernel_shap": {}, "lime": {"samples": 50}}
products = cache(coalitions.products)


def make(name, model, mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


@cache
def linear(size=12, outputs=2):
    """A linear model, in double precision."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [layers.Input((size,), dtype="float64"), layers.Dense(outputs, dtype="float64")]
    )


# --- Kernel SHAP ----------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [np.arange(4), np.array([2, 0, 0, 2]), np.array([1, 1, 1, 1])])
@pytest.mark.parametrize("neuron", [0, 1, 2])
def test_all_sets_give_the_exact_values(neuron, labels):
    made = make("kernel_shap", products(), groups=labels, reference_inputs=REFERENCE)
    expected = [shapley(lambda a: by_hand(a)[neuron], x, REFERENCE, labels) for x in X]
    found = made.analyze(X, neuron, batch_size=5)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_several_references_give_the_mean():
    references = np.stack([X + 1, -X, 0 * X], axis=1)
    found = make("kernel_shap", products(), reference_inputs=references).analyze(X, 2)
    each = [
        [shapley(lambda a: by_hand(a)[2], x, r, np.arange(4)) for r in rows]
        for x, rows in zip(X, references, strict=True)
    ]
    np.testing.assert_allclose(found, np.mean(each, axis=1), rtol=1e-7, atol=1e-9)


def test_it_agrees_with_sampled_orders():
    """Where sets are drawn: twelve features of a model with products."""
    model, x = build("mlp_tanh")
    assert x.shape[1] > 3
    exact = make("kernel_shap", model).analyze(x, 0)
    sampled = make("shapley_sampling", model, samples=400, seed=0)
    found = sampled.analyze(x, 0, batch_size=4000)
    assert np.all(np.abs(found - exact) < 5 * sampled.standard_error + 1e-5)


@pytest.mark.parametrize("samples", [40, 200])
def test_drawn_sets_are_exact_for_a_linear_model_and_add_up(samples):
    x = np.random.default_rng(3).normal(size=(2, 12))
    made = make("kernel_shap", linear(), samples=samples, seed=0, reference_inputs=0.5)
    expected = linear().get_weights()[0][:, 1] * (x - 0.5)
    np.testing.assert_allclose(made.analyze(x, 1), expected, rtol=1e-7, atol=1e-9)
    made.analyze(x, 1, check=True)


def test_sums_are_those_of_the_change_whatever_is_drawn():
    keras.utils.set_random_seed(1)
    parts = layers.Dense(8, "tanh", dtype="float64"), layers.Dense(1, dtype="float64")
    model = keras.Sequential([layers.Input((12,), dtype="float64"), *parts])
    x = np.random.default_rng(4).normal(size=(3, 12))
    found = make("kernel_shap", model, samples=60, seed=0).analyze(x, 0)
    other = make("kernel_shap", model, samples=60, seed=1).analyze(x, 0)
    expected = (np.array(model(x)) - np.array(model(0 * x)))[:, 0]
    np.testing.assert_allclose(found.sum(axis=1), expected, rtol=1e-9)
    assert np.abs(found - other).max() > 1e-3


def test_small_outputs_are_no_rounding_errors():
    """shap itself sets values below 1e-10 to zero."""
    model = linear(4, 1)
    model = keras.Sequential([model, layers.Rescaling(1e-13, dtype="float64")])
    model.build((None, 4))
    found = make("kernel_shap", model, "all").analyze(X)
    expected = linear(4, 1).get_weights()[0][:, 0] * X * 1e-13
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_global_generator_is_left_as_it_was():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    make("kernel_shap", linear(), samples=40, seed=0).analyze(np.ones((1, 12)), 0)
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002


@pytest.mark.parametrize("samples", [6, 16])
def test_too_few_sets_are_an_error(samples):
    made = make("kernel_shap", linear(), samples=samples, seed=0)
    with pytest.raises(ValueError, match=f"{samples} sets .* do not settle the values of 12"):
        made.analyze(np.ones((1, 12)), 0)


def test_a_reference_without_an_output_is_an_error():
    model, x = build("embedding_masked")
    with pytest.raises(ValueError, match="output at reference_inputs is not finite"):
        make("kernel_shap", model).analyze(x, 0)


# --- LIME -----------------------------------------------------------------------------------------


def naive_lime(function, x, reference, labels, samples, width, seed):
    """The weighted ridge regression with an intercept, by its normal equations."""
    groups = np.unique(labels)
    z = np.random.default_rng(seed).integers(0, 2, (samples, len(groups)), dtype="int8")
    z[0] = 1
    inputs = [np.where(row[np.searchsorted(groups, labels)], x, reference) for row in z]
    values = np.array([function(each) for each in inputs])
    norms = np.sqrt((z**2).sum(axis=1) * len(groups))
    distances = 1 - np.divide(z.sum(axis=1), norms, out=np.zeros(samples), where=norms > 0)
    weights = np.sqrt(np.exp(-(distances**2) / width**2))
    design = np.column_stack([z, np.ones(samples)]).astype(float)
    penalty = np.diag([1.0] * len(groups) + [0])
    left = design.T @ (weights[:, None] * design) + penalty
    found = np.linalg.solve(left, design.T @ (weights * values))[:-1]
    return found[np.searchsorted(groups, labels)] / np.bincount(labels)[labels]


@pytest.mark.parametrize("labels", [np.arange(4), np.array([2, 0, 0, 2])])
@pytest.mark.parametrize("width", [0.25, 0.6])
def test_lime_is_a_weighted_ridge_regression(labels, width):
    arguments = {"groups": labels, "kernel_width": width, "reference_inputs": REFERENCE}
    made = make("lime", products(), samples=40, seed=3, **arguments)
    for neuron in range(3):
        expected = [
            naive_lime(lambda a, n=neuron: by_hand(a)[n], x, REFERENCE, labels, 40, width, 3)
            for x in X
        ]
        found = made.analyze(X, neuron, batch_size=7)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


def test_weights_of_a_linear_model():
    """Up to what the ridge shrinks them by: 1 against hundreds of samples."""
    x = np.random.default_rng(3).normal(size=(2, 12))
    found = make("lime", linear(), samples=4000, seed=0, reference_inputs=0.5).analyze(x, 1)
    expected = linear().get_weights()[0][:, 1] * (x - 0.5)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_an_output_that_is_not_finite_is_an_error():
    model, x = build("embedding_masked")
    with pytest.raises(ValueError, match="not finite where some features are those of"):
        make("lime", model, seed=0).analyze(x, 0)


# --- What holds for both --------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_batches_do_not_change_the_result(name):
    made = make(name, products(), seed=0, reference_inputs=REFERENCE, **METHODS[name])
    expected = made.analyze(X, [0, 1, 2], batch_size=100)
    for batch_size in (1, 2, 7):
        found = made.analyze(X, [0, 1, 2], batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_no_more_rows_than_a_batch_are_run_at_once(name, monkeypatch):
    made = make(name, products(), seed=0, **METHODS[name])
    sizes, run = [], made.outputs
    monkeypatch.setattr(made, "outputs", lambda x: (sizes.append(len(x[0])), run(x))[1])
    made.analyze(X, 0, batch_size=2)
    assert max(sizes) == 2


@pytest.mark.parametrize("name", METHODS)
def test_seeds(name):
    model, x = linear(), np.ones((1, 12))
    bent = keras.Sequential([model, layers.Activation("tanh", dtype="float64")])
    bent.build((None, 12))
    arguments = {"samples": 40, "keep_output_activation": True}
    seeded = make(name, bent, seed=4, **arguments)
    np.testing.assert_array_equal(seeded.analyze(x, 0), seeded.analyze(x, 0))
    free = make(name, bent, **arguments)
    assert np.ptp([free.analyze(x, 0) for _ in range(4)], axis=0).max() > 1e-6


@pytest.mark.parametrize("name", METHODS)
def test_tokens_and_several_inputs(name):
    model, x = build("embedding")
    found = make(name, model, reference_inputs=3, seed=0, **METHODS[name]).analyze(x, 0)
    assert found.shape == x.shape and found.any()
    model, x = build("two_inputs")
    groups = {"image": np.arange(6)[:, None, None], "vector": np.array([0, 1, 6, 6, 7])}
    found = make(name, model, groups=groups, seed=0, **METHODS[name]).analyze(x, 0)
    for a, b in zip(found, x, strict=True):
        assert a.shape == b.shape and a.dtype == "float32" and a.any()
    np.testing.assert_array_equal(found[0][:, 0, 0, 0], found[1][:, 0])


@pytest.mark.parametrize("name", METHODS)
def test_too_many_features_want_groups(name):
    model = keras.Sequential([layers.Input((400_000,)), layers.Dense(1)])
    made = make(name, model, seed=0, samples=1000)
    with pytest.raises(ValueError, match=r"1000 samples of 400000 features.*Pass groups"):
        made.analyze(np.ones((1, 400_000), "float32"), 0)


@pytest.mark.parametrize(("name", "package"), [("kernel_shap", "shap"), ("lime", "lime")])
def test_without_the_library_its_extra_is_named(name, package, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'innvestigate\[{package}\]'"):
        make(name, products())


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("kernel_shap", {"samples": 1}, "samples must be a whole number >= 2"),
        ("kernel_shap", {"seed": -1}, "seed must be a whole number >= 0"),
        ("kernel_shap", {"groups": 0.5}, "groups must be integer labels"),
        ("lime", {"samples": 1}, "samples must be a whole number >= 2"),
        ("lime", {"kernel_width": 0}, "kernel_width must be a finite number > 0"),
        ("lime", {"groups": np.zeros(3, int)}, r"groups of the shape \(3,\) do not"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(name, products(), **arguments)
