"""Layers that compute with their weights and sizes are opened, and training on is still seen."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.graph.constants import Computation, Constant, held, present, shared
from innvestigate.graph.operations import Kind, kind_of
from innvestigate.graph.rewrite import is_opaque, open_layers, split
from innvestigate.graph.run import run
from innvestigate.graph.step import Step
from innvestigate.graph.symbolic import RefusedError
from innvestigate.graph.trace import count_nodes, open_step, trace
from tests.frameworks import closed


class Computes(layers.Layer):
    """Makes kernels of its weights in the ways that users do."""

    def build(self, shape):
        size = shape[-1]
        normal = {"initializer": "random_normal"}
        self.scale = self.add_weight((size,), name="scale", **normal)
        self.w = self.add_weight((size, 4), name="w", **normal)
        self.k = self.add_weight((3, 4), name="k", **normal)

    def call(self, x):
        y = (1 + self.scale) * x
        y = ops.matmul(y, ops.softplus(self.w))
        return ops.matmul(y, ops.transpose(self.k)) + self.w[0, :3]


class TokenAndPosition(layers.Layer):
    """The embedding of keras.io's examples."""

    def __init__(self, places=20, size=4):
        super().__init__()
        self.token, self.position = layers.Embedding(12, size), layers.Embedding(places, size)

    def call(self, x):
        return self.token(x) + self.position(ops.arange(ops.shape(x)[-1]))


class Places(layers.Layer):
    """Writes something of its input's shape that ignores its values."""

    def build(self, shape):
        self.table = self.add_weight((20, shape[-1]), initializer="random_normal")

    def call(self, x):
        return ops.broadcast_to(self.table[: ops.shape(x)[1]], ops.shape(x))


