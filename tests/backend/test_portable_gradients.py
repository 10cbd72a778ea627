"""Gradients that other runtimes have, too, against TensorFlow's own kernels.

Whole numbers make ties: they must go where TensorFlow sends them.
"""

from itertools import cycle

import numpy as np
import pytest
import tensorflow as tf

from innvestigate.backend.tensorflow_gradients import GRADIENTS, portable_vjp

pytestmark = pytest.mark.only("tensorflow")

LACKING = {
    *("ShapeN", "BroadcastGradientArgs", "BitwiseAnd", "Bitcast", "StridedSliceGrad"),
    *("MaxPoolGrad", "AvgPoolGrad", "Conv2DBackpropInput", "ReluGrad", "TanhGrad", "SigmoidGrad"),
}


def numbers(*shape, seed=0, whole=False, low=-3, high=3):
    random = np.random.default_rng(seed)
    found = random.integers(low, high, shape) if whole else random.uniform(low, high, shape)
    return found.astype("float32")


def of_one(function, *shape, **kwargs):
    return lambda: (function, [numbers(2, *shape, **kwargs)])


def of_two(function, first, second, **kwargs):
    return lambda: (function, [numbers(*first, **kwargs), numbers(*second, seed=1, **kwargs)])


def convolution(x, kernel, **kwargs):
    kwargs = {"strides": 1, "padding": "VALID"} | kwargs
    weights = numbers(*kernel, seed=2)
    return of_one(lambda x: tf.nn.convolution(x, weights, **kwargs), *x)


def depthwise(x, kernel, stride, padding, dilation=1):
    weights, sizes = numbers(*kernel, seed=2), [1, stride, stride, 1]
    dilations = [dilation] * 2
    call = lambda x: tf.nn.depthwise_conv2d(x, weights, sizes, padding, dilations=dilations)  # noqa: E731
    return of_one(call, *x)


def pooling(kind, x, size, stride, padding):
    call = lambda x: tf.nn.pool(x, size, kind, [stride] * len(size), padding)  # noqa: E731
    return of_one(call, *x, whole=True)


PAIR, WIDE = ((2, 3, 4), (2, 3, 4)), ((2, 1, 4), (3, 1))
POSITIVE = {"low": 1, "high": 3}
CASES = {
    "Add": of_two(lambda a, b: tf.raw_ops.Add(x=a, y=b), *WIDE),
    "AddV2": of_two(tf.add, *WIDE),
    "Sub": of_two(tf.subtract, *WIDE),
    "Mul": of_two(tf.multiply, *WIDE),
    "RealDiv": of_two(tf.divide, *WIDE, **POSITIVE),
    "DivNoNan": of_two(tf.math.divide_no_nan, *PAIR, whole=True),
    "SquaredDifference": of_two(tf.math.squared_difference, *WIDE),
    "Maximum": of_two(tf.maximum, *WIDE, whole=True),
    "Minimum": of_two(tf.minimum, *WIDE, whole=True),
    "Pow": of_two(tf.pow, *WIDE, **POSITIVE),
    "SelectV2": of_two(lambda a, b: tf.where(a[:, :, :1] > 0, a, b), *WIDE),
    "Relu": of_one(tf.nn.relu, 5, whole=True),
    "Relu6": of_one(lambda x: tf.nn.relu6(4 * x), 9, whole=True),
    "LeakyRelu": of_one(tf.nn.leaky_relu, 5, whole=True),
    "Elu": of_one(tf.nn.elu, 5),
    "Selu": of_one(tf.nn.selu, 5),
    "Tanh": of_one(tf.tanh, 5),
    "Sigmoid": of_one(tf.sigmoid, 5),
    "Softplus": of_one(tf.nn.softplus, 5),
    "Softsign": of_one(tf.nn.softsign, 5),
    "Sqrt": of_one(tf.sqrt, 5, **POSITIVE),
    "Rsqrt": of_one(tf.math.rsqrt, 5, **POSITIVE),
    "Reciprocal": of_one(tf.math.reciprocal, 5, **POSITIVE),
    "Sum": of_one(lambda x: tf.reduce_sum(x, (1, -1)), 3, 4, 5),
    "Sum, kept": of_one(lambda x: tf.reduce_sum(x, 2, keepdims=True), 3, 4),
    "Mean": of_one(lambda x: tf.reduce_mean(x, (1, 3)), 3, 4, 5),
    "Mean of samples": of_one(lambda x: tf.reduce_mean(x, 0), 3),
    "Max": of_one(lambda x: tf.reduce_max(x, 1), 9, 2, whole=True),
    "Min": of_one(lambda x: tf.reduce_min(x, (1, 2), keepdims=True), 9, 2, whole=True),
    "ConcatV2": of_two(lambda a, b: tf.concat([a, b, a], -1), (2, 3, 4), (2, 3, 1)),
    "Transpose": of_one(lambda x: tf.transpose(x, (2, 0, 3, 1)), 3, 4, 5),
    "Reshape": of_one(lambda x: tf.reshape(x, (-1, 6, 2)), 3, 4),
    "ExpandDims": of_one(lambda x: tf.expand_dims(x, 1), 3, 4),
    "Squeeze": of_one(lambda x: tf.squeeze(x, [2]), 3, 1),
    "MatMul": of_two(tf.matmul, (2, 3), (3, 4)),
    "MatMul, turned": of_two(
        lambda a, b: tf.matmul(a, b, transpose_a=True, transpose_b=True), (3, 2), (4, 3)
    ),
    "BatchMatMulV2": of_two(tf.matmul, (2, 5, 3, 4), (5, 4, 2)),
    "BatchMatMulV2, turned": of_two(
        lambda a, b: tf.matmul(a, b, transpose_a=True, transpose_b=True), (2, 3, 4), (2, 5, 3)
    ),
    "BroadcastTo": of_one(lambda x: tf.broadcast_to(x, (3, 2, 4, 5)), 1, 5),
    "GatherV2": of_one(lambda x: tf.gather(x, [[0, 2], [2, 1]], axis=2), 3, 4, 5),
    "Tile": of_one(lambda x: tf.tile(x, (1, 3, 2)), 2, 4),
    "StridedSlice": of_one(lambda x: x[:, 1:6:2, ..., None, -1], 7, 3, 4),
    "StridedSlice, back": of_one(lambda x: x[:, ::-3, 2], 8, 3),
    "Conv2D": convolution((7, 6, 3), (3, 2, 3, 4), strides=(2, 1), padding="SAME"),
    "Conv2D, dilated": convolution((9, 9, 2), (3, 3, 2, 4), dilations=(2, 3)),
    "Conv2D, windows end early": convolution((8, 8, 2), (2, 2, 2, 3), strides=3),
    "Conv2D, more stride than kernel": convolution((8, 8, 2), (1, 1, 2, 3), strides=2),
    "Conv3D": convolution(
        (4, 5, 4, 2), (2, 3, 2, 2, 3), strides=2, padding="SAME", data_format="NDHWC"
    ),
    "DepthwiseConv2dNative": depthwise((7, 7, 3), (3, 2, 3, 2), 2, "SAME"),
    "DepthwiseConv2dNative, dilated": depthwise((9, 9, 2), (3, 3, 2, 1), 1, "VALID", 2),
    "MaxPool": pooling("MAX", (7, 6, 2), (3, 2), 2, "SAME"),
    "MaxPool, windows end early": pooling("MAX", (7, 7, 2), (2, 2), 2, "VALID"),
    "AvgPool": pooling("AVG", (7, 6, 2), (3, 2), 2, "SAME"),
    "AvgPool3D": pooling("AVG", (4, 5, 4, 2), (2, 3, 2), 2, "VALID"),
}


