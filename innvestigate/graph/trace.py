"""From a Keras model to a `Graph`. The only module that touches private Keras attributes.

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
from keras import KerasTensor, tree
from keras.src import backend as keras_backend
from keras.src.models.functional import Functional

from innvestigate.graph.masks import ComputeMask, is_reversible, masks_for, masks_of, wants_masks
from innvestigate.graph.scopes import WeightReads
from innvestigate.graph.step import Graph, Step, like, substitute, tensors_in


def trace(model: keras.Model) -> Graph:
    """The graph of a model: nested models flattened, shared layers as several steps.

    Functional and Sequential models carry their graph with them. A subclassed model has none: its
    `call` is run once on symbolic tensors, and the operations inside appear. A model whose `call`
    refuses symbolic tensors becomes a single opaque step.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built yet.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"innvestigate explains Keras models. Received: {model!r} (of type "
            f"{type(model).__name__}); expected: a keras.Model (Sequential, functional or "
            "subclassed). Wrap other callables in a keras.Model first."
        )
    function = _function_of(model)
    if function is not None:
        inputs = tree.map_structure(
            lambda t: KerasTensor(t.shape, t.dtype, name=t.name), function._inputs_struct
        )
        bindings = dict(zip(function.inputs, tree.flatten(inputs), strict=True))
        tracer = _Tracer()
        tracer.walk(_nodes_of(function), bindings, prefix="", layers=())
        outputs = substitute(function._outputs_struct, bindings)
        return Graph(tracer.steps, inputs, outputs, tracer.layer_outputs, tracer.all_masks)
    return _trace_subclassed(model)


def open_step(step: Step, call: Callable | None = None) -> Graph | None:
    """The operations inside a layer, found by running its `call` on symbolic tensors.

    Args:
        step: The step to open.
        call: `(layer, *args, **kwargs) -> outputs`, in place of the layer's own `call`.

    Returns:
        A graph from the step's inputs to what the step writes, in its order, or None where the
        layer refuses: it is no layer, is quantized, calls a backend's own functions, or computes
        something from its weights alone, which would freeze the weights' present values into the
        graph.
    """
    opened = _open(step, call)
    return None if opened is None else opened[0]


