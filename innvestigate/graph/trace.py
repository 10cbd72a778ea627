"""From a Keras model to a `Graph`.

This module, `graph.functional`, `graph.symbolic`, `graph.signature`, `graph.lenient` and
`graph.quantized` are the only ones that touch private attributes of Keras.

Keras hands a mask on as an attribute of the tensor it belongs to, while the model runs. Here every
mask is a boolean tensor of the graph: what a layer's `compute_mask` writes is a step of its own,
and a step whose operation would look for a mask on one of its tensors lists the pair (see `Step`).
What counts is what happens when the model runs, also where that loses a mask.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, ops, tree
from keras.src import backend as keras_backend

from innvestigate.graph.constants import Constant, constants_in
from innvestigate.graph.functional import calls_of, function_of, inputs_for
from innvestigate.graph.lenient import spec_of
from innvestigate.graph.masks import (
    ComputeMask,
    PutOn,
    is_reversible,
    masks_for,
    masks_of,
    wants_masks,
)
from innvestigate.graph.signature import no_model, signature
from innvestigate.graph.step import Graph, Step, like, substitute, tensors_in
from innvestigate.graph.symbolic import (
    Call,
    RefusedError,
    calls_within,
    layers_within,
    outputs_of,
    untouched,
)

Shapes = tuple[tuple[int | None, ...], ...]


def trace(model: keras.Model, shapes: Shapes | None = None) -> Graph:
    """The graph of a model: nested models flattened, shared layers as several steps.

    Functional and Sequential models carry their graph with them. A subclassed model has none: its
    `call` is run once on symbolic tensors, and the operations inside appear. A model whose `call`
    refuses symbolic tensors becomes a single opaque step.

    Args:
        model: The model.
        shapes: Shapes of its flat inputs, batch axis included, where more is known of the data
            than the model says: a layer that computes with sizes may show its inside only then.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built yet.
    """
    if not isinstance(model, keras.Model):
        raise no_model(model)
    function = function_of(model)
    if function is None:
        return _trace_subclassed(model, shapes)
    inputs = _sized(function._inputs_struct, shapes)
    bindings = dict(zip(function.inputs, tree.flatten(inputs), strict=True))
    tracer = _Tracer()
    tracer.walk(calls_of(function), bindings, prefix="", layers=())
    outputs = substitute(function._outputs_struct, bindings)
    return Graph(tracer.steps, inputs, outputs, tracer.layer_outputs, tracer.all_masks)


def open_step(step: Step, call: Callable | None = None) -> Graph:
    """The operations inside a layer, found by running its `call` on symbolic tensors.

    Args:
        step: The step to open.
        call: `(layer, *args, **kwargs) -> outputs`, in place of the layer's own `call`.

    Returns:
        A graph from the step's inputs to what the step writes, in its order. An output that the
        layer makes of its weights alone is a `graph.constants.Constant`.

    Raises:
        RefusedError: If the layer does not show its inside: it is no layer, calls a
            backend's own functions, computes with sizes that are not known, decides by values.
    """
    return _open(step, call)[0]


def call_model(model: keras.Model, inputs: Any) -> Any:
    """What a model writes for inputs in the structure of its graph's, in inference mode."""
    each = function_of(model) is None and len(model._build_shapes_dict) > 1
    return model(*inputs, training=False) if each else model(inputs, training=False)


@contextmanager
def wearing(masks: list[tuple[Any, Any]]) -> Iterator[None]:
    """Within it, tensors wear their masks as Keras's layers look for them.

    Args:
        masks: Pairs of a tensor and its mask.
    """
    for tensor, mask in masks:
        keras_backend.set_keras_mask(tensor, mask)
    try:
        yield
    finally:
        take_masks_off([tensor for tensor, _ in masks])


def take_masks_off(tensors: list) -> None:
    """Take off the masks that layers have put on tensors."""
    for tensor in tensors:
        if keras_backend.get_keras_mask(tensor) is not None:
            keras_backend.set_keras_mask(tensor, None)


def count_nodes(model: keras.Model) -> list[tuple[int, int]]:
    """How many calls Keras has recorded of each layer of a model, and of what reads from it."""
    return [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in layers_within(model)]


