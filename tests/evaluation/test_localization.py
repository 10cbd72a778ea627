"""Pointing game, relevance mass and rank accuracy: naive loops, what must hold, and refusals."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innvestigate.evaluation import (
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
    evaluate,
)

from .models import SHAPES, float64_model, noise, told

METRICS = (PointingGame, RelevanceMassAccuracy, RelevanceRankAccuracy)
PLACES = {"image": (7, 6), "series": (10,), "features": (8,)}
FEW = st.lists(
    st.tuples(st.integers(-2, 3), st.booleans()), min_size=1, max_size=6
)  # relevance with ties, and whether it is on the object


def one(metric, relevance):
    (found,) = told(metric, np.asarray(relevance, "float64")[None]).values()
    return found[0]


def naive_places(sample, part):
    """What counts at each place of a sample."""
    summed = sample.sum(axis=-1) if sample.ndim > 1 else sample
    return {i: abs(v) if part == "absolute" else max(v, 0) for i, v in np.ndenumerate(summed)}


def naive_pointing(r, mask, tolerance):
    top = max(r, key=r.get)
    distances = [np.sqrt(sum((a - b) ** 2 for a, b in zip(i, top, strict=True))) for i in mask]
    return float(min(distances) <= tolerance)


def naive_mass(r, mask):
    return sum(r[i] for i in mask) / sum(r.values())


def naive_rank(r, mask):
    best = sorted(r, key=r.get, reverse=True)[: len(mask)]
    return sum(i in mask for i in best) / len(mask)


def blobs(kind, count=5):
    """Masks that hold some places of each sample."""
    random = np.random.default_rng(7)
    masks = random.uniform(size=(count, *PLACES[kind])) < 0.4
    masks[:, *[0] * len(PLACES[kind])] = True
    return masks


@pytest.mark.parametrize("part", ["positive", "absolute"])
@pytest.mark.parametrize("kind", list(SHAPES))
def test_each_is_what_loops_say(kind, part):
    shape, masks = SHAPES[kind], blobs(kind)
    model, x = float64_model(shape), noise(shape)
    relevance = noise(shape, seed=1)
    if part == "positive":
        relevance = np.abs(relevance)  # loops do not know of ties, of which zeros are some
    metrics = [
        PointingGame(masks, part=part, tolerance=1.5),
        RelevanceMassAccuracy(masks.astype("float32")[..., None], part=part),
        RelevanceRankAccuracy(masks.astype(int), part=part),
    ]
    table = evaluate(model, {"g": relevance}, x, metrics=metrics, batch_size=2, verbose=0).samples
    found = table[table["method"] == "g"]["value"].to_numpy().reshape(3, -1)
    naive = [naive_pointing, naive_mass, naive_rank]
    for row, loop, more in zip(found, naive, [(1.5,), (), ()], strict=True):
        pairs = zip(relevance, masks, strict=True)
        objects = [(naive_places(r, part), {*map(tuple, np.argwhere(m))}) for r, m in pairs]
        np.testing.assert_allclose(row, [loop(*pair, *more) for pair in objects])
    chance = table[table["method"] == "random order"]["value"].to_numpy().reshape(3, -1)
    np.testing.assert_allclose(chance[1:], [masks.reshape(5, -1).mean(axis=1)] * 2)


@given(FEW)
def test_ties_count_as_if_they_were_drawn(pairs):
    """The mean over all orders of equal places."""
    values = np.maximum([r for r, _ in pairs], 0)
    mask = np.array([on for _, on in pairs])
    mask[0] = True
    hits, shares = [], []
    for order in permutations(range(len(pairs))):
        ranked = sorted(order, key=lambda i: -values[i])  # stable: ties stay as they were drawn
        hits.append(mask[ranked[0]])
        shares.append(mask[ranked[: mask.sum()]].mean())
    assert one(PointingGame(mask[None]), values) == pytest.approx(np.mean(hits))
    assert one(RelevanceRankAccuracy(mask[None]), values) == pytest.approx(np.mean(shares))


@given(FEW, st.floats(1e-3, 1e3), st.randoms())
def test_neither_scale_nor_the_order_of_places_matters(pairs, factor, random):
    shuffled = random.sample(pairs, len(pairs))
    for create in METRICS:
        both = [
            one(create(np.array([[on for _, on in given]]) | (np.arange(len(given)) < 0)), values)
            for given, values in (
                (pairs, [r for r, _ in pairs]),
                (shuffled, [factor * r for r, _ in shuffled]),
            )
            if any(on for _, on in given)
        ]
        assert both == pytest.approx(both[::-1])


@given(FEW)
def test_the_whole_sample_and_the_object_alone_are_perfect(pairs):
    values = np.array([r for r, _ in pairs])
    for create in METRICS:
        everywhere = one(create(np.ones((1, len(pairs)))), values)
        assert everywhere == (1 if create is not RelevanceMassAccuracy or values.max() > 0 else 0)
        mask = values > 0
        if mask.any():
            assert one(create(mask[None]), values) == pytest.approx(1)
            assert one(create(mask[None]), -values) < 1 or mask.all()


def test_relevance_that_is_the_same_everywhere_gets_what_chance_gets():
    masks = blobs("image", 1)
    for create in METRICS:
        assert one(create(masks), np.ones((7, 6, 2))) == pytest.approx(masks.mean())


def test_absolute_relevance_counts_what_speaks_against():
    relevance, mask = np.array([-3.0, 1, 0]), np.array([[1, 0, 0]])
    for create, positive, absolute in zip(METRICS, (0, 0, 0), (1, 0.75, 1), strict=True):
        assert one(create(mask), relevance) == positive
        assert one(create(mask, part="absolute"), relevance) == absolute


def test_without_relevance_no_mass_is_on_the_object():
    assert one(RelevanceMassAccuracy(np.array([[1, 0]])), [-1.0, 0]) == 0


def test_huge_relevance():
    found = one(RelevanceMassAccuracy(np.array([[1, 0, 0, 0]])), np.full(4, 1e308))
    assert found == pytest.approx(0.25)


def test_boxes_are_masks():
    shape = (7, 6, 2)
    model, x, relevance = float64_model(shape), noise(shape, 3), noise(shape, 3, 1)
    boxes = [[[0, 1, 3, 4], [2, 3, 7, 6]], [5, 0, 6, 2], np.array([[0, 0, 7, 6]])]
    masks = np.zeros((3, 7, 6), bool)
    for i, j in product(range(7), range(6)):
        masks[0, i, j] = (i < 3 and 1 <= j < 4) or (i >= 2 and j >= 3)
        masks[1, i, j] = i == 5 and j < 2
    masks[2] = True
    given, found = {"given": relevance}, []
    for where in ({"masks": masks}, {"boxes": boxes}):
        metrics = [create(**where) for create in METRICS]
        found.append(evaluate(model, given, x, metrics=metrics, batch_size=2, verbose=0).samples)
    np.testing.assert_array_equal(found[0]["value"], found[1]["value"])
    one_each = np.array([[0, 1, 3, 4], [5, 0, 6, 2], [0, 0, 7, 6]])
    pointing = evaluate(model, given, x, metrics=PointingGame(boxes=one_each), verbose=0)
    assert len(pointing.samples) == 6


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2.3])
def test_the_tolerance_is_a_distance(tolerance):
    mask = np.zeros((1, 9, 7), bool)
    mask[0, 1, 2] = mask[0, 8, 6] = True
    for i, j in product(range(9), range(7)):
        relevance = np.zeros((9, 7, 1))
        relevance[i, j] = 1
        near = min(np.hypot(i - 1, j - 2), np.hypot(i - 8, j - 6)) <= tolerance
        assert one(PointingGame(mask, tolerance=tolerance), relevance) == near


MODEL, X = float64_model((4, 3, 2)), noise((4, 3, 2), 3)
WRONG = {
    "nothing": ({}, "either masks or boxes. Received: none"),
    "both": ({"masks": np.ones((3, 4, 3)), "boxes": np.ones((3, 4), int)}, "Received: both"),
    "texts": ({"masks": np.full((3, 4), "a")}, "array of booleans"),
    "one number": ({"masks": 1.0}, "array of booleans"),
    "part": ({"masks": np.ones((3, 4, 3)), "part": "negative"}, "part must be one of"),
    "labels": ({"masks": np.full((3, 4, 3), 2)}, "booleans, or 0 and 1"),
    "channels": ({"masks": np.ones((3, 4, 3, 2))}, r"\(4, 3\). Received: .* \(4, 3, 2\)"),
    "few": ({"masks": np.ones((2, 4, 3))}, "for 2 samples, and more"),
    "many": ({"masks": np.ones((4, 4, 3))}, "for 4 samples. Received: 3"),
    "many boxes": ({"boxes": [[0, 0, 1, 1]] * 4}, "for 4 samples. Received: 3"),
    "empty": ({"masks": np.eye(3)[:, :1, None] * np.ones((3, 4, 3))}, "mask of sample 1, 2"),
    "no box": ({"boxes": [np.zeros((0, 4), int)] * 3}, "mask of sample 0"),
    "fractions": ({"boxes": [[0, 0, 0.5, 0.5]] * 3}, "whole numbers"),
    "outside": ({"boxes": [[0, 0, 4, 4]] * 3}, r"box of sample 0 .* \[0, 0, 4, 4\]"),
    "below": ({"boxes": [[-1, 0, 2, 2]] * 3}, "does not fit"),
    "upside down": ({"boxes": [[2, 2, 1, 3]] * 3}, "does not fit"),
    "three numbers": ({"boxes": [[0, 0, 1]] * 3}, "4 numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_objects_that_do_not_fit_are_refused(case):
    arguments, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        evaluate(MODEL, {"a": X}, X, metrics=RelevanceRankAccuracy(**arguments), verbose=0)


@pytest.mark.parametrize("tolerance", [-1, 1000, np.nan, "1"])
def test_the_tolerance_is_checked(tolerance):
    with pytest.raises(ValueError, match="tolerance must be"):
        PointingGame(np.ones((1, 2)), tolerance=tolerance)
