"""Final activations: which are found, what is left of the graph, and what the tail computes."""

from functools import partial
from types import FunctionType

import jax
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import innvestigate
from innvestigate.graph.final import (
    changes_sign,
    explained,
    find_final,
    find_mix,
    is_probability,
    take_off,
)
from innvestigate.graph.operations import Kind, activation_name, kind_of
from innvestigate.graph.run import run
from innvestigate.graph.trace import trace
from tests.frameworks import here, on_tensorflow

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


class Head(layers.Layer):
    """A softmax that only opening the layer brings to light."""

    def build(self, shape):
        self.dense = layers.Dense(3)
        self.dense.build(shape)

    def call(self, x):
        return ops.softmax(self.dense(x))


class Softmax(layers.Layer):
    def call(self, x):
        return ops.softmax(x)


class Inside(keras.Model):
    """A subclassed model."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.dense(x)


def head(activation):
    return layers.Dense(3, activation=activation)


def functional(*steps):
    x = keras.Input((4,))
    return keras.Model(x, through(x, *steps))


def through(x, *steps):
    for step in steps:
        x = step(x)
    return x


def nested(*steps):
    return keras.Sequential([layers.Input((4,)), functional(*steps)])


SOFTMAXES = {
    "dense": lambda: [head("softmax")],
    "layer": lambda: [layers.Dense(3), layers.Softmax()],
    "activation": lambda: [layers.Dense(3), layers.Activation("softmax")],
    "ops": lambda: [layers.Dense(3), ops.softmax],
    "tf": lambda: [head(tf.nn.softmax)],
    "activation tf": lambda: [layers.Dense(3), layers.Activation(tf.nn.softmax)],
    "lambda": lambda: [layers.Dense(3), layers.Lambda(lambda x: ops.softmax(x))],
    "lambda tf": lambda: [layers.Dense(3), layers.Lambda(tf.nn.softmax)],
    "lambda tf, axis": lambda: [
        layers.Dense(3),
        layers.Lambda(tf.nn.softmax, arguments={"axis": -1}),
    ],
    "function": lambda: [head(lambda x: ops.softmax(x))],
    "layer as activation": lambda: [head(Softmax())],
    "partial": lambda: [head(partial(ops.softmax, axis=-1))],
    "custom layer": lambda: [Head()],
    "subclassed": lambda: [Inside()],
    "sequential in sequential": lambda: [nested(layers.Dense(3), layers.Softmax())],
    "functional in functional": lambda: [functional(functional(head("softmax")))],
    "float32 behind": lambda: [
        layers.Dense(3, dtype="mixed_float16"),
        layers.Activation("softmax", dtype="float32"),
        layers.Activation("linear", dtype="float32"),
    ],
    "float32 before": lambda: [
        layers.Dense(3, dtype="mixed_float16"),
        layers.Activation("linear", dtype="float32"),
        layers.Activation("softmax", dtype="float32"),
    ],
    "reshape": lambda: [head("softmax"), layers.Reshape((3, 1))],
    "flatten": lambda: [head("softmax"), layers.Flatten()],
    "dropout": lambda: [head("softmax"), layers.Dropout(0.5)],
    "identities": lambda: [
        head("softmax"),
        layers.Identity(),
        layers.ActivityRegularization(0.1),
        lambda x: ops.cast(x, "float16"),
    ],
    "rescaling": lambda: [head("softmax"), layers.Rescaling(2.0, offset=-1.0)],
    "in per cent": lambda: [head("softmax"), lambda x: 100 * x],
    "log": lambda: [head("softmax"), ops.log],
    "clip": lambda: [head("softmax"), lambda x: ops.clip(x, 1e-7, 1)],
    "maximum": lambda: [head("softmax"), lambda x: ops.maximum(x, 1e-7)],
    "slice": lambda: [head("softmax"), lambda x: x[:, 1]],
    "permute": lambda: [
        layers.Reshape((2, 2)),
        head("softmax"),
        layers.Permute((2, 1)),
        layers.Flatten(),
    ],
    "time": lambda: [layers.Reshape((2, 2)), layers.TimeDistributed(head("softmax"))],
    "time, masked": lambda: [
        layers.Reshape((2, 2)),
        layers.Masking(),
        layers.TimeDistributed(head("softmax")),
    ],
    "time, reshape": lambda: [
        layers.Reshape((2, 2)),
        layers.TimeDistributed(keras.Sequential([layers.Dense(3), layers.Softmax()])),
    ],
    "other axis": lambda: [layers.Reshape((2, 2)), layers.Dense(3), layers.Softmax(axis=1)],
    "one neuron": lambda: [layers.Dense(1, activation="softmax")],
}
PROBABILITIES = {
    **{f"softmax, {name}": (make, "softmax") for name, make in SOFTMAXES.items()},
    "log softmax": (lambda: [head("log_softmax")], "log_softmax"),
    "log softmax, tf": (lambda: [head(tf.nn.log_softmax)], "log_softmax"),
    "sigmoid": (lambda: [head("sigmoid")], "sigmoid"),
    "sigmoid, tf": (lambda: [head(tf.nn.sigmoid)], "sigmoid"),
    "sigmoid, ops": (lambda: [layers.Dense(3), ops.sigmoid], "sigmoid"),
    "hard sigmoid": (lambda: [head("hard_sigmoid")], "hard_sigmoid"),
}
OTHERS = {
    "softplus": (lambda: [head("softplus")], "softplus"),
    "softplus, tf": (lambda: [head(tf.nn.softplus)], "softplus"),
    "softplus by hand": (lambda: [head(lambda x: ops.log(1 + ops.exp(x)))], "exponential"),
    "exponential": (lambda: [head("exponential")], "exponential"),
    "exponential, tf": (lambda: [head(tf.exp)], "exponential"),
    "exponential, ops": (lambda: [layers.Dense(3), ops.exp], "exponential"),
    "sparsemax": (lambda: [head("sparsemax")], "sparsemax"),
    "square": (lambda: [layers.Dense(3), ops.square], "square"),
    "power": (lambda: [layers.Dense(3), lambda x: x**2], "power"),
    "product with itself": (lambda: [layers.Dense(3), lambda x: x * x], None),
    "clipped above zero": (lambda: [layers.Dense(3), lambda x: ops.clip(x, 0.1, 1)], "clip"),
    "unknown": (lambda: [head(lambda x: x * ops.sigmoid(x))], "<lambda> (custom)"),
}
KEPT = {
    "nothing": lambda: [layers.Dense(3)],
    "relu": lambda: [head("relu")],
    "relu, layer": lambda: [layers.Dense(3), layers.ReLU(max_value=6, negative_slope=0.1)],
    "leaky relu": lambda: [layers.Dense(3), layers.LeakyReLU()],
    "prelu": lambda: [layers.Dense(3), layers.PReLU()],
    "maximum": lambda: [layers.Dense(3), lambda x: ops.maximum(x, 0.0)],
    "clip": lambda: [layers.Dense(3), lambda x: ops.clip(x, -1, 1)],
    "clip to arrays": lambda: [
        layers.Dense(3),
        lambda x: ops.clip(x, -np.ones(3, "float32"), np.ones(3, "float32")),
    ],
    "cube": lambda: [layers.Dense(3), lambda x: x**3],
    "scaled tanh": lambda: [head(lambda x: 1.7 * ops.tanh(0.66 * x))],
    "gate": lambda: [lambda x: layers.Dense(3)(x) * head("sigmoid")(x)],
    "attention": lambda: [
        layers.Reshape((2, 2)),
        lambda x: ops.matmul(ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1)))), x),
    ],
}
MIXES = {
    "average": lambda x: layers.Average()([head("softmax")(x), head("softmax")(x)]),
    "add": lambda x: head("softmax")(x) + head("sigmoid")(x),
    "multiply": lambda x: layers.Multiply()([head("softmax")(x), head("softmax")(x)]),
    "maximum": lambda x: layers.Maximum()([head("softmax")(x), head(lambda x: ops.softmax(x))(x)]),
    "concatenate": lambda x: layers.Concatenate()([head("softmax")(x), head("softmax")(x)]),
    "nested": lambda x: layers.Average()([nested(head("softmax"))(x), functional(Head())(x)]),
    "average, reshaped": lambda x: layers.Reshape((3, 1))(MIXES["average"](x)),
    "mean": lambda x: ops.mean(head("softmax")(x), axis=-1, keepdims=True),
    "complement": lambda x: 1 - head("sigmoid")(x),
    "masked": lambda x: layers.Softmax()(layers.Dense(4)(x), ops.greater(x, 0)),
    "negative scale": lambda x: layers.Rescaling(-1.0)(head("sigmoid")(x)),
}


def check_taken_off(model, wanted, name):
    """What is left are the logits, from which the tail makes the model's own output."""
    graph = trace(model)
    output, steps = graph.flat_outputs[0], list(graph.steps)
    expected = ops.convert_to_numpy(run(graph, [X], [output])[0])
    assert activation_name(find_final(graph, output, wanted).operation) == name
    assert graph.steps == steps
    final = take_off(graph, output, wanted)
    assert graph.steps == steps
    graph = final.graph
    graph.check()
    assert activation_name(final.activation.operation) == name
    assert graph.flat_outputs[0] is final.output
    logits, found = run(graph, [X], [final.logits, final.output])
    assert found.shape == expected.shape
    again = run(final.tail, [logits], final.tail.flat_outputs)[0]
    half = any("float16" in (t.dtype, output.dtype) for s in graph.steps for t in s.outputs)
    tolerance = 2e-3 if half else 1e-6
    np.testing.assert_allclose(again, expected, rtol=tolerance)
    apart = np.abs(np.float32(found)[..., None] - np.ravel(np.float32(logits)))
    assert apart.min(-1).max() <= tolerance
    assert take_off(graph, final.output, wanted) is None
    return graph, final


