"""Results at hidden layers against those of Captum 0.9.0, which `make_captum_layers.py` wrote."""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest

import innvestigate
from tests.references import cases, networks

FOLDER = Path(__file__).parent / "captum"
NEURON = np.zeros((4, 3, 4), bool)  # in Captum (1, 2, 1), channels first
NEURON[2, 1, 1] = True


@cache
def reference(name):
    with np.load(FOLDER / "layers.npz") as stored:
        return stored[name]


def explain(name, **arguments):
    model, x = networks.build("cnn", keras), networks.inputs("cnn")
    analyzer = innvestigate.create_analyzer(
        name, model, neuron_selection_mode="index", layers=[model.layers[0].name], **arguments
    )
    return analyzer.analyze(x, cases.INDEX)[model.layers[0].name]


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        # Gradients behind rectifiers jump, and the two programs cut the path elsewhere.
        ("conductance", {"steps": 2000}, 2e-3),
        (
            "influence",
            {"steps": 32, "quadrature": "gauss_legendre", "multiply": False},
            1e-5,
        ),
    ],
)
def test_along_the_path(name, options, tolerance):
    found = explain("integrated_gradients", **options)
    expected = reference(name).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())


def test_through_one_neuron():
    model, x = networks.build("cnn", keras), networks.inputs("cnn")
    options = {"steps": 32, "quadrature": "gauss_legendre", "neuron_selection_mode": "index"}
    analyzer = innvestigate.create_analyzer("integrated_gradients", model, **options)
    found = analyzer.analyze(x, cases.INDEX, conditions={model.layers[0].name: NEURON})
    expected = reference("neuron")
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_gradient_of_a_neuron():
    model, x = networks.build("cnn", keras), networks.inputs("cnn")
    hidden = keras.Model(model.inputs, model.layers[0].output)
    analyzer = innvestigate.create_analyzer("gradient", hidden, neuron_selection_mode="index")
    expected = reference("gradient")
    found = analyzer.analyze(x, (2, 1, 1))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
