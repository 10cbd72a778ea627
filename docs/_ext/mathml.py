"""Formulas as MathML, which browsers draw by themselves: no script, no network."""

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

JOINER = "&#8288;"
"""What follows an inline formula stays in its line, such as a comma."""


def visit_inline(translator, node):
    translator.body.append(convert(node.astext()) + JOINER)
    raise SkipNode


def visit_block(translator, node):
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