@pytest.mark.parametrize("name", here(PROBABILITIES))
def test_a_probability_is_found_in_every_form(name):
    make, activation = PROBABILITIES[name]
    model = functional(*make())
    for wanted in (is_probability, changes_sign):
        check_taken_off(model, wanted, activation)


@pytest.mark.parametrize("name", here(OTHERS))
def test_other_activations_go_where_their_sign_may_differ(name):
    make, activation = OTHERS[name]
    model = functional(*make())
    check_taken_off(model, changes_sign, activation)
    graph = trace(model)
    assert take_off(graph, graph.flat_outputs[0], is_probability) is None


@pytest.mark.parametrize("name", KEPT)
def test_what_stays_leaves_the_graph_as_it_was(name):
    graph = trace(functional(*KEPT[name]()))
    steps, output = list(graph.steps), graph.flat_outputs[0]
    for shares_value in (True, False):
        assert explained(graph, output, shares_value, False) == (None, None)
    assert graph.steps == steps
    assert graph.flat_outputs[0] is output


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_of_probabilities_cannot_be_taken_off(name):
    graph = trace(functional(MIXES[name]))
    steps, output = list(graph.steps), graph.flat_outputs[0]
    mix = find_mix(graph, output, is_probability)
    for shares_value in (True, False):
        final, told = explained(graph, output, shares_value, False)
        assert final is None
        assert "probabilities are explained" in told
        assert repr(mix.name) in told
    assert explained(graph, output, False, True) == (None, None)
    assert graph.steps == steps


