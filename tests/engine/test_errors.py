"""Bad input gets an error that says what came, what was expected and what to do."""

import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.rules import Gradient, Rule
from tests.frameworks import closed
from tests.models import ClosedCell


def mlp(activation="relu"):
    return keras.Sequential(
        [layers.Input((4,)), layers.Dense(5, activation=activation), layers.Dense(3)]
    )


def analyzer(name="gradient", **arguments):
    return innvestigate.create_analyzer(name, mlp(), **arguments)


X = np.linspace(-1, 1, 8, dtype="float32").reshape(2, 4)


def test_unknown_analyzer_offers_close_names():
    with pytest.raises(KeyError, match=re.escape("Did you mean 'lrp.epsilon'")):
        innvestigate.create_analyzer("lrp.epsilonn", mlp())


@pytest.mark.parametrize("model", [None, "model.keras", layers.Dense(2), lambda x: x])
def test_not_a_keras_model(model):
    with pytest.raises(TypeError, match="innvestigate explains Keras models"):
        innvestigate.create_analyzer("gradient", model)


def test_a_model_of_keras_2():
    """Known by the module of one of its classes: tf_keras need not be there."""
    base = type("Model", (), {"__module__": "tf_keras.src.engine.training"})
    old = type("Mine", (base,), {"__module__": "mine"})()
    with pytest.raises(TypeError, match=r"This is a Keras 2 model.*old.save\('model.h5'\)"):
        innvestigate.create_analyzer("gradient", old)


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize("model", [keras.Sequential([layers.Dense(2)]), Subclassed()])
def test_unbuilt_model(model):
    with pytest.raises(ValueError, match=r"is not built.*Call it once on data"):
        innvestigate.create_analyzer("gradient", model)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 5)), r"Received: \(2, 5\); expected: \('batch', 4\)"),
        (np.zeros(4), "Is the batch axis missing"),
        (np.zeros((2, 4), complex), "must hold real numbers"),
        (np.array([["a"] * 4]), "must hold real numbers"),
        ([X, X], "expected a list of 1 arrays|not an array|wrong shape"),
        ({"other": X}, "Received the keys: .*other"),
        (np.zeros((0, 4)), "holds no sample"),
        (None, "Received"),
    ],
)
def test_wrong_input(x, message):
    with pytest.raises(ValueError, match=message):
        analyzer().analyze(x)


@pytest.mark.parametrize("name", ["gradient", "lrp.epsilon", "integrated_gradients"])
def test_tokens_out_of_range_name_the_sample(name):
    model = keras.Sequential(
        [layers.Input((4,), dtype="int32"), layers.Embedding(5, 3), layers.Flatten()]
    )
    x = np.zeros((70, 4), "int32")
    x[66, 1] = 5
    with pytest.raises(ValueError, match=r"token 5 in sample 66.* knows the tokens 0 to 4"):
        innvestigate.create_analyzer(name, model).analyze(x)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_input_that_is_not_finite_names_the_sample(value):
    x = np.zeros((70, 4), "float32")
    x[66, 1] = value
    with pytest.raises(ValueError, match="NaN or infinite values in sample 66"):
        analyzer().analyze(x)
    with pytest.raises(ValueError, match="in sample 66"):
        analyzer().analyze(x, batch_size=10)


@pytest.mark.parametrize(
    ("mode", "selection", "message"),
    [
        ("max_activation", 1, "must be None"),
        ("all", [1, 2], "must be None"),
        ("index", None, "needs neuron_selection"),
        ("index", 3, "out of range: axis 0 of the output has 3 neurons"),
        ("index", -1, "out of range"),
        ("index", [0, 3], "out of range"),
        ("index", [0, 1, 2], "holds 3 entries for 2 samples"),
        ("index", 1.0, "must be integers"),
        ("index", "cat", "must be integers"),
        ("index", (0, 1), "does not fit the output"),
        ("weights", None, "needs neuron_selection"),
        ("weights", np.ones((2, 4)), "does not broadcast"),
        ("weights", np.ones((3, 3)), "does not broadcast"),
        ("weights", [1, np.nan, 0], "not finite"),
        ("weights", "cat", "must be numbers"),
    ],
)
def test_neuron_selection_that_does_not_fit(mode, selection, message):
    with pytest.raises(ValueError, match=message):
        analyzer(neuron_selection_mode=mode).analyze(X, selection)