def call_model(model: keras.Model, inputs: Any) -> Any:
    """What a model writes for inputs in the structure of its graph's, in inference mode."""
    each = _function_of(model) is None and len(model._build_shapes_dict) > 1
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
    return [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in model._flatten_layers()]


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

    def walk(self, nodes, bindings: dict, prefix: str, layers: tuple) -> None:
        """Append the steps of some nodes; `bindings` maps their tensors to ours."""
        for node in nodes:
            self._add(node, bindings, prefix, layers)

    def _add(self, node, bindings, prefix, layers) -> None:
        operation = node.operation
        args, kwargs = substitute((node.arguments.args, node.arguments.kwargs), bindings)
        if not self.opened and "training" in kwargs:
            kwargs = {**kwargs, "training": False}
        name = self._unique(prefix + operation.name)
        is_layer = isinstance(operation, keras.Layer)
        inner = (*layers, operation) if is_layer else layers
        function = _function_of(operation)
        values = None if function is None else _inputs_for(function, args, kwargs)
        runs = getattr(operation, "runs", None)  # a layer of a mirror stands for the step it runs
        if isinstance(runs, Step):
            written = self._add_step(runs, args, name, layers)
        elif values is not None:
            self._wear(values, kwargs.get("mask"))
            local = dict(zip(function.inputs, values, strict=True))
            self.walk(_nodes_of(function), local, name + ".", inner)
            written = [local[tensor] for tensor in function.outputs]
        else:
            written = [like(tensor) for tensor in node.outputs]
            read = self._masks_read(operation, (args, kwargs))
            given = tensors_in([x for argument, x in kwargs.items() if "mask" in argument])
            self.all_masks |= {*given, *(mask for _, mask in read)}
            self.steps.append(Step(name, operation, (args, kwargs), written, inner, read))
            if is_layer:
                self._hand_masks_on(self.steps[-1])
        bindings.update(zip(node.outputs, written, strict=True))
        if is_layer:
            self.layer_outputs[name] = written

    def _add_step(self, step, args, name, layers) -> list[KerasTensor]:
        values = dict(zip(step.inputs, tree.flatten(args[0]), strict=True))
        written = [like(tensor) for tensor in step.outputs]
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
        for tensor in self._stripped(step):
            self.masks.pop(tensor, None)
        logits = len(step.outputs[0].shape) == len(getattr(first, "shape", ()))
        if not layer.supports_masking or (is_reversible(layer) and logits):
            return
        masks = _computed_masks(layer, first, previous)
        for which, (tensor, mask) in enumerate(zip(step.outputs, masks, strict=False)):
            if isinstance(mask, KerasTensor):
                self.masks[tensor] = self._known(mask, layer, which, (first, previous), step)
                self.all_masks |= {self.masks[tensor]}

    def _known(self, mask, layer, which, arguments, step) -> KerasTensor:
        """The mask itself if it was there before, otherwise what a step of its own writes."""
        if mask in tensors_in(arguments):
            return mask
        written = like(mask)
        name = self._unique(f"{step.name}.mask")
        mask_step = Step(name, ComputeMask(layer, which), (arguments, {}), [written], step.layers)
        self.steps.insert(len(self.steps) - 1, mask_step)  # it needs what the layer reads, no more
        return written

    def _mask_of(self, tensor: Any) -> KerasTensor | None:
        return self.masks.get(tensor) if isinstance(tensor, KerasTensor) else None

    def _stripped(self, step: Step) -> list[KerasTensor]:
        """Tensors whose masks a layer takes off, which Keras's MultiHeadAttention does in place."""
        layer = step.operation
        if isinstance(layer, keras.layers.MultiHeadAttention):
            read = [t for t in tensors_in(step.arguments) if t in self.masks]
            return [t for t in read if t.dtype == layer.compute_dtype]  # others are copied first
        if not step.masks or type(layer).__module__.startswith("keras."):
            return []
        opened = _open(step)
        return [] if opened is None else [t for t, _ in step.masks if t not in opened[1]]

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
    with _untouched(layer):
        try:
            return masks_of(layer, first, previous)
        except Exception:  # a backend's own functions do not take symbolic tensors
            return keras_backend.compute_output_spec(partial(masks_of, layer), first, previous)


def _function_of(operation: Any):
    """The functional graph that calling the operation runs, or None if it has none."""
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        if operation._functional is None and operation.built:
            return None
        if operation._functional is None:
            raise _not_built(operation)
        return operation._functional
    if type(operation) is keras.Function:
        return operation
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def _nodes_of(function) -> list:
    """The nodes of a functional model in the order in which Keras runs them."""
    depths = sorted(function._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in function._nodes_by_depth[depth]]
    return [node for node in nodes if not node.is_input and node.operation is not None]


def _inputs_for(function, args, kwargs) -> list | None:
    """What a nested model was called on, in the order of its own inputs."""
    given = args[0] if args else kwargs.get("inputs")
    expected = function._inputs_struct
    if isinstance(given, dict) and not isinstance(expected, dict):
        given = [given.get(tensor.name) for tensor in function.inputs]
    values = tree.flatten(given)
    fits = len(values) == len(function.inputs) and all(
        isinstance(value, KerasTensor) and len(value.shape) == len(tensor.shape)
        for value, tensor in zip(values, function.inputs, strict=True)
    )
    return values if fits else None


def _trace_subclassed(model: keras.Model) -> Graph:
    if not model.built or not model._build_shapes_dict:
        raise _not_built(model)
    shapes = list(model._build_shapes_dict.values())
    args = tuple(
        tree.map_shape_structure(lambda s: KerasTensor((None, *s[1:]), "float32"), shape)
        for shape in shapes
    )
    inputs = args[0] if len(args) == 1 else list(args)
    outputs = model.compute_output_spec(*args)
    step = Step(model.name, model, (args, {}), tree.flatten(outputs), (model,))
    opened = open_step(step)
    if opened is None:
        return Graph([step], inputs, outputs)
    for inner in opened.steps:
        inner.name = inner.name.removeprefix(model.name + ".")
        inner.layers = tuple(layer for layer in inner.layers if layer is not model)
    names = {n.removeprefix(model.name + "."): t for n, t in opened.layer_outputs.items()}
    found = tree.pack_sequence_as(outputs, opened.outputs)
    return replace(opened, inputs=inputs, outputs=found, layer_outputs=names)


