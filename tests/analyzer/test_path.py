"""Analyzers that average another one over points, against plain numpy and against their axioms."""

import re
from functools import cache

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import innvestigate
from innvestigate.analyzer import GaussianSmoother, PathIntegrator
from innvestigate.analyzer.quadrature import QUADRATURES, quadrature_rule
from innvestigate.engine import mirror
from tests.frameworks import examples
from tests.models import build

X = np.random.default_rng(0).normal(size=(3, 4))
REFERENCE = np.random.default_rng(1).normal(size=4)
SEEDS = st.integers(0, 2**32 - 1)


def make(name, model, mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


# --- A network in numpy ---------------------------------------------------------------------------


@cache
def network(activation="tanh"):
    """Four inputs, five hidden units, three outputs, in double precision."""
    keras.utils.set_random_seed(0)
    dense = [layers.Dense(5, activation, dtype="float64"), layers.Dense(3, dtype="float64")]
    model = keras.Sequential([layers.Input((4,), dtype="float64"), *dense])
    renew(model, 0)
    return model


def renew(model, seed):
    """Give a model random weights; analyzers that exist already see them."""
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(size=w.shape) for w in model.get_weights()])


def output(model, x):
    return np.array(model(np.asarray(x)))


def gradient(x, neuron, model=None):
    """The gradient of one output of the tanh network, by hand."""
    first, bias, second, _ = (model or network()).get_weights()
    hidden = np.tanh(x @ first + bias)
    return ((1 - hidden**2) * second[:, neuron]) @ first.T


# --- Quadrature -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", QUADRATURES)
@pytest.mark.parametrize("steps", [2, 3, 64])
def test_rules_have_the_given_number_of_points_and_weigh_one(name, steps):
    points, weights = quadrature_rule(name, steps)
    assert len(points) == len(weights) == steps
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert points.min() >= 0 and points.max() <= 1


