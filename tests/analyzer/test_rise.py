"""RISE against its formula, given the same draws, and against its expected value."""

from functools import cache
from itertools import product
from math import ceil

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.analyzer.masks import Masks
from tests.analyzer import coalitions
from tests.models import build

pytestmark = pytest.mark.usefixtures("step_by_step")

X = np.random.default_rng(0).normal(size=(3, 4))
REFERENCE = np.random.default_rng(1).normal(size=4)
products = cache(coalitions.products)


def make(model, mode="index", **arguments):
    return innvestigate.create_analyzer("rise", model, neuron_selection_mode=mode, **arguments)


def draw(shape, cells, probability, seed, number):
    """The cells of a mask and how far it is shifted along each axis."""
    random = np.random.default_rng((*seed, number))
    grid = [size if n is None else n for size, n in zip(shape, cells, strict=True)]
    chosen = (random.random(grid) < probability).astype(float)
    ends = [1 if n in (1, None) else ceil(size / n) for size, n in zip(shape, cells, strict=True)]
    return chosen, random.integers(0, ends)


def naive_mask(shape, cells, chosen, shifts):
    """Cells that are enlarged along one axis after the other, and cut out."""
    for axis, (size, n) in enumerate(zip(shape, cells, strict=True)):
        if n not in (1, None):
            places = (n + 1) * ceil(size / n)
            at = (np.arange(places) + 0.5) * n / places - 0.5
            line = lambda values, at=at, n=n: np.interp(at, np.arange(n), values)  # noqa: E731
            chosen = np.apply_along_axis(line, axis, chosen)
            chosen = np.take(chosen, shifts[axis] + np.arange(size), axis=axis)
    return np.broadcast_to(chosen, shape)


CELLS = {
    "table": ((5,), (None,)),
    "series": ((11,), (4,)),
    "sequence": ((9, 3), (2, 1)),
    "image": ((7, 6, 2), (3, 4, 1)),
    "channels first": ((2, 6, 7), (1, 3, 3)),
    "volume": ((4, 5, 3, 1), (2, 5, 3, 1)),
}


@pytest.mark.parametrize("case", CELLS)
def test_masks_are_enlarged_and_shifted_cells(case):
    shape, cells = CELLS[case]
    masks = Masks(shape, cells, 0.4, True, (3, 0))
    numbers = np.array([5, 0, 17])
    expected = [
        naive_mask(shape, cells, *draw(shape, cells, 0.4, (3, 0), number)) for number in numbers
    ]
    found = np.broadcast_to(masks.at(numbers), (3, *shape))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("soft", [True, False])
def test_cells_are_enlarged_as_images_are(soft):
    """Keras resizes images in the same way, bilinear and nearest."""
    shape, cells = (8, 9, 1), (4, 3, 1)
    found = Masks(shape, cells, 0.5, soft, (0, 0)).at(np.arange(6))
    how = "bilinear" if soft else "nearest"
    for number, mask in enumerate(found):
        chosen, (down, right, _) = draw(shape, cells, 0.5, (0, 0), number)
        image = ops.image.resize(chosen.astype("float32"), (10, 12), interpolation=how)
        expected = np.array(image)[down : down + 8, right : right + 9]
        np.testing.assert_allclose(mask, expected, atol=1e-6)


@pytest.mark.parametrize("case", CELLS)
@pytest.mark.parametrize("soft", [True, False])
def test_a_place_is_seen_with_the_probability(case, soft):
    found = Masks(*CELLS[case], 0.3, soft, (1, 0)).at(np.arange(2000))
    assert found.min() >= 0 and found.max() <= 1 + 1e-12
    error = found.std(axis=0) / np.sqrt(2000)
    assert np.all(np.abs(found.mean(axis=0) - 0.3) < 5 * error)
    assert soft == bool(((found > 0.01) & (found < 0.99)).any()) or case == "table"


@cache
def image_model():
    """A model of images that is not linear, in double precision."""
    keras.utils.set_random_seed(0)
    parts = layers.Flatten(dtype="float64"), layers.Dense(3, "tanh", dtype="float64")
    return keras.Sequential([layers.Input((4, 5, 2), dtype="float64"), *parts])


IMAGES = np.random.default_rng(2).normal(size=(3, 4, 5, 2))


def naive_rise(function, x, references, masks, probability):
    """The formula: one sample, one mask, one reference at a time."""
    total = np.zeros(x.shape)
    for mask, reference in product(masks, references):
        total += function(mask * x + (1 - mask) * reference) * mask
    return total / (len(masks) * len(references) * probability)


