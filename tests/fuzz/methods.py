"""Honest calls of the methods of analyzers, and of what else the library hands out."""

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

from innvestigate import evaluation
from innvestigate.analyzer import PatternStatistics
from innvestigate.evaluation import Importance
from innvestigate.genomics import ShuffledReferences
from tests.fuzz import surface
from tests.fuzz.surface import X, as_it_is, place

Honest = Callable[[], dict]
ANALYZERS = ("gradient", "lrp.epsilon", "pattern.net", "occlusion", "deeplift", "smoothgrad")
EXPORTED = ("lrp.epsilon", "smoothgrad")
"""Two of them: an export takes a second."""
MODES = {"index": 0, "contrast": (0, 1), "weights": [1.0, 0.0], "all": None}
OF_ANALYZERS: dict[str, Honest] = {
    "analyze": lambda: {"x": X},
    "stream": lambda: {"x": X},
    "audit": lambda: {"x": X},
    "accounted": lambda: {"x": X},
    "tokens": lambda: {"x": X},
    "predictions": lambda: {"x": X},
    "fit": lambda: {"X": X},
    "partial_fit": lambda: {"batch": X},
    "rebuilt": dict,
    "save": lambda: {"path": place() / "analyzer"},
    "export": lambda: {"path": place() / "explainer"},
}


def calls() -> list[surface.Call]:
    """Calls of methods."""
    return [*_of_analyzers(), *_of_selections(), *_of_others()]


def _of_analyzers():
    for name in ANALYZERS:
        made = _made(name)
        for method, honest in OF_ANALYZERS.items():
            books = method in ("audit", "accounted") and made().adds_up_to is None
            left_out = books or (method == "export" and name not in EXPORTED)
            if hasattr(made(), method) and not left_out:
                use = {"rebuilt": surface.explained, "stream": list}.get(method, as_it_is)
                yield surface.Call(f"{name} .{method}", _method(made, method), honest, use)
        honest = partial(_going_on, made)
        yield surface.Call(f"{name} .analyze further", _method(made, "analyze"), honest)


def _going_on(made):
    """Arguments with which a job goes on of which a half is done."""
    out = place() / "found.npy"
    made().analyze(X[:2], out=out, batch_size=2)
    return {"x": X, "out": out, "resume": True, "batch_size": 2}


def _of_selections():
    for mode, selection in MODES.items():
        made = _made("lrp.epsilon", mode)
        honest = partial(dict, x=X, neuron_selection=selection)
        yield surface.Call(f"{mode} .analyze", _method(made, "analyze"), honest)


@cache
def _cached(name, mode):
    return surface.analyzer(name, neuron_selection_mode=mode)


def _made(name, mode="max_activation"):
    return partial(_cached, name, mode)


def _method(made, method):
    """A method of an analyzer that is fitted anew where calls may change what was fitted."""

    def call(**arguments):
        owner = made()
        owner = owner.rebuilt() if method in ("fit", "partial_fit") else owner
        return getattr(owner, method)(**arguments)

    return wraps(getattr(made(), method))(call)


def _seen(**arguments):
    found = Importance(**arguments)
    found.add(X)
    return found


def _statistics():
    return _cached("pattern.net", "max_activation").rebuilt().statistics


def _audited():
    return _cached("lrp.epsilon", "max_activation").audit(X)


def _kept():
    path = place() / "sums.npz"
    _statistics().save(path)
    return {"path": path}


def _kernels():
    return {"kernels": {layer.name: layer.kernel.numpy() for layer in surface.mlp().layers}}


OF_OTHERS: dict[str, tuple[Callable[[], Any], str, Honest, str]] = {
    "Importance": (partial(_seen, quantiles=[0.5]), "add", lambda: {"result": X}, "to_frame"),
    "Importance of tokens": (
        lambda: Importance("token"),
        "add",
        lambda: {"result": X, "tokens": X.astype(str)},
        "to_frame",
    ),
    "Importance with others": (_seen, "merge", lambda: {"other": _seen()}, "to_frame"),
    "Data of tokens": (
        lambda: evaluation,
        "importance",
        lambda: {"analyzer": _cached("gradient", "max_activation"), "data": X, "per": "token"},
        "",
    ),
    "Ledger": (_audited, "check", lambda: {"tolerance": 1e-3}, ""),
    "Entry": (lambda: _audited().entries[0], "balances", lambda: {"tolerance": 1e-3}, ""),
    "Statistics": (_statistics, "update", lambda: {"batch": X}, "state"),
    "Statistics with others": (_statistics, "merge", lambda: {"other": _statistics()}, "state"),
    "Statistics of a model": (_statistics, "patterns", _kernels, ""),
    "Statistics in a file": (_statistics, "save", lambda: {"path": place() / "sums.npz"}, ""),
    "Statistics from a file": (lambda: PatternStatistics, "load", _kept, "state"),
    "References": (ShuffledReferences, "__call__", lambda: {"x": surface.sequence()}, ""),
}
"""What has a method, the method, its arguments, and what is asked of what it changed or made."""


def _of_others():
    for name, (make, method, honest, asked) in OF_OTHERS.items():
        yield surface.Call(f"{name} .{method}", _of_new(make, method, asked), honest)


def _of_new(make, method, asked):
    """A method of something that is made anew for each call."""

    def call(**arguments):
        owner = make()
        found = getattr(owner, method)(**arguments)
        return getattr(owner if found is None else found, asked)() if asked else found

    return wraps(getattr(make(), method))(call)
