"""Opens files one after the other in a process of its own, and sees what they do there.

`python -m tests.fuzz.harness first step` opens every `step`-th file from the `first` on, and
writes one line of JSON for each.
"""

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import keras
import numpy as np

from tests.fuzz import processes
from tests.fuzz.processes import RUNS, writes

SECONDS = 60
"""How long one file may take."""
SEED = 20
WATCHED: list = []


def watch(event, arguments):
    """Note what a file must not do: write elsewhere, start programs, connect."""
    if not WATCHED:
        return
    folder, seen = WATCHED
    if event in RUNS:
        seen.append(f"{event}{arguments}")
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, written = os.path.abspath(os.fsdecode(arguments[0])), writes(*arguments[1:])
        if (
            written
            and not path.startswith(("/dev/null", "/proc/self"))
            and not _inside(path, folder)
        ):
            seen.append(f"{path} was written to")
        if path == f"{folder}/secret":
            seen.append("a file outside was read")


def _inside(path, folder):
    return path.startswith(os.path.join(folder, "temporary"))


def run(first, step, write=print):
    """Open files and write what became of each."""
    from tests.fuzz import files, hostile

    warnings.simplefilter("ignore")
    keras.config.enable_unsafe_deserialization()  # the worst that may have happened before
    sys.addaudithook(watch)
    honest = max(_measured(files.Case("honest", _honest(name)), 0)[1] for name in files.MAKERS)
    for number, case in list(enumerate(files.cases()))[first::step]:
        hostile.SEEN.clear()
        became, growth, seen = _measured(case, number)
        line = {"number": number, "family": case.family, "opened_as": case.opened_as}
        line |= {"became": became, "growth": growth, "honest": honest, "seen": seen + hostile.SEEN}
        write(json.dumps(line), flush=True)


def _honest(name):
    from tests.fuzz import files

    return files.write(lambda folder, random: files.honest(name)[0])


def _measured(case, number):
    """What became of a file, by how many bytes it let the process grow, and what it did."""
    from tests.fuzz import files

    with tempfile.TemporaryDirectory() as folder:
        place = Path(os.path.realpath(folder))
        (place / "temporary").mkdir()
        (place / "secret").write_text("secret\n")
        path = case.make(place, np.random.default_rng((SEED, number)))
        before = set(place.rglob("*"))
        gc.collect()
        tempfile.tempdir, seen = str(place / "temporary"), []
        start = _resident(anew=True)
        WATCHED[:] = str(place), seen
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(SECONDS)
        try:
            became = files.opened(case, path)
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            became = f"{type(error).__name__} at {where.filename}:{where.lineno}: {error}"[:600]
        finally:
            signal.alarm(0)
            WATCHED.clear()
            tempfile.tempdir = None
        growth = _resident() - start
        left = {str(p.relative_to(place)) for p in set(place.rglob("*")) - before}
    return became, growth, seen + [f"{name} was left" for name in sorted(left)]


def _too_long(*_):
    raise TimeoutError(f"It takes longer than {SECONDS} seconds.")


def _resident(anew=False):
    """The most bytes of memory that the process has held, counted anew or not."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def outcomes(step=1):
    """What became of every `step`-th file; a file that ends the process is one of these."""
    from tests.fuzz import files

    def ended(number, why):
        case = files.cases()[number]
        about = {"family": case.family, "opened_as": case.opened_as, "growth": 0, "honest": 1}
        return {"became": why, "seen": [], **about}

    return processes.outcomes("tests.fuzz.harness", len(files.cases()), step, ended)


def faults(outcome):
    """What is wrong with what became of a file."""
    found = list(outcome["seen"])
    if outcome["became"] not in ("refused", "loaded"):
        found.append(outcome["became"])
    if outcome["growth"] > 2 * outcome["honest"] + SLACK:
        found.append(f"{outcome['growth'] / 1e6:.0f} MB of memory")
    return found


SLACK = 32_000_000
"""Bytes by which a process grows at random."""


if __name__ == "__main__":
    run(*map(int, sys.argv[1:]))
