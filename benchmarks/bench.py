"""What a method costs: time, peak memory and time to the first result, as ratios to one gradient.

    python benchmarks/bench.py [--models VGG16,ResNet50] [--methods gradient,lrp.epsilon]

Eight images of 224 x 224; sixteen texts of 128 tokens for the networks of `sequences.py`. Each
method runs in a process of its own; the time is the median of pairs (method, GradientTape) timed in
turn; peak memory is that of the whole process, as a ratio to a process that only takes the
gradient; the time to the first result counts creating the analyzer.
The limit is what the operations alone would cost, one forward pass being half a gradient.

What was found is kept in benchmarks/results/bench.json; methods that it holds are not run again.
The table, with the columns of the peers where benchmarks/peers/run.py has filled them, goes into
docs/performance.md, its picture into docs/images, and a shorter table into the README.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import sequences
from measure import (
    build,
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
RESULTS = HERE / "results" / "bench.json"
PEERS = HERE / "results" / "peers.json"
PAGE = HERE.parent / "docs" / "performance.md"
PICTURE = HERE.parent / "docs" / "images" / "performance_time.png"
README = HERE.parent / "README.md"
MODELS = ("VGG16", "ResNet50", "EfficientNetB0", "DenseNet121")
LIMITS = {
    "gradient": 1.0,
    "input_t_gradient": 1.0,
    "guided_backprop": 1.0,
    "lrp.z": 1.0,
    "lrp.epsilon": 1.0,
    "lrp.attn": 1.0,
    "lrp.z_plus": 1.5,
    "lrp.alpha_1_beta_0": 1.5,
    "lrp.alpha_2_beta_1": 2.5,
    "lrp.sequential_preset_a_flat": 1.5,
    "lrp.sequential_preset_b_flat": 2.5,
    "deep_taylor": 1.5,
    "deeplift": 1.5,
    "deeplift.reveal_cancel": 3.0,
}
ATTENTION = ("gradient", "lrp.epsilon", "lrp.attn", "deeplift")
RECURRENT = ("gradient", "lrp.epsilon", "deeplift")
OTHERS = {
    "Llama": (sequences.llama, sequences.tokens, ATTENTION),
    "BERT": (sequences.bert, sequences.sentences, ("gradient", "lrp.attn")),
    "LSTM": (sequences.lstm, sequences.series, RECURRENT),
}
"""Networks on sequences: what makes one, what makes its data, and the methods measured."""
BATCH = 8
PAIRS = 5


def network(name: str) -> tuple:
    """A model and its data."""
    if name in OTHERS:
        make, data, _ = OTHERS[name]
        return make(), data()
    model = build(name)
    return model, images(model, BATCH)


def methods_of(name: str) -> tuple:
    """The methods that a model is measured with."""
    return OTHERS[name][2] if name in OTHERS else tuple(m for m in LIMITS if m != "lrp.attn")


def tape_gradient(model):
    """The gradient that everything is compared with: one compiled GradientTape.

    Where the model reads tokens, it is taken at the vectors that they are looked up as.
    """
    import tensorflow as tf

    look_up = lambda x: x  # noqa: E731
    if "int" in model.inputs[0].dtype:
        look_up = next(x for x in model.layers if isinstance(x, keras.layers.Embedding))
        model = keras.Model(look_up.output, model.output)

    @tf.function(jit_compile=False)
    def gradient(x):
        x = look_up(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_max(model(x, training=False), axis=-1)
        return tape.gradient(y, x)

    return lambda x: gradient(tf.constant(x)).numpy()


def worker(model_name: str, method: str) -> dict:
    """Measure one method on one model."""
    warnings.simplefilter("ignore")
    model, x = network(model_name)
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


def measure(model_name: str, method: str, found: dict) -> dict:
    """The ratios of one method on one model, or what went wrong."""
    own = in_own_process(__file__, model_name, method)
    if "error" in own:
        return own
    tape = found[model_name]["tape"]
    ratios = {key: own[key] / tape[key] for key in ("memory", "first")}
    return {"time": own["ratio"], **ratios}


def table(found: dict) -> str:
    """All that was measured, one line for each model and method."""
    peers = read(PEERS).get("rows", [])
    names = sorted({row["peer"] for row in peers})
    header = ["model", "method", "time", "limit", "peak memory", "first result", *names]
    rows = []
    for model_name, methods in found.items():
        for method in methods_of(model_name):
            own = methods.get(method, {})
            values = ["refuses" if "error" in own else _ratio(own.get("time"))]
            values.append(f"{LIMITS[method]:.1f}")
            values += [_ratio(own.get(key)) for key in ("memory", "first")]
            values += [_of_peer(peers, name, model_name, method) for name in names]
            rows.append([model_name, f"`{method}`", *values])
    return markdown(header, rows)


def draw(found: dict) -> None:
    """A panel for each model: the time of each method, and its limit as a mark."""
    rows = [[name for name in group if name in found] for group in (MODELS, OTHERS)]
    shown = [[m for m in LIMITS if any(m in methods_of(name) for name in row)] for row in rows]
    figure, axes = plt.subplots(
        *(2, 4), figsize=(9, 5.4), layout="constrained", height_ratios=[*map(len, shown)]
    )
    for panels, row, methods in zip(axes, rows, shown, strict=True):
        for ax, name in zip(panels, row, strict=False):
            times = [found[name].get(m, {}).get("time", 0) for m in methods]
            ax.barh(methods, times, color="C0", height=0.7)
            ax.plot([LIMITS[m] for m in methods], methods, "|", color="k", markersize=8)
            ax.set_title(name, fontsize=9)
            ax.tick_params(labelsize=7, labelleft=ax is panels[0])
            ax.set_xlim(0, 4.2)
            ax.invert_yaxis()
            ax.spines[["top", "right"]].set_visible(False)
        for ax in panels[len(row) :]:
            ax.axis("off")
            ax.plot([], [], "|", color="k", label="limit")
            ax.bar([0], [0], color="C0", label="time, in plain gradients")
            ax.legend(loc="center", frameon=False, fontsize=8)
    figure.savefig(PICTURE, dpi=150)


def summary(found: dict) -> str:
    """The times alone, one line for each method; the peers' on the first network and on others."""
    peers = read(PEERS).get("rows", [])
    shown = sorted(
        {(row["model"], row["peer"]) for row in peers if row["model"] in (MODELS[0], *OTHERS)},
        key=lambda pair: (pair[0] in OTHERS, pair),
    )
    header = ["method", "limit", *found, *(f"{model}: {peer}" for model, peer in shown)]
    rows = []
    for method, limit in LIMITS.items():
        own = [_ratio(methods.get(method, {}).get("time")) for methods in found.values()]
        others = [_of_peer(peers, peer, model, method) for model, peer in shown]
        rows.append([f"`{method}`", f"{limit:.1f}", *own, *others])
    return markdown(header, rows)


def _of_peer(peers: list, name: str, model_name: str, method: str) -> str:
    wanted = (name, model_name, method)
    for row in peers:
        if (row["peer"], row["model"], row["method"]) == wanted:
            return _what_peer_says(row["error"]) if "error" in row else _ratio(row["time"])
    return ""


def _what_peer_says(error: str) -> str:
    return "–" if "has no such method" in error else "refuses"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join((*MODELS, *OTHERS)))
    parser.add_argument("--methods", default=",".join(LIMITS))
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    found = read(RESULTS)
    for model_name in arguments.models.split(","):
        known = found.setdefault(model_name, {})
        if "tape" not in known:
            known["tape"] = in_own_process(__file__, model_name, "tape")
        wanted = arguments.methods.split(",")
        for method in [m for m in methods_of(model_name) if m in wanted]:
            if method not in known:
                known[method] = measure(model_name, method, found)
                write(RESULTS, found)
            print(model_name, method, known[method], flush=True)
    replace_table(PAGE, table(found))
    replace_table(README, summary(found))
    draw(found)
    print(f"\n{table(found)}\n\nWritten: {PAGE}")


if __name__ == "__main__":
    main()
