"""Rules that users give to their own types of layers, whose inside cannot be seen."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.rules import DifferenceRule, Epsilon, Gradient, Rule, Summands
from tests.frameworks import closed

RANDOM = np.random.default_rng(0)
X, W, B = (RANDOM.normal(size=s).astype("float32") for s in ((3, 4), (4, 4), (4,)))
OTHER = X @ W + 0.3


class Hidden(layers.Layer):
    """A function behind one of the framework's own, which tracing cannot see into."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, *tensors):
        return self.function(*(closed(x) for x in tensors))

    def compute_output_spec(self, *tensors):
        return keras.KerasTensor(tensors[0].shape, tensors[0].dtype)


def hidden():
    """A new type of layers that nothing is known of."""
    return type("Mystery", (Hidden,), {})


def network(layer, several=False):
    """The sum of what a layer makes of the input, and perhaps of a linear function of it."""
    x = keras.Input((4,))
    read = (x, ops.matmul(x, W) + 0.3) if several else (x,)
    return keras.Model(x, ops.sum(layer(*read), axis=1, keepdims=True))


def explained(method, model, **kwargs):
    return innvestigate.create_analyzer(method, model, **kwargs).analyze(X)


def linear(x):
    return ops.add(ops.matmul(x, W), B)


def test_a_linear_layer_shares_by_its_jacobian_and_its_bias_absorbs():
    model = network(innvestigate.register_rule(hidden(), "linear")(linear))
    for method in ("lrp.epsilon", "lrp.flat", "deeplift"):
        np.testing.assert_allclose(explained(method, model), X * W.sum(axis=1), rtol=1e-4)


def test_an_activation_passes_relevance():
    model = network(innvestigate.register_rule(hidden(), "activation")(ops.tanh))
    np.testing.assert_allclose(explained("lrp.epsilon", model), np.tanh(X), rtol=1e-5)
    np.testing.assert_allclose(explained("deeplift", model), np.tanh(X), rtol=1e-5)


def test_a_product_gives_equal_parts():
    model = network(innvestigate.register_rule(hidden(), "product")(ops.multiply), several=True)
    product = X.astype("float64") * OTHER
    through = X * ((product / 2 / (X @ W)) @ W.T)  # adding 0.3 is a change of units
    np.testing.assert_allclose(explained("lrp.epsilon", model), product / 2 + through, rtol=1e-3)
    total = explained("deeplift", model).sum(axis=1)
    np.testing.assert_allclose(total, product.sum(axis=1), rtol=1e-4)


def test_moved_numbers_take_relevance_along():
    model = network(innvestigate.register_rule(hidden(), "shape")(lambda x: ops.flip(x, 1)))
    weighted = keras.Sequential([model.layers[1], layers.Dense(1)])
    weighted.build((None, 4))
    kernel = weighted.layers[1].kernel.numpy()[::-1, 0]
    for method in ("lrp.epsilon", "deeplift"):
        np.testing.assert_allclose(explained(method, weighted), X * kernel, rtol=1e-4)


def test_what_passes_gives_all_to_the_first():
    layer = innvestigate.register_rule(hidden(), "pass")(lambda x, y: x * x + 0.1 * y)
    model = network(layer, several=True)
    expected = X * X + 0.1 * OTHER
    np.testing.assert_allclose(explained("lrp.epsilon", model), expected, rtol=1e-4)
    change = (expected - 0.1 * 0.3).sum(axis=1)
    np.testing.assert_allclose(explained("deeplift", model).sum(axis=1), change, rtol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "activation", "product", "shape", "pass"])
def test_gradients_know_nothing_of_kinds(kind):
    model = network(innvestigate.register_rule(hidden(), kind)(ops.tanh))
    np.testing.assert_allclose(explained("gradient", model), 1 - np.tanh(X) ** 2, rtol=1e-4)


class Doubled(Rule):
    def __call__(self, at, signals):
        return [2 * signals[0]]


class Tripled(DifferenceRule):
    def __call__(self, at, m):
        return [3 * m[0]]


def test_a_rule_of_each_kind_and_derived_types():
    layer_type = hidden()
    assert innvestigate.register_rule(layer_type, Doubled) is layer_type
    innvestigate.register_rule(layer_type, Tripled())
    model = network(type("Derived", (layer_type,), {})(ops.tanh))
    np.testing.assert_allclose(explained("lrp.epsilon", model), 2 * np.tanh(X), rtol=1e-5)
    np.testing.assert_allclose(explained("deeplift", model), 3 * X, rtol=1e-5)
    line = innvestigate.create_analyzer("lrp.epsilon", model).plan()[0]
    assert (line.rule, line.why) == ("Doubled()", "registered for Mystery")


def test_as_a_decorator():
    @innvestigate.register_rule("activation")
    class Tanh(Hidden):
        pass

    @innvestigate.register_rule(Doubled())
    class Twice(Hidden):
        pass

    np.testing.assert_allclose(explained("lrp.z", network(Tanh(ops.tanh))), np.tanh(X), rtol=1e-5)
    doubled = explained("lrp.z", network(Twice(ops.tanh)))
    np.testing.assert_allclose(doubled, 2 * np.tanh(X), rtol=1e-5)


