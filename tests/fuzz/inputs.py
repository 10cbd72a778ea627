"""Hostile arguments and data: what is called with what, and what became of it.

A call is either refused, by an error that the library itself raises in one line, or it does what
the plain form of the same value does.

`python -m tests.fuzz.inputs first step` runs every `step`-th case from the `first` on, and writes
one line of JSON for each.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, tree

import innvestigate
from tests.fuzz import surface
from tests.fuzz.values import FORMS, HUGE, MUST, VALUES, WRONG
from tests.models import MODELS, build

TITLE = "Inputs"
SECONDS = 30
LONGEST = 700
ROOT = os.path.dirname(innvestigate.__file__)
OWN = (ValueError, TypeError, KeyError, RuntimeError, OSError)
NOT_RUN = ("steps", "samples", "augment_by_n", "draws", "subsets", "n")
"""Numbers that may be as large as you like, if you have the time."""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        family: What is hostile about it.
        name: What is called with what.
        call: Calls it.
        expected: Gives what it has to return if it is not refused; None where that is not known.
        must: `"must"` if it must not be refused, `"wrong"` if it must.
    """

    family: str
    name: str
    call: Callable
    expected: Callable | None = None
    must: str = ""


# --- Cases ----------------------------------------------------------------------------------------


@cache
def cases() -> list[Case]:
    """All of them, in an order that is always the same."""
    return [*argument_cases(), *form_cases(), *model_cases()]


def argument_cases():
    """Every argument of every public callable with hostile values, one at a time."""
    seen = set()
    for number, call in enumerate(surface.calls()):
        created = call.name.startswith("analyzer '")
        for argument in surface.arguments_of(call):
            values = VALUES
            if created and argument in seen:  # the same argument of another analyzer
                values = VALUES[(number + len(argument)) % 12 :: 12]
            seen |= {argument} if created else set()
            for value in values:
                yield _argument_case(call, argument, value)


def _argument_case(call, argument, value):
    def run():
        given, use = value.make(), call.use
        endless = argument in NOT_RUN and isinstance(given, (int, float)) and given > 1e6
        if endless and isinstance(call.call, (type, partial)):
            call.call(**{**call.honest(), argument: given})
            return []
        return use(call.call(**{**call.honest(), argument: given}))

    expected = None
    if value.plain is not None:
        expected = partial(plain_result, call, argument, value)
    family = f"arguments of {_group(call)}"
    return Case(family, f"{call.name}({argument}={value.name})", run, expected)


def _group(call):
    if " ." in call.name:
        return "methods of analyzers"
    kind = call.name.split(".")[0]
    return {"analyzer": "analyzers", "rules": "rules"}.get(kind.split(" ")[0], kind)


def plain_result(call, argument, value):
    return call(**{argument: value.plain()})


def form_cases():
    """Data in every form, for every analyzer."""
    for name in innvestigate.analyzers:
        for form, (must, make) in FORMS.items():
            yield _form_case("forms of data", name, _analyzer, partial(_data, make), form, must)


def _data(make):
    return make(surface.X.copy())


@cache
def _analyzer(name):
    return surface.analyzer(name)


def _form_case(family, name, made, data, form, must):
    def expected():
        return _plain(made, name)

    return Case(family, f"{name}.analyze({form})", lambda: _explained(made(name), data()), expected, must)


def _explained(made, x):
    return made.analyze(x, {"index": 0}.get(made.neuron_selection_mode))


@cache
def _plain(made, name):
    return _explained(made(name), made.x(name))


_analyzer.x = lambda name: surface.X


SHAPES = ("cnn", "two_inputs", "dict_inputs", "embedding", "uint8", "float64", "lstm", "variable_size")


@cache
def _of_model(name):
    return surface.analyzer("gradient", build(name)[0])


_of_model.x = lambda name: build(name)[1]


@cache
def _column(name):
    keras.utils.set_random_seed(0)
    parts = layers.Input((1,), name="input"), layers.Dense(3, activation="relu"), layers.Dense(1)
    return surface.analyzer("gradient", keras.Sequential(list(parts)))


