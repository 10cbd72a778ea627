"""What the analyzers' own documentation says of them, by name.

It is read from the source, as text: to import it would start Keras, which takes seconds.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import innvestigate

Definition = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True)
class Entry:
    """One analyzer: its name, what it computes in one line, its papers, its documentation."""

    name: str
    summary: str
    papers: str
    documentation: str


def names() -> list[str]:
    """The names of all analyzers, in the order of `innvestigate.analyzers`."""
    return list(_table("analyzer", "analyzers"))


def catalogue(text: str = "") -> list[Entry]:
    """The analyzers whose name contains a text.

    Args:
        text: The text; by default all of them are listed.

    Returns:
        One `Entry` for each, in the order of `innvestigate.analyzers`.
    """
    return [_entry(name) for name in names() if text.lower() in name.lower()]


def _entry(name: str) -> Entry:
    create, settings = _table("analyzer", "analyzers")[name], {}
    if isinstance(create, ast.Call):  # partial(create, setting=value, ...)
        settings = {str(word.arg): ast.literal_eval(word.value) for word in create.keywords}
        create = create.args[0]
    of = _definitions("analyzer")[ast.unparse(create)]
    described = [*_rule_of(settings), *_with_bases(of)]
    summary = _documentation(described[0]).splitlines()[0].rstrip(".")
    if settings:
        summary += f" ({', '.join(f'{key}={value!r}' for key, value in settings.items())})"
    return Entry(name, summary, _papers(described), _documentation(of))


def _rule_of(settings: dict) -> list[Definition]:
    """The class of the relevance rule that makes a setting of LRP."""
    made = _table("rules", "RULES").get(settings.get("rule", ""))
    named = [node.attr for node in ast.walk(made or ast.Pass()) if isinstance(node, ast.Attribute)]
    return [_definitions("rules")[name] for name in named]


def _with_bases(of: Definition) -> Iterator[Definition]:
    yield of
    for base in of.bases if isinstance(of, ast.ClassDef) else []:
        if (found := _definitions("analyzer").get(ast.unparse(base))) is not None:
            yield from _with_bases(found)


def _papers(described: list[Definition]) -> str:
    """Authors and years of the papers that the first docstring with a reference names."""
    for thing in described:
        _, _, reference = _documentation(thing).partition("Reference: ")
        found = re.findall(r"(?:^|; )([^;]*?\b\d{4})", " ".join(reference.split()))
        if found:
            return "; ".join(found)
    return ""


def _documentation(of: Definition) -> str:
    return inspect.cleandoc(ast.get_docstring(of) or "")


@cache
def _definitions(package: str) -> dict[str, Definition]:
    """The classes and functions of a package."""
    statements = [node for tree in _trees(package) for node in tree.body]
    return {node.name: node for node in statements if isinstance(node, Definition)}


@cache
def _table(package: str, name: str) -> dict[str, ast.expr]:
    """What a dict of a package, which is written out there, has by name."""
    for tree in _trees(package):
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                table = node.value
                assert isinstance(table, ast.Dict)
                keys = [ast.literal_eval(key) for key in table.keys if key is not None]
                return dict(zip(keys, table.values, strict=True))
    raise LookupError(f"There is no table {name} in {package}.")


@cache
def _trees(package: str) -> list[ast.Module]:
    folder = Path(innvestigate.__file__).parent / package
    return [ast.parse(path.read_text("utf-8")) for path in sorted(folder.glob("*.py"))]
