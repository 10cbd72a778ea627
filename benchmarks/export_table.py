"""Exports methods from models in all formats, and compares what the files compute with `analyze`.

Writes `results/export.csv`, where models that are not named keep their rows, and the table and the
counts of `docs/export.md`, between its marks.

    python benchmarks/export_table.py [model ...]
"""

from __future__ import annotations

import csv
import sys
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from export_models import ARGUMENTS, METHODS, MODELS, RUNTIMES, built

import innvestigate

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "export.csv", HERE.parent / "docs" / "export.md"
BEGIN, END = "<!-- table: made by benchmarks/export_table.py -->", "<!-- end of the table -->"
PACKAGES = ("keras", "tensorflow", "numpy", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert")
COLUMNS = ("model", "method", "format", "difference", "says")
TOLERANCE = 1e-4


def measure(model_name: str, method: str) -> list[dict]:
    """The largest difference from `analyze` in each format, for batches of five and of two.

    Nothing, if the method is not made for a layer of the model.
    """
    model, x = built(model_name)
    try:
        analyzer = innvestigate.create_analyzer(method, model, **ARGUMENTS.get(method, {}))
    except ValueError:
        return []
    if method.startswith("pattern."):
        analyzer.fit(np.random.default_rng(3).normal(size=(200, *x.shape[1:])).astype("float32"))
    expected = analyzer.analyze(x)
    scale = float(np.abs(expected).max())
    assert scale > 0, "relevance that is zero everywhere would agree with anything"
    found = []
    for format, run in RUNTIMES.items():
        row = {"model": model_name, "method": method, "format": format, "says": ""}
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/explainer"
            try:
                analyzer.export(path, format)
                gaps = [np.abs(run(path, x[:n]) - expected[:n]).max() / scale for n in (5, 2)]
                row["difference"] = f"{max(gaps):.1e}"
            except Exception as error:  # is a cell of the table
                row |= {"difference": "", "says": " ".join(str(error).split())[:300]}
        found.append(row)
    return found


def table(rows: list[dict]) -> str:
    """The rows as a page's table."""
    cells = {(r["method"], r["model"], r["format"]): r["difference"] or "refused" for r in rows}
    models = [m for m in MODELS if any(r["model"] == m for r in rows)]
    lines = [
        "| Method | " + " | ".join(models) + " |",
        "|---|" + "---|" * len(models),
    ]
    for method in METHODS:
        columns = [" / ".join(cells.get((method, m, f), "–") for f in RUNTIMES) for m in models]
        lines.append(f"| `{method}` | " + " | ".join(columns) + " |")
    return "\n".join(lines)


def counts(rows: list[dict]) -> str:
    """What the table comes to, in words."""
    right = [r for r in rows if r["difference"] and float(r["difference"]) <= TOLERANCE]
    others = [r for r in rows if r not in right]
    text = f"{len(right)} of {len(rows)} files agree with `analyze` to {TOLERANCE:g}."
    for r in others:
        text += f"\n- `{r['method']}`, {r['model']}, {r['format']}: "
        text += r["says"] or f"differs by {r['difference']}."
    return text


def versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"Measured with {', '.join(found)}, on a CPU."


def known() -> list[dict]:
    """The rows that were measured before."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict]) -> None:
    """Write the results and the page."""
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    made = "\n\n".join([BEGIN, counts(rows), versions(), table(rows), END])
    PAGE.write_text(before + made + after)


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    measured = names or list(MODELS)
    rows: list[dict] = []
    for model_name in measured:
        for method in METHODS:
            found = measure(model_name, method)
            print(model_name, method, *(r["difference"] or "refused" for r in found), flush=True)
            rows += found
    rows += [row for row in known() if row["model"] not in measured]
    write(sorted(rows, key=lambda row: list(MODELS).index(row["model"])))


if __name__ == "__main__":
    main(sys.argv[1:])
