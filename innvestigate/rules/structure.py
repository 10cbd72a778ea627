"""Relevance rules for steps without a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import keras
from keras import ops

from innvestigate.backend import vjp
from innvestigate.graph.multipliers import Multiplier, multiplied
from innvestigate.graph.operations import Kind, Trait, has, normalization_of
from innvestigate.rules.base import Absorbed, Gradient, Linearised, Rule
from innvestigate.utils.arguments import check_flags, check_function


class Summands(Linearised):
    """The z-rule over summands: R_i = x_i ⊙ Jᵀ (R / z), J being constant.

    Sums, differences and averages share relevance in proportion to what each summand brings;
    constants absorb their share. Where z is exactly zero, its relevance is dropped.

    Reference: Bach et al. 2015, eq. 56.
    """

    kinds = (Kind.SUM,)

    def linear(self, at):
        nothing = at(*map(ops.zeros_like, at.inputs))  # TensorFlow has no second derivative of some
        return [y - zero for y, zero in zip(at(*at.inputs), nothing, strict=True)]


class Detached(Linearised):
    """The z-rule for normalisation layers whose divisor is held constant.

    Reference: Ali et al. 2022, "XAI for Transformers: Better Explanations through Conservative
    Propagation", section 4 (LN-rule).
    """

    kinds = (Kind.NORMALIZATION,)
    proportional = True

    def function(self, at):
        normalize = normalization_of(at.operation).detached
        return lambda x: [normalize(at.operation, x)]


@dataclass(frozen=True)
class Product(Linearised):
    """Relevance of a product of tensors: gates get none and signals all, otherwise equal parts.

    A gate is the output of a sigmoid. A divisor counts as a gate, and so does what comes out of a
    reciprocal: `x * rsqrt(v)` is a quotient, too. Elementwise factors receive
    relevance directly; matrix products share it by the z-rule. A softmax's output is a factor as
    any other, whether its numbers weigh values (attention) or experts, in a matrix product or
    elementwise and summed.

    Args:
        constant_weights: Whether a softmax's output counts as a gate, which is CP-LRP.

    Reference: Arras et al. 2017, "Explaining Recurrent Neural Network Predictions in Sentiment
    Analysis", section 3.2 (signal-take-all); Achtibat et al. 2024, "AttnLRP", propositions 3.2
    and 3.3 (uniform rule); Ali et al. 2022, section 4 (AH-rule).
    """

    constant_weights: bool = False

    def __post_init__(self):
        check_flags(constant_weights=self.constant_weights)

    kinds = (Kind.PRODUCT,)
    proportional = True

    def weights(self, at) -> list[float]:
        """What part of the product's relevance each factor is given: 0 for gates."""
        gates = {*at.gates, *at.inverses, *(at.weights if self.constant_weights else ())}
        count = len(at.inputs)
        if has(at.operation, Trait.QUOTIENT) and count == 2:
            gates = {1}
        if len(gates) == count:
            gates = set()
        return [0.0 if i in gates else 1.0 / (count - len(gates)) for i in range(count)]

    def __call__(self, at, signals) -> list:
        if not has(at.operation, Trait.ELEMENTWISE):
            return super().__call__(at, signals)
        merging = isinstance(at.operation, keras.layers.Layer)
        pairs = zip(self.weights(at), at.inputs, strict=True)
        return [_unbroadcast(x, weight * signals[0], merging) for weight, x in pairs]

    def multiplies(self, step, signals) -> type[Multiplier] | None:
        """Elementwise, the relevance of a product of zero is shared out, too, if there is any."""
        quotient = has(step.operation, Trait.QUOTIENT)
        if has(step.operation, Trait.ELEMENTWISE) and (quotient or not multiplied(signals)):
            return None
        return super().multiplies(step, signals)

    def multipliers(self, at, signals) -> list:
        if not has(at.operation, Trait.ELEMENTWISE):
            return super().multipliers(at, signals)
        return self._weighed(at, Gradient().multipliers(at, signals))

    def absorbed(self, at, signals) -> Absorbed:
        elementwise = has(at.operation, Trait.ELEMENTWISE)
        return Absorbed() if elementwise else super().absorbed(at, signals)


class Lookup(Rule):
    """One value for each token, made of what an analyzer finds at its vector.

    Args:
        finish: What the analyzer makes of `(vector, signal)`.
        per_token: What it makes of that along the last axis; by default the sum.

    Raises:
        TypeError: If one is no function.
    """

    kinds = (Kind.LOOKUP,)

    def __init__(self, finish, per_token=partial(ops.sum, axis=-1)):
        self.finish = check_function("finish", finish, "a function of (vector, signal)")
        self.per_token = check_function("per_token", per_token, "a function of what finish returns")

    def __call__(self, at, signals) -> list:
        found = self.per_token(self.finish(at.outputs[0], signals[0]))
        return [ops.reshape(found, ops.shape(at.inputs[0]))]


def _unbroadcast(x, r, merging: bool):
    """Relevance of a factor, summed over the axes that the factor was broadcast along.

    Args:
        x: The factor.
        r: Relevance of the product.
        merging: Whether axes that x lacks come after its first, as in merging layers, or before.
    """

    def broadcast(x):
        while merging and len(x.shape) < len(r.shape):
            x = ops.expand_dims(x, 1)
        return [x + ops.zeros_like(r)]

    _, pullback = vjp(broadcast, [x])
    return pullback([r])[0]
