"""Passes over a graph that leave the function it computes unchanged: each returns a new one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
from keras import KerasTensor, ops, tree

from innvestigate.graph.cells import OPENERS
from innvestigate.graph.constants import value_of
from innvestigate.graph.decompositions import DECOMPOSITIONS, as_formula, mel_spectrogram
from innvestigate.graph.kernels import linear_part, separable_parts
from innvestigate.graph.linear import Linear
from innvestigate.graph.operations import Kind, Trait, body_of, has, keras_name, kind_of, stays
from innvestigate.graph.quantized import opener_of
from innvestigate.graph.registered import registered_kind
from innvestigate.graph.step import Graph, Step, like, substitute
from innvestigate.graph.symbolic import RefusedError
from innvestigate.graph.trace import open_step


def is_opaque(step: Step) -> bool:
    """Whether no rule could speak of the step: not a known layer, nor one that `split` parts."""
    return (
        kind_of(step) is Kind.OPAQUE and linear_part(step) is None and separable_parts(step) is None
    )


def may_open(step: Step) -> bool:
    """Whether rules can only speak of what is inside of a step: an opaque or recurrent layer."""
    return is_recurrent(step) or is_opaque(step)


def is_recurrent(step: Step) -> bool:
    """Whether a step is a recurrent layer that was not made a loop yet."""
    return kind_of(step) is Kind.RECURRENT and body_of(step) is None


def open_layers(graph: Graph, wanted: Callable[[Step], bool]) -> Graph:
    """Put what is inside of steps in their place: layers, and operations that have a formula.

    Args:
        graph: The graph.
        wanted: Which steps to open. Those that show up inside are asked for, too.
    """
    steps: list[Step] = []
    swap: dict[KerasTensor, KerasTensor] = {}
    layer_outputs, masks = dict(graph.layer_outputs), graph.masks
    queue = graph.steps[::-1]
    while queue:
        step = queue.pop().renamed(swap)
        name, is_layer = keras_name(step.operation), isinstance(step.operation, keras.Layer)
        formula = None if is_layer else DECOMPOSITIONS.get(name)
        if not wanted(step) or not (is_layer or formula):
            steps.append(step)
            continue
        try:
            parted = as_formula(step, formula) if formula else step
            inside = open_step(parted, _opener(parted.operation))
        except RefusedError as error:
            steps.append(replace(step, closed=str(error)))
            continue
        queue.extend(inside.steps[::-1])
        swap.update(zip(step.outputs, inside.outputs, strict=True))
        layer_outputs.update(inside.layer_outputs)
        masks |= inside.masks
    return replace(graph, layer_outputs=layer_outputs, masks=masks).replaced(steps, swap)


def split(graph: Graph, wanted: Callable[[Step], bool] = lambda step: True) -> Graph:
    """Part layers with a kernel into their linear steps and their activation."""
    return graph.replaced(
        [part for step in graph.steps for part in (_parts(step) if wanted(step) else [step])]
    )


def fuse_bias(graph: Graph) -> Graph:
    """Make `matmul(x, W) + b` one linear step with a bias, as a layer would have it."""
    steps: list[Step] = []
    places: dict[KerasTensor, int] = {}
    private = _read_once(graph)
    for step in graph.steps:
        constant = _added_constant(step)
        place = None if constant is None else places.get(step.inputs[0])
        if place is not None and step.inputs[0] in private and _takes_bias(steps[place], step):
            linear = steps[place].operation
            biased = replace(
                linear,
                read_bias=lambda constant=constant: value_of(constant),
                constants=(*linear.constants, constant),
            )
            steps[place] = replace(steps[place], operation=biased, outputs=step.outputs)
        else:
            place = len(steps)
            steps.append(step)
        if isinstance(steps[place].operation, Linear):
            places[step.outputs[0]] = place
    return graph.replaced(steps)


def tell_apart(graph: Graph) -> Graph:
    """Have products and attention read each factor as a tensor of its own: `x x` as x times a copy.

    What is sent to a factor depends on its part in the product.
    """
    steps: list[Step] = []
    for step in graph.steps:
        if kind_of(step) in (Kind.PRODUCT, Kind.ATTENTION):
            copies, step = _with_copies(step)
            steps += copies
        steps.append(step)
    return graph.replaced(steps)


def fold_batch_norm(graph: Graph) -> Graph:
    """Merge every BatchNormalization into the linear step before or after it, where one fits.

    Before: (gamma/std) (W x + b) + shift is one linear step. After: W ((gamma/std) x + shift) + b
    is one as long as no zeros are padded in between. A BatchNormalization between neighbours of
    other kinds stays.
    """
    queue = [step for step in graph.steps if _is_norm(step)]
    while queue:
        norm = queue.pop(0)
        neighbour, merged = _fold(graph, norm)
        if merged is not None:
            swap = lambda step: merged if step is neighbour else step  # noqa: B023, E731
            graph = graph.replaced([swap(step) for step in graph.steps if step is not norm])
            queue = [swap(step) for step in queue]
            if _is_norm(merged) and merged not in queue:
                queue.append(merged)
    return graph


def _fold(graph: Graph, norm: Step) -> tuple[Step | None, Step | None]:
    """A neighbour of a BatchNormalization, and the step that stands for both."""
    private = _read_once(graph)
    before = graph.writers().get(norm.inputs[0])
    after = graph.readers().get(norm.outputs[0], [None])[0]
    if before is not None and norm.inputs[0] in private and _folds_before(before, norm):
        merged = _merged(before.operation, norm.operation)
        return before, replace(before, operation=merged, outputs=norm.outputs)
    if after is not None and norm.outputs[0] in private and _folds_after(norm, after):
        merged = _premerged(norm.operation, after.operation)
        return after, replace(after, operation=merged, arguments=((norm.inputs[0],), {}))
    return None, None


def drop_casts(graph: Graph) -> Graph:
    """Look up tokens of the inputs as they are: an embedding makes whole numbers of them itself."""
    readers, kept = graph.readers(), {*graph.flat_outputs, *graph.masks}
    swap = {}
    for step in graph.steps:
        casts = has(step.operation, Trait.CASTS) and step.inputs[0] in graph.flat_inputs
        if casts and step.outputs[0] not in kept and "int" in step.outputs[0].dtype:
            read = [_takes_any_type(reader) for reader in readers.get(step.outputs[0], [])]
            swap.update({step.outputs[0]: step.inputs[0]} if read and all(read) else {})
    steps = [step.renamed(swap) for step in graph.steps if step.outputs[0] not in swap]
    return graph.replaced(steps, swap)


def _takes_any_type(step: Step) -> bool:
    """Whether a step looks tokens up, or makes their mask, whatever type they have."""
    layer = getattr(step.operation, "layer", step.operation)
    return isinstance(layer, keras.layers.Embedding)


def from_vectors(graph: Graph) -> tuple[Graph, list[Step]]:
    """The graph with the vectors of its tokens as further inputs, and the look-ups they stand for.

    The tokens stay inputs: masks are made of them. A look-up of anything else than inputs that
    were at most moved, or replaced by a constant in some places, stays as it is.
    """
    moved = set(graph.flat_inputs)
    fixed: set[KerasTensor] = set()
    lookups = []
    for step in graph.steps:
        if stays(step):
            fixed.update(step.outputs)
        known = bool(moved & set(step.inputs)) and (moved | fixed).issuperset(step.inputs)
        if known and kind_of(step) is Kind.SHAPE:
            moved.update(set(step.outputs) - fixed)
        if known and kind_of(step) is Kind.LOOKUP:
            lookups.append(step)
    steps = [step for step in graph.steps if step not in lookups]
    inputs = [*graph.flat_inputs, *(step.outputs[0] for step in lookups)]
    return replace(graph, steps=steps, inputs=inputs), lookups


def from_tokens(graph: Graph) -> tuple[Graph, Graph] | None:
    """A graph of which strings are inputs, in two: what makes numbers of them, and the rest.

    Returns:
        The first graph, whose outputs stand in the structure of the inputs of the second: the
        numbers that are made of strings in the place of these. Where that is not one for one, the
        structure is a dict: inputs by their names, and the others by those of their steps. None
        if there are no strings.
    """
    strings = {t for t in graph.flat_inputs if t.dtype == "string"}
    front, made = [], {}
    for step in graph.steps:
        if not strings.isdisjoint(step.inputs):
            front.append(step)
            strings.update(t for t in step.outputs if t.dtype == "string")
            made.update({t: step.name for t in step.outputs if t.dtype != "string"})
    if not front:
        return None
    outputs, names = _in_place_of_strings(graph, made)
    swap = {t: KerasTensor(t.shape, t.dtype, name=name) for t, name in names.items()}
    first = replace(graph, steps=graph.leading_to(made), outputs=outputs)
    rest = replace(graph, inputs=substitute(outputs, swap))
    return first, rest.replaced([s.renamed(swap) for s in graph.steps if s not in front], swap)


def _in_place_of_strings(graph: Graph, made: dict[KerasTensor, str]) -> tuple[Any, dict]:
    """The inputs of a graph with what is made of strings in the place of these, and its names."""
    strings = [t for t in graph.flat_inputs if t.dtype == "string"]
    read = {t: {s for step in graph.leading_to([t]) for s in step.inputs} for t in made}
    of = [(s, t) for s in strings for t in made if s in read[t]]
    if len({s for s, _ in of}) == len({t for _, t in of}) == len(of):
        return substitute(graph.inputs, dict(of)), {t: s.name for s, t in of}
    inputs = zip(graph.input_names, graph.flat_inputs, strict=True)
    return {n: t for n, t in inputs if t not in strings} | {n: t for t, n in made.items()}, made


def _time_distributed(layer, x, training=None, mask=None):
    """TimeDistributed as its layer on a batch of all time steps, instead of a loop over them."""
    if has(layer.layer, Trait.DENSE):
        return layer.layer(x)  # the same for each time step, however many there are
    if x.shape[1] is None:
        return layer.call(x, training=training, mask=mask)
    takes_mask = "mask" in inspect.signature(layer.layer.call).parameters
    masks = {"mask": _all_steps(mask)} if takes_mask and mask is not None else {}
    y = layer.layer(_all_steps(x), **masks)
    return ops.reshape(y, (-1, x.shape[1], *y.shape[1:]))


def _all_steps(x):
    """All time steps of all samples, one after the other."""
    return ops.reshape(x, (-1, *x.shape[2:]))


def _category_counts(layer, tokens, count_weights=None):
    """CategoryEncoding of several tokens: one vector for each, and their sum or largest."""
    vectors = ops.one_hot(tokens, layer.num_tokens, dtype=layer.compute_dtype)
    if count_weights is not None:
        vectors = vectors * ops.expand_dims(count_weights, -1)
    return (ops.sum if layer.output_mode == "count" else ops.max)(vectors, axis=-2)


def _cosine(layer, inputs):
    """A normalising Dot as two normalisations, whose divisors count as constants, and a product."""
    axes = (layer.axes, layer.axes) if isinstance(layer.axes, int) else layer.axes
    dtype = layer.dtype_policy
    units = [
        keras.layers.UnitNormalization(axis, dtype=dtype)(x)
        for axis, x in zip(axes, inputs, strict=True)
    ]
    return keras.layers.Dot(axes, dtype=dtype)(units)


_OPENERS: dict[str | None, Callable] = {
    "CategoryEncoding": _category_counts,
    "Dot": _cosine,
    "MelSpectrogram": mel_spectrogram,
    "TimeDistributed": _time_distributed,
    **OPENERS,
}


def _opener(operation) -> Callable | None:
    """What is run in the place of a layer's own call; None for that itself."""
    return opener_of(operation) or _OPENERS.get(keras_name(operation))


