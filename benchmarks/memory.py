"""Peak memory of methods that run many variants of a sample: a few of them against many.

    python benchmarks/memory.py [--methods integrated_gradients,occlusion]

Each measurement is the peak resident memory of a process of its own that explains two images of
224 x 224 with a small convolutional network, 32 rows at a time. Many variants must not take more
memory than few: the last column is the ratio. The table goes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from keras import layers
from measure import in_own_process, markdown, peak_memory, replace_table, seconds

import innvestigate

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
SIZE = 224


def background(count: int) -> np.ndarray:
    """References for all samples, as the methods take them."""
    return np.random.default_rng(1).uniform(0, 1, (1, count, SIZE, SIZE, 3)).astype("float32")


def blocks(size: int) -> np.ndarray:
    """Labels of square groups of pixels."""
    rows = np.arange(SIZE) // size
    return (rows[:, None] * SIZE + rows)[:, :, None]


# Method: what the count is, a small and a large count, and the arguments for a count.
CASES = {
    "integrated_gradients": ("steps", 20, 2000, lambda n: {"steps": n}),
    "smoothgrad": ("draws", 20, 500, lambda n: {"augment_by_n": n}),
    "smoothgrad (variance)": (
        *("draws", 20, 500),
        lambda n: {"augment_by_n": n, "reduce": "variance"},
    ),
    "expected_gradients": (
        *("draws from 20 references", 20, 500),
        lambda n: {"samples": n, "reference_inputs": background(20)},
    ),
    "occlusion": (
        *("8 x 8 windows", 196, 3025),
        lambda n: {"window_shape": (8, 8, 3), "step": ({196: 16, 3025: 4}[n],) * 2 + (1,)},
    ),
    "shapley_sampling": (
        *("orders of 49 features", 2, 20),
        lambda n: {"samples": n, "groups": blocks(32)},
    ),
}


def network() -> keras.Model:
    """Three convolutions and a dense layer."""
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(n, 3, strides=2, activation="relu") for n in (8, 16, 32)]
    head = layers.GlobalAveragePooling2D(), layers.Dense(10)
    return keras.Sequential([layers.Input((SIZE, SIZE, 3)), *parts, *head])


def worker(name: str, count: int) -> dict:
    """Measure one method with one number of variants."""
    arguments = CASES[name][3](count)
    analyzer = innvestigate.create_analyzer(name.split(" ")[0], network(), **arguments)
    x = np.random.default_rng(0).uniform(0, 1, (2, SIZE, SIZE, 3)).astype("float32")
    time = seconds(lambda: analyzer.analyze(x, batch_size=32))
    return {"memory": peak_memory(), "seconds": time}


def row(name: str) -> list[str]:
    """One line of the table."""
    what, few, many, _ = CASES[name]
    found = [in_own_process(__file__, name, str(count)) for count in (few, many)]
    failed = [result["error"] for result in found if "error" in result]
    if failed:
        return [name, what, failed[0], "", "", ""]
    memory = [result["memory"] for result in found]
    cells = [
        f"{n}: {m:.0f} MiB, {r['seconds']:.0f} s"
        for n, m, r in zip((few, many), memory, found, strict=True)
    ]
    return [name, what, *cells, f"{memory[1] / memory[0]:.2f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(CASES))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(arguments.worker[0], int(arguments.worker[1]))))
        return
    rows = []
    for name in arguments.methods.split(","):
        rows.append(row(name))
        print(" | ".join(rows[-1]), flush=True)
    replace_table(PAGE, markdown(["method", "many what", "few", "many", "ratio"], rows), "memory")


if __name__ == "__main__":
    main()
