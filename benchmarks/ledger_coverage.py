"""The books of LRP on every architecture of the coverage; writes a section of docs/coverage.md.

    python benchmarks/ledger_coverage.py [--models "VGG16,KerasHub Bert"]

What was found is kept in benchmarks/results/ledger_coverage.json; architectures that it holds are
not run again.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import keras_hub_models
import numpy as np
import tensorflow as tf
from measure import build, images, in_own_process, markdown, read, write

import innvestigate

IMAGES = ("lrp.z", "lrp.epsilon", "lrp.gamma", "lrp.alpha_2_beta_1", "lrp.sequential_preset_a_flat")
METHODS = (*IMAGES, "lrp.attn")
OF_KERAS_HUB = "KerasHub "
COMPILED = {"DFine", "SAM3PromptableConcept"}  # grouped convolutions have a gradient in graphs only
RESULTS = Path(__file__).resolve().parent / "results" / "ledger_coverage.json"
INTRODUCTION = """## The books

Written by `benchmarks/ledger_coverage.py`: at which step of an audit the books are off most, as a
share of the relevance that the step handles (`Entry.relative_gap`), in parts of a million; 100
of these count as balanced. Networks of `keras.applications` as above, and KerasHub's backbones;
`lrp.attn` of the latter alone.
"""


def worker(name: str) -> dict:
    """The largest gap of each method on one architecture."""
    warnings.simplefilter("ignore")
    # Each mirror runs once, which is not worth compiling where there is a choice.
    tf.config.run_functions_eagerly(name.removeprefix(OF_KERAS_HUB) not in COMPILED)
    if name.startswith(OF_KERAS_HUB):
        model = keras_hub_models.model(name.removeprefix(OF_KERAS_HUB))
        return {method: cell(method, model, keras_hub_models.data(model)) for method in METHODS}
    model = build(name, 96)
    return {method: cell(method, model, images(model, 1)) for method in IMAGES}


def cell(method: str, model, x) -> str:
    """What the table says of one method."""
    try:
        ledger = innvestigate.create_analyzer(method, model).audit(x)
    except ValueError as error:
        return "no rule" if isinstance(error, innvestigate.NoRuleError) else f"{error}"[:80]
    gaps = [entry.relative_gap for entry in ledger.entries]
    finite = all(entry.finite for entry in ledger.entries)
    return f"{1e6 * np.max(gaps):.2g}" if finite else "not finite"


def section() -> str:
    """The part of the page that says what was found."""
    found = read(RESULTS)
    cells = {m: {name: row[m] for name, row in found.items() if m in row} for m in METHODS}
    table = markdown(
        ["method", "networks", "median", "largest", "of"],
        [[f"`{method}`", *summary(told)] for method, told in cells.items()],
    )
    each = ((method, *pair) for method, told in cells.items() for pair in told.items())
    words = [f"`{method}` of {name}: {cell}." for method, name, cell in each if _word(cell)]
    missing = [name for name in architectures() if name not in found]
    rest = [*words, *([f"Not run yet: {', '.join(missing)}."] if missing else [])]
    return "\n".join([INTRODUCTION, table, "", *rest])


def summary(told: dict[str, str]) -> list[str]:
    """What the table says of one method: how many networks, the median, the largest and where."""
    gaps = {name: float(cell) for name, cell in told.items() if not _word(cell)}
    worst = max(gaps, key=gaps.__getitem__)
    return [str(len(gaps)), f"{np.median([*gaps.values()]):.2g}", f"{gaps[worst]:.2g}", worst]


def _word(cell: str) -> bool:
    """Whether a cell holds a reason and no number."""
    return not cell[0].isdigit()


def architectures() -> list[str]:
    """All of the coverage: those of `keras.applications`, and KerasHub's."""
    from applications_coverage import architectures as own  # which imports this

    return [*own(), *(OF_KERAS_HUB + name for name in keras_hub_models.MODELS)]


def main():
    every = architectures()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(every))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(worker(arguments.worker)))
        return
    for name in arguments.models.split(","):
        if name not in read(RESULTS):
            found = in_own_process(__file__, name)
            write(RESULTS, read(RESULTS) | {name: found})  # others may have written meanwhile
        print(name, read(RESULTS)[name], flush=True)


if __name__ == "__main__":
    main()
