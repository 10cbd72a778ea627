"""One photograph explained by every kind of method: writes docs/images/methods/<name>.jpg.

The network, the photograph and the arguments are those of examples/imagenet_methods.py. Takes
about five minutes.
"""

import sys
from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import innvestigate
from innvestigate.visualization import plot_heatmap

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "examples"))

from efficientnet_lite import efficientnet_lite  # noqa: E402
from imagenet_methods import ARGUMENTS, crops, load_photograph, preprocess  # noqa: E402

FOLDER = HERE / "images" / "methods"
PHOTOGRAPH = "coffee.png"
SIDE = 240
METHODS = (
    *("gradient", "saliency", "input_t_gradient", "deconvnet", "guided_backprop"),
    *("integrated_gradients", "expected_gradients", "smoothgrad", "occlusion", "rise"),
    *("shapley_sampling", "kernel_shap", "lime"),
    *("lrp.epsilon", "lrp.gamma", "lrp.z_plus", "lrp.alpha_1_beta_0", "lrp.alpha_2_beta_1"),
    *("lrp.sequential_preset_a_flat", "lrp.sequential_preset_b_flat", "lrp.epsilon_plus_flat"),
    *("lrp.epsilon_gamma_box", "lrp.excitation_backprop", "deep_taylor", "deep_taylor.bounded"),
    *("deeplift", "deeplift.reveal_cancel", "pattern.net", "pattern.attribution"),
)


def explain(name: str, model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The relevance of the first image by one method."""
    arguments = dict(ARGUMENTS.get(name, {}))
    if name == "expected_gradients":
        arguments |= {"reference_inputs": crops(32, images.shape[1])[None], "seed": 0}
    analyzer = innvestigate.create_analyzer(name, model, **arguments)
    if name.startswith("pattern"):
        analyzer.fit(crops(200, images.shape[1]))
    relevance = analyzer.analyze(images)[0]
    # RISE is a mean of outputs, all of one sign: where it is above average is what there is to see.
    return relevance - relevance.mean() if name == "rise" else relevance


def draw(relevance: np.ndarray, path: Path) -> None:
    """A heatmap without a frame."""
    figure = plt.figure(figsize=(1, 1), dpi=SIDE)
    axes = figure.add_axes((0, 0, 1, 1))
    plot_heatmap(relevance, axes)
    axes.set_axis_off()
    figure.savefig(path, pil_kwargs={"quality": 88})
    plt.close(figure)


def main() -> None:
    mpl.use("Agg")
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = efficientnet_lite(0)
    photograph = load_photograph(PHOTOGRAPH, model.input_shape[1])
    Image.fromarray(photograph).resize((SIDE, SIDE)).save(FOLDER / "input.jpg", quality=90)
    logits = innvestigate.model_wo_softmax(model)
    for name in METHODS:
        draw(explain(name, logits, preprocess(photograph[None])), FOLDER / f"{name}.jpg")
        print(name, flush=True)


if __name__ == "__main__":
    main()
