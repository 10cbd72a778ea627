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

from innvestigate.backend import fused, vjp
from innvestigate.graph.difference import by_sign, by_sign_of
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
        keeps_sum: Whether the rule promises that Σ m_x Δx = Σ m_y Δy. If all rules do, a warning
            tells where rounding has spoilt it.
    """

    compares = True
    splits = False
    passes_parts = False
    keeps_sum: bool = False

    def __call__(self, at, m: list) -> list:
        """One multiplier for each input.

        Args:
            at: The step at the input and at the reference (`graph.difference.Between`): `at.x`
                and `at.y` hold the change of each input and output.
            m: The multiplier of each output.
        """
        raise NotImplementedError

    def send(self, at, signals: list) -> list[tuple]:
        """One signal, a tuple of one or two multipliers, for each input, given each output's."""
        pairs = zip(at.y, filled(at, signals), strict=True)
        m = [by_sign_of(change.delta, signal) for change, signal in pairs]
        return [(sent,) for sent in self(at, m)]

    def parts(self, at) -> list[tuple]:
        """The positive and negative part of each output's difference."""
        return [by_sign(change.delta) for change in at.y]

    def width(self, arriving: int) -> int:
        """How many multipliers each input gets, given how many arrive."""
        return 1


class LinearDifference(DifferenceRule):
    """The linear rule for z = W x + b: parts are by the sign of each summand W_ji Δx_i.

    Δz⁺ = W⁺Δx⁺ + W⁻Δx⁻, Δz⁻ = W⁺Δx⁻ + W⁻Δx⁺, with Δx⁺ and Δx⁻ by the sign of Δx, which are
    ½ (W Δx ± |W||Δx|), and m_x = W⁺ᵀm⁺ + W⁻ᵀm⁻ for Δx > 0, W⁻ᵀm⁺ + W⁺ᵀm⁻ for Δx < 0 and the mean
    of both for Δx = 0, which is ½ (Wᵀ(m⁺ + m⁻) + sign(Δx) |W|ᵀ(m⁺ - m⁻)). A single multiplier
    passes as m_x = Wᵀ m.

    Reference: Shrikumar et al. 2017, section 3.5.1.
    """

    keeps_sum = True

    def send(self, at, signals):
        linear, change, (signal,) = at.operation, at.x[0], signals
        if len(signal) == 1:
            return [(_transposed(linear, change.value, linear.kernel, signal[0]),)]
        up, down = signal
        kernel = linear.kernel
        mean = _transposed(linear, change.value, kernel, up + down)
        tilt = _transposed(linear, change.value, ops.abs(kernel), up - down)
        return [(0.5 * (mean + ops.sign(change.delta) * tilt),)]

    def parts(self, at):
        linear, delta = at.operation, at.x[0].delta
        change = linear.map(delta, linear.kernel)
        size = linear.map(ops.abs(delta), ops.abs(linear.kernel))
        return [(by_sign(0.5 * (change + size))[0], by_sign(0.5 * (change - size))[1])]


class Rescale(DifferenceRule):
    """The Rescale rule for elementwise functions: m_x = (Δy / Δx) m_y.

    Where |Δx| < 1e-7 the derivative at the reference takes the quotient's place. Both parts of the
    difference are rescaled alike. If there are further inputs, they get nothing.

    Reference: Shrikumar et al. 2017, section 3.5.2.
    """

    passes_parts = True
    keeps_sum = True

    def send(self, at, signals):
        slope = self._slope(at)
        scaled = tuple(slope * m for m in signals[0])
        others = [tuple(ops.zeros_like(c.value) for _ in scaled) for c in at.x[1:]]
        return [scaled if len(scaled) == 1 else swapped(slope, *scaled), *others]

    def parts(self, at):
        slope = self._slope(at)
        return [swapped(slope, *(slope * part for part in at.x[0].parts))]

    def width(self, arriving):
        return arriving

    def _slope(self, at):
        x, y = at.x[0], at.y[0]
        function = lambda first: at(first, *(c.reference for c in at.x[1:]))  # noqa: E731
        derivative = _derivative(function, x.reference)
        return _secant(y.value, y.reference, x.value, x.reference, derivative)


