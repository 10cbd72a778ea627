"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from keras import ops

from innvestigate.backend import fused, vjp
from innvestigate.graph.multipliers import (
    Multiplier,
    multiplied,
    multiplier_of,
    past,
    relevance,
)
from innvestigate.graph.operations import Kind, Trait, has, is_homogeneous, kind_of


def fields_of(value) -> dict:
    """The fields of a dataclass: the arguments that make an equal object, by name."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


@dataclass(frozen=True)
class Absorbed:
    """What a rule keeps, by its formula, of the relevance that arrives: sums over a batch.

    Attributes:
        bias: The share of what does not depend on the explained inputs: biases and constants, and
            what a linearised function is apart from its linear part.
        stabiliser: The share of what is added to denominators.
        dropped: What arrives where a denominator is exactly zero.
    """

    bias: Any = 0.0
    stabiliser: Any = 0.0
    dropped: Any = 0.0

    def __add__(self, other: Absorbed) -> Absorbed:
        return Absorbed(
            self.bias + other.bias,
            self.stabiliser + other.stabiliser,
            self.dropped + other.dropped,
        )


_FORMULAS = frozenset({"__call__", "send", "relevance", "shares", "function", "weights"})
"""What of a rule states its formula."""


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
        proportional: Whether the relevance of an input x is x ⊙ m, and `multipliers` says what m
            is. A class that states another formula has to say so anew.
    """

    kinds: tuple[Kind, ...] | None = None
    compares = False
    probes: tuple = ()
    variables: tuple = ()
    proportional = False

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "proportional" not in vars(cls) and not _FORMULAS.isdisjoint(vars(cls)):
            cls.proportional = False

    def __call__(self, at, signals: list) -> list:
        raise NotImplementedError

    def send(self, at, signals: list) -> list[tuple]:
        """What the engine asks for: signals as tuples, None where nothing arrives."""
        arriving = [
            ops.zeros_like(y) if signal is None else relevance(y, signal)
            for y, signal in zip(at.outputs, signals, strict=True)
        ]
        return [(sent,) for sent in self(at, arriving)]

    def multiplies(self, step, signals: list) -> type[Multiplier] | None:
        """What multipliers it sends to the inputs of a step at which some signals arrive.

        Returns:
            Their kind, which says what they multiply; None if the rule sends relevance.
        """
        return None

    def multipliers(self, at, signals: list) -> list:
        """m of each active input x, as the kind says; `signals` as for `send`."""
        raise NotImplementedError

    def absorbed(self, at, signals: list) -> Absorbed:
        """What the rule keeps of the signals that arrive, by its formula; by default nothing.

        Not the difference of what arrives and what is sent: that the two agree is what an audit
        asks.
        """
        return Absorbed()

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

    proportional = True

    def __call__(self, at, signals) -> list:
        _, pullback = vjp(at, at.inputs)
        return pullback(signals)

    def multiplies(self, step, signals) -> type[Multiplier] | None:
        """Where every output is one of the inputs, or a constant."""
        picks = kind_of(step) is Kind.SHAPE or has(step.operation, Trait.PICKS)
        return Multiplier if self.proportional and picks and multiplied(signals) else None

    def multipliers(self, at, signals) -> list:
        return self(at, [_arriving(s, y) for s, y in zip(signals, at.outputs, strict=True)])

    def absorbed(self, at, signals) -> Absorbed:
        """Where numbers are moved or compared: what arrives at those that are no input's."""
        if kind_of(at.step) is not Kind.SHAPE and not has(at.operation, Trait.EXTREMUM):
            return Absorbed()
        moved = pushed(at, at.inputs, [ops.ones_like(x) for x in at.inputs])
        return Absorbed(bias=total((1.0 - m) * s for m, s in zip(moved, signals, strict=True)))