def test_what_is_registered_is_not_opened_nor_parted():
    class Open(layers.Dense):
        def call(self, x):
            return ops.tanh(x) * 2.0

    @innvestigate.register_rule(Doubled())
    class Parted(layers.Dense):
        """Keras's own call, with an activation."""

    innvestigate.register_rule(Open, Doubled())
    for layer in (Open(4), Parted(4, activation="tanh")):
        model = network(layer)
        np.testing.assert_allclose(
            explained("lrp.epsilon", model), 2 * ops.convert_to_numpy(layer(X)), rtol=1e-4
        )


def test_a_layer_with_a_kernel_may_be_registered_as_another_kind():
    @innvestigate.register_rule("activation")
    class Passing(layers.Dense):
        """Keras's own call, with an activation."""

    layer = Passing(4, activation="tanh")
    found = explained("lrp.epsilon", network(layer))
    np.testing.assert_allclose(found, ops.convert_to_numpy(layer(X)), rtol=1e-5)


def test_a_functional_model_is_what_it_is_made_of():
    @innvestigate.register_rule(Doubled())
    class Block(keras.Model):
        pass

    x = keras.Input((4,))
    block = Block(x, ops.tanh(ops.sin(x)))
    expected = np.tanh(np.sin(X))
    np.testing.assert_allclose(explained("lrp.epsilon", network(block)), expected, rtol=1e-5)


def test_a_rule_for_kernels_reaches_the_kernels_inside():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(4, bias_initializer="ones")

        def call(self, x):
            return self.dense(x) * 1.0

    model = network(Block())
    expected = explained("lrp.epsilon", model, epsilon=0.5)
    assert not np.allclose(explained("lrp.epsilon", model), expected)
    innvestigate.register_rule(Block, Epsilon(0.5))
    np.testing.assert_allclose(explained("lrp.epsilon", model), expected, rtol=1e-6)


def test_the_rule_list_of_an_analyzer_comes_first():
    model = network(innvestigate.register_rule(hidden(), Doubled())(ops.tanh))
    rules = [(lambda layer: isinstance(layer, Hidden), Gradient()), (lambda layer: True, "Z")]
    found = explained("lrp", model, rule=rules)
    np.testing.assert_allclose(found, np.tanh(X) * (1 - np.tanh(X) ** 2), rtol=1e-4)


@pytest.mark.parametrize("kind", ["activation", "pass"])
def test_a_kind_that_does_not_fit_the_tensors(kind):
    class Summing(Hidden):
        def compute_output_spec(self, x):
            return keras.KerasTensor((x.shape[0], 1), x.dtype)

    innvestigate.register_rule(Summing, kind)
    model = network(Summing(lambda x: ops.sum(x, 1, keepdims=True)))
    with pytest.raises(ValueError, match=f"registered as '{kind}'.*reads.*4.*writes.*1"):
        innvestigate.create_analyzer("lrp.epsilon", model)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((3, "linear"), TypeError, "takes a type of layers.*Received: 3"),
        ((layers.ReLU(), "linear"), TypeError, "For a single layer: create_analyzer"),
        ((int, "linear"), TypeError, "subclass of keras.Layer"),
        ((Hidden, "liner"), ValueError, "'linear', 'activation', 'product', 'shape', 'pass'"),
        ((Hidden, 3), TypeError, "or an innvestigate.rules.Rule. Received: 3"),
        ((Hidden,), TypeError, "takes one of the kinds"),
        ((Hidden, Summands()), ValueError, "Register the kind instead"),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        innvestigate.register_rule(*arguments)


def test_all_refusing_layers_are_named_with_the_reason():
    class First(Hidden):
        pass

    class Second(Hidden):
        pass

    model = keras.Sequential(
        [
            layers.Input((4,)),
            First(ops.tanh, name="a"),
            Second(ops.tanh, name="b"),
            First(ops.tanh, name="c"),
            layers.Lambda(lambda x: closed(x), name="d"),
            layers.Dense(2),
        ]
    )
    for method in ("lrp.epsilon", "deeplift"):
        with pytest.raises(innvestigate.NoRuleError) as caught:
            innvestigate.create_analyzer(method, model)
        told = str(caught.value)
        for name in ("First 'a'", "Second 'b'", "First 'c'", "Lambda 'd'", "layer.name == 'a'"):
            assert name in told
        assert "innvestigate.register_rule(First, 'linear'); innvestigate.register_rule(" in told
        assert "its call cannot be run without data" in told


def test_a_layer_that_decides_by_values_says_so():
    class Deciding(layers.Layer):
        def call(self, x):
            return x * 2 if ops.max(x) > 0 else x

        def compute_output_shape(self, shape):
            return shape

    with pytest.raises(innvestigate.NoRuleError, match="its call decides by the values of its in"):
        innvestigate.create_analyzer("lrp.epsilon", network(Deciding()))
