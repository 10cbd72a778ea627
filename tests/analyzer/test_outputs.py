"""The output that is explained: a logit, whatever final activation is spelled in whatever way.

The networks are trained here, on six measurements of breast tumours: rectifiers without biases, so
that the logit of no measurement at all is zero. What is right are the logit's exact Shapley values,
by all subsets of the measurements.
"""

import importlib.util
import os
import subprocess
import sys
import warnings
from functools import cache
from itertools import product
from math import factorial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from sklearn.datasets import load_breast_cancer

import innvestigate
from innvestigate.analyzer import GaussianSmoother, PathIntegrator
from tests.frameworks import here

FEATURES = 6
HEADS = ("sigmoid", "hard_sigmoid", "softplus", "exponential")
LRP = ("lrp.z", "lrp.epsilon")
OTHERS = ("gradient", "integrated_gradients", "deeplift")
slow = pytest.mark.slow


@cache
def data():
    """Six measurements, standardised, and five answers, one of them the diagnosis."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    others = x[:, [1, 9, 14, 18]] > 0
    order = np.random.default_rng(0).permutation(len(x))
    answers = np.concatenate([y[:, None], others], 1).astype("float32")
    return x[order, :FEATURES].astype("float32"), answers[order]


@cache
def trained(activation, neurons=1):
    """A small network that ends in an activation, trained on the data: the same on any backend."""
    random = np.random.default_rng(1)
    model = keras.Sequential(
        [
            layers.Input((FEATURES,)),
            layers.Dense(16, activation="relu", use_bias=False),
            layers.Dense(8, activation="relu", use_bias=False),
            layers.Dense(neurons, activation=activation, use_bias=False),
        ]
    )
    shapes = [kernel.shape for kernel in model.weights]
    model.set_weights([random.normal(0, np.sqrt(2 / sum(shape)), shape) for shape in shapes])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = data()
    model.fit(x[:400], y[:400, :neurons], epochs=15, shuffle=False, verbose=0)
    return model


def logits(model, x):
    """By numpy alone."""
    *hidden, last = (np.float64(w) for w in model.get_weights())
    for kernel in hidden:
        x = np.maximum(x @ kernel, 0)
    return x @ last


def shapley_values(model, x, neuron):
    """Exact Shapley values of a logit, zero standing for what is missing."""
    subsets = np.array(list(product([0, 1], repeat=FEATURES)))
    values = logits(model, x[:, None] * subsets)[..., neuron]
    sizes = subsets.sum(1)
    found = np.zeros(x.shape)
    for i in range(FEATURES):
        for k in np.flatnonzero(subsets[:, i] == 0):
            whole = factorial(FEATURES)
            weight = factorial(sizes[k]) * factorial(FEATURES - 1 - sizes[k]) / whole
            joined = np.flatnonzero((subsets == subsets[k] + np.eye(FEATURES)[i]).all(1))[0]
            found[:, i] += weight * (values[:, joined] - values[:, k])
    return found


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


def below(model, neuron=0):
    """Samples that were not trained on and whose output is below 0.5, most logits below zero."""
    x = data()[0][400:]
    x = x[model.predict(x, verbose=0)[:, neuron] < 0.5]
    assert len(x) > 20
    return x


def make(method, model, **arguments):
    """An analyzer, made without the one warning that is expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "The model ends in")
        return innvestigate.create_analyzer(method, model, **arguments)


@pytest.mark.parametrize(
    ("method", "activation"),
    [
        *((method, activation) for method in LRP for activation in HEADS),
        *(("deeplift", "sigmoid"), ("integrated_gradients", "hard_sigmoid")),
    ],
)
def test_what_speaks_against_an_output_below_one_half_is_negative(method, activation):
    model = trained(activation)
    x = below(model)
    expected = shapley_values(model, x, 0)
    np.testing.assert_allclose(expected.sum(1), logits(model, x)[:, 0], atol=1e-9)
    assert correlation(make(method, model).analyze(x), expected) > 0.9


@pytest.mark.parametrize("method", LRP)
@pytest.mark.parametrize("neuron", range(5))
def test_every_label_of_several_gets_its_sign(method, neuron):
    model = trained("sigmoid", 5)
    x = below(model, neuron)
    found = make(method, model, neuron_selection_mode="index").analyze(x, neuron)
    assert correlation(found, shapley_values(model, x, neuron)) > 0.9