class _Tracer:
    """Collects steps while it walks Keras's nodes.

    Args:
        opened: Whether the nodes come from running a layer's `call`, in inference mode: what they
            say of `training` holds. A functional model's nodes only say what was the default when
            it was built; Keras overrides it when the model is run.
        masks: The masks that tensors wear at the start.
    """

    def __init__(self, opened: bool = False, masks: dict[KerasTensor, KerasTensor] | None = None):
        self.opened = opened
        self.masks = dict(masks or {})
        self.all_masks: frozenset[KerasTensor] = frozenset(self.masks.values())
        self.steps: list[Step] = []
        self.layer_outputs: dict[str, list[KerasTensor]] = {}
        self._names: set[str] = set()

    def walk(self, calls: list[Call], bindings: dict, prefix: str, layers: tuple) -> None:
        """Append the steps of some calls; `bindings` maps their tensors to ours."""
        for call in calls:
            self._add(call, bindings, prefix, layers)

    def _add(self, call: Call, bindings, prefix, layers) -> None:
        operation = call.operation
        args, kwargs = substitute(call.arguments, bindings)
        if not self.opened and "training" in kwargs:
            kwargs = {**kwargs, "training": False}
        name = self._unique(prefix + operation.name)
        is_layer = isinstance(operation, keras.Layer)
        inner = (*layers, operation) if is_layer else layers
        function = function_of(operation)
        given = None if function is None else inputs_for(function, args, kwargs)
        runs = getattr(operation, "runs", None)  # a layer of a mirror stands for the step it runs
        if isinstance(runs, Step):
            written = self._add_step(runs, args, name, layers)
        elif given is not None:
            pairs = zip(given, function.inputs, strict=True)
            values = [self._of_rank(x, len(t.shape), name, inner) for x, t in pairs]
            self._wear(values, kwargs.get("mask"))
            local = dict(zip(function.inputs, values, strict=True))
            self.walk(calls_of(function), local, name + ".", inner)
            written = [local[tensor] for tensor in function.outputs]
        else:
            written = self._written(call, args, kwargs, bindings)
            read = self._masks_read(operation, (args, kwargs))
            given = tensors_in([x for argument, x in kwargs.items() if "mask" in argument])
            self.all_masks |= {*given, *(mask for _, mask in read)}
            self.steps.append(Step(name, operation, (args, kwargs), written, inner, read))
            if is_layer:
                self._hand_masks_on(self.steps[-1])
        bindings.update(zip(call.outputs, written, strict=True))
        if is_layer:
            self.layer_outputs[name] = written

    def _of_rank(self, tensor: KerasTensor, rank: int, name: str, layers: tuple) -> KerasTensor:
        """A nested model's input with a last axis of 1 put on or taken off, as Keras does."""
        if len(tensor.shape) == rank:
            return tensor
        spec = (ops.expand_dims if len(tensor.shape) < rank else ops.squeeze)(like(tensor), axis=-1)
        operation, written = spec._keras_history.operation, like(spec)
        name = self._unique(f"{name}.{operation.name}")
        self.steps.append(Step(name, operation, ((tensor,), {}), [written], layers))
        if tensor in self.masks:
            self.masks[written] = self.masks[tensor]
        return written

    def _written(self, call: Call, args, kwargs, bindings) -> list[KerasTensor]:
        """Tensors like those that a call writes, for inputs that may have other sizes."""
        if all(t.shape == bindings[t].shape for t in call.inputs):
            return [like(tensor) for tensor in call.outputs]
        return spec_of(call.operation, args, kwargs)

    def _add_step(self, step, args, name, layers) -> list[KerasTensor]:
        values = dict(zip(step.inputs, tree.flatten(args[0]), strict=True))
        read = substitute(step.arguments, values)
        written = [like(tensor) for tensor in step.outputs]
        if any(t.shape != x.shape for t, x in values.items()):
            written = spec_of(step.operation, *read)
        own = step.renamed({**values, **dict(zip(step.outputs, written, strict=True))})
        own.name, own.layers = name, (*layers, *step.layers)
        self.steps.append(own)
        return written

    def _wear(self, tensors: list[KerasTensor], masks: Any) -> None:
        """Put masks on tensors where there are any, in order."""
        for tensor, mask in zip(tensors, tree.flatten(masks), strict=False):
            if isinstance(mask, KerasTensor):
                self.masks[tensor] = mask

    def _masks_read(self, operation, arguments) -> tuple:
        """The masks that an operation could find on the tensors that it is called on."""
        if not wants_masks(operation):
            return ()
        return tuple((t, self.masks[t]) for t in tensors_in(arguments) if t in self.masks)

    def _hand_masks_on(self, step: Step) -> None:
        """Find out which masks a layer's outputs wear, and its inputs do no longer."""
        layer, (args, kwargs) = step.operation, step.arguments
        first = args[0] if args else next(iter(kwargs.values()), None)
        previous = kwargs.get("mask")
        if previous is None:
            previous = tree.map_structure(self._mask_of, first)
        stripped, put_on = self._changed(step)
        for tensor in stripped:
            self.masks.pop(tensor, None)
        for which, mask in enumerate(put_on):
            found = PutOn(layer, which, keras_backend.get_keras_mask)
            self._wear_new(step, mask, found, step.arguments, step.masks)
        logits = len(step.outputs[0].shape) == len(getattr(first, "shape", ()))
        if not layer.supports_masking or (is_reversible(layer) and logits):
            return
        if any(tensor not in self.masks for tensor in step.outputs):
            for which, mask in enumerate(_computed_masks(layer, first, previous)):
                self._wear_new(step, mask, ComputeMask(layer, which), ((first, previous), {}))

    def _wear_new(self, step, mask, operation: ComputeMask, arguments, masks=()) -> None:
        """Put a mask on an output that wears none: one that is read, or what a new step writes."""
        tensor = dict(enumerate(step.outputs)).get(operation.which)
        if tensor is None or tensor in self.masks or not isinstance(mask, KerasTensor):
            return
        if mask not in tensors_in((arguments, masks)):
            mask, name = like(mask), self._unique(f"{step.name}.mask")
            new = Step(name, operation, arguments, [mask], step.layers, masks)
            self.steps.insert(len(self.steps) - 1, new)  # it needs what the layer reads, no more
        self.masks[tensor] = mask
        self.all_masks |= {mask}

    def _mask_of(self, tensor: Any) -> KerasTensor | None:
        return self.masks.get(tensor) if isinstance(tensor, KerasTensor) else None

    def _changed(self, step: Step) -> tuple[list[KerasTensor], list]:
        """Tensors whose masks a layer takes off, and the masks that its call puts on its outputs.

        Keras's MultiHeadAttention takes masks off in place.
        """
        layer = step.operation
        if isinstance(layer, keras.layers.MultiHeadAttention):
            read = [t for t in tensors_in(step.arguments) if t in self.masks]
            read = [t for t in read if t.dtype == layer.compute_dtype]  # others are copied first
            return read, []
        if type(layer).__module__.startswith("keras."):
            return [], []
        try:
            inside, masks = _open(step)
        except RefusedError:
            return [], _put_on(step)
        tensors = [t if isinstance(t, KerasTensor) else None for t in inside.flat_outputs]
        worn = [masks.get(t) for t in tensors]  # none on an array
        return [t for t, _ in step.masks if t not in masks], worn

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}.{count}"
        self._names.add(candidate)
        return candidate


