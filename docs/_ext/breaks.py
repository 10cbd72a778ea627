"""Names in code may break behind their dots and underscores; pages.css says where they do."""

import re

NAME = re.compile(r'(?<=<span class="pre">)[^<]+(?=</span>)')
JOINT = re.compile(r"(?<=\w{4})([._])(?=\w)")  # not behind `lrp.` and `ops.`


def with_breaks(body):
    return NAME.sub(lambda name: JOINT.sub(r"\1<wbr>", name[0]), body)


def on_page(app, page, template, context, doctree):
    if "body" in context:
        context["body"] = with_breaks(context["body"])


def setup(app):
    app.connect("html-page-context", on_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
