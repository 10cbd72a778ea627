"""PatternNet and PatternAttribution against the paper's formula in plain numpy."""

import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops, tree

import innvestigate
from innvestigate.analyzer import PatternStatistics
from innvestigate.utils.files import FileRefusedError
from tests.frameworks import examples
from tests.models import ARGUMENTS, build, randomize
from tests.test_table import Batches

REGIMES = {
    "relu": lambda z: z > 0,
    "relu.positive": lambda z: z > 0,
    "relu.negative": lambda z: z < 0,
    "linear": lambda z: np.full(z.shape, True),
}


def normal(*shape, seed=0, mean=0.3):
    """Samples that are not centered, so that no mean could be overlooked."""
    return (mean + np.random.default_rng(seed).normal(size=shape)).astype("float32")


def create(model, name="pattern.net", **kwargs):
    return innvestigate.create_analyzer(name, model, **kwargs)


def stack(*parts, seed=0):
    return randomize(keras.Sequential(list(parts)), seed)


# --- The formula, from explicit inputs of each neuron ---------------------------------------------


def pattern_of(x, w, active):
    """a of one neuron: its inputs (positions, n), its weights (n,), where it is active."""
    x, w = x.astype("float64"), w.astype("float64")
    y = x @ w
    if not active.any():
        return np.zeros_like(w)
    product = (x * y[:, None])[active].mean(axis=0)
    numerator = product - x[active].mean(axis=0) * y.mean()
    return numerator / (w @ numerator)


def patches(x, size, strides, padding):
    """The inputs of a convolution's neuron at every position, zeros around them if `same`."""
    x = np.asarray(x, "float64")
    if padding == "same":
        pads = []
        for n, k, s in zip(x.shape[1:-1], size, strides, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [(0, 0), *pads, (0, 0)])
    windows = [range(0, n - k + 1, s) for n, k, s in zip(x.shape[1:], size, strides, strict=False)]
    found = []
    for start in np.stack(np.meshgrid(*windows, indexing="ij"), -1).reshape(-1, len(size)):
        place = tuple(slice(a, a + k) for a, k in zip(start, size, strict=True))
        found.append(x[(slice(None), *place)].reshape(len(x), -1))
    return np.concatenate(found)


def patterns_of_patches(layer, x, regime):
    """The patterns of a Dense layer or convolution."""
    kernel, bias = (np.asarray(v, "float64") for v in layer.get_weights())
    if isinstance(layer, layers.Dense):
        x = x.reshape(-1, x.shape[-1]).astype("float64")
    else:
        x = patches(x, layer.kernel_size, layer.strides, layer.padding)
    w = kernel.reshape(-1, kernel.shape[-1])
    z = x @ w + bias
    found = [pattern_of(x, w[:, j], regime(z[:, j])) for j in range(w.shape[1])]
    return np.stack(found, axis=-1).reshape(kernel.shape)


PATCHED = {
    "dense": ((5,), lambda: layers.Dense(7, activation="relu")),
    "dense over time": ((4, 3), lambda: layers.Dense(6)),
    "conv1d": ((9, 2), lambda: layers.Conv1D(5, 3, strides=2, activation="relu")),
    "conv2d": ((7, 8, 2), lambda: layers.Conv2D(5, (3, 2), strides=2, padding="same")),
    "conv2d, same": ((5, 5, 2), lambda: layers.Conv2D(4, 3, padding="same", activation="relu")),
    "conv3d": ((4, 3, 3, 2), lambda: layers.Conv3D(4, 2, padding="same")),
}


@pytest.mark.filterwarnings("ignore:Some neurons have a pattern of zeros")
@pytest.mark.parametrize("pattern_type", ["relu", "relu.negative", "linear"])
@pytest.mark.parametrize("case", PATCHED)
def test_patterns_are_those_of_explicit_patches(case, pattern_type):
    shape, make = PATCHED[case]
    layer, x = make(), normal(40, *shape)
    model = stack(layers.Input(shape), layer)
    analyzer = create(model, pattern_type=pattern_type).fit(x, batch_size=16)
    found = analyzer.patterns[layer.name]
    expected = patterns_of_patches(layer, x, REGIMES[pattern_type])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    kernel = layer.get_weights()[0]
    axes = tuple(range(kernel.ndim - 1))
    np.testing.assert_allclose((kernel * found).sum(axes), 1, atol=1e-4)