class Heads(layers.Layer):
    """Reshapes by all sizes of its input, that of the batch included."""

    def call(self, x):
        batch, places, size = ops.shape(x)
        return ops.mean(ops.reshape(x, (batch * places, 2, size // 2)), axis=1)


class ByValue(layers.Layer):
    def build(self, shape):
        self.w = self.add_weight((1,), initializer="ones")

    def call(self, x):
        return x if self.w[0] > 0 else -x


def model_of(layer, shape=(6,), dtype=None):
    x = keras.Input(shape, dtype=dtype)
    return keras.Model(x, layers.Dense(3)(layer(x)))


def values(graph, x):
    return [
        ops.convert_to_numpy(y) for y in run(graph, [ops.convert_to_tensor(x)], graph.flat_outputs)
    ]


def test_what_is_made_of_weights_is_a_constant_that_training_changes():
    model = model_of(Computes(name="own"))
    graph = split(open_layers(trace(model), is_opaque))
    assert [kind_of(step) for step in graph.steps[:3]] == [Kind.UNITS, Kind.LINEAR, Kind.LINEAR]
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    for _ in range(2):
        np.testing.assert_allclose(values(graph, x)[0], model.predict(x, verbose=0), rtol=1e-5)
        for weight in model.weights:
            weight.assign(1.5 * weight + 0.1)


@pytest.mark.parametrize("method", ["lrp.z", "lrp.gamma", "deeplift", "guided_backprop"])
def test_a_method_sees_that_such_a_model_was_trained_on(method):
    model = model_of(Computes())
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    analyzer = innvestigate.create_analyzer(method, model)
    before = analyzer.analyze(x)
    for weight in model.weights:
        weight.assign(1.5 * weight + 0.1)
    after = analyzer.analyze(x)
    fresh = innvestigate.create_analyzer(method, model).analyze(x)
    np.testing.assert_allclose(after, fresh, rtol=1e-4, atol=1e-6)
    assert np.abs(after - before).max() > 1e-3


def test_opening_leaves_no_node_behind():
    model = model_of(Computes())
    before = count_nodes(model)
    innvestigate.create_analyzer("lrp.epsilon", model).analyze(np.ones((2, 6)))
    assert count_nodes(model) == before


class Keeps(layers.Layer):
    """Makes a table when it is called for the first time, and keeps what it has written."""

    def build(self, shape):
        self.w = self.add_weight((shape[-1],), initializer="ones")

    def call(self, x):
        if not hasattr(self, "table"):
            self.table = ops.cos(self.w)
        self.last = x * self.table
        return self.last


def test_opening_leaves_no_tensor_behind():
    layer = Keeps()
    model = model_of(layer)
    vars(layer).pop("table"), vars(layer).pop("last")  # those that building the model has left
    analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
    assert not {"table", "last"} & set(vars(layer))
    found = analyzer.analyze(np.ones((2, 6)))
    assert np.isfinite(found).all() and found.any()
    layer.last = kept = ops.ones(6)
    innvestigate.create_analyzer("lrp.epsilon", model)
    assert layer.last is kept


def test_a_constant_is_computed_once_for_a_step():
    runs = []
    compute = lambda: runs.append(1) or [np.ones(2), np.zeros(3)]  # noqa: E731
    layer = layers.Dense(1)
    a, b = (Constant(layer, compute, i, (2 + i,), "float32") for i in range(2))
    found = present({"a": a, "b": [b, 5]})
    assert len(runs) == 1 and found["b"][1] == 5
    np.testing.assert_array_equal(found["b"][0], np.zeros(3))


def test_what_several_read_is_computed_once_within_a_run():
    runs = []

    def constant(name, *known):
        values = lambda *given: runs.append(name) or [np.ones(2) + sum(map(np.sum, given))]  # noqa: E731
        return Constant(layers.Dense(1), Computation(values, list(known)), 0, (2,), "float32")

    outer, alone = constant("outer"), constant("alone")
    inner = constant("inner", outer)
    several = shared([[inner], [alone], [inner, outer]])
    with held(several):
        assert runs == ["outer", "inner"]
        for _ in range(2):
            np.testing.assert_array_equal(present([inner, outer]), [[3, 3], [1, 1]])
        with held(several):
            present(alone)
    assert runs == ["outer", "inner", "alone"]
    present(inner)
    assert runs[3:] == ["inner", "outer"] or runs[3:] == ["outer", "inner"]


class Rounds(layers.Layer):
    """Each round reads a table of its own that is made of the weights."""

    def __init__(self, count):
        super().__init__()
        self.count, self.calls = count, []

    def build(self, shape):
        self.w = self.add_weight(shape=(6,), initializer="random_normal")

    def call(self, x):
        self.calls.append(1)
        for i in range(self.count):
            x = x + ops.tanh(x * ops.cos(self.w + i))
        return x


@pytest.mark.parametrize("method", ["lrp.epsilon", "deeplift"])
def test_a_layer_does_not_run_for_each_of_its_steps(method):
    runs = []
    for count in (2, 6):
        layer = Rounds(count)
        analyzer = innvestigate.create_analyzer(method, model_of(layer))
        layer.calls.clear()
        analyzer.analyze(np.ones((2, 6)))
        runs.append(len(layer.calls))
    assert runs[0] == runs[1] > 0


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (ByValue(), "decides by the values of its weights"),
        (layers.Lambda(lambda x: np.asarray(x)), "decides by the values of its inputs"),
        (layers.Lambda(closed), "cannot be run without data"),
    ],
)
def test_a_layer_that_stays_closed_says_why(layer, why):
    layer.build((None, 6))
    tensors = [keras.KerasTensor((None, 6)) for _ in range(2)]
    with pytest.raises(RefusedError, match=why):
        open_step(Step("own", layer, ((tensors[0],), {}), [tensors[1]], (layer,)))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("places", [5, None])
@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "lrp.epsilon", "deeplift"])
def test_an_embedding_of_tokens_and_places(dtype, places, method):
    x = keras.Input((places,), dtype=dtype)
    y = layers.GlobalAveragePooling1D()(ops.tanh(TokenAndPosition()(x)))
    model = keras.Model(x, layers.Dense(3)(y))
    tokens = np.random.default_rng(0).integers(1, 12, (3, 5))
    found = innvestigate.create_analyzer(method, model).analyze(tokens)
    assert (found != 0).any(axis=1).all()
    if method in ("integrated_gradients", "deeplift"):
        before, after = (model.predict(t, verbose=0) for t in (tokens * 0, tokens))
        change = (after - before)[np.arange(3), after.argmax(axis=1)]
        np.testing.assert_allclose(found.sum(axis=1), change, atol=1e-4)


def test_a_layer_that_ignores_its_input_is_a_constant():
    x = keras.Input((5, 4))
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(x + Places(name="places")(x))))
    analyzer = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index")
    data = np.random.default_rng(0).normal(size=(3, 5, 4)).astype("float32")
    weights = ops.convert_to_numpy(model.layers[-1].kernel)[:, 0]
    expected = data * weights.reshape(5, 4)
    np.testing.assert_allclose(analyzer.analyze(data, 0), expected, rtol=1e-3, atol=1e-5)
