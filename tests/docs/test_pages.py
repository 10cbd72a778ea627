"""The code on the pages runs, their links lead somewhere, and they leave no method out."""

import ast
import doctest
import re
import runpy
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import keras
import matplotlib as mpl
import numpy as np
import pytest
from keras import layers

import innvestigate
from tests.docs.pages import ROOT, blocks, last_column, run, without_blocks
from tests.frameworks import on_tensorflow

DOCS = ROOT / "docs"
BUILT = ("_ext", "_static", "notebooks")
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in BUILT)
TEXTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
TABLES = sorted((DOCS / "coming_from").glob("*.md"))
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


pytestmark = [
    pytest.mark.filterwarnings("ignore:The model ends in a s"),
    pytest.mark.filterwarnings("ignore:Some neurons have a pattern of zeros"),
    pytest.mark.filterwarnings("ignore:.* has a rule for rectifiers only"),
    pytest.mark.filterwarnings("ignore:No signal can reach the input 'padding_mask'"),
]


def named(page):
    return str(page.relative_to(ROOT))


def classifier(size):
    """A small classifier of images, and data for it, by the names that they have on the pages."""
    model = keras.Sequential(
        [
            layers.Input((size, size, 1)),
            layers.Conv2D(3, 5, strides=3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    x_train = np.random.default_rng(0).uniform(size=(48, size, size, 1)).astype("float32")
    return {"model": model, "x": x_train[:4], "x_train": x_train, "labels": np.arange(4)}


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the pages take for granted."""
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    libraries = {"innvestigate": innvestigate, "keras": keras, "np": np}
    return {"__name__": "page", **libraries, **classifier(28)}


def examples(code, names, where):
    """Run an interactive session, and return what it says that is not on the page."""
    test = doctest.DocTestParser().get_doctest(code, names, where, None, 0)
    test.globs = names
    said = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append, clear_globs=False)
    return "".join(said)


OF_TENSORFLOW = ("custom.md", "export.md")  # a layer that calls its functions; its formats


ON_A_CLUSTER = "clusters.md"
FEWER = {"motifs.md": ("1000", "100")}
"""What is replaced on a page so that it takes seconds here: the number of samples."""
SLOW = (ON_A_CLUSTER, "multilabel.md", "segmentation.md")  # the latter two train a network
WITH_QUANTUS = "quantus.md"


with_quantus = pytest.mark.skipif(find_spec("quantus") is None, reason="quantus is not installed")


def _with_code():
    for page in PAGES:
        if blocks(page, "python"):
            marks = [on_tensorflow] if page.name in OF_TENSORFLOW else []
            marks += [pytest.mark.slow] if page.name in SLOW else []
            marks += [with_quantus] if page.name == WITH_QUANTUS else []
            yield pytest.param(page, marks=marks)


@pytest.mark.parametrize("page", list(_with_code()), ids=named)
def test_code_on_a_page_runs(page, names, request, monkeypatch):
    if page.name == ON_A_CLUSTER:
        monkeypatch.setattr(request.getfixturevalue("cluster"), "init", lambda **_: None)
    before = set(names)
    run([code.replace(*FEWER.get(page.name, ("", ""))) for code in blocks(page, "python")], names)
    assert set(names) > before, "the page defines nothing"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "pycon")], ids=named)
def test_sessions_on_a_page_say_what_is_printed_there(page, names):
    assert examples("\n".join(blocks(page, "pycon")), names, page.name) == ""


@pytest.mark.parametrize("page", TABLES, ids=named)
def test_code_in_a_table_of_calls_runs(page, names):
    calls = [code for code in last_column(page) if "(" in code]
    assert len(calls) > 10
    run(blocks(page, "python") + calls, names)


def docstrings():
    """The examples in the library's docstrings: module, line and code of each."""
    for path in sorted((ROOT / "innvestigate").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if text and ">>>" in text:
                parts = path.relative_to(ROOT).with_suffix("").parts
                module = ".".join(part for part in parts if part != "__init__")
                yield pytest.param(module, text, id=f"{module}:{getattr(node, 'name', '')}")


@pytest.mark.parametrize(("module", "text"), list(docstrings()))
def test_examples_in_a_docstring_run(module, text, names):
    names |= vars(import_module(module)) | classifier(40)
    analyzer = innvestigate.create_analyzer("pattern.net", names["model"])
    names |= {
        "create_analyzer": innvestigate.create_analyzer,
        "analyzer": analyzer.fit(names["x_train"]),
        "batch": names["x"],
        "relevance": names["x"],
        "names": ["gradient"],
    }
    code = [example.source for example in doctest.DocTestParser().get_examples(text)]
    assert len(code) == text.count(">>>")
    run(code, names)


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_links_lead_to_files(page):
    links = [link for link in LINK.findall(without_blocks(page)) if "://" not in link]
    paths = [link.split("#")[0] for link in links if not link.startswith(("#", "mailto:"))]
    missing = [path for path in paths if not (page.parent / path).exists()]
    assert missing == []


def test_links_are_found():
    found = LINK.findall("a [b](c.md), ![d](e.png) and [f](https://g)")
    assert found == ["c.md", "e.png", "https://g"]


def test_every_method_has_a_page():
    text = "".join(page.read_text() for page in (DOCS / "methods").glob("*.md"))
    missing = [name for name in innvestigate.analyzers if f"`{name}`" not in text]
    assert set(missing) <= {"lrp", "input", "random"}


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    parts = ("", ".analyzer", ".rules", ".visualization", ".evaluation", ".genomics", ".stores")
    public = {name for part in parts for name in import_module(f"innvestigate{part}").__all__}
    public -= {"rules", "analyzer"}
    missing = [name for name in public if not re.search(rf":: ([\w.]+\.)?{name}\b", text)]
    assert missing == []


def rows_of_methods():
    """The table of methods in the README: the names of each row, and where they link to."""
    table = (ROOT / "README.md").read_text().split("## Methods")[1].split("\n\n")[1]
    for row in table.splitlines()[2:]:
        cell, target = re.match(r"\| \[(.+?)\]\((\S+?)\) \|", row).groups()
        first, *others = re.findall(r"`(.+?)`", cell)
        preset = first.removesuffix("_a")
        yield [first, *(preset + name if name[0] == "_" else name for name in others)], target


def test_every_method_is_in_the_readme():
    missing = {*innvestigate.analyzers} - {name for names, _ in rows_of_methods() for name in names}
    assert missing == set()


@pytest.mark.parametrize(("names", "target"), list(rows_of_methods()))
def test_a_method_links_to_its_page(names, target):
    path, _, anchor = target.partition("#")
    text = (ROOT / path).read_text()
    headings = re.findall(r"^##+ (.+)", text, re.MULTILINE)
    assert anchor in {"", *(re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings)}
    assert [name for name in names if name != "lrp" and f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", sorted((DOCS / "methods").glob("*.md")), ids=named)
def test_a_page_of_methods_has_a_formula_pictures_cost_and_pitfalls(page):
    text = page.read_text()
    assert "$$" in text
    assert "![" in text
    assert "\n## Cost and pitfalls\n" in text


FORMULA = re.compile(r"(?<!`)(\$\$?)(?=\S)(.+?)\1", re.DOTALL)
LEFT_OVER = re.compile(r"\\|<mo />|<mo>\*")  # what the converter makes of what it does not know


@pytest.mark.parametrize("page", [p for p in PAGES if "$" in p.read_text()], ids=named)
def test_formulas_are_understood(page):
    convert = pytest.importorskip("latex2mathml.converter").convert
    formulas = [formula for _, formula in FORMULA.findall(without_blocks(page))]
    assert [formula for formula in formulas if LEFT_OVER.search(convert(formula))] == []


def test_names_break_behind_words_not_within_them():
    with_breaks = runpy.run_path(DOCS / "_ext" / "breaks.py")["with_breaks"]
    name = '<span class="pre">{}</span> lrp.epsilon_plus'
    found = with_breaks(name.format("lrp.epsilon_plus"))
    assert found == name.format("lrp.epsilon_<wbr>plus")
    assert with_breaks(name.format("deeplift.rescale")).count("<wbr>") == 1


def test_a_comma_stays_with_its_formula():
    pytest.importorskip("latex2mathml")
    nodes = pytest.importorskip("docutils.nodes")
    mathml = runpy.run_path(DOCS / "_ext" / "mathml.py")
    written = SimpleNamespace(body=[])
    with pytest.raises(nodes.SkipNode):
        mathml["visit_inline"](written, nodes.math(text="x"))
    assert written.body[0].endswith("</math>&#8288;")  # a word joiner