def _with_copies(step: Step) -> tuple[list[Step], Step]:
    """Copies of what a step's arguments repeat, and the step that reads them."""
    read: set[KerasTensor] = set()
    copies: list[Step] = []

    def own(x):
        if not isinstance(x, KerasTensor):
            return x
        if x not in read:
            read.add(x)
            return x
        name = f"{step.name}.copy.{len(copies) + 1}"
        copy = keras.layers.Identity(dtype=x.dtype)
        copies.append(Step(name, copy, ((x,), {}), [like(x)], step.layers))
        return copies[-1].outputs[0]

    arguments = tree.map_structure(own, step.arguments)
    return copies, replace(step, arguments=arguments) if copies else step


def _parts(step: Step) -> list[Step]:
    if registered_kind(step.operation) is not None:
        return [step]
    linear = linear_part(step)
    parts = separable_parts(step) if linear is None else [(linear, step.outputs[0])]
    if parts is None:
        return [step]
    activation = getattr(step.operation, "activation", None)
    if activation not in (None, keras.activations.linear):
        parts = [*parts, (activation, step.outputs[0])]
    names = [step.name, *(f"{step.name}.{_name(part)}" for part, _ in parts[1:])]
    steps: list[Step] = []
    source = step.inputs[0]
    for name, (operation, spec) in zip(names, parts, strict=True):
        written = like(spec) if len(steps) < len(parts) - 1 else step.outputs[0]
        steps.append(Step(name, operation, ((source,), {}), [written], step.layers))
        source = written
    return steps


