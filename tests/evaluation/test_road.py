"""ROAD: the imputation by a dense system of equations, the curves by loops."""

import sys
from itertools import product

import keras
import numpy as np
import pytest
from keras import layers

from innvestigate.evaluation import Road, evaluate
from innvestigate.evaluation.imputation import imputed

from .models import SHAPES, float64_model, linear_model, noise, run_naively


def naive_imputation(x, removed):
    """The equations of all places, written down one by one, and solved at once."""
    places = list(np.ndindex(removed.shape))
    number = {place: i for i, place in enumerate(places)}
    matrix, right = np.eye(len(places)), x.reshape(len(places), -1).astype("float64")
    for place in places:
        if not removed[place]:
            continue
        weights = {}
        for offset in product((-1, 0, 1), repeat=removed.ndim):
            at = tuple(p + o for p, o in zip(place, offset, strict=True))
            if at in number and at != place:
                weights[at] = 1 / sum(map(abs, offset))
        for at, weight in weights.items():
            matrix[number[place], number[at]] = -weight / sum(weights.values())
        right[number[place]] = 0
    return np.linalg.solve(matrix, right).reshape(x.shape)


@pytest.mark.parametrize("shape", [(40, 2), (9, 8, 2), (5, 4, 6, 1)])
@pytest.mark.parametrize("fraction", [0.2, 0.9])
def test_removed_places_are_the_mean_of_their_neighbours(shape, fraction):
    x = noise(shape, 3)
    removed = np.random.default_rng(0).uniform(size=(3, *shape[:-1])) < fraction
    removed[1] = True  # all but a corner: what is left is everywhere
    removed[1, *[0] * (len(shape) - 1)] = False
    removed[2] = False
    found = imputed(x, removed)
    for i in range(3):
        np.testing.assert_allclose(found[i], naive_imputation(x[i], removed[i]), atol=1e-6)
    np.testing.assert_array_equal(found[2], x[2])
    np.testing.assert_array_equal(found[~removed], x[~removed])


def test_a_large_hole_in_a_ramp_is_filled_by_the_ramp():
    """A linear function is the mean of its neighbours."""
    x = np.add.outer(np.arange(60.0), 2 * np.arange(50.0))[None, :, :, None]
    removed = np.zeros((1, 60, 50), bool)
    removed[:, 1:-1, 1:-1] = True
    np.testing.assert_allclose(imputed(x, removed), x, atol=1e-6)


def test_what_is_not_finite_is_not_imputed():
    x = np.full((1, 3, 3, 1), np.nan)
    with pytest.raises(ValueError, match=r"x must be .*NaN"):
        imputed(x, np.eye(3, dtype=bool)[None])


def test_a_long_gap_in_a_series_is_a_line():
    """The mean of two neighbours everywhere: a straight line from one end to the other."""
    x = np.random.default_rng(0).normal(size=(1, 3000, 2))
    removed = np.zeros((1, 3000), bool)
    removed[:, 20:2990] = True
    expected = np.linspace(x[0, 19], x[0, 2990], 2972)[1:-1]
    np.testing.assert_allclose(imputed(x, removed)[0, 20:2990], expected, atol=1e-6)


def test_scipy_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r"needs SciPy: pip install 'innvestigate\[evaluation\]'"):
        imputed(np.ones((1, 3, 3, 1)), np.eye(3, dtype=bool)[None])


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_equations_that_are_not_solved_are_told():
    x = np.full((1, 4, 4, 4, 1), 1e200)
    with pytest.raises(ValueError, match="were not solved"):
        imputed(x, np.random.default_rng(0).uniform(size=(1, 4, 4, 4)) < 0.5)


def test_of_nothing_nothing_is_imputed():
    with pytest.raises(ValueError, match="Nothing is left"):
        imputed(np.ones((2, 3, 3, 1)), np.array([np.zeros((3, 3)), np.ones((3, 3))], bool))


@pytest.mark.parametrize("kind", ["image", "series"])
def test_curves_are_those_of_explicit_loops(kind):
    shape = SHAPES[kind]
    model, x, relevance = float64_model(shape), noise(shape, 8), noise(shape, 8, 1)
    neuron, fractions = np.arange(8) % 3, (0.25, 0.5, 0.8)
    orders = ("most_relevant", "least_relevant")
    metric = Road(fractions, noise=0, orders=orders)
    found = evaluate(model, {"g": relevance}, x, neuron, metrics=metric, batch_size=20, verbose=0)
    assert set(found.curves["metric"]) == {"road"}
    for order, sign in zip(orders, (-1, 1), strict=True):
        hits = []
        for sample, r, k in zip(x, relevance, neuron, strict=True):
            summed = r.sum(axis=-1)
            ranking = np.argsort(sign * summed.reshape(-1))
            for fraction in (0, *fractions):
                removed = np.zeros(summed.size, bool)
                removed[ranking[: int(fraction * summed.size)]] = True
                changed = naive_imputation(sample, removed.reshape(summed.shape))
                outputs = [run_naively(model, changed, j) for j in range(3)]
                hits.append(outputs[k] == max(outputs))
        hits = np.array(hits, float).reshape(8, -1)
        curve = found.curves[found.curves["order"] == order]
        np.testing.assert_allclose(curve["fraction"], [0, *fractions])
        np.testing.assert_allclose(curve["mean"], hits.mean(axis=0))
        values = found.samples["value"][found.samples["metric"] == f"road_{order}"]
        np.testing.assert_allclose(values, hits[:, 1:].mean(axis=1))


