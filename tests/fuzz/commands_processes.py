"""Command lines as processes of their own, on bad days: no reader, no room, no right, Ctrl-C."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

SECONDS = 120
EXPLAIN = ("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.npz")
MANY = ("explain", "image.keras", "many.npy", "-m", "gradient", "-o", "x.npz")
SLOW = ("explain", "image.keras", "many.npy", "-m", "shapley_sampling(samples=1000)", "-o", "x.npz")


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        family: What is wrong with its surroundings, in words.
        arguments: What stands behind `python -m innvestigate`.
        code: How it must end.
        writes: The files that it must have made.
        stdout: `"read"`, `"unread"` (closed by its reader), `"closed"` or a file's name.
        stderr: `"read"`, `"closed"` or a file's name.
        environment: Variables that differ.
        before: What is called in the process before it starts.
        interrupt: When Ctrl-C comes: so many seconds after its start, or `"running"`.
        user: Whether it runs without the rights of an administrator.
        says: What its error must say.
        within: Seconds that it may take.
    """

    family: str
    arguments: tuple[str, ...]
    code: int
    writes: tuple[str, ...] = ()
    stdout: str = "read"
    stderr: str = "read"
    environment: dict = field(default_factory=dict)
    before: Callable | None = None
    interrupt: float | str | None = None
    user: bool = False
    says: str = ""
    within: float = SECONDS


def _no_room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))


MISSING = ("explain", "image.keras", "no.npy", "-m", "gradient", "-o", "x.npz")
UNKNOWN = ("explain", "image.keras", "images.npy", "-m", "lrp.epsilo", "-o", "x.npz")
CASES = [
    Process("late checks", MISSING, 2, says="There is no file no.npy", within=3),
    Process("late checks", UNKNOWN, 2, says="Did you mean 'lrp.epsilon'", within=3),
    Process("late checks", ("methods",), 0, within=3),
    Process("late checks", ("--help",), 0, within=3),
    Process("stdout without a reader", ("methods", "--details"), 0, stdout="unread"),
    Process("stdout without a reader", ("--version",), 0, stdout="unread"),
    Process("stdout without a reader", EXPLAIN, 0, ("x.npz",), stdout="unread"),
    Process("stdout full", ("methods",), 1, stdout="/dev/full", says="No space left"),
    Process("stdout full", ("--version",), 1, stdout="/dev/full", says="No space left"),
    Process("stdout full", ("explain", "--help"), 1, stdout="/dev/full", says="No space left"),
    Process("stdout full", EXPLAIN, 1, stdout="/dev/full", says="No space left"),
    Process("streams closed", ("methods",), 0, stdout="closed"),
    Process("streams closed", EXPLAIN, 0, ("x.npz",), stdout="closed", stderr="closed"),
    Process("streams closed", UNKNOWN, 2, stderr="closed"),
    Process("streams closed", UNKNOWN, 2, stderr="/dev/full"),
    Process("backends", EXPLAIN, 2, environment={"KERAS_BACKEND": "x"}, says="KERAS_BACKEND='x'"),
    Process("backends", EXPLAIN, 2, environment={"KERAS_BACKEND": "numpy"}, says="Backends: "),
    Process("backends", EXPLAIN, 0, ("x.npz",), environment={"KERAS_BACKEND": "jax"}),
    Process("encodings", ("methods",), 0, environment={"PYTHONIOENCODING": "ascii"}),
    Process("encodings", UNKNOWN, 2, environment={"LC_ALL": "C", "PYTHONUTF8": "0"}),
    Process("Ctrl-C", SLOW, 130, interrupt=1.0),
    Process("Ctrl-C", SLOW, 130, interrupt="running"),
    Process("no room on the disk", MANY, 1, before=_no_room, says="x.npz cannot be written"),
    Process("no rights", (*EXPLAIN[:-1], "locked/x.npz"), 2, user=True, says="cannot be written"),
    Process("no rights", ("plan", "secret.keras", "gradient"), 2, user=True, says="not readable"),
]


def outcomes(step=1):
    """What became of every `step`-th process: its family, `"done"` or `"refused"`, its faults."""
    from tests.fuzz import commands

    found = []
    with tempfile.TemporaryDirectory() as name:
        home, folder = os.getcwd(), Path(os.path.realpath(name))
        try:
            commands.make_folder(folder)
        finally:
            os.chdir(home)
        np.save(folder / "many.npy", np.zeros((1000, 6, 6, 1)))
        (folder / "secret.keras").write_bytes(b"")
        (folder / "secret.keras").chmod(0)
        (folder / "locked").mkdir(mode=0o555)
        folder.chmod(0o755)
        for case in CASES[::step]:
            became = "done" if case.code == 0 else "refused"
            line = " ".join(case.arguments)
            found.append({"family": case.family, "became": became, "line": line})
            found[-1]["seen"] = _faults(case, folder)
    return found


def _faults(case, folder):
    before, start = set(folder.rglob("*")), time.monotonic()
    code, out, err = _ended(case, folder)
    took = time.monotonic() - start
    new = {str(path.relative_to(folder)) for path in set(folder.rglob("*")) - before}
    for name in new:
        (folder / name).unlink()
    lines = err.splitlines()
    wrong = [] if code == case.code else [f"it ended with {code}: {err[-500:]}"]
    if case.stderr == "read" and case.code and (len(lines) != 1 or lines[0][:7] != "Error: "):
        wrong.append(f"not one line: {err[-500:]}")
    if case.code == 0 and lines:
        wrong.append(f"it says {err[:500]}")
    if "Traceback" in out + err or "unexpected" in err or case.says not in err:
        wrong.append(f"it says {err[-500:]}")
    if new != set(case.writes):
        wrong.append(f"it has written {sorted(new)}")
    return wrong + ([f"it takes {took:.1f} seconds"] if took > case.within else [])


def _ended(case, folder):
    """The exit code, and what was written to stdout and stderr, of a process."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "MPLCONFIGDIR": str(folder / "..")}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    read, write = os.pipe()
    places = [of if of[0] == "/" else os.devnull for of in (case.stdout, case.stderr)]
    with open(places[0], "w") as out, open(places[1], "w") as err:
        process = subprocess.Popen(
            [*_around(case), sys.executable, "-m", "innvestigate", *case.arguments],
            stdout={"read": subprocess.PIPE, "unread": write}.get(case.stdout, out),
            stderr=subprocess.PIPE if case.stderr == "read" else err,
            env=environment | case.environment,
            cwd=folder,
            preexec_fn=partial(_prepare, case.before),
            text=True,
            errors="replace",
        )
    os.close(read)
    os.close(write)
    if case.interrupt is not None:
        if case.interrupt == "running":
            process.stdout.readline()
        time.sleep(case.interrupt if isinstance(case.interrupt, float) else 2)
        process.send_signal(signal.SIGINT)
    try:
        said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate()
    return process.returncode, said[0] or "", said[1] or ""


def _prepare(before):
    """Ctrl-C interrupts, whatever started these processes: a job in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if before is not None:
        before()


def _around(case):
    """What starts a process with streams closed, or without the rights that root has over files."""
    if case.user and os.geteuid() == 0:
        return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    closed = [n for n, stream in {1: case.stdout, 2: case.stderr}.items() if stream == "closed"]
    redirected = " ".join(f"{n}>&-" for n in closed)
    return ["sh", "-c", f'exec "$@" {redirected}', "sh"] if closed else []
