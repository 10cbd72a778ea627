"""The channels that speak most for "tiger cat" in a photograph: writes docs/images/concepts.jpg.

The network and the photograph are those of examples/imagenet_methods.py, the samples in which
channels count most are found among pieces of the photographs there. Takes about two minutes.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

import innvestigate
from innvestigate.analyzer import concept_relevance, reference_samples
from innvestigate.visualization import plot_concepts

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from efficientnet_lite import efficientnet_lite  # noqa: E402
from imagenet_methods import ARGUMENTS, crops, load_photograph, preprocess  # noqa: E402

METHOD, LAYER = "lrp.epsilon_gamma_box", "blocks.11.expand_conv_relu"
CLASS = 282  # tiger cat
CHANNELS, SAMPLES, PIECES = 4, 5, 400


def main() -> None:
    mpl.use("Agg")
    model = innvestigate.model_wo_softmax(efficientnet_lite(0))
    side = model.input_shape[1]
    photograph, pieces = load_photograph("chelsea.png", side), crops(PIECES, side)
    x = preprocess(photograph[None])
    options = {"neuron_selection_mode": "index", **ARGUMENTS[METHOD]}
    analyzer = innvestigate.create_analyzer(METHOD, model, **options)
    at_layer = analyzer.rebuilt(layers=[LAYER])
    relevance = concept_relevance(at_layer, x, CLASS, layer=LAYER)[0]
    top = np.argsort(-relevance)[:CHANNELS]
    print({int(c): round(float(relevance[c] / relevance.sum()), 3) for c in top})
    heatmaps = [analyzer.analyze(x, CLASS, conditions={LAYER: c})[0] for c in top]
    found = reference_samples(at_layer, pieces, CLASS, layer=LAYER, k=SAMPLES, verbose=1)
    best = found.samples[top]
    maps = [
        analyzer.analyze(pieces[samples], CLASS, conditions={LAYER: c})
        for c, samples in zip(top, best, strict=True)
    ]
    figure = plot_concepts(
        photograph,
        np.stack(heatmaps),
        (pieces[best] + 1) / 2,
        reference_heatmaps=np.stack(maps),
        names=[f"channel {c}" for c in top],
        cell=1.3,
    )
    figure.savefig(HERE / "images" / "concepts.jpg", dpi=110, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
