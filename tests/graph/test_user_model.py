"""The user's model is sacred: analysis leaves no trace on it, and sees its training at once."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from tests.frameworks import not_on_torch, on_tensorflow

METHODS = [
    ("gradient", {}),
    ("guided_backprop", {}),
    ("lrp.sequential_preset_a_flat", {}),
    ("lrp.epsilon", {"fold_batch_norm": True}),
    ("lrp.gamma", {"layers": ("block", "input")}),
    ("deep_taylor.bounded", {"low": 0, "high": 1}),
]


class Affine(layers.Layer):
    """A layer whose inside is only seen by running its call."""

    def build(self, shape):
        self.inner = layers.Dense(4, activation="relu")
        self.inner.build(shape)
        self.w = self.add_weight(shape=(4, 4), initializer="glorot_uniform")

    def call(self, x):
        return ops.matmul(self.inner(x), self.w)


def build_model():
    shared = layers.Dense(6, activation="relu", name="shared")
    block = keras.Sequential([layers.Input((6,)), layers.Dense(6), layers.ReLU()], name="block")
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 3, use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(6)(x)
    x = ops.relu(shared(shared(x)) + block(x))
    x = layers.Dropout(0.5)(Affine(name="affine")(x))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def fingerprint(model):
    every = model._flatten_layers()
    return {
        "config": [layer.get_config() for layer in every],
        "weights": [w.copy() for w in model.get_weights()],
        "nodes": [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in every],
        "flags": [(layer.trainable, layer.dtype_policy.name, layer.name) for layer in every],
        "attributes": [sorted(vars(layer)) for layer in every],
    }


@pytest.mark.parametrize(("name", "arguments"), METHODS)
def test_analysis_leaves_the_model_as_it_was(name, arguments):
    model = build_model()
    x = np.random.default_rng(0).uniform(size=(5, 4, 4, 2)).astype("float32")
    expected = model.predict(x, verbose=0)
    before = fingerprint(model)
    innvestigate.create_analyzer(name, model, **arguments).analyze(x)
    after = fingerprint(model)
    for key in ("config", "nodes", "flags", "attributes"):
        assert after[key] == before[key], key
    for new, old in zip(after["weights"], before["weights"], strict=True):
        np.testing.assert_array_equal(new, old)
    for layer in model.layers:
        if len(layer._inbound_nodes) == 1:
            assert layer.output is not None
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


@pytest.mark.parametrize(("name", "arguments"), METHODS)
def test_training_on_is_seen_at_once(name, arguments):
    model = build_model()
    x = np.random.default_rng(0).uniform(size=(16, 4, 4, 2)).astype("float32")
    analyzer = innvestigate.create_analyzer(name, model, **arguments)
    before = analyzer.analyze(x)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.5
    model.fit(x, np.arange(16) % 3, verbose=0)
    after = analyzer.analyze(x)
    fresh = innvestigate.create_analyzer(name, model, **arguments).analyze(x)
    for old, new, expected in zip(*map(keras.tree.flatten, (before, after, fresh)), strict=True):
        np.testing.assert_array_equal(new, expected)
        assert np.abs(new - old).max() > 0


def test_stateful_layers_keep_their_state():
    model = keras.Sequential(
        [layers.Input(batch_shape=(2, 5, 3)), layers.LSTM(4, stateful=True), layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    analyzer = innvestigate.create_analyzer("gradient", model)
    states = [keras.ops.convert_to_numpy(s) for s in model.layers[0].states]
    first = analyzer.analyze(x)
    np.testing.assert_array_equal(analyzer.analyze(x), first)
    for state, old in zip(model.layers[0].states, states, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(state), old)


def test_model_wo_softmax_shares_weights():
    model = build_model()
    x = np.random.default_rng(0).uniform(size=(5, 4, 4, 2)).astype("float32")
    before = fingerprint(model)
    logits = innvestigate.model_wo_softmax(model)
    assert fingerprint(model)["nodes"] == before["nodes"]
    for _ in range(2):
        found = ops.softmax(logits.predict(x, verbose=0))
        np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-5)
        model.layers[-1].set_weights([w + 0.3 for w in model.layers[-1].get_weights()])
    direct = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    taken_off = innvestigate.create_analyzer("lrp.z", logits).analyze(x)
    np.testing.assert_allclose(taken_off, direct, rtol=0, atol=1e-6 * np.abs(direct).max())


def test_model_wo_output_activation():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2, activation="tanh")])
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    bare = innvestigate.model_wo_output_activation(model)
    np.testing.assert_allclose(
        np.tanh(bare.predict(x, verbose=0)), model.predict(x, verbose=0), rtol=1e-5
    )
    with pytest.raises(ValueError, match="ends in a softmax"):
        innvestigate.model_wo_softmax(model)


class ByValue(keras.Model):
    """Decides by its data, in a way that no backend can compile."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x) if ops.convert_to_numpy(x).sum() > 0 else self.dense(-x)


@on_tensorflow
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "occlusion"])
def test_a_model_that_decides_by_values_is_run_step_by_step(method):
    model, x = ByValue(), np.random.default_rng(0).uniform(0.1, 1, (4, 6)).astype("float32")
    model(x)
    analyzer = innvestigate.create_analyzer(method, model, neuron_selection_mode="index")
    weights = model.dense.kernel.numpy()[:, 1]
    expected = np.broadcast_to(weights, x.shape) if method == "gradient" else x * weights
    np.testing.assert_allclose(analyzer.analyze(x, 1), expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(innvestigate.NoRuleError, match="by_value"):
        innvestigate.create_analyzer("lrp.epsilon", model)


class TwoArguments(keras.Model):
    def __init__(self):
        super().__init__()
        self.a, self.b = layers.Dense(4), layers.Dense(4)

    def call(self, u, v, training=False):
        return self.a(u) * self.b(v)


def test_a_call_with_several_arguments_says_what_to_write():
    model = TwoArguments()
    model(np.ones((1, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"u, v = keras.Input\(...\), keras.Input\(...\)"):
        innvestigate.create_analyzer("gradient", model)
    u, v = keras.Input((2,)), keras.Input((3,))
    found = innvestigate.create_analyzer("lrp.z", keras.Model([u, v], model(u, v)))
    x = [np.ones((1, 2)), np.ones((1, 3))]
    assert all(np.isfinite(r).all() and r.any() for r in found.analyze(x))


@not_on_torch  # where Keras knows them, as each step is run
def test_a_model_whose_shapes_keras_does_not_know_is_told():
    class If(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x) if ops.sum(x) > 0 else self.dense(-x)

    model = If()
    model(np.ones((2, 3)))
    with pytest.raises(ValueError, match="decides by the values of its data"):
        innvestigate.create_analyzer("gradient", model)
