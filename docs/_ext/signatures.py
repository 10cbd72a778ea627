"""Analyzers are shown with the arguments of their `__init__`: they have a `__new__` as well."""

from inspect import isclass

from sphinx.util.inspect import signature, stringify_signature

from innvestigate.analyzer import Analyzer


def of_init(app, what, name, obj, options, given, returns):
    if not (isclass(obj) and issubclass(obj, Analyzer)):
        return None
    shown = signature(obj.__init__, bound_method=True)
    return stringify_signature(shown, show_annotation=False), returns


def setup(app):
    app.connect("autodoc-process-signature", of_init)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
