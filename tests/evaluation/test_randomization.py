"""Randomisation of parameters: which weights are shuffled, what is compared, what stays."""

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.evaluation import (
    Infidelity,
    MaxSensitivity,
    Randomization,
    RegionPerturbation,
    SensitivityN,
    evaluate,
    rank_correlation,
)
from innvestigate.evaluation.randomization import Shuffled, copied

from .models import float64_model, noise


def network():
    model = keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Conv2D(4, 3, activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(6, activation="relu", name="second"),
            layers.Dense(3, name="last"),
        ]
    )
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.1, 1, w.shape) - 0.4 * (w.ndim > 1) for w in model.weights])
    return model


def images():
    return noise((6, 6, 1), 4).astype("float32")


def naive_ranks(values):
    return np.array([np.mean([1.0 * (w < v) + 0.5 * (w == v) for w in values]) for v in values])


def test_rank_correlation_is_that_of_mean_ranks():
    random = np.random.default_rng(0)
    a, b = random.integers(0, 4, (2, 3, 5, 4)).astype("float64")
    expected = [
        np.corrcoef(naive_ranks(x.reshape(-1)), naive_ranks(y.reshape(-1)))[0, 1]
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(rank_correlation(a, b), expected, atol=1e-12)
    np.testing.assert_allclose(rank_correlation(a, np.exp(a)), 1)
    np.testing.assert_allclose(rank_correlation(a, -a), -1)
    assert np.all(rank_correlation(a, np.zeros_like(a)) == 0)
    b[1, 0, 0] = np.nan
    assert list(np.isnan(rank_correlation(a, b))) == [False, True, False]


def test_cascading_shuffles_all_layers_down_to_each():
    model = network()
    shuffled = Shuffled(model, None, seed=0)
    learned = {layer.name: layer.get_weights() for layer in model.layers}
    order = ["last", "second", "norm", "first"]
    for k, name in enumerate(shuffled.stages("cascading")):
        assert name == order[k]
        for layer in shuffled.model.layers:
            for new, old in zip(layer.get_weights(), learned[layer.name], strict=True):
                changed = layer.name in order[: k + 1]
                assert np.any(new != old) == changed
                np.testing.assert_array_equal(np.sort(new.ravel()), np.sort(old.ravel()))
    for layer in shuffled.model.layers:
        for new, old in zip(layer.get_weights(), learned[layer.name], strict=True):
            np.testing.assert_array_equal(new, old)


def test_independent_shuffles_one_layer_at_a_time():
    model = network()
    shuffled = Shuffled(model, ("norm", "last"), seed=0)
    learned = {layer.name: layer.get_weights() for layer in model.layers}
    seen = []
    for name in shuffled.stages("independent"):
        seen.append(name)
        for layer in shuffled.model.layers:
            for new, old in zip(layer.get_weights(), learned[layer.name], strict=True):
                assert np.any(new != old) == (layer.name == name)
    assert seen == ["last", "norm"] == shuffled.names


def test_stages_restore_the_weights_when_they_are_left_early():
    shuffled = Shuffled(network(), None, seed=0)
    learned = shuffled.model.get_weights()
    stages = shuffled.stages("cascading")
    next(stages)
    stages.close()
    for new, old in zip(shuffled.model.get_weights(), learned, strict=True):
        np.testing.assert_array_equal(new, old)


def test_similarities_are_those_of_a_model_with_the_shuffled_weights():
    model, x = network(), images()
    analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
    found = evaluate(model, {"given": analyzer}, x, metrics="randomization", seed=5)
    table = found.randomization
    top = keras.ops.convert_to_numpy(model(x)).argmax(axis=1)
    plain = analyzer.analyze(x)
    expected = {}
    for mode in ("cascading", "independent"):
        shuffled = Shuffled(model, None, seed=5)
        for name in shuffled.stages(mode):
            other = network()
            other.set_weights(shuffled.model.get_weights())
            anew = innvestigate.create_analyzer(
                "lrp.epsilon", other, neuron_selection_mode="index"
            ).analyze(x, top)
            expected[mode, name, "signed"] = rank_correlation(plain, anew).mean()
            expected[mode, name, "absolute"] = rank_correlation(abs(plain), abs(anew)).mean()
    assert len(table) == len(expected)
    for row in table.to_dict("records"):
        key = row["mode"], row["layer"], row["similarity"]
        assert row["mean"] == pytest.approx(expected[key], abs=1e-5)
    assert list(table["step"][:4]) == [1, 2, 3, 4]
    score = found.scores.set_index("metric")["mean"]
    mean = np.mean([v for k, v in expected.items() if k[::2] == ("cascading", "signed")])
    assert score["randomization_cascading_signed"] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("method", ["lrp.epsilon_plus", "deeplift", "guided_backprop"])
def test_an_analyzer_and_a_function_that_makes_it_agree(method):
    model, x = network(), images()

    def create(model):
        return innvestigate.create_analyzer(method, model, neuron_selection_mode="index")

    given = {"analyzer": create(model), "function": create}
    table = evaluate(model, given, x, metrics="randomization", seed=0).randomization
    by_method = [table["mean"][table["method"] == name].to_numpy() for name in given]
    np.testing.assert_allclose(*by_method, atol=1e-6)


def test_wrappers_are_rebuilt_with_what_they_wrap():
    model, x = network(), images()
    gradient = innvestigate.create_analyzer("gradient", model)
    smooth = innvestigate.analyzer.GaussianSmoother(gradient, 1e-6, 2, seed=0)
    given = {"smooth": smooth, "gradient": gradient}
    table = evaluate(model, given, x, metrics="randomization", seed=0).randomization
    by_method = [table["mean"][table["method"] == name].to_numpy() for name in given]
    np.testing.assert_allclose(*by_method, atol=0.02)
    assert np.all(by_method[0][:4] < 0.9)


def test_the_input_as_heatmap_ignores_the_weights():
    model, x = network(), images()
    analyzer = innvestigate.create_analyzer("input", model)
    table = evaluate(model, {"input": analyzer}, x, metrics="randomization").randomization
    np.testing.assert_allclose(table["mean"], 1)


def test_the_users_model_is_never_changed():
    model, x = network(), images()
    weights, config = model.get_weights(), model.get_config()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    before = keras.ops.convert_to_numpy(model(x))
    analyzer = innvestigate.create_analyzer("gradient", model)
    metrics = [
        RegionPerturbation(region_shape=2),
        SensitivityN(region_shape=2),
        Infidelity(region_shape=2),
        MaxSensitivity(),
        Randomization(),
    ]
    evaluate(model, {"gradient": analyzer}, x, metrics=metrics)
    for new, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(new, old)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(x)), before)
    assert model.get_config() == config
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    assert not model.compiled


