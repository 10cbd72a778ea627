"""Time and memory of every method as a ratio to one gradient of the same model in the same run.

    python benchmarks/bench.py [--models VGG16,ResNet50] [--methods gradient,lrp.epsilon]

Each pair of model and method runs in a process of its own. The ratio of times is the median over
pairs (method, GradientTape) timed in turn; peak memory is that of the whole process, as a ratio to
a process that only takes the gradient; the time to the first result counts creating the analyzer.
The limit is what the operations alone would cost, one forward pass being half a gradient.
"""

from __future__ import annotations

import argparse
import json
import warnings

import numpy as np
from measure import build, images, in_own_process, markdown, peak_memory, seconds

import innvestigate

MODELS = ("VGG16", "ResNet50", "EfficientNetB0", "DenseNet121")
LIMITS = {
    "gradient": 1.0,
    "input_t_gradient": 1.0,
    "guided_backprop": 1.0,
    "lrp.z": 1.0,
    "lrp.epsilon": 1.0,
    "lrp.z_plus": 1.5,
    "lrp.alpha_1_beta_0": 1.5,
    "lrp.alpha_2_beta_1": 2.5,
    "lrp.sequential_preset_a_flat": 1.5,
    "lrp.sequential_preset_b_flat": 2.5,
    "deep_taylor": 1.5,
}
BATCH = 8
PAIRS = 7


def tape_gradient(model):
    """The gradient that everything is compared with: one compiled GradientTape."""
    import tensorflow as tf

    @tf.function(jit_compile=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_max(model(x, training=False), axis=-1)
        return tape.gradient(y, x)

    return lambda x: gradient(tf.constant(x)).numpy()


def worker(model_name: str, method: str) -> dict:
    """Measure one method on one model."""
    warnings.simplefilter("ignore")
    model = build(model_name)
    x = images(model, BATCH)
    if method == "tape":
        gradient = tape_gradient(model)
        first = seconds(lambda: gradient(x))
        for _ in range(2):
            gradient(x)
        return {"first": first, "memory": peak_memory()}
    analyzers = []

    def first_result():
        analyzers.append(innvestigate.create_analyzer(method, model))
        analyzers[0].analyze(x)

    first = seconds(first_result)
    for _ in range(2):
        analyzers[0].analyze(x)
    memory = peak_memory()
    gradient = tape_gradient(model)
    gradient(x)
    ratios = [
        seconds(lambda: analyzers[0].analyze(x)) / seconds(lambda: gradient(x))
        for _ in range(PAIRS)
    ]
    return {"first": first, "memory": memory, "ratio": float(np.median(ratios))}


def row(model_name: str, method: str, tape: dict) -> list[str]:
    """One line of the table."""
    found = in_own_process(__file__, model_name, method)
    if "error" in found:
        return [model_name, method, found["error"], "", "", f"{LIMITS[method]:.1f}"]
    ratios = (found["ratio"], found["memory"] / tape["memory"], found["first"] / tape["first"])
    return [model_name, method, *(f"{ratio:.2f}" for ratio in ratios), f"{LIMITS[method]:.1f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--methods", default=",".join(LIMITS))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    rows = []
    for model_name in arguments.models.split(","):
        tape = in_own_process(__file__, model_name, "tape")
        for method in arguments.methods.split(","):
            rows.append(row(model_name, method, tape))
            print(" ".join(rows[-1]), flush=True)
    print()
    print(markdown(["model", "method", "time", "peak memory", "first result", "limit"], rows))


if __name__ == "__main__":
    main()