def seen_by_each_weight(layer, x, kernel, places):
    """What each entry of a kernel is multiplied with, at all positions of its neuron's output.

    The outputs of the layer under kernels of a single one: `(positions, *kernel.shape)`.
    """
    found = []
    for index in np.ndindex(kernel.shape):
        one = np.zeros(kernel.shape)
        one[index] = 1
        z = np.asarray(layer.stateless_call([one], [], x)[0], "float64")
        found.append(z[(Ellipsis, *places(index, z))].ravel())
    return np.stack(found, -1).reshape(-1, *kernel.shape)


def einsum_dense():
    return layers.EinsumDense("abc,cde->abde", (None, 3, 2), bias_axes=None)


def grouped_einsum():
    return layers.EinsumDense("...hi,hij->...hj", (2, 4), bias_axes=None)


NAMED_NEURONS = {
    "depthwise": (
        (6, 5, 2),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False),
        (0, 1),
        lambda index, z: (index[2] * 2 + index[3],),
    ),
    "transposed": (
        (5, 2),
        lambda: layers.Conv1DTranspose(3, 3, strides=2, use_bias=False),
        (0, 2),
        lambda index, z: (index[1],),
    ),
    "dilated, causal": (
        (7, 2),
        lambda: layers.Conv1D(3, 2, dilation_rate=2, padding="causal", use_bias=False),
        (0, 1),
        lambda index, z: (index[2],),
    ),
    "einsum": ((4, 5), einsum_dense, (0,), lambda index, z: index[1:]),
    "einsum, one kernel per row": (
        (2, 3),
        grouped_einsum,
        (1,),
        lambda index, z: (index[0], index[2]),
    ),
}


