"""The mirror: a Keras model that reads as the method, whatever names the user's layers have."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from tests.frameworks import on_tensorflow


def test_names_of_the_users_layers_do_not_collide_with_the_mirrors():
    x = keras.Input((4,), name="model_input_0")
    names = ["start", "weights", "result", "signal", "input"]  # besides the additions
    y = x
    for name in names:
        y = keras.ops.relu(layers.Dense(4, name=name)(y) + y)
    model = keras.Model(x, y)
    analyzer = innvestigate.create_analyzer("lrp.z", model, neuron_selection_mode="index")
    data = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    assert analyzer.analyze(data, 1).shape == (2, 4)


def test_summary_reads_as_the_method():
    model = keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(2, name="head"),
        ]
    )
    analyzer = innvestigate.create_analyzer("lrp.sequential_preset_a", model)
    assert isinstance(analyzer.model, keras.Model)
    names = [layer.name for layer in analyzer.model.layers]
    assert names == [
        "model_input_0",
        "conv",
        "conv.relu",
        "flat",
        "head",
        "signal.largest",
        "signal.start",
        "head.Epsilon",
        "flat.Gradient",
        "conv.relu.Pass",
        "conv.AlphaBeta",
        "explained",
        "input.0.result",
    ]


def test_plan_says_which_rule_and_why(capsys):
    model = keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(4, activation="relu", name="a"),
            layers.BatchNormalization(name="n"),
            layers.Dense(2, name="b"),
        ]
    )
    plan = innvestigate.create_analyzer(
        "lrp",
        model,
        rule=[(lambda layer: layer.name == "b", "Z"), (lambda layer: True, "Gamma")],
        input_layer_rule=(0, 1),
        bn_layer_rule="Flat",
    ).plan()
    rules = {line.step: (line.rule, line.why) for line in plan}
    assert rules["a"][0] == "ZBox(low=0, high=1)" and "first kernel" in rules["a"][1]
    assert rules["n"] == ("Flat()", "bn_layer_rule")
    assert rules["b"] == ("Z(bias=True)", "line 0 of the rule list")
    printed = capsys.readouterr().out
    assert printed.strip() == str(plan) and "ZBox(low=0, high=1)" in printed


def test_steps_off_the_way_are_left_out():
    x = keras.Input((4,))
    h = layers.Dense(4, name="hidden")(x)
    model = keras.Model(x, [layers.Dense(2, name="a")(h), layers.Dense(3, name="b")(h)])
    analyzer = innvestigate.create_analyzer("gradient", model, output="b", layers=("hidden",))
    names = {layer.name for layer in analyzer.model.layers}
    assert "a" not in names and "hidden.Gradient" not in names and "b.Gradient" in names


def tape_free_gradient(model, x, index):
    """The Jacobian row of an MLP with one hidden ReLU layer, by hand."""
    (w, b), (v, _) = (layer.get_weights() for layer in model.layers[-2:])
    return ((x @ w + b > 0) * v[:, index]), w


def test_results_at_hidden_layers():
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(5, activation="relu", name="hidden"),
            layers.Dense(3, name="head"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    found = innvestigate.create_analyzer(
        "gradient", model, layers=("hidden", "input"), neuron_selection_mode="index"
    ).analyze(x, 2)
    at_hidden, w = tape_free_gradient(model, x, 2)
    assert set(found) == {"hidden", "input"}
    np.testing.assert_allclose(found["input"], at_hidden @ w.T, rtol=1e-5, atol=1e-6)
    v = model.layers[-1].get_weights()[0]
    np.testing.assert_allclose(found["hidden"], np.tile(v[:, 2], (6, 1)), rtol=1e-6)


def test_nested_layers_are_found_by_short_and_long_name():
    block = keras.Sequential([layers.Input((4,)), layers.Dense(4, name="inner")], name="block")
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(block(block(x))))
    data = np.ones((1, 4), "float32")
    found = innvestigate.create_analyzer(
        "gradient", model, layers=("block.inner", "block.2")
    ).analyze(data)
    assert set(found) == {"block.inner", "block.2"}
    with pytest.raises(ValueError, match=r"ambiguous.*block.inner, block.2.inner"):
        innvestigate.create_analyzer("gradient", model, layers=("inner",))


@on_tensorflow
def test_mirror_exports_to_a_saved_model(tmp_path):
    import tensorflow as tf

    model = keras.Sequential(
        [layers.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)]
    )
    analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    analyzer.model.export(tmp_path / "mirror", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "mirror")
    np.testing.assert_allclose(loaded.serve([x])["input:0"], analyzer.analyze(x), rtol=1e-6)


@pytest.mark.parametrize("method", ["input_t_gradient", "lrp.z", "deeplift"])
def test_whole_numbers_that_are_counted_with_and_say_which_places_exist(method):
    """As for the same numbers from two inputs."""
    lstm, dense = layers.LSTM(3), layers.Dense(2)
    run = lambda x, places: dense(lstm(ops.expand_dims(x, -1), mask=ops.not_equal(places, 0)))  # noqa: E731
    both = keras.Input((5,), dtype="int32")
    model = keras.Model(both, run(ops.cast(both, "float32"), both))
    apart = [keras.Input((5,)), keras.Input((5,), dtype="int32")]
    twin = keras.Model(apart, run(*apart))
    x = np.array([[1, 2, 0, 3, 1], [2, 2, 1, 0, 0]])
    found = innvestigate.create_analyzer(method, model).analyze(x)
    with pytest.warns(UserWarning, match="No signal can reach"):
        analyzer = innvestigate.create_analyzer(method, twin)
    expected, nothing = analyzer.analyze([x.astype("float32"), x])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert found.any() and not nothing.any() and not found[x == 0].any()


def test_inputs_may_have_names_that_are_no_scopes():
    x = keras.Input((4,), name="my input {1}")
    hidden = layers.Dense(3, "relu", name="hidden")
    model = keras.Model(x, layers.Dense(2)(hidden(x)))
    analyzer = innvestigate.create_analyzer("lrp.z", model, input_layer_rule=(-2.0, 2.0))
    assert analyzer.analyze(np.ones((2, 4), "float32")).shape == (2, 4)
