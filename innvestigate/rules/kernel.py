"""What rules for steps with a kernel z = W x + b are made of: shares of the relevance of z."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from keras import ops

from innvestigate.backend import after, fused, fuses, vjp
from innvestigate.graph.linear import Linear
from innvestigate.graph.multipliers import Multiplier, multiple
from innvestigate.graph.operations import Kind
from innvestigate.rules.base import Absorbed, Rule, divide


class Product(NamedTuple):
    """Relevance R = f(z) ⊙ m, not multiplied out: no pass over memory is spent on it."""

    z: Any
    m: Any
    function: Callable


@dataclass(frozen=True)
class Share:
    """Relevance R, divided among the parts (x_k, W_k) of a sum z in proportion to them.

        R_i = w Σ_k x_ki Σ_j W_kij s_j,   s = R / (z + ε sign(z)),   z_j = Σ_k Σ_i W_kij x_ki + b_j

    Attributes:
        parts: Pairs of an input and a kernel.
        r: Relevance of the sum, a tensor or a `Product`.
        bias: b, which absorbs its share w b s of the relevance; None for no bias.
        weight: w.
        total: z, where it is known.
        epsilon: ε, which absorbs w (R - z s); sign(0) = +1. Without it s is zero where z is.
    """

    parts: list
    r: Any
    bias: Any = None
    weight: Any = 1
    total: Any = None
    epsilon: float = 0

    def relevance(self, linear):
        """The relevance of the inputs; the map of the given step is applied to every part."""
        _, s = self._divided(linear)
        return sum(_back(linear, x, self._weighed(kernel), s) for x, kernel in self._alike())

    def multiplier(self, linear):
        """What each input, which is x in every part, is multiplied by: w Σ_k Σ_j W_kij s_j."""
        _, s = self._divided(linear)
        return sum(_transposed(linear, x, self._weighed(w), s) for x, w in self._alike())

    def absorbed(self, linear) -> Absorbed:
        """The relevance that no input gets."""
        z, s = self._divided(linear)
        bias = 0.0 if self.bias is None else self.weight * ops.sum(self.bias * s)
        rest = self.weight * (ops.sum(self.r) - ops.sum(z * s))
        return Absorbed(bias, stabiliser=rest) if self.epsilon else Absorbed(bias, dropped=rest)

    def _weighed(self, kernel):
        return kernel if self.weight == 1 else self.weight * kernel

    def _alike(self) -> list:
        """The parts in the type of the relevance: Keras makes float32 of some float64 on torch."""
        dtype = (self.r.m if isinstance(self.r, Product) else self.r).dtype
        return [[ops.cast(array, dtype) for array in part] for part in self.parts]

    def _divided(self, linear) -> tuple:
        """z and s."""
        z = self.total
        if z is None:
            z = reduce(add, [linear.map(x, kernel) for x, kernel in self._alike()])
            z = z if self.bias is None else z + self.bias
        if not isinstance(self.r, Product):
            return z, _stable(self.r, z, self.epsilon)
        if self.r.z is z:
            return z, multiple(self.r.m, z, self.r.function, self.epsilon)
        return z, _shared(*self.r, z, self.epsilon)


class KernelRule(Rule):
    """A rule for steps with a kernel; subclasses state `shares`, or else `relevance`.

    Attributes:
        signed: Whether inputs of different signs have kernels of their own: relevance is a multiple
            of the input only where that is >= 0 then.
    """

    kinds = (Kind.LINEAR,)
    signed = False

    def __call__(self, at, signals) -> list:
        return [self.relevance(*_given(at, signals))]

    def multiplies(self, step, signals) -> type[Multiplier] | None:
        one = step.operation.nonnegative or not self.signed
        return Multiplier if self.proportional and one else None

    def send(self, at, signals) -> list[tuple]:
        stated = type(self).__call__, type(self).relevance
        if stated != (KernelRule.__call__, KernelRule.relevance):
            return super().send(at, signals)
        return [(self._of_shares(at, signals, Share.relevance),)]

    def multipliers(self, at, signals) -> list:
        return [self._of_shares(at, signals, Share.multiplier)]

    def absorbed(self, at, signals) -> Absorbed:
        linear, *given = _given(at, signals)
        shares = self.shares(linear, *given)
        return sum((share.absorbed(linear) for share in shares), Absorbed())

    def relevance(self, linear, x, z, r, *probes):
        """The relevance of x, given that of z = W x + b: that of all shares.

        Args:
            linear: The step (`graph.linear.Linear`): `linear.kernel` W, `linear.bias` b,
                `linear.map(x, W)` the product W x.
            x: Input of the step.
            z: Output of the step.
            r: Relevance of the output.
            *probes: The input at each of the rule's `probes`, in a first step.
        """
        return sum(share.relevance(linear) for share in self.shares(linear, x, z, r, *probes))

    def shares(self, linear, x, z, r, *probes) -> list[Share]:
        """How the relevance of z is divided, given what `relevance` is given."""
        return []

    def _of_shares(self, at, signals, what: Callable):
        """What is asked of all shares, summed; multipliers that arrive are not multiplied out."""
        (signal,) = signals
        linear, x, z, r, *probes = _given(at, [signal[0]])
        if isinstance(signal, Multiplier):
            if not self.probes and _is_known(self) and _is_one_pass(linear, x):
                given = r, x, linear.kernel, linear.bias
                return _pointwise(*given, self, what, signal.function, linear.nonnegative)
            r = Product(z, r, signal.function)
        return sum(what(share, linear) for share in self.shares(linear, x, z, r, *probes))


def where(condition, r):
    """Relevance where a condition holds, else zero."""
    if isinstance(r, Product):
        return Product(r.z, where(condition, r.m), r.function)
    return ops.where(condition, r, 0.0)


def _given(at, signals: list) -> list:
    """What a rule for a kernel is given. Changed kernels are not made all at the start."""
    (r,) = signals
    linear = replace(at.operation, read_kernel=lambda: after(r, [at.operation.kernel])[0])
    x, z, *probes = after(r, [at.inputs[0], at.outputs[0], *at.probes])
    return [linear, x, z, r, *probes]


def _back(linear, x, kernel, s):
    """x ⊙ Wᵀ s, which is (W x) ⊙ s for a diagonal kernel."""
    if linear.pointwise:
        return linear.map(x, kernel) * s
    return x * _transposed(linear, x, kernel, s)


def _transposed(linear, x, kernel, s):
    """Wᵀ s, which is W s for a diagonal kernel."""
    if linear.pointwise:
        return linear.map(s, kernel)
    _, pullback = vjp(lambda x: [linear.map(x, kernel)], [x])
    return pullback([s])[0]


@fused
def _stable(r, z, epsilon: float):
    """R / (z + ε sign(z))"""
    if not epsilon:
        return divide(r, z)
    epsilon = ops.convert_to_tensor(epsilon, z.dtype)
    return r / (z + ops.where(z >= 0, epsilon, -epsilon))


@fused
def _shared(z, m, function, total, epsilon: float):
    """f(z) m / (total + ε sign(total))"""
    return _stable(function(z) * m, total, epsilon)


def _is_one_pass(linear, x) -> bool:
    """Whether a step with a diagonal kernel is worth being passed as a whole."""
    if not (linear.pointwise and linear.channel_axis == -1):
        return False
    return fuses(x, *(given for given in (linear.kernel, linear.bias) if given is not None))


def _is_known(rule) -> bool:
    """Whether what is compiled for a rule can be found again: one may hold what has no hash."""
    try:
        hash(rule)
    except TypeError:
        return False
    return True


@fused
def _pointwise(m, x, kernel, bias, rule, what: Callable, function, nonnegative: bool):
    """What is asked of a rule's shares of R = f(z) m, z = W x + b being computed anew: not held."""
    linear = Linear(
        None, ops.multiply, lambda: kernel, lambda: bias, pointwise=True, nonnegative=nonnegative
    )
    z = linear(x)
    shares = rule.shares(linear, x, z, Product(z, m, function))
    return sum(what(share, linear) for share in shares)