@pytest.mark.parametrize(
    ("name", "points", "weights"),
    [
        ("left", [0, 0.25, 0.5, 0.75], [0.25] * 4),
        ("right", [0.25, 0.5, 0.75, 1], [0.25] * 4),
        ("midpoint", [0.125, 0.375, 0.625, 0.875], [0.25] * 4),
        ("trapezoid", [0, 1 / 3, 2 / 3, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
    ],
)
def test_rules_with_even_steps(name, points, weights):
    found = quadrature_rule(name, 4)
    np.testing.assert_allclose(found, [points, weights], atol=1e-15)


def test_gauss_legendre_is_exact_for_polynomials_of_degree_2n_minus_1():
    points, weights = quadrature_rule("gauss_legendre", 3)
    for power in range(6):
        assert weights @ points**power == pytest.approx(1 / (power + 1), abs=1e-14)
    assert abs(weights @ points**6 - 1 / 7) > 1e-5


def path_gradients(activation, seed):
    """A random network's gradient at points of a path of length one, times the path."""
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(10, 16)), random.normal(size=16)
    bias, (x, reference) = random.normal(0, 0.3, size=16), random.normal(size=(2, 10))
    slope = {"relu": lambda z: (z > 0) * 1.0, "tanh": lambda z: 1 - np.tanh(z) ** 2}[activation]

    def at(points):
        z = (reference + points[:, None] * (x - reference)) @ first + bias
        return (x - reference) * ((slope(z) * second) @ first.T)

    return at


def errors(activation, steps=64, networks=40):
    """The mean relative error of each rule."""
    found = dict.fromkeys(QUADRATURES, 0.0)
    for seed in range(networks):
        at = path_gradients(activation, seed)
        exact = at((np.arange(2048) + 0.5) / 2048).mean(axis=0)
        for name in QUADRATURES:
            points, weights = quadrature_rule(name, steps)
            error = np.abs(weights @ at(points) - exact).sum() / np.abs(exact).sum()
            found[name] += error / networks
    return found


def test_the_default_is_the_most_accurate_at_64_steps():
    """On ReLU networks midpoints lead (with the trapezoids, whose steps are as even).

    Gauss-Legendre is ahead on smooth networks, where midpoints err too little to matter; on ReLU
    networks its points are too far apart in the middle of the path.
    """
    relu, tanh = errors("relu"), errors("tanh")
    assert relu["midpoint"] < 0.9 * min(relu["left"], relu["right"], relu["gauss_legendre"])
    assert relu["midpoint"] < 1.1 * relu["trapezoid"]
    assert tanh["midpoint"] < 0.9 * min(tanh["left"], tanh["right"], tanh["trapezoid"])
    assert tanh["gauss_legendre"] < tanh["midpoint"] < 0.02 * relu["midpoint"]
    total = {name: relu[name] + tanh[name] for name in QUADRATURES}
    assert total["midpoint"] < 1.1 * min(total.values())
    made = innvestigate.create_analyzer("integrated_gradients", network()).get_config()
    assert (made["quadrature"], made["steps"]) == ("midpoint", 64)


def test_intgrad_takes_100_steps_from_the_right():
    found = make("intgrad", network()).analyze(X, 1)
    same = make("integrated_gradients", network(), steps=100, quadrature="right")
    np.testing.assert_array_equal(found, same.analyze(X, 1))


# --- Integrated gradients -------------------------------------------------------------------------


def naive_path(x, references, neuron, quadrature, steps):
    """One sample's integrated gradients, averaged over references `(n, 4)`."""
    points, weights = quadrature_rule(quadrature, steps)
    total = 0
    for r in references:
        for p, w in zip(points, weights, strict=True):
            total = total + w * (x - r) * gradient(r + p * (x - r), neuron)
    return total / len(references)


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_integrated_gradients_are_the_sum_of_the_formula(quadrature):
    explain = make("integrated_gradients", network(), steps=7, quadrature=quadrature).analyze
    expected = [naive_path(x, np.zeros((1, 4)), i, quadrature, 7) for i, x in enumerate(X)]
    np.testing.assert_allclose(explain(X, [0, 1, 2]), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("form", "several"),
    [
        (REFERENCE, lambda i: REFERENCE[None]),
        (X[::-1], lambda i: X[::-1][i][None]),
        (
            np.stack([X, 2 * X, X - 1], axis=1)[::-1],
            lambda i: [X[::-1][i], 2 * X[::-1][i], X[::-1][i] - 1],
        ),
        (X[None], lambda i: X),
        (lambda x: -x, lambda i: -X[i][None]),
    ],
)
def test_every_form_of_references(form, several):
    explain = make("integrated_gradients", network(), reference_inputs=form, steps=5).analyze
    expected = [naive_path(x, np.array(several(i)), 2, "midpoint", 5) for i, x in enumerate(X)]
    np.testing.assert_allclose(explain(X, 2), expected, rtol=1e-12)
    np.testing.assert_allclose(explain(X, 2, batch_size=2), expected, rtol=1e-12)


@cache
def integrator(activation, steps):
    reference = {"reference_inputs": REFERENCE}
    return make("integrated_gradients", network(activation), steps=steps, **reference)


@examples(10)
@given(seed=SEEDS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_completeness_as_steps_grow(activation, seed):
    model = network(activation)
    renew(model, seed)
    try:
        difference = (output(model, X) - output(model, REFERENCE[None]))[:, 0]
        found = [
            np.abs(
                integrator(activation, steps).analyze(X, 0, batch_size=1024).sum(axis=1)
                - difference
            ).max()
            for steps in (16, 1024)
        ]
        assert found[1] <= max(found[0], 1e-3 if activation == "relu" else 1e-12)
        largest = np.abs(X - REFERENCE).sum() * 5 * 9
        assert found[1] < largest * (1e-5 if activation == "tanh" else 1e-3)
    finally:
        renew(model, 0)


@examples(10)
@given(seed=SEEDS, scale=st.floats(0.1, 10))
def test_linear_networks_get_their_weights_times_the_difference(seed, scale):
    model = network("linear")
    renew(model, seed)
    reference = scale * np.random.default_rng(seed).normal(size=4)
    first, _, second, _ = model.get_weights()
    expected = (X - reference) * (first @ second)[:, 1]
    from_x = make("integrated_gradients", model, reference_inputs=reference, steps=3)
    np.testing.assert_allclose(from_x.analyze(X, 1), expected, rtol=1e-9, atol=1e-12)
    from_zero = make("integrated_gradients", model, steps=1).analyze(X, 1)
    expected = make("input_t_gradient", model).analyze(X, 1)
    np.testing.assert_allclose(from_zero, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("feature", range(4))
def test_sensitivity(feature):
    """One feature differs from the reference: it gets all of the difference, the others nothing."""
    x = REFERENCE.copy()
    x[feature] += 1
    explain = make("integrated_gradients", network(), reference_inputs=REFERENCE).analyze
    found = explain(x[None], 0)[0]
    difference = output(network(), x[None]) - output(network(), REFERENCE[None])
    assert abs(difference[0, 0]) > 1e-3
    assert found[feature] == pytest.approx(difference[0, 0], rel=1e-3)
    assert not np.delete(found, feature).any()


def test_a_feature_that_the_output_ignores_gets_nothing():
    model = network("softplus")
    kernel = model.get_weights()
    kernel[0][2] = 0
    model.set_weights(kernel)
    found = make("integrated_gradients", model).analyze(X, 0)
    assert not found[:, 2].any() and found[:, [0, 1, 3]].all()


def test_uint8_images_have_paths_between_whole_numbers():
    model, x = build("uint8")
    found = make("integrated_gradients", model, reference_inputs=127.5, steps=50)
    in_the_middle = np.full((1, 6, 6, 3), 127.5, "float32")
    inner = keras.Sequential(model.layers)
    inner.build((None, 6, 6, 3))
    expected = output(inner, x.astype("float32")) - output(inner, in_the_middle)
    total = found.analyze(x, 0).reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(total, expected[:, 0], rtol=0.05, atol=0.02)


def test_several_inputs_share_the_path():
    model, x = build("two_inputs")
    reference = [np.ones((6, 6, 2)), -1.0]
    explain = make("integrated_gradients", model, reference_inputs=reference, steps=200).analyze
    found = explain(x, 0)
    total = sum(part.reshape(3, -1).sum(axis=1) for part in found)
    start = [
        np.broadcast_to(r, a.shape).astype("float32") for r, a in zip(reference, x, strict=True)
    ]
    difference = np.array(model(x))[:, 0] - np.array(model(start))[:, 0]
    np.testing.assert_allclose(total, difference, rtol=0.02, atol=1e-3)


# --- Expected gradients ---------------------------------------------------------------------------

BACKGROUND = np.random.default_rng(5).normal(size=(6, 4))


def test_expected_gradients_are_the_mean_over_draws():
    arguments = {"reference_inputs": BACKGROUND[None], "samples": 9, "seed": 3}
    expected = np.zeros_like(X)
    for sample, x in enumerate(X):
        for draw in range(9):
            random = np.random.default_rng((3, sample, draw))
            r, p = BACKGROUND[random.integers(6)], random.random()
            expected[sample] += (x - r) * gradient(r + p * (x - r), 1) / 9
    found = make("expected_gradients", network(), **arguments).analyze(X, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_expected_gradients_approach_the_mean_of_integrated_gradients():
    arguments = {"reference_inputs": BACKGROUND[None]}
    expected = make("integrated_gradients", network(), **arguments).analyze(X, 1)
    many = make("expected_gradients", network(), samples=4000, seed=0, **arguments)
    found = many.analyze(X, 1, batch_size=3000)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


# --- Smoothing ------------------------------------------------------------------------------------


def noise(seed, samples, draws, scale, shape=(4,)):
    """The noise of every draw and sample, `(draws, samples, *shape)`."""
    return scale * np.array(
        [
            [np.random.default_rng((seed, s, d)).standard_normal(shape) for s in range(samples)]
            for d in range(draws)
        ]
    )


REDUCED = {
    "mean": lambda g: g.mean(axis=0),
    "square": lambda g: (g**2).mean(axis=0),
    "variance": lambda g: g.var(axis=0),
}


@pytest.mark.parametrize("reduce", REDUCED)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_smoothgrad_reduces_gradients_under_noise(reduce, batch_size):
    arguments = {"noise_scale": 0.3, "augment_by_n": 11, "seed": 8}
    found = make("smoothgrad", network(), reduce=reduce, **arguments)
    expected = REDUCED[reduce](gradient(X + noise(8, 3, 11, 0.3), 1))
    np.testing.assert_allclose(found.analyze(X, 1, batch_size=batch_size), expected, rtol=1e-9)


def test_noise_scale_is_the_standard_deviation_in_units_of_the_input():
    model, x = network(), 100 * X
    arguments = {"noise_scale": 5, "augment_by_n": 3000, "seed": 0}
    spread = GaussianSmoother(make("input", model, "all"), reduce="variance", **arguments)
    np.testing.assert_allclose(np.sqrt(spread.analyze(x, batch_size=3000)), 5, rtol=0.06)
    middle = GaussianSmoother(make("input", model, "all"), **arguments)
    np.testing.assert_allclose(middle.analyze(x, batch_size=3000), x, atol=0.5)


def test_variance_does_not_cancel():
    model = network()
    shifted = GaussianSmoother(
        make("input", model, "all"), 1e-4, augment_by_n=50, seed=0, reduce="variance"
    )
    expected = noise(0, 3, 50, 1e-4).var(axis=0)
    np.testing.assert_allclose(shifted.analyze(X + 1e4), expected, rtol=1e-4)


def test_no_noise_is_the_gradient():
    found = make("smoothgrad", network(), noise_scale=0, augment_by_n=3).analyze(X, 0)
    np.testing.assert_allclose(found, gradient(X, 0), rtol=1e-12)


@pytest.mark.parametrize("name", ["smoothgrad", "expected_gradients"])
def test_seeds(name):
    arguments = {"reference_inputs": BACKGROUND[None]} if name == "expected_gradients" else {}
    seeded = make(name, network(), seed=4, **arguments)
    first = seeded.analyze(X, 0)
    np.testing.assert_array_equal(seeded.analyze(X, 0), first)
    np.testing.assert_array_equal(make(name, network(), seed=4, **arguments).analyze(X, 0), first)
    assert np.abs(make(name, network(), seed=5, **arguments).analyze(X, 0) - first).max() > 1e-6
    free = make(name, network(), **arguments)
    assert np.abs(free.analyze(X, 0) - free.analyze(X, 0)).max() > 1e-6


# --- What holds for all of them -------------------------------------------------------------------

METHODS = {
    "integrated_gradients": {"steps": 5, "reference_inputs": REFERENCE},
    "expected_gradients": {"samples": 5, "seed": 0, "reference_inputs": BACKGROUND[None]},
    "smoothgrad": {"augment_by_n": 5, "seed": 0, "noise_scale": 2},
}


@pytest.mark.parametrize("name", METHODS)
def test_batches_do_not_change_the_result(name):
    explain = make(name, network(), **METHODS[name]).analyze
    expected = explain(X, [0, 1, 2], batch_size=100)
    for batch_size in (1, 2, 7):
        found = explain(X, [0, 1, 2], batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=str(batch_size))
    dataset = iter([X[:2], X[2:]])
    np.testing.assert_allclose(explain(dataset, [0, 1, 2]), expected, rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_no_more_rows_than_a_batch_are_run_at_once(name, monkeypatch):
    created = make(name, network(), **METHODS[name], check=False)
    sizes, run = [], mirror.run_batch

    def counted(model, rows):
        sizes.append({len(array) for array in rows})
        return run(model, rows)

    monkeypatch.setattr(mirror, "run_batch", counted)
    created.analyze(X, 0, batch_size=2)
    assert all(len(size) == 1 for size in sizes)
    assert sizes == [{2}] * 5 + [{2}, {2}, {1}]


@pytest.mark.parametrize("name", METHODS)
def test_the_neuron_is_chosen_at_the_sample(name):
    """Along the path and under the noise the largest output is another one."""
    chosen = output(network(), X).argmax(axis=1)
    nearby = [output(network(), x).argmax(axis=1) for x in (*X + noise(0, 3, 5, 2), X / 10)]
    assert np.any(nearby != chosen)
    found = make(name, network(), "max_activation", **METHODS[name]).analyze(X)
    expected = make(name, network(), **METHODS[name]).analyze(X, chosen)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_weights_and_all(name):
    weights = np.array([1.0, -2.0, 0.5])
    parts = [make(name, network(), **METHODS[name]).analyze(X, i) for i in range(3)]
    found = make(name, network(), "weights", **METHODS[name]).analyze(X, weights)
    np.testing.assert_allclose(found, np.tensordot(weights, parts, 1), rtol=1e-6, atol=1e-9)
    found = make(name, network(), "all", **METHODS[name]).analyze(X)
    np.testing.assert_allclose(found, sum(parts), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_one_progress_bar_counts_to_the_end(name, capsys):
    make(name, network(), **METHODS[name]).analyze(X, 0, batch_size=2, verbose=1)
    shown = capsys.readouterr().out
    seen = [int(number) for number in re.findall(r"(\d+)/100", shown)]
    assert seen == sorted(seen) and seen[0] < 50 and seen[-1] == 100
    assert shown.count("\n") == 1


# --- Any analyzer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["index", "max_activation"])
def test_wrappers_of_the_gradient_are_the_methods(mode):
    selection = [0, 1, 2] if mode == "index" else None
    wrapped = PathIntegrator(make("gradient", network(), mode), REFERENCE, 5)
    expected = make("integrated_gradients", network(), mode, **METHODS["integrated_gradients"])
    np.testing.assert_array_equal(wrapped.analyze(X, selection), expected.analyze(X, selection))
    wrapped = GaussianSmoother(make("gradient", network(), mode), 2, 5, seed=0)
    expected = make("smoothgrad", network(), mode, **METHODS["smoothgrad"])
    np.testing.assert_array_equal(wrapped.analyze(X, selection), expected.analyze(X, selection))


@pytest.mark.parametrize("name", ["lrp.epsilon", "saliency", "occlusion"])
def test_any_analyzer_can_be_smoothed(name):
    inner = make(name, network())
    found = GaussianSmoother(inner, 0.5, 6, seed=2).analyze(X, 1)
    expected = np.mean([inner.analyze(x, 1) for x in X + noise(2, 3, 6, 0.5)], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_any_analyzer_can_be_integrated():
    inner = make("lrp.epsilon", network(), epsilon=0.1)
    found = PathIntegrator(inner, REFERENCE, 6, "right").analyze(X, 1)
    points = [REFERENCE + k / 6 * (X - REFERENCE) for k in range(1, 7)]
    expected = (X - REFERENCE) * np.mean([inner.analyze(x, 1) for x in points], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_wrappers_can_be_wrapped():
    inner = make("integrated_gradients", network(), steps=3)
    found = GaussianSmoother(inner, 0.5, 6, seed=2).analyze(X, 1)
    expected = np.mean([inner.analyze(x, 1) for x in X + noise(2, 3, 6, 0.5)], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    outer = GaussianSmoother(
        make("integrated_gradients", network(), "max_activation", steps=3), 0.5, 6, seed=2
    )
    chosen = output(network(), X).argmax(axis=1)
    expected = GaussianSmoother(inner, 0.5, 6, seed=2).analyze(X, chosen)
    np.testing.assert_allclose(outer.analyze(X), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["deeplift", "integrated_gradients"])
def test_references_stay_with_their_samples_under_noise(name):
    arguments = {"reference_inputs": X[::-1]}
    found = GaussianSmoother(make(name, network(), **arguments), 0.5, 4, seed=2).analyze
    noisy = X + noise(2, 3, 4, 0.5)
    expected = np.mean([make(name, network(), **arguments).analyze(x, 1) for x in noisy], axis=0)
    np.testing.assert_allclose(found(X, 1), expected, rtol=1e-6)
    np.testing.assert_allclose(found(X, 1, batch_size=2), expected, rtol=1e-6)


def test_smoothing_at_hidden_layers():
    name = network().layers[0].name
    inner = make("gradient", network(), layers=(name, "input"))
    found = GaussianSmoother(inner, 0.5, 6, seed=2).analyze(X, 1)
    runs = [inner.analyze(x, 1) for x in X + noise(2, 3, 6, 0.5)]
    assert set(found) == {name, "input"}
    for layer, y in found.items():
        np.testing.assert_allclose(y, np.mean([run[layer] for run in runs], axis=0), rtol=1e-9)


def test_trained_weights_are_seen_at_once():
    model = network("sigmoid")
    wrapped = make("smoothgrad", model, seed=0, augment_by_n=3)
    before = wrapped.analyze(X, 0)
    renew(model, 7)
    after = wrapped.analyze(X, 0)
    assert np.abs(after - before).max() > 1e-3
    expected = make("smoothgrad", model, seed=0, augment_by_n=3).analyze(X, 0)
    np.testing.assert_array_equal(after, expected)


# --- Hidden layers --------------------------------------------------------------------------------


@pytest.mark.parametrize("quadrature", ["midpoint", "trapezoid", "gauss_legendre"])
def test_conductance_adds_up_to_the_change_of_the_output(quadrature):
    model = network("tanh")
    name = model.layers[0].name
    made = make("integrated_gradients", model, layers=(name, "input"), quadrature=quadrature)
    for found in made.analyze(X, 1).values():
        change = model.predict(X, verbose=0)[:, 1] - model.predict(0 * X, verbose=0)[:, 1]
        np.testing.assert_allclose(found.sum(axis=1), change, rtol=2e-3)


def test_conductance_is_what_passes_each_neuron():
    model = network("tanh")
    name, options = model.layers[0].name, {"steps": 32, "quadrature": "gauss_legendre"}
    found = make("integrated_gradients", model, layers=(name,), **options).analyze(X, 1)[name]
    through = make("integrated_gradients", model, **options)
    for neuron in range(found.shape[1]):
        passed = through.analyze(X, 1, conditions={name: [neuron]}).sum(axis=1)
        np.testing.assert_allclose(found[:, neuron], passed, atol=1e-6)


def test_influence_is_the_mean_gradient_along_the_path():
    model, steps = network("tanh"), 5
    name = model.layers[0].name
    options = {"layers": (name, "input"), "steps": steps, "multiply": False}
    found = make("integrated_gradients", model, **options).analyze(X, 1)
    gradient = make("gradient", model, layers=(name, "input"))
    points = [gradient.analyze(X * (k + 0.5) / steps, 1) for k in range(steps)]
    for layer, y in found.items():
        expected = np.mean([point[layer] for point in points], axis=0)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-7)


def test_conductance_from_the_vectors_of_tokens():
    model, x = build("embedding")
    (first, *_) = (layer.name for layer in model.layers if "embedding" in layer.name)
    options = {"steps": 64, "quadrature": "gauss_legendre"}
    found = make("integrated_gradients", model, layers=(first, "input"), **options).analyze(x, 1)
    at_tokens = found["input"]
    np.testing.assert_allclose(found[first].sum(axis=-1), at_tokens, atol=1e-5)


def test_whole_numbers_move_whatever_is_asked_for():
    whole, numbers = layers.Input((3,), dtype="int32"), layers.Input((3,))
    hidden = layers.Dense(4, "tanh", name="hidden")(layers.Rescaling(0.5)(whole) + numbers)
    model = keras.Model([whole, numbers], layers.Dense(2)(hidden))
    x = [np.array([[1, 2, 3], [0, 5, 1]]), X[:2, :3].astype("float32")]
    alone = make("integrated_gradients", model, layers=("hidden",)).analyze(x, 1)
    both = make("integrated_gradients", model, layers=("hidden", "input")).analyze(x, 1)
    np.testing.assert_allclose(alone["hidden"], both["hidden"], rtol=1e-5)
    at_inputs = sum(y.sum(axis=1) for y in both["input"])
    np.testing.assert_allclose(alone["hidden"].sum(axis=1), at_inputs, rtol=1e-2)


def test_paths_of_methods_with_further_results():
    inner = make("shapley_sampling", network(), seed=0, samples=2)
    found = PathIntegrator(inner, steps=2).analyze(X, 1)
    points = [inner.analyze(X * (k + 0.5) / 2, 1) for k in range(2)]
    np.testing.assert_allclose(found, X * np.mean(points, axis=0), rtol=1e-6)


def test_maps_lie_on_no_input():
    model, _ = build("cnn")
    with pytest.raises(ValueError, match="lies on no input"):
        PathIntegrator(make("grad_cam", model, upsample=False))


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("integrated_gradients", {"steps": 0}, "steps must be a whole number >= 1. Received: 0"),
        ("integrated_gradients", {"steps": 2.5}, "steps must be a whole number"),
        ("integrated_gradients", {"steps": 1, "quadrature": "trapezoid"}, ">= 2"),
        (
            "integrated_gradients",
            {"quadrature": "simpson"},
            "must be one of .*'midpoint'.*'simpson'",
        ),
        ("integrated_gradients", {"reference_inputs": np.zeros(5)}, r"wrong shape.*\(5,\)"),
        ("integrated_gradients", {"reference_inputs": np.nan}, "NaN"),
        ("integrated_gradients", {"layers": ("hidden",)}, "is unknown"),
        ("integrated_gradients", {"mode": "largest"}, "neuron_selection_mode must be one of"),
        ("smoothgrad", {"augment_by_n": 0}, "augment_by_n must be a whole number >= 1"),
        (
            "smoothgrad",
            {"noise_scale": -1},
            "noise_scale must be a finite number >= 0. Received: -1",
        ),
        ("smoothgrad", {"noise_scale": np.nan}, "noise_scale"),
        ("smoothgrad", {"reduce": "max"}, "reduce must be one of .*'max'"),
        ("smoothgrad", {"seed": -1}, "seed must be a whole number >= 0"),
        ("smoothgrad", {"seed": "a"}, "seed must be a whole number"),
        ("expected_gradients", {"samples": 0}, "samples must be a whole number >= 1"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(name, network(), **{"mode": "index", **arguments})


@pytest.mark.parametrize("wrapper", [PathIntegrator, GaussianSmoother])
def test_wrappers_wrap_analyzers(wrapper):
    with pytest.raises(TypeError, match=r"analyzer must be an analyzer that .*Received"):
        wrapper(network())


def test_drawn_positions_have_no_part_of_the_path():
    with pytest.raises(ValueError, match="explains the model's inputs only"):
        make("expected_gradients", network(), layers=(network().layers[0].name,))


def test_references_for_another_number_of_samples():
    created = make("integrated_gradients", network(), reference_inputs=X[:2])
    with pytest.raises(ValueError, match=r"for 2 samples.*3 samples"):
        created.analyze(X, 0)
    with pytest.raises(ValueError, match=r"for 2 samples.*3 samples"):
        GaussianSmoother(created).analyze(X, 0)


def test_whole_numbers_without_floats_cannot_be_moved():
    model, _ = build("uint8")
    with pytest.raises(ValueError, match="takes integers only"):
        GaussianSmoother(make("occlusion", model))