def test_unknown_mode():
    with pytest.raises(ValueError, match=r"neuron_selection_mode must be one of .*'maximum'"):
        analyzer(neuron_selection_mode="maximum")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("gradient", {"postprocess": "relu"}, "postprocess must be"),
        ("random", {"stddev": -1}, "stddev must be a finite number >= 0"),
        ("lrp", {}, "lrp needs a rule"),
        ("lrp", {"rule": "Epsilonn"}, "no rule called 'Epsilonn'. Expected one of: Z, "),
        ("lrp", {"rule": ["Z", "Z"]}, "pairs .condition, rule."),
        ("lrp", {"rule": "Z", "input_layer_rule": (0, 1, 2)}, "pair .low, high."),
        ("lrp", {"rule": "Z", "until_layer_idx": 1}, "belong together"),
        ("lrp", {"rule": "Z", "until_layer_idx": 9, "until_layer_rule": "Flat"}, "0 to 1"),
        ("lrp.epsilon", {"epsilon": 0}, "epsilon must be a finite number > 0.* use 'Z'"),
        ("lrp.epsilon", {"epsilon": -1e-3}, "epsilon must be a finite number > 0"),
        ("lrp.alpha_beta", {}, "needs alpha or beta"),
        ("lrp.alpha_beta", {"alpha": 2, "beta": 2}, "alpha - beta = 1"),
        ("lrp.alpha_beta", {"alpha": 0.5}, "alpha >= 1"),
        ("lrp.gamma", {"gamma": -1}, "gamma must be a finite number >= 0"),
        ("deep_taylor.bounded", {}, "needs the least and greatest"),
        ("deep_taylor.bounded", {"low": 1, "high": 0}, "low <= high"),
        ("lrp.epsilon_gamma_box", {"low": 0}, "needs the least and greatest"),
        ("gradient", {"layers": "dense"}, "must be a non-empty list"),
        ("gradient", {"layers": ("nothing",)}, "The layer name 'nothing' is unknown"),
        ("gradient", {"layers": ("x" * 5000,)}, r"The layer name 'x{50,120} ... is unknown"),
        ("gradient", {"output": "nothing"}, "There is no output 'nothing'"),
    ],
)
def test_arguments_that_do_not_fit(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        analyzer(name, **arguments)


@pytest.mark.parametrize("arguments", [3, [3], keras.Input((3,)), np.ones(2)])
def test_what_is_no_name_of_an_argument(arguments):
    with pytest.raises(TypeError, match=r"names of arguments|A name of an argument"):
        innvestigate.analyzer.find_analyzer("lrp", arguments)


def test_rules_are_made_of_what_they_call_and_read():
    with pytest.raises(TypeError, match="pattern must be a keras"):
        innvestigate.rules.Pattern(np.ones((3, 2)))
    with pytest.raises(TypeError, match="finish must be a function"):
        innvestigate.rules.Lookup(3)
    with pytest.raises(TypeError, match="per_token must be a function"):
        innvestigate.rules.Lookup(max, "sum")
    with pytest.raises(TypeError, match="names must be a dict whose keys are texts"):
        innvestigate.rules.as_rule("Z", {1: innvestigate.rules.Z})


def test_unknown_argument():
    message = (
        "no argument 'epsilonn'. Did you mean 'epsilon'.*Its arguments: epsilon, bias, .*layers"
    )
    with pytest.raises(TypeError, match=message):
        analyzer("lrp.epsilon", epsilonn=1)


@pytest.mark.parametrize("name", innvestigate.analyzers)
def test_every_analyzer_names_its_arguments(name):
    with pytest.raises(TypeError, match=r"'wrong'.*Its arguments: .*keep_output_activation"):
        analyzer(name, wrong=1)


def test_not_a_rule():
    with pytest.raises(TypeError, match="Expected a rule"):
        analyzer("lrp", rule=3)


def test_several_outputs_ask_for_one():
    x = keras.Input((4,))
    model = keras.Model(x, [layers.Dense(2, name="a")(x), layers.Dense(3, name="b")(x)])
    with pytest.raises(ValueError, match=r"has 2 outputs: a, b\. Choose one"):
        innvestigate.create_analyzer("gradient", model)


def test_layer_without_a_rule_is_named_and_the_shown_fix_works():
    memory = layers.RNN(ClosedCell(3), name="memory")
    model = keras.Sequential([layers.Input((5, 4)), memory, layers.Dense(2)])
    with pytest.raises(innvestigate.NoRuleError, match=r"RNN 'memory'.*layer.name == 'memory'"):
        innvestigate.create_analyzer("lrp.epsilon", model)

    class MyRule(Rule):
        def __call__(self, at, signals):
            return Gradient()(at, signals)

    fixed = innvestigate.create_analyzer(
        "lrp",
        model,
        rule=[
            (lambda layer: layer.name == "memory", MyRule()),
            (lambda layer: True, "Epsilon"),
        ],
    )
    assert fixed.analyze(np.ones((2, 5, 4))).shape == (2, 5, 4)


def test_rule_list_that_matches_no_line():
    with pytest.raises(innvestigate.NoRuleError, match="no line of the rule list matches"):
        analyzer("lrp", rule=[(lambda layer: False, "Z")])


def test_deep_taylor_names_another_activation():
    with pytest.raises(ValueError, match=r"ReLU activations only\. Found: 'tanh' at 'dense.*tanh'"):
        innvestigate.create_analyzer("deep_taylor", mlp("tanh"))


def test_output_that_does_not_depend_on_the_input():
    x = keras.Input((4,), dtype="int32")
    model = keras.Model(x, layers.Dense(2)(keras.ops.cast(keras.ops.sign(x), "float32")))
    with pytest.raises(ValueError, match="No signal can get from the chosen output back to"):
        innvestigate.create_analyzer("gradient", model, layers=("input",))


def test_softmax_is_taken_off_with_one_warning():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    with pytest.warns(UserWarning, match="taken off") as caught:
        innvestigate.create_analyzer("lrp.epsilon", model)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_rectifier_methods_warn_once_of_other_activations():
    model = keras.Sequential(
        [layers.Input((4,)), *(layers.Dense(3, activation="tanh") for _ in range(3))]
    )
    with pytest.warns(UserWarning, match="rule for rectifiers only") as caught:
        innvestigate.create_analyzer("guided_backprop", model)
    assert len(caught) == 1


def test_layers_quantized_to_8_bit_floats_have_no_lrp_rule():
    model = mlp()
    model.quantize("float8")
    assert np.all(np.isfinite(innvestigate.create_analyzer("gradient", model).analyze(X)))
    with pytest.raises(innvestigate.NoRuleError, match="Dense"):
        innvestigate.create_analyzer("lrp.epsilon", model)


class Gather(layers.Layer):
    """Looks tokens up behind a function of the framework that tracing cannot see."""

    def build(self, shape):
        self.table = self.add_weight(shape=(9, 4))

    def call(self, x):
        return ops.take(self.table, closed(x), axis=0)

    def compute_output_shape(self, shape):
        return (*shape, 4)


def test_tokens_in_a_layer_that_cannot_be_seen_into():
    tokens = keras.Input((5,), dtype="int32")
    vectors = Gather(name="gather")(tokens)
    model = keras.Model(tokens, layers.Dense(2)(layers.Flatten()(vectors)))
    with pytest.raises(ValueError, match="No signal can get"):
        innvestigate.create_analyzer("gradient", model)
    at_vectors = innvestigate.create_analyzer("gradient", model, layers=("gather",))
    assert at_vectors.analyze(np.ones((2, 5), int))["gather"].shape == (2, 5, 4)


WRONG_BATCH_SIZES = [(0, ValueError), (-1, ValueError), (2.5, TypeError), (None, TypeError)]


@pytest.mark.parametrize(("batch_size", "error"), WRONG_BATCH_SIZES)
def test_wrong_batch_size(batch_size, error):
    with pytest.raises(error, match="batch_size must be"):
        analyzer().analyze(X, batch_size=batch_size)


def test_fractions_are_no_tokens():
    model = keras.Sequential([layers.Input((3,), dtype="int32"), layers.Embedding(5, 2)])
    explain = innvestigate.create_analyzer("gradient", model, neuron_selection_mode="all").analyze
    explain(np.array([[1.0, 2.0, 3.0]]))
    with pytest.raises(ValueError, match=r"takes whole numbers. Received: \[2.9\]"):
        explain(np.array([[1.0, 2.9, 3.0]]))


def test_what_keras_runs_is_not_blamed_on_the_user():
    x = keras.Input((2, 2))
    model = keras.Model(x, layers.Flatten()(keras.ops.inv(x)))
    with pytest.raises(innvestigate.NoRuleError, match=r"'inv.*Keras runs it in one piece"):
        innvestigate.create_analyzer("lrp.epsilon", model)


def test_a_cell_without_a_rule_is_told_of():
    model = keras.Sequential([layers.Input((5, 4)), layers.RNN(ClosedCell(3)), layers.Dense(2)])
    for method in ("lrp.epsilon", "deeplift"):
        with pytest.raises(innvestigate.NoRuleError, match="its cell is not made of Keras oper"):
            innvestigate.create_analyzer(method, model)


@pytest.mark.parametrize("mode", ["max_activation", "all"])
@pytest.mark.parametrize("told", [True, False])
def test_complex_outputs_are_refused(told, mode):
    """Also where Keras says of an operation that its results are real."""
    x = keras.Input((4,))
    size = keras.ops.absolute(x)
    y = keras.ops.cast(size, "complex64") if told else keras.ops.polar(size, x)
    with pytest.raises(ValueError, match=r"complex numbers[\s\S]*keras.ops.real"):
        create = innvestigate.create_analyzer
        create("gradient", keras.Model(x, y), neuron_selection_mode=mode).analyze(np.ones((2, 4)))
