"""Deletion and insertion, the blur, and how many steps there are by default."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import layers

from innvestigate.evaluation import Deletion, Insertion, RegionPerturbation, evaluate

from .models import SHAPES, float64_model, linear_model, noise, run_naively
from .test_region_perturbation import region_slices


def naive_area(model, x, relevance, neuron, region, other, kind, order):
    """The area under one curve, by trapezoids."""
    slices = region_slices(x.shape, region)
    sign = -1 if order == "most_relevant" else 1
    ranking = np.argsort([sign * relevance[s].mean() for s in slices])
    current, end = (x, other) if kind is Deletion else (other, x)
    current, outputs = current.copy(), []
    for r in [None, *ranking]:
        if r is not None:
            current[slices[r]] = end[slices[r]]
        outputs.append(run_naively(model, current, neuron))
    return sum((a + b) / 2 / len(slices) for a, b in pairwise(outputs))


@pytest.mark.parametrize("kind", [Deletion, Insertion])
@pytest.mark.parametrize(("shape", "region"), [("image", (3, 3)), ("series", (3,))])
def test_areas_are_those_of_explicit_loops(shape, region, kind):
    shape = SHAPES[shape]
    model, x, relevance = float64_model(shape, softmax=True), noise(shape), noise(shape, seed=1)
    neuron, other = np.array([0, 1, 2, 0, 1]), np.full(shape, 0.3)
    metric = kind(0.3, region, orders=("most_relevant", "least_relevant"))
    found = evaluate(model, {"g": relevance}, x, neuron, metrics=metric, batch_size=3, verbose=0)
    for order in metric.orders:
        name = f"{metric.name}_{order}"
        values = found.samples["value"][found.samples["metric"] == name]
        rows = zip(x, relevance, neuron, strict=True)
        expected = [naive_area(model, *row, region, other, kind, order) for row in rows]
        np.testing.assert_allclose(values, expected, rtol=1e-9)
    assert set(found.curves["metric"]) == {metric.name}


def test_the_last_step_may_be_smaller():
    """Of 8 features 3 are replaced at a time: the widths of the trapezoids are 3/8, 3/8, 2/8."""
    model, x = float64_model((8,)), noise((8,), 1)
    metric = Deletion(regions_per_step=3, orders=("most_relevant",))
    found = evaluate(model, {"g": -np.arange(8.0)[None]}, x, 0, metrics=metric, verbose=0)
    y = [run_naively(model, np.where(np.arange(8) < k, 0, x[0]), 0) for k in (0, 3, 6, 8)]
    area = 3 / 8 * (y[0] + y[1]) / 2 + 3 / 8 * (y[1] + y[2]) / 2 + 2 / 8 * (y[2] + y[3]) / 2
    assert found.scores["mean"][0] == pytest.approx(area)
    metric = Deletion(regions_per_step=3, steps=2, orders=("most_relevant",))
    found = evaluate(model, {"g": -np.arange(8.0)[None]}, x, 0, metrics=metric, verbose=0)
    assert found.scores["mean"][0] == pytest.approx((y[0] + 2 * y[1] + y[2]) / 4)


def test_a_perfect_order_of_a_linear_model_beats_every_other():
    model, x = linear_model((8,)), noise((8,), 20)
    exact = x * model.get_weights()[0][:, 0]
    given = {"exact": exact, "wrong": -exact, "blind": noise((8,), 20, 5)}
    metrics = [Deletion(), Insertion("zeros")]
    found = evaluate(model, given, x, metrics=metrics, seed=0, verbose=0).scores
    found = found.set_index(["metric", "method"])["mean"]
    deletion, insertion = found["deletion_most_relevant"], found["insertion_most_relevant"]
    assert deletion.idxmin() == insertion.idxmax() == "exact"
    assert deletion.idxmax() == insertion.idxmin() == "wrong"
    assert deletion["exact"] < found["deletion_random", "random order"] < deletion["wrong"]
    assert insertion["exact"] > found["insertion_random", "random order"] > insertion["wrong"]


def test_insertion_ends_where_deletion_starts():
    model, x = float64_model((7, 6, 2)), noise((7, 6, 2))
    metrics = [Deletion("zeros", 3), Insertion("zeros", 3)]
    curves = evaluate(model, {"g": noise((7, 6, 2), 5, 1)}, x, metrics=metrics, verbose=0).curves
    ends = curves[curves["fraction"].isin([0, 1])].set_index(["metric", "order", "fraction"])
    for order in ("most_relevant", "random"):
        for start in (0, 1):
            deleted = ends.loc[("deletion", order, start), "mean"]
            assert deleted == pytest.approx(ends.loc[("insertion", order, 1 - start), "mean"])


def naive_blur(sample):
    """Each place as the mean of the places around it, those beyond the border being its own."""
    axes = sample.ndim - 1
    weights = [np.exp(-(k**2) / (2 * 25)) for k in range(-5, 6)]
    found = np.zeros_like(sample)
    for place in np.ndindex(sample.shape[:-1]):
        for shift in np.ndindex(*[11] * axes):
            at = tuple(
                min(max(p + k - 5, 0), size - 1)
                for p, k, size in zip(place, shift, sample.shape, strict=False)
            )
            found[place] += sample[at] * np.prod([weights[k] for k in shift])
    return found / sum(weights) ** axes


@pytest.mark.parametrize("shape", [(7, 6, 2), (10, 3)])
def test_insertion_starts_from_the_blurred_sample(shape):
    model, x = float64_model(shape), noise(shape, 2)
    metric = Insertion(region_shape=2, orders=("most_relevant",))
    found = evaluate(model, {"g": x}, x, 1, metrics=metric, verbose=0).curves["mean"][0]
    expected = np.mean([run_naively(model, naive_blur(sample), 1) for sample in x])
    assert found == pytest.approx(expected)


def test_tabular_data_and_tokens_are_not_blurred():
    model, x = float64_model((8,)), noise((8,))
    with pytest.raises(ValueError, match=r"neighbouring places.*such as perturbation=0\."):
        evaluate(model, {"g": x}, x, metrics="insertion", verbose=0)
    evaluate(model, {"g": x}, x, metrics=Insertion(perturbation=0), verbose=0)
    tokens = np.ones((3, 8), "int32")
    with pytest.raises(ValueError, match="does not fit whole numbers"):
        evaluate(model, {"g": x[:3]}, tokens, metrics="insertion", verbose=0)


@pytest.mark.parametrize(
    ("size", "arguments", "steps"),
    [
        (100, {}, 20),  # five at a time
        (101, {}, 17),  # six at a time
        (12, {}, 12),
        (100, {"steps": 7}, 7),  # one at a time
        (100, {"regions_per_step": 1}, 100),
        (100, {"regions_per_step": 40}, 3),
    ],
)
def test_how_many_steps_there_are(size, arguments, steps):
    model = keras.Sequential([layers.Input((size, 1)), layers.GlobalAveragePooling1D()])
    model = keras.Sequential([model, layers.Dense(2)])
    metric = RegionPerturbation(orders=("most_relevant",), **arguments)
    x = np.ones((1, size, 1), "float32")
    curve = evaluate(model, {"g": x}, x, metrics=metric, verbose=0).curves
    assert len(curve) == steps + 1
    assert curve["fraction"].iloc[-1] == pytest.approx(7 / 100 if "steps" in arguments else 1)


def test_the_default_of_an_image_is_a_coarse_version_of_the_finest_curve():
    model, x = float64_model((20, 20, 1), softmax=True), noise((20, 20, 1), 3)
    areas = [
        evaluate(model, {"g": x}, x, 0, metrics=RegionPerturbation(**more), seed=0, verbose=0)
        for more in ({"region_shape": 1}, {"region_shape": 1, "regions_per_step": 1})
    ]
    np.testing.assert_allclose(*(found.scores["mean"] for found in areas), atol=0.05)
