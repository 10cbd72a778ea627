"""Our numbers against those of deeplift 0.6.13.0, at inputs and hidden layers.

`make_deeplift.py` wrote the references; `docs/differences.md` says where the original differs.
"""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

import innvestigate
from tests.references import deeplift_networks as networks

pytestmark = pytest.mark.usefixtures("step_by_step")

FOLDER = Path(__file__).parent / "deeplift"
RULES = {
    "Rescale": "rescale",
    "RevealCancel": "reveal_cancel",
    "DeepLIFT_GenomicsDefault": "genomics_default",
}
GRADIENTS = {"Gradient": "gradient", "GuidedBackprop": "guided_backprop"}
LEFT_OUT = {("activations", "GuidedBackprop")}
"""The original holds negative signals back at every activation, ours at rectifiers."""

QUICK = {("mlp", "RevealCancel"), ("genomics", "DeepLIFT_GenomicsDefault"), ("images", "Rescale")}


@cache
def stored(network):
    """All that is stored for a network."""
    with np.load(FOLDER / f"{network}.npz") as file:
        return dict(file)


@cache
def built(network):
    """A network with the stored weights."""
    model = networks.NETWORKS[network](keras)
    for layer in model.layers:
        arrays = [stored(network)[f"weights/{layer.name}/{i}"] for i in range(len(layer.weights))]
        layer.set_weights(arrays)
    return model


def given(network, kind):
    """The `samples` or the `references`, one array for each input."""
    return [stored(network)[f"{kind}/{i}"] for i in range(len(built(network).inputs))]


def tolerance(mode):
    return {"rtol": 1e-4, "atol": 5e-5 if mode == "RevealCancel" else 1e-5}


def explain(network, name, model=None, **arguments):
    """Our values at the layers `arguments` asks for, else the list of those at the inputs."""
    analyzer = innvestigate.create_analyzer(
        name, model or built(network), neuron_selection_mode="index", **arguments
    )
    x = given(network, "samples")
    found = analyzer.analyze(x if len(x) > 1 else x[0], networks.index(network))
    return [found] if isinstance(found, np.ndarray) else found


def check(network, mode, what, at_inputs, at_layers=()):
    """Everything that the original gives is equal to ours, and ours to nothing else."""
    names = [x.name for x in built(network).inputs]
    found = {**dict(zip(names, at_inputs, strict=True)), **dict(at_layers)}
    expected = {
        layer: stored(network)[f"{mode}/{layer}/{what}"]
        for layer in found
        if f"{mode}/{layer}/{what}" in stored(network)
    }
    assert set(names) <= set(expected)
    for layer, value in expected.items():
        np.testing.assert_allclose(found[layer], value, **tolerance(mode), err_msg=layer)


def marked(modes):
    """Pairs of a network and a mode, slow but for a sample."""
    pairs = [(network, mode) for network in networks.NETWORKS for mode in modes]
    return [
        pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow)
        for pair in pairs
        if pair not in LEFT_OUT
    ]


@pytest.mark.filterwarnings("ignore:The model ends in a sigmoid")
@pytest.mark.parametrize("what", ["contributions", "multipliers"])
@pytest.mark.parametrize(("network", "mode"), marked(RULES))
def test_deeplift(network, mode, what):
    references = given(network, "references")
    arguments = {
        "rule": RULES[mode],
        "reference_inputs": references if len(references) > 1 else references[0],
        "max_pooling": "winner",
        "return_multipliers": what == "multipliers",
    }
    at_inputs = explain(network, "deeplift", **arguments)
    at_layers = explain(network, "deeplift", layers=networks.HIDDEN[network], **arguments)
    assert set(at_layers) == set(networks.HIDDEN[network])
    check(network, mode, what, at_inputs, at_layers)


@pytest.mark.parametrize(("network", "mode"), marked(GRADIENTS))
def test_gradients(network, mode):
    """Their multipliers are gradients of the logit; contributions are those times differences."""
    model = built(network)
    if "logits" in [layer.name for layer in model.layers]:
        model = keras.Model(model.inputs, model.get_layer("logits").output)
    at_inputs = explain(network, GRADIENTS[mode], model)
    at_layers = explain(network, GRADIENTS[mode], model, layers=networks.HIDDEN[network])
    check(network, mode, "multipliers", at_inputs, at_layers)
    pairs = zip(given(network, "samples"), given(network, "references"), strict=True)
    products = [m * (x - r) for m, (x, r) in zip(at_inputs, pairs, strict=True)]
    check(network, mode, "contributions", products)


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_the_network_is_the_same(network):
    samples = given(network, "samples")
    output = built(network)(samples if len(samples) > 1 else samples[0])
    np.testing.assert_allclose(output, stored(network)["output"], atol=1e-6)


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_every_value_is_stored_but_those_the_original_does_not_have(network):
    inputs = [x.name for x in built(network).inputs]
    for mode in networks.MODES:
        for layer in (*inputs, *networks.HIDDEN[network]):
            value = stored(network).get(f"{mode}/{layer}/contributions")
            assert (value is None) == (f"{network}/{layer}" in networks.MAX_POOLED)
            assert value is None or (np.isfinite(value).all() and value.any())
        for layer in inputs:
            value = stored(network)[f"{mode}/{layer}/multipliers"]
            assert np.isfinite(value).all() and value.any()


@pytest.mark.parametrize("network", networks.NETWORKS)
def test_half_of_the_references_are_zeros(network):
    for reference in given(network, "references"):
        zeros, own = np.split(reference, 2)
        assert not zeros.any() and all(row.any() for row in own)
