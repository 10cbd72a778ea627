"""The small nets that DeepExplain's tests publish numbers for, and what the formulas give there.

Every expected number is derived by hand in the docstring of its test; all are those published.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate

X = np.array([[-10, -5], [3, 1]], "float32")
OFF = [0, 0]


def difference_net():
    """f(x) = relu(relu(x1 - 1) - relu(x2)). At (3, 1): h = (2, 1), f = 1. At (-10, -5): all off."""
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, "relu"), layers.Dense(1, "relu", use_bias=False)]
    )
    model.set_weights([np.eye(2), np.array([-1.0, 0.0]), np.array([[1.0], [-1.0]])])
    return model


def joined_net(sizes=(2, 2)):
    """f(a, b) = relu of 3 a and 2 b, side by side."""
    inputs = [keras.Input((size,), name=name) for size, name in zip(sizes, "ab", strict=True)]
    scaled = [factor * x for factor, x in zip((3.0, 2.0), inputs, strict=True)]
    return keras.Model(inputs, ops.relu(ops.concatenate(scaled, axis=1)))


def crossed_net():
    """Two outputs from h = relu((x1 - x2 + 1.5, x2 - x1 - 1)): at (5, 3) h = (3.5, 0)."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, "relu"), layers.Dense(2)])
    first = [[1.0, -1.0], [-1.0, 1.0]], [1.5, -1.0]
    second = [[1.1, 1.4], [-0.5, 1.0]], [0.0, 2.0]
    model.set_weights([np.array(array) for array in (*first, *second)])
    return model


def minimum_net(*shape):
    """f(x) = the smallest entry of x."""
    x = keras.Input(shape)
    return keras.Model(x, ops.min(x, axis=tuple(range(1, len(shape) + 1)))[:, None])


def explain(name, model, x, neuron=None, **arguments):
    """The value of the sum of all outputs, or of one of them."""
    mode = "all" if neuron is None else "index"
    analyzer = innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)
    return analyzer.analyze(x, neuron)


def assert_exactly(found, expected, atol=1e-6):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=atol)


def test_the_outputs():
    np.testing.assert_array_equal(difference_net()(X), [[0], [1]])
    np.testing.assert_allclose(crossed_net()(np.array([[1.0, 0.0]])), [[2.75, 5.5]])


def test_saliency():
    """|df/dx| = |(1, -1)| where all three units are on."""
    assert_exactly(explain("saliency", difference_net(), X), [OFF, [1, 1]])


def test_gradient_times_input():
    """(3, 1) * (1, -1)."""
    assert_exactly(explain("input_t_gradient", difference_net(), X), [OFF, [3, -1]])


@pytest.mark.parametrize("steps", [100, 500])
def test_integrated_gradients(steps):
    """At k/steps of (3, 1) the last unit is on if 3k/steps - 1 > k/steps: k > steps / 2.

    Half of the steps have the gradient (1, -1), the other half none: (3, 1) * (1, -1) / 2.
    """
    assert_exactly(explain("intgrad", difference_net(), X, steps=steps), [OFF, [1.5, -0.5]])


