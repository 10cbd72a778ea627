"""Groups of features, the same for all samples or not: against the definitions of methods."""

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

X = np.random.default_rng(0).normal(size=(5, 4))
REFERENCE = np.random.default_rng(1).normal(size=4)
LABELS = np.array([[0, 0, 1, 2], [7, 7, 7, 7], [3, 1, 1, 3], [0, 1, 2, 3], [5, 5, 2, 2]])
"""Labels of each of the samples: from one to four groups."""
METHODS = {
    "occlusion": {},
    "shapley_sampling": {"samples": 4, "seed": 0},
    "kernel_shap": {"seed": 0},
    "lime": {"samples": 20, "seed": 0},
}

products = cache(coalitions.products)


def make(name, model, mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


def of_the_sample(x):
    """The labels of each sample in a batch, which is found by its numbers."""
    return LABELS[[np.flatnonzero((row == X).all(axis=1))[0] for row in x]]


def naive_occlusion(x, neuron, labels):
    """The drop of the output without a group, over its size; one sample."""
    found = np.zeros(x.shape)
    for label in np.unique(labels):
        group = labels == label
        without = np.where(group, REFERENCE, x)
        found[group] = (by_hand(x)[neuron] - by_hand(without)[neuron]) / group.sum()
    return found


@pytest.mark.parametrize("labels", [np.array([0, 1, 1, 0]), np.array(3), np.array([4, -1, 2, 2])])
def test_occlusion_of_groups_is_its_definition(labels):
    created = make("occlusion", products(), groups=labels, reference_inputs=REFERENCE)
    expected = [naive_occlusion(x, 2, np.broadcast_to(labels, 4)) for x in X]
    np.testing.assert_allclose(created.analyze(X, 2, batch_size=3), expected, rtol=1e-9)


def test_groups_of_one_number_each_are_windows_of_one():
    model, x = build("cnn")
    x = x.astype("float32")
    labels = np.random.default_rng(0).permutation(x[0].size).reshape(x.shape[1:])
    windows = make("occlusion", model, window_shape=1, reference_inputs=0.3).analyze(x, 1)
    grouped = make("occlusion", model, groups=labels, reference_inputs=0.3).analyze(x, 1)
    np.testing.assert_allclose(grouped, windows, atol=1e-6)


def test_groups_that_tile_are_windows_side_by_side():
    model, x = build("cnn")
    side = x.shape[1]
    labels = (np.arange(side)[:, None] // 2 * side + np.arange(side) // 2)[..., None]
    windows = make("occlusion", model, window_shape=(2, 2), step=2).analyze(x, 1)
    grouped = make("occlusion", model, groups=labels).analyze(x, 1)
    assert side % 2 == 0 and windows.shape[-1] > 1
    np.testing.assert_allclose(grouped, windows, atol=1e-6)


def test_a_group_over_several_inputs_is_replaced_at_once():
    model, (image, vector) = build("two_inputs")
    labels = {"image": 7, "vector": np.array([7, 7, 3, 3, 3])}
    found = make("occlusion", model, groups=labels).analyze([image, vector], 0)
    f = lambda a, b: np.array(model([a, b.astype("float32")]))[:, 0]  # noqa: E731
    first = (f(image, vector) - f(0 * image, vector * [0, 0, 1, 1, 1])) / (image[0].size + 2)
    last = (f(image, vector) - f(image, vector * [1, 1, 0, 0, 0])) / 3
    np.testing.assert_allclose(found[0][:, 0, 0, 0], first, atol=1e-6)
    np.testing.assert_allclose(found[1], np.stack([first] * 2 + [last] * 3, axis=1), atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("groups", [[None, np.array([0, 0, 1])], [np.array([0, 0, 1]), None]])
def test_features_of_an_input_without_groups_are_its_own(name, groups):
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    x = [np.ones((1, 3)), np.ones((1, 3))]
    found = make(name, model, "all", groups=groups, **METHODS[name]).analyze(x)
    expected = np.split(model.get_weights()[0][:, 0], 2)
    grouped = 0 if groups[1] is None else 1
    expected[grouped][:2] = expected[grouped][:2].mean()
    if name != "lime":
        np.testing.assert_allclose([y[0] for y in found], expected, rtol=1e-4, atol=1e-6)
    assert found[grouped][0][0] == found[grouped][0][1]
    assert len(np.unique(np.ravel(found))) == 5


# --- Labels of each sample's own ------------------------------------------------------------------


def test_occlusion_with_labels_of_each_sample():
    created = make("occlusion", products(), groups=of_the_sample, reference_inputs=REFERENCE)
    expected = [naive_occlusion(x, 2, labels) for x, labels in zip(X, LABELS, strict=True)]
    np.testing.assert_allclose(created.analyze(X, 2), expected, rtol=1e-9, atol=1e-12)


def test_shapley_values_with_labels_of_each_sample():
    """Of up to three groups some are exact after a pair, and all after all sets of kernel_shap."""
    expected = [
        shapley(lambda a: by_hand(a)[2], x, REFERENCE, labels)
        for x, labels in zip(X, LABELS, strict=True)
    ]
    created = make("kernel_shap", products(), groups=of_the_sample, reference_inputs=REFERENCE)
    np.testing.assert_allclose(created.analyze(X, 2), expected, rtol=1e-7, atol=1e-9)
    created = make(
        "shapley_sampling",
        products(),
        groups=of_the_sample,
        reference_inputs=REFERENCE,
        samples=2,
    )
    found, two = created.analyze(X, 2), [1, 2, 4]
    np.testing.assert_allclose(found[two], np.array(expected)[two], rtol=1e-9, atol=1e-12)
    assert created.standard_error.shape == X.shape


@pytest.mark.parametrize("name", METHODS)
def test_each_sample_is_explained_by_its_own_labels(name):
    """In a batch, alone with them, in batches of a data set, and for several neurons at once."""
    arguments = {"reference_inputs": REFERENCE, **METHODS[name]}
    created = make(name, products(), groups=of_the_sample, **arguments)
    found = created.analyze(X, 1)
    for i, labels in enumerate(LABELS):
        alone = make(name, products(), groups=labels, **arguments).analyze(X[i : i + 1], 1)
        np.testing.assert_allclose(found[i : i + 1], alone, rtol=1e-9, atol=1e-12)
    stream = created.analyze(iter([X[:3], X[3:]]), 1, batch_size=2)
    np.testing.assert_allclose(stream, found, rtol=1e-9, atol=1e-12)
    several = created.analyze(X, np.array([[[1], [0]]]))
    np.testing.assert_allclose(several[:, 0], found, rtol=1e-9, atol=1e-12)


def test_labels_of_each_sample_for_one_of_several_inputs():
    model, (image, vector) = build("two_inputs")

    def groups(x):
        return {"image": np.zeros((len(x[0]), 1, 1, 1), int), "vector": None}

    found = make("occlusion", model, groups=groups).analyze([image, vector], 0)
    fixed = make("occlusion", model, groups=[np.array(0), None]).analyze([image, vector], 0)
    for a, b in zip(found, fixed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (lambda x: x[0].astype(int), r"labels for each sample.*\(4,\); expected: \(5, 4\)"),
        (lambda x: np.zeros((2, 4), int), r"labels for each sample.*\(2, 4\)"),
        (lambda x: np.zeros((5, 3), int), r"groups of the shape \(3,\) do not broadcast"),
        (lambda x: x, "groups must be integer labels"),
        (lambda x: [[1], [2, 3]], "groups is not an array"),
        ([lambda x: x], "groups must be integer labels"),
    ],
)
def test_what_is_no_function_of_labels(groups, message):
    with pytest.raises(ValueError, match=message):
        make("occlusion", products(), groups=groups).analyze(X, 0)


def test_windows_and_groups_are_two_things():
    for more in ({"window_shape": 2}, {"step": 2}):
        with pytest.raises(ValueError, match="pass either groups, or window_shape and step"):
            make("occlusion", products(), groups=0, **more)


def test_a_fixed_number_of_samples_needs_a_fixed_number_of_groups():
    model = keras.Sequential([layers.Input(batch_shape=(5, 4)), layers.Dense(2)])
    created = make("occlusion", model, groups=of_the_sample)
    with pytest.raises(ValueError, match=r"takes 5 samples at a time.*same number of groups"):
        created.analyze(X, 0)
    alike = make("occlusion", model, groups=lambda x: np.argsort(x, axis=1) // 2).analyze(X, 0)
    assert np.isfinite(alike).all()
