"""What a rule is."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from keras import ops

from innvestigate.backend import vjp
from innvestigate.graph.operations import Kind


class Rule:
    """How one step sends the signal that arrives at its outputs back to its inputs.

    A rule is called with the step as a function of its active inputs (see
    `graph.layers.LocalStep`), the values of those inputs and of the outputs, and the signal
    arriving at each output; it returns one signal per input. Rules hold no state: one instance
    may serve many steps.

    Attributes:
        kinds: The kinds of steps the rule is made for; None for any.
        references: Constant inputs (numbers or arrays shaped like the model's input) for which a
            first step also wants to know its own inputs; the mirror runs them forward and hands
            them over as a fifth argument.
        variables: Variables that the rule reads, for Keras to track.
    """

    kinds: tuple[Kind, ...] | None = None
    references: tuple = ()
    variables: tuple = ()

    def __call__(self, step, inputs, outputs, signals, references=None) -> list:
        raise NotImplementedError

    def fits(self, kind: Kind) -> bool:
        """Whether the rule is made for steps of this kind."""
        return self.kinds is None or kind in self.kinds

    def get_config(self) -> dict:
        """The arguments that make an equal rule, by name: the fields of a dataclass.

        Raises:
            NotImplementedError: If the rule has other attributes; such a class states its own.
        """
        if is_dataclass(self):
            return {field.name: getattr(self, field.name) for field in fields(self)}
        if vars(self):
            raise NotImplementedError(
                f"{type(self).__name__} needs a get_config() that returns its arguments by name."
            )
        return {}


class Gradient(Rule):
    """The chain rule: each input receives Jᵀ s, J being the step's Jacobian.

    For steps that only move numbers or pick winners this is also how relevance follows them.
    """

    def __call__(self, step, inputs, outputs, signals, references=None) -> list:
        _, pullback = vjp(step, inputs)
        return pullback(signals)

    def __repr__(self) -> str:
        return "Gradient()"


class Pass(Rule):
    """Signals pass elementwise steps unchanged: R_x = R_y."""

    def __call__(self, step, inputs, outputs, signals, references=None) -> list:
        return [signals[0] for _ in inputs]

    def __repr__(self) -> str:
        return "Pass()"


LARGEST = 1e30
"""What quotients are limited to: the factors that they meet next must not leave the float range."""


def divide(numerator, denominator):
    """The quotient, zero where the denominator is exactly zero, and no larger than `LARGEST`.

    Activations such as SiLU write numbers as small as 1e-37. A share of a sum of these alone is
    the relevance divided by something tiny, times something tiny.
    """
    return ops.clip(ops.divide_no_nan(numerator, denominator), -LARGEST, LARGEST)
