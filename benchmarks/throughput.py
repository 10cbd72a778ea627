"""From one small sample to a stream: what the library adds to what the network computes.

    python benchmarks/throughput.py [--models small,ResNet50] [--seconds 10]

- A single sample of 28 x 28 through `analyze`, as a ratio to a bare compiled gradient of the same
  network: the median of pairs timed in turn.
- Samples a second out of `analyzer.stream`, beside `model.predict`, both fed by one generator of
  batches: medians over rounds in which each of them takes its turn.

Each model is a process of its own. The tables go into docs/performance.md, the picture into
docs/images.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from bench import network as large_network
from bench import tape_gradient
from measure import images, in_own_process, markdown, read, replace_table, seconds, write
from pattern_fit import network as small_network

import innvestigate

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "throughput.json"
PAGE = HERE.parent / "docs" / "performance.md"
PICTURE = HERE.parent / "docs" / "images" / "performance_throughput.png"
BATCHES = {"small": 64, "ResNet50": 8, "LSTM": 16}
METHODS = {
    "gradient": {},
    "lrp.epsilon": {},
    "lrp.alpha_2_beta_1": {},
    "deeplift": {},
    "integrated_gradients": {"steps": 16},
}
SINGLE = ("gradient", "lrp.epsilon")
PREDICT = "predict"
PAIRS, ROUNDS = 200, 3


def network(name: str) -> tuple:
    """A model and one batch of its samples."""
    if name == "small":
        model = small_network(name)
        return model, images(model, BATCHES[name])
    return large_network(name)


def single(model, x: np.ndarray) -> dict:
    """For each method the time of one sample, as a ratio to a bare gradient."""
    sample, gradient = x[:1], tape_gradient(model)
    found = {}
    for method in SINGLE:
        analyzer = innvestigate.create_analyzer(method, model)
        analyze, bare = lambda a=analyzer: a.analyze(sample), lambda: gradient(sample)
        analyze(), bare()
        found[method] = float(np.median([seconds(analyze) / seconds(bare) for _ in range(PAIRS)]))
    return found


def stream(x: np.ndarray, until: float):
    """The same batch again and again, for some seconds."""
    end = time.perf_counter() + until
    while time.perf_counter() < end:
        yield x


def rate(run, x: np.ndarray, until: float) -> float:
    """Samples a second, of a function that takes a generator and returns how many there were."""
    start = time.perf_counter()
    count = run(stream(x, until))
    return count / (time.perf_counter() - start)


def streamed(model, x: np.ndarray, until: float) -> dict:
    """Samples a second of prediction and of each method."""
    runs = {PREDICT: lambda data: sum(len(model.predict_on_batch(batch)) for batch in data)}
    for method, arguments in METHODS.items():
        analyzer = innvestigate.create_analyzer(method, model, **arguments)
        count = lambda data, a=analyzer: sum(map(len, a.stream(data, batch_size=len(x))))  # noqa: E731
        runs[method] = count
    for run in runs.values():
        run(iter([x]))
    rounds = [{name: rate(run, x, until) for name, run in runs.items()} for _ in range(ROUNDS)]
    return {name: float(np.median([found[name] for found in rounds])) for name in runs}


def worker(name: str, until: str) -> dict:
    """What is measured of one model."""
    warnings.simplefilter("ignore")
    model, x = network(name)
    found = {"stream": streamed(model, x, float(until))}
    return found | ({"single": single(model, x)} if name == "small" else {})


def tables(found: dict) -> str:
    """Samples a second, and in parentheses how many predictions one explanation takes."""
    header = ["samples a second", f"`{PREDICT}`", *(f"`{method}`" for method in METHODS)]
    rows = []
    for name, numbers in found.items():
        rates = numbers["stream"]
        cells = [
            f"{_told(rates[method])} ({rates[PREDICT] / rates[method]:.1f})" for method in METHODS
        ]
        rows.append([name, _told(rates[PREDICT]), *cells])
    text = markdown(header, rows)
    if "small" in found:
        told = ", ".join(f"`{m}` {ratio:.2f}" for m, ratio in found["small"]["single"].items())
        text += (
            "\n\nA single image of 28 × 28 through `analyze`, as a ratio to a bare compiled "
            f"gradient of the same network: {told}."
        )
    return text


def _told(rate: float) -> str:
    """Three digits."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def draw(found: dict) -> None:
    """A panel for each model: samples a second of prediction and of each method."""
    figure, axes = plt.subplots(1, len(found), figsize=(9, 2.6), layout="constrained")
    for ax, (name, numbers) in zip(np.atleast_1d(axes), found.items(), strict=True):
        rates = numbers["stream"]
        names = [PREDICT, *METHODS]
        colours = ["0.6", *["C0"] * len(METHODS)]
        bars = ax.barh(names, [rates[n] for n in names], color=colours)
        ax.bar_label(bars, fmt=_told, padding=2, fontsize=7)
        ax.set(title=name, xlabel="samples a second")
        ax.margins(x=0.2)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
        if ax is not np.atleast_1d(axes)[0]:
            ax.set_yticklabels([])
    figure.savefig(PICTURE, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(BATCHES))
    parser.add_argument("--seconds", default="10", help="of each stream")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    found = read(RESULTS)
    for name in arguments.models.split(","):
        found[name] = in_own_process(__file__, name, arguments.seconds)
        print(name, found[name], flush=True)
    write(RESULTS, found)
    replace_table(PAGE, tables(found), "throughput")
    draw(found)


if __name__ == "__main__":
    main()
