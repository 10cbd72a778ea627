"""Relevance sent as multiples of a tensor is the relevance that the rules' formulas say."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate import rules
from innvestigate.backend import fused
from tests.frameworks import on_tensorflow, run_step_by_step

METHODS = (
    *("lrp.z", "lrp.epsilon", "lrp.gamma", "lrp.z_plus", "lrp.alpha_2_beta_1", "lrp.w_square"),
    *("lrp.flat", "lrp.attn", "lrp.sequential_preset_a_flat", "lrp.sequential_preset_b"),
)
X = np.random.default_rng(0).normal(size=(3, 12, 12, 2)).astype("float32")


def residual():
    """A network with every kind of step that sends multipliers, and some that do not."""
    keras.utils.set_random_seed(1)
    given = keras.Input((12, 12, 2))
    start = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(given)))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(start))
    x = layers.LeakyReLU()(layers.Add()([x, start]))
    x = layers.Activation("silu")(layers.DepthwiseConv2D(3)(layers.MaxPooling2D()(x)))
    means, largest = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    gated = layers.Multiply()([means, layers.Dense(4, activation="sigmoid")(largest)])
    x = layers.Reshape((4, 3))(layers.Dense(12)(layers.Concatenate()([gated, largest])))
    x = layers.MultiHeadAttention(2, 3)(layers.LayerNormalization()(x), x)
    x = layers.LSTM(5, return_sequences=True)(x)
    model = keras.Model(given, layers.Dense(3)(layers.Flatten()(x)))
    for i, weight in enumerate(model.weights):
        if "kernel" not in weight.path and "seed" not in weight.path:
            weight.assign(np.random.default_rng(i).uniform(0.2, 0.9, weight.shape))
    return model


@pytest.fixture(scope="module")
def network():
    return residual()


@pytest.mark.parametrize("method", METHODS)
@run_step_by_step()
def test_what_is_sent_as_multipliers_is_what_an_audit_sends_as_relevance(network, method):
    analyzer = innvestigate.create_analyzer(method, network)
    found, expected = analyzer.analyze(X), analyzer.audit(X).results
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@run_step_by_step()
def test_relevance_is_told_at_layers(network):
    names = [layer.name for layer in network.layers[1:] if "lstm" not in layer.name]
    analyzer = innvestigate.create_analyzer("lrp.epsilon", network, layers=names)
    found, expected = analyzer.analyze(X), analyzer.audit(X).results
    for name in expected:
        scale = np.abs(expected[name]).max() or 1.0
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5 * scale)


def test_the_relevance_of_a_sum_of_zero_is_dropped():
    x = keras.Input((2,))
    apart = ops.concatenate([x[:, :1] - x[:, :1], 2.0 * x[:, 1:]], axis=1)
    y = layers.Dense(1, use_bias=False, kernel_initializer="ones")(apart)
    analyzer = innvestigate.create_analyzer("lrp.z", keras.Model(x, y))
    np.testing.assert_allclose(analyzer.analyze([[3.0, 4.0]]), [[0.0, 8.0]])


class Halved(rules.Z):
    """Sends half of the relevance, by a formula of its own."""

    def __call__(self, at, signals):
        return [0.5 * r for r in super().__call__(at, signals)]


class Told(Halved):
    """Says nothing anew."""


def test_a_rule_that_changes_the_formula_sends_relevance(network):
    assert rules.Z.proportional and not Halved.proportional and not Told.proportional
    given = {"rule": [(lambda layer: isinstance(layer, layers.Dense), Told()), (bool, "Z")]}
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu")])
    model.add(layers.Dense(2))
    x = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")
    whole = innvestigate.create_analyzer("lrp", model, rule="Z").analyze(x)
    halved = innvestigate.create_analyzer("lrp", model, **given).analyze(x)
    np.testing.assert_allclose(halved, whole / 4, rtol=1e-5)


@on_tensorflow
@pytest.mark.parametrize("shape", [(2, 3), (2, 250, 270), (1, 65536)])
def test_one_pass_gives_the_numbers_of_many(shape):
    import tensorflow as tf

    plain = lambda x, y, a: x * (ops.abs(y) / (ops.abs(y) + a))  # noqa: E731
    x, y = (np.random.default_rng(i).normal(size=shape).astype("float32") for i in (0, 1))
    found = tf.function(fused(plain))(tf.constant(x), tf.constant(y), 0.5)
    np.testing.assert_allclose(found, plain(x, y, 0.5), rtol=1e-6)


@on_tensorflow
@pytest.mark.parametrize("shape", [(270,), (1, 1, 270)])
def test_one_pass_takes_numbers_of_channels(shape):
    import tensorflow as tf

    run = tf.function(fused(lambda x, k: x * k))
    x, k = np.random.default_rng(0).normal(size=(2, 250, 270)), np.arange(270.0).reshape(shape)
    np.testing.assert_allclose(run(tf.constant(x), tf.constant(k)), x * k, rtol=1e-12)
    made = run.get_concrete_function(tf.constant(x), tf.constant(k)).graph.as_graph_def()
    assert any(f.attr["_XlaMustCompile"].b for f in made.library.function)


@on_tensorflow
def test_what_is_exported_needs_no_compiler(tmp_path):
    import tensorflow as tf

    x = keras.Input((70, 70, 3))
    y = layers.Flatten()(layers.Conv2D(16, 3, activation="relu")(x))
    analyzer = innvestigate.create_analyzer("lrp.epsilon", keras.Model(x, layers.Dense(2)(y)))
    analyzer.export(tmp_path / "served")
    served = tf.saved_model.load(tmp_path / "served")
    functions = served.serve.get_concrete_function(tf.TensorSpec((None, 70, 70, 3))).graph
    library = functions.as_graph_def().library.function
    assert not any(f.attr["_XlaMustCompile"].b for f in library)
    x = np.random.default_rng(0).normal(size=(2, 70, 70, 3)).astype("float32")
    np.testing.assert_allclose(served.serve(x), analyzer.analyze(x), rtol=1e-4, atol=1e-6)
    mirror = tf.function(analyzer.model).get_concrete_function(tf.TensorSpec((None, 70, 70, 3)))
    library = mirror.graph.as_graph_def().library.function
    assert any(f.attr["_XlaMustCompile"].b for f in library)


@on_tensorflow
@pytest.mark.parametrize("other", [(1, 250, 270), (4, 250, 1), (250, 270)])
def test_what_is_broadcast_is_computed_as_it_is(other):
    import tensorflow as tf

    run = tf.function(fused(lambda x, y: x / y))
    x, y = np.ones((4, 250, 270), "float32"), np.full(other, 2.0, "float32")
    np.testing.assert_array_equal(run(tf.constant(x), tf.constant(y)), x / y)


@pytest.mark.parametrize("method", ["lrp.z_plus", "lrp.alpha_2_beta_1", "lrp.epsilon_IB"])
def test_relevance_divided_by_other_sums_is_not_multiplied_out(method):
    dense = [layers.Dense(8, activation="relu", bias_initializer="ones") for _ in range(3)]
    model = keras.Sequential([layers.Input((6,)), *dense, layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    analyzer = innvestigate.create_analyzer(method, model)
    found, expected = analyzer.analyze(x), analyzer.audit(x).results
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