def _open(step: Step, call: Callable | None = None) -> tuple[Graph, dict] | None:
    """See `open_step`; with the masks that tensors wear at the end."""
    layer = step.operation
    if not isinstance(layer, keras.Layer) or layer.quantization_mode is not None:
        return None
    fresh = {t: like(t) for t in step.inputs}
    masks = substitute(step.masks, fresh)
    args, kwargs = substitute(step.arguments, fresh)
    given = {name: value for name, value in kwargs.items() if name != "training"}
    takes_training = "training" in inspect.signature(layer.call).parameters
    kwargs = {**given, "training": kwargs.get("training") or False} if takes_training else given
    kwargs = {**kwargs, **masks_for(layer, args, kwargs, dict(masks))}
    run = layer.call if call is None else partial(call, layer)
    with wearing(masks):
        found = _call_symbolically(layer, list(fresh.values()), lambda: run(*args, **kwargs))
    if found is None or len(found[1]) != len(step.outputs):
        return None
    nodes, written = found
    bindings = {new: old for old, new in fresh.items()}
    tracer = _Tracer(opened=True, masks=dict(step.masks))
    tracer.walk(nodes, bindings, prefix=step.name + ".", layers=step.layers)
    outputs = [bindings[tensor] for tensor in written]
    graph = Graph(tracer.steps, step.inputs, outputs, tracer.layer_outputs, tracer.all_masks)
    return graph, tracer.masks


def _call_symbolically(layer, inputs, run) -> tuple[list, list] | None:
    """The nodes by which `run` computes its outputs, and these; None if the layer refuses."""
    reads = WeightReads()
    layer._get_call_context().set_value("training", False)
    try:
        with _untouched(layer) as touch, reads:
            outputs = [y for y in tree.flatten(run()) if y is not None]
            nodes = None if reads.seen else _nodes_between(inputs, outputs)
            touch(nodes or [])
    except Exception:  # whatever a layer raises when it is given symbolic tensors, it refuses them
        nodes = None
    finally:
        layer._maybe_reset_call_context()
    return None if nodes is None else (nodes, outputs)


@contextmanager
def _untouched(layer: keras.Layer) -> Iterator[Callable]:
    """Takes off the nodes that layers gain within it; yields what is told of nodes elsewhere."""
    inside = layer._flatten_layers()
    before = [(sub, list(sub._inbound_nodes), list(sub._outbound_nodes)) for sub in inside]
    others: list = []
    try:
        yield others.extend
    finally:
        for node in others:
            _forget(node)
        for sub, inbound, outbound in before:
            sub._inbound_nodes[:], sub._outbound_nodes[:] = inbound, outbound


def _forget(node) -> None:
    """Take a node off its operation and those that it reads from."""
    touched = [node.operation._inbound_nodes]
    for tensor in node.input_tensors:
        history = getattr(tensor, "_keras_history", None)
        if history is not None and history.operation is not None:
            touched.append(history.operation._outbound_nodes)
    for recorded in touched:
        if node in recorded:
            recorded.remove(node)


def _nodes_between(inputs: list, outputs: list) -> list | None:
    """Nodes that lead from inputs to outputs, in order; None if something else leads there, too."""
    ordered, done, stack = [], set(), [(t, False) for t in reversed(outputs)]
    known = set(inputs)
    while stack:
        found, ready = stack.pop()
        if ready:
            ordered.append(found)
        if ready or found in known:
            continue
        history = getattr(found, "_keras_history", None)
        if history is None or history.operation is None:
            return None
        node = history.operation._inbound_nodes[history.node_index]
        if node in done:
            continue
        done.add(node)
        stack.append((node, True))
        stack.extend((t, False) for t in reversed(node.input_tensors))
    return ordered


def _not_built(model: keras.Model) -> ValueError:
    return ValueError(
        f"The model {model.name!r} is not built, so its graph is unknown. Expected: a model that "
        "knows its input shape. Call it once on data, call model.build(input_shape), or start it "
        "with keras.Input(shape)."
    )
