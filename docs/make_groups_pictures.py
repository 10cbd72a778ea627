"""Superpixels as features: writes docs/images/groups/<name>.jpg, in about a minute.

The network and the photograph are those of make_pictures.py.
"""

import matplotlib as mpl
import numpy as np
from efficientnet_lite import efficientnet_lite
from imagenet_methods import load_photograph, preprocess
from make_pictures import HERE, PHOTOGRAPH, SIDE, draw
from PIL import Image
from skimage.segmentation import mark_boundaries, slic

import innvestigate

FOLDER = HERE / "images" / "groups"
METHODS = {
    "occlusion": {},
    "shapley_sampling": {"samples": 4, "seed": 0},
    "kernel_shap": {"samples": 400, "seed": 0},
    "lime": {"samples": 400, "seed": 0},
}


def superpixels(images: np.ndarray) -> np.ndarray:
    """About fifty superpixels in each of the network's images, (batch, height, width, 1)."""
    pixels = (images * 128 + 127).astype("uint8")
    found = [slic(image, n_segments=60, compactness=10) for image in pixels]
    return np.stack(found)[..., None]


def main() -> None:
    mpl.use("Agg")
    FOLDER.mkdir(parents=True, exist_ok=True)
    model = efficientnet_lite(0)
    photograph = load_photograph(PHOTOGRAPH, model.input_shape[1])
    images = preprocess(photograph[None])
    labels = superpixels(images)
    lines = mark_boundaries(photograph, labels[0, ..., 0], color=(1, 1, 1))
    picture = Image.fromarray((255 * lines).astype("uint8"))
    picture.resize((SIDE, SIDE)).save(FOLDER / "superpixels.jpg", quality=90)
    print(len(np.unique(labels)), "superpixels")
    logits = innvestigate.model_wo_softmax(model)
    for name, arguments in METHODS.items():
        analyzer = innvestigate.create_analyzer(name, logits, groups=superpixels, **arguments)
        draw(analyzer.analyze(images)[0], FOLDER / f"{name}.jpg")
        print(name, flush=True)


if __name__ == "__main__":
    main()
