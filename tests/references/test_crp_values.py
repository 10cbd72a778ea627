"""Heatmaps of single channels against those of zennit-crp 0.6.0, which `make_crp.py` wrote."""

from pathlib import Path

import keras
import numpy as np
import pytest

import innvestigate
from tests.references import cases, crp_cases, networks

FOLDER = Path(__file__).parent / "crp"
TOLERANCE = 1e-4  # Zennit 0.4.6 adds 1e-6 to every denominator


@pytest.mark.parametrize("method", ["lrp.epsilon_plus", "lrp.epsilon_alpha_2_beta_1"])
@pytest.mark.parametrize("network", crp_cases.CONDITIONS)
def test_channels_alone(network, method):
    model, x = networks.build(network, keras), networks.inputs(network)
    with np.load(FOLDER / f"{network}.npz") as stored:
        expected = stored[method]
    names = [layer.name for layer in model.layers]
    names = [name for name in names if not name.startswith("input")]
    analyzer = innvestigate.create_analyzer(method, model, neuron_selection_mode="index")
    for conditions, wanted in zip(crp_cases.CONDITIONS[network], expected, strict=True):
        given = {names[layer]: channels for layer, channels in conditions.items()}
        found = analyzer.analyze(x, cases.INDEX, conditions=given)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE * scale, err_msg=str(conditions))
