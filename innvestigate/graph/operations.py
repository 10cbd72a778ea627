"""What is known of steps, by the tables of `names`: the vocabulary that rules speak."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops, tree

from innvestigate.graph.constants import Constant
from innvestigate.graph.linear import Linear
from innvestigate.graph.masks import ComputeMask
from innvestigate.graph.names import KINDS, Kind, Trait, has, keras_name
from innvestigate.graph.normalization import NORMALIZATIONS, Normalization
from innvestigate.graph.registered import registered_kind
from innvestigate.graph.step import Graph, Step, is_float, tensors_in
from innvestigate.graph.symbolic import layers_within

_FRAMEWORKS = ("keras.", "tensorflow.", "jax.", "torch.")
_SPELLINGS = {
    "exp": "exponential",
    "expit": "sigmoid",
    "logistic": "sigmoid",
    "swish": "silu",
    "hardswish": "hard_silu",
    "hard_swish": "hard_silu",
    "leakyrelu": "leaky_relu",
    "logsigmoid": "log_sigmoid",
    "hardsigmoid": "hard_sigmoid",
    "hardtanh": "hard_tanh",
    "softshrink": "soft_shrink",
    "hardshrink": "hard_shrink",
    "tanhshrink": "tanh_shrink",
}
_OF_AN_AXIS = ("softmax", "log_softmax", "sparsemax")
_ACTIVATIONS = (Kind.ACTIVATION, Kind.SOFTMAX)
_RELU = ("relu", "relu6")
_HOMOGENEOUS = ("linear", "relu", "leaky_relu", "prelu")
_SOFTMAX = ("softmax",)
_INVERSES = ("reciprocal", "rsqrt")
_KEEP_SIGN = {
    *("linear", "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu"),
    *("mish", "hard_silu", "tanh", "hard_tanh", "softsign", "soft_shrink", "hard_shrink"),
    *("tanh_shrink", "arctan", "arcsinh", "sinh", "cbrt", "erf", "expm1", "nan_to_num"),
    *("stop_gradient", "reciprocal"),
}
_INCREASE = {
    *(_KEEP_SIGN - {"reciprocal"}),
    *("log", "log2", "log10", "log1p", "sqrt", "exponential", "exp2", "clip"),
}
_NO_MOVES = {
    *("Masking", "Concatenate", "Append", "Where", "Diag", "Diagonal", "Tril", "Triu", "Stack"),
    *("Dstack", "Hstack", "Vstack", "Pad", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
    *("PadImages", "ExtractPatches", "FullLike", "Full", "SliceUpdate"),
    *("ScatterUpdate", "Select", "Unfold", "Diagflat"),
}
_SCATTERED = {None: Kind.SHAPE, "add": Kind.SUM, "max": Kind.WINNER, "min": Kind.WINNER}


def kind_of(step: Step) -> Kind:
    """The kind of a step; `Kind.OPAQUE` where the table has no line for its operation."""
    operation = step.operation
    if isinstance(operation, Linear):
        return Kind.LINEAR
    registered = registered_kind(operation)
    if registered is not None:
        return _as_registered(step, registered)
    if body_of(step) is not None:
        return Kind.RECURRENT
    name = keras_name(operation)
    if name in NORMALIZATIONS:
        return Kind.OPAQUE if _scales(step) else Kind.NORMALIZATION
    if name is None:
        opaque = isinstance(operation, (keras.Operation, ComputeMask))
        return Kind.OPAQUE if opaque else _kind_of_activation(operation)
    if name == "Lambda" and activation_name(operation) is not None:
        return _kind_of_activation(operation)
    kind = KINDS.get(name, Kind.OPAQUE)
    if has(operation, Trait.OF_ONE) and not _reads_one(step, kind):
        return Kind.OPAQUE
    if kind is Kind.ACTIVATION:
        return _kind_of_activation(operation)
    if kind in (Kind.SUM, Kind.PRODUCT) and _one_to_one(step):
        return Kind.UNITS
    if name == "UpSampling2D" and operation.interpolation != "nearest":
        return Kind.SUM
    if name == "Dot" and getattr(operation, "normalize", False):
        return Kind.OPAQUE  # opened into two normalisations and a plain product
    if name == "Take" and _reads_table(step):
        return Kind.LOOKUP
    if name == "ScatterUpdate":
        return _SCATTERED.get(operation.reduction, Kind.OPAQUE)
    if kind is Kind.CONSTANT and _fills_with_tensor(step):
        return Kind.SHAPE
    if kind is Kind.LOOKUP and not _one_vector_each(step):
        return Kind.OPAQUE
    return kind


def _as_registered(step: Step, kind: Kind) -> Kind:
    """The kind that a layer's type was registered as, if its tensors allow it.

    Raises:
        ValueError: If not.
    """
    read, written = [t for t in step.inputs if is_float(t)], step.outputs
    shapes = [t.shape for t in read], [t.shape for t in written]
    in_first = len(written) == 1 and shapes[1] == shapes[0][:1]
    fits = {Kind.PASS: in_first, Kind.ACTIVATION: in_first and len(read) == 1}
    if not fits.get(kind, True):
        raise ValueError(
            f"{type(step.operation).__name__} is registered as {kind.name.lower()!r}: it would "
            "write one tensor, in the shape of the first (for 'activation': the only) one that it "
            f"reads. The step {step.name!r} reads {shapes[0]} and writes {shapes[1]}. Register its "
            "type as another kind, or with a rule."
        )
    return kind


def body_of(step: Step) -> Graph | None:
    """The graph that a step runs once for each point in time; None for every other step."""
    body = getattr(step.operation, "body", None)
    return body if isinstance(body, Graph) else None


def holds(operation: Any, kind: Kind) -> bool:
    """Whether a layer has layers of a kind inside."""
    return any(KINDS.get(keras_name(layer) or "") is kind for layer in layers_within(operation))


def normalization_of(operation: Any) -> Normalization:
    """The parts of a layer that normalises by the sample's own statistics."""
    return NORMALIZATIONS[keras_name(operation)]


