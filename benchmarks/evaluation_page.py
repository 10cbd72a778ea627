"""What benchmarks/evaluation.py found, as a page with tables and pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from measure import markdown

from innvestigate.visualization import plot_perturbation_curves

DOCS = Path(__file__).resolve().parent.parent / "docs"
MOST, LEAST, RANDOM = "aopc_most_relevant", "aopc_least_relevant", "aopc_random"
PRESETS = ("lrp.sequential", "lrp.epsilon_plus", "lrp.epsilon_alpha", "lrp.epsilon_gamma")
COLUMNS = {
    MOST: "AOPC, most relevant first",
    LEAST: "AOPC, least relevant first",
    "sensitivity_n": "sensitivity-n",
    "max_sensitivity": "max-sensitivity",
}
SHOWN = (
    "gradient",
    "guided_backprop",
    "deconvnet",
    "lrp.epsilon",
    "lrp.sequential_preset_a_flat",
    "occlusion",
)
INTRODUCTION = """# Evaluation

Which heatmaps show what the network uses? Written by `benchmarks/evaluation.py` with
`innvestigate.evaluation`: every method, on handwritten digits and on photographs, a few with many
metrics and hundreds with some; at the end some of the methods on sentences and days, with networks
that read word by word and hour by hour.

## What the numbers mean

**AOPC** (region perturbation, Samek et al. 2017). The image is cut into 7 × 7 regions. They are
replaced by zeros, two at each of ten steps, in the order of their relevance, while the probability
of the predicted class is watched. AOPC is the mean drop over the steps. With the *most relevant*
regions first, large is good: what the method points at was needed. With the *least relevant*
first, small is good, and below zero means that the probability rose. The *random order* replaces
regions in an order drawn for each image. The error is the standard error over images.

**Sensitivity-n** (Ancona et al. 2018). Five random regions are removed at once, fifty times: how
well does the sum of their relevance correlate with the drop of the probability? 1 is perfect.
For relevance that is no sum of contributions, such as the gradient's, no high value is expected.

**Max-sensitivity** (Yeh et al. 2019). The largest relative change of the heatmap among five inputs
that differ by at most 0.1 in each pixel. Small is steady; a heatmap that ignores the input has 0,
and one that is zero at a sample but not beside it, such as Grad-CAM's where nothing speaks for the
class, ∞.

**Similarity after randomisation** (Adebayo et al. 2018). The weights of the layers are shuffled,
from the output down. The number is the rank correlation of the heatmap with that of the trained
network, for the same class, when all layers are shuffled: of the relevance with its sign, and of
its absolute values. A method should *not* stay similar. The input as its own heatmap does, in full.

## How far they can be trusted

- A grey square is no photograph: replaced images lie off the data that the network has seen, and
  the drop is due to that, too. Zeros are black in the digits, where an empty region does not
  change at all, and mid-grey in the photographs. Another replacement gives another order of
  methods that lie close together.
- What counts is a region's *mean* relevance. Methods with signs cancel inside a region;
  methods without (`saliency`) cannot say what speaks against the class.
- The probability saturates: for a digit that is recognised with certainty, the first steps change
  nothing. The methods explain the logit.
- Randomisation asks whether the weights matter, not whether the heatmap is right. Where the input
  is a factor (input times gradient, LRP), the absolute values keep the outline of the digit
  whatever the weights are; where it is mostly zeros, ties raise the correlation further.
- Occlusion with windows that are the very regions, and Shapley values of them, have an advantage
  by construction.
"""
DATA = {
    "mnist": (
        "Digits",
        "2,000 MNIST digits, and the network of `examples/mnist_methods.py`, trained on 3,000 "
        "others (97.3 % of the 2,000 are recognised). Regions of 4 × 4 pixels. Sensitivity-n, "
        "max-sensitivity and randomisation on 100 of them. Integrated gradients take 16 steps, "
        "SmoothGrad (noise 0.2) and expected gradients 16 draws, occlusion windows of 4 × 4 "
        "pixels, Shapley sampling an order of the 49 regions and its reverse; patterns are fitted "
        "on 1,000 training digits, anew for each shuffled network.",
    ),
    "photographs": (
        "Photographs",
        "The five photographs of `examples/imagenet_methods.py`, and EfficientNet-Lite0 with its "
        "ImageNet weights. Regions of 32 × 32 pixels. Five photographs are few, and what they have "
        "to lose differs: the errors are large. (The random order is the mean of 20 orders of each "
        "photograph, its error that of the 100.) Settings as above, with occlusion windows of 32 × "
        "32 pixels, and no max-sensitivity; patterns are fitted on 100 "
        "crops of the photographs, far from enough, and serve as a demonstration.",
    ),
}
READING = """**How to read this**

