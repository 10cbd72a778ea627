"""Occlusion and Shapley values against their definitions, and against their axioms."""

import re
from functools import cache
from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import innvestigate
from innvestigate.utils.windows import Windows
from tests.analyzer import coalitions
from tests.analyzer.coalitions import by_hand, shapley
from tests.frameworks import closed, examples
from tests.models import build

X = np.random.default_rng(0).normal(size=(3, 4))
REFERENCE = np.random.default_rng(1).normal(size=4)
SEEDS = st.integers(0, 2**32 - 1)


def make(name, model, mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


def output(model, x):
    return np.array(model(x))


products = cache(coalitions.products)


@cache
def linear():
    """A linear map of images, in double precision."""
    keras.utils.set_random_seed(0)
    parts = layers.Flatten(dtype="float64"), layers.Dense(3, dtype="float64")
    return keras.Sequential([layers.Input((4, 5, 2), dtype="float64"), *parts])


IMAGES = np.random.default_rng(2).normal(size=(2, 4, 5, 2))

# --- Windows --------------------------------------------------------------------------------------


def naive_windows(shape, window, step):
    """The index sets of all windows, as boolean masks."""
    found = []
    for start in product(*(range(size) for size in shape)):
        mask = np.zeros(shape, bool)
        mask[tuple(slice(a, a + w) for a, w in zip(start, window, strict=True))] = True
        on_grid = all(a % s == 0 for a, s in zip(start, step, strict=True))
        if on_grid and mask.sum() == np.prod(window):
            found.append(mask)
    return found


@examples(60)
@given(st.data())
def test_windows_are_all_that_fit_on_the_grid(data):
    size, one = st.integers(1, 6), st.integers(1, 4)
    shape = tuple(data.draw(st.lists(size, min_size=1, max_size=3)))
    window = tuple(data.draw(st.integers(1, n)) for n in shape)
    step = tuple(data.draw(one) for _ in shape)
    windows = Windows(shape, window, step)
    expected = naive_windows(shape, window, step)
    assert len(windows) == len(expected)
    for i, mask in enumerate(expected):
        found = np.zeros(shape, bool)
        found[windows.at(i)] = True
        np.testing.assert_array_equal(found, mask)
    np.testing.assert_array_equal(windows.coverage(), np.sum(expected, axis=0))


@examples(40)
@given(st.data())
def test_windows_side_by_side_cover_all_once(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)))
    window = tuple(data.draw(st.integers(1, n)) for n in shape)
    windows = Windows.tiling(shape, window)
    labels = np.full(shape, -1)
    for i in range(len(windows)):
        assert (labels[windows.at(i)] == -1).all() and labels[windows.at(i)].size
        labels[windows.at(i)] = i
    np.testing.assert_array_equal(windows.labels(), labels)
    np.testing.assert_array_equal(windows.coverage(), np.ones(shape))


def test_a_window_covers_the_axes_that_it_leaves_out():
    found = make("occlusion", bent(), window_shape=(2, 3), step=(1, 2)).analyze(IMAGES, 1)
    expected = make("occlusion", bent(), window_shape=(2, 3, 2), step=(1, 2, 1)).analyze(IMAGES, 1)
    np.testing.assert_array_equal(found, expected)


# --- Occlusion ------------------------------------------------------------------------------------


def naive_occlusion(model, x, neuron, window, step, value):
    """The definition: one sample, one window, one feature at a time."""
    masks = naive_windows(x.shape[1:], window, step)
    whole, result = output(model, x)[:, neuron], np.zeros(x.shape)
    for mask in masks:
        drop = whole - output(model, np.where(mask, value, x))[:, neuron]
        result += drop.reshape(-1, *[1] * (x.ndim - 1)) * mask / mask.sum()
    with np.errstate(invalid="ignore"):
        return result / np.sum(masks, axis=0)


@pytest.mark.parametrize(
    ("window", "step", "value"),
    [
        (1, 1, 0),
        ((2, 3, 2), (1, 1, 1), 0),
        ((2, 2, 1), (2, 3, 1), 0.5),
        ((1, 5, 2), 1, -1.0),
        (2, 1, np.arange(40.0).reshape(4, 5, 2) / 40),
        (2, 1, IMAGES[::-1]),
    ],
)
@pytest.mark.filterwarnings("ignore:No window covers")
def test_occlusion_is_its_definition(window, step, value):
    each = [a if isinstance(a, tuple) else (a,) * 3 for a in (window, step)]
    expected = naive_occlusion(bent(), IMAGES, 1, *each, value)
    created = make("occlusion", bent(), window_shape=window, step=step, value=value)
    np.testing.assert_allclose(created.analyze(IMAGES, 1), expected, rtol=1e-9, atol=1e-14)


