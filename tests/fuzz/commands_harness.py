"""Runs command lines one after the other in a process of its own, and sees what they do there.

`python -m tests.fuzz.commands_harness first step` runs every `step`-th one from the `first` on, and
writes one line of JSON for each.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas
import zarr
from PIL import Image
from typer.testing import CliRunner

from tests.fuzz import processes
from tests.fuzz.processes import RUNS, writes

SECONDS = 60
"""How long one command may take."""
_WATCHED: list = []


def _watch(event, arguments):
    """Note what a command must not do: write elsewhere, start programs, connect."""
    if not _WATCHED:
        return
    inside, seen = _WATCHED
    if event in RUNS:
        seen.append(f"{event}{arguments}"[:200])
    if event == "open" and isinstance(arguments[0], (str, bytes)) and writes(*arguments[1:]):
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if not path.startswith(("/dev/null", "/proc/self", *inside)):
            seen.append(f"{path} was written to")


def run(first, step, write=print):
    """Run command lines and write what became of each."""
    from tests.fuzz import commands

    listed = commands.cases()
    sys.addaudithook(_watch)
    with tempfile.TemporaryDirectory() as outside:
        folder = Path(os.path.realpath(outside), "above", "folder")
        folder.mkdir(parents=True)
        (folder.parent / "temporary").mkdir()
        commands.make_folder(folder)
        tempfile.tempdir = str(folder.parent / "temporary")
        start = _state(folder)
        shutil.copytree(folder, folder.parent / "kept", symlinks=True, ignore=_pipes)
        for number, case in list(enumerate(listed))[first::step]:
            became, said, seen = _outcome(case, folder, start)
            line = {"number": number, "family": case.family, "became": became, "seen": seen}
            line |= {"line": " ".join(case.arguments)[:300], "said": said}
            write(json.dumps(line), flush=True)
        tempfile.tempdir = None
        os.chdir("/")


def _pipes(folder, names):
    return [name for name in names if Path(folder, name).is_fifo()]


def _outcome(case, folder, start):
    """What became of a command line, what it said last, and what is wrong with it."""
    seen, said = [], ""
    _WATCHED[:] = (str(folder.parent.parent), "/dev/shm"), seen
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        from innvestigate.cli import app

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = CliRunner().invoke(app, list(case.arguments))
            became, wrong = _judged(case, result)
            said = result.stderr[-600:]
    except BaseException as error:
        became, wrong = "fault", [f"{type(error).__name__}: {error}"[:300]]
    finally:
        signal.alarm(0)
        _WATCHED.clear()
        keras.backend.clear_session()
    if case.family == "right" and became == "refused":
        wrong.append(said)
    made = _state(folder)
    if "--ray" in case.arguments:  # it looks for a cluster
        seen = [event for event in seen if not event.startswith("socket.connect")]
    changed = [name for name in start if made.get(name) != start[name]]
    if "--force" in case.arguments:
        read = ("photo", "image.keras", "classes", "hard", "soft")  # what the line reads
        changed = [name for name in changed if name.startswith(read)]
    seen += [f"{name!r} was changed" for name in changed]
    if became != "done":
        kept = _told_of(said)
        left = (name for name in made.keys() - start.keys() if not (kept and name.startswith(kept)))
        seen += [f"{name!r} was left" for name in left]
    _restore(folder, made, start)
    return became if not wrong + seen else "fault", said, wrong + seen


def _told_of(said):
    """The half-done store that an error tells how to go on with."""
    return said.split(" holds the first ")[0].split()[-1] if "--resume goes on" in said else ""


def _too_long(*_):
    raise TimeoutError(f"It takes longer than {SECONDS} seconds.")


def _judged(case, result):
    """How a command ended, and what is wrong with what it said and wrote."""
    code, said = result.exit_code, result.stderr.splitlines()
    own = [line for line in said if not line.startswith("Note: ")]
    wrong = [] if not result.exception or isinstance(result.exception, SystemExit) else ["raised"]
    if code == 0:
        wrong += [f"it is done, and says {own[0][:300]}"] if own else []
        return "done", wrong + _results(case, result.stdout)
    if code not in (1, 2):
        wrong.append(f"the exit code {code}")
    if len(own) != 1 or not own[0].startswith("Error: ") or len(own[0]) > 2_100:
        wrong.append(f"not one line: {result.stderr[:600]}")
    if "This is unexpected" in result.stderr or "Traceback" in result.output:
        wrong.append(own[0][:400] if own else "a traceback")
    return "refused", wrong


def _results(case, stdout):
    """What is wrong with the files that a command says it wrote."""
    told = [line.removeprefix("wrote ") for line in stdout.splitlines() if line[:6] == "wrote "]
    wrong = (
        [] if told or "--out" not in case.arguments or "--help" in case.arguments else ["no output"]
    )
    for path in map(Path, told):
        if not path.exists():  # its name is one that was made printable
            continue
        try:
            _read(path)
        except Exception as error:
            wrong.append(f"{path} cannot be read: {error}"[:300])
    return wrong + (_differs(case) if case.expected else [])


def _read(path):
    kind = path.suffix.lower()
    if kind in (".npz", ".npy"):
        found = np.load(path, allow_pickle=False)
        arrays = found.values() if kind == ".npz" else [found]
        assert all(len(array) for array in arrays), "it is empty"
    elif kind == ".zarr":
        assert all(len(array) for _, array in zarr.open_group(path, mode="r").arrays()), (
            "it is empty"
        )
    elif kind == ".parquet":
        assert len(pandas.read_parquet(path)), "it is empty"
    elif kind in (".png", ".jpg", ".webp"):
        Image.open(path).load()
    elif kind in (".html", ".htm"):
        text = path.read_text("utf-8")
        assert text.endswith("</html>") and "<b>" not in text, "its text"
        assert text.count("<script") == 1, "its scripts"  # the slider's
    else:
        assert path.stat().st_size > 100 or kind == ".csv", "it is nearly empty"


def _differs(case):
    """Whether the numbers in `x.npz` are others than those of Python."""
    import innvestigate
    from innvestigate.cli.calls import parse_call

    name, arguments = parse_call(case.expected)
    model = keras.models.load_model("image.keras")
    analyzer = innvestigate.create_analyzer(name, model, **arguments)
    x, found = np.load("images.npy"), np.load("x.npz")[case.expected]
    if hasattr(analyzer, "fit"):
        analyzer.fit(np.load("train.npy"))
    if name in RANDOM:
        return [] if found.shape == x.shape else ["another shape"]
    same = np.allclose(found, analyzer.analyze(x), rtol=1e-4, atol=1e-6, equal_nan=True)
    return [] if same else ["other numbers than in Python"]


RANDOM = (
    *("random", "smoothgrad", "expected_gradients"),
    *("shapley_sampling", "rise", "kernel_shap", "lime"),
)


def _state(folder):
    """What every file holds, by name; of what is no file, what it is."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        plain = path.is_file() and not path.is_symlink()
        content = (
            path.read_bytes() if plain else os.readlink(path).encode() if path.is_symlink() else b""
        )
        found[name] = f"{path.lstat().st_mode} {hashlib.sha256(content).hexdigest()}"
    return found


def _restore(folder, made, start):
    """Remove what a command has made, and put back what it has changed."""
    for name in made.keys() - start.keys():
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for name in start:
        if made.get(name) != start[name]:
            shutil.copy2(folder.parent / "kept" / name, folder / name, follow_symlinks=False)


def outcomes(step=1):
    """What became of every `step`-th command line; one that ends the process is one of these."""
    from tests.fuzz import commands

    listed = commands.cases()

    def ended(number, why):
        case = listed[number]
        about = {"family": case.family, "line": " ".join(case.arguments)[:300]}
        return {"became": "fault", "seen": [why], **about}

    return processes.outcomes("tests.fuzz.commands_harness", len(listed), step, ended)


if __name__ == "__main__":
    run(*map(int, sys.argv[1:]))