def activation_name(operation) -> str | None:
    """`relu`, `tanh`, ... for an activation in any form: function, operation or layer.

    A function of a framework goes by the name that Keras has for it: `softmax` for
    `tf.nn.softmax`, whose own name is `softmax_v2`. One with arguments of its own
    (`functools.partial`) counts as what it is made of only where they could be nothing but an axis.
    """
    name = keras_name(operation)
    if name == "Activation":
        return activation_name(operation.activation)
    if name == "Lambda":
        return _lambda_name(operation)
    if name == "ReLU":
        return "relu" if not operation.negative_slope else "leaky_relu"
    if name in KINDS and KINDS[name] in _ACTIVATIONS:
        return _snake_case(name)
    if isinstance(operation, partial):
        inner = activation_name(operation.func)
        return inner if inner in _OF_AN_AXIS else f"partial {inner} (custom)"
    if callable(operation) and not isinstance(operation, keras.Operation):
        return _function_name(operation)
    return None


def is_relu(step: Step) -> bool:
    """Whether a step is a rectifier: a ReLU layer or function, fused or not, or `maximum(x, 0)`."""
    if keras_name(step.operation) == "Maximum" and len(step.inputs) == 1:
        return any(is_number(leaf) and leaf == 0 for leaf in tree.flatten(step.arguments))
    return activation_name(step.operation) in _RELU


def is_homogeneous(step: Step) -> bool:
    """Whether a step is an activation f with f(x) = x f'(x): a rectifier, leaky or not."""
    operation = step.operation
    while keras_name(operation) == "Activation":  # of a layer, which may have limits
        operation = operation.activation
    limits = getattr(operation, "max_value", None), getattr(operation, "threshold", 0)
    plain = limits[0] is None and not limits[1]
    return plain and activation_name(operation) in _HOMOGENEOUS


def is_inverse(step: Step) -> bool:
    """Whether a step writes 1 / x, or 1 / √x, or x to another negative power."""
    args = step.arguments[0]
    if keras_name(step.operation) == "Power":
        return is_number(args[1]) and args[1] < 0
    if has(step.operation, Trait.QUOTIENT):
        return not isinstance(args[0], KerasTensor)
    return activation_name(step.operation) in _INVERSES


def keeps_sign(name: str | None) -> bool:
    """Whether an activation of this name never writes a number of the other sign."""
    return name in _KEEP_SIGN


def is_softmax(step: Step) -> bool:
    """Whether a step is a softmax, in any form."""
    return activation_name(step.operation) in _SOFTMAX


def _kind_of_activation(operation) -> Kind:
    return Kind.SOFTMAX if activation_name(operation) in _OF_AN_AXIS else Kind.ACTIVATION


def _reads_table(step: Step) -> bool:
    """Whether `ops.take` looks rows of a table up that does not depend on the input."""
    table = step.arguments[0][0]
    rank, axis = len(getattr(table, "shape", ())), getattr(step.operation, "axis", None)
    return not isinstance(table, KerasTensor) and rank == 2 and axis in (0, -2)


def _reads_one(step: Step, kind: Kind) -> bool:
    """Whether a step's kind is that of its operation's name, for the tensors that it reads."""
    if isinstance(step.operation, keras.Layer):
        return True
    if kind is Kind.ACTIVATION:
        return in_place(step)
    numbers = [t for t in tensors_in(step.arguments) if is_float(t)]
    args, place = step.arguments[0], 1 if has(step.operation, Trait.SOLVES) else 0
    return len(numbers) == 1 and args[place] is numbers[0]


def _scales(step: Step) -> bool:
    """Whether an operation that normalises scales or shifts, too; layers do so by weights."""
    args, kwargs = step.arguments
    given = [x for x in (*args[1:], *kwargs.values()) if x is not None]
    return bool(given) and not isinstance(step.operation, keras.Layer)