def test_every_gradient_has_a_case():
    assert {name.split(",")[0].split(" of ")[0] for name in CASES} == set(GRADIENTS)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_tensorflow(name):
    function, inputs = CASES[name]()
    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
    signal = tf.constant(numbers(*y.shape, seed=7))
    expected = tape.gradient(y, inputs, signal)

    rows = [None] if len(inputs) == 1 else [x.shape[0] for x in (*inputs, signal)]
    shapes = [(n, *x.shape[1:]) for n, x in zip(cycle(rows), (*inputs, signal), strict=False)]

    @tf.function(input_signature=[tf.TensorSpec(shape) for shape in shapes])
    def sent(*given):
        outputs, pullback = portable_vjp(lambda *xs: [function(*xs)], list(given[:-1]))
        return [*outputs, *pullback([given[-1]])]

    value, *found = sent(*inputs, signal)
    np.testing.assert_allclose(value, y, rtol=1e-6)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    types = {op.type for op in sent.get_concrete_function().graph.get_operations()}
    assert name.split(",")[0].split(" of ")[0] in types and types.isdisjoint(LACKING)


def test_inputs_that_nothing_depends_on_get_zeros_and_those_used_twice_both():
    @tf.function
    def sent(x, other):
        _, pullback = portable_vjp(lambda x, other, again: [x * again], [x, other, x])
        return pullback([tf.ones_like(x)])

    x = tf.constant([2.0, 3.0])
    first, nothing, second = sent(x, x)
    np.testing.assert_array_equal([first, nothing, second], [[2, 3], [0, 0], [2, 3]])


@pytest.mark.parametrize(
    "call, x, says",
    [
        (lambda x: tf.nn.max_pool(x, 2, 2, "VALID"), (None, None, None, 2), "unknown size"),
        (lambda x: tf.gather(x, [[0], [1]], batch_dims=1), (2, 3), "batch_dims"),
    ],
)
def test_what_has_no_such_gradient_is_named(call, x, says):
    @tf.function(input_signature=[tf.TensorSpec(x)])
    def sent(x):
        outputs, pullback = portable_vjp(lambda x: [call(x)], [x])
        return pullback([tf.ones_like(outputs[0])])

    with pytest.raises(TypeError, match=says):
        sent.get_concrete_function()
