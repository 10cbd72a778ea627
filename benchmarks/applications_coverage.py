"""Every architecture of keras.applications through the main methods; writes docs/coverage.md.

    python benchmarks/applications_coverage.py [--models MobileNetV2,ConvNeXtTiny] [--size 96]

What was found is kept in benchmarks/results/coverage.json; architectures that it holds are not run
again. Delete the file to start anew.

Random weights and a softmax head. The conservation error is |sum of relevance - logit| / |logit|,
where the method conserves relevance in a network without biases (freshly initialised ones are 0).
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import coverage_layers
import keras
import keras_hub_coverage
import ledger_coverage
import numpy as np
from measure import build, images, in_own_process, markdown, names, read, write

import innvestigate

METHODS = (
    "gradient",
    "guided_backprop",
    "lrp.epsilon",
    "lrp.alpha_2_beta_1",
    "lrp.sequential_preset_a_flat",
    "deep_taylor",
)
CONSERVING = ("lrp.epsilon",)
HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "coverage.md"
RESULTS = HERE / "results" / "coverage.json"
INTRODUCTION = """# Coverage

Written by `benchmarks/applications_coverage.py`: every architecture of `keras.applications`, with
random weights and a softmax head, on one image of {size} × {size} pixels. With all {count} of them
work {everywhere}.

The number of `lrp.epsilon` is the conservation error, |sum of relevance - logit| / |logit|.
`deep_taylor` is defined for networks whose only activations are rectifiers; elsewhere the cell
names the other activation.

In the MobileNetV3 networks positive and negative relevance cancel: their absolute values sum up to
four million logits. What is left of the sum is the rounding of 32-bit numbers, as with `lrp.z`.
"""


def architectures() -> list[str]:
    """The names of all networks in keras.applications."""
    return sorted(name for name in dir(keras.applications) if name[0].isupper())


def worker(name: str, size: str) -> dict:
    """All methods on one architecture."""
    warnings.simplefilter("ignore")
    model = build(name, int(size))
    x = images(model, 1)
    logit = innvestigate.model_wo_softmax(model).predict(x, verbose=0).max()
    return {method: cell(method, model, x, float(logit)) for method in METHODS}


def cell(method: str, model, x, logit: float) -> str:
    """What the table says of one method, with the conservation error where it applies."""
    try:
        relevance = innvestigate.create_analyzer(method, model).analyze(x)
    except ValueError as error:
        if method == "deep_taylor" and "ReLU activations only" in str(error):
            return str(error).split("Found: ")[1].split(" at ")[0].strip("'")
        return f"FAILED: {error}"[:200]
    if relevance.shape != x.shape or not np.all(np.isfinite(relevance)):
        return "FAILED: not finite or of the wrong shape"
    if method not in CONSERVING:
        return "works"
    return f"works, {abs(relevance.sum(dtype='float64') - logit) / abs(logit):.0e}"


def section(found: dict[str, list[str]], size: str) -> str:
    """The first section of the page: methods that work with all are named above the table."""
    told = [i for i in range(len(METHODS)) if any(row[i] != "works" for row in found.values())]
    header = ["architecture", *(f"`{METHODS[i]}`" for i in told)]
    rows = [[name, *(found[name][i] for i in told)] for name in sorted(found)]
    everywhere = names(method for i, method in enumerate(METHODS) if i not in told)
    begin = INTRODUCTION.format(size=size, everywhere=everywhere, count=len(found))
    missing = [name for name in architectures() if name not in found]
    rest = f"\nNot run yet: {', '.join(missing)}.\n" if missing else ""
    return f"{begin}\n{markdown(header, rows)}\n{rest}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(architectures()))
    parser.add_argument("--size", default="96")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(*arguments.worker)))
        return
    found = read(RESULTS)
    for name in arguments.models.split(","):
        if name not in found:
            cells = in_own_process(__file__, name, arguments.size)
            found[name] = [cells.get(m, f"FAILED: {cells.get('error')}") for m in METHODS]
            write(RESULTS, found)
        print(name, *found[name], sep=" | ", flush=True)
    keras_hub_coverage.run(keras_hub_coverage.backbones())
    parts = (coverage_layers, keras_hub_coverage, ledger_coverage)
    sections = [section(found, arguments.size), *(part.section() for part in parts)]
    PAGE.write_text("\n".join(sections))
    print(f"Written: {PAGE}")


if __name__ == "__main__":
    main()
