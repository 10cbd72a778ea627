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
from keras import KerasTensor, ops

from innvestigate.graph.step import Step


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
        holder: What holds the kernel, by default the layer: steps of one holder share a kernel.
    """

    layer: Any
    map: Callable
    read_kernel: Callable
    read_bias: Callable
    scale_kernel: Callable | None = None
    channel_axis: int = -1
    pointwise: bool = False
    constants: tuple = ()
    nonnegative: bool = False
    neuron_sums: Callable | None = None
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


def linear_part(step: Step) -> Linear | None:
    """The linear part of a step's operation, or None if it has none that rules could use."""
    operation = step.operation
    if getattr(operation, "quantization_mode", None) is not None:
        return None
    for cls in type(operation).__mro__:
        if cls in _LAYERS and type(operation).call is cls.call:
            return _LAYERS[cls](operation, step)
    if type(operation).__module__.startswith("keras.") and type(operation).__name__ in _OPERATIONS:
        return _operation(operation, step)
    return None


def _dense(layer, step):
    return Linear(
        layer,
        ops.matmul,
        _kernel_of(layer),
        _reader(layer.bias),
        scale_kernel=lambda kernel, scale: kernel * scale,
        neuron_sums=_channel_sums(-1, (1, -1)),
    )


def _einsum_dense(layer, step):
    return Linear(
        layer,
        lambda x, kernel: ops.einsum(layer.equation, x, kernel),
        _kernel_of(layer),
        _reader(layer.bias),
        neuron_sums=_einsum_sums(layer.equation, 1),
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
        _reader(layer.bias, _channel_shape(layer, layer.filters)),
        scale_kernel=lambda kernel, scale: kernel * scale,
        channel_axis=_channel_axis(layer),
        neuron_sums=_channel_sums(_channel_axis(layer), (*_ones(layer), 1, -1)),
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
        _reader(layer.bias, _channel_shape(layer, channels)),
        scale_kernel=lambda kernel, scale: kernel * ops.reshape(scale, kernel.shape[-2:]),
        channel_axis=_channel_axis(layer),
        neuron_sums=_channel_sums(
            _channel_axis(layer), (*_ones(layer), -1, layer.depth_multiplier)
        ),
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
        _reader(layer.bias, _channel_shape(layer, layer.filters)),
        scale_kernel=lambda kernel, scale: kernel * ops.expand_dims(scale, -1),
        channel_axis=_channel_axis(layer),
        neuron_sums=_channel_sums(_channel_axis(layer), (*_ones(layer), -1, 1)),
    )


def _batch_normalization(layer, step):
    """The kernel is gamma / sqrt(var + eps), the bias beta - gamma * mean / sqrt(var + eps)."""
    rank = len(step.inputs[0].shape)
    shape = [1] * rank
    shape[layer.axis] = -1

    def kernel():
        scale = ops.rsqrt(_single(layer.moving_variance) + layer.epsilon)
        return scale if layer.gamma is None else scale * _single(layer.gamma)

    def bias():
        shift = -ops.multiply(_single(layer.moving_mean), kernel())
        return ops.reshape(shift if layer.beta is None else shift + _single(layer.beta), shape)

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
        getattr(layer, "rank", None)
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
        _reader(layer.depthwise_kernel),
        _reader(None),
        neuron_sums=_channel_sums(axis, (*_ones(layer), -1, layer.depth_multiplier)),
        holder=layer.depthwise_kernel,
    )
    second = Linear(
        layer,
        pointwise,
        _reader(layer.pointwise_kernel),
        _reader(layer.bias, _channel_shape(layer, layer.filters)),
        scale_kernel=lambda kernel, scale: kernel * scale,
        channel_axis=axis,
        neuron_sums=_channel_sums(axis, (*_ones(layer), 1, -1)),
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
        lambda: _single(ops.convert_to_tensor(kernel())),
        _reader(None),
        neuron_sums=_channel_sums(-1, (1, -1)),
    )


_LAYERS = {
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

_OPERATIONS = ("Matmul", "Einsum", "Dot", "Tensordot", "Conv", "DepthwiseConv", "ConvTranspose")


def _operation(operation, step) -> Linear | None:
    """An operation such as `ops.matmul(x, W)` on a tensor of the graph and a constant."""
    args, kwargs = step.arguments
    if len(args) != 2 or len(step.inputs) != 1 or not isinstance(operation, keras.Operation):
        return None
    places = [isinstance(argument, KerasTensor) for argument in args]
    if sum(places) != 1:
        return None
    constant = args[places.index(False)]
    first = places[0]
    run = (
        _conv_transpose_of(operation) if type(operation).__name__ == "ConvTranspose" else operation
    )
    return Linear(
        operation,
        lambda x, k: run(x, k, **kwargs) if first else run(k, x, **kwargs),
        lambda: ops.convert_to_tensor(constant),
        _reader(None),
        constants=(constant,),
        neuron_sums=_operation_sums(operation, ops.shape(constant), 1 if first else 0),
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


def _channel_sums(axis: int, shape: tuple) -> Callable:
    """Sums over all axes but the channels', in the given shape."""

    def sums(z):
        rest = [i for i in range(len(z.shape)) if i != axis % len(z.shape)]
        return ops.reshape(ops.sum(z, axis=rest), shape)

    return sums


def _einsum_sums(equation: str, place: int) -> Callable | None:
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


def _operation_sums(operation, shape: tuple, place: int) -> Callable | None:
    """`Linear.neuron_sums` of an operation whose operand number `place` is a kernel of a shape."""
    name, rank = type(operation).__name__, len(shape)
    if name == "Einsum":
        return _einsum_sums(operation.subscripts, place)
    if name in ("Matmul", "Dot"):
        return _channel_sums(-1, (1, -1)) if rank == 2 and place == 1 else None
    if place == 0 or name == "Tensordot":
        return None
    last = (operation.data_format or keras.config.image_data_format()) == "channels_last"
    ends = {"Conv": (1, -1), "ConvTranspose": (-1, 1), "DepthwiseConv": (-1, shape[-1])}[name]
    return _channel_sums(-1 if last else 1, (*(1,) * (rank - 2), *ends))


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
    return lambda: _single(ops.convert_to_tensor(layer.kernel))


def _reader(variable, shape: tuple | None = None) -> Callable:
    """Reads a variable, reshaped if asked, at each call; None if there is no variable."""
    if variable is None:
        return lambda: None
    if shape is None:
        return lambda: _single(ops.convert_to_tensor(variable))
    return lambda: _single(ops.reshape(variable, shape))


def _single(tensor):
    """Numbers of half precision in single precision: mirrors compute in that."""
    half = keras.utils.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if half else tensor