_column.x = lambda name: surface.X[:, :1]


def model_cases():
    """Forms of data, for models that take other data."""
    for name in SHAPES:
        x = MODELS[name]()[1]
        forms = dict(_structures(x)) if isinstance(x, (dict, list, tuple)) else _fitting(name, x)
        for form, (must, make) in forms.items():
            data = partial(_copied, make, name)
            yield _form_case("forms of data of other models", name, _of_model, data, form, must)
    vector = {"a vector for (n, 1)": (MUST, lambda x: x[:, 0]), "a list": (MUST, lambda x: x[:, 0].tolist())}
    vector["a series"] = MUST, lambda x: __import__("pandas").Series(x[:, 0])
    for form, (must, make) in vector.items():
        data = partial(lambda make: make(surface.X[:, :1].copy()), make)
        yield _form_case("forms of data of other models", "(n, 1)", _column, data, form, must)


def _copied(make, name):
    return make(tree.map_structure(np.array, build(name)[1]))


def _fitting(name, x):
    """Forms that say the same, where whole numbers are not floats."""
    skipped = {"one axis too few", "other size"} if name == "variable_size" else set()
    skipped |= {"NaN", "infinite", "beyond float32"} if x.dtype.kind in "iu" else set()
    skipped |= {"beyond float32"} if x.dtype == "float64" else set()
    skipped |= {"other size"} if name in ("embedding", "lstm") else set()
    return {k: v for k, v in FORMS.items() if k not in skipped and "longdouble" not in k or k == "an array"}


def _structures(x):
    leaves = list(x.values()) if isinstance(x, dict) else list(x)
    names = list(x) if isinstance(x, dict) else [str(i) for i in range(len(leaves))]
    other = leaves[0].reshape(-1)[:1]
    yield "as it is", (MUST, lambda x: x)
    yield "a dict", (WRONG if not isinstance(x, dict) else MUST, lambda x: dict(zip(names, leaves, strict=True)))
    yield "keys in another order", ("", lambda x: dict(list(zip(names, leaves, strict=True))[::-1]))
    yield "a list", ("", lambda x: list(leaves))
    yield "a tuple", ("", lambda x: tuple(leaves))
    yield "nested", (WRONG, lambda x: [[leaves[0]], leaves[1:]])
    yield "too few", (WRONG, lambda x: leaves[:1])
    yield "too many", (WRONG, lambda x: [*leaves, leaves[0]])
    yield "one array", (WRONG, lambda x: leaves[0])
    yield "missing key", (WRONG, lambda x: {names[0]: leaves[0]})
    yield "mixed keys", (WRONG, lambda x: {names[0]: leaves[0], 1: leaves[1]})
    yield "further key", (WRONG, lambda x: {**dict(zip(names, leaves, strict=True)), "more": other})
    yield "None in it", (WRONG, lambda x: [None, *leaves[1:]])
    yield "text in it", (WRONG, lambda x: ["a", *leaves[1:]])
    yield "ragged in it", (WRONG, lambda x: [[[1], [2, 3]], *leaves[1:]])
    yield "other lengths", (WRONG, lambda x: [leaves[0][:1], *leaves[1:]])
    yield "empty", (WRONG, lambda x: [a[:0] for a in leaves])
    yield "swapped", ("", lambda x: leaves[::-1])
    yield "object array", (WRONG, lambda x: np.array([*leaves, None], object)[:-1])
    yield "generator", (MUST, lambda x: (part for part in (x,)))


# --- What became of them --------------------------------------------------------------------------


def outcome(case):
    """`"refused"` or `"right"`, or else what is wrong."""
    before, seen = _state(), []
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            became = _called(case, seen)
        seen += [_warned(w) for w in caught if not _is_own(w)]
    except BaseException as error:
        became = _foreign(error)
    finally:
        signal.alarm(0)
        plt.close("all")
    seen += [f"{name} changed" for name, value in _state().items() if value != before[name]]
    return {"became": became, "seen": sorted(set(seen))}