def _name(operation) -> str:
    if isinstance(operation, Linear):
        return "pointwise"
    name = str(getattr(operation, "__name__", None) or getattr(operation, "name", ""))
    return name if name.isidentifier() else "activation"  # a lambda's name is no name of a layer


def _added_constant(step: Step):
    """The array or variable that a step adds to its only tensor, or None."""
    if not has(step.operation, Trait.ADDS) or kind_of(step) is Kind.UNITS:
        return None
    args = step.arguments[0]
    if len(args) != 2 or len(step.inputs) != 1 or len(step.inputs[0].shape) < 2:
        return None
    constants = [x for x in args if not isinstance(x, KerasTensor)]
    return constants[0] if len(constants) == 1 else None


def _takes_bias(writer: Step, step: Step) -> bool:
    same = step.inputs[0].shape == step.outputs[0].shape
    return writer.operation.bias is None and same


def _read_once(graph: Graph) -> set[KerasTensor]:
    """Tensors that a single step reads and nobody else wants: they need not be computed."""
    wanted = {*graph.flat_outputs, *graph.flat_inputs}
    return {t for t, readers in graph.readers().items() if len(readers) == 1 and t not in wanted}


def _is_norm(step: Step) -> bool:
    linear = step.operation
    return isinstance(linear, Linear) and has(linear.layer, Trait.BATCH_NORMALIZATION)


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
    if has(layer, Trait.DENSE):
        return True
    return has(layer, Trait.PLAIN_CONVOLUTION) and (
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
