"""What a worker does with a batch. Nothing here knows of other processes."""

from __future__ import annotations

from typing import Any

from innvestigate.analyzer import Analyzer
from innvestigate.analyzer.pattern import PatternNet
from innvestigate.engine.answers import answer
from innvestigate.engine.labels import Labels
from innvestigate.engine.selection import Selection
from innvestigate.evaluation import Importance


class Explaining:
    """Explains batches.

    Args:
        analyzer: Any analyzer.
        chosen: What chooses the neurons.
        batch_size: Samples that are run at a time.
    """

    def __init__(self, analyzer: Analyzer, chosen: Selection | Labels, batch_size: int):
        self.analyzer, self._chosen, self._batch_size = analyzer, chosen, batch_size

    def do(self, offset: int, given: Any, labels: Any) -> Any:
        """The results of a batch."""
        chosen, size = self._chosen, self._batch_size
        found = answer(self.analyzer, chosen, given, labels, offset, size)
        return self.analyzer.finished(found.result, offset)


class Fitting:
    """Gathers the statistics of patterns, anew.

    Args:
        analyzer: Whose patterns they are.
    """

    def __init__(self, analyzer: PatternNet):
        self._analyzer, self._begun = analyzer, False

    def add(self, offset: int, given: Any, _: Any) -> None:
        """Take in a batch."""
        given = self._analyzer.text.to_tokens(given)
        self._analyzer.statistics.update(given, offset, anew=not self._begun)
        self._begun = True

    def total(self) -> dict:
        """The state of the statistics."""
        return self._analyzer.statistics.state()


class Summing:
    """Sums up the relevance of units.

    Args:
        explaining: What explains batches.
        found: What their results are added to.
    """

    def __init__(self, explaining: Explaining, found: Importance):
        self._explaining, self._found = explaining, found

    def add(self, offset: int, given: Any, labels: Any) -> None:
        """Take in a batch."""
        analyzer = self._explaining.analyzer
        tokens = analyzer.tokens(given) if self._found.per == "token" else None
        self._found.add(self._explaining.do(offset, given, labels), tokens)

    def total(self) -> Importance:
        """What was summed up."""
        return self._found