def test_integrated_gradients_take_100_steps_to_the_right():
    """At x = 1, relu(x - 0.995) has a gradient at the last of the points k / 100 alone."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "relu")])
    model.set_weights([np.array([[1.0]]), np.array([-0.995])])
    assert_exactly(explain("intgrad", model, np.array([[1.0]])), [[1 / 100]])


def test_integrated_gradients_from_a_reference():
    """From (1, 0) to (2, 0) and to (3, 0) f is x1 - 1 all the way."""
    x, reference = np.array([[2.0, 0.0], [3.0, 0.0]]), np.array([1.0, 0.0])
    found = explain("intgrad", difference_net(), x, reference_inputs=reference)
    assert_exactly(found, [[1, 0], [2, 0]])


@pytest.mark.parametrize("epsilon", [1e-4, 1e-9])
def test_epsilon_lrp(epsilon):
    """R_j = z_ij R_i / (z_i + eps). The last unit: z = 2 - 1 = 1 and R = 1, so R_h = (2, -1).

    The first: z = 3 - 1 = 2, of which 3 comes from x1 and the bias takes the rest: 3 * 2 / 2 = 3.
    The second: z = 1, all from x2: -1. Each of two divisions is off by eps / z at most.
    """
    found = explain("elrp", difference_net(), X, epsilon=epsilon)
    last = 1 / (1 + epsilon)
    exact = [3 * 2 * last / (2 + epsilon), -last / (1 + epsilon)]
    assert_exactly(found, [OFF, exact])
    assert_exactly(found, [OFF, [3, -1]], atol=5 * epsilon + 1e-6)


def test_epsilon_is_1e_4_for_elrp():
    assert_exactly(
        explain("elrp", difference_net(), X),
        explain("elrp", difference_net(), X, epsilon=1e-4),
        atol=0,
    )


def test_deeplift():
    """References are 0: pre-activations (-1, 0), then h = (0, 0), then 0.

    Rescale multipliers are 2 / 3 (from -1 to 2, relu from 0 to 2), 1 / 1 and 1 / 1:
    3 * 2 / 3 * 1 * 1 = 2 and 1 * 1 * -1 * 1 = -1.
    """
    assert_exactly(explain("deeplift.rescale", difference_net(), X), [OFF, [2, -1]])


def test_deeplift_from_the_sample_itself():
    """Nothing differs."""
    found = explain("deeplift.rescale", difference_net(), X[1:], reference_inputs=X[1])
    assert_exactly(found, [OFF])


def test_occlusion():
    """f(3, 1) - f(0, 1) = 1 - 0 and f(3, 1) - f(3, 0) = 1 - 2."""
    assert_exactly(explain("occlusion", difference_net(), X), [OFF, [1, -1]])


def test_occlusion_of_both_at_once():
    """f(3, 1) - f(0, 0) = 1, shared by the two features of the window."""
    found = explain("occlusion", difference_net(), X, window_shape=(2,))
    assert_exactly(found, [OFF, [0.5, 0.5]])


def test_occlusion_of_every_other_feature():
    """No window covers x2."""
    with pytest.warns(UserWarning, match="covers"):
        found = explain("occlusion", difference_net(), X, step=2)
    assert_exactly(found, [[0, np.nan], [1, np.nan]])


def test_shapley_values_of_a_minimum():
    """v(S) = min(x of S, 0 elsewhere), and each feature's mean over both orders.

    (2, -2): v1 = 0, v2 = -2, v12 = -2. x1: (0 + 0) / 2; x2: (-2 - 2) / 2.
    (4, 2): v1 = v2 = 0, v12 = 2. Each is first once (0) and last once (2).
    An order and its reverse are all orders there are, so that sampling is exact.
    """
    x = np.array([[2.0, -2.0], [4.0, 2.0]])
    found = explain("shapley_sampling", minimum_net(2), x, samples=2, seed=0)
    assert_exactly(found, [[0, -2], [1, 1]])


@pytest.mark.parametrize("features", [{"groups": [[0], [1]]}, {"sampling_axes": (1,)}])
def test_shapley_values_of_rows(features):
    """Rows (-1, 4) and (-2, 1): v1 = -1, v2 = -2, v12 = -2. Row 1: (-1 + 0) / 2, row 2: -1.5.

    The original gives one value for each row; here the entries of a row share it.
    """
    x = np.array([[[-1.0, 4.0], [-2.0, 1.0]]])
    found = explain("shapley_sampling", minimum_net(2, 2), x, samples=2, seed=0, **features)
    assert_exactly(found.sum(axis=2), [[-0.5, -1.5]])
    assert_exactly(found, [[[-0.25, -0.25], [-0.75, -0.75]]])


def test_shapley_values_of_the_difference_net():
    """(3, 1): v1 = 2, v2 = 0, v12 = 1. x1: (2 + 1) / 2, x2: (0 - 1) / 2."""
    found = explain("shapley_sampling", difference_net(), X, samples=2, seed=0)
    assert_exactly(found, [OFF, [1.5, -0.5]])


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("saliency", {}, [2, 2]),
        ("input_t_gradient", {}, [6, 2]),
        ("intgrad", {}, [6, 2]),
        ("elrp", {"epsilon": 1e-9}, [6, 2]),
        ("deeplift.rescale", {}, [6, 2]),
    ],
)
def test_two_inputs(name, arguments, expected):
    """relu(3 a) is off at a = (-10, -5); relu(2 b) is 2 b from 0 to b = (3, 1)."""
    found = explain(name, joined_net(), [X[:1], X[1:]], **arguments)
    assert_exactly(found[0], [OFF])
    assert_exactly(found[1], [expected])


@pytest.mark.parametrize("name", ["intgrad", "deeplift.rescale"])
def test_two_inputs_of_different_sizes(name):
    """As above, with b = 3 alone."""
    found = explain(name, joined_net((2, 1)), [X[:1], np.array([[3.0]])])
    assert_exactly(found[0], [OFF])
    assert_exactly(found[1], [[6]])


OUTPUTS = pytest.mark.parametrize(("neuron", "w", "v"), [(0, 1.1, -0.5), (1, 1.4, 1.0)])
CROSSED = np.array([[5.0, 3.0]])


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("saliency", {}, [1, 1]),
        ("input_t_gradient", {}, [5, -3]),
        ("intgrad", {}, [5, -3]),
        ("elrp", {"epsilon": 1e-9}, [5, -3]),
        ("deeplift.rescale", {}, [5, -3]),
    ],
)
@OUTPUTS
def test_one_of_two_outputs(name, arguments, expected, neuron, w, v):
    """From (0, 0) to (5, 3), h1 grows from 1.5 to 3.5 as x1 - x2 + 1.5, and h2 is off all the way.

    So the results are those of h1, times its weight in the output.
    """
    found = explain(name, crossed_net(), CROSSED, neuron, **arguments)
    assert_exactly(found, [np.array(expected) * w], atol=1e-5)


@OUTPUTS
def test_perturbation_of_one_of_two_outputs(neuron, w, v):
    """Without its bias f(0, 0) = 1.5 w, f(5, 0) = 6.5 w, f(0, 3) = 2 v and f(5, 3) = 3.5 w."""
    neither, first, second, both = 1.5 * w, 6.5 * w, 2 * v, 3.5 * w
    found = explain("occlusion", crossed_net(), CROSSED, neuron)
    assert_exactly(found, [[both - second, both - first]], atol=1e-5)
    found = explain("shapley_sampling", crossed_net(), CROSSED, neuron, samples=2, seed=0)
    expected = [first - neither + both - second, second - neither + both - first]
    assert_exactly(found, [np.array(expected) / 2], atol=1e-5)
