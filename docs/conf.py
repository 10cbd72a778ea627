"""Sphinx settings: `make docs` builds the pages into build/docs."""

import shutil
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "innvestigate"
author = "the innvestigate developers"
copyright = author
release = version = version_of("innvestigate")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "breaks",
    "mathml",
    "plain_docstrings",
    "signatures",
]
exclude_patterns = ["_*"]
nitpicky = True
nitpick_ignore_regex = [
    # Docstrings put every name in backticks: those that are documented become links.
    ("py:obj", ".*"),
    ("py:.*", r"(collections|keras|keras_tensor|matplotlib|np|numpy|os|pandas|pathlib|typing)\..*"),
    # Spelt as the annotation spells them.
    (
        "py:class",
        r"(\w+Like|\w+List|Axes|Figure|KerasTensor|Collector|Progress|optional|Path|abc\.\w+)",
    ),
    # What classes inherit that nobody calls.
    ("py:.*", r"innvestigate\.(graph|backend)\..*|innvestigate\..*\._\w+"),
]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
default_role = "py:obj"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False
python_use_unqualified_type_names = True

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

html_theme = "furo"
html_title = f"innvestigate {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
pygments_dark_style = "native"


def copy_notebooks() -> None:
    """Put the notebooks beside the pages: Sphinx reads files of its own folder only."""
    target = HERE / "notebooks"
    target.mkdir(exist_ok=True)
    found = {path.name: path for path in (HERE.parent / "examples" / "notebooks").glob("*.ipynb")}
    for old in target.glob("*.ipynb"):
        if old.name not in found:
            old.unlink()
    for name, path in found.items():
        copied = target / name
        if not copied.exists() or copied.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copied)


copy_notebooks()


def link_notebooks(app, page: str, source: list[str]) -> None:
    """Pages link notebooks where the repository has them; here they lie beside the pages."""
    source[0] = source[0].replace("](../../examples/notebooks/", "](../notebooks/")


def setup(app):
    app.connect("source-read", link_notebooks)
