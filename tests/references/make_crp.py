"""Writes the reference values of zennit-crp, `crp/<network>.npz`.

    pip install torch==2.13.0 torchvision numpy pillow zennit==0.4.6 zennit-crp==0.6.0
    python tests/references/make_crp.py

Made with Python 3.11, CPU, float64. The epsilon of dense layers is 1e-6.
For each channel of a layer the heatmap of that channel alone, and for each pair of layers in
`crp_cases.CONDITIONS` what passes both.
"""

from pathlib import Path

import cases
import crp_cases
import networks
import numpy as np
import torch
from crp.attribution import CondAttribution
from torch_networks import build
from zennit import composites

FOLDER = Path(__file__).parent / "crp"
COMPOSITES = {
    "lrp.epsilon_plus": composites.EpsilonPlus,
    "lrp.epsilon_alpha_2_beta_1": composites.EpsilonAlpha2Beta1,
}


def heatmap(attribution, x, conditions, composite):
    """Relevance of each sample's neuron `cases.INDEX` through some channels."""
    x = x.clone().requires_grad_(True)
    asked = [{"y": [cases.INDEX], **conditions}] * len(x)
    attribution(x, asked, composite)
    return x.grad.numpy()


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, found in crp_cases.CONDITIONS.items():
        attribution = CondAttribution(build(name))
        x = torch.tensor(networks.inputs(name)).double()
        values = {}
        for method, composite in COMPOSITES.items():
            asked = [crp_cases.in_torch(conditions, name) for conditions in found]
            maps = [heatmap(attribution, x, conditions, composite()) for conditions in asked]
            values[method] = np.array(maps, "float32")
        np.savez_compressed(FOLDER / f"{name}.npz", **values)
        print(name, {method: v.shape for method, v in values.items()})


if __name__ == "__main__":
    main()
