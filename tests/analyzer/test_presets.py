"""Named settings of LRP are composites: data that can be given, printed, compared and saved."""

import keras
import numpy as np
import pytest

import innvestigate
from innvestigate.analyzer.presets import convolutions
from innvestigate.rules import AlphaBeta, Composite, Epsilon, Flat, Gamma, Line, ZPlus
from tests.models import build


def is_convolution(layer):
    return isinstance(layer, keras.layers.Conv2D)


@pytest.fixture(scope="module")
def network():
    return build("cnn_bn")


def explain(name, network, **kwargs):
    model, x = network
    return innvestigate.create_analyzer(name, model, **kwargs).analyze(x)


def test_a_composite_is_a_rule_list_on_steps(network):
    composite = Composite(
        (
            Line(ZPlus(), lambda step: is_convolution(step.layer), "every convolution"),
            Line(Epsilon(0.1), lambda step: True, "everything else"),
        )
    )
    listed = [(is_convolution, ZPlus()), (lambda layer: True, Epsilon(0.1))]
    expected = explain("lrp", network, rule=listed)
    np.testing.assert_array_equal(explain("lrp", network, rule=composite), expected)


def test_the_first_line_of_a_composite_wins(network):
    everywhere = Line(Flat(), lambda step: True, "everywhere")
    composite = Composite((everywhere, *convolutions("Alpha1Beta0").lines))
    expected = explain("lrp", network, rule="Flat")
    np.testing.assert_array_equal(explain("lrp", network, rule=composite), expected)


def test_a_preset_is_its_composite_and_arguments(network):
    found = explain("lrp.epsilon_plus", network, epsilon=0.01)
    arguments = {"fold_batch_norm": True, "bn_layer_rule": innvestigate.rules.Pass()}
    expected = explain("lrp", network, rule=convolutions("Alpha1Beta0", 0.01), **arguments)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("arguments", "rule"), [({}, Epsilon(1e-6)), ({"gamma": 0.1}, Gamma(0.1))])
def test_attention_aware_relevance_is_epsilon_or_gamma(arguments, rule):
    network = build("attention")
    found = explain("lrp.attn", network, **arguments)
    np.testing.assert_array_equal(found, explain("lrp", network, rule=rule))


def test_an_unknown_attention_rule_is_refused(network):
    with pytest.raises(ValueError, match="attention_rule must be one of 'attn', 'cp'"):
        explain("lrp.epsilon", network, attention_rule="attention")


def test_composites_of_presets_are_equal_if_their_arguments_are():
    assert convolutions("ZPlus", 0.1) == convolutions(ZPlus(), 0.1)
    assert convolutions(AlphaBeta(alpha=2)) != convolutions(AlphaBeta(alpha=3))


def test_an_unknown_rule_of_a_preset_names_its_argument(network):
    with pytest.raises(ValueError, match="convolution_rule"):
        explain("lrp.sequential_preset_a", network, convolution_rule="Epsilonn")