@cache
def bent():
    """A network of images that is not linear, in double precision."""
    parts = [layers.Activation("tanh", dtype="float64"), layers.Dense(3, dtype="float64")]
    return keras.Sequential([layers.Input((4, 5, 2), dtype="float64"), linear(), *parts])


@pytest.mark.parametrize("window", [1, 2, (4, 1, 2)])
def test_occlusion_of_a_linear_model(window):
    """Every window loses its features' weights times inputs; covering windows share evenly."""
    share = linear().get_weights()[0][:, 2].reshape(4, 5, 2) * (IMAGES - 0.3)
    shape = window if isinstance(window, tuple) else (window,) * 3
    masks = naive_windows((4, 5, 2), shape, (1, 1, 1))
    means = [
        (share * mask).sum(axis=(1, 2, 3), keepdims=True) / mask.sum() * mask for mask in masks
    ]
    expected = np.sum(means, axis=0) / np.sum(masks, axis=0)
    found = make("occlusion", linear(), window_shape=window, value=0.3).analyze(IMAGES, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_occlusion_is_linear_in_the_output():
    weights = np.array([1.0, -2.0, 0.25])
    parts = [make("occlusion", products()).analyze(X, i) for i in range(3)]
    found = make("occlusion", products(), "weights").analyze(X, weights)
    np.testing.assert_allclose(found, np.tensordot(weights, parts, 1), rtol=1e-6, atol=1e-9)


def test_the_mean_over_several_values():
    values = np.stack([X, X + 1, -X], axis=1)[::-1]
    found = make("occlusion", products(), value=values).analyze(X, 2)
    each = [make("occlusion", products(), value=values[:, i]).analyze(X, 2) for i in range(3)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-9, atol=1e-12)


def test_of_several_inputs_one_at_a_time_is_occluded():
    model, (image, vector) = build("two_inputs")
    found = make(
        "occlusion", model, window_shape=[(3, 3, 2), 2], step={"image": (3, 3, 1), "vector": 1}
    ).analyze([image, vector], 1)
    frozen = [
        naive_occlusion(lambda a: model([a, vector]), image, 1, (3, 3, 2), (3, 3, 1), 0),
        naive_occlusion(lambda a: model([image, a]), vector, 1, (2,), (1,), 0),
    ]
    for a, b in zip(found, frozen, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_features_without_a_window_get_nan_and_one_warning():
    created = make("occlusion", products(), window_shape=2, step=3)
    with pytest.warns(UserWarning, match="No window covers 2 features") as caught:
        found = created.analyze(X, 0, batch_size=1)
    assert len(caught) == 1
    np.testing.assert_array_equal(np.isnan(found), [[False, False, True, True]] * 3)


def test_a_window_of_everything_shares_the_difference_to_the_value():
    found = make("occlusion", products(), window_shape=4).analyze(X, 1)
    expected = (output(products(), X) - output(products(), 0 * X))[:, 1:2] / 4
    np.testing.assert_allclose(found, np.repeat(expected, 4, axis=1), rtol=1e-9)


def test_images_of_any_size():
    model, x = build("variable_size")
    found = make("occlusion", model, window_shape=(3, 3, 3), step=(2, 1, 1)).analyze(x, 0)
    expected = naive_occlusion(model, x, 0, (3, 3, 3), (2, 1, 1), 0).astype("float32")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="larger than the input"):
        make("occlusion", model, window_shape=(8, 3, 3)).analyze(x, 0)


def test_tokens_are_replaced_by_a_token():
    model, x = build("embedding")
    found = make("occlusion", model, value=3, keep_output_activation=True).analyze(x, 0)
    np.testing.assert_allclose(found, naive_occlusion(model, x, 0, (1,), (1,), 3), atol=1e-6)


# --- Shapley values -------------------------------------------------------------------------------


def expected_shapley(x, reference, neuron, labels):
    return np.array([shapley(lambda a: by_hand(a)[neuron], row, reference, labels) for row in x])


def test_the_model_is_the_one_by_hand():
    np.testing.assert_allclose(output(products(), X), [by_hand(x) for x in X], rtol=1e-12)


@pytest.mark.parametrize("neuron", [0, 1, 2])
def test_samples_approach_the_exact_values(neuron):
    created = make("shapley_sampling", products(), reference_inputs=REFERENCE, samples=800, seed=0)
    found = created.analyze(X, neuron, batch_size=4000)
    expected = expected_shapley(X, REFERENCE, neuron, np.arange(4))
    error = created.standard_error
    assert np.all(np.abs(found - expected) <= 4 * error + 1e-12)
    assert np.all(error < 0.1 * np.abs(expected).max())


def test_two_features_are_exact_after_one_pair():
    """All orders of two features are one order and its reverse."""
    labels = np.array([0, 1, 0, 0])
    created = make(
        "shapley_sampling", products(), reference_inputs=REFERENCE, samples=2, groups=labels
    )
    expected = expected_shapley(X, REFERENCE, 2, labels)
    np.testing.assert_allclose(created.analyze(X, 2), expected, rtol=1e-9, atol=1e-12)
    assert np.isnan(created.standard_error).all()


@examples(12)
@given(seed=SEEDS, neuron=st.integers(0, 2), samples=st.sampled_from([2, 4, 6]))
def test_completeness_holds_for_any_orders(seed, neuron, samples):
    random = np.random.default_rng(seed)
    x, references = random.normal(size=(3, 4)), random.normal(size=(3, 2, 4))
    created = make(
        "shapley_sampling", products(), reference_inputs=references, samples=samples, seed=seed
    )
    start = output(products(), references.reshape(6, 4))[:, neuron].reshape(3, 2).mean(axis=1)
    total = created.analyze(x, neuron, batch_size=7).sum(axis=1)
    np.testing.assert_allclose(total, output(products(), x)[:, neuron] - start, atol=1e-12)


@examples(10)
@given(seed=SEEDS)
def test_a_dummy_gets_exactly_nothing_and_a_summand_exactly_itself(seed):
    x = np.random.default_rng(seed).normal(size=(2, 4))
    created = make("shapley_sampling", products(), samples=2, seed=seed)
    found = created.analyze(x, 0)
    assert not found[:, 3].any()
    np.testing.assert_allclose(found[:, 2], x[:, 2], atol=1e-12)


def test_symmetric_features_get_equal_values():
    """x1 x2 with x1 = x2: whatever the orders, a pair gives both the same."""
    x = np.array([[1.5, 1.5, 0.3, 2.0]])
    found = make("shapley_sampling", products(), samples=2).analyze(x, 0)
    np.testing.assert_allclose(found, [[1.125, 1.125, 0.3, 0]], atol=1e-12)


def test_linear_models_need_one_pair():
    kernel = linear().get_weights()[0][:, 1].reshape(4, 5, 2)
    reference = np.ones((4, 5, 2))
    created = make("shapley_sampling", linear(), reference_inputs=reference, samples=4)
    found = created.analyze(IMAGES, 1)
    np.testing.assert_allclose(found, kernel * (IMAGES - reference), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(created.standard_error, 0, atol=1e-12)


def test_the_standard_error_is_the_deviation_of_repeated_estimates():
    explain = make("shapley_sampling", products(), samples=20).analyze
    repeated = np.array([explain(X[:1], 2, batch_size=100)[0] for _ in range(150)])
    created = make("shapley_sampling", products(), samples=2000, seed=0)
    created.analyze(X[:1], 2, batch_size=4000)
    expected = created.standard_error[0] * np.sqrt(2000 / 20)
    np.testing.assert_allclose(repeated.std(axis=0), expected, rtol=0.25, atol=1e-12)


@pytest.mark.parametrize(
    ("axes", "labels"),
    [
        ((1, 2), np.arange(20).reshape(4, 5, 1)),
        (2, np.arange(5).reshape(1, 5, 1)),
        ([1, 3], np.arange(4).reshape(4, 1, 1) * 2 + np.arange(2)),
    ],
)
def test_sampling_axes_group_along_the_others(axes, labels):
    by_axes = make("shapley_sampling", bent(), sampling_axes=axes, samples=4, seed=1)
    by_groups = make("shapley_sampling", bent(), groups=labels, samples=4, seed=1)
    found = by_axes.analyze(IMAGES, 0)
    np.testing.assert_allclose(found, by_groups.analyze(IMAGES, 0), rtol=1e-9)
    for label in np.unique(labels):
        members = found[:, np.broadcast_to(labels, (4, 5, 2)) == label]
        assert (members == members[:, :1]).all()


def test_labels_join_features_of_several_inputs():
    model, (image, vector) = build("two_inputs")
    labels = {"image": 7, "vector": np.array([7, 7, 3, 3, 3])}
    created = make("shapley_sampling", model, groups=labels, samples=2)
    found = created.analyze([image, vector], 0)
    rest = vector * [0, 0, 1, 1, 1]
    f = lambda a, b: output(model, [a, b.astype("float32")])[:, 0]  # noqa: E731
    alone = f(image, vector - rest) - f(0 * image, 0 * vector)
    last = f(image, vector) - f(0 * image, rest)
    expected = (alone + last) / 2 / (72 + 2)
    np.testing.assert_allclose(found[0][:, 0, 0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(found[1][:, 1], expected, atol=1e-6)
    assert created.standard_error[0].shape == image.shape


def test_tokens_are_replaced_by_the_references_token():
    model, x = build("embedding")
    arguments = {"keep_output_activation": True, "samples": 2, "reference_inputs": 3}
    found = make("shapley_sampling", model, **arguments).analyze(x, 0)
    difference = (output(model, x) - output(model, np.full_like(x, 3)))[:, 0]
    np.testing.assert_allclose(found.sum(axis=1), difference, atol=1e-6)


def test_a_reference_without_an_output_is_an_error():
    model, x = build("embedding_masked")
    with pytest.raises(ValueError, match="output at reference_inputs is not finite"):
        make("shapley_sampling", model).analyze(x, 0)


# --- What holds for both --------------------------------------------------------------------------

METHODS = {
    "occlusion": {"window_shape": 2, "value": REFERENCE},
    "shapley_sampling": {"samples": 4, "seed": 0, "reference_inputs": REFERENCE},
}


@pytest.mark.parametrize("name", METHODS)
def test_batches_do_not_change_the_result(name):
    explain = make(name, products(), **METHODS[name]).analyze
    expected = explain(X, [0, 1, 2], batch_size=100)
    for batch_size in (1, 2, 7):
        found = explain(X, [0, 1, 2], batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    dataset = iter([X[:2], X[2:]])
    np.testing.assert_allclose(explain(dataset, [0, 1, 2]), expected, rtol=1e-9, atol=1e-14)


def test_standard_errors_of_batches_are_joined():
    created = make("shapley_sampling", products(), **METHODS["shapley_sampling"])
    created.analyze(X, 2)
    expected = created.standard_error
    created.analyze(X, 2, batch_size=1)
    np.testing.assert_allclose(created.standard_error, expected, rtol=1e-9, atol=1e-14)
    assert expected.shape == X.shape and expected.any()


@pytest.mark.parametrize("name", METHODS)
def test_no_more_rows_than_a_batch_are_run_at_once(name, monkeypatch):
    created = make(name, products(), **METHODS[name])
    sizes, run = [], created.outputs
    monkeypatch.setattr(created, "outputs", lambda x: (sizes.append(len(x[0])), run(x))[1])
    created.analyze(X, 0, batch_size=2)
    assert max(sizes) == 2


@pytest.mark.parametrize("name", METHODS)
def test_the_neuron_is_chosen_at_the_sample(name):
    chosen = output(products(), X).argmax(axis=1)
    assert (output(products(), REFERENCE[None]).argmax(axis=1) != chosen).any()
    found = make(name, products(), "max_activation", **METHODS[name]).analyze(X)
    expected = make(name, products(), **METHODS[name]).analyze(X, chosen)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_all_outputs_are_summed(name):
    found = make(name, products(), "all", **METHODS[name]).analyze(X)
    parts = [make(name, products(), **METHODS[name]).analyze(X, i) for i in range(3)]
    np.testing.assert_allclose(found, sum(parts), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_one_progress_bar_counts_to_the_end(name, capsys):
    make(name, products(), **METHODS[name]).analyze(X, 0, batch_size=2, verbose=1)
    shown = capsys.readouterr().out
    seen = [int(number) for number in re.findall(r"(\d+)/100", shown)]
    assert seen == sorted(seen) and seen[0] < 50 and seen[-1] == 100
    assert shown.count("\n") == 1


def test_seeds():
    seeded = make("shapley_sampling", products(), samples=2, seed=4)
    first = seeded.analyze(X, 2)
    np.testing.assert_array_equal(seeded.analyze(X, 2), first)
    free = make("shapley_sampling", products(), samples=2)
    others = [free.analyze(X, 2) for _ in range(8)]
    assert np.ptp(others, axis=0).max() > 1e-6


class Opaque(layers.Layer):
    """A layer that calls a backend's own functions: nobody can look inside."""

    def call(self, x):
        return ops.cast(ops.count_nonzero(closed(x) > 0, axis=1), "float32")[:, None]

    def compute_output_shape(self, shape):
        return (shape[0], 1)


class Closed(keras.Model):
    """A subclassed model whose call refuses symbolic tensors."""

    def call(self, x):
        return ops.max(closed(ops.convert_to_tensor(x)), axis=1, keepdims=True)


def refusing():
    model = Closed()
    model(X.astype("float32"))
    return model


MODELS = {
    "opaque": lambda: keras.Sequential([layers.Input((4,)), Opaque()]),
    "subclassed": refusing,
}


@pytest.mark.parametrize("kind", MODELS)
def test_only_the_forward_pass_is_needed(kind):
    model, x = MODELS[kind](), X.astype("float32")
    found = make("occlusion", model).analyze(x, 0)
    np.testing.assert_allclose(found, naive_occlusion(model, x, 0, (1,), (1,), 0), atol=1e-6)
    created = make("shapley_sampling", model, samples=2)
    total = created.analyze(x, 0).sum(axis=1)
    np.testing.assert_allclose(
        total, output(model, x)[:, 0] - output(model, 0 * x)[:, 0], atol=1e-5
    )


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("occlusion", {"window_shape": 5}, r"larger than the input.*\(5, 5, 5\).*\(4, 5, 2\)"),
        ("occlusion", {"window_shape": (2, 2, 2, 2)}, "one number for each axis of a sample"),
        ("occlusion", {"window_shape": 0}, "window_shape must be a whole number >= 1"),
        ("occlusion", {"window_shape": 1.5}, "window_shape must be a whole number >= 1"),
        ("occlusion", {"step": (1, 0, 1)}, "step must be a whole number >= 1. Received: 0"),
        ("occlusion", {"step": {"x": 1}}, "step does not match.*Received the keys"),
        ("occlusion", {"value": np.zeros(3)}, "wrong shape"),
        ("occlusion", {"layers": ("dense",)}, "explains the model's inputs only"),
        ("shapley_sampling", {"samples": 0}, "samples must be a whole number >= 2"),
        ("shapley_sampling", {"samples": 5}, "samples must be even"),
        ("shapley_sampling", {"seed": -3}, "seed must be a whole number >= 0"),
        ("shapley_sampling", {"groups": 0, "sampling_axes": 1}, "either groups or sampling_axes"),
        ("shapley_sampling", {"groups": np.zeros(3, int)}, r"groups of the shape \(3,\) do not"),
        ("shapley_sampling", {"groups": 0.5}, "groups must be integer labels"),
        ("shapley_sampling", {"sampling_axes": 0}, "from 1 to 3; axis 0 is the batch"),
        ("shapley_sampling", {"sampling_axes": (1, 4)}, "from 1 to 3"),
        ("shapley_sampling", {"sampling_axes": ()}, "sampling_axes must be axes"),
        ("shapley_sampling", {"reference_inputs": "mean"}, "must be a number"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    if "layers" in arguments:
        arguments = {"layers": (linear().layers[-1].name,)}
    error = TypeError if arguments.get("reference_inputs") == "mean" else ValueError
    with pytest.raises(error, match=message):
        make(name, linear(), **arguments)


def test_a_list_needs_one_entry_for_each_input():
    with pytest.raises(ValueError, match=r"window_shape holds 3 entries.*image, vector"):
        make("occlusion", build("two_inputs")[0], window_shape=[1, 1, 1])


@pytest.mark.parametrize("value", [0.5, 300, -1])
def test_values_that_samples_cannot_hold(value):
    model, x = build("uint8")
    with pytest.raises(TypeError, match=r"do not fit its samples.*uint8"):
        make("occlusion", model, value=value).analyze(x, 0)


def test_shapley_values_can_be_smoothed():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu")])
    shapley = make("shapley_sampling", model, "all", seed=0, samples=4)
    smooth = innvestigate.analyzer.GaussianSmoother(shapley, noise_scale=0, augment_by_n=2)
    np.testing.assert_allclose(smooth.analyze(X), shapley.analyze(X), rtol=1e-5, atol=1e-6)


def test_groups_of_one_input_leave_the_features_of_the_other_alone():
    a, b = keras.Input((3,)), keras.Input((2,))
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    x = [np.ones((1, 3)), np.ones((1, 2))]
    groups = [np.array([0, 0, 1]), None]
    found = make("shapley_sampling", model, "all", seed=0, groups=groups).analyze(x)
    kernel = model.get_weights()[0][:, 0]
    np.testing.assert_allclose(found[0][0], [*[kernel[:2].mean()] * 2, kernel[2]], rtol=1e-5)
    np.testing.assert_allclose(found[1][0], kernel[3:], rtol=1e-5)
