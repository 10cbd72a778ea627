"""The networks of `networks.py` in torch, as Zennit wants them."""

import itertools

import networks
import numpy as np
import torch
from torch import nn
from zennit.layer import Sum

BATCH_NORM_EPSILON = 1e-3


class Channels(nn.Module):
    """Moves the channels of an image to another place."""

    def __init__(self, *order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x.permute(self.order)


class Residual(nn.Module):
    """A residual block as Zennit wants it: the sum is a module."""

    def __init__(self, stem, block, head):
        super().__init__()
        self.stem, self.block, self.sum, self.head = stem, block, Sum(), head

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.sum(torch.stack([x, self.block(x)], dim=-1)))


def conv(channels, filters, size, padding="valid"):
    return nn.Conv2d(channels, filters, size, padding=padding)


def flat():
    """The order in which Keras flattens an image."""
    return Channels(0, 2, 3, 1), nn.Flatten()


NETWORKS = {
    "mlp": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 4)
    ),
    "cnn": lambda: nn.Sequential(
        *(Channels(0, 3, 1, 2), conv(2, 4, 2), nn.ReLU(), nn.MaxPool2d(2, stride=1)),
        *(conv(4, 5, 2), nn.ReLU(), *flat(), nn.Linear(10, 4)),
    ),
    "cnn_bn": lambda: nn.Sequential(
        *(Channels(0, 3, 1, 2), conv(2, 4, 2), nn.BatchNorm2d(4), nn.ReLU()),
        *(conv(4, 5, 2, "same"), nn.ReLU(), nn.BatchNorm2d(5), nn.AvgPool2d(2, stride=1)),
        *(*flat(), nn.Linear(30, 4)),
    ),
    "residual": lambda: Residual(
        nn.Sequential(Channels(0, 3, 1, 2), conv(2, 4, 3, "same"), nn.ReLU()),
        nn.Sequential(conv(4, 4, 3, "same"), nn.ReLU(), conv(4, 4, 3, "same")),
        nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)),
    ),
}


def build(name):
    """A network with the weights that `networks.build` gives its twin in Keras."""
    model = NETWORKS[name]()
    arrays = itertools.count()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            out, channels, *size = module.weight.shape
            kernel, bias = networks.weights([(*size, channels, out), (out,)], arrays)
            _assign(module, weight=kernel.transpose(3, 2, 0, 1), bias=bias)
        elif isinstance(module, nn.Linear):
            kernel, bias = networks.weights([module.weight.T.shape, module.bias.shape], arrays)
            _assign(module, weight=kernel.T, bias=bias)
        elif isinstance(module, nn.BatchNorm2d):
            values = networks.weights([tuple(module.weight.shape)] * 4, arrays, norm=True)
            names = "weight", "bias", "running_mean", "running_var"
            _assign(module, **dict(zip(names, values, strict=True)))
            # In the variance, so that a merged layer is the identity exactly.
            module.running_var += BATCH_NORM_EPSILON
            module.eps = 0.0
    return model.double().eval()


def _assign(module, **values):
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.tensor(np.ascontiguousarray(value)))