def test_it_is_its_formula():
    cells, seed = (3, 2, 1), (7, 0)
    references = np.random.default_rng(3).normal(size=(3, 2, 4, 5, 2))
    drawn = [draw((4, 5, 2), cells, 0.4, seed, number) for number in range(9)]
    masks = [naive_mask((4, 5, 2), cells, *each) for each in drawn]
    expected = [
        naive_rise(lambda a: np.array(image_model()(a[None]))[0, 1], x, r, masks, 0.4)
        for x, r in zip(IMAGES, references, strict=True)
    ]
    made = make(
        image_model(),
        masks=9,
        probability=0.4,
        cells=(3, 2),
        reference_inputs=references,
        seed=7,
        keep_output_activation=True,
    )
    for batch_size in (1, 2, 100):
        found = made.analyze(IMAGES, 1, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_its_mean_over_all_masks_of_a_table():
    """E R_i = Σ_m P(m | m_i = 1) f(x, m), by all masks; half the others are there as well."""
    p, found = 0.3, make(products(), masks=4000, probability=0.3, seed=0, reference_inputs=0.5)
    for neuron in range(3):
        each = {}
        for mask in product([0, 1], repeat=4):
            chance = p ** sum(mask) * (1 - p) ** (4 - sum(mask))
            inputs = np.where(mask, X, 0.5)
            values = np.array([coalitions.by_hand(x)[neuron] for x in inputs])
            each[mask] = chance, values[:, None] * mask / p
        mean = sum(chance * y for chance, y in each.values())
        spread = np.sqrt(sum(chance * (y - mean) ** 2 for chance, y in each.values()))
        off = found.analyze(X, neuron, batch_size=3000) - mean
        assert np.all(np.abs(off) < 4.5 * spread / np.sqrt(4000))


def test_its_mean_for_a_linear_model():
    """E R_i = (1 - p) w_i x_i + p w·x + b, where zero stands for what is masked."""
    dense = layers.Dense(1, dtype="float64")
    model = keras.Sequential([layers.Input((4,), dtype="float64"), dense])
    model.set_weights([np.array([[1.0], [-2.0], [0.5], [3.0]]), np.array([0.7])])
    weights, p = model.get_weights()[0][:, 0], 0.4
    found = make(model, masks=20000, probability=p, seed=1).analyze(X, 0, batch_size=30000)
    expected = (1 - p) * weights * X + p * (X @ weights)[:, None] + 0.7
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert np.ptp(expected, axis=1).max() > 1


def test_without_masks_all_places_are_the_output():
    found = make(products(), masks=2, probability=1).analyze(X, 0)
    expected = np.array([coalitions.by_hand(x)[:1] for x in X])
    np.testing.assert_allclose(found, np.repeat(expected, 4, axis=1), rtol=1e-12)


def test_seeds():
    seeded = make(products(), masks=5, seed=4)
    first = seeded.analyze(X, 2)
    np.testing.assert_array_equal(seeded.analyze(X, 2), first)
    assert not np.array_equal(make(products(), masks=5, seed=5).analyze(X, 2), first)
    free = make(products(), masks=5)
    assert np.ptp([free.analyze(X, 2) for _ in range(4)], axis=0).max() > 1e-6


def test_samples_are_explained_one_by_one():
    made = make(products(), masks=30, seed=0, reference_inputs=REFERENCE)
    found, order = made.analyze(X, [0, 1, 2]), [2, 0, 1]
    np.testing.assert_allclose(made.analyze(X[order], order), found[order], rtol=1e-12)
    alone = [made.analyze(X[i : i + 1], [i])[0] for i in range(3)]
    np.testing.assert_allclose(alone, found, rtol=1e-12)
    stream = made.analyze(iter([X[:2], X[2:]]), [0, 1, 2], batch_size=2)
    np.testing.assert_allclose(stream, found, rtol=1e-9)


def test_no_more_masks_than_a_batch_are_held(monkeypatch):
    sizes, at = [], Masks.at
    monkeypatch.setattr(Masks, "at", lambda self, n: (sizes.append(len(n)), at(self, n))[1])
    make(products(), masks=20, seed=0).analyze(X, 0, batch_size=6)
    assert max(sizes) == 2 and sum(sizes) == 20


def test_several_inputs_have_masks_of_their_own():
    model, (image, vector) = build("two_inputs")
    made = make(model, masks=8, seed=0, cells={"image": (2, 3), "vector": 1})
    found = made.analyze([image, vector], 0)
    size = image.shape[1:]
    drawn = [naive_mask(size, (2, 3, 1), *draw(size, (2, 3, 1), 0.5, (0, 0), i)) for i in range(8)]
    masks = np.stack([draw((5,), (None,), 0.5, (0, 1), i)[0] for i in range(8)])
    totals = [np.zeros(image.shape), np.zeros(vector.shape)]
    for mask, other in zip(drawn, masks, strict=True):
        inputs = [(image * mask).astype("float32"), (vector * other).astype("float32")]
        value = np.array(model(inputs))[:, 0]
        totals[0] += value[:, None, None, None] * mask / 4
        totals[1] += value[:, None] * other / 4
    for a, b in zip(found, totals, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", ["embedding", "uint8"])
def test_whole_numbers_are_kept_or_replaced(name, monkeypatch):
    model, x = build(name)
    made, seen = make(model, "all", masks=6, seed=0, cells=2, reference_inputs=3), []
    run = made.outputs
    monkeypatch.setattr(made, "outputs", lambda inputs: (seen.append(inputs[0]), run(inputs))[1])
    assert np.isfinite(made.analyze(x)).all()
    rows = np.concatenate(seen).reshape(6, *x.shape)
    assert rows.dtype == x.dtype
    assert np.all((rows == x) | (rows == 3)) and (rows == 3).any() and (rows == x).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masks": 0}, "masks must be a whole number >= 1"),
        ({"probability": 0}, r"probability must be in \(0, 1\]"),
        ({"probability": 1.5}, r"probability must be in \(0, 1\]"),
        ({"cells": 0}, "cells must be a whole number >= 1"),
        ({"cells": (5, 5)}, r"cells must be.*\(5, 5\).*shape \(4, 5, 2\)"),
        ({"cells": (2, 2, 1, 1)}, "cells must be"),
        ({"cells": {"x": 1}}, "cells does not match"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"layers": ("dense",)}, "explains the model's inputs only"),
    ],
)
def test_wrong_arguments(arguments, message):
    if "layers" in arguments:
        arguments = {"layers": (image_model().layers[-1].name,)}
    with pytest.raises(ValueError, match=message):
        make(image_model(), **arguments)