def test_nested_models_are_shuffled_layer_by_layer():
    inner = keras.Sequential(
        [layers.Input((4,)), layers.Dense(5, name="a"), layers.Dense(4, name="b")], name="inner"
    )
    x = keras.Input((4,))
    y = inner(inner(x))
    model = keras.Model(x, layers.Dense(2, name="c")(y))
    assert Shuffled(model, None, seed=0).names == ["c", "b", "a"]


def test_subclassed_models_are_copied():
    @keras.saving.register_keras_serializable("tests")
    class Own(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(3, name="dense")

        def call(self, x):
            return self.dense(x)

    model = Own()
    x = noise((4,)).astype("float32")
    model(x)
    copy = copied(model)
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(m(x)) for m in (model, copy)))
    analyzer = innvestigate.create_analyzer("gradient", model)
    table = evaluate(model, {"gradient": analyzer}, x, metrics="randomization").randomization
    assert set(table["layer"]) == {"dense"}


def test_a_model_that_shares_the_weights_of_another_is_refused():
    model = innvestigate.model_wo_softmax(float64_model((8,), softmax=True))
    analyzer = innvestigate.create_analyzer("gradient", model)
    with pytest.raises(ValueError, match=r"cannot copy|shares its variables"):
        evaluate(model, {"given": analyzer}, noise((8,)), metrics="randomization")


def test_what_must_be_fitted_needs_a_function():
    model, x = float64_model((6,)), noise((6,), 20)
    analyzer = innvestigate.create_analyzer("pattern.net", model)
    analyzer.fit(x)
    with pytest.raises(TypeError, match=r"makes \(and fits\) the analyzer"):
        evaluate(model, {"pattern": analyzer}, x[:2], metrics="randomization")

    def create(model):
        fresh = innvestigate.create_analyzer("pattern.net", model, neuron_selection_mode="index")
        fresh.fit(x)
        return fresh

    found = evaluate(model, {"pattern": create}, x[:2], metrics="randomization").randomization
    assert np.all(np.isfinite(found["mean"]))


def test_relevance_cannot_be_run_on_another_model():
    model, x = float64_model((6,)), noise((6,))
    with pytest.raises(TypeError, match="Pass its analyzer"):
        evaluate(model, {"given": x}, x, metrics="randomization")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modes": "cascading"}, "modes must be out of"),
        ({"modes": ("upwards",)}, "modes must be out of"),
        ({"modes": ()}, "modes must be out of"),
        ({"layers": "last"}, "layers must be names"),
        ({"layers": ()}, "layers must be names"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Randomization(**arguments)


def test_unknown_layers_are_named():
    model = network()
    analyzer = innvestigate.create_analyzer("gradient", model)
    with pytest.raises(ValueError, match=r"\['nowhere'\].*'first'"):
        evaluate(model, {"g": analyzer}, images(), metrics=Randomization(layers=("nowhere",)))
