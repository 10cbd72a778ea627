"""Linear steps: every layer and operation of the form z = W x + b, in one shape.

Rules need the same map under other kernels (their positive part, their square, ones ...), so a
linear step keeps the map, a way to read its kernel and a way to read its bias apart. The kernel
and bias are read anew at each run: training on is seen at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops


@dataclass(eq=False)
class Linear:
    """z = W x + b.

    Attributes:
        layer: The layer or operation that this is the linear part of.
        map: `(x, kernel) -> W x`, linear in both.
        read_kernel: Returns the kernel.
        read_bias: Returns the bias in a shape that broadcasts over z, or None if there is none.
        scale_kernel: `(kernel, scale) -> kernel` whose outputs are multiplied by `scale` (one
            number per channel of the last axis of z), or None where that is not possible.
        channel_axis: The axis of z that the bias and `scale_kernel` speak of.
        pointwise: Whether every input number touches one output number (a diagonal kernel).
        constants: Variables that are read, other than the layer's own.
        nonnegative: Whether x is known to be >= 0.
        neuron_sums: Sums an array shaped like z over all samples and positions: one number for
            each neuron, in a shape of the kernel's rank that broadcasts over the kernel. None
            where the map does not tell which axes of the kernel name the neurons.
        place: Which of the operation's arguments x is.
        holder: What holds the kernel, by default the layer: steps of one holder share a kernel.
    """

    layer: Any
    map: Callable
    read_kernel: Callable
    read_bias: Callable
    scale_kernel: Any = None
    channel_axis: int = -1
    pointwise: bool = False
    constants: tuple = ()
    nonnegative: bool = False
    neuron_sums: Any = None
    place: int = 0
    holder: Any = None

    def __post_init__(self):
        if self.holder is None:
            self.holder = self.layer

    @property
    def kernel(self):
        return self.read_kernel()

    @property
    def bias(self):
        return self.read_bias()

    def __call__(self, x):
        z, bias = self.map(x, self.kernel), self.bias
        return z if bias is None else z + bias


def reader(variable, shape: tuple | None = None) -> Callable:
    """Reads a variable, reshaped if asked, at each call; None if there is no variable."""
    if variable is None:
        return lambda: None
    if shape is None:
        return lambda: single(ops.convert_to_tensor(variable))
    return lambda: single(ops.reshape(variable, shape))


def single(tensor):
    """Numbers of half precision in single precision: mirrors compute in that."""
    half = keras.utils.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if half else tensor


def channel_sums(axis: int, shape: tuple) -> Callable:
    """Sums over all axes but the channels', in the given shape."""

    def sums(z):
        rest = [i for i in range(len(z.shape)) if i != axis % len(z.shape)]
        return ops.reshape(ops.sum(z, axis=rest), shape)

    return sums


def einsum_sums(equation: str, place: int) -> Callable | None:
    """Sums over all axes of an einsum's output that its operand number `place`, the kernel, lacks.

    None where the kernel's own axes or the output's are not spelled out.
    """
    *operands, output = re.split(",|->", equation.replace(" ", ""))
    kernel = operands[place]
    if "->" not in equation or "." in kernel:
        return None
    named = [label for label in kernel if label in output]
    before, _, after = output.partition("...")

    def sums(z):
        rank = len(z.shape)
        start = {label: i for i, label in enumerate(before)}
        end = {label: rank - len(after) + i for i, label in enumerate(after)}
        kept = [(start | end)[label] for label in named]
        rest = [i for i in range(rank) if i not in kept]
        summed = ops.sum(ops.transpose(z, (*kept, *rest)), axis=tuple(range(len(kept), rank)))
        sizes = dict(zip(named, summed.shape, strict=True))
        return ops.reshape(summed, [sizes.get(label, 1) for label in kernel])

    return sums
