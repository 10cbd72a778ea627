"""What a rule is."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from keras import ops

from innvestigate.backend import vjp
from innvestigate.graph.operations import Kind


def fields_of(value) -> dict:
    """The fields of a dataclass: the arguments that make an equal object, by name."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


class Rule:
    """How one step sends the signal that arrives at its outputs back to its inputs.

    `rule(at, signals) -> signals`: `at` holds what there is to know of the step (`graph.run.At`),
    `signals` what arrives at each of its floating point outputs; one signal is returned for each
    active input. Rules hold no state: one instance may serve many steps.

    Attributes:
        kinds: The kinds of steps the rule is made for; None for any.
        compares: Whether the rule speaks of the difference from a reference, so that `at` must be
            a `graph.difference.Between`.
        probes: Constant inputs of the model (numbers or arrays shaped like it) at which a first
            step also wants to know its own input: `at.probes`.
        variables: Variables that the rule reads, for Keras to track.
    """

    kinds: tuple[Kind, ...] | None = None
    compares = False
    probes: tuple = ()
    variables: tuple = ()

    def __call__(self, at, signals: list) -> list:
        raise NotImplementedError

    def send(self, at, signals: list) -> list[tuple]:
        """What the engine asks for: signals as tuples, None where nothing arrives."""
        arriving = [
            ops.zeros_like(y) if signal is None else signal[0]
            for y, signal in zip(at.outputs, signals, strict=True)
        ]
        return [(sent,) for sent in self(at, arriving)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def fits(self, kind: Kind) -> bool:
        """Whether the rule is made for steps of this kind."""
        return self.kinds is None or kind in self.kinds

    def get_config(self) -> dict:
        """The arguments that make an equal rule, by name: the fields of a dataclass.

        Raises:
            NotImplementedError: If the rule has other attributes; such a class states its own.
        """
        if is_dataclass(self):
            return fields_of(self)
        if vars(self):
            raise NotImplementedError(
                f"{type(self).__name__} needs a get_config() that returns its arguments by name."
            )
        return {}


class Gradient(Rule):
    """The chain rule: each input receives Jᵀ s, J being the step's Jacobian.

    For steps that only move numbers or pick winners this is also how relevance follows them.
    """

    def __call__(self, at, signals) -> list:
        _, pullback = vjp(at, at.inputs)
        return pullback(signals)


class Pass(Rule):
    """Signals pass to the first input unchanged: R_x = R_y. Others, if there are, get nothing."""

    def __call__(self, at, signals) -> list:
        return [signals[0], *map(ops.zeros_like, at.inputs[1:])]


LARGEST = 1e30
"""What quotients are limited to: the factors that they meet next must not leave the float range."""


def divide(numerator, denominator):
    """The quotient, zero where the denominator is exactly zero, and no larger than `LARGEST`.

    Activations such as SiLU write numbers as small as 1e-37. A share of a sum of these alone is
    the relevance divided by something tiny, times something tiny.
    """
    return ops.clip(ops.divide_no_nan(numerator, denominator), -LARGEST, LARGEST)
