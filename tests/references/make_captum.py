"""Writes the reference values of Captum and SHAP, `captum/<network>.npz`.

    pip install torch==2.13.0 captum==0.9.0 shap==0.51.0    # Python 3.11, from PyPI
    python tests/references/make_captum.py

CPU, float64. Stores the weights of each layer, the samples and the references too, all in the
layout of Keras: channels come last, kernels are (*window, in, out).

Captum leaves out its rule of a max pooling that reads the very tensor that an activation gives, and
follows the gradient instead: a copy comes between the two. SHAP does not need it.
"""

from pathlib import Path

import numpy as np
import shap
import torch
from captum import attr
from captum_cases import INDEX, QUADRATURES, SHAPES, STEPS, WINDOWS
from torch import nn

FOLDER = Path(__file__).parent / "captum"


class Channels(nn.Module):
    """Moves the channels of an image to another place."""

    def __init__(self, *order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x.permute(self.order)


class Copy(nn.Module):
    """Gives a tensor of its own."""

    def forward(self, x):
        return x.clone()


def flat():
    """The order in which Keras flattens an image."""
    return Channels(0, 2, 3, 1), nn.Flatten()


NETWORKS = {
    "mlp": lambda: nn.Sequential(
        *(nn.Linear(7, 8), nn.ReLU(), nn.Linear(8, 6), nn.Tanh()),
        *(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3)),
    ),
    "average": lambda: nn.Sequential(
        *(Channels(0, 3, 1, 2), nn.Conv2d(2, 4, (3, 2)), nn.ReLU(), nn.AvgPool2d(2)),
        *(*flat(), nn.Linear(16, 6), nn.ELU(), nn.Linear(6, 3)),
    ),
    "maximum": lambda: nn.Sequential(
        *(Channels(0, 3, 1, 2), nn.Conv2d(2, 4, (3, 2)), nn.ReLU(), Copy()),
        *(nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.Softplus(), *flat(), nn.Linear(5, 3)),
    ),
}


def build(network, random):
    """A network with drawn weights, and these by number of layer, kernel and bias."""
    model, drawn = NETWORKS[network]().double().eval(), {}
    layers = [module for module in model if isinstance(module, (nn.Linear, nn.Conv2d))]
    for i, layer in enumerate(layers):
        image = isinstance(layer, nn.Conv2d)
        shape = tuple(layer.weight.permute(2, 3, 1, 0).shape if image else layer.weight.T.shape)
        kernel = random.normal(0.1, 1.2, shape) / np.sqrt(np.prod(shape[:-1]))
        bias = random.uniform(-0.3, 0.3, shape[-1:])
        drawn[f"weights/{i}/0"], drawn[f"weights/{i}/1"] = as_stored(kernel), as_stored(bias)
        with torch.no_grad():
            kernel = as_stored(kernel).transpose(3, 2, 0, 1) if image else as_stored(kernel).T
            layer.weight.copy_(torch.tensor(kernel.copy()))
            layer.bias.copy_(torch.tensor(as_stored(bias)))
    return model, drawn


def as_stored(array):
    """Single precision, which is what the network in Keras gets."""
    return np.asarray(array, "float32")


def rescale(model, x, given, several):
    """DeepLIFT's Rescale rule: one reference for each sample, and several ones averaged."""
    means = [
        attr.DeepLiftShap(model).attribute(x[i : i + 1], several, target=INDEX)
        for i in range(len(x))
    ]
    background = shap.DeepExplainer(model, several).shap_values(x, check_additivity=True)
    return {
        "rescale/zeros": attr.DeepLift(model).attribute(x, 0.0 * x, target=INDEX),
        "rescale/given": attr.DeepLift(model).attribute(x, given, target=INDEX),
        "rescale/multipliers": attr.DeepLift(model, multiply_by_inputs=False).attribute(
            x, given, target=INDEX
        ),
        "rescale/several": torch.cat(means),
        "rescale/shap": background[..., INDEX],
    }


def integrated_gradients(model, x, given):
    """Integrated gradients with every quadrature, at every number of points."""
    method = attr.IntegratedGradients(model)
    return {
        f"integrated_gradients/{quadrature}/{steps}": method.attribute(
            x, given, target=INDEX, n_steps=steps, method=quadrature
        )
        for quadrature in QUADRATURES
        for steps in STEPS
    }


def occlusion(model, x, windows):
    """Occlusion with every window."""
    return {
        f"occlusion/{i}": attr.Occlusion(model).attribute(
            x, window, strides=strides, baselines=value, target=INDEX
        )
        for i, (window, strides, value) in enumerate(windows)
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    for seed, network in enumerate(NETWORKS):
        random = np.random.RandomState(seed)
        model, arrays = build(network, random)
        shape = SHAPES[network]
        drawn = {
            "samples": random.uniform(-1, 1, (3, *shape)),
            "references": random.uniform(-0.5, 0.5, (3, *shape)),
            "several": random.uniform(-0.5, 0.5, (4, *shape)),
        }
        arrays.update({name: as_stored(array) for name, array in drawn.items()})
        tensors = (torch.tensor(arrays[name]).double() for name in drawn)
        x, given, several = (tensor.requires_grad_() for tensor in tensors)
        found = {
            "output": model(x),
            **rescale(model, x, given, several),
            **integrated_gradients(model, x, given),
            **occlusion(model, x, WINDOWS.get(network, ())),
        }
        for key, value in found.items():
            arrays[key] = as_stored(value.detach() if torch.is_tensor(value) else value)
        np.savez_compressed(FOLDER / f"{network}.npz", **arrays)
        print(network, len(arrays))


if __name__ == "__main__":
    main()
