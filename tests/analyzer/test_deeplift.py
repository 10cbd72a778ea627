"""The DeepLIFT analyzer: references, choices of rules, what it returns and what it refuses."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops, tree

import innvestigate
from innvestigate.engine import mirror
from innvestigate.genomics import ShuffledReferences
from innvestigate.rules import Epsilon, Gradient, Rescale, RevealCancel
from tests.frameworks import examples
from tests.models import ClosedCell, build
from tests.test_properties import construct, networks, samples, slow_but, total

RULES = ("rescale", "reveal_cancel", "genomics_default")


def analyzer(model, name="deeplift", mode="index", **kwargs):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **kwargs)


def small(*parts, shape=(5,)):
    keras.utils.set_random_seed(1)
    return keras.Sequential([layers.Input(shape), *parts])


def mlp(last=None):
    return small(layers.Dense(6, "relu"), layers.Dense(4, "tanh"), layers.Dense(3, last))


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# --- Completeness ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", slow_but("reveal_cancel", RULES))
@examples(12)
@given(network=networks(), bias=st.booleans(), function=st.sampled_from(["relu", "gelu"]))
def test_contributions_add_up_at_the_input_and_at_every_layer(rule, network, bias, function):
    """Σ C = y(x) - y(x₀) on random networks, for any reference, max pooling included."""
    model, x = construct(network, bias, function), samples(network)
    x0 = np.random.default_rng(network["seed"] + 2).normal(size=x.shape)
    difference = np.array(model(x) - model(x0)).sum(1)
    chain = [layer.name for layer in model.layers[1:]]
    if any(part["kind"] == "residual" for part in network["parts"]):
        chain = chain[-1:]  # not all that reaches the output passes through each layer
    found = analyzer(
        model, mode="all", rule=rule, reference_inputs=x0, layers=["input", *chain]
    ).analyze(x)
    for name, contributions in found.items():
        scale = 1 + np.abs(contributions).sum()
        np.testing.assert_allclose(
            total(contributions), difference, atol=1e-9 * scale, err_msg=name
        )


def test_shared_and_nested_layers_and_several_inputs():
    for name in ("shared", "nested", "two_inputs", "dict_inputs"):
        model, x = build(name)
        x0 = tree.map_structure(lambda a: np.roll(a, 1, axis=0), x)
        found = analyzer(model, rule="reveal_cancel", reference_inputs=x0).analyze(x, 1)
        tree.assert_same_structure(found, x)
        summed = sum(total(r) for r in tree.flatten(found))
        expected = np.array(model(x) - model(x0))[:, 1]
        np.testing.assert_allclose(summed, expected, atol=1e-5)


def test_tokens_get_one_contribution_each_and_their_references_are_tokens():
    model, x = build("embedding")
    x0 = np.where(np.arange(7) < 5, 3, x).astype("int32")
    logits = innvestigate.model_wo_softmax(model)
    found = analyzer(logits, reference_inputs=x0).analyze(x, 2)
    assert found.shape == x.shape and not found[:, 5:].any()
    np.testing.assert_allclose(total(found), np.array(logits(x) - logits(x0))[:, 2], atol=1e-6)


def test_the_reference_of_tokens_has_the_mask_of_the_sample():
    model, x = build("embedding_masked")
    found = analyzer(model, reference_inputs=0).analyze(x, 1)
    assert np.isfinite(found).all() and found.any() and not found[x == 0].any()
    hidden = keras.Model(model.inputs, model.layers[1].output)
    vectors = np.array(hidden(np.zeros_like(x)))[:, 0]
    expected = np.array(model(x) - model.layers[-1](vectors))[:, 1]
    np.testing.assert_allclose(total(found), expected, atol=1e-6)


# --- References -----------------------------------------------------------------------------------


def test_several_references_are_averaged():
    model, x, x0 = mlp(), floats(4, 5), floats(4, 3, 5, seed=1)
    single = [
        analyzer(model, rule="reveal_cancel", reference_inputs=x0[:, i]).analyze(x, 1)
        for i in range(3)
    ]
    several = analyzer(model, rule="reveal_cancel", reference_inputs=x0)
    for batch_size in (1, 5, 100):
        found = several.analyze(x, 1, batch_size=batch_size)
        np.testing.assert_allclose(found, np.mean(single, 0), rtol=1e-5, atol=1e-6)


def test_never_more_rows_than_a_batch_are_run(monkeypatch):
    model, x = mlp(), floats(3, 5)
    explain = analyzer(model, reference_inputs=lambda x: floats(len(x), 50, 5))
    rows, run = [], mirror.run_batch

    def counted(model, inputs):
        rows.append(len(inputs[0]))
        return run(model, inputs)

    monkeypatch.setattr(mirror, "run_batch", counted)
    explain.analyze(x, 0, batch_size=6)
    assert max(rows) <= 6 and sum(rows) == 150


def test_the_neuron_is_chosen_at_the_sample():
    model, x, x0 = mlp(), floats(5, 5), floats(5, 2, 5, seed=1)
    chosen = np.array(model(x)).argmax(1)
    found = analyzer(model, mode="max_activation", reference_inputs=x0).analyze(x)
    np.testing.assert_allclose(found, analyzer(model, reference_inputs=x0).analyze(x, chosen))


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (np.zeros((4, 6)), ValueError, "wrong shape"),
        (np.full(5, np.nan), ValueError, "NaN"),
        ("zeros", TypeError, "must be a number"),
    ],
)
def test_references_that_do_not_fit(given, error, match):
    with pytest.raises(error, match=match):
        analyzer(mlp(), reference_inputs=given)


def test_references_for_another_number_of_samples():
    with pytest.raises(ValueError, match="Received: 4 samples"):
        analyzer(mlp(), reference_inputs=floats(3, 5)).analyze(floats(4, 5), 0)


# --- What is returned -----------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_contributions_are_multipliers_times_differences(rule):
    model, x, x0 = mlp(), floats(4, 5), floats(4, 5, seed=1)
    names = ["input", "first"]
    model.layers[0].name = "first"
    arguments = {"rule": rule, "reference_inputs": x0, "layers": names}
    c = analyzer(model, **arguments).analyze(x, 1)
    m = analyzer(model, return_multipliers=True, **arguments).analyze(x, 1)
    first = model.layers[0]
    deltas = {"input": x - x0, "first": np.array(first(x) - first(x0))}
    for name in names:
        np.testing.assert_allclose(c[name], m[name] * deltas[name], rtol=1e-5, atol=1e-6)


def test_mean_normalize_is_the_logit_minus_the_mean_of_the_logits():
    model, x = mlp("softmax"), floats(4, 5)
    each = [analyzer(model, rule="reveal_cancel").analyze(x, i) for i in range(3)]
    found = analyzer(model, rule="reveal_cancel", mean_normalize=True).analyze(x, 2)
    np.testing.assert_allclose(found, each[2] - np.mean(each, 0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("last", "kwargs", "match"),
    [
        (None, {}, "does not end in a softmax"),
        ("sigmoid", {}, "does not end in a softmax"),
        ("softmax", {"keep_output_activation": True}, "keep_output_activation=True"),
    ],
)
@pytest.mark.filterwarnings("ignore:The model ends in")
def test_mean_normalize_needs_a_softmax(last, kwargs, match):
    with pytest.raises(ValueError, match=match):
        analyzer(mlp(last), mean_normalize=True, **kwargs)


def test_a_final_sigmoid_is_taken_off_with_a_warning():
    model, x = mlp("sigmoid"), floats(4, 5)
    with pytest.warns(UserWarning, match="The model ends in a sigmoid") as caught:
        found = analyzer(model).analyze(x, 1)
    assert caught[0].filename == __file__
    logits = innvestigate.model_wo_output_activation(model)
    np.testing.assert_allclose(total(found), np.array(logits(x) - logits(0 * x))[:, 1], atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kept = analyzer(model, keep_output_activation=True).analyze(x, 1)
    np.testing.assert_allclose(total(kept), np.array(model(x) - model(0 * x))[:, 1], atol=1e-5)


def genomics():
    """Dense and Conv1D layers, each followed by BatchNormalization or dropout, then a rectifier."""
    return small(
        layers.Conv1D(4, 3, name="motifs"),
        layers.BatchNormalization(),
        layers.ReLU(name="after_motifs"),
        layers.MaxPooling1D(2),
        layers.Flatten(),
        layers.Dense(5, name="dense"),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.ReLU(name="after_dense"),
        layers.Dense(4, "tanh", name="fused"),
        layers.Reshape((2, 2)),
        layers.GlobalAveragePooling1D(),
        layers.ReLU(name="after_pooling"),
        layers.Dense(2, name="out"),
        shape=(8, 4),
    )


def letters(count=3, length=8, seed=0):
    codes = np.random.default_rng(seed).integers(0, 4, (count, length))
    return np.eye(4, dtype="float32")[codes]


def test_hypothetical_contributions_are_those_of_each_letter_in_the_place():
    model, x, x0 = genomics(), letters(), floats(8, 4)
    arguments = {"rule": "genomics_default", "reference_inputs": x0}
    m = analyzer(model, return_multipliers=True, **arguments).analyze(x, 1)
    found = analyzer(model, hypothetical=True, **arguments).analyze(x, 1)
    expected = [((np.eye(4)[c] - x0) * m).sum(-1) for c in range(4)]
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, -1), rtol=1e-5, atol=1e-6)
    actual = analyzer(model, **arguments).analyze(x, 1).sum(-1)
    np.testing.assert_allclose((found * x).sum(-1), actual, rtol=1e-4, atol=1e-6)


def naive_hypothetical(x, references, kernel, bias, weights):
    """Those of one sample of a convolution, a rectifier and weights: Rescale, written out."""
    width = len(kernel)

    def convolved(rows):
        windows = [rows[p : p + width] for p in range(len(rows) - width + 1)]
        return np.array([np.tensordot(window, kernel, 2) + bias for window in windows])

    found = np.zeros(x.shape)
    for reference in references:
        z, z0 = convolved(x), convolved(reference)
        same = np.isclose(z, z0)
        slopes = (z.clip(min=0) - z0.clip(min=0)) / np.where(same, 1, z - z0)
        multipliers = np.zeros(x.shape)
        for place, signal in enumerate(np.where(same, z0 > 0, slopes) * weights):
            multipliers[place : place + width] += kernel @ signal
        for letter, row in enumerate(np.eye(4)):
            found[:, letter] += ((row - reference) * multipliers).sum(axis=1)
    return found / len(references)


@pytest.mark.parametrize("batch_size", [1, 2, 50])
def test_hypothetical_contributions_of_many_references_on_disk(tmp_path, batch_size):
    parts = layers.Conv1D(3, 2, activation="relu", dtype="float64"), layers.Flatten(dtype="float64")
    stacked = [layers.Input((8, 4), dtype="float64"), *parts, layers.Dense(2, dtype="float64")]
    model = keras.Sequential(stacked)
    (kernel, bias), (weights, _) = (model.layers[i].get_weights() for i in (0, 2))
    x, references = letters(5).astype("float64"), ShuffledReferences(n=6, seed=1)
    explain = analyzer(model, hypothetical=True, reference_inputs=references)
    explain.analyze(x, 1, batch_size=batch_size, out=tmp_path / "found.npy")
    found = np.load(tmp_path / "found.npy", mmap_mode="r")
    of_output = weights[:, 1].reshape(7, 3)
    expected = [
        naive_hypothetical(row, others, kernel, bias, of_output)
        for row, others in zip(x, references(x), strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    actual = analyzer(model, reference_inputs=references).analyze(x, 1).sum(axis=-1)
    np.testing.assert_allclose((found * x).sum(axis=-1), actual, rtol=1e-9, atol=1e-12)
    before = np.mean([np.array(model(others))[:, 1] for others in references(x)], axis=1)
    change = np.array(model(x))[:, 1] - before
    np.testing.assert_allclose((found * x).sum(axis=(1, 2)), change, rtol=1e-9, atol=1e-12)


def test_hypothetical_contributions_refuse_other_inputs():
    explain = analyzer(genomics(), hypothetical=True)
    x = letters()
    x[1, 2] = 0  # an unknown letter
    assert np.isfinite(explain.analyze(x, 0)).all()
    x[2, 3] = 0.25
    with pytest.raises(ValueError, match=r"one-hot inputs.*sample 2\. Received there: values from"):
        explain.analyze(x, 0)
    x[2, 3] = [1, 1, 0, 0]
    with pytest.raises(ValueError, match="sample 2"):
        explain.analyze(x, 0, batch_size=1)
    with pytest.raises(ValueError, match=r"the model's inputs only.*\['dense'\]"):
        analyzer(genomics(), hypothetical=True, layers=["dense"])
    with pytest.raises(ValueError, match="int32"):
        analyzer(build("embedding")[0], hypothetical=True)
    with pytest.raises(ValueError, match="Choose one"):
        analyzer(genomics(), hypothetical=True, return_multipliers=True)


# --- Rules ----------------------------------------------------------------------------------------


def test_genomics_default_looks_through_norms_and_dropout(capsys):
    plan = analyzer(genomics(), rule="genomics_default").plan()
    rules = {line.step: (line.rule, line.why) for line in plan}
    assert rules["after_motifs"] == ("Rescale()", "the method's rule: follows a convolution")
    assert rules["after_dense"] == ("RevealCancel()", "the method's rule: follows a dense layer")
    assert rules["fused.tanh"] == ("RevealCancel()", "the method's rule: follows a dense layer")
    assert rules["after_pooling"] == ("Rescale()", "the method's rule: follows neither")
    assert rules["motifs"][0] == "LinearDifference()"
    assert "RevealCancel" in capsys.readouterr().out


def test_parts_of_differences_are_computed_only_where_reveal_cancel_asks():
    def parts(rule):
        mirror = analyzer(genomics(), rule=rule).model
        return {layer.name for layer in mirror.layers if layer.name.endswith(".parts")}

    assert parts("rescale") == set()
    assert "dense.parts" in parts("genomics_default")
    assert "motifs.parts" not in parts("genomics_default")
    assert "motifs.parts" in parts("reveal_cancel")


def test_names_are_settings():
    model, x = genomics(), letters()
    for rule in RULES:
        expected = analyzer(model, rule=rule).analyze(x, 0)
        for found in (
            analyzer(model, f"deeplift.{rule}"),
            analyzer(model, "deeplift.wrapper", nonlinear_mode=rule),
        ):
            np.testing.assert_array_equal(found.analyze(x, 0), expected)
    with pytest.raises(ValueError, match=r"nonlinear_mode must be one of.*'gradient'"):
        analyzer(model, "deeplift.wrapper", nonlinear_mode="gradient")


def test_a_list_of_rules():
    model, x = mlp(), floats(4, 5)
    first = model.layers[0].name
    rules = [(lambda layer: layer.name == first, RevealCancel()), (lambda layer: True, "rescale")]
    lines = {line.step: line.rule for line in analyzer(model, rule=rules).plan()}
    assert lines[f"{first}.relu"] == "RevealCancel()"
    assert lines[f"{model.layers[1].name}.tanh"] == "Rescale()"
    found = analyzer(model, rule=rules).analyze(x, 0)
    assert not np.allclose(found, analyzer(model).analyze(x, 0))
    np.testing.assert_allclose(total(found), total(analyzer(model).analyze(x, 0)), atol=1e-5)
    everything = analyzer(model, rule=Gradient(), return_multipliers=True).analyze(x, 0)
    np.testing.assert_allclose(everything, analyzer(model, "gradient").analyze(x, 0), rtol=1e-5)


@pytest.mark.parametrize(
    ("rule", "error", "match"),
    [
        ("relu", ValueError, "rule must be one of .rescale., .reveal_cancel., .genomics.*relu"),
        (Epsilon(), TypeError, "a rule for relevance"),
        (3, TypeError, "Expected a rule"),
        ([Rescale()], ValueError, "pairs"),
        (
            [(lambda layer: False, "rescale")],
            innvestigate.NoRuleError,
            "create_analyzer.'deeplift'",
        ),
    ],
)
def test_rules_that_do_not_fit(rule, error, match):
    with pytest.raises(error, match=match):
        analyzer(mlp(), rule=rule)


def test_max_pooling_has_two_modes():
    with pytest.raises(ValueError, match=r"'rescale', 'winner'\. Received: 'mean'"):
        analyzer(mlp(), max_pooling="mean")


def functional(function, shape=(5,), dtype="float32"):
    x = layers.Input(shape, dtype=dtype)
    return keras.Model(x, layers.Dense(2)(function(x)))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (lambda: functional(layers.RNN(ClosedCell(3), name="memory"), (4, 3)), "RNN 'memory'"),
        (lambda: functional(lambda x: ops.sort(x)), "sort"),
        (lambda: functional(layers.Activation("sparsemax", name="sparse")), "'sparse'"),
        (lambda: functional(lambda x: ops.where(x > 0, x, 0.1 * x)), "by comparing"),
        (lambda: functional(lambda x: x * ops.cast(x > 0, "float32")), "by comparing"),
    ],
)
def test_steps_without_a_rule_are_named(model, match):
    with pytest.raises(innvestigate.NoRuleError, match=match):
        analyzer(model())


def test_the_model_and_its_training_are_left_alone():
    model, x = mlp(), floats(4, 5)
    explain, nodes = analyzer(model), [len(layer._inbound_nodes) for layer in model.layers]
    before = explain.analyze(x, 1)
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    np.testing.assert_allclose(explain.analyze(x, 1), 2 * before, rtol=1e-5)
