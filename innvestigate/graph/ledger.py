"""Mirrors that keep books: what arrives at each step, what it sends and what it keeps."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from innvestigate.graph.mirror import Builder
from innvestigate.graph.step import Step
from innvestigate.graph.task import Method, Task

COLUMNS = ("arrived", "sent", "bias", "stabiliser", "dropped", "arrived_size", "sent_size", "bad")
"""What is noted of a step: sums over a batch, those of magnitudes, and 1 if any is not finite."""

NOTES = "notes:"
"""The name of what a mirror noted of all steps, `(1, steps, columns)`: see `backend.run_batch`."""


def build_ledger(task: Task, method: Method, name: str) -> tuple[keras.Model, list[Step]]:
    """The mirror of a task, with `NOTES`, and the steps that are noted.

    Args:
        task: What is asked.
        method: Rules (`rules.Rule.absorbed` tells what each keeps), start and finish.
        name: Name of the mirror.

    Raises:
        ValueError: If no signal can reach a target.
    """
    builder = _LedgerBuilder(task, method)
    return builder.build(name), list(builder.noted)


class _LedgerBuilder(Builder):
    def __init__(self, task, method, how=None):
        super().__init__(task, method, how)
        self.multiplies = False  # the books are of relevance
        self.note_like = KerasTensor((len(COLUMNS),), self.dtype)

    def note(self, rule, at, arrived, sent) -> Any:
        signals = [
            ops.zeros_like(y) if signal is None else signal[0]
            for y, signal in zip(at.outputs, arrived, strict=True)
        ]
        kept = rule.absorbed(at, signals)
        return _row(self.dtype, signals, sent, kept.bias, kept.stabiliser, kept.dropped)

    def note_ended(self, signals) -> Any:
        return _row(self.dtype, signals, [], sum(ops.sum(s) for s in signals))

    def further_results(self) -> dict:
        like = KerasTensor((1, len(self.noted), len(COLUMNS)), self.dtype)
        stack = lambda *rows: ops.stack(rows)[None]  # noqa: E731
        return {NOTES: self.how.call("ledger", stack, like, list(self.noted.values()))}


def _row(dtype: str, arrived: list, sent: list, bias=0.0, stabiliser=0.0, dropped=0.0) -> Any:
    """The columns of a step."""
    sums, sizes = map(_total, (arrived, sent)), [[ops.abs(x) for x in xs] for xs in (arrived, sent)]
    arrived_size, sent_size = map(_total, sizes)
    bad = ops.logical_not(ops.isfinite(sent_size))  # one pass over what is sent is enough
    numbers = [*sums, bias, stabiliser, dropped, arrived_size, sent_size, bad]
    return ops.stack([ops.cast(x, dtype) for x in numbers])


def _total(tensors: list) -> Any:
    """The sum of all numbers of some tensors."""
    return sum(ops.sum(x) for x in tensors)
