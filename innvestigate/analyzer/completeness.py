"""Whether contributions add up to the change of the output, which floating point numbers may lose.

A method keeps the sum by its formulas; numbers that are much larger than the change may cancel in
exact arithmetic and not in single precision.
"""

from __future__ import annotations

import numpy as np

from innvestigate.engine.warn import warn
from innvestigate.graph.operations import body_of
from innvestigate.graph.recurrent import deep_steps
from innvestigate.graph.task import EXPLAINED, OUTPUT, Task, at_inputs, input_name
from innvestigate.rules import Composite, DifferenceRule

_OF_CHANGE = 1e-2
"""By how much of the change contributions may miss it."""


def keeps_sum(task: Task, composite: Composite) -> bool:
    """Whether the rules promise that contributions at a task's targets add up to the change.

    They can where all inputs are targets.
    """
    inputs = [input_name(i) for i in range(len(task.graph.flat_inputs))]
    steps = [step for step in deep_steps(task) if body_of(step) is None]
    rules = [composite.choose(step).rule for step in steps]
    promised = all(isinstance(rule, DifferenceRule) and rule.keeps_sum for rule in rules)
    return promised and set(inputs) <= set(task.targets)


def warn_if_lost(samples: np.ndarray, found: dict[str, np.ndarray], rounding: float) -> None:
    """Warn if contributions miss the change of the output by more than rounding.

    Args:
        samples: The number of the sample that each row belongs to.
        found: What a mirror of differences returns.
        rounding: By how much of the output the model's own numbers may differ.
    """
    contributions = at_inputs(found).values()
    flat = np.concatenate([y.reshape(len(samples), -1).astype("float64") for y in contributions], 1)
    total, change = flat.sum(axis=1), found[EXPLAINED].astype("float64")
    allowed = max(_OF_CHANGE, 10 * rounding) * np.abs(change).max()
    allowed += rounding * np.abs(found[OUTPUT]).max()
    gap = np.where(np.isfinite(total), np.abs(total - change), 0.0)
    worst = int(gap.argmax())
    if gap[worst] > allowed:
        warn(
            f"The contributions of sample {samples[worst]} add up to {total[worst]:.6g}, but the "
            f"output changed by {change[worst]:.6g}: on the way back to the input numbers became "
            "so large that what is left of them is rounding. Do not trust them. Choose other "
            "`reference_inputs`, such as a typical sample in place of zeros, or build the model "
            "in float64."
        )
