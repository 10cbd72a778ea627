"""What benchmarks/evaluation_many.py found, as a part of docs/evaluation.md with its pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from measure import markdown

DOCS = Path(__file__).resolve().parent.parent / "docs"
RANDOM = "random order"
MOST = "aopc_most_relevant"
GAIN = "AOPC over random"
COLUMNS = {
    MOST: "AOPC, most relevant first",
    "aopc_least_relevant": "AOPC, least relevant first",
    "insertion_most_relevant": "insertion",
    "deletion_most_relevant": "deletion",
    "road_most_relevant": "ROAD",
    "sparseness": "sparseness",
    "complexity": "complexity",
}
PLACED = ("grad_cam", "layer_cam", "score_cam", "lrp.attn", "rise", "kernel_shap", "lime")
INTRODUCTION = """## Hundreds of samples

Five photographs cannot tell methods apart. `benchmarks/evaluation_many.py` asks the same of crops
of all photographs at hand, and of more metrics ([what they mean](howto/evaluating.md)): insertion
(large is good), deletion and ROAD (what is left of the probability; small is good), sparseness and
complexity (how few features the heatmap speaks of; neither good nor bad). *AOPC over random* is
AOPC, most relevant regions first, less that of a random order of the same sample.

The column *samples* says how many of them each method explained.
"""
DATA = {
    "photographs": (
        "Crops of photographs",
        "Squares of 0.4 to 1 of a photograph's shorter side, half of them mirrored, in which "
        "EfficientNet-Lite0 sees a class with a probability over one half, of {clusters} "
        "photographs. Crops of one photograph are alike: numbers are means over photographs, each "
        "the mean of its crops, and errors are standard errors over {clusters} photographs. "
        "Regions of 32 × 32 pixels, ten a step. On a network without attention `lrp.attn` is "
        "LRP-ε.",
    ),
    "digits": (
        "Digits",
        "MNIST digits that the network has not seen, errors over digits. Regions of 4 × 4 pixels, "
        "five a step.",
    ),
}


def section(results: dict, methods: list[str]) -> str:
    """The part of the page; its pictures are written into docs/images.

    Args:
        results: By data set what `evaluation_many.measure` found of each method as `methods`, and
            the photograph of each sample as `clusters`.
        methods: All methods that are to be compared.
    """
    parts = [INTRODUCTION.strip()] if results else []
    for name, (title, told) in DATA.items():
        if name in results:
            clusters = np.array(results[name]["clusters"])
            done = results[name]["methods"]
            gains = by_gain(done, clusters)
            draw(gains).savefig(DOCS / f"images/evaluation_many_{name}.png", dpi=90)
            plt.close("all")
            parts += [
                f"### {title}",
                f"{len(clusters)} samples. {told.format(clusters=len({*clusters}))}",
                f"![AOPC over the random order, all methods](images/evaluation_many_{name}.png)",
                findings(gains),
                score_table(done, clusters),
            ]
            failed = {m: kept["failed"] for m, kept in done.items() if "failed" in kept}
            if failed:
                reasons = "\n".join(f"- `{method}`: {why}" for method, why in failed.items())
                parts.append(f"Not applicable here:\n\n{reasons}")
            if missing := [f"`{m}`" for m in methods if m not in done]:
                parts.append(f"Not run yet: {', '.join(missing)}.")
    return "\n\n".join(parts)


def mean_and_error(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """The mean over clusters of their means, and its standard error; NaN for a single one."""
    means = pd.Series(values).groupby(clusters).mean()
    return float(means.mean()), float(means.sem())


def by_gain(methods: dict, clusters: np.ndarray) -> dict[str, tuple[float, float]]:
    """By method the mean and error of AOPC over that of the random order, the largest first."""
    random = np.array(methods[RANDOM]["values"]["aopc_random"])
    found = {}
    for method, kept in methods.items():
        if method != RANDOM and "values" in kept:
            most = np.array(kept["values"][MOST])
            found[method] = mean_and_error(most - random[: len(most)], clusters[: len(most)])
    return dict(sorted(found.items(), key=lambda row: -row[1][0]))


def findings(gains: dict[str, tuple[float, float]]) -> str:
    """How many are ahead of the random order, and where methods of other families lie."""
    above = sum(mean > 2 * error for mean, error in gains.values())
    order = list(gains)
    places = (f"`{m}` {order.index(m) + 1}" for m in PLACED if m in gains)
    return (
        f"{above} of {len(gains)} methods lie more than two standard errors above the random "
        f"order. Places by the mean: {', '.join(places)}."
    )


def score_table(methods: dict, clusters: np.ndarray) -> str:
    """A row for each method: the gain in AOPC over the random order, and each metric."""
    gains = by_gain(methods, clusters)
    values = {method: methods[method]["values"] for method in gains}
    columns = [metric for metric in COLUMNS if any(metric in found for found in values.values())]
    rows = []
    for method, found in values.items():
        count = len(found[MOST])
        cells = [mean_and_error(np.array(found[m]), clusters[:count]) for m in columns]
        texts = [f"{mean:z.3f} ± {error:.3f}" for mean, error in [gains[method], *cells]]
        rows.append([f"`{method}`", str(count), *texts])
    return markdown(["method", "samples", GAIN, *map(COLUMNS.get, columns)], rows)


def draw(gains: dict[str, tuple[float, float]]) -> plt.Figure:
    """The gain of each method with its error."""
    methods = list(gains)[::-1]
    means, errors = zip(*(gains[method] for method in methods), strict=True)
    figure, ax = plt.subplots(figsize=(8, 1 + 0.22 * len(methods)), layout="constrained")
    ax.axvline(0, color="0.4", ls="--", lw=1)
    ax.errorbar(means, range(len(methods)), xerr=errors, fmt="o", color="#0072b2", ms=4, lw=1)
    ax.set_yticks(range(len(methods)), methods, fontsize=8)
    ax.set(xlabel=GAIN, ylim=(-0.7, len(methods) - 0.3))
    ax.grid(axis="y", lw=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    return figure
