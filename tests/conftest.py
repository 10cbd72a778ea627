"""Settings for every test: reproducible weights, and graphs that are checked after each rewrite."""

import keras
import pytest

from innvestigate.graph.step import Graph


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _checked(monkeypatch):
    """Every pass over a graph ends in `Graph.replaced`: what it returns must be in order."""
    replaced = Graph.replaced

    def checked(graph, *args):
        found = replaced(graph, *args)
        found.check()
        return found

    monkeypatch.setattr(Graph, "replaced", checked)
