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
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import BuiltinFunctionType

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from keras import layers, tree

import innvestigate
from tests.fuzz import files, harness, methods, processes, surface
from tests.fuzz.values import FORMS, MUST, VALUES, WRONG
from tests.models import build

TITLE = "Inputs"
SECONDS = 30
LONGEST = 1500
ROOT = os.path.dirname(innvestigate.__file__)
OWN = (ValueError, TypeError, KeyError, RuntimeError, OSError)
OF_PATHS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
"""Errors of the system, which name the path."""
NOT_FINITE = "a result is not finite"
NOT_RUN = ("steps", "samples", "masks", "augment_by_n", "draws", "subsets", "n")
"""Numbers that may be as large as you like, if you have the time."""


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        family: What is hostile about it.
        name: What is called with what.
        prepare: Makes all that is needed, and returns what calls it.
        expected: Gives what it has to return if it is not refused; None where that is not known.
        must: `"must"` if it must not be refused, `"wrong"` if it must.
        builtin: Whether a function of Python's own is handed over: what it raises is the user's,
            and stands at the line that calls it.
    """

    family: str
    name: str
    prepare: Callable[[], Callable]
    expected: Callable | None = None
    must: str = ""
    builtin: bool = False


# --- Cases ----------------------------------------------------------------------------------------


@cache
def cases() -> list[Case]:
    """All of them, in an order that is always the same."""
    found = [*argument_cases(), *form_cases(), *model_cases()]
    random.Random(harness.SEED).shuffle(found)
    return found


def calls() -> list[surface.Call]:
    """Honest calls of all that is called."""
    return [*surface.calls(), *methods.calls()]


def argument_cases():
    """Every argument of every public callable with hostile values, one at a time."""
    seen = set()
    for number, call in enumerate(calls()):
        for place, argument in enumerate(surface.arguments_of(call)):
            group = _group(call)
            every = 12 if group == "analyzers" and argument in seen else EVERY.get(group, 2)
            seen |= {argument} if group == "analyzers" else set()
            for value in VALUES[(number + place) % every :: every]:
                yield _argument_case(call, argument, value)


EVERY = {"analyzers": 1, "methods": 4, "testing": 8, "genomics": 1}
"""Which share of the values arguments get."""


def _argument_case(call, argument, value):
    def prepare():
        given = {**call.honest(), argument: value.make()}
        number = given[argument]
        endless = argument in NOT_RUN and isinstance(number, (int, float)) and number > 1e6
        if endless and isinstance(call.call, (type, partial)):
            return lambda: (call.call(**given), [])[1]
        return lambda: call.use(call.call(**given))

    expected = None
    if value.plain is not None:
        expected = partial(plain_result, call, argument, value)
    family = f"arguments of {_group(call)}"
    builtin = isinstance(value.make(), (type, BuiltinFunctionType))
    return Case(family, f"{call.name}({argument}={value.name})", prepare, expected, builtin=builtin)


def _group(call):
    if " ." in call.name:
        return "methods"
    if call.name.startswith("analyzer"):
        return "analyzers"
    kind, dot, _ = call.name.partition(".")
    return kind if dot else "functions"


def plain_result(call, argument, value):
    """What a call does with a value in its plain form."""
    return call(**{argument: value.plain()})


def form_cases():
    """Data in every form, for every analyzer."""
    made = Made(surface.analyzer, lambda name: surface.samples(surface.analyzer(name)))
    for name in innvestigate.analyzers:
        for form in FORMS:
            yield _form_case("forms of data", name, made, form, *FORMS[form])


class Made:
    """Analyzers by name, and the data that they explain; each made once."""

    def __init__(self, analyzer, x):
        self.analyzer, self.x = cache(analyzer), x
        self.plain = cache(lambda name: _explained(self.analyzer(name), x(name)))


def _form_case(family, name, made, form, must, make):
    def prepare():
        analyzer, x = made.analyzer(name), make(tree.map_structure(np.array, made.x(name)))
        return lambda: _explained(analyzer, x)

    expected = partial(made.plain, name)
    return Case(family, f"{name}.analyze({form})", prepare, expected, must)


def _explained(analyzer, x):
    return analyzer.analyze(x)


SHAPES = (
    *("cnn", "two_inputs", "dict_inputs", "embedding", "uint8", "float64", "lstm"),
    *("variable_size", "strings"),
)


@cache
def _model(name):
    return files.tokens() if name == "strings" else build(name)


def _column_model(name):
    keras.utils.set_random_seed(0)
    parts = layers.Input((1,), name="input"), layers.Dense(3, activation="relu"), layers.Dense(1)
    return surface.analyzer(name, keras.Sequential(list(parts)))


def model_cases():
    """Forms of data, for models that take other data."""
    family = "forms of data of other models"
    made = Made(lambda n: surface.analyzer("gradient", _model(n)[0]), lambda n: _model(n)[1])
    for name in SHAPES:
        x = _model(name)[1]
        structured = isinstance(x, (dict, list, tuple))
        forms = dict(_structures(x)) if structured else _fitting(name, x)
        for form in forms:
            yield _form_case(family, name, made, form, *forms[form])
    column = Made(_column_model, lambda name: surface.X[:, :1])
    for form, make in COLUMNS.items():
        yield _form_case(family, "gradient", column, f"for (n, 1) {form}", MUST, make)


COLUMNS = {
    "a vector": lambda x: x[:, 0],
    "a list": lambda x: x[:, 0].tolist(),
    "a series": lambda x: pd.Series(x[:, 0]),
    "a tensor": lambda x: keras.ops.convert_to_tensor(x[:, 0]),
    "a list of a vector": lambda x: [x[:, 0]],
    "a generator of vectors": lambda x: (part for part in (x[:2, 0], x[2:, 0])),
    "one axis more": lambda x: x[..., None],
}


def _fitting(name, x):
    """The forms that say of some data what they say of three floats."""
    skipped = {
        "variable_size": {"one axis too few", "other size", "memoryview"},
        "strings": {*FORMS} - {"an array", "generator", "tf.data", "empty list", "None", "objects"},
        "float64": {"beyond float32"},
        "lstm": {"other size"},
        "embedding": {"other size", "a subclass"},
    }.get(name, set())
    if x.dtype.kind in "iu":
        skipped = skipped | {"NaN", "infinite", "beyond float32", "complex"}
    return {form: found for form, found in FORMS.items() if form not in skipped}


def _structures(x):
    leaves = list(x.values()) if isinstance(x, dict) else list(x)
    names = list(x) if isinstance(x, dict) else [str(i) for i in range(len(leaves))]
    named = dict(zip(names, leaves, strict=True))
    own = isinstance(x, dict)
    yield "as it is", (MUST, lambda x: x)
    yield "a dict", (MUST if own else WRONG, lambda x: dict(named))
    yield "keys in another order", (MUST if own else "", lambda x: dict(list(named.items())[::-1]))
    yield "a list", (WRONG if own else MUST, lambda x: list(leaves))
    yield "a tuple", (WRONG if own else MUST, lambda x: tuple(leaves))
    yield "nested", (WRONG, lambda x: [[leaves[0]], leaves[1:]])
    yield "too few", (WRONG, lambda x: leaves[:1])
    yield "too many", (WRONG, lambda x: [*leaves, leaves[0]])
    yield "one array", (WRONG, lambda x: leaves[0])
    yield "missing key", (WRONG, lambda x: {names[0]: leaves[0]})
    yield "mixed keys", (WRONG, lambda x: {names[0]: leaves[0], 1: leaves[1]})
    yield "further key", (WRONG, lambda x: {**named, "more": leaves[0]})
    yield "None in it", (WRONG, lambda x: [None, *leaves[1:]])
    yield "text in it", (WRONG, lambda x: ["a", *leaves[1:]])
    yield "ragged in it", (WRONG, lambda x: [[[1], [2, 3]], *leaves[1:]])
    yield "other lengths", (WRONG, lambda x: [leaves[0][:1], *leaves[1:]])
    yield "empty", (WRONG, lambda x: [a[:0] for a in leaves])
    yield "object array", (WRONG, lambda x: np.array([*leaves, None], object)[:-1])
    yield "generator", (MUST, lambda x: (part for part in (x,)))
    yield (
        "generator with an empty batch",
        (
            MUST,
            lambda x: (part for part in (tree.map_structure(lambda a: a[:0], x), x)),
        ),
    )
    yield "generator of lists, then dicts", (WRONG, lambda x: (p for p in (leaves, dict(named))))


# --- What became of them --------------------------------------------------------------------------


def outcome(case):
    """`"refused"` or `"right"`, or else what is wrong."""
    call = case.prepare()
    before, seen = _state(), []
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    harness.WATCHED[:] = os.path.dirname(tempfile.tempdir), seen
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            became = _called(case, call)
        seen += [_warned(w) for w in caught if not _is_own(w)]
        if became == NOT_FINITE and any(map(_is_own, caught)):
            became = "right"  # as where no window covers a feature: the library says so
    except BaseException as error:
        became = _foreign(error)
    finally:
        signal.alarm(0)
        harness.WATCHED.clear()
        plt.close("all")
    seen += [f"{name} changed" for name, value in _state().items() if value != before[name]]
    return {"became": became, "seen": sorted(set(seen))}


def _called(case, call):
    broken = (AssertionError,) if "testing" in case.family else ()
    try:
        found = call()
    except OWN + broken as error:
        return _refused(case, error)
    if case.must == WRONG:
        return "what is wrong was taken"
    found = surface.settled(found)
    if case.expected is None:
        return "right" if all(map(_is_sound, found)) else NOT_FINITE
    try:
        expected = surface.settled(case.expected())
    except OWN as error:
        return f"taken, but the plain form is refused: {error}"[:300]
    return "right" if _agree(found, expected) else "the result differs from that of the plain form"


def _refused(case, error):
    where = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, OF_PATHS):
        return "refused"
    raised = where.line.startswith(("raise", "assert")) or case.builtin
    if not where.filename.startswith(ROOT) or not raised:
        return _foreign(error)  # also of what its code does to a value that it has not looked at
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
        first, second = (pd.Series(each.reshape(-1), dtype=object) for each in (a, b))
        return first.equals(second)  # to which NaN is NaN
    return np.allclose(a.reshape(-1), b.reshape(-1), rtol=1e-4, atol=1e-6, equal_nan=True)


def _is_own(warning):
    """Whether the library itself warned, at the caller's line; these here call it.

    Keras turns its variables into arrays in a way that numpy does not like: always when it saves.
    """
    if "doesn't accept a copy keyword" in str(warning.message) and "keras" in warning.filename:
        return True
    return warning.category is UserWarning and "tests/fuzz" in warning.filename


def _warned(warning):
    place = f"{warning.filename[-40:]}:{warning.lineno}"
    return f"{warning.category.__name__} of {place}: {warning.message}"[:200]


def _state():
    """What no call may change."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    config = (keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format())
    return {
        "the model's weights": b"".join(w.tobytes() for w in surface.mlp().get_weights()),
        "numpy's random state": (keys.tobytes(), *rest),
        "Keras's settings": config,
        "numpy's error handling": tuple(np.geterr().items()),
        "matplotlib's settings": repr(dict(mpl.rcParams)),
        "the data": surface.X.tobytes() + surface.RELEVANCE.tobytes(),
    }


def _too_long(*_):
    raise TimeoutError(f"It takes longer than {SECONDS} seconds.")


def run(first, step, write=print):
    """Run cases in a folder of their own, and write what became of each."""
    mpl.use("agg")
    sys.addaudithook(harness.watch)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(os.path.realpath(folder)) / "temporary"
        place.mkdir()
        os.chdir(place)
        tempfile.tempdir = str(place)
        for number in range(first, len(cases()), step):
            case = cases()[number]
            print(number, case.name[:200], file=sys.stderr) if "-v" in sys.argv else None
            about = {"number": number, "family": case.family, "name": case.name}
            write(json.dumps(about | outcome(case)), flush=True)
        os.chdir("/")


def outcomes(step=1):
    """What became of every `step`-th case; one that ends the process is one of these."""

    def ended(number, why):
        case = cases()[number]
        return {"family": case.family, "name": case.name, "became": why, "seen": []}

    return processes.outcomes("tests.fuzz.inputs", len(cases()), step, ended)


def faults(found):
    """What is wrong with what became of a case."""
    became = found["became"]
    return [*found["seen"], *([became] if became not in ("refused", "right") else [])]


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
