"""Signals that tell relevance by what a tensor is multiplied by: passes over memory saved."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from innvestigate.backend import fused
from innvestigate.graph.operations import activation_name, is_homogeneous
from innvestigate.graph.step import Step


class Multiplier(NamedTuple):
    """The signal at a tensor x that says R = f(x) ⊙ m of its relevance R; here f(x) = x.

    Where f is an activation that reads x, relevance is passed through it for nothing: its output
    need not be held, and the step that writes x computes f(x) on its way. f keeps the sign of x.
    """

    m: Any

    @staticmethod
    def function(x):
        return x


class Rectified(Multiplier):
    """R = x⁺ ⊙ m"""

    function = staticmethod(keras.activations.relu)


class Silu(Multiplier):
    """R = silu(x) ⊙ m"""

    function = staticmethod(keras.activations.silu)


_PAST = {"relu": Rectified, "silu": Silu}


def past(step: Step) -> type[Multiplier] | None:
    """What tells at an activation's input what a multiplier tells at its output; None for most."""
    name = activation_name(step.operation)
    return None if name == "relu" and not is_homogeneous(step) else _PAST.get(name or "")


def relevance(x, signal: tuple) -> Any:
    """The relevance of a tensor x that a signal tells, as it is or by its multiplier."""
    return signal.function(x) * signal.m if isinstance(signal, Multiplier) else signal[0]


def multiplier_of(x, signal: Multiplier) -> Any:
    """What x itself is multiplied by; zero where there is nothing to multiply."""
    return multiple(signal.m, x, signal.function)


@fused
def multiple(m, x, function, epsilon: float = 0.0):
    """f(x) m / (x + ε sign(x)), zero where x is"""
    size = ops.abs(x)
    if epsilon:
        return m * (ops.abs(function(x)) / (size + ops.convert_to_tensor(epsilon, x.dtype)))
    if function is Multiplier.function:
        return ops.where(x == 0, 0.0, m)
    return m * ops.divide_no_nan(ops.abs(function(x)), size)


def multiplied(signals: list) -> bool:
    """Whether all signals that arrive, None where none does, are multipliers of relevance."""
    arriving = [signal for signal in signals if signal is not None]
    return bool(arriving) and all(isinstance(signal, Multiplier) for signal in arriving)
