"""Every layer of keras.layers and every operation of keras.ops through four methods.

    python benchmarks/coverage_layers.py

Writes what it finds to benchmarks/results/coverage_layers.json, from which
`applications_coverage.py` makes a section of docs/coverage.md. Each layer and operation is put into
a small functional model, and explained; results must be finite.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import keras
import numpy as np
from measure import markdown, names, read, write

import innvestigate

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tests.graph import operation_cases, test_every_layer  # noqa: E402

RESULTS = HERE / "results" / "coverage_layers.json"
METHODS = ("gradient", "lrp.epsilon", "lrp.alpha_1_beta_0", "deeplift")
INTRODUCTION = """## Layers and operations

Written by `benchmarks/coverage_layers.py`: each public layer of `keras.layers` and each operation
of `keras.ops` in a small functional model, on TensorFlow. *Works*: a rule speaks of it as a whole.
*Opened*: what it is made of takes its place. Otherwise it is said why there is no result;
`innvestigate.register_rule` gives a layer a rule ([how](howto/custom.md)). The methods are
{methods}. DeepLIFT's reference is 0.35 at operations, where all of them are defined, and zero at
layers.
"""
_AROUND = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Dense)
SILENT = "no signal passes whole numbers and comparisons"
COMPARES = ("in_top_k", "multi_hot", "one_hot")
WHY = {
    why: names.split()
    for why, names in {
        "no rule for factors and inverses of matrices": """
            cholesky cholesky_inverse det eigh inv logdet lstsq pinv qr solve svd
            """,
        "no rule for complex numbers": "angle conj conjugate imag polar",
        "a loss, not a prediction": """
            binary_crossentropy categorical_crossentropy sparse_categorical_crossentropy psnr
            image.ssim
            """,
        "colours in coordinates that are not linear": "image.hsv_to_rgb image.rgb_to_hsv",
        "a product of an unknown number of factors": "segment_prod",
        "runs until numbers tell it to stop": "while_loop",
        "moves to the next number there is": "nextafter",
        "TensorFlow has no gradient for it": "slice_update histogram",
    }.items()
}
WHY_NO_DIFFERENCE = {
    "the order of numbers changes on the way from the reference": (
        *("median", "percentile", "quantile", "sort", "top_k"),
    ),
    "which numbers are zero changes on the way from the reference": ["sparsemax"],
    "chooses by comparing": ["take_along_axis"],
}


def models() -> dict[str, tuple]:
    """What makes a model and its inputs, by the name of a layer or operation."""
    made = {f"layers.{n}": _of_layer(n) for n in test_every_layer.tabled()}
    names = set(operation_cases.names()) - set(operation_cases.OUTSIDE)
    return made | {f"ops.{n}": _of_operation(n) for n in sorted(names)}


def outside() -> dict[str, str]:
    """The layers and operations that no functional model of its own can show, and why."""
    listed = test_every_layer.NO_GRADIENT.items()
    found = {f"layers.{n}": why for why, names in listed for n in names}
    return found | {f"ops.{n}": why for n, why in operation_cases.OUTSIDE.items()}


def cells(name: str, make) -> list[str]:
    """What the table says of a layer or operation, for each method."""
    model, x = make()
    where, name = name.split(".", 1)
    reference = {"reference_inputs": 0.35} if where == "ops" else {}
    given = {method: reference if method == "deeplift" else {} for method in METHODS}
    return [_cell(name, method, model, x, **given[method]) for method in METHODS]


def section() -> str:
    """The section of the page, of what was found."""
    said = grouped({name: in_words(cells) for name, cells in read(RESULTS).items()})
    work = said.pop("all: works")
    rest, header = grouped(outside()), "layers and operations"
    return "\n".join(
        [
            INTRODUCTION.format(methods=names(METHODS)),
            f"<details><summary>All of them work with these {len(work)}</summary>",
            "",
            f"{names(work)}.",
            "",
            "</details>",
            "",
            markdown(["what becomes of others", header], [[w, names(n)] for w, n in said.items()]),
            "",
            "In no functional model of their own:",
            "",
            markdown(["why", header], [[w, names(n)] for w, n in rest.items()]),
            "",
        ]
    )


def in_words(cells: list[str]) -> str:
    """What is said of a layer or operation for each method, in one line."""
    usual = Counter(cells).most_common(1)[0][0]
    given = zip(METHODS, cells, strict=True)
    others = [f"`{method}`: {cell}" for method, cell in given if cell != usual]
    lines = [*others, f"{'the others' if others else 'all'}: {usual}"]
    return "; ".join(line.replace("meaningful: ", "meaningful, ") for line in lines)


def grouped(said: dict[str, str]) -> dict[str, list[str]]:
    """The names of which the same is said, by what it is; what is said of most comes first."""
    found = defaultdict(list)
    for name in sorted(said):
        found[said[name]].append(name)
    return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))


def _of_layer(name: str):
    return lambda: test_every_layer.build(name)


def _of_operation(name: str):
    def make():
        model = operation_cases.model_of(name)
        return model, operation_cases.sample(model)

    return make


def _cell(name: str, method: str, model: keras.Model, x, **arguments) -> str:
    whole = {"neuron_selection_mode": "all", "keep_output_activation": True}
    try:
        analyzer = innvestigate.create_analyzer(method, model, **whole, **arguments)
        found = keras.tree.flatten(analyzer.analyze(x))
    except Exception as error:
        return _why_not(name, method, error)
    if not all(np.all(np.isfinite(y)) for y in found):
        return "FAILED: not finite"
    kept = {id(part) for step in analyzer.task.graph.steps for part in _parts(step)}
    inside = [part for part in model.operations if type(part).__name__ == name]
    inside = inside or [part for part in model.operations if not isinstance(part, _AROUND)]
    return "works" if any(id(operation) in kept for operation in inside) else "opened"


def _parts(step) -> tuple:
    return step.operation, getattr(step.operation, "layer", None)


def _why_not(name: str, method: str, error: Exception) -> str:
    if "No signal can get" in str(error) or name in COMPARES:
        return SILENT
    tables = [WHY, WHY_NO_DIFFERENCE] if method == "deeplift" else [WHY]
    known = [why for table in tables for why, names in table.items() if name in names]
    return f"not meaningful: {known[0]}" if known else f"FAILED: {error}"[:200]


def main():
    warnings.simplefilter("ignore")
    found: dict[str, list[str]] = {}
    for name, make in models().items():
        found[name] = cells(name, make)
        print(name, *found[name], sep=" | ", flush=True)
        keras.backend.clear_session(free_memory=False)
    write(RESULTS, found)


if __name__ == "__main__":
    main()
