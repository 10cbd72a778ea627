"""Our maps against those of grad-cam, on the same network; `make_grad_cam.py` wrote them.

It stretches each map to [0, 1], which is done here, too; the script says where else it differs.
"""

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from tests.references.grad_cam_cases import METHODS, NEURON, SIZE

FILE = Path(__file__).parent / "grad_cam.npz"


@cache
def stored():
    """All that is stored."""
    with np.load(FILE) as file:
        return dict(file)


@cache
def network():
    """The network with the stored weights."""
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 2)),
            layers.Conv2D(4, 3, padding="same", name="first"),
            layers.GroupNormalization(-1, center=False, scale=False, name="centred"),
            layers.Conv2D(5, 2, strides=2, name="second"),
            layers.ReLU(name="strided"),
            layers.Conv2D(4, 2, activation="relu", name="third"),
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ]
    )
    for name in ("first", "second", "third", "dense"):
        model.get_layer(name).set_weights([stored()[f"{name}/{w}"] for w in ("kernel", "bias")])
    return model


def explain(name, **arguments):
    made = innvestigate.create_analyzer(name, network(), neuron_selection_mode="index", **arguments)
    return made.analyze(stored()["x"], NEURON)


def stretched(maps):
    """Each map from 0 to 1, as grad-cam scales it."""
    maps = maps - maps.min(axis=(1, 2), keepdims=True)
    return maps / (1e-7 + maps.max(axis=(1, 2), keepdims=True))


CASES = [name.split("/") for name in stored() if name.split("/")[0] in METHODS]


@pytest.mark.parametrize(("name", "layer"), CASES)
def test_maps_are_those_of_grad_cam(name, layer):
    found = explain(name, layer=layer).sum(axis=-1)
    expected = stored()[f"{name}/{layer}"]
    assert expected.std(axis=(1, 2)).max() > 0.1
    if name == "eigen_cam":  # grad-cam takes either sign, and what is positive of it
        signs = stretched(np.maximum(found, 0)), stretched(np.maximum(-found, 0))
        near = np.argmin([np.abs(s - expected).max(axis=(1, 2)) for s in signs], axis=0)
        found = np.stack([signs[k][i] for i, k in enumerate(near)])
    tolerance = 1e-4 if name == "grad_cam_plus_plus" else 1e-5  # of the 1e-6 in its denominators
    np.testing.assert_allclose(stretched(found), expected, atol=tolerance)


def test_guided_backprop_and_its_product_with_the_map():
    guided, placed = stored()["guided"], explain("grad_cam", layer="strided").sum(axis=-1)
    np.testing.assert_allclose(explain("guided_backprop"), guided, rtol=1e-4, atol=1e-5)
    found = explain("guided_grad_cam", layer="strided")
    np.testing.assert_allclose(found, guided * placed[..., None], rtol=1e-4, atol=1e-4)


def test_all_of_its_methods_are_compared():
    assert {name for name, _ in CASES} == set(METHODS)
