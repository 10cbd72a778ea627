"""One photograph explained by every kind of method: writes docs/images/methods/<name>.jpg.

Three photographs with their Grad-CAM maps, too: maps.jpg. The network, the photographs and the
arguments are those of examples/imagenet_methods.py. Takes about seven minutes.
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
    *("grad_cam", "grad_cam_plus_plus", "layer_cam", "eigen_cam", "score_cam", "guided_grad_cam"),
)
WITH_MAPS = ("chelsea.png", "coffee.png", "rocket.jpg")


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


def draw_maps(model: keras.Model, path: Path) -> None:
    """Photographs, and below them their Grad-CAM maps on top of them."""
    size = model.input_shape[1]
    photographs = np.stack([load_photograph(name, size) for name in WITH_MAPS])
    maps = innvestigate.create_analyzer("grad_cam", model).analyze(preprocess(photographs))
    figure, axes = plt.subplots(2, len(maps), figsize=(len(maps), 2), dpi=SIDE)
    figure.subplots_adjust(0, 0, 1, 1, wspace=0.02, hspace=0.02)
    for photograph, found, (above, below) in zip(photographs, maps, axes.T, strict=True):
        above.imshow(photograph)
        above.set_axis_off()
        plot_heatmap(found, below, image=photograph)
        below.set_axis_off()
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
    draw_maps(logits, FOLDER / "maps.jpg")


if __name__ == "__main__":
    main()
