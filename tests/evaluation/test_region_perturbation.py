"""Region perturbation: against explicit loops, and what must hold of any curve."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from innvestigate.evaluation import RegionPerturbation, aopc, evaluate

from .models import SHAPES, float64_model, linear_model, noise, run_naively


def region_slices(shape, region):
    """The regions of a centred grid, as slices, one axis after the other."""
    found = [()]
    for axis, size in enumerate(shape):
        width = region[axis] if axis < len(region) else size
        standing_out = (-size) % width
        first = width - standing_out // 2
        edges = [0, *range(first, size, width), size]
        parts = [slice(a, b) for a, b in pairwise(edges)]
        found = [(*before, part) for before in found for part in parts]
    return found


def replaced(name, part):
    """What stands for a region; channels are last."""
    if name == "zeros":
        return np.zeros_like(part)
    if name == "invert":
        return -part
    if name == "mean":
        if part.ndim == 1:
            return np.full_like(part, part.mean())
        return np.broadcast_to(part.mean(axis=tuple(range(part.ndim - 1))), part.shape)
    raise NotImplementedError(name)


def naive_curve(model, sample, relevance, neuron, region, name, order, per_step, steps):
    slices = region_slices(sample.shape, region)
    means = np.array([relevance[s].mean() for s in slices])
    sign = -1 if order == "most_relevant" else 1
    ranking = np.argsort(sign * means)
    changed, found = sample.copy(), [run_naively(model, sample, neuron)]
    for step in range(steps):
        for r in ranking[step * per_step : (step + 1) * per_step]:
            changed[slices[r]] = replaced(name, sample[slices[r]])
        found.append(run_naively(model, changed, neuron))
    return np.array(found)


CASES = [
    ("image", (3, 3), "zeros", 1, 6),
    ("image", (2, 3), "mean", 2, 4),
    ("image", (7, 6, 1), "invert", 1, 2),
    ("image", (1, 1), "invert", 5, 3),
    ("series", (3,), "mean", 1, 4),
    ("series", (4, 1), "zeros", 2, 4),
    ("features", (1,), "zeros", 1, 8),
    ("features", (3,), "mean", 1, 3),
    ("features", (2,), "invert", 3, 2),
]


@pytest.mark.parametrize("order", ["most_relevant", "least_relevant"])
@pytest.mark.parametrize(("kind", "region", "name", "per_step", "steps"), CASES)
def test_curve_is_that_of_explicit_loops(kind, region, name, per_step, steps, order):
    shape = SHAPES[kind]
    model, x, relevance = float64_model(shape, softmax=True), noise(shape), noise(shape, seed=1)
    neuron = np.array([0, 1, 2, 0, 1])
    metric = RegionPerturbation(name, region, steps, per_step, orders=(order,))
    found = evaluate(model, {"given": relevance}, x, neuron, metrics=metric, batch_size=3)
    expected = np.array(
        [
            naive_curve(model, *one, region, name, order, per_step, steps)
            for one in zip(x, relevance, neuron, strict=True)
        ]
    )
    curve = found.curves
    np.testing.assert_allclose(curve["mean"], expected.mean(axis=0), rtol=1e-10)
    error = expected.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(curve["error"], error, rtol=1e-8)
    areas = [np.mean([c[0] - value for value in c]) for c in expected]
    np.testing.assert_allclose(found.samples["value"], areas, rtol=1e-8)
    assert list(curve["step"]) == list(range(steps + 1))
    count = len(region_slices(shape, region))
    fractions = [min(1, step * per_step / count) for step in range(steps + 1)]
    np.testing.assert_allclose(curve["fraction"], fractions)
    score = found.scores.iloc[0]
    assert (score["method"], score["metric"], score["samples"]) == ("given", f"aopc_{order}", 5)
    np.testing.assert_allclose(score["mean"], np.mean(areas), rtol=1e-8)
    np.testing.assert_allclose(score["error"], np.std(areas, ddof=1) / np.sqrt(5), rtol=1e-8)


def test_aopc_of_a_curve():
    assert aopc(np.array([[4.0, 2.0, 0.0]])) == pytest.approx([2.0])  # (0 + 2 + 4) / 3


def scores(found):
    return found.scores.set_index(["method", "metric"])["mean"].to_dict()


def test_perfect_order_of_a_linear_model_beats_every_other():
    model, x = linear_model((8,)), noise((8,), 20)
    contributions = x * model.get_weights()[0][:, 0]
    given = {"exact": contributions, "wrong": -contributions, "blind": noise((8,), 20, 5)}
    found = scores(evaluate(model, given, x, metrics="region_perturbation", seed=0))
    best = found["exact", "aopc_most_relevant"]
    assert best == max(found.values())
    assert found["wrong", "aopc_least_relevant"] == pytest.approx(best)
    assert found["exact", "aopc_least_relevant"] == min(found.values())
    assert best > found["random order", "aopc_random"] > found["exact", "aopc_least_relevant"]


def test_relevance_without_differences_is_the_random_order():
    model, x = float64_model((8,)), noise((8,))
    found = scores(evaluate(model, {"flat": np.ones((5, 8))}, x, seed=3))
    assert found["flat", "aopc_most_relevant"] == found["random order", "aopc_random"]
    assert found["flat", "aopc_least_relevant"] == found["random order", "aopc_random"]


def test_after_the_last_step_everything_is_replaced():
    model, x = float64_model((7, 6, 2)), noise((7, 6, 2))
    metric = RegionPerturbation(region_shape=4, regions_per_step=3)
    found = evaluate(model, {"given": x}, x, 1, metrics=metric).curves
    last = found[found["fraction"] == 1]
    assert len(last) == 3
    np.testing.assert_allclose(last["mean"], run_naively(model, 0 * x[0], 1))


@pytest.mark.parametrize("perturbation", ["zeros", "gaussian", "mean", "invert"])
def test_results_do_not_depend_on_batches(perturbation):
    model, x, relevance = float64_model((7, 6, 2)), noise((7, 6, 2)), noise((7, 6, 2), seed=1)
    metric = RegionPerturbation(perturbation, region_shape=3)
    found = [
        evaluate(model, {"given": relevance}, x, metrics=metric, batch_size=size, seed=4).samples
        for size in (1, 2, 64)
    ]
    np.testing.assert_allclose(found[0]["value"], found[1]["value"], rtol=1e-10)
    np.testing.assert_allclose(found[0]["value"], found[2]["value"], rtol=1e-10)


def test_gaussian_noise_has_the_scale_of_the_original_and_follows_the_seed():
    model, x = linear_model((4000,)), np.zeros((2, 4000))
    weights, bias = model.get_weights()
    model.set_weights([np.full_like(weights, 1 / 4000), bias])
    metric = RegionPerturbation("gaussian", 4000, orders=("most_relevant",))
    by_seed = [
        evaluate(model, {"given": x}, x, metrics=metric, seed=seed).samples["value"].to_numpy()
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(by_seed[0], by_seed[1])
    assert np.all(by_seed[0] != by_seed[2])
    assert by_seed[0][0] != by_seed[0][1]
    drop = np.abs(np.concatenate(by_seed)) * 2  # the mean of 4,000 draws, seen at half the steps
    assert np.all(drop < 5 * 0.3 / np.sqrt(4000))


def test_functions_arrays_and_the_value_range():
    model, x = linear_model((4,)), noise((4,))
    mean = x.mean(axis=0)
    by_function = RegionPerturbation(lambda batch: 0 * batch + mean, orders=("random",))
    by_array = RegionPerturbation(mean, orders=("random",))
    found = [
        evaluate(model, {"given": x}, x, metrics=m, seed=0).samples["value"].to_numpy()
        for m in (by_function, by_array)
    ]
    np.testing.assert_array_equal(*found)
    clipped = RegionPerturbation(5.0, value_range=(0, 1), orders=("random",))
    last = evaluate(model, {"given": x}, x, metrics=clipped).curves["mean"].iloc[-1]
    assert last == pytest.approx(run_naively(model, np.ones(4), 0))


def test_tokens_are_replaced_by_an_id():
    model = keras.Sequential([layers.Input((5,), dtype="int32"), layers.Embedding(9, 3)])
    model.add(layers.Flatten())
    model.add(layers.Dense(2))
    x = np.random.default_rng(0).integers(1, 9, (3, 5))
    metric = RegionPerturbation(perturbation=8, orders=("most_relevant",))
    relevance = np.tile([5.0, 4, 3, 2, 1], (3, 1))
    found = evaluate(model, {"given": relevance}, x, 1, metrics=metric).curves["mean"]
    for step in range(6):
        changed = x.copy()
        changed[:, :step] = 8
        expected = keras.ops.convert_to_numpy(model(changed))[:, 1].mean()
        assert found[step] == pytest.approx(expected, rel=1e-5)


def test_top_class_at_the_unperturbed_sample_is_followed():
    model, x = float64_model((8,)), noise((8,))
    found = evaluate(model, {"given": x}, x).curves
    top = [max(run_naively(model, sample, k) for k in range(3)) for sample in x]
    np.testing.assert_allclose(found["mean"][found["step"] == 0], np.mean(top))


def test_outputs_with_several_axes():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(6), layers.Reshape((2, 3))])
    x = noise((4,), 3).astype("float32")
    index = [(0, 1), (1, 2), (1, 0)]
    metric = RegionPerturbation(orders=("most_relevant",))
    found = evaluate(model, {"given": x}, x, np.array(index), metrics=metric).curves
    y = keras.ops.convert_to_numpy(model(x))
    expected = np.mean([y[i][at] for i, at in enumerate(index)])
    assert found["mean"][0] == pytest.approx(expected, rel=1e-5)
    one = evaluate(model, {"given": x}, x, (1, 2), metrics=metric).curves
    assert one["mean"][0] == pytest.approx(y[:, 1, 2].mean(), rel=1e-5)
