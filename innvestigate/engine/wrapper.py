"""What analyzers share that run another analyzer at many points."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property

import numpy as np

from innvestigate.engine.base import Analyzer, MirrorAnalyzer
from innvestigate.engine.batch import Batch
from innvestigate.engine.variants import VariantsAnalyzer
from innvestigate.engine.vectors import Vectors, looks_up
from innvestigate.graph.mirror import float_type


class Wrapper(VariantsAnalyzer):
    """Base of analyzers that run another one at many points in place of each sample.

    Args:
        analyzer: Any analyzer. Its output, layers and neuron selection are the wrapper's.

    Attributes:
        analyzer: The analyzer that is run.

    Raises:
        TypeError: If `analyzer` is not an analyzer.
        ValueError: If the model takes tokens, and the analyzer has no mirror that could start
            from their vectors; or if it takes nothing but integers.
    """

    def __init__(self, analyzer: Analyzer):
        if not isinstance(analyzer, Analyzer):
            raise TypeError(
                f"{type(self).__name__} wraps an analyzer. Received: {analyzer!r} (of type "
                f"{type(analyzer).__name__}). Create it with innvestigate.create_analyzer."
            )
        self.analyzer = analyzer
        self.neuron_selection_mode = analyzer.neuron_selection_mode
        self.input_spec = analyzer.input_spec
        self._graph, self._output, self._forward = analyzer._graph, analyzer._output, None
        self._targets, self._wants_layers = analyzer._targets, analyzer._wants_layers
        self._float = float_type(self._graph)
        self._vectors = self._find_vectors()
        self._varied = self._find_varied()

    @cached_property
    def _inner(self) -> Analyzer:
        """The analyzer that is run, on batches that bring weights."""
        return self._vectors.analyzer if self._vectors else self.analyzer._weighted()

    def _build(self) -> None:
        """Nothing: what is run belongs to the analyzer inside."""

    def _check_count(self, count: int | None) -> None:
        self.analyzer._check_count(count)

    def _explain(self, batch: Batch) -> dict[str, np.ndarray]:
        found = self._reduced(batch, replace(batch, inputs=self._continuous(batch.inputs)))
        if self._vectors:
            found = self._vectors.to_tokens(found, batch.inputs)
        return {name: y.astype(self._float) for name, y in found.items()}

    @abstractmethod
    def _reduced(self, batch: Batch, start: Batch) -> dict[str, np.ndarray]:
        """The reduced results of all points.

        Args:
            batch: The samples.
            start: The samples as the analyzer inside takes them: in floats, tokens with vectors.
        """

    def _continuous(self, inputs: list) -> list:
        """Inputs in floats where points may lie between them, followed by the tokens' vectors."""
        floats = [x.astype(self._float) if i in self._varied else x for i, x in enumerate(inputs)]
        return floats + self._vectors.of(inputs) if self._vectors else floats

    def _find_vectors(self) -> Vectors | None:
        if not looks_up(self._graph):
            return None
        if type(self.analyzer)._explain is not MirrorAnalyzer._explain:
            raise ValueError(
                f"The model takes tokens, and {type(self.analyzer).__name__} cannot start from "
                f"their vectors, between which {type(self).__name__} moves. Wrap an analyzer "
                "that sends one signal back, such as 'gradient' or 'lrp.epsilon'."
            )
        return Vectors(self.analyzer)

    def _find_varied(self) -> list[int]:
        """Positions of the inputs (and vectors) of the analyzer inside that are no integers."""
        inner = self._vectors.analyzer if self._vectors else self.analyzer
        types = _run_types(inner)[: len(inner._graph.flat_inputs)]
        fixed = self._vectors.tokens if self._vectors else []
        varied = [i for i, t in enumerate(types) if "float" in t and i not in fixed]
        if not varied:
            raise ValueError(
                f"{type(self).__name__} moves between inputs, but {type(self.analyzer).__name__} "
                "takes integers only. Wrap an analyzer that runs the model on floats, such as "
                "'gradient'."
            )
        return varied


def _run_types(analyzer: Analyzer) -> list[str]:
    """The types in which an analyzer runs the model's inputs."""
    if isinstance(analyzer, Wrapper):
        return _run_types(analyzer.analyzer)
    mirrored = isinstance(analyzer, MirrorAnalyzer)
    return [t.dtype for t in (analyzer.model.inputs if mirrored else analyzer.input_spec.tensors)]
