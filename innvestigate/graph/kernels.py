"""Which layers and operations have a kernel, and how their map, kernel and bias are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import KerasTensor, ops

from innvestigate.graph.constants import shape_of, value_of
from innvestigate.graph.linear import Linear, channel_sums, einsum_sums, reader, single
from innvestigate.graph.names import keras_name
from innvestigate.graph.step import Step


def linear_part(step: Step) -> Linear | None:
    """The linear part of a step's operation, or None if it has none that rules could use."""
    operation = step.operation
    if getattr(operation, "quantization_mode", None) is not None:
        return None
    classes: tuple[Any, ...] = type(operation).__mro__
    for cls in classes:
        if cls in _LAYERS and type(operation).call is cls.call:
            return _LAYERS[cls](operation, step)
    sums = _OPERATIONS.get(keras_name(operation))
    return None if sums is None else _operation(operation, step, sums)


def _dense(layer, step):
    return Linear(
        layer,
        ops.matmul,
        _kernel_of(layer),
        reader(layer.bias),
        scale_kernel=lambda kernel, scale: kernel * scale,
        neuron_sums=channel_sums(-1, (1, -1)),
    )


def _einsum_dense(layer, step):
    return Linear(
        layer,
        lambda x, kernel: ops.einsum(layer.equation, x, kernel),
        _kernel_of(layer),
        reader(layer.bias),
        neuron_sums=einsum_sums(layer.equation, 1),
    )


