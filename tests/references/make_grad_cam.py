"""Writes the reference values of grad-cam, `grad_cam.npz`.

    pip install torch==2.13.0 torchvision grad-cam==1.5.7    # Python 3.11, from PyPI
    python tests/references/make_grad_cam.py

CPU, float32. Stores the weights of each layer and the samples, too, in the layout of Keras:
channels come last, kernels are (*window, in, out). Nothing of torchvision is computed with:
grad-cam only imports it.

Maps are stored as grad-cam returns them, stretched to [0, 1] and resized to the input. The network
has two layers of which maps are made:

- `strided`, smaller than the input: resizing is compared. `ScoreCAM` is not asked there: it resizes
  masks from corner to corner of the image, and maps from middle to middle of places, as we do both.
- `centred`, of the input's size, each channel of mean zero over the places: `EigenCAM` centres what
  it is given, the paper and we do not. Here both are the same.

The last layer is scaled up, as `GradCAMPlusPlus` adds 1e-6 to a denominator of squared gradients.
"""

from pathlib import Path

import numpy as np
import pytorch_grad_cam
import torch
from grad_cam_cases import METHODS, NEURON, SIZE
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn


class Network(nn.Module):
    """Convolutions, the first of which is normalised for each channel, and a dense layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.centred = nn.InstanceNorm2d(4, eps=1e-3)
        self.second = nn.Conv2d(4, 5, 2, stride=2)
        self.strided = nn.ReLU()
        self.third = nn.Conv2d(5, 4, 2)
        self.last = nn.ReLU()
        self.dense = nn.Linear(4 * 3 * 2, 3)

    def forward(self, x):
        x = self.strided(self.second(self.centred(self.first(x))))
        x = self.last(self.third(x)).permute(0, 2, 3, 1)
        return self.dense(x.flatten(1))


def weights(network: Network) -> dict:
    """The weights in the layout of Keras, by layer."""
    found = {}
    for name in ("first", "second", "third", "dense"):
        layer = getattr(network, name)
        kernel = layer.weight.detach().numpy()
        found[f"{name}/kernel"] = kernel.T if kernel.ndim == 2 else kernel.transpose(2, 3, 1, 0)
        found[f"{name}/bias"] = layer.bias.detach().numpy()
    return found


def main():
    torch.manual_seed(3)
    network = Network().eval()
    with torch.no_grad():
        network.dense.weight *= 20
    x = torch.randn(4, 2, *SIZE)
    targets = [ClassifierOutputTarget(NEURON)] * len(x)
    found = weights(network) | {"x": x.permute(0, 2, 3, 1).numpy()}
    for ours, theirs in METHODS.items():
        for layer in ("strided", "centred"):
            if (ours, layer) in (("score_cam", "strided"), ("eigen_cam", "strided")):
                continue
            make = getattr(pytorch_grad_cam, theirs)
            with make(model=network, target_layers=[getattr(network, layer)]) as cam:
                found[f"{ours}/{layer}"] = cam(input_tensor=x, targets=targets)
    guided = pytorch_grad_cam.GuidedBackpropReLUModel(network, device="cpu")
    found["guided"] = np.stack([guided(one[None], NEURON) for one in x])
    np.savez_compressed(Path(__file__).parent / "grad_cam.npz", **found)


if __name__ == "__main__":
    main()
