"""Writes the reference values of Zennit, `zennit/<network>.npz`.

    pip install torch==2.13.0 numpy pillow && pip install --no-deps zennit==0.5.1
    python tests/references/make_zennit.py

CPU, float64. Stabilisers are 1e-12 instead of 1e-6, which leaves the rules alone; the epsilon of
dense layers is the 1e-6 that both programs default to.
"""

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

from torch_networks import NETWORKS, build  # noqa: E402
from zennit import composites, rules  # noqa: E402
from zennit.attribution import Gradient  # noqa: E402
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.types import Activation, BatchNorm, Linear  # noqa: E402

TINY = 1e-12
FOLDER = Path(__file__).parent / "zennit"


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
