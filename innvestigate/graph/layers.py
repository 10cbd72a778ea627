"""The Keras layers a mirror is made of."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops, tree

from innvestigate.backend import wear_masks
from innvestigate.graph.step import Step, is_float


class MirrorLayer(keras.Layer):
    """A layer of a mirror: computes in one float type and ends the way of masks."""

    def __init__(self, dtype: str, name: str):
        super().__init__(name=name, dtype=dtype)
        self.supports_masking = True
        self.built = True

    def compute_mask(self, inputs, previous_mask):
        return None


class StepLayer(MirrorLayer):
    """A layer that runs a step and shares its variables.

    The user's layers are called on real tensors only, so no node is left on them.
    """

    def __init__(self, step: Step, dtype: str, name: str):
        super().__init__(dtype, name)
        self.step = step
        self.shared = _holders_of_variables(step)


class Forward(StepLayer):
    """Runs one step of the user's model; if `samples` are given, with their masks."""

    def call(self, inputs, samples=None):
        if samples is not None:
            wear_masks(inputs, samples)
        return unpack(self.step(*inputs))

    def compute_output_spec(self, inputs, samples=None):
        return unpack([KerasTensor(y.shape, y.dtype) for y in self.step.outputs])

    def compute_mask(self, inputs, previous_mask):
        """Keras layers set their masks themselves; the parts of a split layer hand theirs on."""
        whole = isinstance(self.step.operation, keras.Layer)
        split = isinstance(self.step.layer, keras.Layer) and self.step.layer.supports_masking
        masks = [mask for mask in tree.flatten(previous_mask) if mask is not None]
        return masks[0] if masks and split and not whole else None


class Backward(StepLayer):
    """Sends the relevance of one step's outputs back to those inputs that lie on the way."""

    def __init__(self, step: Step, rule, active: list[int], dtype: str, name: str):
        super().__init__(step, dtype, name)
        self.rule = rule
        self.rule_variables = list(rule.variables)
        self.active = active

    def call(self, inputs, outputs, relevances, references=None):
        local = LocalStep(self.step, inputs, self.active, self.compute_dtype)
        floats = [i for i, y in enumerate(self.step.outputs) if is_float(y)]
        arriving = [
            ops.zeros_like(outputs[i]) if relevances[i] is None else relevances[i] for i in floats
        ]
        arguments = (local, local.inputs, [outputs[i] for i in floats], arriving)
        if references is not None:
            arguments += (references,)
        return unpack(self.rule(*arguments))

    def compute_output_spec(self, inputs, outputs, relevances, references=None):
        return unpack([KerasTensor(self.step.inputs[i].shape, self.dtype) for i in self.active])


class LocalStep:
    """A step at given values: a function of its active inputs alone.

    Args:
        step: The step.
        values: The values of all its inputs.
        active: Positions of the active inputs.
        dtype: Floating point type of the outputs, and of active inputs that hold integers.

    Attributes:
        operation: What the step calls.
        inputs: The values of the active inputs.
        gates: Positions among the active inputs of gates (see `Step`).
        factors: How many tensors the operation's arguments hold, repeated ones included.
    """

    def __init__(self, step: Step, values: list, active: list[int], dtype: str):
        self.operation = step.operation
        self._step, self._values, self._active, self._dtype = step, values, active, dtype
        self.inputs = self.active(values)
        self.gates = tuple(k for k, i in enumerate(active) if i in step.gates)
        self.factors = sum(isinstance(x, KerasTensor) for x in tree.flatten(step.arguments))

    def active(self, values: list) -> list:
        """The active ones among values of all inputs, in floating point."""
        found = [values[i] for i in self._active]
        return [x if is_float(x) else ops.cast(x, self._dtype) for x in found]

    def __call__(self, *inputs):
        """The floating point outputs of the step; inputs wear the masks of its own."""
        wear_masks(inputs, self.inputs)
        values = list(self._values)
        for i, x in zip(self._active, inputs, strict=True):
            values[i] = x
        return [ops.cast(y, self._dtype) for y in self._step(*values) if is_float(y)]


class Start(MirrorLayer):
    """The signal a method starts from, given the output and the weights of its neurons.

    Args:
        method: Maps `(weights, output)` to the signal.
        select_max: Whether the largest output of each sample has weight one and all others zero;
            otherwise the weights are given.
    """

    def __init__(self, method, select_max: bool, dtype: str, name: str):
        super().__init__(dtype, name)
        self.method = method
        self.select_max = select_max

    def call(self, output, weights=None):
        return self.method(_one_hot_max(output) if self.select_max else weights, output)

    def compute_output_spec(self, output, weights=None):
        return KerasTensor(output.shape, self.dtype)


class Fill(MirrorLayer):
    """A tensor of the input's shape that holds `value` (a number or a broadcastable array)."""

    def __init__(self, value, dtype: str, name: str):
        super().__init__(dtype, name)
        self.value = value

    def call(self, x):
        return ops.zeros_like(x) + ops.cast(self.value, x.dtype)

    def compute_output_spec(self, x):
        return KerasTensor(x.shape, x.dtype)


class Finish(MirrorLayer):
    """What a method makes of the value and the arriving signal at a tensor asked for."""

    def __init__(self, method, dtype: str, name: str):
        super().__init__(dtype, name)
        self.method = method

    def call(self, value, signal):
        return self.method(value, signal)

    def compute_output_spec(self, value, signal):
        return KerasTensor(signal.shape, signal.dtype)


def original_layer(layer):
    """The user's layer that a layer of a mirror runs; any other layer itself."""
    return layer.step.layer if isinstance(layer, Forward) else layer


def _one_hot_max(output):
    shape = ops.shape(output)
    flat = ops.reshape(output, (shape[0], -1))
    chosen = ops.arange(ops.shape(flat)[1], dtype="int32") == ops.expand_dims(
        ops.cast(ops.argmax(flat, axis=-1), "int32"), -1
    )
    return ops.reshape(ops.cast(chosen, output.dtype), shape)


def _holders_of_variables(step: Step) -> list:
    """Layers and variables whose values a step reads, for Keras to track."""
    operation = getattr(step.operation, "layer", step.operation)
    holders = [operation] if isinstance(operation, keras.Layer) else []
    leaves = tree.flatten((step.arguments, getattr(step.operation, "constants", ())))
    return holders + [leaf for leaf in leaves if isinstance(leaf, keras.Variable)]


def unpack(values: list):
    """A single value itself, several as a list: how Keras layers return them."""
    return values[0] if len(values) == 1 else values