class Linearised(Rule):
    """The z-rule for y = J x + b, J being constant: R_x = w x ⊙ Jᵀ (R / y), b absorbing its share.

    A function that is not linear is linearised where it is: b is what J x leaves of y. Where y is
    exactly zero, its relevance is dropped. A subclass may state `function` and `weights`.
    """

    proportional = True

    def function(self, at) -> Callable:
        """What is linearised, a function of the active inputs; by default the step itself."""
        return at

    def weights(self, at) -> list:
        """w: what part of itself each active input brings, a number or one for each of its."""
        return [1.0 for _ in at.inputs]

    def __call__(self, at, signals) -> list:
        gradients = self._transposed(at, [(r,) for r in signals])
        return [part * g for part, g in zip(self._weighed(at, at.inputs), gradients, strict=True)]

    def multiplies(self, step, signals) -> type[Multiplier] | None:
        return Multiplier if self.proportional else None

    def multipliers(self, at, signals) -> list:
        return self._weighed(at, self._transposed(at, signals))

    def linear(self, at) -> list:
        """w J x: what the inputs bring to each output."""
        return pushed(self.function(at), at.inputs, self._weighed(at, at.inputs))

    def absorbed(self, at, signals) -> Absorbed:
        function, kept = self.function(at), Absorbed()
        for r, y, jx in zip(signals, function(*at.inputs), self.linear(at), strict=True):
            multiplier = divide(r, y)
            divided = ops.sum(y * multiplier)
            bias = divided - ops.sum(jx * multiplier)
            kept += Absorbed(bias, dropped=ops.sum(r) - divided)
        return kept

    def _transposed(self, at, signals) -> list:
        """Jᵀ (R / y), given what tells R at each output."""
        outputs, pullback = vjp(self.function(at), at.inputs)
        return pullback([_divided(s, y) for s, y in zip(signals, outputs, strict=True)])

    def _weighed(self, at, tensors: list) -> list:
        """w x for each of some tensors like the active inputs."""
        return [_weighed(w, x) for w, x in zip(self.weights(at), tensors, strict=True)]


class Pass(Rule):
    """Signals pass to the first input unchanged: R_x = R_y. Others, if there are, get nothing."""

    proportional = True

    def __call__(self, at, signals) -> list:
        return [signals[0], *map(ops.zeros_like, at.inputs[1:])]

    def multiplies(self, step, signals) -> type[Multiplier] | None:
        """One of y = f(x) as it is; or, where y is x times its slope, as a gradient passes."""
        if not (self.proportional and multiplied(signals)):
            return None
        return self._past(step, signals) or (Multiplier if is_homogeneous(step) else None)

    def multipliers(self, at, signals) -> list:
        if self._past(at.step, signals) is not None:
            return [signals[0].m]
        return Gradient().multipliers(at, signals)

    @staticmethod
    def _past(step, signals) -> type[Multiplier] | None:
        return past(step) if type(signals[0]) is Multiplier else None


LARGEST = 1e30
"""What quotients are limited to: the factors that they meet next must not leave the float range."""


@fused
def divide(numerator, denominator):
    """The quotient, zero where the denominator is exactly zero, and no larger than `LARGEST`.

    Activations such as SiLU write numbers as small as 1e-37. A share of a sum of these alone is
    the relevance divided by something tiny, times something tiny.
    """
    return ops.clip(ops.divide_no_nan(numerator, denominator), -LARGEST, LARGEST)


def _arriving(signal: Multiplier | None, y):
    """What y is multiplied by: zero where no signal arrives."""
    if signal is None:
        return ops.zeros_like(y)
    return signal.m if type(signal) is Multiplier else multiplier_of(y, signal)


def _divided(signal: tuple | None, y):
    """R / y, which a multiplier of y is already."""
    if signal is None:
        return ops.zeros_like(y)
    return multiplier_of(y, signal) if isinstance(signal, Multiplier) else divide(signal[0], y)


def _weighed(weight, x):
    """w x"""
    if isinstance(weight, float):
        return x if weight == 1 else weight * x if weight else ops.zeros_like(x)
    return ops.where(weight, x, 0.0)


def pushed(function: Callable, x: list, directions: list) -> list:
    """J d: how a function's outputs change where its inputs move in the given directions."""
    outputs = function(*x)

    def pulled(*signals):
        return vjp(function, x)[1](list(signals))

    return vjp(pulled, [ops.zeros_like(y) for y in outputs])[1](directions)


def total(tensors) -> Any:
    """The sum of all numbers of some tensors."""
    return sum(ops.sum(x) for x in tensors)
