"""The peers' time and memory, each as a ratio to one gradient of its own framework.

    python benchmarks/peers/run.py [--innvestigate-python PATH] [--torch-python PATH]
        [--transformers-python PATH] [--peers Zennit,Captum] [--models VGG16,ResNet50]
        [--methods lrp.z,lrp.epsilon]

Without a path, the peer's environment is made with venv and pip from its requirements file, once.
Every (peer, model, method) is a process of its own, one after the other, and a row of
`benchmarks/results/peers.json`: "time", "memory" and "first" (the time to the first result) are
ratios; "error" says why there are none. Rows that the file holds are not measured again; take one
out to measure it anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "peers.json"
MODELS = ("VGG16", "ResNet50", "EfficientNetB0", "DenseNet121")
TRANSFORMERS = ("Llama",)
METHODS = (
    "gradient",
    "input_t_gradient",
    "guided_backprop",
    "lrp.z",
    "lrp.epsilon",
    "lrp.z_plus",
    "lrp.alpha_1_beta_0",
    "lrp.alpha_2_beta_1",
    "lrp.sequential_preset_a_flat",
    "lrp.sequential_preset_b_flat",
    "deep_taylor",
    "deeplift",
)
ATTENTION = ("lrp.attn",)
PLAIN = "plain"  # the workers' name for nothing but the gradient


class Environment(NamedTuple):
    """What a peer runs in, and the Pythons that it can be made with, best first."""

    name: str
    pythons: tuple[str, ...]
    needs: str


class Peer(NamedTuple):
    """A program to measure."""

    name: str
    package: str
    worker: str
    environment: Environment
    models: tuple[str, ...] = MODELS
    methods: tuple[str, ...] = METHODS


INNVESTIGATE = Environment(
    "innvestigate", ("python3.10", "python3.11", "python3.9"), "Python 3.9 to 3.11"
)
TORCH = Environment("torch", (sys.executable,), "Python 3.11 or newer")
HUGGINGFACE = Environment("transformers", (sys.executable,), "Python 3.11 or newer")
PEERS = (
    Peer("iNNvestigate", "innvestigate", "innvestigate_2.py", INNVESTIGATE),
    Peer("Zennit", "zennit", "torch_peers.py", TORCH),
    Peer("Captum", "captum", "torch_peers.py", TORCH),
    Peer("LXT", "lxt", "transformer_peers.py", HUGGINGFACE, TRANSFORMERS, ATTENTION),
    Peer("autoLRP", "autoLRP", "transformer_peers.py", HUGGINGFACE, TRANSFORMERS, ATTENTION),
)


def python_of(environment: Environment) -> str:
    """The Python of an environment, which is made if it is not there."""
    folder = HERE / ".venv" / environment.name
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        creator = next(filter(runs, environment.pythons), None)
        if creator is None:
            raise SystemExit(
                f"The environment of {environment.name} needs {environment.needs}, and none of "
                f"{', '.join(environment.pythons)} runs here. Install one of them, give the "
                f"Python of such an environment with --{environment.name}-python, or leave its "
                "peers out with --peers."
            )
        requirements = HERE / f"requirements-{environment.name}.txt"
        subprocess.run([creator, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
        ready.touch()
    return str(python)


def runs(python: str) -> bool:
    """Whether there is such a Python."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def title(peer: Peer, python: str) -> str:
    """Name and version."""
    command = f"from importlib.metadata import version; print(version({peer.package!r}))"
    found = subprocess.run([python, "-c", command], capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{python} has no package {peer.package!r}, which {peer.name} needs.")
    return f"{peer.name} {found.stdout.strip()}"


def measured(peer: Peer, python: str, model: str, method: str, chosen) -> dict:
    """What a worker prints; {"error": ...} if it died."""
    options = ["--size", chosen.size, "--batch", chosen.batch, "--pairs", chosen.pairs]
    command = [python, HERE / peer.worker, peer.name, model, method, *map(str, options)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=chosen.timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"no result within {chosen.timeout} seconds"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": f"exit code {done.returncode}: {last}"[:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def as_ratio(found: dict, plain: dict) -> dict:
    """A row's numbers: memory and first result as ratios to those of the gradient alone."""
    if "error" in found:
        return found
    if "error" in plain:
        return {"error": f"the gradient itself: {plain['error']}"}
    ratios = {key: found[key] / plain[key] for key in ("memory", "first")}
    rounded = {key: round(value, 3) for key, value in {"time": found["time"], **ratios}.items()}
    return {**rounded, "finite": found["finite"]}


class Table:
    """The rows of a file, which is written again after every new one."""

    def __init__(self, path: Path, settings: dict):
        self.path, self.settings, self.rows = path, settings, []
        if path.exists():
            held = json.loads(path.read_text())
            if held["settings"] != settings:
                raise SystemExit(
                    f"{path} was measured with {held['settings']}, not {settings}. "
                    "Choose another --output, or take the file away."
                )
            self.rows = held["rows"]

    def lacks(self, peer: str, model: str, method: str) -> bool:
        key = (peer, model, method)
        return all((row["peer"], row["model"], row["method"]) != key for row in self.rows)

    def add(self, row: dict) -> None:
        self.rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(f"    {json.dumps(row)}" for row in self.rows)
        text = f'{{\n  "settings": {json.dumps(self.settings)},\n  "rows": [\n{lines}\n  ]\n}}\n'
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(text)
        os.replace(unfinished, self.path)
        print(json.dumps(row), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--innvestigate-python", help="Python of an environment with iNNvestigate")
    parser.add_argument("--torch-python", help="Python of an environment with Zennit and Captum")
    parser.add_argument("--transformers-python", help="Python of one with LXT and autoLRP")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS))
    parser.add_argument("--models", default=",".join((*MODELS, *TRANSFORMERS)))
    parser.add_argument("--methods", default=",".join((*METHODS, *ATTENTION)))
    parser.add_argument("--size", type=int, default=224, help="of the images, in pixels")
    parser.add_argument("--batch", type=int, default=8, help="how many images")
    parser.add_argument("--pairs", type=int, default=5, help="timed calls, with a gradient each")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds for one process")
    parser.add_argument("--output", type=Path, default=RESULTS)
    chosen = parser.parse_args()
    unknown = set(chosen.peers.split(",")) - {peer.name for peer in PEERS}
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return chosen


def main():
    chosen = arguments()
    given = {
        INNVESTIGATE: chosen.innvestigate_python,
        TORCH: chosen.torch_python,
        HUGGINGFACE: chosen.transformers_python,
    }
    table = Table(
        chosen.output, {"size": chosen.size, "batch": chosen.batch, "pairs": chosen.pairs}
    )
    for peer in PEERS:
        if peer.name not in chosen.peers.split(","):
            continue
        python = given[peer.environment] or python_of(peer.environment)
        name = title(peer, python)
        wanted = [m for m in chosen.methods.split(",") if m in peer.methods]
        for model in [m for m in chosen.models.split(",") if m in peer.models]:
            methods = [m for m in wanted if table.lacks(name, model, m)]
            plain = measured(peer, python, model, PLAIN, chosen) if methods else {}
            for method in methods:
                found = as_ratio(measured(peer, python, model, method, chosen), plain)
                table.add({"peer": name, "model": model, "method": method, **found})


if __name__ == "__main__":
    main()