ACTIVATIONS = {
    function: name
    for name, function in vars(keras.activations).items()
    if callable(function) and name not in ("get", "serialize", "deserialize", "glu", "threshold")
}
ELEMENTWISE = [
    *(layers.Activation(f) for f in ACTIVATIONS),
    *(ops.abs, ops.arctan, ops.arcsinh, ops.sinh, ops.cos, ops.sin, ops.exp2, ops.expm1, ops.log),
    *(ops.erf, ops.sqrt, ops.tan, ops.reciprocal, ops.square, ops.log1p, ops.arcsin, ops.cosh),
    *(layers.ReLU(threshold=1.0, negative_slope=0.5), layers.LeakyReLU(), layers.ELU()),
    *(partial(ops.clip, x_min=a, x_max=b) for a, b in [(-1, 1), (0, 6), (1, 2), (-2, -1)]),
    *(partial(ops.threshold, threshold=t, default_value=d) for t, d in [(1, 0), (-1, 2), (0, -1)]),
    *(partial(ops.power, x2=p) for p in (2, 3)),
    *(partial(f, x2=c) for f in (ops.maximum, ops.minimum) for c in (-1.0, 0.0, 1.0)),
]


def name_of(function):
    named = getattr(function, "activation", getattr(function, "func", function))
    return getattr(named, "__name__", type(named).__name__)


@pytest.mark.parametrize("function", ELEMENTWISE, ids=name_of)
def test_the_sign_of_every_function_is_known(function):
    """Taken off exactly if the sign of some value differs; no number has no sign."""
    x = np.linspace(-20, 20, 4000, dtype="float32")
    x = np.stack([x, -x], 1)
    signs = np.sign(np.array(function(ops.convert_to_tensor(x))))
    differs = not np.all((signs == np.sign(x)) | (signs == 0))
    i = keras.Input((2,))
    graph = trace(keras.Model(i, layers.Activation("linear")(function(i))))
    assert (take_off(graph, graph.flat_outputs[0], changes_sign) is not None) == differs


def test_a_layer_that_is_not_all_softmax_is_opened_no_further():
    class Gated(layers.Layer):
        def call(self, x):
            return x * ops.softmax(x)

    graph = trace(functional(Gated(name="gated")))
    assert explained(graph, graph.flat_outputs[0], False, False) == (None, None)
    assert [step.name for step in graph.steps] == ["gated"]