@pytest.mark.parametrize("case", NAMED_NEURONS)
def test_patterns_of_other_layers(case):
    """Each neuron's inputs found by brute force: what its weights are multiplied with."""
    shape, make, axes, places = NAMED_NEURONS[case]
    layer, x = make(), normal(30, *shape)
    model = stack(layers.Input(shape), layer)
    found = create(model).fit(x, batch_size=8).patterns[layer.name]
    kernel = layer.get_weights()[0].astype("float64")
    seen = seen_by_each_weight(layer, x, kernel, places)
    y = (seen * kernel).sum(axis=tuple(a + 1 for a in axes), keepdims=True)
    active = y > 0
    count = active.sum(axis=0)
    product, mean = (seen * y * active).sum(0) / count, (seen * active).sum(0) / count
    numerator = product - mean * y.mean(axis=0)
    expected = numerator / (kernel * numerator).sum(axes, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_both_kernels_of_a_separable_convolution_have_a_pattern():
    layer, x = layers.SeparableConv2D(3, 2, depth_multiplier=2), normal(20, 4, 4, 2)
    model = stack(layers.Input((4, 4, 2)), layer)
    analyzer = create(model).fit(x)
    depthwise, pointwise, bias = layer.get_weights()
    middle = layers.DepthwiseConv2D(2, depth_multiplier=2, use_bias=False)
    middle.build((None, 4, 4, 2))
    middle.set_weights([depthwise])
    parts = stack(layers.Input((4, 4, 2)), middle, layers.Conv2D(3, 1))
    parts.layers[-1].set_weights([pointwise, bias])
    expected = create(parts).fit(x).patterns
    assert list(analyzer.patterns) == [layer.name, f"{layer.name}#1"]
    for found, other in zip(analyzer.patterns.values(), expected.values(), strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-4)


def test_the_regime_is_that_of_the_rectifier_behind_batch_normalization():
    layer, norm = layers.Conv2D(4, 3), layers.BatchNormalization()
    parts = layers.Input((6, 6, 2)), layer, layers.Dropout(0.5), norm, layers.ReLU()
    model, x = stack(*parts), normal(30, 6, 6, 2)
    gamma, beta, mean, variance = (np.asarray(v, "float64") for v in norm.get_weights())
    assert (gamma < 0).any()
    kernel, bias = (np.asarray(v, "float64") for v in layer.get_weights())
    seen, w = patches(x, (3, 3), (1, 1), "valid"), kernel.reshape(-1, 4)
    z = gamma * (seen @ w + bias - mean) / np.sqrt(variance + norm.epsilon) + beta
    expected = [pattern_of(seen, w[:, j], z[:, j] > 0) for j in range(4)]
    found = create(model).fit(x).patterns[layer.name].reshape(-1, 4)
    np.testing.assert_allclose(found, np.stack(expected, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Some neurons have a pattern of zeros")
def test_uses_of_a_shared_layer_are_pooled():
    x, shared = layers.Input((4,)), layers.Dense(4, activation="relu", name="shared")
    model = randomize(keras.Model(x, layers.Dense(3, name="head")(shared(shared(x)))))
    data = normal(50, 4)
    first = np.array(shared(data))
    expected = patterns_of_patches(shared, np.concatenate([data, first]), REGIMES["relu"])
    found = create(model).fit(data, batch_size=20).patterns
    assert set(found) == {"shared", "head"}
    np.testing.assert_allclose(found["shared"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [10, 64])
def test_large_means_do_not_swallow_the_covariance(batch_size):
    layer, x = layers.Dense(4), normal(64, 6, mean=100)
    model = stack(layers.Input((6,)), layer)
    expected = patterns_of_patches(layer, x, REGIMES["linear"])
    found = create(model, pattern_type="linear").fit(x, batch_size=batch_size)
    found = found.patterns[layer.name]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


# --- The backward pass ----------------------------------------------------------------------------

MLP = (6, 5, 4)


def mlp(*units, seed=0):
    middle = [layers.Dense(n, activation="relu") for n in units[1:-1]]
    return stack(layers.Input(units[:1]), *middle, layers.Dense(units[-1]), seed=seed)


def run_back(model, x, patterns, attribution):
    """Both methods by hand, in float64: the largest output, back by a or a ⊙ w."""
    values, x = [], x.astype("float64")
    for layer in model.layers:
        kernel, bias = layer.get_weights()
        z = x @ kernel.astype("float64") + bias
        values.append(z)
        x = np.maximum(z, 0)
    signal = np.where(z == z.max(axis=1, keepdims=True), z, 0)
    for i, layer in reversed([*enumerate(model.layers)]):
        back = patterns[layer.name].astype("float64")
        if attribution:
            back = back * layer.get_weights()[0]
        if i < len(model.layers) - 1:
            signal = signal * (values[i] > 0)
        signal = signal @ back.T
    return signal


@pytest.mark.parametrize("name", ["pattern.net", "pattern.attribution"])
def test_the_signal_is_sent_back_by_patterns(name):
    model, x = mlp(*MLP), normal(8, 6, seed=1)
    analyzer = create(model, name, project_bottlenecks=False).fit(normal(60, 6))
    expected = run_back(model, x, analyzer.patterns, name == "pattern.attribution")
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(analyzer.analyze(x), expected, rtol=1e-4, atol=1e-5)


def test_attribution_of_one_layer_sums_up_to_the_output():
    """Since wᵀa = 1."""
    model, x = stack(layers.Input((5,)), layers.Dense(3)), normal(7, 5)
    arguments = {"project_bottlenecks": False, "neuron_selection_mode": "index"}
    analyzer = create(model, "pattern.attribution", pattern_type="linear", **arguments).fit(x)
    found = analyzer.analyze(x, 1).sum(axis=1)
    np.testing.assert_allclose(found, model.predict(x, verbose=0)[:, 1], rtol=1e-4)


@pytest.mark.parametrize("name", ["pattern.net", "pattern.attribution"])
def test_batch_normalization_counts_as_folded(name):
    norm, conv = layers.BatchNormalization(), layers.Conv2D(4, 3, use_bias=False)
    model = stack(layers.Input((6, 6, 2)), conv, norm, layers.ReLU(), layers.Flatten())
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    folded = stack(layers.Input((6, 6, 2)), layers.Conv2D(4, 3), layers.ReLU(), layers.Flatten())
    folded.layers[0].set_weights([conv.get_weights()[0] * scale, beta - mean * scale])
    x, data = normal(4, 6, 6, 2, seed=1), normal(30, 6, 6, 2)
    found, expected = (
        create(m, name, project_bottlenecks=False).fit(data).analyze(x) for m in (model, folded)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("pattern_type", ["linear", "relu"])
def test_pattern_net_finds_the_signal_where_the_gradient_finds_the_distractor(pattern_type):
    """x = s a + ε d. The weights that tell s must cancel d: they do not point along a."""
    random = np.random.default_rng(0)
    a, d = random.normal(size=(2, 8))
    d += 2 * a
    s, noise = random.normal(size=(2, 5000, 1))
    x = (s * a + 2 * noise * d).astype("float32")
    w = a - d * (a @ d) / (d @ d)
    model = stack(layers.Input((8,)), layers.Dense(1, use_bias=False))
    model.layers[0].set_weights([(w / (w @ a))[:, None]])
    np.testing.assert_allclose(model.predict(x, verbose=0), s, atol=1e-4)
    pattern_net = create(model, pattern_type=pattern_type).fit(x, batch_size=500)
    gradient = innvestigate.create_analyzer("gradient", model)
    assert cosine(pattern_net.analyze(x[:1])[0], np.sign(s[0]) * a) > 0.99
    assert cosine(gradient.analyze(x[:1])[0], a) < 0.9


def cosine(u, v):
    return (u @ v) / np.linalg.norm(u) / np.linalg.norm(v)


# --- Bottlenecks ----------------------------------------------------------------------------------

BOTTLENECKS = {
    "cnn_bn": 9,
    "residual": 6,
    "branches": 4,
    "two_inputs": 2,
    "raw_ops": 2,
    "timedistributed": 0,
}


@pytest.mark.filterwarnings("ignore:Some neurons have a pattern of zeros")
@pytest.mark.parametrize("name", ["pattern.net", "pattern.attribution"])
@pytest.mark.parametrize("graph", BOTTLENECKS)
def test_projection_changes_nothing_but_the_scale_of_each_sample(graph, name):
    model, x = build(graph)
    projected = create(model, name, **ARGUMENTS.get(graph, {})).fit(x)
    assert sum("bottleneck" in line.why for line in projected.plan()) == BOTTLENECKS[graph]
    plain = create(model, name, project_bottlenecks=False, patterns=projected.patterns)
    found, expected = (
        np.concatenate([r.reshape(len(r), -1) for r in tree.flatten(analyzer.analyze(x))], axis=1)
        for analyzer in (projected, plain)
    )
    for u, v in zip(found, expected, strict=True):
        if v.any():
            assert cosine(u, v) > 0.9999


def test_projection_divides_by_the_largest_absolute_value():
    model, x = mlp(*MLP), normal(5, 6)
    analyzer = create(model).fit(normal(60, 6))
    a1, a2 = analyzer.patterns.values()
    kernel, bias = model.layers[0].get_weights()
    hidden, y = x @ kernel + bias, model.predict(x, verbose=0)
    best = y.argmax(axis=1)
    signal = np.sign(y.max(axis=1, keepdims=True)) * a2.T[best]
    for step in (lambda s: s, lambda s: s * (hidden > 0), lambda s: s @ a1.T):
        largest = np.abs(signal).max(axis=1, keepdims=True)
        signal = step(signal / np.where(largest, largest, 1))
    np.testing.assert_allclose(analyzer.analyze(x), signal, rtol=1e-4, atol=1e-5)


def test_projection_keeps_deep_networks_finite():
    model, x = mlp(4, *[8] * 20, 3), np.abs(normal(2, 4))
    patterns = {layer.name: np.full(layer.kernel.shape, 1e4) for layer in model.layers}
    for layer in model.layers:
        layer.set_weights([np.full(layer.kernel.shape, 0.1), np.ones(layer.bias.shape)])
    assert np.isfinite(create(model, patterns=patterns).analyze(x)).all()
    with pytest.warns(UserWarning, match="not finite"):
        create(model, patterns=patterns, project_bottlenecks=False).analyze(x)


# --- Streaming ------------------------------------------------------------------------------------


def cnn():
    return stack(
        layers.Input((6, 6, 2)),
        layers.Conv2D(3, 3, activation="relu", padding="same", name="conv"),
        layers.Flatten(),
        layers.Dense(4, name="head"),
    )


def assert_same_patterns(found, expected, tolerance=1e-5):
    assert set(found) == set(expected)
    for name, pattern in expected.items():
        size = np.abs(pattern).max()
        assert size > 0
        np.testing.assert_allclose(found[name], pattern, rtol=0, atol=tolerance * size)


@pytest.fixture(scope="module")
def fitted():
    """A model, data, and an analyzer fitted to it."""
    keras.utils.set_random_seed(1)
    model, x = cnn(), normal(60, 6, 6, 2)
    return model, x, create(model).fit(x)


FORMS = {
    "one by one": lambda x: (x, {"batch_size": 1}),
    "batches that do not divide": lambda x: (x, {"batch_size": 7}),
    "all at once": lambda x: (x, {"batch_size": 1000}),
    "generator": lambda x: ((x[i : i + 9] for i in range(0, 60, 9)), {}),
    "generator with targets": lambda x: (((x[i : i + 9], None) for i in range(0, 60, 9)), {}),
    "data set": lambda x: (tf.data.Dataset.from_tensor_slices((x, np.zeros(60))).batch(16), {}),
    "PyDataset": lambda x: (Batches(x, targets=True), {}),
    "targets apart": lambda x: (x, {"y": np.zeros(60), "verbose": 0}),
    "another order": lambda x: (x[::-1], {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_patterns_do_not_depend_on_the_batches(fitted, form):
    model, x, analyzer = fitted
    data, arguments = FORMS[form](x)
    assert_same_patterns(create(model).fit(data, **arguments).patterns, analyzer.patterns)


@examples(10)
@given(cuts=st.lists(st.integers(1, 59), max_size=3, unique=True))
def test_statistics_of_parts_add_up(fitted, cuts):
    model, x, analyzer = fitted
    whole = create(model)
    for part in np.split(x, sorted(cuts)):
        other = PARTS.setdefault(id(model), create(model))
        other.statistics.clear()
        other.partial_fit(part)
        whole.statistics.merge(other.statistics)
    assert whole.statistics.samples == 60
    assert_same_patterns(whole.patterns, analyzer.patterns)


PARTS = {}


def test_statistics_are_saved_and_merged_elsewhere(fitted, tmp_path):
    model, x, analyzer = fitted
    for i, part in enumerate((x[:25], x[25:])):
        create(model).fit(part).statistics.save(tmp_path / f"{i}.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.npz", "1.npz"]
    parts = [PatternStatistics.load(tmp_path / f"{i}.npz") for i in range(2)]
    total = create(model)
    parts[0].merge(parts[1])
    total.statistics.merge(parts[0])
    assert total.statistics.samples == 60
    assert_same_patterns(total.patterns, analyzer.patterns)
    with pytest.raises(RuntimeError, match="hold sums only"):
        parts[0].update(x)


def test_a_new_fit_forgets_the_old_one_and_builds_no_new_mirror(fitted):
    model, x, analyzer = fitted
    other = create(model).fit(3 * x[:10] - 1)
    mirror, before = other.model, other.analyze(x[:3])
    other.fit(x)
    assert other.model is mirror
    assert_same_patterns(other.patterns, analyzer.patterns)
    np.testing.assert_allclose(other.analyze(x[:3]), analyzer.analyze(x[:3]), rtol=1e-3, atol=1e-4)
    assert not np.allclose(before, other.analyze(x[:3]), rtol=0.01)


def test_given_patterns_need_no_fit(fitted):
    model, x, analyzer = fitted
    other = create(model, patterns=analyzer.patterns)
    np.testing.assert_array_equal(other.analyze(x), analyzer.analyze(x))
    assert other.fit(x[:20]).statistics.samples == 20


def test_the_state_carries_patterns_over(fitted):
    model, x, analyzer = fitted
    for source in (analyzer, create(model, patterns=analyzer.patterns)):
        other = create(model)
        other.set_state(source.state())
        np.testing.assert_array_equal(other.analyze(x), analyzer.analyze(x))
        assert other.statistics.samples == source.statistics.samples
    assert create(model).state() == {}


def test_hidden_layers_and_other_selections_use_the_same_patterns(fitted):
    model, x, analyzer = fitted
    arguments = {"patterns": analyzer.patterns, "project_bottlenecks": False}
    at_layers = create(model, layers=("input", "conv"), **arguments).analyze(x)
    plain = create(model, **arguments).analyze(x)
    np.testing.assert_allclose(at_layers["input"], plain, rtol=1e-5)
    best = model.predict(x, verbose=0).argmax(axis=1)
    by_index = create(model, neuron_selection_mode="index", **arguments).analyze(x, best)
    np.testing.assert_allclose(by_index, plain, rtol=1e-5, atol=1e-6)
    back = analyzer.patterns["head"].T[best].reshape(-1, 6, 6, 3)
    largest = model.predict(x, verbose=0).max(axis=1)[:, None, None, None]
    np.testing.assert_allclose(at_layers["conv"], largest * back, rtol=1e-4, atol=1e-5)


def test_the_model_is_not_changed(fitted):
    model, x, _ = fitted
    config, weights = model.get_config(), model.get_weights()
    create(model).fit(x).analyze(x)
    assert model.get_config() == config
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


# --- Bad data, interruptions, errors --------------------------------------------------------------


def test_inactive_neurons_get_a_pattern_of_zeros_and_are_listed():
    model, x = (
        stack(layers.Input((4,)), layers.Dense(5, activation="relu", name="dense")),
        normal(30, 4),
    )
    kernel, bias = model.layers[0].get_weights()
    bias[[1, 3]] = -1000
    model.layers[0].set_weights([kernel, bias])
    with pytest.warns(UserWarning, match=r"See analyzer.inactive_neurons: 2 of 'dense'") as caught:
        analyzer = create(model).fit(x)
        analyzer.analyze(x)
    assert [w.filename for w in caught if w.category is UserWarning] == [__file__]
    assert analyzer.inactive_neurons.keys() == {"dense"}
    np.testing.assert_array_equal(analyzer.inactive_neurons["dense"], [1, 3])
    assert not analyzer.patterns["dense"][:, [1, 3]].any()
    assert analyzer.patterns["dense"][:, [0, 2, 4]].any(axis=0).all()


def test_constant_data_has_no_pattern():
    model = stack(layers.Input((4,)), layers.Dense(3, name="dense"))
    with pytest.warns(UserWarning, match="3 of 'dense'"):
        analyzer = create(model, pattern_type="linear").fit(np.full((50, 4), 0.7), batch_size=9)
    assert not analyzer.patterns["dense"].any()


def test_a_bad_batch_is_named_and_leaves_the_statistics_intact(fitted):
    model, x, analyzer = fitted
    bad = x.copy()
    bad[37] = np.nan
    other = create(model)
    with pytest.raises(ValueError, match=r"Batch 3 \(counted from 0\).*sample 37.*hold 30 samples"):
        other.fit(bad, batch_size=10)
    assert other.statistics.samples == 30
    assert_same_patterns(other.fit(x[30:], resume=True).patterns, analyzer.patterns)
    with pytest.raises(ValueError, match=r"Batch 0.*hold 60 samples"):
        other.fit(bad[37:])
    other.fit(iter([x[:10], x[:0]]))  # an empty batch says nothing
    assert other.statistics.samples == 10
    with pytest.raises(ValueError, match=r"Batch 0.*wrong shape.*hold 10 samples"):
        other.fit(iter([x[:, :3]]))
    assert other.statistics.samples == 10


def test_numbers_out_of_range_are_an_error():
    model = stack(layers.Input((4,)), layers.Dense(3, name="dense"))
    model.layers[0].set_weights([np.full((4, 3), 10), np.zeros(3)])
    analyzer = create(model)
    with pytest.raises(ValueError, match=r"Batch 1.*'dense' out of the floating point range"):
        analyzer.fit(np.stack([normal(4), np.full(4, 3e38, "float32")]), batch_size=1)
    assert analyzer.statistics.samples == 1


@pytest.mark.parametrize("data", [np.zeros((0, 6, 6, 2)), iter([])], ids=["array", "generator"])
def test_no_data_is_an_error(fitted, data):
    analyzer = create(fitted[0])
    with pytest.raises(ValueError, match="no sample"):
        analyzer.fit(data)
    with pytest.raises(RuntimeError, match="no patterns yet"):
        analyzer.analyze(fitted[1])


def test_an_interrupted_fit_goes_on_where_it_stopped(fitted):
    model, x, analyzer = fitted

    def interrupted():
        yield x[:20]
        yield x[20:30]
        raise KeyboardInterrupt

    for go_on in (
        lambda other: other.fit(x[30:], resume=True),
        lambda other: other.partial_fit(x[30:]),
    ):
        other = create(model)
        with pytest.raises(KeyboardInterrupt):
            other.fit(interrupted())
        assert other.statistics.samples == 30
        assert other.analyze(x[:2]).any()
        assert_same_patterns(go_on(other).patterns, analyzer.patterns)


def test_an_interruption_while_sums_are_added_changes_nothing(fitted, monkeypatch):
    model, x, _ = fitted
    other = create(model).fit(x[:20])
    before = other.statistics.sums
    plus = PatternStatistics._plus

    def interrupted(self, samples, sums):
        plus(self, samples, sums)
        raise KeyboardInterrupt

    monkeypatch.setattr(PatternStatistics, "_plus", interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.partial_fit(x[20:])
    assert other.statistics.samples == 20
    assert other.statistics.sums is before


def test_analyze_before_fit(fitted):
    analyzer = create(fitted[0], "pattern.attribution")
    with pytest.raises(RuntimeError, match=r"PatternAttribution has no patterns yet.*fit\(X\)"):
        analyzer.analyze(fitted[1])
    with pytest.raises(RuntimeError, match="no patterns yet"):
        _ = analyzer.patterns


BAD_PATTERNS = {
    "unknown layer": ({"other": np.ones(3)}, r"Unknown: \['other'\]"),
    "missing layer": ({"conv": None}, r"missing: \['head'\]"),
    "shape": ({"conv": np.ones((3, 3, 2)), "head": None}, r"'conv'.*\(3, 3, 2, 3\).*\(3, 3, 2\)"),
    "type": ({"conv": np.full((3, 3, 2, 3), "a"), "head": None}, "array of numbers"),
    "NaN": ({"conv": np.full((3, 3, 2, 3), np.nan), "head": None}, "'conv' holds NaN"),
}


@pytest.mark.parametrize("case", BAD_PATTERNS)
def test_patterns_that_do_not_fit(fitted, case):
    model, _, analyzer = fitted
    given, match = BAD_PATTERNS[case]
    given = {name: analyzer.patterns[name] if p is None else p for name, p in given.items()}
    with pytest.raises(ValueError, match=match):
        create(model, patterns=given)


def test_unknown_pattern_type(fitted):
    with pytest.raises(ValueError, match=r"'relu.negative', 'linear'. Received: 'tanh'"):
        create(fitted[0], pattern_type="tanh")


@pytest.mark.filterwarnings("ignore:Some neurons have a pattern of zeros")
def test_statistics_that_do_not_fit_together(fitted):
    analyzer = create(fitted[0], pattern_type="linear")
    with pytest.raises(ValueError, match="pattern type 'relu' cannot be merged"):
        analyzer.statistics.merge(fitted[2].statistics)
    other = create(mlp(*MLP)).fit(normal(9, 6))
    with pytest.raises(ValueError, match="different models"):
        other.statistics.merge(fitted[2].statistics)
    empty = create(mlp(*MLP))
    with pytest.raises(ValueError, match="different models"):
        empty.statistics.merge(fitted[2].statistics)
    with pytest.raises(TypeError, match="other must be PatternStatistics"):
        empty.statistics.merge(3)
    with pytest.raises(TypeError, match="kernels must be a dict"):
        other.statistics.patterns([1])
    with pytest.raises(ValueError, match=r"sums for kernels of the shapes .* for 'strange': 1"):
        other.statistics.patterns({"strange": 1})
    with pytest.raises(ValueError, match="resume must be True or False"):
        other.fit(normal(9, 6), resume=pd.NA)
    positive = create(fitted[0], pattern_type="relu.positive")
    positive.statistics.merge(fitted[2].statistics)
    assert positive.statistics.samples == 60


def damaged(path):
    path.write_bytes(path.read_bytes()[:200])


def foreign(path):
    np.savez(path.open("wb"), x=np.zeros(3))


def pickled(path):
    np.save(path.open("wb"), np.array([{"a": 1}]), allow_pickle=True)


def newer(path):
    state = dict(np.load(path))
    np.savez(path.open("wb"), **{**state, ":format": 2})


def incomplete(path):
    state = dict(np.load(path))
    del state["conv:xy"]
    np.savez(path.open("wb"), **state)


FILES = {
    damaged: "cannot be loaded as statistics of patterns: ",
    foreign: "no statistics of patterns",
    pickled: "cannot be loaded as statistics of patterns: ",
    newer: "format 2.*Update",
    incomplete: "incomplete",
}


@pytest.mark.parametrize("damage", FILES, ids=lambda damage: damage.__name__)
def test_files_that_hold_no_statistics(fitted, tmp_path, damage):
    path = tmp_path / "statistics.npz"
    fitted[2].statistics.save(path)
    damage(path)
    with pytest.raises(FileRefusedError, match=FILES[damage]):
        PatternStatistics.load(path)


def changed(state, name, change):
    return {**state, name: change(state[name])}


WRONG_SUMS = {
    "not finite": (":xy", lambda a: a * np.nan, "'xy' of 'conv' are no finite numbers"),
    "infinite": (":y", lambda a: a / 0.0, "'y' of 'conv' are no finite numbers"),
    "too large": (":x", lambda a: a * 0 + 1e200, "'x' of 'conv' are no finite numbers"),
    "text": (":y", lambda a: a.astype(str), "'y' of 'conv' are no finite numbers"),
    "complex": (":x", lambda a: a.astype(complex), "'x' of 'conv' are no finite numbers"),
    "another shape": (":x", lambda a: a[:1], "'conv' are of shapes that do not fit"),
    "one number": (":y", lambda a: a.sum(keepdims=True), "'conv' are of shapes that do not fit"),
    "fewer axes": (":active", lambda a: a[0], "'conv' are of shapes that do not fit"),
    "too many axes": (":count", lambda a: a[None], "'conv' are of shapes that do not fit"),
    "negative": (":active", lambda a: -1 - a, "counts of 'conv' contradict each other"),
    "more than all": (":active", lambda a: a + 1e9, "counts of 'conv' contradict each other"),
    "of nothing": (":count", lambda a: 0 * a, "counts of 'conv' contradict each other"),
}


@pytest.mark.parametrize("case", WRONG_SUMS)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_sums_that_cannot_be_those_of_data(fitted, tmp_path, case):
    key, change, message = WRONG_SUMS[case]
    state = changed(fitted[2].statistics.state(), f"conv{key}", change)
    with pytest.raises(ValueError, match=message):
        PatternStatistics.from_state(state)


@pytest.mark.parametrize("samples", [-1, 1.5, [3], "3", True])
def test_numbers_of_samples_that_are_none(fitted, samples):
    state = changed(fitted[2].statistics.state(), ":samples", lambda _: np.array(samples))
    with pytest.raises(ValueError, match="no statistics of patterns: expected a count"):
        PatternStatistics.from_state(state)


def test_sums_that_were_altered_are_refused(fitted, tmp_path):
    path = tmp_path / "statistics.npz"
    fitted[2].statistics.save(path)
    with np.load(path) as file:
        state = dict(file)
    for key in ("conv:xy", "conv:y"):
        np.savez(path.open("wb"), **changed(state, key, lambda a: a * 1.001))
        with pytest.raises(FileRefusedError, match="not those that were written"):
            PatternStatistics.load(path)
    np.savez(path.open("wb"), **state)
    assert PatternStatistics.load(path).samples == 60


def test_sums_of_other_neurons_are_not_merged(fitted):
    """A kernel of the same shape whose neurons are along another axis."""
    state = fitted[2].statistics.state()
    for key in ("active", "count", "y"):
        state[f"conv:{key}"] = np.ones((3, 1, 1, 1)) * state[f"conv:{key}"].mean()
    other = PatternStatistics.from_state(state)
    with pytest.raises(ValueError, match="different models"):
        create(fitted[0]).statistics.merge(other)


def test_a_failed_save_leaves_the_old_file(fitted, tmp_path, monkeypatch):
    path = tmp_path / "statistics.npz"
    fitted[2].statistics.save(path)
    before = path.read_bytes()

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="no space"):
        fitted[2].statistics.save(path)
    assert path.read_bytes() == before


class ByTensordot(layers.Layer):
    """A matrix product that does not tell which axes of its kernel are the neurons."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, shape[1]), name="kernel")

    def call(self, x):
        return ops.tensordot(x, self.kernel, axes=[[1], [1]])


def test_kernels_whose_neurons_are_not_known_are_refused():
    model = stack(layers.Input((4, 2)), ByTensordot())
    with pytest.raises(innvestigate.NoRuleError, match=re.escape("has no pattern")):
        create(model)


def test_other_activations_warn():
    model = stack(layers.Input((4,)), layers.Dense(3, activation="tanh"), layers.Dense(2))
    with pytest.warns(UserWarning, match="PatternNet is made for rectifiers only.*tanh") as caught:
        create(model)
    assert len(caught) == 1


def test_patterns_belong_to_the_kernels_of_the_fit_in_files_too(tmp_path):
    x = normal(20, 4)
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, name="dense")])
    analyzer = create(model).fit(x)
    model.layers[-1].set_weights([w + 1 for w in model.get_weights()])
    analyzer.save(tmp_path / "patterns.zip")
    loaded = innvestigate.load_analyzer(tmp_path / "patterns.zip")
    np.testing.assert_array_equal(loaded.patterns["dense"], analyzer.patterns["dense"])
    np.testing.assert_allclose(loaded.analyze(x), analyzer.analyze(x), rtol=1e-6)
