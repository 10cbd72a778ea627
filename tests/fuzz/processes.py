"""Runs cases in processes of their own, and tells what they do there that they must not."""

import json
import os
import subprocess
import sys

RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
"""Events of Python's audit by which programs are started or connections made."""


def writes(mode, flags) -> bool:
    """Whether a file is opened for writing, of what the event `open` says."""
    by_mode = isinstance(mode, str) and set(mode) & set("wax+")
    return bool(by_mode) or (isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR)))


def outcomes(module: str, count: int, step: int, ended) -> list[dict]:
    """What became of every `step`-th of so many cases; one that ends the process is one of these.

    Args:
        module: What runs cases, `python -m module first step`, and writes a line of JSON for each.
        count: How many cases there are.
        step: Every which case is run.
        ended: `(number, why) -> outcome` of a case that ended the process.
    """
    found, first = [], 0
    while first < count:
        command = [sys.executable, "-m", module, str(first), str(step)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
        found += lines
        first = lines[-1]["number"] + step if lines else first
        if done.returncode == 0:
            break
        why = f"the process ended with {done.returncode}"
        found.append({"number": first, **ended(first, why)})
        first += step
    return found