def _computed_masks(layer, first, previous) -> list:
    """What `compute_mask` makes of symbolic tensors: given masks, new ones, None."""
    if previous is None and type(layer).compute_mask is keras.Layer.compute_mask:
        return []
    with untouched(layer):
        try:
            return masks_of(layer, first, previous)
        except Exception:  # a backend's own functions do not take symbolic tensors
            return keras_backend.compute_output_spec(partial(masks_of, layer), first, previous)


def _trace_subclassed(model: keras.Model, shapes: Shapes | None) -> Graph:
    args, outputs, by_value = signature(model)
    if shapes is not None:
        args = _sized(args, shapes)
        outputs = model.compute_output_spec(*args)
    inputs = args[0] if len(args) == 1 else list(args)
    step = Step(model.name, model, (args, {}), tree.flatten(outputs), (model,), by_value=by_value)
    try:
        opened = open_step(step)
    except RefusedError as error:
        step.closed = str(error)
        return Graph([step], inputs, outputs)
    for inner in opened.steps:
        inner.name = inner.name.removeprefix(model.name + ".")
        inner.layers = tuple(layer for layer in inner.layers if layer is not model)
    names = {n.removeprefix(model.name + "."): t for n, t in opened.layer_outputs.items()}
    found = tree.pack_sequence_as(outputs, opened.outputs)
    return replace(opened, inputs=inputs, outputs=found, layer_outputs=names)


