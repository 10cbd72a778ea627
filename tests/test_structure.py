"""What the library's source must not contain: read as text and as syntax, never run."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import innvestigate

ROOT = Path(innvestigate.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))

# What a package may import besides itself and `utils`, in the order in which imports point.
LAYERS = ("cli", "analyzer", "engine", "rules", "graph", "backend")
ALONE = ("evaluation", "visualization", "genomics", "stores", "utils")
ALLOWED = {
    **{name: {*LAYERS[i + 1 :]} for i, name in enumerate(LAYERS)},
    "cli": {*LAYERS[1:], "distributed", "evaluation", "visualization", "genomics", "stores"},
    "distributed": {*LAYERS[1:], "evaluation", "stores"},
    "engine": {"rules", "graph", "backend", "genomics", "stores"},  # genomics: which it saves
    "evaluation": {"backend"},  # to run models as fast as the backend does
    "visualization": {"backend"},  # whose name pages tell
    "genomics": set(),
    "stores": set(),
    "utils": {"visualization"},  # by its old name
    "testing": {*LAYERS, *ALONE},
}
OF_KERAS = ("trace.py", "functional.py", "symbolic.py", "lenient.py")
MAY_BE_READ = ("_asdict", "_replace")  # of named tuples, which call them public


def place(path):
    """A file and what it belongs to."""
    return path.parts[0].removesuffix(".py")


@cache
def tree_of(path):
    return ast.parse((ROOT / path).read_text())


def parsed(kinds, path):
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, kinds)]


def module_of(path):
    return ".".join(("innvestigate", *path.with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def imports(path):
    """The library's modules that a file imports when it is imported itself."""
    found, open_nodes = set(), list(tree_of(path).body)
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, (ast.If, ast.Try)) and "TYPE_CHECKING" not in ast.dump(node):
            open_nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            below = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= below or {node.module}
    return {name for name in found if name.split(".")[0] == "innvestigate"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_one_way(path):
    home = place(path)
    if home in ("__init__", "__main__"):
        return
    packages = {name.split(".")[1] for name in imports(path) if "." in name}
    assert packages <= {home, "utils", *ALLOWED[home]}


def test_no_import_goes_round_in_circles():
    known: set[str] = set()
    waiting = {name: imports(path) - {name} for name, path in MODULES.items()}
    while ready := {name for name, needs in waiting.items() if needs <= known}:
        known |= ready
        waiting = {name: needs for name, needs in waiting.items() if name not in ready}
    assert not waiting


def test_a_circle_would_be_found():
    assert imports(Path("graph/run.py")) >= {"innvestigate.graph.step", "innvestigate.graph.trace"}
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_trace_reads_what_is_private_elsewhere(path):
    if path.name in OF_KERAS:
        return
    known = {node.attr for node in parsed(ast.Attribute, path) if _is_own(node.value)}
    private = [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in parsed(ast.Attribute, path)
        if re.match(r"_[^_]", node.attr) and not _is_own(node.value)
        if node.attr not in known | {*MAY_BE_READ}
    ]
    assert private == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_private_is_imported(path):
    names = [a.name for node in parsed(ast.ImportFrom, path) for a in node.names]
    assert [name for name in names if re.match(r"_[^_]", name)] == []
    private = [node.module for node in parsed(ast.ImportFrom, path) if "keras.src" in node.module]
    assert not private or path.name in (*OF_KERAS, "masks.py")


def _is_own(node):
    """Whether a value is the object itself, its class or its base."""
    base = node.func if isinstance(node, ast.Call) else node
    return isinstance(base, ast.Name) and base.id in ("self", "cls", "super")


def _name(node):
    return getattr(node, "name", None) or getattr(node, "id", None)


PATTERNS = {
    "a copy that is changed": (r"copy\.copy|vars\([^)]*\)\.update", ()),
    "a mask as an attribute": (r"_keras_mask", ("graph/trace.py",)),
    "which backend runs": (r"backend\(\)", ("backend/__init__.py",)),
}


@pytest.mark.parametrize("what", PATTERNS)
def test_what_is_kept_in_one_place(what):
    pattern, allowed = PATTERNS[what]
    found = [str(path) for path in FILES if re.search(pattern, (ROOT / path).read_text())]
    assert [path for path in found if path not in allowed] == []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_the_backend_imports_a_framework(path):
    names = {a.name.split(".")[0] for node in parsed(ast.Import, path) for a in node.names}
    names |= {(node.module or "").split(".")[0] for node in parsed(ast.ImportFrom, path)}
    assert names.isdisjoint({"tensorflow", "jax", "torch"}) or place(path) == "backend"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_layers_are_told_apart_by_the_table_alone(path):
    if path in (Path("graph/operations.py"), Path("graph/names.py")):
        return
    compared = [
        ast.unparse(node)
        for node in parsed(ast.Compare, path)
        if _names_a_class(node, path) and _strings(node)
    ]
    assert compared == []


def _names_a_class(node, path):
    """Whether a comparison speaks of the name of an operation's class, or a variable that holds it.

    `__name__` alone is the name of a module.
    """
    held = [
        _name(target)
        for assigned in parsed(ast.Assign, path)
        for target in assigned.targets
        if _asks_for_a_name(assigned.value)
    ]
    return any(_asks_for_a_name(side) or _name(side) in held for side in _sides(node))


def _asks_for_a_name(node):
    text = ast.unparse(node)
    return bool(re.fullmatch(r"keras_name\(.*\)|(type\(.*\)|.*__class__)\.__name__", text))


def _sides(node):
    return [node.left, *node.comparators]


def _strings(node):
    return any(
        isinstance(part, ast.Constant) and type(part.value) is str for part in ast.walk(node)
    )


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_graph_is_run_in_one_place(name):
    found = [
        str(path)
        for path in FILES
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert found == ["graph/run.py"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_and_functions_are_short(path):
    assert len((ROOT / path).read_text().splitlines()) <= 400
    sizes = {n.name: n.end_lineno - n.lineno + 1 for n in parsed(ast.FunctionDef, path)}
    assert {name: size for name, size in sizes.items() if size > 70} == {}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_is_public_is_documented(path):
    tree = tree_of(path)
    public = [
        node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []
    assert ast.get_docstring(tree) or not tree.body