def test_the_signs_of_two_inputs():
    model = keras.Sequential([layers.Input((2,)), layers.Dense(1, "sigmoid")])
    model.set_weights([np.array([[-1.0], [1.0]]), np.zeros(1)])
    x = np.array([[2.0, 1.0]])
    found = make("lrp.z", model).analyze(x)
    np.testing.assert_allclose(found, [[-2, 1]], rtol=1e-6)
    with pytest.warns(UserWarning, match="keep_output_activation=True keeps") as caught:
        kept = innvestigate.create_analyzer("lrp.z", model, keep_output_activation=True)
    assert len(caught) == 1
    np.testing.assert_allclose(kept.analyze(x), [[0.5378828, -0.2689414]], rtol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu", "gelu", "softsign", None])
@pytest.mark.parametrize("method", ["lrp.z", "gradient"])
def test_an_activation_that_keeps_the_sign_stays(method, activation):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = innvestigate.create_analyzer(method, with_head(layers.Dense(3, activation)))
        innvestigate.create_analyzer(
            method, with_head(layers.Dense(3, activation)), keep_output_activation=True
        )
    assert found.final is None


# Spellings


def hidden(x):
    """The hidden layers of a trained network, on its weights."""
    for layer in trained("softmax", 5).layers[:-1]:
        x = layer(x)
    return x


def with_head(*steps):
    x = keras.Input((FEATURES,))
    y = hidden(x)
    for step in steps:
        y = step(y)
    return with_weights(keras.Model(x, y))


def with_weights(model):
    """The model with the trained weights in its last layer, whatever it is inside of."""
    *_, kernel = trained("softmax", 5).get_weights()
    for variable in model.variables:
        if variable.shape[-1] == 5 and len(variable.shape) == 2:
            variable.assign(kernel)
        elif variable.path.endswith("bias"):
            variable.assign(np.zeros(variable.shape))
    return model


def dense(activation=None, **arguments):
    return layers.Dense(5, activation=activation, **arguments)


def stack(*parts):
    return keras.Sequential([layers.Input((8,)), *parts])


def inside(*parts):
    x = keras.Input((8,))
    return keras.Model(x, stack(*parts)(x))


SPELLINGS = {
    "softmax": {
        "tf": lambda: [dense(tf.nn.softmax)],
        "layer": lambda: [dense(), layers.Softmax()],
        "ops": lambda: [dense(), ops.softmax],
        "function": lambda: [dense(lambda x: ops.softmax(x))],
        "lambda tf": lambda: [dense(), layers.Lambda(tf.nn.softmax)],
        "float32": lambda: [
            dense(),
            layers.Activation("softmax", dtype="float32"),
            layers.Activation("linear", dtype="float32"),
        ],
        "reshape": lambda: [dense("softmax"), layers.Reshape((5, 1))],
        "permute": lambda: [
            *(dense("softmax"), layers.Reshape((5, 1)), layers.Permute((2, 1))),
            *(layers.Flatten(), layers.Dropout(0.5), layers.Identity()),
        ],
        "regularized": lambda: [dense("softmax"), layers.ActivityRegularization(0.1)],
        "rescaling": lambda: [dense("softmax"), layers.Rescaling(100.0, offset=-50.0)],
        "cast": lambda: [dense("softmax"), lambda x: ops.cast(x, "float32")],
        "time": lambda: [layers.Reshape((1, 8)), layers.TimeDistributed(dense("softmax"))],
        "sequential": lambda: [stack(stack(dense(), layers.Softmax()))],
        "functional": lambda: [inside(dense("softmax"))],
        "log softmax": lambda: [dense("log_softmax")],
        "log softmax, tf": lambda: [dense(tf.nn.log_softmax)],
        "log": lambda: [dense("softmax"), ops.log],
    },
    "sigmoid": {
        "tf": lambda: [dense(tf.nn.sigmoid)],
        "layer": lambda: [dense(), layers.Activation("sigmoid")],
        "ops": lambda: [dense(), ops.sigmoid],
        "hard": lambda: [dense("hard_sigmoid")],
        "reshape": lambda: [dense("sigmoid"), layers.Reshape((5, 1))],
        "rescaling": lambda: [dense("sigmoid"), layers.Rescaling(2.0, offset=-1.0)],
        "sequential": lambda: [stack(stack(dense("sigmoid")))],
    },
}
VALUES = {
    "exponential": {
        "tf": lambda: [dense(tf.exp)],
        "ops": lambda: [dense(), ops.exp],
        "softplus": lambda: [dense("softplus")],
        "softplus, tf": lambda: [dense(tf.nn.softplus)],
        "by hand": lambda: [dense(lambda x: ops.log(1 + ops.exp(x)))],
        "reshape": lambda: [dense("exponential"), layers.Reshape((5, 1))],
    }
}
SHARING = ("lrp.epsilon", "lrp.alpha_1_beta_0", "deep_taylor")


def quick(*methods):
    """Methods, all but two of them slow."""
    marks = {"lrp.epsilon": [], "gradient": []}
    return [pytest.param(method, marks=marks.get(method, slow)) for method in methods]


def spelled(heads):
    return [(head, spelling) for head, spellings in heads.items() for spelling in here(spellings)]


@cache
def first_spelling(method, head):
    return make(method, with_head(dense(head))).analyze(data()[0][:40])


def check_spelling(method, head, make_head):
    model = with_head(*make_head())
    with pytest.warns(UserWarning, match="The model ends in") as caught:
        found = innvestigate.create_analyzer(method, model).analyze(data()[0][:40])
    assert [str(w.message)[:17] for w in caught] == ["The model ends in"]
    assert caught[0].filename == __file__
    expected = first_spelling(method, head)
    assert expected.any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("method", quick(*SHARING, *OTHERS))
@pytest.mark.parametrize(("head", "spelling"), spelled(SPELLINGS))
def test_every_spelling_has_the_same_explanation(method, head, spelling):
    check_spelling(method, head, SPELLINGS[head][spelling])


@pytest.mark.parametrize("method", quick(*SHARING))
@pytest.mark.parametrize(("head", "spelling"), spelled(VALUES))
def test_every_spelling_of_a_value_has_the_same_explanation(method, head, spelling):
    check_spelling(method, head, VALUES[head][spelling])


@pytest.mark.parametrize("method", ["gradient", "deeplift", "occlusion"])
def test_methods_that_share_no_value_explain_a_softplus(method):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = innvestigate.create_analyzer(method, with_head(dense("softplus")))
    assert found.final is None


def test_patterns_explain_the_logit():
    x = data()[0]
    for method in ("pattern.net", "pattern.attribution"):
        found = [
            make(method, with_head(dense(a))).fit(x).analyze(x[:9]) for a in (None, "softplus")
        ]
        np.testing.assert_allclose(*found, rtol=1e-5)


# Warnings

ONE_WARNING = {
    "lrp.z": {},
    "lrp.sequential_preset_b": {},
    "deep_taylor": {},
    "pattern.net": {},
    "gradient": {},
    "guided_backprop": {},
    "deeplift": {},
    "integrated_gradients": {},
    "expected_gradients": {},
    "smoothgrad": {},
    "occlusion": {},
    "shapley_sampling": {"samples": 2},
}


@pytest.mark.parametrize("method", ONE_WARNING)
def test_one_warning_says_that_a_sigmoid_is_taken_off(method):
    with pytest.warns(UserWarning, match="ends in a sigmoid. It is taken off") as caught:
        analyzer = innvestigate.create_analyzer(method, trained("sigmoid"), **ONE_WARNING[method])
        if hasattr(analyzer, "fit"):
            analyzer.fit(data()[0])
        analyzer.analyze(data()[0][:3])
    found = [w.filename for w in caught if "taken off" in str(w.message)]
    assert found == [__file__]


@pytest.mark.parametrize("wrapper", [PathIntegrator, GaussianSmoother])
def test_a_wrapper_brings_no_warning_of_its_own(wrapper):
    inner = make("lrp.z", trained("sigmoid"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        found = wrapper(inner).analyze(data()[0][:2])
    assert np.isfinite(found).all() and found.any()


@pytest.mark.parametrize("method", ["lrp.z", "gradient", "integrated_gradients", "occlusion"])
def test_a_mix_of_softmaxes_is_explained_with_a_warning(method):
    def average(y):
        return layers.Average()([dense("softmax")(y), dense(lambda x: ops.softmax(x))(y)])

    model, x = with_head(average), data()[0][:4]
    with pytest.warns(UserWarning, match="probabilities are explained") as caught:
        found = innvestigate.create_analyzer(method, model).analyze(x)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kept = innvestigate.create_analyzer(method, model, keep_output_activation=True).analyze(x)
    np.testing.assert_array_equal(found, kept)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "softplus", "cos"])
def test_what_is_kept_is_warned_of_where_a_sign_may_turn(activation):
    model = with_head(dense(ops.cos if activation == "cos" else activation))
    arguments = {"keep_output_activation": True}
    with pytest.warns(UserWarning, match=f"ends in a {activation}, which keep") as caught:
        innvestigate.create_analyzer("lrp.z", model, **arguments)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for method in ("gradient", "deeplift", "occlusion"):
            innvestigate.create_analyzer(method, model, **arguments)


# Other frameworks

SCRIPT = """
import sys, warnings, numpy as np, keras, innvestigate
from keras import layers
if keras.backend.backend() == "jax":
    import jax.nn as functions
else:
    import torch.nn.functional as functions
x = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
for name in ("softmax", "log_softmax", "sigmoid"):
    model = keras.Sequential([layers.Input((6,)), layers.Dense(4, "relu"), layers.Dense(3)])
    own = keras.Sequential([model, layers.Activation(name)])
    other = keras.Sequential([model, layers.Activation(getattr(functions, name))])
    fused = keras.Sequential([*model.layers[:-1], layers.Dense(3, getattr(functions, name))])
    fused.build((None, 6))
    fused.set_weights(model.get_weights())
    for method in ("lrp.z", "gradient", "integrated_gradients"):
        found = []
        for given in (own, other, fused):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                found.append(innvestigate.create_analyzer(method, given).analyze(x))
            told = [w for w in caught if "ends in a " + name in str(w.message)]
            assert len(told) == 1, (name, method, [str(w.message) for w in caught])
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[0], found[2], rtol=1e-5, atol=1e-6)
"""


@slow
@pytest.mark.parametrize("backend", [n for n in ("jax", "torch") if importlib.util.find_spec(n)])
def test_functions_of_other_frameworks_are_taken_off(backend):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