class RevealCancel(DifferenceRule):
    """The RevealCancel rule for elementwise functions f: the parts of Δx are added one by one.

    Δy⁺ = ½ (f(x₀ + Δx⁺) - f(x₀)) + ½ (f(x) - f(x₀ + Δx⁻)), the mean over both orders, m_x⁺ =
    (Δy⁺ / Δx⁺) m_y⁺, and the same for Δx⁻. Where |Δx⁺| < 1e-7 the limit takes the quotient's place,
    ½ (f'(x₀) + f'(x₀ + Δx⁻)), with derivatives from above (for Δx⁻ from below).

    Reference: Shrikumar et al. 2017, section 3.5.3.
    """

    splits = True
    passes_parts = True
    keeps_sum = True

    def send(self, at, signals):
        changes, x = self.parts(at)[0], at.x[0]
        slopes = [
            _mean_slope(change, part, *self._derivatives(at, x.reference, other, side))
            for change, part, other, side in zip(
                changes, x.parts, x.parts[::-1], (NEAR, -NEAR), strict=True
            )
        ]
        pair = signals[0] if len(signals[0]) == 2 else signals[0] * 2
        return [tuple(slope * m for slope, m in zip(slopes, pair, strict=True))]

    def parts(self, at):
        x, y = at.x[0], at.y[0]
        with_up, with_down = (at(x.reference + part)[0] for part in x.parts)
        return [
            (
                0.5 * ((with_up - y.reference) + (y.value - with_down)),
                0.5 * ((with_down - y.reference) + (y.value - with_up)),
            )
        ]

    def width(self, arriving):
        return 2

    def _derivatives(self, at, reference, other, side):
        """The slopes for no change of a part, before and after the other part is added."""
        return [_derivative(at, x + side) for x in (reference, reference + other)]


@fused
def quotient(numerator, denominator, limit):
    """numerator / denominator, and the limit where the denominator is nearly zero."""
    near = ops.abs(denominator) < NEAR
    return ops.where(near, limit, numerator / ops.where(near, 1.0, denominator))


def pulled_back(function, at, m):
    """Jᵀ m, J being the function's Jacobian at some inputs."""
    _, pullback = vjp(function, at)
    return pullback(m)


@fused
def _secant(y, y0, x, x0, derivative):
    """Δy / Δx, and the derivative where Δx is nearly zero."""
    return quotient(y - y0, x - x0, _finite(derivative))


@fused
def _mean_slope(change, part, one, other):
    """Δy / Δx of a part, and the mean of two derivatives where Δx is nearly zero."""
    return quotient(change, part, 0.5 * (_finite(one) + _finite(other)))


def _finite(derivative):
    """A derivative; zero where it is infinite."""
    return ops.where(ops.isfinite(derivative), derivative, 0.0)


def _derivative(function, x):
    """The derivative of an elementwise function."""
    return pulled_back(function, [x], [ops.ones_like(x)])[0]


def _transposed(linear, x, kernel, m):
    """Wᵀ m"""
    return pulled_back(lambda x: [linear.map(x, kernel)], [x], [m])[0]


def swapped(sign, positive, negative) -> tuple:
    """A pair, its two in each other's place where the sign is negative."""
    keep = sign >= 0
    return ops.where(keep, positive, negative), ops.where(keep, negative, positive)


def filled(at, signals) -> list[tuple]:
    """Signals of one width, zeros where nothing arrives."""
    width = max(len(signal) for signal in signals if signal)
    return [
        (ops.zeros_like(change.value),) * width
        if signal is None
        else (tuple(signal) if len(signal) == width else tuple(signal) * width)
        for change, signal in zip(at.y, signals, strict=True)
    ]
