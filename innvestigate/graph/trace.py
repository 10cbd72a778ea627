"""From a Keras model to a `Graph`. The only module that touches private Keras attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, tree
from keras.src.models.functional import Functional

from innvestigate.graph.layers import Forward
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
        bindings = dict(zip(map(id, function.inputs), tree.flatten(inputs), strict=True))
        tracer = _Tracer()
        tracer.walk(function, bindings, prefix="", layers=())
        outputs = substitute(function._outputs_struct, bindings)
        return Graph(tracer.steps, inputs, outputs, tracer.layer_outputs)
    return _trace_subclassed(model)


def open_step(step: Step, call: Callable | None = None) -> Graph | None:
    """The operations inside a layer, found by running its `call` on symbolic tensors.

    Args:
        step: The step to open.
        call: `(layer, *args, **kwargs) -> outputs`, in place of the layer's own `call`.

    Returns:
        A graph from the step's inputs to the step's outputs, or None where the layer refuses: it
        is no layer, is quantized, calls a backend's own functions, or computes something from its
        weights alone, which would freeze the weights' present values into the graph.
    """
    layer = step.operation
    if not isinstance(layer, keras.Layer) or layer.quantization_mode is not None:
        return None
    inputs = [like(tensor) for tensor in step.inputs]
    args, kwargs = substitute(step.arguments, dict(zip(map(id, step.inputs), inputs, strict=True)))
    if "training" in inspect.signature(layer.call).parameters and kwargs.get("training") is None:
        kwargs = {**kwargs, "training": False}
    run = layer.call if call is None else partial(call, layer)
    function = _call_symbolically(layer, inputs, lambda: run(*args, **kwargs))
    if function is None or len(function.outputs) != len(step.outputs):
        return None
    bindings = dict(zip(map(id, inputs), step.inputs, strict=True))
    tracer = _Tracer(opened=True)
    tracer.walk(function, bindings, prefix=step.name + ".", layers=step.layers)
    outputs = [bindings[id(tensor)] for tensor in function.outputs]
    return Graph(tracer.steps, step.inputs, outputs, tracer.layer_outputs)


class _Tracer:
    """Collects steps while it walks Keras's nodes.

    Args:
        opened: Whether the nodes come from running a layer's `call`, in inference mode: what they
            say of `training` holds. A functional model's nodes only say what was the default when
            it was built; Keras overrides it when the model is run.
    """

    def __init__(self, opened: bool = False):
        self.opened = opened
        self.steps: list[Step] = []
        self.layer_outputs: dict[str, list[KerasTensor]] = {}
        self._names: set[str] = set()

    def walk(self, function, bindings: dict[int, KerasTensor], prefix: str, layers: tuple) -> None:
        """Append the steps of a functional graph; `bindings` maps its tensors' ids to ours."""
        for depth in sorted(function._nodes_by_depth, reverse=True):
            for node in function._nodes_by_depth[depth]:
                if not node.is_input and node.operation is not None:
                    self._add(node, bindings, prefix, layers)

    def _add(self, node, bindings, prefix, layers) -> None:
        operation = node.operation
        arguments = substitute((node.arguments.args, node.arguments.kwargs), bindings)
        if not self.opened and "training" in arguments[1]:
            arguments = (arguments[0], {**arguments[1], "training": False})
        name = self._unique(prefix + operation.name)
        is_layer = isinstance(operation, keras.Layer)
        inner = (*layers, operation) if is_layer else layers
        function = _function_of(operation)
        values = None if function is None else _inputs_for(function, arguments)
        if isinstance(operation, Forward):
            written = self._add_forward(operation.step, arguments, name, layers)
        elif values is not None:
            local = dict(zip(map(id, function.inputs), values, strict=True))
            self.walk(function, local, name + ".", inner)
            written = [local[id(tensor)] for tensor in function.outputs]
        else:
            written = [like(tensor) for tensor in node.outputs]
            self.steps.append(
                Step(name, operation, arguments, tensors_in(arguments), written, inner)
            )
        bindings.update(zip(map(id, node.outputs), written, strict=True))
        if is_layer:
            self.layer_outputs[name] = written

    def _add_forward(self, step, arguments, name, layers) -> list[KerasTensor]:
        """A layer of a mirror stands for the step it runs."""
        values = dict(zip(map(id, step.inputs), tree.flatten(arguments[0]), strict=True))
        own = substitute(step.arguments, values)
        written = [like(tensor) for tensor in step.outputs]
        inner = (*layers, *step.layers)
        self.steps.append(Step(name, step.operation, own, tensors_in(own), written, inner))
        return written

    def _unique(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self._names:
            count += 1
            candidate = f"{name}.{count}"
        self._names.add(candidate)
        return candidate


def _function_of(operation: Any):
    """The functional graph that calling the operation runs, or None if it has none."""
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        if operation._functional is None and operation.built:
            return None
        if operation._functional is None:
            raise _not_built(operation)
        return operation._functional
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def _inputs_for(function, arguments) -> list | None:
    """What a nested model was called on, in the order of its own inputs."""
    args, kwargs = arguments
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
    step = Step(model.name, model, (args, {}), tensors_in(args), tree.flatten(outputs), (model,))
    opened = open_step(step)
    if opened is None:
        return Graph([step], inputs, outputs)
    for inner in opened.steps:
        inner.name = inner.name.removeprefix(model.name + ".")
        inner.layers = tuple(layer for layer in inner.layers if layer is not model)
    names = {n.removeprefix(model.name + "."): t for n, t in opened.layer_outputs.items()}
    found = tree.pack_sequence_as(outputs, opened.outputs)
    return Graph(opened.steps, inputs, found, names)


def _call_symbolically(layer, inputs, run):
    """What `run` does to `inputs` as a `keras.Function`, or None if the layer refuses.

    Leaves no node behind on the layer or any layer inside it.
    """
    inside = layer._flatten_layers()
    nodes = [(sub, list(sub._inbound_nodes), list(sub._outbound_nodes)) for sub in inside]
    reads, function = _WeightReads(), None
    layer._get_call_context().set_value("training", False)
    try:
        with reads:
            outputs = run()
        if not reads.seen and _all_computed(outputs):
            function = keras.Function(inputs, outputs)
            _forget_nodes(function)
    except Exception:  # whatever a layer raises when it is given symbolic tensors, it refuses them
        function = None
    finally:
        layer._maybe_reset_call_context()
        for sub, inbound, outbound in nodes:
            sub._inbound_nodes[:], sub._outbound_nodes[:] = inbound, outbound
    return function


def _all_computed(outputs) -> bool:
    """Whether all outputs are symbolic and were written by an operation."""
    return all(
        isinstance(x, KerasTensor) and hasattr(x, "_keras_history") and x._keras_history.operation
        for x in tree.flatten(outputs)
    )


def _forget_nodes(function) -> None:
    """Take a function's nodes off its operations: some are layers from outside the traced one."""
    for nodes in function._nodes_by_depth.values():
        for node in nodes:
            touched = [node.operation._inbound_nodes] if node.operation else []
            for tensor in node.input_tensors:
                if tensor._keras_history.operation is not None:
                    touched.append(tensor._keras_history.operation._outbound_nodes)
            for recorded in touched:
                if node in recorded:
                    recorded.remove(node)


class _WeightReads(keras.StatelessScope):
    """Notices when the value of a weight is read while a layer is traced."""

    def __init__(self):
        super().__init__(initialize_variables=False)
        self.seen = False

    def get_current_value(self, variable):
        self.seen = True
        return super().get_current_value(variable)


def _not_built(model: keras.Model) -> ValueError:
    return ValueError(
        f"The model {model.name!r} is not built, so its graph is unknown. Expected: a model that "
        "knows its input shape. Call it once on data, call model.build(input_shape), or start it "
        "with keras.Input(shape)."
    )