def _called(case, seen):
    try:
        found = case.call()
    except OWN as error:
        return _refused(case, error)
    if case.must == WRONG:
        return "what is wrong was taken"
    found = surface.settled(found)
    if case.expected is None:
        return "right" if all(map(_is_sound, found)) else "a result is not finite"
    try:
        expected = surface.settled(case.expected())
    except OWN as error:
        return f"taken, but the plain form is refused: {error}"[:300]
    return "right" if _agree(found, expected) else "the result differs from that of the plain form"


def _refused(case, error):
    where = traceback.extract_tb(error.__traceback__)[-1]
    if not where.filename.startswith(ROOT):
        return _foreign(error)
    if case.must == MUST:
        return f"what fits was refused: {error}"[:300]
    message = error.args[0] if isinstance(error, KeyError) else str(error)
    if not isinstance(message, str) or "\n" in message or not 20 <= len(message) <= LONGEST:
        return f"the message is not one readable line: {message!r}"[:300]
    return "refused"


def _foreign(error):
    places = traceback.extract_tb(error.__traceback__)
    own = [p for p in places if p.filename.startswith(ROOT)]
    at = f"{own[-1].filename[len(ROOT) + 1 :]}:{own[-1].lineno}" if own else "nowhere"
    return f"{type(error).__name__} below {at}: {error!r}"[:300]


def _is_sound(array):
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def _agree(found, expected):
    if len(found) != len(expected):
        return False
    return all(map(_close, found, expected))


def _close(a, b):
    if a.size != b.size:
        return False
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return a.tolist() == b.tolist()
    return np.allclose(a.reshape(-1), b.reshape(-1), rtol=1e-4, atol=1e-6, equal_nan=True)


def _is_own(warning):
    """Whether the library itself warned, at the caller's line; these here call it."""
    return warning.category is UserWarning and "tests/fuzz" in warning.filename


def _warned(warning):
    return f"{warning.category.__name__} of {warning.filename[-40:]}:{warning.lineno}: {warning.message}"[:200]


def _state():
    """What no call may change."""
    _, keys, *rest = np.random.get_state()
    config = (keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())
    return {
        "the model's weights": b"".join(w.tobytes() for w in surface.mlp().get_weights()),
        "numpy's random state": (keys.tobytes(), *rest),
        "Python's random state": random.getstate(),
        "Keras's settings": config,
        "numpy's error handling": tuple(np.geterr().items()),
        "matplotlib's settings": repr(dict(mpl.rcParams)),
        "the data": surface.X.tobytes() + surface.RELEVANCE.tobytes(),
        "the folder": os.listdir(),
    }


def _too_long(*_):
    raise TimeoutError(f"It takes longer than {SECONDS} seconds.")


def run(first, step, write=print):
    """Run cases in a folder of their own, and write what became of each."""
    mpl.use("agg")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "here").mkdir()
        os.chdir(Path(folder) / "here")
        tempfile.tempdir = folder
        for number in range(first, len(cases()), step):
            case = cases()[number]
            print(number, case.name[:200], file=sys.stderr) if "-v" in sys.argv else None
            about = {"number": number, "family": case.family, "name": case.name}
            write(json.dumps(about | outcome(case)), flush=True)
        os.chdir("/")


def outcomes(step=1):
    """What became of every `step`-th case; one that ends the process is one of these."""
    found, first, count = [], 0, len(cases())
    while first < count:
        command = [sys.executable, "-m", "tests.fuzz.inputs", str(first), str(step)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
        found += lines
        first = lines[-1]["number"] + step if lines else first
        if done.returncode == 0:
            break
        became = f"the process ended with {done.returncode}"
        about = {"family": cases()[first].family, "name": cases()[first].name}
        found.append({"number": first, "became": became, "seen": [], **about})
        first += step
    return found


def faults(found):
    """What is wrong with what became of a case."""
    became = found["became"]
    return [*found["seen"], *([became] if became not in ("refused", "right") else [])]


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
