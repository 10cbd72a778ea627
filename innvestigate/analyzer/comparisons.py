"""Models that compute with comparisons of their input, to which no contribution can be assigned."""

from __future__ import annotations

from keras import KerasTensor

from innvestigate.graph.operations import Kind, body_of, kind_of
from innvestigate.graph.recurrent import inside
from innvestigate.graph.run import active_inputs, active_tensors
from innvestigate.graph.step import is_float
from innvestigate.graph.task import Task
from innvestigate.rules import NoRuleError


def check_comparisons(task: Task) -> None:
    """Refuse steps that read numbers made of the input by comparing or rounding.

    Masks may compare: which places exist is a property of the sample.

    Raises:
        NoRuleError: If there is one; names it.
    """
    graph, masks = task.graph, set(task.graph.masks)
    varying = active_tensors(graph, graph.flat_inputs)
    cut: set[KerasTensor] = set()
    floats: set[KerasTensor] = set()
    for step in graph.leading_to(task.ends):
        if body_of(step) is not None:
            check_comparisons(inside(step, varying))
        if step.inputs and masks.issuperset(step.inputs):
            masks.update(step.outputs)
        read = set(step.inputs) - masks
        tokens = read & cut and kind_of(step) is Kind.LOOKUP
        if tokens or (active_inputs(step, varying) and read & floats):
            raise NoRuleError(
                f"DeepLIFT has no rule for the step {step.name!r}: it reads numbers that are "
                "computed from the input by comparing, rounding or looking up, to which no "
                "contribution can be assigned. Replace the comparison, such as "
                "where(x > 0, ...), by an activation, or use another method."
            )
        if kind_of(step) is Kind.CONSTANT:
            continue
        for t in step.outputs:
            if t not in varying and not (varying | cut).isdisjoint(step.inputs):
                cut.add(t)
                if any(is_float(i) or i in floats for i in step.inputs):
                    floats.add(t)
