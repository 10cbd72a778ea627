"""Our numbers against those of Captum and SHAP, on the same networks; `make_captum.py` wrote them.

Where the conventions differ, what the original gives is converted here; `docs/differences.md` says
why.
"""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from tests.references.captum_cases import INDEX, QUADRATURES, SHAPES, STEPS, WINDOWS

FOLDER = Path(__file__).parent / "captum"
NETWORKS = {
    "mlp": lambda: [
        *(layers.Dense(8, "relu"), layers.Dense(6, "tanh")),
        *(layers.Dense(5, "sigmoid"), layers.Dense(3)),
    ],
    "average": lambda: [
        layers.Conv2D(4, (3, 2), activation="relu"),
        *(layers.AveragePooling2D(2), layers.Flatten(), layers.Dense(6, "elu"), layers.Dense(3)),
    ],
    "maximum": lambda: [
        layers.Conv2D(4, (3, 2), activation="relu"),
        *(layers.MaxPooling2D(2), layers.Conv2D(5, 2, activation="softplus")),
        *(layers.Flatten(), layers.Dense(3)),
    ],
}


@cache
def stored(network):
    """All that is stored for a network."""
    with np.load(FOLDER / f"{network}.npz") as file:
        return dict(file)


@cache
def built(network):
    """A network with the stored weights."""
    model = keras.Sequential([keras.Input(SHAPES[network]), *NETWORKS[network]()])
    for i, layer in enumerate(layer for layer in model.layers if layer.weights):
        layer.set_weights([stored(network)[f"weights/{i}/{j}"] for j in range(2)])
    return model


def explain(name, network, **arguments):
    """Our value for the samples of a network."""
    analyzer = innvestigate.create_analyzer(
        name, built(network), neuron_selection_mode="index", **arguments
    )
    return analyzer.analyze(stored(network)["samples"], INDEX)


def assert_agrees(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_network_is_the_same(network):
    output = np.array(built(network)(stored(network)["samples"]))
    np.testing.assert_allclose(output, stored(network)["output"], atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_rescale_with_references_of_zeros(network):
    assert_agrees(explain("deeplift", network, rule="rescale"), stored(network)["rescale/zeros"])


@pytest.mark.parametrize("network", NETWORKS)
def test_rescale_with_one_reference_for_each_sample(network):
    given = stored(network)["references"]
    found = explain("deeplift", network, rule="rescale", reference_inputs=given)
    assert_agrees(found, stored(network)["rescale/given"])


@pytest.mark.parametrize("network", NETWORKS)
def test_multipliers_of_rescale(network):
    given = stored(network)["references"]
    found = explain(
        "deeplift", network, rule="rescale", reference_inputs=given, return_multipliers=True
    )
    assert_agrees(found, stored(network)["rescale/multipliers"])


@pytest.mark.parametrize("network", NETWORKS)
def test_rescale_averaged_over_several_references(network):
    several = np.stack([stored(network)["several"]] * 3)
    found = explain("deeplift", network, rule="rescale", reference_inputs=several)
    assert_agrees(found, stored(network)["rescale/several"])
    assert_agrees(found, stored(network)["rescale/shap"])


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("quadrature", QUADRATURES)
@pytest.mark.parametrize("network", NETWORKS)
def test_integrated_gradients(network, quadrature, steps):
    found = explain(
        "integrated_gradients",
        network,
        reference_inputs=stored(network)["references"],
        steps=steps,
        quadrature=QUADRATURES[quadrature],
    )
    if quadrature == "riemann_trapezoid":
        # n points bound n - 1 intervals; Captum takes each for 1/n of the path.
        found = found * (steps - 1) / steps
    assert_agrees(found, stored(network)[f"integrated_gradients/{quadrature}/{steps}"])


@pytest.mark.parametrize(
    ("network", "i"), [(network, i) for network in WINDOWS for i in range(len(WINDOWS[network]))]
)
def test_occlusion(network, i):
    window, step, value = WINDOWS[network][i]
    found = explain("occlusion", network, window_shape=window, step=step, value=value)
    # A feature gets the whole drop of each window from Captum, from us its share of it.
    assert_agrees(found * np.prod(window), stored(network)[f"occlusion/{i}"])
