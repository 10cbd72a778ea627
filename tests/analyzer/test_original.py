"""Every analyzer that iNNvestigate exports is found under its name there."""

import keras
import numpy as np
import pytest

import innvestigate
from innvestigate import analyzer
from innvestigate.analyzer.original import CLASSES, METHODS
from tests.models import build

EXPORTED = {
    "Input": "input",
    "Random": "random",
    "Gradient": "gradient",
    "BaselineGradient": "gradient.baseline",
    "InputTimesGradient": "input_t_gradient",
    "Deconvnet": "deconvnet",
    "GuidedBackprop": "guided_backprop",
    "IntegratedGradients": "integrated_gradients",
    "SmoothGrad": "smoothgrad",
    "LRP": "lrp",
    "LRPZ": "lrp.z",
    "LRPEpsilon": "lrp.epsilon",
    "LRPWSquare": "lrp.w_square",
    "LRPFlat": "lrp.flat",
    "LRPAlphaBeta": "lrp.alpha_beta",
    "LRPAlpha2Beta1": "lrp.alpha_2_beta_1",
    "LRPAlpha2Beta1IgnoreBias": "lrp.alpha_2_beta_1_IB",
    "LRPAlpha1Beta0": "lrp.alpha_1_beta_0",
    "LRPAlpha1Beta0IgnoreBias": "lrp.alpha_1_beta_0_IB",
    "LRPZPlus": "lrp.z_plus",
    "LRPZPlusFast": "lrp.z_plus_fast",
    "LRPSequentialPresetA": "lrp.sequential_preset_a",
    "LRPSequentialPresetB": "lrp.sequential_preset_b",
    "LRPSequentialPresetAFlat": "lrp.sequential_preset_a_flat",
    "LRPSequentialPresetBFlat": "lrp.sequential_preset_b_flat",
    "LRPSequentialPresetBFlatUntilIdx": "lrp.sequential_preset_b_flat_until_idx",
    "DeepTaylor": "deep_taylor",
    "BoundedDeepTaylor": "deep_taylor.bounded",
}
"""The table of `innvestigate.analyzer.analyzers` in the wheel of 2.1.2 on PyPI, turned round."""

OF_VERSION_1 = {
    "LRPZIgnoreBias": "lrp.z_IB",
    "LRPEpsilonIgnoreBias": "lrp.epsilon_IB",
    "DeepLIFTWrapper": "deeplift.wrapper",
    "PatternNet": "pattern.net",
    "PatternAttribution": "pattern.attribution",
}


@pytest.mark.parametrize(("name", "key"), {**EXPORTED, **OF_VERSION_1}.items())
def test_a_class_of_the_original_is_the_entry_of_its_key(name, key):
    assert getattr(analyzer, name) is innvestigate.analyzers[key]


def test_what_else_it_exports():
    """Classes that are in no table: those that one wraps with, one compares with, one derives."""
    assert analyzer.AnalyzerBase is analyzer.Analyzer
    assert analyzer.BaselineLRPZ is analyzer.InputTimesGradient
    assert {"GaussianSmoother", "PathIntegrator"} <= {*analyzer.__all__}


def test_no_name_hides_a_class_of_ours():
    assert {*CLASSES, *METHODS}.isdisjoint(vars(analyzer))


@pytest.mark.parametrize("name", ["LRPZ", "LRPAlpha2Beta1", "LRPSequentialPresetBFlat"])
def test_they_are_called_as_there(name):
    model, x = build("mlp")
    made = getattr(analyzer, name)(model, neuron_selection_mode="index")
    again = innvestigate.create_analyzer(EXPORTED[name], model, neuron_selection_mode="index")
    np.testing.assert_array_equal(made.analyze(x, 1), again.analyze(x, 1))


def test_the_baseline_of_z_is_the_z_rule_on_rectifiers():
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(4, activation="relu")])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    expected = analyzer.LRPZ(model).analyze(x)
    np.testing.assert_allclose(analyzer.BaselineLRPZ(model).analyze(x), expected, rtol=1e-4)


def test_what_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'LRPOmega'"):
        _ = analyzer.LRPOmega
    with pytest.raises(ImportError, match="cannot import name 'WrapperBase'"):
        from innvestigate.analyzer import WrapperBase  # noqa: F401