@pytest.mark.parametrize("shape", [(7, 6, 2), (10, 2)])
def test_the_class_of_a_pixel_or_token_is_found_among_its_own_outputs(shape):
    """Each place has three outputs, which see its own two channels alone."""
    model = keras.Sequential(
        [layers.Input(shape, dtype="float64"), layers.Dense(3, dtype="float64")]
    )
    weights = noise((2, 3), 1)[0]
    model.set_weights([weights, np.zeros(3)])
    x, relevance = noise(shape, 8), noise(shape, 8, 1)
    places = [tuple(i % n for n in shape[:-1]) for i in range(8)]
    neuron = np.array([(*place, i % 3) for i, place in enumerate(places)])
    metric = Road((0.5,), noise=0, orders=("most_relevant",))
    found = evaluate(model, {"g": relevance}, x, neuron, metrics=metric, verbose=0)
    hits = np.zeros((2, 8))
    for i, place in enumerate(places):
        ranking = np.argsort(-relevance[i].sum(axis=-1).reshape(-1))
        removed = np.zeros(len(ranking), bool)
        removed[ranking[: len(ranking) // 2]] = True
        changed = naive_imputation(x[i], removed.reshape(shape[:-1]))
        hits[:, i] = [np.argmax(at[place] @ weights) == i % 3 for at in (x[i], changed)]
    np.testing.assert_allclose(found.curves["mean"], hits.mean(axis=1))
    np.testing.assert_allclose(found.samples["value"], hits[1])
    assert 0 < hits[1].mean() < 1


def test_noise_is_added_to_what_is_imputed_alone_and_follows_the_seed(monkeypatch):
    seen = []
    plain = Road._without

    def watched(self, subject, removed):
        seen.append((removed, plain(self, subject, removed), imputed(subject.x, removed)))
        return seen[-1][1]

    monkeypatch.setattr(Road, "_without", watched)
    model, x = float64_model((20, 20, 1)), noise((20, 20, 1), 2)
    metric = Road((0.5,), noise=0.1, orders=("random",))
    for seed in (0, 0, 1):
        evaluate(model, {"g": x}, x, metrics=metric, seed=seed, verbose=0)
    removed, found, without = seen[0]
    np.testing.assert_array_equal(found[~removed], x[~removed])
    assert np.std((found - without)[removed]) == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(found, seen[1][1])
    assert np.any(found != seen[2][1])


def test_results_do_not_depend_on_batches():
    model, x, relevance = float64_model((7, 6, 2)), noise((7, 6, 2)), noise((7, 6, 2), seed=1)
    found = [
        evaluate(model, {"g": relevance}, x, metrics="road", batch_size=n, seed=4, verbose=0)
        for n in (2, 64)
    ]
    np.testing.assert_array_equal(*(table.samples["value"] for table in found))


@pytest.mark.parametrize("fractions", [(), (0,), (1.0,), (0.5, 0.2), (0.2, 0.2), "half", None])
def test_fractions_are_checked(fractions):
    with pytest.raises(ValueError, match="fractions must"):
        Road(fractions)


def test_a_fraction_of_no_place_is_refused():
    model, x = float64_model((10, 1)), noise((10, 1))
    ask = lambda first: evaluate(  # noqa: E731
        model, {"g": x}, x, metrics=Road((first, 0.5)), verbose=0
    )
    with pytest.raises(ValueError, match=r"Of 10 places the fraction 0.09 is none.*least 1/10"):
        ask(0.09)
    assert ask(0.1).curves["fraction"].tolist()[:3] == [0, 0.1, 0.5]


def test_what_does_not_fit_is_refused():
    model, x = float64_model((8,)), noise((8,))
    with pytest.raises(ValueError, match="neighbouring places"):
        evaluate(model, {"g": x}, x, metrics="road", verbose=0)
    with pytest.raises(ValueError, match="does not fit whole numbers"):
        evaluate(model, {"g": x}, x.astype(int), metrics="road", verbose=0)
    model, x = linear_model((6, 2)), noise((6, 2))
    with pytest.raises(ValueError, match="one output"):
        evaluate(model, {"g": x}, x, metrics=Road((0.5,)), verbose=0)
    model = keras.Sequential([layers.Input((6, 2)), layers.Dense(1)])
    with pytest.raises(ValueError, match="one at each place"):
        evaluate(model, {"g": x}, x, metrics=Road((0.5,)), verbose=0)
    with pytest.raises(ValueError, match="noise must be"):
        Road(noise=-1)
