"""Time and memory of fitting patterns.

    python benchmarks/pattern_fit.py [--models small,VGG16]

The time of one batch is given as a ratio to one training step (`train_on_batch`, compiled) of the
same model on the same batch: the median over pairs timed in turn. It should be at most 2.5. The
memory is the peak of a process that fits a small model to 6,000 images, and to 60,000, as they
come out of a generator. The tables go into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import layers
from measure import (
    build,
    images,
    in_own_process,
    markdown,
    peak_memory,
    replace_table,
    seconds,
)

import innvestigate

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
MODELS = ("small", "VGG16", "ResNet50")
COUNTS = (6_000, 60_000)
BATCH = 32
PAIRS = 7


def network(name: str) -> keras.Model:
    """A network of keras.applications, or a small one for images of 28 x 28 pixels."""
    if name != "small":
        return build(name)
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def time_of_a_batch(name: str, batch: int) -> dict:
    """Seconds of one batch of a fit and of one training step, and the median of their ratio."""
    model = network(name)
    x = images(model, batch)
    y = np.arange(batch) % model.output_shape[-1]
    analyzer = innvestigate.create_analyzer("pattern.net", model)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    for _ in range(2):
        analyzer.partial_fit(x)
        model.train_on_batch(x, y)
    pairs = [
        (seconds(lambda: analyzer.partial_fit(x)), seconds(lambda: model.train_on_batch(x, y)))
        for _ in range(PAIRS)
    ]
    fit, train = np.median(pairs, axis=0)
    ratio = np.median([fit / train for fit, train in pairs])
    return {"fit": float(fit), "train": float(train), "ratio": float(ratio)}


def memory_of_a_fit(count: int) -> dict:
    """Peak memory after a number of images, in MiB."""
    model = network("small")
    random = np.random.default_rng(0)
    shape = (100, *model.input_shape[1:])
    analyzer = innvestigate.create_analyzer("pattern.net", model)
    stream = (random.random(shape, "float32") for _ in range(count // 100))
    time = seconds(lambda: analyzer.fit(stream))
    return {"memory": peak_memory(), "samples": analyzer.statistics.samples, "seconds": time}


def worker(what: str, argument: str) -> dict:
    """One measurement."""
    warnings.simplefilter("ignore")
    if what == "memory":
        return memory_of_a_fit(int(argument))
    return time_of_a_batch(what, BATCH if what == "small" else int(argument))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batch", default="8", help="batch size of the networks other than small")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    rows = []
    for name in arguments.models.split(","):
        found = in_own_process(__file__, name, arguments.batch)
        numbers = [f"{found[key]:.2f}" for key in ("fit", "train", "ratio") if key in found]
        rows.append([name, *(numbers or [found["error"], "", ""])])
        print(" ".join(rows[-1]), flush=True)
    peaks = {count: in_own_process(__file__, "memory", str(count)) for count in COUNTS}
    table = [[f"{c:,}", f"{p['memory']:.0f}", f"{p['seconds']:.0f}"] for c, p in peaks.items()]
    text = markdown(["model", "fit, s per batch", "training step, s", "ratio"], rows)
    text += "\n\n" + markdown(["images", "peak memory, MiB", "seconds"], table)
    replace_table(PAGE, text, "patterns")


if __name__ == "__main__":
    main()
