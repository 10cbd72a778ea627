"""DeepLIFT rules for steps other than kernels and activations.

Each keeps the sum of contributions: Σ m_x Δx = Σ m_y Δy. See `rules.deeplift`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from innvestigate.graph.operations import Trait, activation_name, has, normalization_of
from innvestigate.rules.base import Rule, divide
from innvestigate.rules.deeplift import DifferenceRule, filled, pulled_back, quotient, swapped
from innvestigate.utils.arguments import check_whole, settle

_MOST_POINTS = 1000
"""Quadrature computes with a square matrix of its points."""


class AtInput(DifferenceRule):
    """Another rule, such as `Gradient`, taken at the input; the reference plays no part.

    The sum of contributions is kept only where the step is linear.

    Args:
        rule: The other rule.
    """

    def __init__(self, rule: Rule):
        self.rule = rule

    def __call__(self, at, m):
        return self.rule(at, m)

    def __repr__(self) -> str:
        return f"AtInput({self.rule!r})"


class Affine(DifferenceRule):
    """Linear steps without a kernel: m_x = Jᵀ m_y, J being constant.

    Positive parts stay positive parts, but change places with the negative ones where an input
    enters with a negative sign.
    """

    passes_parts = True
    keeps_sum = True

    def send(self, at, signals):
        arriving = zip(*filled(at, signals), strict=True)
        columns = [pulled_back(at, at.inputs, list(column)) for column in arriving]
        sent = list(zip(*columns, strict=True))
        return sent if len(columns) == 1 else self._signed(at, sent)

    def parts(self, at):
        pairs = self._signed(at, [c.parts for c in at.x])
        at_zero = at(*map(ops.zeros_like, at.inputs))
        columns = [at(*column) for column in zip(*pairs, strict=True)]
        return [
            tuple(y - zero for y in ys)
            for ys, zero in zip(zip(*columns, strict=True), at_zero, strict=True)
        ]

    def width(self, arriving):
        return arriving

    def _signed(self, at, pairs):
        """Each input's pair, swapped where the input enters with a negative sign."""
        signs = pulled_back(at, at.inputs, list(map(ops.ones_like, at.outputs)))
        return [swapped(sign, *pair) for sign, pair in zip(signs, pairs, strict=True)]


@dataclass(frozen=True, repr=False)
class MeanGradient(DifferenceRule):
    """m_x = ∫₀¹ J(x₀ + t Δx)ᵀ m_y dt, the gradient's mean on the way from reference to input.

    By Gauss-Legendre quadrature. Exact for products of tensors, whose default number of points
    follows from the number of factors: Δ(ab) = ½ (a + a₀) Δb + ½ (b + b₀) Δa. For other smooth
    steps the sum of contributions is kept as well as the quadrature is accurate.

    Args:
        points: Number of points; None for what is exact for a product.

    Raises:
        ValueError: If points is no whole number from 1 to 1,000.
    """

    points: int | None = None

    def __post_init__(self):
        if self.points is not None:
            settle(self, points=check_whole("points", self.points, 1, _MOST_POINTS))
        settle(self, keeps_sum=self.points is None)

    def __call__(self, at, m):
        nodes, weights = np.polynomial.legendre.leggauss(self.points or math.ceil(at.factors / 2))
        total = [0.0] * len(at.x)
        for node, weight in zip(nodes, weights, strict=True):
            point = [c.reference + 0.5 * (1 + float(node)) * c.delta for c in at.x]
            sent = pulled_back(at, point, m)
            total = [t + 0.5 * float(weight) * s for t, s in zip(total, sent, strict=True)]
        return total

    def __repr__(self) -> str:
        return f"MeanGradient({'' if self.points is None else self.points})"


class Quotient(DifferenceRule):
    """A product y = a r of a tensor a and an inverse r = 1 / s, such as `x * rsqrt(v + ε)`.

    Δy = (λ r + (1 - λ) r₀) Δa + ((1 - λ) a + λ a₀) Δr holds for every λ. λ = |r₀| / (|r| + |r₀|)
    makes the first factor the inverse of the mean of s and s₀, and the contribution of r that of s
    in Δa = ½ (s + s₀) Δy + ½ (y + y₀) Δs. Both stay small where one of s and s₀ is tiny, as a
    spread √(v + ε) is at a reference of zeros. Halves (`MeanGradient`) would then be large numbers
    that cancel, and from layer to layer larger ones.
    """

    keeps_sum = True

    def __call__(self, at, m):
        if len(at.x) == 1:
            return MeanGradient()(at, m)
        place = at.inverses[0]
        inverse, other = at.x[place], at.x[1 - place]
        product = lambda a, r: at(a, r) if place else at(r, a)  # noqa: E731
        now, before = ops.abs(inverse.value), ops.abs(inverse.reference)
        share = divide(before, now + before)
        mean = share * inverse.value + (1.0 - share) * inverse.reference
        to_other = pulled_back(lambda a: product(a, mean), [other.value], m)[0]
        factor = product(other.value, 1.0 - share)[0] + product(other.reference, share)[0]
        ones = ops.ones_like(other.value)
        to_inverse = pulled_back(lambda r: product(ones, r), [inverse.value], [m[0] * factor])[0]
        return [to_other, to_inverse] if place else [to_inverse, to_other]


