"""How time and memory grow: with depth, width, length, batch, steps, references and windows.

    python benchmarks/growth.py [--axes depth,width]

Every point is a process of its own: the median time of a batch, and the most memory that the
process held. Beside each method the plain compiled gradient of the same model and batch. On axes
with logarithms a power of the size is a straight line; the table has its exponent, the slope
between the smallest and the largest size. What was found is kept in
benchmarks/results/growth.json, and sizes that it holds are not run again; the table goes into
docs/performance.md, the pictures into docs/images.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import matplotlib.pyplot as plt
import numpy as np
from bench import tape_gradient
from keras import layers
from matplotlib.ticker import LogLocator
from measure import (
    images,
    in_own_process,
    markdown,
    peak_memory,
    read,
    replace_table,
    seconds,
    write,
)

import innvestigate

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "growth.json"
PAGE = HERE.parent / "docs" / "performance.md"
IMAGES = HERE.parent / "docs" / "images"
GRADIENT = "plain gradient"
RUNS = 5


class Axis(NamedTuple):
    """What grows.

    Attributes:
        unit: What is counted.
        sizes: How many of it.
        method: The method that is measured.
        make: From a size to a model, its samples and the method's arguments.
    """

    unit: str
    sizes: tuple[int, ...]
    method: str
    make: Callable[[int], tuple[keras.Model, np.ndarray, dict[str, Any]]]


def convolutional(depth=8, width=32, batch=8, **arguments) -> tuple:
    """Convolutions with BatchNormalization on images of 32 x 32."""
    keras.utils.set_random_seed(0)
    parts: list = []
    for _ in range(depth):
        parts.append(layers.Conv2D(width, 3, padding="same", use_bias=False))
        parts += [layers.BatchNormalization(), layers.ReLU()]
    head = layers.GlobalAveragePooling2D(), layers.Dense(10)
    model = keras.Sequential([layers.Input((32, 32, 3)), *parts, *head])
    return model, images(model, batch), arguments


def attending(length: int) -> tuple:
    """Two blocks of a transformer of width 64 on sequences."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((length, 64))
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(64)(layers.Dense(256, "gelu")(x)))
    model = keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))
    return model, images(model, 4), {}


def references(count: int) -> np.ndarray:
    """References that all samples share."""
    return np.random.default_rng(1).uniform(size=(1, count, 32, 32, 3)).astype("float32")


def windows(count: int) -> dict:
    """Windows of 4 x 4, so many of them."""
    step = 28 // (round(count**0.5) - 1)
    return {"window_shape": (4, 4, 3), "step": (step, step, 1)}


AXES = {
    "depth": Axis("convolutions", (4, 8, 16, 32, 64), "lrp.epsilon", lambda n: convolutional(n)),
    "width": Axis("channels", (16, 32, 64, 128), "lrp.epsilon", lambda n: convolutional(width=n)),
    "length": Axis("tokens", (64, 128, 256, 512), "lrp.attn", attending),
    "batch": Axis("samples", (4, 16, 64, 256), "lrp.epsilon", lambda n: convolutional(batch=n)),
    "steps": Axis(
        *("steps", (8, 32, 128, 512), "integrated_gradients"),
        lambda n: convolutional(4, steps=n),
    ),
    "references": Axis(
        *("references", (1, 4, 16, 64), "deeplift"),
        lambda n: convolutional(4, reference_inputs=references(n)),
    ),
    "windows": Axis(
        *("windows", (4, 25, 64, 225), "occlusion"),
        lambda n: convolutional(4, **windows(n)),
    ),
}


def worker(axis: str, size: str, method: str) -> dict:
    """Time and memory of a method, or of the gradient."""
    warnings.simplefilter("ignore")
    model, x, arguments = AXES[axis].make(int(size))
    if method == GRADIENT:
        gradient = tape_gradient(model)
        run = lambda: gradient(x)  # noqa: E731
    else:
        analyzer = innvestigate.create_analyzer(method, model, **arguments)
        run = lambda: analyzer.analyze(x, batch_size=max(32, len(x)))  # noqa: E731
    run()
    time = float(np.median([seconds(run) for _ in range(RUNS)]))
    return {"seconds": time, "memory": peak_memory()}


def measure(axis: str, found: dict) -> None:
    """The numbers of an axis, by method and size, kept as they come."""
    for method in (AXES[axis].method, GRADIENT):
        held = found.setdefault(axis, {}).setdefault(method, {})
        for size in map(str, AXES[axis].sizes):
            held[size] = held.get(size) or in_own_process(__file__, axis, size, method)
            print(axis, size, method, held[size], flush=True)
            write(RESULTS, found)


def slope(numbers: dict, what: str) -> float:
    """The exponent p of time or memory ~ size^p, between the smallest and the largest size."""
    sizes = list(numbers)
    sizes = [min(sizes, key=int), max(sizes, key=int)]
    values = [numbers[size][what] for size in sizes]
    return float(np.log(values[1] / values[0]) / np.log(int(sizes[1]) / int(sizes[0])))


def table(found: dict) -> str:
    """Exponents of the time, and the memory at both ends."""
    header = ["what grows", "method", "time ~ sizeᵖ, p", "of the gradient", "peak memory, MiB"]
    rows = []
    for name, by_method in found.items():
        axis = AXES[name]
        own = by_method[axis.method]
        ends = f"{axis.sizes[0]} to {axis.sizes[-1]} {axis.unit}"
        powers = [f"{slope(by_method[m], 'seconds'):.2f}" for m in (axis.method, GRADIENT)]
        memory = " to ".join(f"{own[str(n)]['memory']:,.0f}" for n in axis.sizes[:: len(own) - 1])
        rows.append([ends, f"`{axis.method}`", *powers, memory])
    return markdown(header, rows)


def draw(found: dict, what: str, label: str) -> None:
    """A panel for each axis: time or memory of the method and of the gradient."""
    figure, axes = plt.subplots(2, 4, figsize=(9, 4.4), layout="constrained")
    for ax, (name, by_method) in zip(axes.flat, found.items(), strict=False):
        for method, style in ((AXES[name].method, "o-"), (GRADIENT, "s--")):
            sizes = sorted(map(int, by_method[method]))
            values = [by_method[method][str(n)][what] for n in sizes]
            colour = "0.6" if method == GRADIENT else "C0"
            ax.plot(sizes, values, style, color=colour, label=method, markersize=4)
        ax.set(xscale="log", xlabel=AXES[name].unit)
        if what == "memory":  # most of which is the process itself
            ax.set_ylim(0, 1.1 * max(line.get_ydata().max() for line in ax.lines))
        else:
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            ax.yaxis.set_major_formatter("{x:g}")
        ax.set_xticks(AXES[name].sizes, map(str, AXES[name].sizes))
        ax.minorticks_off()
        ax.set_title(AXES[name].method, fontsize=9)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[:, 0]:
        ax.set_ylabel(label)
    for ax in axes.flat[len(found) :]:
        ax.axis("off")
        ax.plot([], [], "o-", color="C0", label="the method")
        ax.plot([], [], "s--", color="0.6", label=GRADIENT)
        ax.legend(loc="center", frameon=False)
    figure.savefig(IMAGES / f"performance_growth_{what}.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", default=",".join(AXES))
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    found = read(RESULTS)
    for name in arguments.axes.split(","):
        measure(name, found)
    replace_table(PAGE, table(found), "growth")
    draw(found, "seconds", "seconds a batch")
    draw(found, "memory", "peak memory, MiB")


if __name__ == "__main__":
    main()
