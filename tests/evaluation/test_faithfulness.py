"""Sensitivity-n, infidelity and max-sensitivity."""

from itertools import combinations

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.evaluation import Infidelity, MaxSensitivity, SensitivityN, evaluate

from .models import float64_model, linear_model, noise, run_naively


def values(model, given, x, metric, neuron=None, **more):
    """The metric of each sample; the seed is fixed."""
    found = evaluate(model, {"given": given}, x, neuron, metrics=metric, seed=0, **more)
    return found.samples["value"].to_numpy()


def explain(method, model, **arguments):
    return innvestigate.create_analyzer(method, model, neuron_selection_mode="index", **arguments)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_input_times_gradient_of_a_linear_model_has_the_sensitivity_one(n):
    model, x = linear_model((8,)), noise((8,))
    found = values(model, explain("input_t_gradient", model), x, SensitivityN(n=n, subsets=20), 0)
    np.testing.assert_allclose(found, 1, atol=1e-6)
    found = values(model, -x * model.get_weights()[0][:, 0], x, SensitivityN(n=n, subsets=20))
    np.testing.assert_allclose(found, -1, atol=1e-6)


def test_sensitivity_n_converges_to_the_correlation_over_all_sets():
    model, x, relevance = float64_model((6,)), noise((6,), 3), noise((6,), 3, 1)
    metric = SensitivityN(n=2, subsets=3000)
    found = values(model, relevance, x, metric, 1, batch_size=3000)
    for i in range(3):
        credits, drops = [], []
        for chosen in combinations(range(6), 2):
            without = x[i].copy()
            without[list(chosen)] = 0
            credits.append(sum(relevance[i][j] for j in chosen))
            drops.append(run_naively(model, x[i], 1) - run_naively(model, without, 1))
        assert found[i] == pytest.approx(np.corrcoef(credits, drops)[0, 1], abs=0.04)


def test_sensitivity_n_of_constant_relevance_is_zero():
    model, x = float64_model((6,)), noise((6,))
    assert np.all(values(model, np.ones((5, 6)), x, SensitivityN(n=2)) == 0)


def test_sensitivity_n_removes_a_tenth_of_the_features_by_default():
    model, x, relevance = float64_model((40,)), noise((40,)), noise((40,), seed=1)
    by_default = values(model, relevance, x, "sensitivity_n")
    np.testing.assert_array_equal(by_default, values(model, relevance, x, SensitivityN(n=4)))
    assert np.any(by_default != values(model, relevance, x, SensitivityN(n=5)))


@pytest.mark.parametrize("normalize", [True, False])
def test_infidelity_of_a_linear_model_is_zero(normalize):
    model, x = linear_model((7, 6, 2)), noise((7, 6, 2))
    gradient, product = (explain(name, model) for name in ("gradient", "input_t_gradient"))
    removal = Infidelity(region_shape=3, normalize=normalize)
    slopes = Infidelity(region_shape=3, contributions=False, normalize=normalize)
    in_noise = Infidelity("noise", contributions=False, normalize=normalize)
    for given, metric in ((product, removal), (gradient, slopes), (gradient, in_noise)):
        np.testing.assert_allclose(values(model, given, x, metric, 0), 0, atol=1e-8)
    assert np.all(values(model, product, x, in_noise, 0) > 1e-3)


def squares(shape, size):
    """All places of a square window."""
    for i in range(shape[0] - size + 1):
        for j in range(shape[1] - size + 1):
            mask = np.zeros(shape)
            mask[i : i + size, j : j + size] = 1
            yield mask


