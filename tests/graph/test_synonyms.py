"""Layers that call functions of the backend are opened: Keras has an operation like each."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.backend import SYNONYMS
from innvestigate.graph.lenient import lenient
from innvestigate.graph.rewrite import is_opaque, open_layers
from innvestigate.graph.run import run
from innvestigate.graph.trace import trace
from tests.frameworks import NAME, not_on_torch, on_tensorflow

PLACES = np.array([[1, 0, 1], [2, 2, 0]])


def named(module, *names) -> dict:
    """Functions of a module, looked up when they are called: as most layers do."""
    return {n: lambda *args, n=n: getattr(module, n)(*args) for n in names}


def tensorflow_calls(tf) -> dict:
    """A call of each function, on `x` of the shape (2, 4, 6) with numbers between 0 and 1."""
    reduced = {
        f"reduce_{name}": lambda x, name=name: getattr(tf, f"reduce_{name}")(x, 1, keepdims=True)
        for name in ("max", "mean", "min", "prod", "sum", "logsumexp")
    }
    pairs = named(tf, "add", "divide", "maximum", "minimum", "multiply", "pow", "subtract")
    pairs |= named(tf.math, "divide_no_nan")
    compared = named(tf, "equal", "greater", "greater_equal", "less", "less_equal", "not_equal")
    return {
        **named(tf, "abs", "cos", "exp", "floor", "identity", "negative", "ones_like", "round"),
        **named(tf, "sigmoid", "sign", "sin", "sqrt", "square", "tanh", "zeros_like"),
        **named(tf.math, "ceil", "erf", "expm1", "log", "log1p", "log_sigmoid", "reciprocal"),
        **named(tf.math, "rsqrt", "softplus"),
        **named(tf.nn, "elu", "relu", "relu6", "selu", "softsign", "gelu", "leaky_relu", "silu"),
        **named(tf.nn, "softmax", "log_softmax", "swish"),
        **{name: lambda x, f=f: f(x, x * x + 0.5) for name, f in pairs.items()},
        **{name: lambda x, f=f: tf.cast(f(x, 0.5), x.dtype) for name, f in compared.items()},
        **reduced,
        **windows(tf.nn),
        "bias_add": lambda x: tf.nn.bias_add(x, tf.range(6.0)),
        "broadcast_to": lambda x: tf.broadcast_to(x[:, :1], (2, 4, 6)),
        "cast": lambda x: tf.cast(tf.cast(4 * x, tf.int32), tf.float32),
        "clip_by_value": lambda x: tf.clip_by_value(x, 0.2, 0.6),
        "concat": lambda x: tf.concat([x, 2 * x], axis=-1),
        "cumsum": lambda x: tf.cumsum(x, axis=1),
        "einsum": lambda x: tf.einsum("bij,bkj->bik", x, x),
        "expand_dims": lambda x: tf.expand_dims(x, 1),
        "gather": lambda x: tf.gather(x, PLACES, batch_dims=1),
        "gather_nd": lambda x: tf.gather_nd(x, [[0, 3], [1, 2]]),
        "l2_normalize": lambda x: tf.nn.l2_normalize(x, axis=-1),
        "logical_and": lambda x: tf.cast(tf.logical_and(x > 0.2, x < 0.6), x.dtype),
        "logical_not": lambda x: tf.cast(tf.logical_not(x > 0.2), x.dtype),
        "logical_or": lambda x: tf.cast(tf.logical_or(x < 0.2, x > 0.6), x.dtype),
        "matmul": lambda x: tf.matmul(x, 2 * x, transpose_b=True),
        "moments": lambda x: tf.concat(tf.nn.moments(x, [1], keepdims=True), 0),
        "one_hot": lambda x: tf.one_hot(tf.cast(6 * x[:, 0], tf.int32), 6),
        "pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]], constant_values=2.0),
        "reduce_all": lambda x: tf.cast(tf.reduce_all(x > 0.1, axis=1), x.dtype),
        "reduce_any": lambda x: tf.cast(tf.reduce_any(x > 0.9, axis=1), x.dtype),
        "reduce_std": lambda x: tf.math.reduce_std(x, axis=1),
        "reduce_variance": lambda x: tf.math.reduce_variance(x, axis=-1, keepdims=True),
        "reshape": lambda x: tf.reshape(x, (-1, tf.shape(x)[2])),
        "resize": lambda x: tf.concat(
            [
                tf.reshape(resize(x[..., None], (7, 3), method="bilinear", **options), (2, 21))
                for resize, options in (
                    (tf.image.resize, {}),
                    (tf.compat.v1.image.resize, {"align_corners": True}),
                )
            ],
            axis=0,
        ),
        "reverse": lambda x: tf.reverse(x, [1]),
        "shape": lambda x: tf.reshape(x, (-1, tf.shape(x)[1] * 6)),
        "split": lambda x: tf.split(x, [1, 3], axis=1)[1] + tf.split(x, 4, axis=1)[0],
        "squeeze": lambda x: tf.squeeze(x[:, :1], axis=1),
        "stack": lambda x: tf.stack([x, x * x], axis=1),
        "stop_gradient": lambda x: x + tf.stop_gradient(x * x),
        "tile": lambda x: tf.tile(x, [1, 2, 1]),
        "top_k": lambda x: tf.math.top_k(x, 2)[0],
        "transpose": lambda x: tf.transpose(x, [0, 2, 1]),
        "unstack": lambda x: tf.unstack(x, axis=1)[2],
        "where": lambda x: tf.where(x > 0.5, x, 2 * x),
        "write": lambda x: rows_written(tf, x),
    }


def windows(nn) -> dict:
    """Poolings and convolutions, of sequences, images of 4 x 3 and volumes of 4 x 3 x 1."""
    image = lambda x: ops.reshape(x, (2, 4, 3, 2))  # noqa: E731
    volume = lambda x: ops.reshape(x, (2, 4, 3, 1, 2))  # noqa: E731
    kernel = np.random.default_rng(1).normal(size=(2, 2, 2, 3)).astype("float32")
    calls: dict = {}
    for kind in ("avg_pool", "max_pool"):
        calls |= {
            kind: lambda x, f=kind: getattr(nn, f)(image(x), 2, [1, 1, 2, 1], "SAME"),
            f"{kind}1d": lambda x, f=kind: getattr(nn, f"{f}1d")(x, 2, 1, "VALID"),
            f"{kind}2d": lambda x, f=kind: getattr(nn, f"{f}2d")(
                image(x), ksize=[2, 1], strides=1, padding="SAME"
            ),
            f"{kind}3d": lambda x, f=kind: getattr(nn, f"{f}3d")(
                volume(x), [1, 2, 2, 1, 1], [1, 2, 1, 1, 1], "VALID"
            ),
        }
    return calls | {
        "conv1d": lambda x: nn.conv1d(x, np.resize(kernel, (3, 6, 2)), stride=2, padding="SAME"),
        "conv2d": lambda x: nn.conv2d(image(x), kernel, [1, 2, 1, 1], "VALID"),
        "conv3d": lambda x: nn.conv3d(
            volume(x), np.resize(kernel, (2, 2, 1, 2, 2)), [1, 1, 1, 1, 1], "SAME"
        ),
        "convolution": lambda x: nn.convolution(image(x), kernel, dilations=[2, 1]),
        "depthwise_conv2d": lambda x: nn.depthwise_conv2d(
            image(x), kernel, strides=[1, 1, 1, 1], padding="SAME"
        ),
    }


def rows_written(tf, x):
    """As loops over time are written."""
    rows = tf.TensorArray(tf.float32, size=4)
    for i in range(4):
        rows = rows.write(i, tf.cast(x[:, i], rows.dtype) * (i + 1.0))
    return rows.stack() + rows.read(2)


def jax_calls(jax) -> dict:
    """Calls of some functions."""
    jnp, nn = jax.numpy, jax.nn
    return {
        **named(jnp, "abs", "exp", "sqrt", "tanh", "cumsum", "ravel"),
        **named(nn, "relu", "gelu", "silu", "softmax", "leaky_relu", "elu"),
        "concatenate": lambda x: jnp.concatenate([x, jnp.flip(x, 1)], axis=-1),
        "einsum": lambda x: jnp.einsum("bij,bkj->bik", x, x),
        "matmul": lambda x: jnp.matmul(x, jnp.swapaxes(2 * x, 1, 2)),
        "mean": lambda x: jnp.mean(x, axis=1, keepdims=True) - jnp.max(x, axis=1, keepdims=True),
        "multiply": lambda x: jnp.multiply(x, jnp.arange(6.0)),
        "reshape": lambda x: jnp.reshape(x, (-1, 24)),
        "scale_and_translate": lambda x: jax.image.scale_and_translate(
            x, (2, 7, 3), (1, 2), jnp.array([2.0, 0.5]), jnp.zeros(2), "bilinear", antialias=False
        ),
        "stop_gradient": lambda x: x + jax.lax.stop_gradient(x * x),
        "take_along_axis": lambda x: jnp.take_along_axis(x, PLACES[..., None], axis=1),
        "var": lambda x: jnp.var(x, axis=-1) * jax.lax.rsqrt(jnp.sum(x, axis=-1)),
        "where": lambda x: jnp.where(x > 0.5, x, 2 * x),
    }


CALLS = {"tensorflow": tensorflow_calls, "jax": jax_calls}.get(NAME, lambda framework: {})(
    importlib.import_module(NAME)
)


class Calls(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.parametrize("name", CALLS)
def test_the_layer_is_opened_and_computes_the_same(name):
    x = keras.Input(batch_shape=(2, 4, 6))
    model = keras.Model(x, Calls(CALLS[name])(x))
    graph = open_layers(trace(model), is_opaque)
    assert not [step.closed for step in graph.steps if step.closed]
    assert not any(isinstance(step.operation, Calls) for step in graph.steps)
    data = np.random.default_rng(0).uniform(size=(2, 4, 6)).astype("float32")
    (found,) = run(graph, [ops.convert_to_tensor(data)], graph.flat_outputs)
    np.testing.assert_allclose(found, CALLS[name](ops.convert_to_tensor(data)), atol=1e-5)


def test_every_function_is_called():
    if NAME == "tensorflow":
        assert {name for _, name, _ in SYNONYMS} == set(CALLS)
    assert set(CALLS) <= {name for _, name, _ in SYNONYMS}


def test_functions_are_as_they_were_afterwards():
    before = [getattr(owner, name) for owner, name, _ in SYNONYMS]
    with pytest.raises(ValueError, match="planted"), lenient():
        assert all(getattr(o, n) is not f for (o, n, _), f in zip(SYNONYMS, before, strict=True))
        raise ValueError("planted")
    assert [getattr(owner, name) for owner, name, _ in SYNONYMS] == before


def unlike() -> dict:
    """Calls for which Keras has nothing."""
    framework = importlib.import_module(NAME)
    if NAME == "tensorflow":
        resize = framework.compat.v1.image.resize
        return {
            "cumsum": lambda x: framework.cumsum(x, axis=1, exclusive=True),
            "conv2d": lambda x: framework.nn.conv2d(
                x[..., None], np.ones((2, 2, 1, 1), "float32"), 1, [[0, 0], [1, 0], [0, 1], [0, 0]]
            ),
            "gather": lambda x: framework.gather(x, PLACES, axis=2, batch_dims=1),
            "gather_nd": lambda x: framework.gather_nd(x, PLACES[..., None], batch_dims=1),
            "resize": lambda x: resize(x[..., None], (8, 8)),
        }
    return {
        "jax": {"sum": lambda x: framework.numpy.sum(x, axis=1, where=PLACES[..., None] > 0)}
    }.get(NAME)


@pytest.mark.parametrize("name", unlike() or {})
def test_what_has_nothing_like_it_stays_closed(name):
    x = keras.Input(batch_shape=(2, 3, 6))
    y = Calls(unlike()[name])(x)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    with pytest.raises(innvestigate.NoRuleError, match="cannot be run without data"):
        innvestigate.create_analyzer("lrp.z", model)
    found = innvestigate.create_analyzer("gradient", model).analyze(np.ones((2, 3, 6)))
    assert np.isfinite(found).all()


@not_on_torch  # whose functions are not known by Keras's names
def test_weights_stay_symbolic():
    """A function of the backend reads a weight: training on is still seen."""

    class Scaled(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight((6, 3), initializer="ones")

        def call(self, x):
            framework = importlib.import_module(NAME)
            matmul = getattr(framework, "numpy", framework).matmul
            return matmul(x, ops.convert_to_tensor(self.w)) * 2.0

    layer = Scaled()
    x = keras.Input((6,))
    model = keras.Model(x, layer(x))
    analyzer = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index")
    data = np.random.default_rng(0).uniform(size=(2, 6)).astype("float32")
    layer.w.assign(np.arange(18).reshape(6, 3))
    expected = 2.0 * data * np.arange(18).reshape(6, 3)[:, 1]
    np.testing.assert_allclose(analyzer.analyze(data, 1), expected, rtol=1e-4)


@on_tensorflow
@pytest.mark.parametrize("method", ["gradient", "lrp.alpha_2_beta_1", "lrp.flat", "deeplift"])
def test_a_convolution_by_tensorflow_is_one_of_keras(method):
    """Largest numbers that are equal, behind its rectifier, among them."""
    nn = importlib.import_module(NAME).nn

    class Convolution(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight((2, 2, 2, 2, 3))
            self.bias = self.add_weight((3,), initializer="random_normal")

        def call(self, x):
            y = nn.conv3d(x, self.kernel, [1, 1, 1, 1, 1], "SAME")
            return nn.max_pool3d(nn.relu(nn.bias_add(y, self.bias)), 2, 2, "VALID")

    def model(*parts):
        return keras.Sequential(
            [layers.Input((4, 4, 2, 2)), *parts, layers.Flatten(), layers.Dense(2)]
        )

    own = model(Convolution())
    of_keras = model(layers.Conv3D(3, 2, padding="same", activation="relu"), layers.MaxPooling3D(2))
    of_keras.set_weights(own.get_weights())
    data = np.random.default_rng(0).normal(size=(3, 4, 4, 2, 2)).astype("float32")
    found, expected = (
        innvestigate.create_analyzer(method, m).analyze(data) for m in (own, of_keras)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


class Repeats(layers.Layer):
    """A loop whose body reads a tensor from outside, and carries two."""

    def call(self, x):
        step = lambda i, carry: [carry[0] + x[:, i], carry[1] * 2.0]  # noqa: E731
        total, factor = ops.fori_loop(1, 4, step, [ops.zeros((2,)), ops.ones(())])
        return ops.expand_dims(total * factor, -1)


def test_a_counted_loop_is_opened():
    x = keras.Input(batch_shape=(2, 6))
    model = keras.Model(x, Repeats()(x))
    data = np.random.default_rng(0).uniform(size=(2, 6)).astype("float32")
    found = innvestigate.create_analyzer("lrp.z", model).analyze(data)
    expected = np.where([False, True, True, True, False, False], 8.0 * data, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.slow
@on_tensorflow
def test_the_same_holds_on_jax():
    """This file there, and that on layers that Keras cannot call: arrays have no values there."""
    here = Path(__file__)
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            here,
            here.with_name("test_lenient.py"),
        ],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        cwd=here.parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]