class Winner(DifferenceRule):
    """Largest (or smallest) values, for any reference: the one that decides on Δy receives it.

    Where a maximum rises, that is the input i which is the largest now: x_i = y > y₀ >= x_i0. Where
    it falls, the input i which was the largest: x_i0 = y₀ > y >= x_i. So Δx_i is never smaller
    than Δy, and m_i = Δy / Δx_i lies between 0 and 1. A minimum is the other way round. Where
    |Δx_i| < 1e-7 its limit 1 takes the quotient's place. Whoever does not decide gets nothing, even
    if it was the largest, and has not changed: where a rectifier is off, at the reference as well,
    its parts may still cancel, and RevealCancel tells these.

    That is the path from reference to input by way of the larger of both, max(x, x₀), along which
    the maximum rises on the way there and falls on the way back.
    """

    keeps_sum = True

    def __call__(self, at, m):
        rises = ops.cast(at.y[0].delta > 0, m[0].dtype)
        now = 1.0 - rises if has(at.operation, Trait.MINIMUM) else rises
        share = m[0] * at.y[0].delta
        references = [c.reference for c in at.x]

        def to_deciding(y):
            risen = pulled_back(at, at.inputs, [now * y])
            fallen = pulled_back(at, references, [(1.0 - now) * y])
            return [a + b for a, b in zip(risen, fallen, strict=True)]

        columns = zip(at.x, to_deciding(share), to_deciding(m[0]), strict=True)
        return [quotient(of_share, change.delta, of_m) for change, of_share, of_m in columns]


class Softmax(DifferenceRule):
    """Softmax y_j = exp(x_j - τ) and log-softmax x_j - τ.

    With the logarithmic means L_j = Δy_j / Δ(x_j - τ), Σ_j Δy_j = 0 says that Δτ = Σ_j L_j Δx_j /
    Σ_j L_j, so that Δy_j = L_j (Δx_j - Σ_i L_i Δx_i / Σ_i L_i): the Jacobian of a softmax with L in
    place of y. m_x follows as L ⊙ (m_y - Σ L m_y / Σ L), for a log-softmax as m_y - L Σ m_y / Σ L.
    """

    keeps_sum = True

    def __call__(self, at, m):
        logarithmic = activation_name(at.operation) == "log_softmax"
        axis = getattr(at.operation, "axis", -1)
        means = _logarithmic_mean(at.x[0], at.y[0], axis, logarithmic)
        total = ops.sum(means, axis=axis, keepdims=True)
        if logarithmic:
            return [m[0] - means / total * ops.sum(m[0], axis=axis, keepdims=True)]
        mean = divide(ops.sum(means * m[0], axis=axis, keepdims=True), total)  # 0 / 0: all masked
        return [means * (m[0] - mean)]


class Normalized(DifferenceRule):
    """Layer, group, RMS and unit normalisation: n = c / σ, the product rule taken for n σ = c.

    c is the centred input, σ the deviation (√(v + ε), v quadratic in x). From Δc = ½ (σ + σ₀) Δn +
    ½ (n + n₀) Δσ and Δσ = Δv / (σ + σ₀) follows Δn = 2 / (σ + σ₀) (Δc - ½ (n + n₀) Δσ), whose
    factors stay small where the reference's deviation is zero.
    """

    keeps_sum = True

    def __call__(self, at, m):
        layer, change = at.operation, at.x[0]
        parts = normalization_of(layer)
        middle = 0.5 * (change.value + change.reference)
        spreads = [parts.spread(layer, c) for c in (change.value, change.reference)]
        centred = [parts.centred(layer, c) for c in (change.value, change.reference)]
        n, n0 = (c / spread for c, spread in zip(centred, spreads, strict=True))
        total = spreads[0] + spreads[1]
        affine, centre, square = (
            lambda n: [parts.affine(layer, n, change.value)],
            lambda x: [parts.centred(layer, x)],
            lambda x: [parts.square(layer, x) + ops.zeros_like(n)],
        )
        s = 2.0 / total * pulled_back(affine, [n], m)[0]
        along = pulled_back(square, [middle], [0.5 * s * (n + n0) / total])[0]
        return [pulled_back(centre, [middle], [s])[0] - along]


class LookupDifference(DifferenceRule):
    """One value for each token: what is made of its vector's change, summed over the vector.

    Args:
        finish: What the analyzer makes of `(change, signal)` before the sum.
    """

    keeps_sum = True

    def __init__(self, finish):
        self.finish = finish

    def __call__(self, at, m):
        summed = ops.sum(self.finish(at.y[0], (m[0],)), axis=-1)
        return [ops.reshape(summed, ops.shape(at.inputs[0]))]


def _logarithmic_mean(x, y, axis, logarithmic: bool):
    """Δp / Δ log p for p = exp(x - τ), without a difference of nearly equal numbers.

    Args:
        x: The change of x.
        y: The change of p, or of its logarithm.
        axis: Along which p adds up to one.
        logarithmic: Whether y is the logarithm.
    """
    if logarithmic:
        change, largest = y.delta, ops.exp(ops.maximum(y.value, y.reference))
    else:
        shifts = _shift(x.value, y.value, axis) - _shift(x.reference, y.reference, axis)
        change, largest = x.delta - shifts, ops.maximum(y.value, y.reference)
    size = ops.abs(change)
    half = ops.tanh(0.5 * size)  # 2 h / (1 + h) = 1 - exp(-size); ONNX knows no expm1
    return largest * ops.where(size > 0, divide(2.0 * half / (1.0 + half), size), 1.0)


def _shift(x, y, axis):
    """τ of a softmax y = exp(x - τ), from where y is not zero."""
    log = ops.log(ops.where(y > 0, y, 1.0))
    return ops.sum(ops.where(y > 0, y * (x - log), 0.0), axis=axis, keepdims=True)