def _sized(tensors: Any, shapes: Shapes | None) -> Any:
    """New tensors like those of a structure, in given shapes."""
    flat = tree.flatten(tensors)
    found = shapes or [t.shape for t in flat]
    new = [KerasTensor(s, t.dtype, name=t.name) for s, t in zip(found, flat, strict=True)]
    return tree.pack_sequence_as(tensors, new)


def _prepared(step: Step, call: Callable | None = None) -> tuple[dict, list[Constant], Callable]:
    """New tensors for those that a step reads, its constants, and what calls its layer on both.

    What is returned by the call is a flat list: the outputs, then the mask that each wears, if the
    call has put it on itself.
    """
    layer = step.operation
    if not isinstance(layer, keras.Layer):
        raise RefusedError("it is no layer")
    fresh = {t: like(t) for t in step.inputs}
    masks = substitute(step.masks, fresh)
    args, kwargs = substitute(step.arguments, fresh)
    given = {name: value for name, value in kwargs.items() if name != "training"}
    takes_training = "training" in inspect.signature(layer.call).parameters
    kwargs = {**given, "training": kwargs.get("training") or False} if takes_training else given
    kwargs = {**kwargs, **masks_for(layer, args, kwargs, dict(masks))}

    own = layer.call if layer.quantization_mode is None else layer.quantized_call

    constants = constants_in((args, kwargs))

    def run(values):
        at = dict(zip(constants, values, strict=True))
        find = lambda x: at[x] if isinstance(x, Constant) else x  # noqa: E731
        known_args, known = tree.map_structure(find, (args, kwargs))
        with wearing(masks):
            outputs = (own if call is None else partial(call, layer))(*known_args, **known)
            return [*tree.flatten(outputs), *map(_worn, tree.flatten(outputs))]

    return fresh, constants, run


def _worn(tensor: Any) -> KerasTensor | None:
    """The mask that a call has put on the result of an operation; layers have rules for theirs."""
    history = getattr(tensor, "_keras_history", None)
    mask = keras_backend.get_keras_mask(tensor)
    own = history is not None and not isinstance(history.operation, keras.Layer)
    return mask if own and isinstance(mask, KerasTensor) else None


def _put_on(step: Step) -> list:
    """Tensors like the masks that a layer's call puts on its outputs, if it can be run."""
    fresh, constants, run = _prepared(step)
    found = outputs_of(step.operation, constants, run)
    return substitute(found[len(found) // 2 :], {new: old for old, new in fresh.items()})


def _open(step: Step, call: Callable | None = None) -> tuple[Graph, dict]:
    """See `open_step`; with the masks that tensors wear at the end."""
    fresh, constants, run = _prepared(step, call)
    calls, found = calls_within(step.operation, list(fresh.values()), constants, run)
    pairs = list(zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True))
    if len(pairs) != len(step.outputs):
        pairs = [(y, mask) for y, mask in pairs if y is not None]
    written = [y for y, _ in pairs]
    if len(written) != len(step.outputs):
        raise RefusedError(f"its call returns {len(written)} tensors, not {len(step.outputs)}")
    bindings = {new: old for old, new in fresh.items()}
    tracer = _Tracer(opened=True, masks=dict(step.masks))
    tracer.walk(calls, bindings, prefix=step.name + ".", layers=step.layers)
    outputs = substitute(written, bindings)
    own = {bindings[y]: bindings[mask] for y, mask in pairs if mask is not None}
    masks = tracer.all_masks | {*own.values()}
    graph = Graph(tracer.steps, step.inputs, outputs, tracer.layer_outputs, masks)
    return graph, own | tracer.masks