def _fills_with_tensor(step: Step) -> bool:
    """Whether a constant of the shape of one tensor is a number of another one, repeated."""
    return len(tensors_in(step.arguments)) > 1


def _one_vector_each(step: Step) -> bool:
    """Whether a look-up writes one vector for each token: not counts of them, nor their logits."""
    if keras_name(step.operation) == "ReversibleEmbedding":
        return len(step.outputs[0].shape) > len(step.inputs[0].shape)
    return getattr(step.operation, "output_mode", None) not in ("multi_hot", "count")


def keeps_order(step: Step) -> bool:
    """Whether a step is an increasing function of each number in its place."""
    if not in_place(step):
        return False
    if kind_of(step) is Kind.UNITS:
        return _has_positive_scale(step)
    return activation_name(step.operation) in _INCREASE or is_clip(step)


def is_move(step: Step) -> bool:
    """Whether a step only moves, picks or repeats the numbers of its only tensor."""
    name = keras_name(step.operation) or ""
    if len(step.inputs) != 1 or not all(map(is_float, step.outputs)):
        return False
    if has(step.operation, Trait.CASTS):
        return True
    moves = kind_of(step) is Kind.SHAPE and name not in _NO_MOVES
    return moves and not name.startswith("Random")


def stays(step: Step) -> bool:
    """Whether what a step writes is the same wherever tokens come from: conditions, constants."""
    return kind_of(step) is Kind.CONSTANT or all(t.dtype == "bool" for t in step.outputs)


def is_clip(step: Step) -> bool:
    """Whether a step is the larger or smaller of each number and a constant."""
    return has(step.operation, Trait.EXTREMUM) and in_place(step)


def in_place(step: Step) -> bool:
    """Whether a step reads one tensor and writes one of the same shape."""
    shapes = [t.shape for t in (*step.inputs, *step.outputs)]
    return len(step.inputs) == len(step.outputs) == 1 and shapes[0] == shapes[1]


def _has_positive_scale(step: Step) -> bool:
    operation, args = step.operation, step.arguments[0]
    if keras_name(operation) == "Rescaling":
        return _is_positive(operation.scale)
    constants = [x for x in args if not isinstance(x, KerasTensor)]
    if has(operation, Trait.ELEMENTWISE):
        return all(map(_is_positive, constants))
    name = keras_name(operation)
    return name == "Add" or (name == "Subtract" and isinstance(args[0], KerasTensor))


def _is_positive(constant) -> bool:
    """Whether all numbers of a constant are > 0, and stay so: a variable may be trained."""
    if isinstance(constant, (keras.Variable, Constant)):
        return False
    if ops.is_tensor(constant):
        constant = ops.convert_to_numpy(constant)
    return bool(np.all(np.asarray(constant) > 0))


def _one_to_one(step: Step) -> bool:
    """Whether each output number depends on one input number, by constants that are no summands.

    `x * c` scales for any constant c. `x + c` shifts the scale only for a plain number; an array
    is a summand of its own.
    """
    if len(step.inputs) != 1 or step.inputs[0].shape != step.outputs[0].shape:
        return False
    name = keras_name(step.operation)
    args = step.arguments[0]
    if name in ("Add", "Subtract"):
        return len(args) == 2 and any(is_number(x) for x in args)
    if has(step.operation, Trait.QUOTIENT):
        return isinstance(args[0], KerasTensor) and not isinstance(args[1], KerasTensor)
    return name == "Multiply" and len(args) == 2 and len(_constants(step)) == 1


def _constants(step: Step) -> list:
    return [x for x in step.arguments[0] if not isinstance(x, (KerasTensor, list, tuple))]


def is_number(x) -> bool:
    """Whether an argument is a plain number."""
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _function_name(function) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__
    if not _of_a_framework(function):
        return f"{name} (custom)"
    return _snake_case(re.sub(r"_v\d+$", "", name))


def _of_a_framework(function) -> bool:
    """Whether a function comes with a framework; one that is written in C names its owner's."""
    module = getattr(function, "__module__", None)
    owner = getattr(function, "__self__", None)
    return (module or getattr(owner, "__module__", None) or "").startswith(_FRAMEWORKS)


def _lambda_name(layer) -> str | None:
    """The activation that a Lambda layer of a framework's own function is."""
    if not _of_a_framework(layer.function):
        return None  # opening the layer shows what is inside
    name = activation_name(layer.function)
    known = name in _OF_AN_AXIS or (name in _ACTIVATION_NAMES and not layer.arguments)
    return name if known else None


def _snake_case(name: str) -> str:
    spelled = name if name.endswith("LU") else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return _SPELLINGS.get(spelled.lower(), spelled.lower())


_ACTIVATION_NAMES = {_snake_case(name) for name, kind in KINDS.items() if kind in _ACTIVATIONS}