- Guided backprop and the deconvnet fail the check. In the deep network for photographs the upper
  layers may be shuffled, and the heatmaps hardly change, while the gradient's are different after
  the first layer: rectifying the signal at every step makes it forget where it started. Only the
  lowest layers shape these pictures. Four layers are too few for the full effect: on the digits
  guided backprop stays more similar than the gradient, and loses more with each layer.
- z⁺, α1β0 and excitation backprop hardly depend on the weights in their absolute values. Their
  signed number is a mixture of +1 and -1: the whole heatmap changes its sign with the logit of the
  shuffled network. Deep Taylor starts from positive outputs only; where the logit is negative, its
  heatmap is zero, which counts as a similarity of 0.
- In the digits four fifths of the pixels are zero. Methods with the input as a factor are zero
  there, whatever the weights are, and ties at zero make up most of the absolute rank correlation:
  a value near 1 is no failure there, and one near 0 in signed relevance is the better guide. The
  input itself has 1 by definition, and takes part as a warning: it ranks high in AOPC
  on the digits, too, as replacing by black is harmless everywhere else.
- The neighbours of max-sensitivity have pixels below zero. `lrp.z_plus_fast` is made for inputs
  that have none, and the `_IB` rules divide by sums without a bias, which can be close to zero:
  their large values come from a few inputs.

"""
REPRODUCE = """## Reproduce

```bash
python benchmarks/evaluation.py
```

Results are kept in `benchmarks/results/evaluation.json`; those of hundreds of samples, by
`benchmarks/evaluation_many.py`, in `evaluation_many.json`.

On your own model and data ([step by step](howto/evaluating.md), with all metrics):

