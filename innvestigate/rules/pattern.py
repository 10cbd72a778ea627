"""Backward rules that put the direction of the signal in place of the direction of the weights."""

from __future__ import annotations

import keras
from keras import ops

from innvestigate.backend import vjp
from innvestigate.graph.operations import Kind
from innvestigate.rules.base import Rule, divide
from innvestigate.utils.arguments import check_kind


class Pattern(Rule):
    """PatternNet: the gradient of z = W x with the pattern A in place of W, s_x = Aᵀ s_z.

    Args:
        pattern: A variable shaped like the kernel. None stands for 1 / W, the pattern of a
            diagonal kernel, whatever the data: such a neuron has one input, and wᵀa = 1. Where W
            is zero, the pattern is zero.

    Reference: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and
    PatternAttribution", section 4.

    Raises:
        TypeError: If the pattern is no variable.
    """

    kinds = (Kind.LINEAR,)

    def __init__(self, pattern=None):
        if pattern is not None:
            check_kind(
                "pattern", pattern, keras.Variable, "a keras.Variable like the kernel, or None"
            )
        self.pattern = pattern
        self.variables = () if pattern is None else (pattern,)

    def backward_kernel(self, kernel):
        """What takes the place of the kernel."""
        if self.pattern is None:
            return divide(ops.ones_like(kernel), kernel)
        return ops.cast(self.pattern, kernel.dtype)

    def __call__(self, at, signals) -> list:
        linear = at.operation
        kernel = self.backward_kernel(linear.kernel)
        _, pullback = vjp(lambda x: [linear.map(x, kernel)], at.inputs)
        return pullback(signals)


class PatternTimesKernel(Pattern):
    """PatternAttribution: the gradient of z = W x with A ⊙ W in place of W, R_x = (A ⊙ W)ᵀ R_z.

    As wᵀa = 1, a neuron hands all of its relevance on; what falls into the padding is lost.

    Args:
        pattern: See `Pattern`.

    Reference: Kindermans et al. 2018, section 4.
    """

    def backward_kernel(self, kernel):
        return super().backward_kernel(kernel) * kernel


class Projected(Rule):
    """Another rule, on the signal divided by its largest absolute value in each sample.

    Args:
        rule: The rule that the scaled signal follows.
    """

    def __init__(self, rule: Rule):
        self.rule = check_kind("rule", rule, Rule, "an innvestigate.rules.Rule")
        self.probes, self.variables = rule.probes, rule.variables

    def __call__(self, at, signals) -> list:
        scaled = []
        for signal in signals:
            axes = tuple(range(1, len(signal.shape)))
            scaled.append(divide(signal, ops.max(ops.abs(signal), axis=axes, keepdims=True)))
        return self.rule(at, scaled)

    def fits(self, kind) -> bool:
        return self.rule.fits(kind)

    def __repr__(self) -> str:
        return f"Projected({self.rule!r})"