@pytest.mark.parametrize("contributions", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_infidelity_converges_to_the_mean_over_all_windows(contributions, normalize):
    shape = (4, 4, 1)
    model, x, relevance = float64_model(shape), noise(shape, 2), noise(shape, 2, 1)
    metric = Infidelity("removal", contributions, normalize, 4000, region_shape=2)
    found = values(model, relevance, x, metric, 2, batch_size=4000)
    for i in range(2):
        a, b = [], []
        for mask in squares(shape, 2):
            change = mask * x[i]
            a.append(((mask if contributions else change) * relevance[i]).sum())
            b.append(run_naively(model, x[i], 2) - run_naively(model, x[i] - change, 2))
        a, b = np.array(a), np.array(b)
        beta = (a @ b) / (a @ a) if normalize else 1
        assert found[i] == pytest.approx(np.mean((beta * a - b) ** 2), rel=0.08)


def test_infidelity_in_noise_is_that_of_the_expected_square():
    model, x = linear_model((5,)), noise((5,), 3)
    relevance, weights = noise((5,), 3, 1), model.get_weights()[0][:, 0]
    metric = Infidelity("noise", False, False, 4000, noise_scale=0.5)
    found = values(model, relevance, x, metric, batch_size=4000)
    expected = [
        0.25 * sum((r - w) ** 2 for r, w in zip(row, weights, strict=True)) for row in relevance
    ]
    np.testing.assert_allclose(found, expected, rtol=0.1)


def test_normalized_infidelity_does_not_depend_on_scale():
    model, x, relevance = float64_model((6,)), noise((6,)), noise((6,), seed=1)
    found = [values(model, scale * relevance, x, "infidelity") for scale in (1, 1000)]
    np.testing.assert_allclose(*found, rtol=1e-8)


def test_max_sensitivity_of_input_times_gradient_of_a_linear_model():
    model, x = linear_model((1,)), np.array([[2.0], [-4.0]])
    metric = MaxSensitivity(radius=0.5, draws=400)
    found = values(model, explain("input_t_gradient", model), x, metric, 0)
    assert np.all(found <= [0.25, 0.125])  # |w (y - x)| / |w x| at most
    np.testing.assert_allclose(found, [0.25, 0.125], rtol=0.05)
    weight = abs(model.get_weights()[0][0, 0])
    metric = MaxSensitivity(radius=0.5, draws=400, normalize=False)
    found = values(model, explain("input_t_gradient", model), x, metric, 0)
    np.testing.assert_allclose(found, 0.5 * weight, rtol=0.05)


def test_max_sensitivity_of_the_gradient_of_a_linear_model_is_zero():
    model, x = linear_model((6,)), noise((6,))
    assert np.all(values(model, explain("gradient", model), x, "max_sensitivity", 0) < 1e-6)


def test_neighbours_are_explained_for_the_neuron_of_the_sample():
    model = keras.Sequential([layers.Input((2,), dtype="float64"), layers.Dense(2)])
    model.set_weights([np.eye(2), np.zeros(2)])
    analyzer = innvestigate.create_analyzer("gradient", model)
    x = np.array([[1.0, 0.999]])
    assert values(model, analyzer, x, MaxSensitivity(radius=0.5, draws=20))[0] < 1e-6


@pytest.mark.parametrize("metric", ["sensitivity_n", "infidelity", "max_sensitivity"])
def test_results_do_not_depend_on_batches_and_follow_the_seed(metric):
    model, x = float64_model((12,)), noise((12,))
    analyzer = explain("input_t_gradient", model)
    found = [values(model, analyzer, x, metric, 0, batch_size=size) for size in (1, 2, 64)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-8)
    other = evaluate(model, {"given": analyzer}, x, 0, metrics=metric, seed=1).samples["value"]
    assert np.all(other.to_numpy() != found[0])


def test_patterns_that_were_fitted_are_kept_for_neighbours():
    model, x = float64_model((4,)), noise((4,), 30)
    analyzer = innvestigate.create_analyzer("pattern.attribution", model)
    analyzer.fit(x)
    found = values(model, analyzer, x[:2], MaxSensitivity(draws=2))
    assert np.all(np.isfinite(found)) and np.all(found > 0)
