"""Relevance rules for linear steps z = W x + b: one class for each published rule.

Every rule here divides the relevance R of an output among the parts that its pre-activation z is
the sum of. Where such a sum is exactly zero there is nothing to divide by, and that share of the
relevance is dropped: it becomes zero, never NaN. (Epsilon adds to the denominator instead, so
that it has no zero.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from innvestigate.rules.kernel import KernelRule, Share, where
from innvestigate.utils.arguments import check_array, check_flags, check_number, settle
from innvestigate.utils.words import shown


def _plain(linear, x, z, r, bias: bool, epsilon: float = 0) -> Share:
    """R divided by the parts of z = W x + b, or of W x where the bias shall take no part."""
    known = z if bias or linear.bias is None else None
    own = linear.bias if bias else None
    return Share([(x, linear.kernel)], r, own, total=known, epsilon=epsilon)


def positive(x):
    """max(x, 0)"""
    return ops.maximum(x, 0.0)


def negative(x):
    """min(x, 0)"""
    return ops.minimum(x, 0.0)


def same_sign(linear, x, kernel):
    """The parts of z that are positive: x⁺W⁺ and x⁻W⁻; (W x)⁺ if W is diagonal."""
    if linear.nonnegative:
        return [(x, positive(kernel))]
    if linear.pointwise:
        return [(positive(linear.map(x, kernel)), ops.ones_like(kernel))]
    return [(positive(x), positive(kernel)), (negative(x), negative(kernel))]


def opposite_sign(linear, x, kernel):
    """The parts of z that are negative: x⁺W⁻ and x⁻W⁺; (W x)⁻ if W is diagonal."""
    if linear.nonnegative:
        return [(x, negative(kernel))]
    if linear.pointwise:
        return [(negative(linear.map(x, kernel)), ops.ones_like(kernel))]
    return [(positive(x), negative(kernel)), (negative(x), positive(kernel))]


@dataclass(frozen=True)
class Z(KernelRule):
    """LRP-z (LRP-0): R_x = x ⊙ Wᵀ (R / z), z = W x + b.

    Args:
        bias: Whether the bias is part of z and absorbs its share.

    Reference: Bach et al. 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
    by Layer-Wise Relevance Propagation", eq. 56.
    """

    bias: bool = True
    proportional = True

    def __post_init__(self):
        check_flags(bias=self.bias)

    def shares(self, linear, x, z, r):
        return [_plain(linear, x, z, r, self.bias)]


@dataclass(frozen=True)
class Epsilon(KernelRule):
    """LRP-ε: R_x = x ⊙ Wᵀ (R / (z + ε sign(z))), sign(0) = +1.

    Args:
        epsilon: Stabiliser, > 0, in units of z.
        bias: Whether the bias is part of z and absorbs its share.

    Raises:
        ValueError: If epsilon is not positive.

    Reference: Bach et al. 2015, eq. 58.
    """

    epsilon: float = 1e-7
    bias: bool = True
    proportional = True

    def __post_init__(self):
        advice = " For a rule without a stabiliser use 'Z' (analyzer 'lrp.z')."
        settle(self, epsilon=check_number("epsilon", self.epsilon, above=0, advice=advice))
        check_flags(bias=self.bias)

    def shares(self, linear, x, z, r):
        return [_plain(linear, x, z, r, self.bias, self.epsilon)]


@dataclass(frozen=True)
class WSquare(KernelRule):
    """LRP-w²: R_i = Σ_j W_ij² / (Σ_i W_ij²) R_j. Uses neither the input nor the bias.

    Reference: Montavon et al. 2017, "Explaining NonLinear Classification Decisions with Deep
    Taylor Decomposition", section 4.1.
    """

    def shares(self, linear, x, z, r):
        return [Share([(ops.ones_like(x), ops.square(linear.kernel))], r)]


@dataclass(frozen=True)
class Flat(KernelRule):
    """LRP-♭: relevance is spread evenly over the inputs that W connects an output to.

    Reference: Lapuschkin et al. 2019, "Unmasking Clever Hans Predictors and Assessing What
    Machines Really Learn", Methods.
    """

    def shares(self, linear, x, z, r):
        return [Share([(ops.ones_like(x), ops.ones_like(linear.kernel))], r)]


@dataclass(frozen=True)
class AlphaBeta(KernelRule):
    """LRP-αβ: R_x = α (share of z⁺) - β (share of z⁻).

    z⁺ = W⁺x⁺ + W⁻x⁻ + b⁺ and z⁻ = W⁺x⁻ + W⁻x⁺ + b⁻. Where one of the two is exactly zero, its
    share of the relevance is dropped.

    Args:
        alpha: Weight of the positive part, >= 1; follows from beta if not given.
        beta: Weight of the negative part, >= 0; follows from alpha if not given.
        bias: Whether positive biases are part of z⁺ and negative ones of z⁻.

    Raises:
        ValueError: If neither is given, alpha - beta is not 1, or one of them is out of range.

    Reference: Bach et al. 2015, eq. 60.
    """

    alpha: float | None = None
    beta: float | None = None
    bias: bool = True
    proportional, signed = True, True

    def __post_init__(self):
        if self.alpha is None and self.beta is None:
            raise ValueError("The alpha-beta rule needs alpha or beta; received neither.")
        for name in ("alpha", "beta"):
            if getattr(self, name) is not None:
                settle(self, **{name: check_number(name, getattr(self, name))})
        check_flags(bias=self.bias)
        alpha = (self.beta or 0) + 1 if self.alpha is None else self.alpha
        beta = alpha - 1 if self.beta is None else self.beta
        if alpha < 1 or beta < 0 or abs(alpha - beta - 1) > 1e-9:
            raise ValueError(
                "The alpha-beta rule needs alpha >= 1, beta >= 0 and alpha - beta = 1, or it would "
                f"not conserve relevance. Received: alpha={alpha}, beta={beta}. Give one of the "
                "two and the other follows."
            )
        settle(self, alpha=alpha, beta=beta)

    def shares(self, linear, x, z, r):
        kernel, bias = linear.kernel, linear.bias if self.bias else None
        up, down = (None, None) if bias is None else (positive(bias), negative(bias))
        parts = [Share(same_sign(linear, x, kernel), r, up, self.alpha)]
        if self.beta:
            parts.append(Share(opposite_sign(linear, x, kernel), r, down, -self.beta))
        return parts


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """LRP-z⁺: alpha-beta with α = 1, β = 0 and no bias, for inputs of any sign.

    Reference: Montavon et al. 2017, section 4.2.
    """

    alpha: float = 1
    beta: float = 0
    bias: bool = False


@dataclass(frozen=True)
class ZPlusFast(KernelRule):
    """LRP-z⁺ for x >= 0: R_x = x ⊙ W⁺ᵀ (R / (W⁺ x)). Not checked: the sign of x.

    Reference: Montavon et al. 2017, section 4.2.
    """

    proportional = True

    def shares(self, linear, x, z, r):
        return [Share([(x, positive(linear.kernel))], r)]


@dataclass(frozen=True)
class AlphaBetaX(KernelRule):
    """2 (share of x⁺W⁺ + b⁺) - (share of x⁺W⁻ + b⁻): what the presets use in BatchNormalization.

    The original toolbox calls it AlphaBetaX2m100. Negative inputs receive nothing.

    Args:
        alpha: Weight of the share of x⁺W⁺.
        beta: Weight of the share of x⁺W⁻.

    Reference: Alber et al. 2019, "iNNvestigate Neural Networks!", JMLR 20(93).
    """

    alpha: float = 2
    beta: float = 1
    proportional, signed = True, True

    def __post_init__(self):
        alpha, beta = check_number("alpha", self.alpha), check_number("beta", self.beta)
        settle(self, alpha=alpha, beta=beta)

    def shares(self, linear, x, z, r):
        kernel, bias = linear.kernel, linear.bias
        up, down = (None, None) if bias is None else (positive(bias), negative(bias))
        x = x if linear.nonnegative else positive(x)
        return [
            Share([(x, positive(kernel))], r, up, self.alpha),
            Share([(x, negative(kernel))], r, down, -self.beta),
        ]


@dataclass(frozen=True)
class Gamma(KernelRule):
    """LRP-γ, generalised to inputs of any sign.

    An output with z > 0 shares its relevance by the parts of z + γ z⁺, one with z < 0 by the
    parts of z + γ z⁻ (z⁺ and z⁻ as in `AlphaBeta`); at z = 0 the relevance is dropped.

    Args:
        gamma: By how much contributions of the sign of z are favoured, >= 0.
        bias: Whether the bias is part of z and absorbs its share.

    Raises:
        ValueError: If gamma is negative.

    Reference: Montavon et al. 2019, "Layer-Wise Relevance Propagation: An Overview", section
    10.2.3; Andéol et al. 2021, "Learning Domain Invariant Representations by Joint Wasserstein
    Distance Minimization", appendix.
    """

    gamma: float = 0.25
    bias: bool = True
    proportional, signed = True, True

    def __post_init__(self):
        settle(self, gamma=check_number("gamma", self.gamma, least=0))
        check_flags(bias=self.bias)

    def shares(self, linear, x, z, r):
        kernel, bias = linear.kernel, linear.bias if self.bias else None
        z = z if self.bias or linear.bias is None else linear.map(x, kernel)
        up, down = self._favour(positive, kernel), self._favour(negative, kernel)
        if linear.nonnegative:
            parts_up, parts_down = [(x, up)], [(x, down)]
        else:
            parts_up = [(positive(x), up), (negative(x), down)]
            parts_down = [(positive(x), down), (negative(x), up)]
        bias_up, bias_down = None, None
        if bias is not None:
            bias_up, bias_down = self._favour(positive, bias), self._favour(negative, bias)
        return [
            Share(parts_up, where(z > 0, r), bias_up),
            Share(parts_down, where(z < 0, r), bias_down),
            Share([], where(z == 0, r), total=ops.zeros_like(z)),
        ]

    def _favour(self, part, kernel):
        return kernel + self.gamma * part(kernel)


def _bound(name: str, value: Any) -> Any:
    """A bound of a box: a number, or an array of them."""
    array = check_array(name, value)
    return array if array.ndim else check_number(name, value)


def _together(low: Any, high: Any) -> tuple:
    """Two bounds in one shape."""
    try:
        return np.broadcast_arrays(low, high)
    except ValueError:
        raise ValueError(
            f"low and high need shapes that broadcast over each other. Received: low={shown(low)}, "
            f"high={shown(high)}."
        ) from None


@dataclass(frozen=True)
class ZBox(KernelRule):
    """LRP-z^B for inputs in a box: parts of z are x W - low W⁺ - high W⁻. No bias.

    In a first layer, low and high bound the *model's* input: they are taken through the padding,
    rescaling and reshaping before the layer, as the input is. Elsewhere they bound the layer's
    own input.

    Args:
        low: Least possible input: a number or an array that broadcasts over the input.
        high: Greatest possible input.

    Raises:
        ValueError: If low exceeds high.

    Reference: Montavon et al. 2017, section 4.2.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self):
        low, high = (_bound(name, getattr(self, name)) for name in ("low", "high"))
        if not np.all(np.less_equal(*_together(low, high))):
            raise ValueError(
                "The z^B rule needs low <= high. Received: "
                f"low={shown(self.low)}, high={shown(self.high)}."
            )
        settle(self, low=low, high=high)

    @property
    def probes(self):  # type: ignore[override]  # that of other rules may be set
        return (self.low, self.high)

    def shares(self, linear, x, z, r, at_low=None, at_high=None):
        if at_low is None:
            at_low, at_high = (
                ops.zeros_like(x) + ops.convert_to_tensor(bound, x.dtype) for bound in self.probes
            )
        low, high = ops.minimum(at_low, at_high), ops.maximum(at_low, at_high)
        kernel = linear.kernel
        parts = [(x, kernel), (-low, positive(kernel)), (-high, negative(kernel))]
        return [Share(parts, r)]
