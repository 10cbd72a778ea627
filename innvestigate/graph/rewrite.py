"""Passes over a graph that leave the function it computes unchanged."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

import keras
from keras import KerasTensor, ops, tree

from innvestigate.graph.linear import Linear, linear_part, separable_parts
from innvestigate.graph.operations import Kind, keras_name, kind_of
from innvestigate.graph.step import Graph, Step, like, tensors_in
from innvestigate.graph.trace import open_step


def is_opaque(step: Step) -> bool:
    """Whether no rule could speak of the step: not a known layer, nor one that `split` parts."""
    return (
        kind_of(step) is Kind.OPAQUE and linear_part(step) is None and separable_parts(step) is None
    )


def open_layers(graph: Graph, wanted: Callable[[Step], bool]) -> None:
    """Put the operations inside a layer in its place, for every layer wanted, however deep."""
    steps = []
    queue = graph.steps[::-1]
    while queue:
        step = queue.pop()
        opener = _OPENERS.get(keras_name(step.operation))
        inside = open_step(_unmasked(step), opener) if wanted(step) else None
        if inside is None:
            steps.append(step)
            continue
        queue.extend(_joined(inside, step, graph)[::-1])
        graph.layer_outputs.update(inside.layer_outputs)
    graph.steps = steps


def split(graph: Graph, wanted: Callable[[Step], bool] = lambda step: True) -> None:
    """Part layers with a kernel into their linear steps and their activation."""
    graph.steps = [
        part for step in graph.steps for part in (_parts(step) if wanted(step) else [step])
    ]


def fuse_bias(graph: Graph) -> None:
    """Make `matmul(x, W) + b` one linear step with a bias, as a layer would have it."""
    writers, gone = graph.writers(), set()
    for step in graph.steps:
        constant = _added_constant(step)
        if constant is None:
            continue
        writer = writers.get(id(step.inputs[0]))
        if writer is None or not isinstance(writer.operation, Linear):
            continue
        if not _only_read_by(step, graph):
            continue
        if writer.operation.bias is None and step.inputs[0].shape == step.outputs[0].shape:
            writer.operation = replace(
                writer.operation,
                read_bias=lambda constant=constant: ops.convert_to_tensor(constant),
                constants=(*writer.operation.constants, constant),
            )
            writer.outputs = step.outputs
            writers[id(step.outputs[0])] = writer
            gone.add(id(step))
    graph.steps = [step for step in graph.steps if id(step) not in gone]


def fold_batch_norm(graph: Graph) -> None:
    """Merge every BatchNormalization into the linear step before or after it, where one fits.

    Before: (gamma/std) (W x + b) + shift is one linear step. After: W ((gamma/std) x + shift) + b
    is one as long as no zeros are padded in between. A BatchNormalization between neighbours of
    other kinds stays.
    """
    queue = [step for step in graph.steps if _is_norm(step)]
    for step in queue:
        before = graph.writers().get(id(step.inputs[0]))
        after = graph.readers().get(id(step.outputs[0]), [None])[0]
        if before is not None and _only_read_by(step, graph) and _folds_before(before, step):
            before.operation = _merged(before.operation, step.operation)
            before.outputs = step.outputs
            if _is_norm(before):
                queue.append(before)
        elif after is not None and _only_read_by(after, graph) and _folds_after(step, after):
            after.operation = _premerged(step.operation, after.operation)
            after.inputs, after.arguments = step.inputs, ((step.inputs[0],), {})
        else:
            continue
        graph.steps.remove(step)


def from_vectors(graph: Graph) -> tuple[Graph, list[Step]]:
    """The graph with the vectors of its tokens as further inputs, and the look-ups they stand for.

    The tokens stay inputs: masks are made of them. A look-up of anything else than inputs that
    were at most moved, such as sums of them, stays as it is.
    """
    moved = set(map(id, graph.flat_inputs))
    lookups = []
    for step in graph.steps:
        known = bool(step.inputs) and all(id(t) in moved for t in step.inputs)
        if known and kind_of(step) is Kind.SHAPE:
            moved.update(map(id, step.outputs))
        if known and kind_of(step) is Kind.LOOKUP:
            lookups.append(step)
    steps = [step for step in graph.steps if step not in lookups]
    inputs = [*graph.flat_inputs, *(step.outputs[0] for step in lookups)]
    return Graph(steps, inputs, graph.outputs, graph.layer_outputs), lookups


def _unmasked(step: Step) -> Step:
    """A TimeDistributed step without the mask that its layer does not take."""
    args, kwargs = step.arguments
    if keras_name(step.operation) != "TimeDistributed" or "mask" not in kwargs:
        return step
    if "mask" in inspect.signature(step.operation.layer.call).parameters:
        return step
    kwargs = {name: value for name, value in kwargs.items() if name != "mask"}
    return replace(step, arguments=(args, kwargs), inputs=tensors_in((args, kwargs)))


def _time_distributed(layer, x, training=None, mask=None):
    """TimeDistributed as its layer on a batch of all time steps, instead of a loop over them."""
    if mask is None and keras_name(layer.layer) == "Dense":
        return layer.layer(x)  # the same for each time step, however many there are
    if mask is not None or x.shape[1] is None:
        return layer.call(x, training=training, mask=mask)
    y = layer.layer(ops.reshape(x, (-1, *x.shape[2:])))
    return ops.reshape(y, (-1, x.shape[1], *y.shape[1:]))


def _cosine(layer, inputs):
    """A normalising Dot as two normalisations, whose divisors count as constants, and a product."""
    axes = (layer.axes, layer.axes) if isinstance(layer.axes, int) else layer.axes
    dtype = layer.dtype_policy
    units = [
        keras.layers.UnitNormalization(axis, dtype=dtype)(x)
        for axis, x in zip(axes, inputs, strict=True)
    ]
    return keras.layers.Dot(axes, dtype=dtype)(units)


_OPENERS = {"TimeDistributed": _time_distributed, "Dot": _cosine}


def _joined(inside: Graph, step: Step, graph: Graph) -> list[Step]:
    """The steps of an opened layer, writing the tensors the layer wrote."""
    swap = {id(new): old for new, old in zip(inside.outputs, step.outputs, strict=True)}
    for inner in inside.steps:
        inner.outputs = [swap.get(id(t), t) for t in inner.outputs]
        inner.inputs = [swap.get(id(t), t) for t in inner.inputs]
        inner.arguments = tree.map_structure(lambda x: swap.get(id(x), x), inner.arguments)
    for name, tensors in inside.layer_outputs.items():
        inside.layer_outputs[name] = [swap.get(id(t), t) for t in tensors]
    return inside.steps


def _parts(step: Step) -> list[Step]:
    linear = linear_part(step)
    parts = separable_parts(step) if linear is None else [(linear, step.outputs[0])]
    if parts is None:
        return [step]
    activation = getattr(step.operation, "activation", None)
    if activation not in (None, keras.activations.linear):
        parts = [*parts, (activation, step.outputs[0])]
    names = [step.name, *(f"{step.name}.{_name(part)}" for part, _ in parts[1:])]
    steps, source = [], step.inputs[0]
    for name, (operation, spec) in zip(names, parts, strict=True):
        written = like(spec)
        steps.append(Step(name, operation, ((source,), {}), [source], [written], step.layers))
        source = written
    steps[-1].outputs = step.outputs
    return steps


def _name(operation) -> str:
    if isinstance(operation, Linear):
        return "pointwise"
    return getattr(operation, "__name__", None) or getattr(operation, "name", "activation")


def _added_constant(step: Step):
    """The array or variable that a step adds to its only tensor, or None."""
    if keras_name(step.operation) != "Add" or kind_of(step) is Kind.UNITS:
        return None
    args = step.arguments[0]
    if len(args) != 2 or len(step.inputs) != 1 or len(step.inputs[0].shape) < 2:
        return None
    constants = [x for x in args if not isinstance(x, KerasTensor)]
    return constants[0] if len(constants) == 1 else None


def _only_read_by(step: Step, graph: Graph) -> bool:
    """Whether nobody but the step wants its first input, so that it need not be computed."""
    tensor = step.inputs[0]
    wanted = any(t is tensor for t in (*graph.flat_outputs, *graph.flat_inputs))
    return not wanted and graph.readers()[id(tensor)] == [step]


def _is_norm(step: Step) -> bool:
    linear = step.operation
    return isinstance(linear, Linear) and keras_name(linear.layer) == "BatchNormalization"


def _folds_before(before: Step, norm: Step) -> bool:
    linear = before.operation
    return (
        isinstance(linear, Linear)
        and linear.scale_kernel is not None
        and linear.channel_axis == norm.operation.channel_axis
    )


def _folds_after(norm: Step, after: Step) -> bool:
    linear = after.operation
    if not isinstance(linear, Linear) or norm.operation.channel_axis != -1:
        return False
    layer = linear.layer
    if keras_name(layer) == "Dense":
        return True
    return keras_name(layer) in ("Conv1D", "Conv2D", "Conv3D") and (
        layer.padding == "valid" and layer.groups == 1 and layer.data_format == "channels_last"
    )


def _merged(linear: Linear, norm: Linear) -> Linear:
    def bias():
        own = linear.bias
        shift = norm.bias
        return shift if own is None else norm.map(own, norm.kernel) + shift

    return replace(
        linear,
        read_kernel=lambda: linear.scale_kernel(linear.kernel, norm.kernel),
        read_bias=bias,
        constants=(*linear.constants, *norm.layer.variables),
    )


def _premerged(norm: Linear, linear: Linear) -> Linear:
    def bias():
        shift = ops.reshape(norm.bias, (-1, 1)) * linear.kernel
        shift = ops.sum(shift, axis=tuple(range(len(shift.shape) - 1)))
        return shift if linear.bias is None else linear.bias + shift

    return replace(
        linear,
        read_kernel=lambda: linear.kernel * ops.reshape(norm.kernel, (-1, 1)),
        read_bias=bias,
        constants=(*linear.constants, *norm.layer.variables),
    )
