"""The notebooks are as a clean kernel leaves them, and still run."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))
from run_notebooks import execute, merged  # noqa: E402

from tests.frameworks import on_tensorflow  # noqa: E402

NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
MACHINE = re.compile(r"/(?:home|root|tmp|work|usr|opt|var|mnt|Users)/|[A-Z]:\\|site-packages")
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
READS_STRINGS = ("transformer",)  # by a layer that Keras runs on TensorFlow alone
LONG = (
    *("imagenet_comparing_methods", "imagenet_comparing_networks", "mnist_comparing_methods"),
    *("mnist_comparing_output_neurons", "mnist_perturbation_analysis", "genomics", "tabular"),
    *("time_series", "multilabel", "spray_clustering"),
)
"""`make notebooks` runs them: a minute each, or more."""
RUNNABLE = [
    pytest.param(path, marks=on_tensorflow if path.stem in READS_STRINGS else [])
    for path in NOTEBOOKS
    if path.stem not in LONG
]


def code_cells(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def texts(output):
    """What an output says, without pictures."""
    if output.output_type == "stream":
        return [output.text]
    data = output.get("data", {})
    return [text for kind, text in data.items() if not kind.startswith("image/")]


def shows(source):
    """Whether a cell prints or draws when it runs, not only in a function that it defines."""
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    todo, names = [ast.parse("\n".join(lines))], set()
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Call):
            names.add(getattr(node.func, "id", getattr(node.func, "attr", "")))
        todo += ast.iter_child_nodes(node)
    return any(name in ("print", "display", "plan", "subplots") for name in names) or any(
        name.startswith("plot_") for name in names
    )


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 5


@every_notebook
def test_is_valid(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert path.stat().st_size < 1.5e6


@every_notebook
def test_ran_from_top_to_bottom(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    silent = [cell.source for cell in cells if shows(cell.source) and not cell.outputs]
    assert silent == []


@every_notebook
def test_shows_neither_errors_nor_noise(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error", output.evalue
            assert output.get("name") != "stderr", output.text


@every_notebook
def test_tells_nothing_of_the_machine(path):
    for cell in nbformat.read(path, as_version=4).cells:
        said = [cell.source] + [t for output in cell.get("outputs", []) for t in texts(output)]
        found = [match for text in said for match in MACHINE.findall(text)]
        assert found == []


def test_a_cell_that_shows_something_is_known():
    assert shows("for i in x:\n    print(i)")
    assert shows("figure, ax = plt.subplots()")
    assert shows("analyzer.plan();")
    assert not shows("def f():\n    print(1)")
    assert not shows("f = lambda: print(1)")


@pytest.mark.slow
@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: path.stem)
def test_runs_from_a_clean_kernel(path):
    notebook = execute(path, timeout=300)
    for cell in notebook.cells:
        kinds = [output.output_type for output in cell.get("outputs", [])]
        assert "error" not in kinds


def test_lines_printed_one_after_the_other_become_one_output():
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="a\n"),
        nbformat.v4.new_output("stream", name="stdout", text="b\n"),
        nbformat.v4.new_output("display_data", data={"text/plain": "picture"}),
        nbformat.v4.new_output("stream", name="stdout", text="c\n"),
    ]
    found = merged(outputs)
    assert [output.output_type for output in found] == ["stream", "display_data", "stream"]
    assert [found[0].text, found[2].text] == ["a\nb\n", "c\n"]
