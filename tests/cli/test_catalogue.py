"""The catalogue, which is read as text, says what is imported."""

import inspect
import re
import subprocess
import sys
from functools import partial

import pytest

import innvestigate
from innvestigate.cli.catalogue import catalogue, names
from innvestigate.cli.console import LONGEST
from innvestigate.rules import as_rule
from tests.cli.helpers import one_line, run

ENTRIES = {entry.name: entry for entry in catalogue()}


def described(name):
    """What makes an analyzer, its settings, and all classes whose documentation speaks of it."""
    create = innvestigate.analyzers[name]
    settings = create.keywords if isinstance(create, partial) else {}
    create = create.func if isinstance(create, partial) else create
    rule = settings.get("rule", "")
    of_rule = [type(as_rule(rule))] if rule[:1].isupper() else []
    return create, settings, [*of_rule, *getattr(create, "__mro__", [create])]


def test_all_names_are_there_in_their_order():
    assert names() == list(innvestigate.analyzers) == list(ENTRIES)


@pytest.mark.parametrize("name", innvestigate.analyzers)
def test_it_is_what_the_classes_say(name):
    create, settings, classes = described(name)
    entry = ENTRIES[name]
    assert entry.documentation == inspect.getdoc(create)
    assert entry.summary.startswith(inspect.getdoc(classes[0]).splitlines()[0].rstrip("."))
    assert all(f"{key}={value!r}" in entry.summary for key, value in settings.items())
    references = [(cls.__doc__ or "").partition("Reference: ")[2] for cls in classes]
    first = next((" ".join(text.split()) for text in references if re.search(r"\d{4}", text)), "")
    assert all(paper in first for paper in filter(None, entry.papers.split("; ")))
    assert bool(entry.papers) == bool(first)


EARLY = {
    "There is no file no.npy": ("explain", "image.keras", "no.npy", "-m", "gradient", "-o", "x"),
    "There is no file no.keras": ("plan", "no.keras", "gradient"),
    "Did you mean 'lrp.epsilon'": (
        "explain",
        "image.keras",
        "x.npy",
        "-m",
        "lrp.epsilo",
        "-o",
        "x",
    ),
    "cannot be read": ("plan", "image.keras", "lrp.epsilon(1"),
    "photo0.png is an input": (
        *("explain", "image.keras", "photo0.png", "-m", "gradient", "-o", "photo0.png"),
    ),
    "exists. --force": (
        *("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "table.csv"),
    ),
    "no.txt": (
        *("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x"),
        *("--class-names", "no.txt"),
    ),
    "no.csv": (
        *("explain", "image.keras", "images.npy", "-m", "deeplift", "-o", "x"),
        *("--reference", "no.csv"),
    ),
    "choose one": (
        *("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.zarr"),
        *("--resume", "--force"),
    ),
    "and nothing else along with it": (
        *("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.zarr", "-o", "x"),
    ),
    "'.gif'": ("evaluate", "image.keras", "images.npy", "-m", "gradient", "-o", "x.gif"),
}


def test_checks_come_before_keras():
    """None of these lines may need a module that takes long to import."""
    code = f"""
import sys
sys.modules |= dict.fromkeys(["keras", "tensorflow", "jax", "torch", "numpy", "matplotlib"])
from typer.testing import CliRunner
from innvestigate.cli import app
for words, line in {EARLY!r}.items():
    result = CliRunner().invoke(app, line)
    assert words in result.stderr and result.exit_code == 2, (words, result.output)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


def test_wrong_arguments_come_before_the_model(monkeypatch):
    from innvestigate.cli import session

    monkeypatch.setattr(session, "load_model_file", None)
    line = ("explain", "image.keras", "images.npy", "-o", "x.npy")
    result = run(*line, "-m", "lrp.epsilon(epsilom=1)")
    assert one_line(result.stderr) and "Did you mean 'epsilon'" in result.stderr


@pytest.mark.parametrize("text", ["-" * 100_000, "lrp.z(rule=" + "-" * 100_000 + "1)", "(" * 9_999])
def test_long_words_are_cut(text):
    for line in (
        [text],
        ["plan", "image.keras", text],
        ["methods", "--", text],
        ["plan", text, "x"],
    ):
        result = run(*line)
        assert result.exit_code == 2
        assert one_line(result.stderr) and len(result.stderr) < LONGEST + 100


def test_a_bar_shows_what_is_done(monkeypatch):
    line = ("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.npy", "-f")
    assert run(*line).stderr == ""  # no terminal, no bar
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    result = run(*line)
    assert "gradient" in result.stderr and "gradient" not in result.stdout


def test_an_error_that_nobody_has_thought_of(monkeypatch):
    monkeypatch.setattr("innvestigate.cli.commands.catalogue", lambda text: 1 / 0)
    result = run("methods")
    assert result.exit_code == 1 and one_line(result.stderr)
    assert "ZeroDivisionError" in result.stderr and "python -X dev" in result.stderr
