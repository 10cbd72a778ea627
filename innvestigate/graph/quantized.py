"""Layers that are quantized to 8 or 4 bits, written as the linear maps that they are.

Such a layer computes z = Ŵ x̂ + b: whole numbers divided by a scale, Ŵ = W₈ / s, times its input,
which is rounded to as many levels, too, unless only the weights are. The rounding counts as an
activation whose derivative is 1, as in Keras's own gradient. With LoRA, z = Ŵ x̂ + B A x + b.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import ops

from innvestigate.graph.names import keras_name


def opener_of(layer: Any) -> Callable | None:
    """What writes a quantized layer as a linear map; None for every other one.

    Those quantized otherwise, by GPTQ or AWQ, show it in their own call.
    """
    few_bits = getattr(layer, "quantization_mode", None) in ("int8", "int4")
    return _OPENERS.get(keras_name(layer)) if few_bits else None


def _open_dense(layer, x, training=None):
    return _linear(layer, x, ops.matmul, _dense_kernel(layer), -1)


def _open_einsum_dense(layer, x, training=None):
    multiply = partial(ops.einsum, layer.equation)
    return _linear(layer, x, multiply, _einsum_kernel(layer), layer.quantization_axis)


def _open_reversible_embedding(layer, x, reverse=False):
    """The way back from vectors to logits; looking tokens up is no linear step."""
    z = ops.matmul(_rounded(layer, x, -1), _reverse_kernel(layer))
    cap = layer.logit_soft_cap
    return z if cap is None else ops.tanh(z / cap) * cap


_OPENERS: dict[str | None, Callable] = {
    "Dense": _open_dense,
    "EinsumDense": _open_einsum_dense,
    "ReversibleEmbedding": _open_reversible_embedding,
}


def _linear(layer, x, multiply: Callable, kernel, axis):
    z = multiply(_rounded(layer, x, axis), kernel)
    if layer.lora_enabled:
        learned = ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)
        z = z + multiply(x, learned * (layer.lora_alpha / layer.lora_rank))
    if layer.bias is not None:
        z = z + layer.bias
    return z if layer.activation is None else layer.activation(z)


def _rounded(layer, x, axis):
    """The input rounded as the layer rounds it, if it does."""
    quantizer = getattr(layer, "inputs_quantizer", None)
    if quantizer is None:
        return x

    def rounded(x):
        levels, scale = quantizer(x, axis=axis)
        return x + ops.stop_gradient(ops.cast(levels, x.dtype) / scale - x)

    return keras.layers.Activation(rounded, dtype=x.dtype, name="rounded")(x)


def _weight(layer, name: str):
    """A weight by its name: what `layer.kernel` returns has LoRA in it."""
    return next(weight for weight in layer.weights if weight.name == name)


def _dense_kernel(layer):
    levels = _weight(layer, "kernel")
    if layer.quantization_mode == "int4":
        levels = keras.quantizers.unpack_int4(levels, layer.units, axis=-1)
    return _scaled(layer, levels, layer.kernel_scale, getattr(layer, "kernel_zero", None))


def _einsum_kernel(layer):
    packed = _weight(layer, "kernel")
    if layer.quantization_mode == "int8":
        return _scaled(layer, packed, _einsum_scale(layer, packed.shape))
    columns = math.prod(layer.original_kernel_shape) // packed.shape[0]
    levels = keras.quantizers.unpack_int4(packed, columns, axis=-1)
    kernel = _scaled(layer, levels, layer.kernel_scale, getattr(layer, "kernel_zero", None))
    return ops.reshape(kernel, layer.original_kernel_shape)


def _einsum_scale(layer, shape):
    """The scales of columns with the axes of the kernel: they are kept with those of the output."""
    read, output = layer.equation.split("->")
    sizes = dict(zip(read.split(",")[1], shape, strict=True))
    columns = [axis for axis in output if axis in sizes]
    scale = ops.reshape(layer.kernel_scale, [sizes[axis] for axis in columns])
    order = [columns.index(axis) for axis in sizes if axis in columns]
    return ops.reshape(
        ops.transpose(scale, order), [n if a in columns else 1 for a, n in sizes.items()]
    )


def _reverse_kernel(layer):
    turn = ops.transpose if layer.tie_weights else lambda x: x
    name = "embeddings" if layer.tie_weights else "reverse_embeddings"
    levels = turn(_weight(layer, name))
    if layer.quantization_mode == "int4":
        levels = keras.quantizers.unpack_int4(levels, layer.output_dim, axis=0)
    zero = getattr(layer, f"{name}_zero", None)
    scale = turn(getattr(layer, f"{name}_scale"))
    return _scaled(layer, levels, scale, None if zero is None else turn(zero))


def _scaled(layer, levels, scale, zero=None):
    """Whole numbers as what they stand for: scaled by column, or in groups of rows with a zero."""
    levels = ops.cast(levels, layer.compute_dtype)
    if zero is None:
        return levels / scale
    groups = ops.cast(layer.g_idx, "int32")
    zero, scale = (ops.take(ops.cast(x, levels.dtype), groups, axis=0) for x in (zero, scale))
    return (levels - zero) * scale
