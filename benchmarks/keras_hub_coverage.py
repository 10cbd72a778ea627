"""Every backbone of KerasHub through the main methods; a section of docs/coverage.md.

    python benchmarks/keras_hub_coverage.py [--models Bert,GPT2]

What was found is kept in benchmarks/results/keras_hub_coverage.json; backbones that it holds are
not run again, unless they are named. `benchmarks/applications_coverage.py` runs this, and writes
the page.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from pathlib import Path

import keras
import numpy as np
from measure import in_own_process, markdown, names, read, write

import innvestigate

METHODS = ("gradient", "integrated_gradients", "lrp.attn", "deeplift")
RESULTS = Path(__file__).resolve().parent / "results" / "keras_hub_coverage.json"
_ADDS_UP = 1e-2
INTRODUCTION = """## Backbones of KerasHub

Every backbone that `keras_hub.models` of KerasHub {version} names (ESM2, Qwen2 and SmolLM are
classes with another name, too), none of which the library knows by name, in a tiny
configuration with random weights, and three neurons that read the mean of its last output
(`benchmarks/keras_hub_models.py`). Inputs are dicts as KerasHub makes them: tokens, padding masks,
segments, images, sound. All of it runs offline. The methods are {methods}.

*Works* says that the mirror computes what the model computes, and that its results are finite
numbers for every input that a signal can reach, not all of them zero. The number of DeepLIFT is the
gap to completeness, |sum of contributions - (f(x) - f(x₀))| / |f(x) - f(x₀)|, x₀ being token 0 or
grey, with the masks and segments of the sample. Black would be a poor reference: without biases all
numbers are zero there, and each normalisation by their size multiplies contributions by 1,000.
"""


def backbones() -> list[str]:
    """The names of all backbones, without the word."""
    from keras_hub_models import MODELS

    return sorted(MODELS)


def reference(x):
    """Token 0 or grey in the place of what a model reads, with the masks of the sample."""
    kept = ("mask", "segment", "label")
    if isinstance(x, dict):
        return {n: v if any(k in n for k in kept) else reference(v) for n, v in x.items()}
    neutral = lambda v: np.full_like(v, 0.5 if v.dtype.kind == "f" else 0)  # noqa: E731
    return keras.tree.map_structure(neutral, x)


def worker(name: str) -> dict:
    """All methods on one backbone."""
    from keras_hub_models import data, model

    warnings.simplefilter("ignore")
    keras.utils.set_random_seed(0)
    network = model(name)
    x = data(network)
    network(x)  # layers that make something when they are called on values have done so
    return {method: cell(method, network, x) for method in METHODS}


def cell(method: str, model: keras.Model, x) -> str:
    """What the table says of one method."""
    compares = {"reference_inputs": reference(x)}
    settings = {"integrated_gradients": {**compares, "steps": 4}, "deeplift": compares}
    try:
        analyzer = innvestigate.create_analyzer(method, model, **settings.get(method, {}))
        found = keras.tree.flatten(analyzer.analyze(x, batch_size=2))
    except innvestigate.NoRuleError as error:
        return reason(str(error))
    except Exception as error:
        if "there is no path between tokens" in str(error):
            return "not meaningful: the numbers of tokens are computed with, too"
        return f"FAILED: {type(error).__name__}: {error}"[:300].replace("\n", " ")
    if not all(np.isfinite(r).all() for r in found) or not any(r.any() for r in found):
        return "FAILED: not finite, or all zero"
    if method != "deeplift":
        return "works"
    missed = gap(model, x, found)
    if missed < _ADDS_UP:
        return f"works, {missed:.0e}"
    largest = max(np.abs(r).max() for r in found)
    return f"cancels: single contributions of {largest:.0e}, which single precision cannot add up"


def gap(model: keras.Model, x, found: list) -> float:
    """By how much contributions miss the change of the output, for each sample the largest."""
    y, y0 = (np.asarray(model(z, training=False), "float64") for z in (x, reference(x)))
    chosen = (np.arange(len(y)), y.argmax(axis=-1))
    total = sum(r.reshape(len(y), -1).sum(axis=1, dtype="float64") for r in found)
    change = (y - y0)[chosen]
    return float(np.abs(total - change).max() / np.abs(change).max())


def reason(message: str) -> str:
    """What an error says, in a few words."""
    step, layer = re.search(r"steps? '([^']+)'(?: \((\w+))?", message).groups()
    inner = re.sub(r"[_.]\d+$", "", step.split(".")[-1])
    if "by comparing" in message:
        within = ".".join([*step.split(".")[-2:-1], inner])
        return f"not meaningful: what `{within}` reads is chosen by comparing numbers"
    if "'shape only'" in message:
        return f"not meaningful: the tokens decide which places `{inner}` in `{layer}` reads"
    return f"no rule for `{inner}` in `{layer}`"


def run(names: list[str], anew: bool = False) -> None:
    """Run backbones, each in a process of its own, and keep what is found."""
    for name in names:
        found = read(RESULTS)
        if anew or name not in found:
            cells = in_own_process(__file__, name)
            found[name] = [cells.get(m, f"FAILED: {cells.get('error')}") for m in METHODS]
            write(RESULTS, dict(sorted(found.items())))
        print(name, *found[name], sep=" | ", flush=True)


def section() -> str:
    """The section of the page."""
    import keras_hub

    found = read(RESULTS)
    works = {n: row for n, row in found.items() if all(cell.startswith("works") for cell in row)}
    gaps = [float(row[-1].split(", ")[1]) for row in works.values()]
    others = {name: row for name, row in found.items() if name not in works}
    told = [i for i in range(len(METHODS)) if {row[i] for row in others.values()} != {"works"}]
    rows = [[name, *(row[i] for i in told)] for name, row in others.items()]
    missing = [name for name in backbones() if name not in found]
    return "\n".join(
        [
            INTRODUCTION.format(version=keras_hub.__version__, methods=names(METHODS)),
            f"All of them work with these {len(works)} of {len(found)}; half of the gaps are below "
            f"{np.median(gaps):.0e}, the largest is {max(gaps):.0e}: {', '.join(works)}.",
            "",
            "With the others all but these do:",
            "",
            markdown(["backbone", *(f"`{METHODS[i]}`" for i in told)], rows),
            "",
            *([f"Not run yet: {', '.join(missing)}.", ""] if missing else []),
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models")
    parser.add_argument("--worker", nargs=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
    elif arguments.models:
        run(arguments.models.split(","), anew=True)
    else:
        run(backbones())


if __name__ == "__main__":
    main()