def test_what_else_reads_a_softmax_still_does():
    x = keras.Input((4,))
    p = head("softmax")(x)
    q = layers.Reshape((3, 1), name="moved")(p)
    model = keras.Model(x, [p, q, layers.Dense(2)(p)])
    graph = trace(model)
    expected = run(graph, [X], graph.flat_outputs)
    logits = innvestigate.model_wo_output_activation(model).predict(X, verbose=0)
    graph = take_off(graph, graph.flat_outputs[1], is_probability).graph
    found = run(graph, [X], graph.flat_outputs)
    for i in (0, 2):
        np.testing.assert_array_equal(found[i], expected[i])
    np.testing.assert_allclose(found[1], logits[1], rtol=1e-5)
    names = [step.name for step in graph.steps]
    assert len(set(names)) == len(names)
    graph = take_off(graph, graph.flat_outputs[0], is_probability).graph
    found = run(graph, [X], graph.flat_outputs)
    np.testing.assert_allclose(found[0], logits[0], rtol=1e-5)
    np.testing.assert_array_equal(found[2], expected[2])
    np.testing.assert_array_equal(np.ravel(logits[0]), np.ravel(logits[1]))
    assert not np.allclose(logits[0].sum(1), 1)


def test_the_steps_that_are_left_are_named_as_before():
    model = functional(layers.Dense(3, "softmax", name="a"), layers.Reshape((3, 1), name="b"))
    graph, final = check_taken_off(model, is_probability, "softmax")
    assert [step.name for step in graph.steps] == ["a", "b"]
    assert [step.name for step in final.tail.steps] == ["a.softmax", "b"]
    assert graph.layer_outputs == {"a": [final.logits], "b": [final.output]}


@pytest.mark.parametrize("name", here(SOFTMAXES))
def test_models_without_their_softmax(name):
    model = functional(*SOFTMAXES[name]())
    logits = innvestigate.model_wo_softmax(model)
    others = innvestigate.model_wo_output_activation(model)
    found = logits.predict(X, verbose=0)
    assert np.abs(found - model.predict(X, verbose=0)).max() > 1e-2
    np.testing.assert_array_equal(found, others.predict(X, verbose=0))


def test_a_final_activation_of_any_kind_is_taken_off_a_model():
    model = functional(layers.Dense(3), layers.Activation("tanh"), layers.Dropout(0.5))
    found = innvestigate.model_wo_output_activation(model).predict(X, verbose=0)
    np.testing.assert_allclose(np.tanh(found), model.predict(X, verbose=0), rtol=1e-5)
    with pytest.raises(ValueError, match="No output of the model"):
        innvestigate.model_wo_softmax(functional(MIXES["average"]))


def other_function(module, name):
    """A function of a framework that need not be installed."""
    function = FunctionType((lambda x: x).__code__, {}, name)
    function.__module__ = module
    return function


class Owner:
    """Stands for the object that torch's C functions belong to, which name no module."""

    __module__ = "torch._C"

    def sigmoid(self):
        pass

    sigmoid.__module__ = None


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.nn.softmax, "softmax"),
        (jax.nn.log_softmax, "log_softmax"),
        (jax.nn.sigmoid, "sigmoid"),
        (jax.nn.relu, "relu"),
        (jax.nn.swish, "silu"),
        (jax.scipy.special.expit, "sigmoid"),
        (other_function("torch.nn.functional", "softmax"), "softmax"),
        (other_function("torch.nn.functional", "logsigmoid"), "log_sigmoid"),
        (other_function("torch.nn.functional", "hardsigmoid"), "hard_sigmoid"),
        (Owner().sigmoid, "sigmoid"),
        (tf.nn.softmax, "softmax"),
        (tf.nn.log_softmax, "log_softmax"),
        (tf.nn.swish, "silu"),
        (tf.exp, "exponential"),
        (layers.LeakyReLU(), "leaky_relu"),
        (partial(tf.nn.softmax, axis=1), "softmax"),
        (partial(ops.relu6), "partial relu6 (custom)"),
        (other_function("torchlike", "softmax"), "softmax (custom)"),
    ],
)
def test_functions_go_by_one_name(function, name):
    assert activation_name(function) == name


@on_tensorflow
def test_a_lambda_of_a_frameworks_function_is_that_activation():
    kinds = [kind_of(step) for step in trace(functional(layers.Lambda(tf.nn.elu))).steps]
    assert kinds == [Kind.ACTIVATION]
    sums = functional(layers.Lambda(lambda x: tf.reduce_sum(x, 1), output_shape=()))
    named = functional(layers.Lambda(tf.identity))
    for model in (sums, named):
        assert [kind_of(step) for step in trace(model).steps] == [Kind.OPAQUE]
