"""Docstrings are plain text: bars belong to formulas, and a name in backticks may end anywhere."""

import re

NAME = re.compile(r"(`[^`]+`)(\w|²)?")


def as_markup(app, what, name, obj, options, lines):
    for i, line in enumerate(lines):
        lines[i] = NAME.sub(_ended, line.replace("|", r"\|"))


def _ended(name):
    return rf"{name[1]}\ {name[2]}" if name[2] else name[1]


def setup(app):
    app.connect("autodoc-process-docstring", as_markup)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