```python
from innvestigate.evaluation import Randomization, RegionPerturbation, evaluate

methods = {name: innvestigate.create_analyzer(name, model) for name in ("gradient", "lrp.epsilon")}
perturbation = RegionPerturbation("zeros", region_shape=4, regions_per_step=2, steps=10)
found = evaluate(model, methods, x, metrics=[perturbation, Randomization()], seed=0)
found.scores  # one row for each method and metric
found.curves, found.randomization, found.samples  # the curves, the stages, one row for each sample
```
"""


def write_page(
    found: dict[str, dict],
    failed: dict[str, dict[str, str]],
    missing: dict[str, list[str]],
    further: list[str],
) -> None:
    """Write docs/evaluation.md and its pictures.

    Args:
        found: For each data set the tables of `Evaluation`.
        failed: For each data set the methods that do not apply to its network, and why.
        missing: For each data set the methods that have not been run yet.
        further: The sections on hundreds of samples and on networks that read.
    """
    mpl.use("Agg")
    parts = [INTRODUCTION, findings(found), READING]
    for name, (title, description) in DATA.items():
        if name not in found:
            continue
        tables = found[name]
        draw_curves(tables["curves"]).savefig(DOCS / f"images/evaluation_{name}_curves.png", dpi=90)
        draw_aopc(tables["scores"]).savefig(DOCS / f"images/evaluation_{name}_aopc.png", dpi=90)
        draw_randomization(tables["randomization"]).savefig(
            DOCS / f"images/evaluation_{name}_randomization.png", dpi=90
        )
        reasons = [f"- `{method}`: {why}" for method, why in failed[name].items()]
        parts += [
            f"## {title}",
            description,
            f"![Probability while regions are replaced](images/evaluation_{name}_curves.png)",
            f"![AOPC of all methods](images/evaluation_{name}_aopc.png)",
            f"![Similarity after randomisation](images/evaluation_{name}_randomization.png)",
            score_table(tables["scores"], tables["randomization"]),
        ]
        if reasons:
            parts.append("Not applicable here:\n\n" + "\n".join(reasons))
        if missing[name]:
            listed = ", ".join(f"`{m}`" for m in missing[name])
            where = "[hundreds of samples](#hundreds-of-samples)"
            parts.append(f"Not run here, but on {where}: {listed}.")
    (DOCS / "evaluation.md").write_text(
        "\n\n".join([*(p.strip() for p in [*parts, *further] if p), REPRODUCE])
    )
    print(f"Written: {DOCS / 'evaluation.md'}")


def findings(found: dict[str, dict]) -> str:
    """What came out, with its numbers."""
    lines = ["## What came out"]
    for name, (title, _) in DATA.items():
        if name in found:
            lines += [f"**{title}**", *_findings(found[name])]
    return "\n\n".join(lines)


def _findings(tables: dict[str, pd.DataFrame]) -> list[str]:
    scores, cascading = tables["scores"], tables["randomization"]
    cascading = cascading[cascading["mode"] == "cascading"]
    signed = cascading[cascading["similarity"] == "signed"]
    by_stage = signed.pivot(index="method", columns="step", values="mean")
    stages = [
        f"`{m}` {', '.join(map(number, by_stage.loc[m]))}"
        for m in ("guided_backprop", "deconvnet", "gradient", "lrp.epsilon")
        if m in by_stage.index
    ]
    layers = ", ".join(f"`{name}`" for name in signed["layer"].unique())
    absolute = after_all(cascading)["absolute"]
    lines = [
        _compared_one_by_one(tables["samples"]) if "samples" in tables else _compared(scores),
        f"- Signed similarity, as shuffling goes down to {layers}: {'; '.join(stages)}.",
        f"- Of the absolute relevance, {(absolute > 0.9).sum()} of {len(absolute)} methods keep a "
        "rank correlation over 0.9 when nothing of the weights is left.",
    ]
    return ["\n".join(lines)]


def _compared(scores: pd.DataFrame) -> str:
    random = scores[scores["metric"] == RANDOM].iloc[0]
    rows = scores[scores["metric"] == MOST].set_index("method")
    above = rows["mean"] - random["mean"] > 2 * np.hypot(rows["error"], random["error"])
    presets = rows["mean"][rows.index.str.startswith(PRESETS)]
    return (
        f"- With the most relevant regions first, {above.sum()} of {len(rows)} methods lie more "
        "than two standard errors (of both together) above the random order, "
        f"{with_error(random['mean'], random['error'])}. The {len(presets)} LRP presets take "
        f"{number(presets.min())} to {number(presets.max())} off the probability."
    )


def _compared_one_by_one(samples: pd.DataFrame) -> str:
    gain, error = gains(samples)
    above = gain > 2 * error
    presets = gain[gain.index.str.startswith(PRESETS)].sort_values(ascending=False)
    told = (f"`{m}` {number(presets[m])} ± {number(error[m])}" for m in presets.index)
    return (
        "- With the most relevant regions first, compared image by image with the mean of its "
        f"random orders, {above.sum()} of {len(gain)} methods take more than two standard errors "
        f"more off the probability. The LRP presets: {', '.join(told)}."
    )


def gains(samples: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """By method, the AOPC of each image less the mean of its random orders: mean and error."""
    random = samples[samples["metric"] == RANDOM]
    values = samples[samples["metric"] == MOST].pivot(
        index="sample", columns="method", values="value"
    )
    own = random.groupby(random["sample"] % len(values))["value"].mean()
    paired = values.sub(own, axis=0)
    return paired.mean(), paired.sem()


def by_aopc(scores: pd.DataFrame) -> list[str]:
    """The methods, from the largest AOPC with the most relevant regions first to the smallest."""
    rows = scores[scores["metric"] == MOST].sort_values("mean", ascending=False)
    return list(rows["method"])


def score_table(scores: pd.DataFrame, randomization: pd.DataFrame) -> str:
    """One row for each method."""
    cells = {(row.method, row.metric): row for row in scores.itertuples()}
    columns = [metric for metric in COLUMNS if metric in set(scores["metric"])]
    similar = after_all(randomization)
    random = scores[scores["metric"] == RANDOM].iloc[0]
    blank = [""] * (len(columns) + 1)
    rows = [["random order", with_error(random["mean"], random["error"]), *blank]]
    for method in by_aopc(scores):
        found = [cells.get((method, metric)) for metric in columns]
        texts = [with_error(row.mean, row.error) if row is not None else "" for row in found]
        last = [number(similar[s].get(method, np.nan)) for s in ("signed", "absolute")]
        rows.append([f"`{method}`", *texts, *last])
    header = ["method", *(COLUMNS[c] for c in columns), "similarity, signed", "absolute"]
    return markdown(header, rows)


def after_all(randomization: pd.DataFrame) -> dict[str, pd.Series]:
    """Similarities when all layers are shuffled, by method."""
    cascading = randomization[randomization["mode"] == "cascading"]
    last = cascading[cascading["step"] == cascading["step"].max()]
    return {kind: rows.set_index("method")["mean"] for kind, rows in last.groupby("similarity")}


def number(value: float) -> str:
    """A number with two digits, and no negative zero."""
    return f"{value:z.2f}"


def with_error(mean: float, error: float) -> str:
    """A number and its standard error."""
    return f"{mean:z.3f} ± {error:.3f}" if np.isfinite(mean) else "∞"


def draw_curves(curves: pd.DataFrame) -> plt.Figure:
    """Curves of some methods, by order."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for ax, order in zip(axes, ("most_relevant", "least_relevant"), strict=True):
        rows = curves[curves["method"].isin(SHOWN) & (curves["order"] == order)]
        plot_perturbation_curves(pd.concat([rows, curves[curves["order"] == "random"]]), ax)
        ax.set(title=f"{order.replace('_', ' ')} first", ylabel="probability of the class")
        if ax.get_legend():
            ax.get_legend().remove()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return figure


