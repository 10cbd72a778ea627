"""What changes have gained: methods with an earlier version of the library and with this one.

    python benchmarks/before.py COMMIT [--models VGG16] [--methods lrp.epsilon] [--rounds 3]

The two versions take turns, each time in a process of its own that measures what
`benchmarks/bench.py` does: time, most memory and time to the first result, as ratios to the plain
gradient of the same model. Medians over the rounds. What was found is kept in
benchmarks/results/before.json; the table goes into docs/performance.md.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import bench
import numpy as np
from measure import in_own_process, markdown, read, replace_table, write

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "before.json"
AIMS = {
    "lrp.z": 1.15,
    "lrp.epsilon": 1.15,
    "lrp.z_plus": 1.6,
    "lrp.alpha_1_beta_0": 1.6,
    "lrp.sequential_preset_a_flat": 1.6,
    "deep_taylor": 1.6,
    "lrp.alpha_2_beta_1": 2.4,
    "lrp.sequential_preset_b_flat": 2.4,
    "deeplift": 1.6,
    "deeplift.reveal_cancel": 4.0,
}
"""What the time should be at most."""
BOTH_SIGNS = {1.6: 1.75, 2.4: 3.0}
"""The same on EfficientNetB0, whose convolutions read numbers of both signs."""


@contextmanager
def version(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["git", "-C", HERE.parent, "archive", commit, "innvestigate"]
        files = subprocess.run(command, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=files, check=True)
        yield Path(folder)


def measured(model: str, method: str, library: Path, tape: dict) -> dict:
    """The ratios of one version."""
    own = in_own_process(bench.__file__, model, method, library=library)
    if "error" in own:
        return own
    return {"time": own["ratio"]} | {key: own[key] / tape[key] for key in ("memory", "first")}


def compare(model: str, method: str, old: Path, tape: dict, rounds: int) -> list[dict]:
    """Medians with the earlier version and with this one."""
    libraries = old, HERE.parent
    runs = [[measured(model, method, at, tape) for at in libraries] for _ in range(rounds)]
    return [_median(found) for found in zip(*runs, strict=True)]


def _median(runs: Sequence[dict]) -> dict:
    """The median of each number, or the first error."""
    failed = next((run for run in runs if "error" in run), None)
    return failed or {key: float(np.median([run[key] for run in runs])) for key in runs[0]}


def aim(model: str, method: str) -> float:
    """What the time should be at most."""
    most = AIMS[method]
    return BOTH_SIGNS.get(most, most) if model == "EfficientNetB0" else most


def table(found: dict) -> str:
    """Before and after, one line for each model and method."""
    names = {"time": "time", "memory": "peak memory", "first": "first result"}
    header = ["model", "method", *(f"{name}, before → after" for name in names.values()), "aim"]
    rows = []
    for model, methods in found.items():
        for method, (old, new) in ((m, pair) for m, pair in methods.items() if m != "tape"):
            cells = [f"{old.get(k, np.nan):.2f} → {new.get(k, np.nan):.2f}" for k in names]
            refused = "error" in new
            cells = ["refuses", "", ""] if refused else cells
            rows.append([model, f"`{method}`", *cells, f"{aim(model, method):.2f}"])
    return markdown(header, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--models", default=",".join(bench.MODELS))
    parser.add_argument("--methods", default=",".join(AIMS))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found, rounds = read(RESULTS), arguments.rounds
    with version(arguments.commit) as old:
        for model in arguments.models.split(","):
            known = found.setdefault(model, {})
            if "tape" not in known:
                runs = [in_own_process(bench.__file__, model, "tape") for _ in range(rounds)]
                known["tape"] = _median(runs)
            for method in [m for m in arguments.methods.split(",") if m not in known]:
                known[method] = compare(model, method, old, known["tape"], rounds)
                print(model, method, *known[method], flush=True)
                write(RESULTS, found)
    replace_table(bench.PAGE, table(found), "before")


if __name__ == "__main__":
    main()
