"""What the benchmark scripts share: models by name, one process for each measurement."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np


def build(name: str, size: int | None = None) -> keras.Model:
    """A network of keras.applications with random weights and its softmax head."""
    keras.utils.set_random_seed(0)
    arguments = {} if size is None else {"input_shape": (size, size, 3)}
    model = getattr(keras.applications, name)(weights=None, **arguments)
    _scale_activations(model)
    return model


def _scale_activations(model: keras.Model) -> None:
    """Let every BatchNormalization divide by the deviation it meets, or signals die out.

    Means stay zero: no biases, so that conservation can be checked.
    """
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images(model, 2), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))


def images(model: keras.Model, count: int) -> np.ndarray:
    """Noise of the shape the model takes, in [0, 1]."""
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


def seconds(function) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak_memory() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_own_process(script: str, *arguments: str, library: Path | None = None) -> dict:
    """Run a script's worker and read the JSON object that it prints last.

    Args:
        script: The script.
        *arguments: What follows `--worker`.
        library: The folder of another version of innvestigate, which is measured in place of ours.

    Returns:
        The object; `{"error": ...}` if the worker failed.
    """
    command = [sys.executable, script, "--worker", *arguments]
    env = os.environ if library is None else {**os.environ, "PYTHONPATH": str(library)}
    run = subprocess.run(command, capture_output=True, text=True, env=env)
    if run.returncode:
        return {"error": (run.stderr.strip().splitlines() or ["killed"])[-1][:200]}
    return json.loads(run.stdout.strip().splitlines()[-1])


def names(given: Iterable[str]) -> str:
    """Names in code, with commas between them."""
    return ", ".join(f"`{name}`" for name in given)


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def read(path: Path) -> dict:
    """What earlier runs have found; nothing if there were none."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, found: dict) -> None:
    """Keep what was found."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def replace_table(page: Path, table: str, name: str = "table") -> None:
    """Put a table in place of the one between a page's marks of that name.

    Raises:
        ValueError: If the page has no such marks.
    """
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text().partition(start)
    _, also, after = rest.partition(end)
    if not (found and also):
        raise ValueError(f"{page} has no marks {start} and {end}.")
    page.write_text(f"{before}{start}\n\n{table}\n\n{end}{after}")