def draw_aopc(scores: pd.DataFrame) -> plt.Figure:
    """The AOPC of all methods, both orders, and the random one as a band."""
    methods = by_aopc(scores)[::-1]
    figure, ax = plt.subplots(figsize=(8, 1.2 + 0.22 * len(methods)), layout="constrained")
    random = scores[scores["metric"] == RANDOM].iloc[0]
    ax.axvline(random["mean"], color="0.4", ls="--", lw=1, label="random order")
    ax.axvspan(
        random["mean"] - random["error"], random["mean"] + random["error"], color="0.85", zorder=0
    )
    for metric, color, marker in ((MOST, "#0072b2", "o"), (LEAST, "#d55e00", "s")):
        rows = scores[scores["metric"] == metric].set_index("method").loc[methods]
        style = {"fmt": marker, "color": color, "ms": 4, "elinewidth": 1}
        label = COLUMNS[metric].split(", ")[1]
        ax.errorbar(rows["mean"], range(len(methods)), xerr=rows["error"], label=label, **style)
    ax.set_yticks(range(len(methods)), methods, fontsize=8)
    ax.set(xlabel="AOPC: mean drop of the probability", ylim=(-0.7, len(methods) - 0.3))
    ax.grid(axis="y", lw=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_randomization(randomization: pd.DataFrame) -> plt.Figure:
    """Rank correlations after each cascading stage: a row for each method, signed and absolute."""
    cascading = randomization[randomization["mode"] == "cascading"]
    signed = after_all(randomization)["signed"].sort_values(ascending=False)
    layers = list(dict.fromkeys(cascading["layer"]))
    size = (3.5 + 1.1 * len(layers), 1.6 + 0.22 * len(signed))
    figure, axes = plt.subplots(1, 2, figsize=size, sharey=True, layout="constrained")
    for ax, kind in zip(axes, ("signed", "absolute"), strict=True):
        rows = cascading[cascading["similarity"] == kind]
        grid = rows.pivot(index="method", columns="layer", values="mean").loc[signed.index, layers]
        image = ax.imshow(grid, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        for (i, j), value in np.ndenumerate(grid.to_numpy()):
            color = "white" if abs(value) > 0.6 else "black"
            ax.text(j, i, number(value), ha="center", va="center", fontsize=6, color=color)
        ax.set_title(f"{kind} relevance", fontsize=9)
        ax.set_xticks(range(len(layers)), layers, rotation=35, ha="right", fontsize=7)
        ax.set_yticks(range(len(signed)), signed.index, fontsize=7)
    figure.supxlabel("weights shuffled from the output down to ...", fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.5, label="rank correlation")
    return figure
