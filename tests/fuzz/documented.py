"""What the pages of `docs/api` document: the callables among it, methods included."""

import fnmatch
import importlib
import re
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parents[2] / "docs" / "api"
DIRECTIVE = re.compile(
    r"^\.\. (?:auto(class|function|method|exception|module)|(?:current)?module):: (\S+)"
    r"((?:\n   :.*)*)",
    re.MULTILINE,
)

NOT_CALLED = {
    "It is raised, not made": ("*Error",),
    "A base: what is told of its arguments is told of every subclass": (
        *("analyzer.Analyzer", "analyzer.MirrorAnalyzer", "analyzer.CamAnalyzer"),
        *("evaluation.Metric", "evaluation.Localization"),
        *("stores.Store", "stores.base.FileStore"),
    ),
    "The library makes it and hands it out": (
        *("analyzer.Plan", "analyzer.PlanLine", "analyzer.ReferenceSamples"),
        *("engine.ledger.Entry", "engine.ledger.Ledger"),
        *("evaluation.Evaluation", "visualization.HTML", "rules.Absorbed", "rules.Share"),
    ),
    "It starts processes: tests/distributed gives it what it should not get": ("distributed.*",),
    "It takes nothing but itself": ("rules.*.get_config",),
    "A hook, which the library calls with what it has made": (
        *("analyzer.Analyzer.check_model", "analyzer.Analyzer.explain"),
        *("analyzer.Analyzer.rewrite", "analyzer.MirrorAnalyzer.*", "evaluation.*.baseline"),
        *("evaluation.*.begin", "evaluation.*.measure", "evaluation.*.tables"),
        *("evaluation.*.values", "evaluation.*.score", "evaluation.*.region"),
        *("rules.*.__call__", "rules.*.absorbed", "rules.*.fits"),
        *("rules.*.function", "rules.*.weights", "rules.*.relevance", "rules.*.shares"),
        *("rules.*.multiplies", "rules.*.multipliers"),
        *("rules.Composite.check", "rules.Composite.choose", "rules.Line.matches"),
        *("stores.Store.append", "stores.base.FileStore.*"),
    ),
    "What methods are made of: it gets what was checked where it came in": (
        *("engine.answers.*", "engine.batch.*", "engine.conditions.*", "engine.config.*"),
        *("engine.frames.*", "engine.groups.*", "engine.guard.*", "engine.inputs.*", "graph.*"),
        *("engine.references.*", "engine.selection.*", "engine.text.*", "engine.variants.*"),
        *("engine.wrapper.*", "utils.batching.*"),
    ),
}
"""What is not called with hostile values, by patterns of names, and why."""


def why_not_called(name: str) -> str | None:
    """Why nothing hostile is given to what has a name; None if it is."""
    for why, patterns in NOT_CALLED.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            return why
    return None


def documented() -> dict[str, Any]:
    """Every callable that has a place on a page, by its name behind `innvestigate.`."""
    found: dict[str, Any] = {}
    for page in sorted(PAGES.glob("*.md")):
        home = ""
        for kind, name, options in DIRECTIVE.findall(page.read_text()):
            whole = name if name.startswith("innvestigate") else f"{home}.{name}"
            home = home if kind and kind != "module" else name
            if kind:
                members = re.search(r":members:(.*)", options)
                wanted = None if members is None else members[1].replace(",", " ").split()
                found |= _with_members(whole, wanted)
    return {name.partition(".")[2]: thing for name, thing in found.items() if callable(thing)}


def _with_members(name, wanted):
    """A thing and what is in it: None of it, those that are wanted, or all if it says of none."""
    thing = _resolved(name)
    if wanted is None:
        return {name: thing}
    every = getattr(thing, "__all__", None) or [n for n in vars(thing) if _is_told(thing, n)]
    parts = {f"{name}.{part}": getattr(thing, part) for part in wanted or every}
    below = {}
    for part, inner in parts.items():
        below |= _with_members(part, []) if isinstance(inner, type) else {part: inner}
    return {name: thing, **below}


def _is_told(home, name):
    """Whether a member is one that a page speaks of by itself."""
    value = getattr(home, name)
    own = isinstance(home, type) or getattr(value, "__module__", "") == home.__name__
    return own and callable(value) and not name.startswith("_") and bool(value.__doc__)


def _resolved(name):
    """What a name with dots stands for."""
    module, _, rest = name.partition(".")
    thing = importlib.import_module(module)
    for part in filter(None, rest.split(".")):
        module = f"{module}.{part}"
        thing = getattr(thing, part) if hasattr(thing, part) else importlib.import_module(module)
    return thing
