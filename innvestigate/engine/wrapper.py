"""What analyzers share that run another analyzer at many points."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from innvestigate.engine.base import Analyzer
from innvestigate.engine.batch import Batch
from innvestigate.engine.export import Servable
from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.selection import check_mode
from innvestigate.engine.variants import VariantsAnalyzer
from innvestigate.engine.vectors import Vectors, looks_up
from innvestigate.engine.warn import warn
from innvestigate.graph.run import float_type
from innvestigate.graph.task import EXPLAINED, OUTPUT, Task
from innvestigate.utils.arguments import check_kind
from innvestigate.utils.batching import Progress


class Wrapper(VariantsAnalyzer):
    """Base of analyzers that run another one at many points in place of each sample.

    A subclass states `reduced`.

    Args:
        analyzer: Any analyzer. Its output, layers and neuron selection are the wrapper's.
        neuron_selection_mode: Another neuron selection than that of the analyzer.

    Attributes:
        analyzer: The analyzer that is run.
        varied: Positions of the inputs (and vectors of tokens) that are no integers.
        float: The floating point type of the results.

    Raises:
        TypeError: If `analyzer` is not an analyzer.
        ValueError: If the model takes tokens, and the analyzer has no mirror that could start
            from their vectors; or if it takes nothing but integers.
    """

    def __init__(self, analyzer: Analyzer, neuron_selection_mode: str | None = None):
        made = "an analyzer that innvestigate.create_analyzer has made"
        check_kind("analyzer", analyzer, Analyzer, made)
        self.analyzer, self.text = analyzer, analyzer.text
        self.input_spec, self.guard = analyzer.input_spec, analyzer.guard
        self.label_place, self.passes_layers = analyzer.label_place, analyzer.passes_layers
        given = neuron_selection_mode
        mode = check_mode(analyzer.task.mode if given is None else given)
        self.task = replace(analyzer.task, mode=mode)
        self.float = float_type(self.task.graph)
        self._vectors = self._find_vectors()
        self.varied = self._find_varied()

    def build(self) -> None:
        """Nothing: what is run belongs to the analyzer inside."""

    @property
    def by_layer(self) -> bool:
        return self.analyzer.by_layer

    def outputs(self, inputs):
        return self.analyzer.outputs(inputs)

    def said(self, inputs):
        return self.analyzer.said(inputs)

    def check_count(self, count: int | None) -> None:
        self.analyzer.check_count(count)

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        self.compare(batch)
        start = replace(batch, inputs=self.continuous(batch.inputs))
        found = self.reduced(batch, start)
        if self._vectors:
            found = self._vectors.to_tokens(found, batch.inputs, self.per_token)
        return {name: y.astype(self.float) for name, y in found.items()}

    def compare(self, batch: Batch) -> None:
        """Compare the mirror's forward pass with the model's, at the samples themselves."""
        if isinstance(self.analyzer, Wrapper):
            self.analyzer.compare(batch)
        elif isinstance(self.analyzer, MirrorAnalyzer) and self.guard.wants(self.task):
            inputs, progress = self.continuous(batch.inputs), Progress(None)
            found = self._ask(replace(batch, inputs=inputs, progress=progress))
            self.analyzer.verify(self.task, batch.inputs, found.get(OUTPUT))

    def servable(self, weights: np.ndarray | None, rows: int | None) -> Servable:
        warn(
            f"{type(self).__name__} runs {type(self.analyzer).__name__} at many points. Exported "
            "is what it runs: the explainer of one point, without the points and their mean."
        )
        return self.analyzer.servable(weights, rows)

    @abstractmethod
    def reduced(self, batch: Batch, start: Batch) -> dict[str, np.ndarray]:
        """The reduced results of all points.

        Args:
            batch: The samples.
            start: The samples as the analyzer inside takes them: in floats, tokens with vectors.
        """

    def inner(self, batch: Batch) -> dict[str, np.ndarray]:
        """The results of the analyzer inside, for points that bring weights."""
        found = self._ask(batch)
        return {name: found[name] for name in self.asked.targets}

    def explained_at(self, batch: Batch, inputs: list) -> np.ndarray:
        """What is explained of each row where the analyzer inside is given other inputs."""
        return self._ask(replace(batch, inputs=inputs, progress=Progress(None)))[EXPLAINED]

    def per_token(self, found: np.ndarray) -> np.ndarray:
        """One number for each token, from the result at its vector (the last axis)."""
        return found.sum(axis=-1, dtype="float64")

    def continuous(self, inputs: list) -> list:
        """Inputs in floats where points may lie between them, followed by the tokens' vectors."""
        floats = [x.astype(self.float) if i in self.varied else x for i, x in enumerate(inputs)]
        return floats + self._vectors.of(inputs) if self._vectors else floats

    @property
    def asked(self) -> Task:
        """What the analyzer inside is asked: of the model's inputs, or of vectors of tokens."""
        return self._vectors.task if self._vectors else self.analyzer.task

    def _ask(self, batch: Batch) -> dict[str, np.ndarray]:
        return self.analyzer.explain(batch, *([self._vectors.task] if self._vectors else []))

    def _find_vectors(self) -> Vectors | None:
        if not looks_up(self.task.graph):
            return None
        if not isinstance(self.analyzer, MirrorAnalyzer) or not self.analyzer.sends_one_signal:
            raise ValueError(
                f"The model takes tokens, and {type(self.analyzer).__name__} cannot start from "
                f"their vectors, between which {type(self).__name__} moves. Wrap an analyzer "
                "that sends one signal back, such as 'gradient' or 'lrp.epsilon'."
            )
        return self.analyzer.vectors

    def _find_varied(self) -> list[int]:
        types = _run_types(self.analyzer, self._vectors.task if self._vectors else None)
        fixed = self._vectors.tokens if self._vectors else []
        varied = [i for i, t in enumerate(types) if "float" in t and i not in fixed]
        if not varied:
            raise ValueError(
                f"{type(self).__name__} moves between inputs, but {type(self.analyzer).__name__} "
                "takes integers only. Wrap an analyzer that runs the model on floats, such as "
                "'gradient'."
            )
        return varied


def _run_types(analyzer: Analyzer, task: Task | None) -> list[str]:
    """The types in which an analyzer runs the model's inputs."""
    if isinstance(analyzer, Wrapper):
        return _run_types(analyzer.analyzer, None)
    if not isinstance(analyzer, MirrorAnalyzer):
        return [t.dtype for t in analyzer.input_spec.tensors]
    task = task or analyzer.task
    return [t.dtype for t in analyzer.mirror(task).inputs[: len(task.graph.flat_inputs)]]
