"""DeepLIFT rules: how one step sends multipliers back.

A multiplier m says by how much the explained output changes for each unit by which a tensor differs
from its reference. Rules keep the sum of contributions m ⊙ Δ: Σ m_x Δx = Σ m_y Δy, for any
reference. Δ is the value at the input minus the value at the reference; names that end in 0 are
values at the reference. Where two multipliers arrive, m⁺ for the positive part Δ⁺ of the difference
and m⁻ for the negative part Δ⁻, that sum is Σ m⁺ Δ⁺ + m⁻ Δ⁻.

Reference: Shrikumar, Greenside & Kundaje 2017, "Learning Important Features Through Propagating
Activation Differences".
"""

from __future__ import annotations

from keras import ops

from innvestigate.backend import vjp
from innvestigate.graph.difference import by_sign
from innvestigate.rules.base import Rule

NEAR = 1e-7
"""Differences smaller than this are not divided by: the derivative takes the quotient's place."""


class DifferenceRule(Rule):
    """How one step sends multipliers back from its outputs to its inputs.

    A subclass states `multipliers`. A pair of multipliers that arrives is made one by the sign of
    the output's difference, whose positive and negative part are then by its sign as well.

    Attributes:
        splits: Whether the rule needs the positive and negative parts of its inputs.
        passes_parts: Whether the parts of the outputs follow from the parts of the inputs.
    """

    splits = False
    passes_parts = False

    def multipliers(self, step, x, y, m) -> list:
        """One multiplier for each input.

        Args:
            step: The step as a function of its active inputs (`graph.layers.LocalStep`).
            x: The change of each input (`graph.difference.Change`).
            y: The change of each output.
            m: The multiplier of each output.
        """
        raise NotImplementedError

    def send(self, step, x, y, signals) -> list[tuple]:
        """One signal, a tuple of one or two multipliers, for each input, given each output's."""
        m = [_by_sign_of(change.delta, s) for change, s in zip(y, signals, strict=True)]
        return [(sent,) for sent in self.multipliers(step, x, y, m)]

    def parts(self, step, x, y) -> list[tuple]:
        """The positive and negative part of each output's difference."""
        return [by_sign(change.delta) for change in y]

    def width(self, arriving: int) -> int:
        """How many multipliers each input gets, given how many arrive."""
        return 1

    def __call__(self, step, inputs, outputs, signals, references=None) -> list:
        raise TypeError(
            f"{self!r} is a DeepLIFT rule: it needs a reference. Use it with the analyzer "
            "'deeplift', or choose a rule for relevance, such as 'Epsilon'."
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class LinearDifference(DifferenceRule):
    """The linear rule for z = W x + b: parts are by the sign of each summand W_ji Δx_i.

    Δz⁺ = W⁺Δx⁺ + W⁻Δx⁻, Δz⁻ = W⁺Δx⁻ + W⁻Δx⁺, with Δx⁺ and Δx⁻ by the sign of Δx, and
    m_x = W⁺ᵀm⁺ + W⁻ᵀm⁻ for Δx > 0, W⁻ᵀm⁺ + W⁺ᵀm⁻ for Δx < 0 and the mean of both for Δx = 0,
    which is ½ (Wᵀ(m⁺ + m⁻) + sign(Δx) |W|ᵀ(m⁺ - m⁻)). A single multiplier passes as m_x = Wᵀ m.

    Reference: Shrikumar et al. 2017, section 3.5.1.
    """

    def send(self, step, x, y, signals):
        linear, change, (signal,) = step.operation, x[0], signals
        if len(signal) == 1:
            return [(_transposed(linear, change.value, linear.kernel, signal[0]),)]
        up, down = signal
        kernel = linear.kernel
        mean = _transposed(linear, change.value, kernel, up + down)
        tilt = _transposed(linear, change.value, ops.abs(kernel), up - down)
        return [(0.5 * (mean + ops.sign(change.delta) * tilt),)]

    def parts(self, step, x, y):
        linear = step.operation
        (up, down), (rise, fall) = by_sign(x[0].delta), by_sign(linear.kernel)
        positive = linear.map(up, rise) + linear.map(down, fall)
        return [(positive, linear.map(up, fall) + linear.map(down, rise))]


class Rescale(DifferenceRule):
    """The Rescale rule for elementwise functions: m_x = (Δy / Δx) m_y.

    Where |Δx| < 1e-7 the derivative at the reference takes the quotient's place. Both parts of the
    difference are rescaled alike.

    Reference: Shrikumar et al. 2017, section 3.5.2.
    """

    passes_parts = True

    def send(self, step, x, y, signals):
        slope = self._slope(step, x[0], y[0])
        scaled = tuple(slope * m for m in signals[0])
        return [scaled if len(scaled) == 1 else swapped(slope, *scaled)]

    def parts(self, step, x, y):
        slope = self._slope(step, x[0], y[0])
        return [swapped(slope, *(slope * part for part in x[0].parts))]

    def width(self, arriving):
        return arriving

    def _slope(self, step, x, y):
        return quotient(y.delta, x.delta, _derivative(step, x.reference))


class RevealCancel(DifferenceRule):
    """The RevealCancel rule for elementwise functions f: the parts of Δx are added one by one.

    Δy⁺ = ½ (f(x₀ + Δx⁺) - f(x₀)) + ½ (f(x) - f(x₀ + Δx⁻)), the mean over both orders, m_x⁺ =
    (Δy⁺ / Δx⁺) m_y⁺, and the same for Δx⁻. Where |Δx⁺| < 1e-7 the limit takes the quotient's place,
    ½ (f'(x₀) + f'(x₀ + Δx⁻)), with derivatives from above (for Δx⁻ from below).

    Reference: Shrikumar et al. 2017, section 3.5.3.
    """

    splits = True
    passes_parts = True

    def send(self, step, x, y, signals):
        changes = self.parts(step, x, y)[0]
        slopes = [
            quotient(change, part, self._limit(step, x[0].reference, other, side))
            for change, part, other, side in zip(
                changes, x[0].parts, x[0].parts[::-1], (NEAR, -NEAR), strict=True
            )
        ]
        pair = signals[0] if len(signals[0]) == 2 else signals[0] * 2
        return [tuple(slope * m for slope, m in zip(slopes, pair, strict=True))]

    def parts(self, step, x, y):
        with_up, with_down = (step(x[0].reference + part)[0] for part in x[0].parts)
        at, at_reference = y[0].value, y[0].reference
        return [
            (
                0.5 * ((with_up - at_reference) + (at - with_down)),
                0.5 * ((with_down - at_reference) + (at - with_up)),
            )
        ]

    def width(self, arriving):
        return 2

    def _limit(self, step, reference, other, side):
        first = _derivative(step, reference + side)
        return 0.5 * (first + _derivative(step, reference + other + side))


def quotient(numerator, denominator, limit):
    """numerator / denominator, and the limit where the denominator is nearly zero."""
    near = ops.abs(denominator) < NEAR
    return ops.where(near, limit, numerator / ops.where(near, 1.0, denominator))


def pulled_back(function, at, m):
    """Jᵀ m, J being the function's Jacobian at some inputs."""
    _, pullback = vjp(function, at)
    return pullback(m)


def _derivative(step, at):
    """The derivative of an elementwise function; zero where it is infinite."""
    slope = pulled_back(step, [at], [ops.ones_like(at)])[0]
    return ops.where(ops.isfinite(slope), slope, 0.0)


def _transposed(linear, x, kernel, m):
    """Wᵀ m"""
    return pulled_back(lambda x: [linear.map(x, kernel)], [x], [m])[0]


def swapped(sign, positive, negative) -> tuple:
    """A pair, its two in each other's place where the sign is negative."""
    keep = sign >= 0
    return ops.where(keep, positive, negative), ops.where(keep, negative, positive)


def _by_sign_of(delta, signal):
    """One multiplier in place of a pair: the one of the difference's sign, the mean at zero."""
    if len(signal) == 1:
        return signal[0]
    up, down = signal
    return 0.5 * (up + down + ops.sign(delta) * (up - down))
