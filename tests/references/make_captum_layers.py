"""Writes the reference values of Captum at hidden layers, `captum/layers.npz`.

    pip install torch==2.13.0 torchvision numpy pillow zennit==0.4.6 captum==0.9.0
    python tests/references/make_captum_layers.py

Made with Python 3.11, CPU, float64. The network is the one called "cnn"; Zennit only makes it.
"""

from pathlib import Path

import cases
import networks
import numpy as np
import torch
from captum.attr import InternalInfluence, LayerConductance, NeuronConductance, NeuronGradient
from torch_networks import build

STEPS = 32


def main():
    model = build("cnn")
    x = torch.tensor(networks.inputs("cnn")).double()
    options = {"target": cases.INDEX, "n_steps": STEPS, "method": "gausslegendre"}
    many = {**options, "n_steps": 2000, "method": "riemann_middle", "internal_batch_size": 256}
    layer = model[2]
    neuron = NeuronConductance(model, layer)
    found = {
        "conductance": LayerConductance(model, layer).attribute(x, **many),
        "influence": InternalInfluence(model, layer).attribute(x, **options),
        "neuron": neuron.attribute(x, neuron_selector=(1, 2, 1), **options),
        "gradient": NeuronGradient(model, layer).attribute(x, neuron_selector=(1, 2, 1)),
    }
    arrays = {name: y.detach().numpy().astype("float32") for name, y in found.items()}
    np.savez_compressed(Path(__file__).parent / "captum" / "layers.npz", **arrays)
    print({name: y.shape for name, y in arrays.items()})


if __name__ == "__main__":
    main()
