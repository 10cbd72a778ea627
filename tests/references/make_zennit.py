"""Writes the reference values of Zennit, `zennit/<network>.npz`.

    pip install torch==2.13.0 numpy pillow && pip install --no-deps zennit==0.5.1
    python tests/references/make_zennit.py

CPU, float64. Stabilisers are 1e-12 instead of 1e-6, which leaves the rules alone; the epsilon of
dense layers is the 1e-6 that both programs default to.
"""

import itertools
import sys
from pathlib import Path
from unittest import mock

import cases
import networks
import numpy as np
import torch
from torch import nn

# Zennit imports torchvision for canonizers of its models, none of which are used here.
for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
    sys.modules.setdefault(name, mock.MagicMock())

from zennit import composites, rules  # noqa: E402
from zennit.attribution import Gradient  # noqa: E402
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.layer import Sum  # noqa: E402
from zennit.types import Activation, BatchNorm, Linear  # noqa: E402

TINY = 1e-12
BATCH_NORM_EPSILON = 1e-3
FOLDER = Path(__file__).parent / "zennit"


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


def gamma(value):
    """LRP-gamma in every linear layer."""
    layer_map = composites.layer_map_base(TINY)
    rule = rules.Gamma(gamma=value, stabilizer=TINY)
    return lambda **kwargs: composites.LayerMapComposite([*layer_map, (Linear, rule)], **kwargs)


def preset(name, **options):
    """A composite of Zennit's own."""
    make = getattr(composites, name)
    return lambda **kwargs: make(stabilizer=TINY, **options, **kwargs)


COMPOSITES = {
    "lrp.gamma, 0": gamma(0.0),
    "lrp.gamma, 0.25": gamma(0.25),
    "lrp.gamma, 1": gamma(1.0),
    "lrp.gamma, 100": gamma(100.0),
    "lrp.epsilon_plus": preset("EpsilonPlus"),
    "lrp.epsilon_plus_flat": preset("EpsilonPlusFlat"),
    "lrp.epsilon_gamma_box": preset("EpsilonGammaBox", **cases.BOX),
    "lrp.epsilon_gamma_box, 1": preset("EpsilonGammaBox", **cases.BOX, gamma=1.0),
    "lrp.epsilon_alpha_2_beta_1": preset("EpsilonAlpha2Beta1"),
    # Biases are no inputs in the paper. Activations and BatchNormalizations that are left pass
    # relevance, as in Zennit's other composites; in this one they take the gradient.
    "lrp.excitation_backprop": preset(
        "ExcitationBackprop",
        zero_params=["bias"],
        layer_map=[(Activation, rules.Pass()), (BatchNorm, rules.Pass())],
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


def start(mode):
    """The relevance of the outputs: those selected, weighted by their value."""

    def relevance(output):
        if mode == "all":
            return output
        chosen = (
            output.argmax(-1)
            if mode == "max_activation"
            else torch.full(output.shape[:1], cases.INDEX)
        )
        return output * nn.functional.one_hot(chosen, output.shape[-1])

    return relevance


def explain(model, x, make, mode):
    """Output and relevance in one mode."""
    composite = make(canonizers=[SequentialMergeBatchNorm()])
    with Gradient(model=model, composite=composite) as attributor:
        return [t.detach().numpy() for t in attributor(x, start(mode))]


def main():
    FOLDER.mkdir(exist_ok=True)
    for name in NETWORKS:
        model = build(name)
        x = torch.tensor(networks.inputs(name)).double()
        found = [
            [explain(model, x, make, mode) for mode in cases.MODES] for make in COMPOSITES.values()
        ]
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            labels=list(COMPOSITES),
            values=np.array([[r for _, r in row] for row in found], "float32"),
            output=found[0][0][0].astype("float32"),
        )
        print(name, found[0][0][0].round(4).tolist())


if __name__ == "__main__":
    main()
