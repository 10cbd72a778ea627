"""Which rule each step of a model gets, as a table to read."""

from __future__ import annotations

from dataclasses import dataclass

from innvestigate.graph.operations import body_of, kind_of
from innvestigate.graph.step import Step
from innvestigate.rules import Composite


@dataclass(frozen=True)
class PlanLine:
    """What one step of the model gets: its name, its kind, its rule, and why."""

    step: str
    layer: str
    kind: str
    rule: str
    why: str


class Plan(tuple):
    """The lines of `analyzer.plan()`, in the order of the forward pass; prints as a table."""

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("step", "layer", "kind", "rule", "why")]
        rows += [(line.step, line.layer, line.kind, line.rule, line.why) for line in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        rows.insert(1, tuple("-" * width for width in widths))
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )


def plan_line(step: Step, composite: Composite) -> PlanLine:
    """What a composite chooses for a step; a loop that is open has its own steps to choose for."""
    layer, kind = type(step.layer).__name__, kind_of(step).value
    if body_of(step) is not None:
        return PlanLine(step.name, layer, kind, "", "its steps follow")
    line = composite.choose(step)
    return PlanLine(step.name, layer, kind, repr(line.rule), line.why)