def _conv(layer, step):
    if type(layer).convolution_op is not keras.layers.Conv2D.convolution_op:
        return None

    def convolve(x, kernel):
        causal = layer.padding == "causal"
        return ops.conv(
            ops.pad(x, _causal_padding(layer)) if causal else x,
            kernel,
            strides=list(layer.strides),
            padding="valid" if causal else layer.padding,
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    return Linear(
        layer,
        convolve,
        _kernel_of(layer),
        reader(layer.bias, _channel_shape(layer, layer.filters)),
        scale_kernel=lambda kernel, scale: kernel * scale,
        channel_axis=_channel_axis(layer),
        neuron_sums=channel_sums(_channel_axis(layer), (*_ones(layer), 1, -1)),
    )


def _causal_padding(layer) -> list:
    """Zeros before the first time step, so that no output sees what comes after it."""
    padding = [[0, 0], [0, 0], [0, 0]]
    time = 1 if layer.data_format == "channels_last" else 2
    padding[time][0] = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
    return padding


def _depthwise_conv(layer, step):
    channels = step.outputs[0].shape[_channel_axis(layer)]
    return Linear(
        layer,
        lambda x, kernel: ops.depthwise_conv(
            x,
            kernel,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        ),
        _kernel_of(layer),
        reader(layer.bias, _channel_shape(layer, channels)),
        scale_kernel=lambda kernel, scale: kernel * ops.reshape(scale, kernel.shape[-2:]),
        channel_axis=_channel_axis(layer),
        neuron_sums=channel_sums(_channel_axis(layer), (*_ones(layer), -1, layer.depth_multiplier)),
    )


def _conv_transpose(layer, step):
    return Linear(
        layer,
        lambda x, kernel: ops.conv_transpose(
            x,
            kernel,
            strides=list(layer.strides),
            padding=layer.padding,
            output_padding=layer.output_padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        ),
        _kernel_of(layer),
        reader(layer.bias, _channel_shape(layer, layer.filters)),
        scale_kernel=lambda kernel, scale: kernel * ops.expand_dims(scale, -1),
        channel_axis=_channel_axis(layer),
        neuron_sums=channel_sums(_channel_axis(layer), (*_ones(layer), -1, 1)),
    )


def _batch_normalization(layer, step):
    """The kernel is gamma / sqrt(var + eps), the bias beta - gamma * mean / sqrt(var + eps)."""
    rank = len(step.inputs[0].shape)
    shape = [1] * rank
    shape[layer.axis] = -1

    def kernel():
        scale = ops.rsqrt(single(layer.moving_variance) + layer.epsilon)
        return scale if layer.gamma is None else scale * single(layer.gamma)

    def bias():
        shift = -ops.multiply(single(layer.moving_mean), kernel())
        return ops.reshape(shift if layer.beta is None else shift + single(layer.beta), shape)

    return Linear(
        layer,
        lambda x, k: x * ops.reshape(k, shape),
        kernel,
        bias,
        scale_kernel=lambda k, scale: k * scale,
        channel_axis=layer.axis if layer.axis < 0 else layer.axis - rank,
        pointwise=True,
    )


def separable_parts(step: Step) -> list | None:
    """A separable convolution as its two linear maps, each with a tensor shaped as its output.

    Depthwise without a bias, then pointwise with the layer's; None for every other operation.
    """
    layer = step.operation
    cls = {2: keras.layers.SeparableConv2D, 1: keras.layers.SeparableConv1D}.get(
        getattr(layer, "rank", 0)
    )
    if cls is None or not isinstance(layer, cls) or type(layer).call is not cls.call:
        return None
    axis, shape = _channel_axis(layer), list(step.outputs[0].shape)
    shape[axis] = step.inputs[0].shape[axis] * layer.depth_multiplier

    def depthwise(x, kernel):
        return ops.depthwise_conv(
            x,
            kernel,
            strides=layer.strides,
            padding=layer.padding,
            data_format=layer.data_format,
            dilation_rate=layer.dilation_rate,
        )

    def pointwise(x, kernel):
        return ops.conv(x, kernel, strides=1, padding="valid", data_format=layer.data_format)

    first = Linear(
        layer,
        depthwise,
        reader(layer.depthwise_kernel),
        reader(None),
        neuron_sums=channel_sums(axis, (*_ones(layer), -1, layer.depth_multiplier)),
        holder=layer.depthwise_kernel,
    )
    second = Linear(
        layer,
        pointwise,
        reader(layer.pointwise_kernel),
        reader(layer.bias, _channel_shape(layer, layer.filters)),
        scale_kernel=lambda kernel, scale: kernel * scale,
        channel_axis=axis,
        neuron_sums=channel_sums(axis, (*_ones(layer), 1, -1)),
        holder=layer.pointwise_kernel,
    )
    return [(first, KerasTensor(shape)), (second, step.outputs[0])]


def _reverse_embedding(layer, step):
    """The way back from vectors to logits of tokens, which language models end with."""
    args, kwargs = step.arguments
    reverse = kwargs.get("reverse", args[1] if len(args) > 1 else False)
    if not reverse or layer.logit_soft_cap is not None:
        return None

    def kernel():
        return ops.transpose(layer.embeddings) if layer.tie_weights else layer.reverse_embeddings

    return Linear(
        layer,
        ops.matmul,
        lambda: single(ops.convert_to_tensor(kernel())),
        reader(None),
        neuron_sums=channel_sums(-1, (1, -1)),
    )


_LAYERS: dict[Any, Callable] = {
    keras.layers.Dense: _dense,
    keras.layers.EinsumDense: _einsum_dense,
    keras.layers.Conv1D: _conv,
    keras.layers.Conv2D: _conv,
    keras.layers.Conv3D: _conv,
    keras.layers.DepthwiseConv1D: _depthwise_conv,
    keras.layers.DepthwiseConv2D: _depthwise_conv,
    keras.layers.Conv1DTranspose: _conv_transpose,
    keras.layers.Conv2DTranspose: _conv_transpose,
    keras.layers.Conv3DTranspose: _conv_transpose,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.ReversibleEmbedding: _reverse_embedding,
}


def _operation(operation, step, sums: Callable) -> Linear | None:
    """An operation such as `ops.matmul(x, W)` on a tensor of the graph and a constant.

    Args:
        operation: The operation.
        step: Its step.
        sums: Maps it, the constant's shape and place to `Linear.neuron_sums`.
    """
    args, kwargs = step.arguments
    if len(args) != 2 or len(step.inputs) != 1 or not isinstance(operation, keras.Operation):
        return None
    places = [isinstance(argument, KerasTensor) for argument in args]
    if sum(places) != 1:
        return None
    constant = args[places.index(False)]
    first = places[0]
    run = _MENDED.get(keras_name(operation), lambda operation: operation)(operation)
    return Linear(
        operation,
        lambda x, k: run(x, k, **kwargs) if first else run(k, x, **kwargs),
        lambda: value_of(constant),
        reader(None),
        constants=(constant,),
        neuron_sums=sums(operation, shape_of(constant), 1 if first else 0),
        place=0 if first else 1,
        holder=constant,
    )


def _conv_transpose_of(operation) -> Callable:
    """The operation by its function: its own `call` mixes up two arguments in Keras 3.15."""
    return lambda x, kernel: ops.conv_transpose(
        x,
        kernel,
        strides=operation.strides,
        padding=operation.padding,
        output_padding=operation.output_padding,
        data_format=operation.data_format,
        dilation_rate=operation.dilation_rate,
    )


def _sums_of_einsum(operation, shape: tuple, place: int) -> Callable | None:
    return einsum_sums(operation.subscripts, place)


def _sums_of_product(operation, shape: tuple, place: int) -> Callable | None:
    return channel_sums(-1, (1, -1)) if len(shape) == 2 and place == 1 else None


def _sums_of_convolution(ends: Callable) -> Callable:
    """Of a kernel whose last two axes `ends` makes of its shape."""

    def sums(operation, shape: tuple, place: int) -> Callable | None:
        last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
        kernel = (*(1,) * (len(shape) - 2), *ends(shape))
        return None if place == 0 else channel_sums(-1 if last else 1, kernel)

    return sums


_OPERATIONS: dict[str | None, Callable] = {
    "Matmul": _sums_of_product,
    "Dot": _sums_of_product,
    "Einsum": _sums_of_einsum,
    "Tensordot": lambda operation, shape, place: None,
    "Conv": _sums_of_convolution(lambda shape: (1, -1)),
    "DepthwiseConv": _sums_of_convolution(lambda shape: (-1, shape[-1])),
    "ConvTranspose": _sums_of_convolution(lambda shape: (-1, 1)),
}
_MENDED: dict[str | None, Callable] = {"ConvTranspose": _conv_transpose_of}


def _channel_axis(layer) -> int:
    return -1 if layer.data_format == "channels_last" else -(layer.rank + 1)


def _ones(layer) -> tuple:
    return (1,) * layer.rank


def _channel_shape(layer, channels: int) -> tuple:
    spatial = _ones(layer)
    last = layer.data_format == "channels_last"
    return (1, *spatial, channels) if last else (1, channels, *spatial)


def _kernel_of(layer) -> Callable:
    """Reads the kernel in effect: with LoRA, the sum of the frozen and the learned part."""
    return lambda: single(ops.convert_to_tensor(layer.kernel))
