"""The runner: its tables, the forms of data it takes, and what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import innvestigate
from innvestigate.evaluation import (
    METRICS,
    Infidelity,
    MaxSensitivity,
    RegionPerturbation,
    SensitivityN,
    evaluate,
)

from .models import float64_model, noise

MODEL, X = float64_model((8,)), noise((8,))
GIVEN = {"given": noise((8,), seed=1)}


def test_tables_are_tidy():
    model = float64_model((10, 3))
    analyzers = {
        name: innvestigate.create_analyzer(name, model) for name in ("gradient", "input_t_gradient")
    }
    found = evaluate(model, analyzers, noise((10, 3)), metrics=list(METRICS), seed=0)
    assert list(found.scores) == ["method", "metric", "mean", "error", "samples"]
    assert list(found.curves) == ["method", "metric", "order", "step", "fraction", "mean", "error"]
    assert list(found.samples) == ["method", "metric", "sample", "value"]
    columns = ["method", "mode", "step", "layer", "similarity", "mean", "error"]
    assert list(found.randomization) == columns
    metrics = [
        "aopc_most_relevant",
        "aopc_least_relevant",
        *(
            f"randomization_{m}_{s}"
            for m in ("cascading", "independent")
            for s in ("signed", "absolute")
        ),
        "sensitivity_n",
        "infidelity",
        "max_sensitivity",
        "deletion_most_relevant",
        "insertion_most_relevant",
        "road_most_relevant",
        "road_least_relevant",
        "sparseness",
        "complexity",
    ]
    expected = {(name, metric) for name in analyzers for metric in metrics}
    for metric in ("aopc", "deletion", "insertion", "road"):
        expected.add(("random order", f"{metric}_random"))
    rows = set(zip(found.scores["method"], found.scores["metric"], strict=True))
    assert rows == expected and len(found.scores) == len(expected)
    by_sample = found.samples.groupby(["method", "metric"])["value"].mean()
    for row in found.scores.to_dict("records"):
        assert row["mean"] == pytest.approx(by_sample[row["method"], row["metric"]])
        assert row["samples"] == 5
    assert not found.scores.isna().any(axis=None)


def test_tables_of_what_was_not_asked_for_are_empty_and_have_their_columns():
    found = evaluate(MODEL, GIVEN, X, metrics="sensitivity_n")
    assert found.curves.empty and found.randomization.empty
    assert "fraction" in found.curves and "layer" in found.randomization


def test_the_error_of_one_sample_is_unknown():
    found = evaluate(MODEL, {"given": GIVEN["given"][:1]}, X[:1]).scores
    assert found["error"].isna().all() and not found["mean"].isna().any()


def test_data_sets_give_what_arrays_give():
    data = tf.data.Dataset.from_tensor_slices((X, np.zeros(5))).batch(2)
    found = [evaluate(MODEL, GIVEN, x, seed=0, batch_size=3).samples["value"] for x in (X, data)]
    np.testing.assert_allclose(*found)
    neuron = np.array([0, 1, 2, 0, 1])
    found = [evaluate(MODEL, GIVEN, x, neuron, seed=0).samples["value"] for x in (X, data)]
    np.testing.assert_allclose(*found)


def test_without_a_seed_numbers_differ():
    found = [evaluate(MODEL, GIVEN, X, metrics="infidelity").samples["value"] for _ in range(2)]
    assert np.all(found[0].to_numpy() != found[1].to_numpy())


def test_a_progress_bar_is_shown_unless_it_is_turned_off(capsys):
    evaluate(MODEL, GIVEN, X, metrics="infidelity", verbose=0)
    assert capsys.readouterr().out == ""
    evaluate(MODEL, GIVEN, X, metrics="infidelity")
    assert "100" in capsys.readouterr().out


def test_the_progress_bar_rises_with_every_part_of_the_work(monkeypatch):
    seen = []
    monkeypatch.setattr(keras.utils.Progbar, "update", lambda bar, at, **_: seen.append(at))
    methods = {"a": X, "b": -X}
    metrics = ["region_perturbation", "sensitivity_n"]
    evaluate(MODEL, methods, X, metrics=metrics, batch_size=5)
    assert seen == sorted(seen) and seen[-1] == 100
    assert len(set(seen)) > 50 and max(np.diff(seen)) <= 17  # no metric is a single leap


def test_no_more_rows_than_the_batch_size_are_run(monkeypatch):
    rows = []
    plain = keras.Model.predict_on_batch

    def watched(self, x):
        rows.append(len(x))
        return plain(self, x)

    monkeypatch.setattr(keras.Model, "predict_on_batch", watched)
    evaluate(MODEL, GIVEN, X, metrics=["region_perturbation", "sensitivity_n"], batch_size=7)
    assert max(rows) <= 7 and rows.count(5) > 5


def test_any_object_that_analyzes_is_a_method():
    class Own:
        def analyze(self, x, neuron, batch_size):
            return x * neuron[:, None]

    neuron = np.array([0, 1, 2, 0, 1])
    found = evaluate(MODEL, {"own": Own()}, X, neuron, seed=0).samples
    same = evaluate(MODEL, {"own": X * neuron[:, None]}, X, neuron, seed=0).samples
    np.testing.assert_array_equal(found["value"], same["value"])


def test_the_chosen_neuron_is_explained():
    analyzer = innvestigate.create_analyzer("gradient", MODEL, neuron_selection_mode="index")
    found = evaluate(MODEL, {"gradient": analyzer}, X, 2, seed=0).samples
    same = evaluate(MODEL, {"gradient": analyzer.analyze(X, 2)}, X, 2, seed=0).samples
    np.testing.assert_array_equal(found["value"], same["value"])


def two_inputs():
    a, b = keras.Input((8,)), keras.Input((8,))
    return keras.Model([a, b], layers.Dense(2)(a + b))


def two_outputs():
    a = keras.Input((8,))
    return keras.Model(a, [layers.Dense(2)(a), layers.Dense(2)(a)])


def nan_model():
    model = keras.Sequential([layers.Input((8,)), layers.Dense(2)])
    model.set_weights([np.full((8, 2), np.nan), np.zeros(2)])
    return model


def analyzer(name="gradient", **arguments):
    return {"method": innvestigate.create_analyzer(name, MODEL, **arguments)}


def with_nan(x):
    x = x.copy()
    x[3, 1] = np.nan
    return x


WRONG = {
    "model": ((None, GIVEN, X), {}, TypeError, "must be a Keras model"),
    "inputs": ((two_inputs(), GIVEN, X), {}, ValueError, "2 inputs"),
    "outputs": ((two_outputs(), GIVEN, X), {}, ValueError, "2 outputs"),
    "nan model": ((nan_model(), GIVEN, X), {}, ValueError, "output is not finite"),
    "list of methods": ((MODEL, [X], X), {}, TypeError, "must be a dict"),
    "no methods": ((MODEL, {}, X), {}, ValueError, "at least one entry"),
    "reserved": ((MODEL, {"random order": X}, X), {}, ValueError, "random order"),
    "text": ((MODEL, {"a": "lrp"}, X), {}, TypeError, "must be an analyzer"),
    "shape": ((MODEL, {"a": X[:, :3]}, X), {}, ValueError, r"\(5, 8\). Received: \(5, 3\)"),
    "few relevances": ((MODEL, {"a": X[:3]}, X), {}, ValueError, r"shape of the samples"),
    "many relevances": (
        (MODEL, {"a": noise((8,), 9)}, X),
        {},
        ValueError,
        "9 samples. Received: 5",
    ),
    "nan relevance": ((MODEL, {"a": with_nan(X)}, X), {}, ValueError, "sample 3"),
    "nan x": ((MODEL, GIVEN, with_nan(X)), {}, ValueError, r"NaN .* sample \[3\]"),
    "no batch axis": ((MODEL, GIVEN, X[0]), {}, ValueError, "batch axis"),
    "other size": ((MODEL, GIVEN, noise((9,))), {}, ValueError, r"shape \(8,\). Received: \(9,\)"),
    "more axes": ((MODEL, GIVEN, X[..., None, None]), {}, ValueError, r"\(8, 1, 1\)"),
    "list": ((MODEL, GIVEN, [X]), {}, ValueError, "one array"),
    "empty": ((MODEL, GIVEN, X[:0]), {}, ValueError, "no sample"),
    "strings": ((MODEL, GIVEN, np.full((5, 8), "a")), {}, ValueError, "numbers"),
    "neuron range": ((MODEL, GIVEN, X, 3), {}, ValueError, "out of range"),
    "neuron float": ((MODEL, GIVEN, X, 0.5), {}, ValueError, "must be an index"),
    "few neurons": ((MODEL, GIVEN, X, [0, 1]), {}, ValueError, "2 entries"),
    "many neurons": ((MODEL, GIVEN, X, [0] * 9), {}, ValueError, "9 samples. Received: 5"),
    "mode": ((MODEL, analyzer(), X, 1), {}, ValueError, "neuron_selection_mode='index'"),
    "all": ((MODEL, analyzer(neuron_selection_mode="all"), X), {}, ValueError, "'all'"),
    "metric": ((MODEL, GIVEN, X), {"metrics": "auc"}, ValueError, "Unknown metric: 'auc'"),
    "no metric": ((MODEL, GIVEN, X), {"metrics": []}, ValueError, "at least one"),
    "twice": ((MODEL, GIVEN, X), {"metrics": ["infidelity"] * 2}, ValueError, "each once"),
    "batch size": ((MODEL, GIVEN, X), {"batch_size": 0}, ValueError, "batch_size"),
    "seed": ((MODEL, GIVEN, X), {"seed": -1}, ValueError, "seed"),
    "no analyzer": ((MODEL, GIVEN, X), {"metrics": "max_sensitivity"}, TypeError, "analyzer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused(case):
    arguments, more, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        evaluate(*arguments, **more)


WRONG_METRICS = [
    (lambda: RegionPerturbation("median"), "Unknown perturbation: 'median'"),
    (lambda: RegionPerturbation(orders="random"), "orders must be out of"),
    (lambda: RegionPerturbation(orders=("best",)), "orders must be out of"),
    (lambda: RegionPerturbation(orders=()), "orders must be out of"),
    (lambda: RegionPerturbation(steps=0), "steps must be"),
    (lambda: RegionPerturbation(regions_per_step=1.5), "regions_per_step must be"),
    (lambda: RegionPerturbation(value_range=(1, 0)), "low < high"),
    (lambda: RegionPerturbation(value_range=3), "low < high"),
    (lambda: SensitivityN(n=0), "n must be"),
    (lambda: SensitivityN(subsets=1), "subsets must be"),
    (lambda: SensitivityN(perturbation="median"), "Unknown perturbation"),
    (lambda: Infidelity("square"), "kind must be one of"),
    (lambda: Infidelity("noise"), "Noise goes with slopes"),
    (lambda: Infidelity(noise_scale=0), "noise_scale must be"),
    (lambda: Infidelity(draws=1), "draws must be"),
    (lambda: MaxSensitivity(radius=0), "radius must be"),
    (lambda: MaxSensitivity(draws=0), "draws must be"),
]


@pytest.mark.parametrize("number", range(len(WRONG_METRICS)))
def test_wrong_metrics_are_refused(number):
    create, message = WRONG_METRICS[number]
    with pytest.raises(ValueError, match=message):
        create()


UNFITTING = [
    (lambda: RegionPerturbation(region_shape=9), "larger than a sample. Received: region_shape=9"),
    (lambda: RegionPerturbation(region_shape=(2, 2)), "region_shape must be"),
    (lambda: RegionPerturbation(region_shape=0), "region_shape must be"),
    (lambda: RegionPerturbation(region_shape="3"), "region_shape must be"),
    (lambda: RegionPerturbation(region_shape=2, steps=5), "at most 4 steps"),
    (lambda: RegionPerturbation(np.zeros(3)), "does not broadcast"),
    (lambda: RegionPerturbation(np.nan), "array of finite ones"),
    (lambda: RegionPerturbation(lambda x: x[0, :3]), "does not broadcast"),
    (lambda: SensitivityN(n=9), "n=9; there are 8"),
]


@pytest.mark.parametrize("number", range(len(UNFITTING)))
def test_metrics_that_do_not_fit_the_data_are_refused(number):
    create, message = UNFITTING[number]
    with pytest.raises(ValueError, match=message):
        evaluate(MODEL, GIVEN, X, metrics=create())


def test_images_smaller_than_the_default_region_are_refused():
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    x = np.ones((2, 8, 8, 1), "float32")
    with pytest.raises(ValueError, match=r"Received: the default, 9; .*Pass .* by region_shape="):
        evaluate(model, {"a": x}, x, verbose=0)


@pytest.mark.parametrize(
    "given", [{"region_shape": 0}, {"region_shape": "3"}, {"perturbation": np.nan}]
)
def test_what_fits_no_data_is_refused_at_creation(given):
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be"):
        RegionPerturbation(**given)


@pytest.mark.parametrize("perturbation", ["gaussian", "mean", "invert", 0.5])
def test_tokens_are_not_replaced_by_fractions(perturbation):
    tokens = np.ones((3, 8), "int32")
    with pytest.raises(ValueError, match="whole numbers"):
        evaluate(MODEL, {"a": X[:3]}, tokens, metrics=RegionPerturbation(perturbation))


@pytest.mark.parametrize("metric", [MaxSensitivity(), Infidelity("noise", contributions=False)])
def test_tokens_have_no_neighbours(metric):
    tokens = np.ones((3, 8), "int32")
    with pytest.raises(ValueError, match="does not fit whole numbers"):
        evaluate(MODEL, analyzer(), tokens, metrics=metric)


def test_samples_of_different_shapes_are_refused():
    model = keras.Sequential([layers.Input((None, 2)), layers.GlobalAveragePooling1D()])
    data = [np.ones((2, 5, 2), "float32"), np.ones((2, 6, 2), "float32")]
    analyzer = innvestigate.create_analyzer("gradient", model)
    with pytest.raises(ValueError, match="Pad them"):
        evaluate(model, {"gradient": analyzer}, iter(data))
