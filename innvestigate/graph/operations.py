"""What kind of step an operation is: the vocabulary that rules speak.

One table maps the names of Keras's layers and operations to a kind. A new layer type needs one
word in it. Layers of the user's own that inherit from a listed layer count as that layer unless
they override `call`.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import partial

import keras
from keras import KerasTensor, tree

from innvestigate.graph.linear import Linear
from innvestigate.graph.normalization import DETACHED
from innvestigate.graph.step import Graph, Step


class Kind(Enum):
    """Kinds of steps. A value reads as the description that `plan()` prints."""

    LINEAR = "linear, with a kernel"
    SUM = "weighted sum, no kernel"
    NORMALIZATION = "normalisation by the sample's own statistics"
    PRODUCT = "product of tensors"
    WINNER = "winner takes all"
    ACTIVATION = "elementwise activation"
    UNITS = "change of units"
    SHAPE = "shape only"
    LOOKUP = "look-up of vectors"
    OPAQUE = "unknown"


_NAMES = {
    Kind.SUM: """
        Add Subtract Average Mean Sum Cumsum Resizing Resize
        AveragePooling1D AveragePooling2D AveragePooling3D AveragePool
        GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
        AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
        AdaptiveAveragePool
        """,
    Kind.PRODUCT: "Multiply Dot Matmul Einsum Tensordot Inner Outer Divide TrueDivide DivideNoNan",
    Kind.WINNER: """
        MaxPooling1D MaxPooling2D MaxPooling3D MaxPool
        GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
        AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AdaptiveMaxPool
        Maximum Minimum Fmax Fmin Max Min Amax Amin TopK Sort
        """,
    Kind.ACTIVATION: """
        Activation ReLU LeakyReLU PReLU ELU Softmax
        Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus
        LogSigmoid LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink
        Threshold LogSoftmax Sparsemax
        Abs Absolute Fabs Arccos Arccosh Arcsin Arcsinh Arctan Arctanh Cbrt Clip Cos Cosh Erf Erfc
        Exp Exp2 Expm1 Log Log10 Log1p Log2 NanToNum Power Reciprocal Rsqrt Sigmoid Sin Sinc Sinh
        Sqrt Square Tan Tanh StopGradient
        """,
    Kind.UNITS: "Rescaling Normalization Cast SaturateCast Negative Deg2rad Rad2deg Real",
    Kind.SHAPE: """
        Flatten Reshape Permute RepeatVector Identity Masking Concatenate
        Cropping1D Cropping2D Cropping3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
        UpSampling1D UpSampling2D UpSampling3D CenterCrop
        Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout
        GaussianNoise ActivityRegularization
        Append ArraySplit BroadcastTo ConvertToTensor Copy DepthToSpace Diag Diagonal Dsplit Dstack
        ExpandDims Flip Fliplr Flipud GetItem Hsplit Hstack Moveaxis Pad Ravel Rearrange Repeat Roll
        Rot90 Slice SpaceToDepth Split Squeeze Stack Swapaxes Take TakeAlongAxis Tile Transpose
        Tril Triu Unstack View Vsplit Vstack Where ExtractPatches CropImages PadImages
        """
    + " ".join(name for name in dir(keras.layers) if name.startswith("Random")),
    Kind.LOOKUP: "Embedding ReversibleEmbedding OneHot CategoryEncoding",
}
KINDS: dict[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}

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
_OVERSHOOTING = ("Subtract", "Resizing", "Resize", "UpSampling2D")
_RELU = ("relu", "relu6")
_SOFTMAX = ("softmax",)
_OF_AN_AXIS = ("softmax", "log_softmax")
_GATES = ("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softmax", "sparsemax")
_NONNEGATIVE = ("exponential", "softplus", "squareplus", "sparse_plus", *_RELU, *_GATES)
_NONNEGATIVE_OPERATIONS = ("Abs", "Absolute", "Fabs", "Exp", "Exp2", "Square", "Sqrt", "Rsqrt")


def kind_of(step: Step) -> Kind:
    """The kind of a step; `Kind.OPAQUE` where the table has no line for its operation."""
    operation = step.operation
    if isinstance(operation, Linear):
        return Kind.LINEAR
    name = keras_name(operation)
    if name in DETACHED:
        return Kind.NORMALIZATION
    if name is None:
        return Kind.OPAQUE if isinstance(operation, keras.Operation) else Kind.ACTIVATION
    if name == "Lambda" and activation_name(operation) is not None:
        return Kind.ACTIVATION
    kind = KINDS.get(name, Kind.OPAQUE)
    if kind in (Kind.SUM, Kind.PRODUCT) and _one_to_one(step, kind):
        return Kind.UNITS
    if name == "UpSampling2D" and operation.interpolation != "nearest":
        return Kind.SUM
    if name == "Dot" and getattr(operation, "normalize", False):
        return Kind.OPAQUE  # opened into two normalisations and a plain product
    return kind


def keras_name(operation) -> str | None:
    """The name of the Keras class whose `call` the operation runs; None if it is not Keras's."""
    for cls in type(operation).__mro__:
        if cls.__module__.startswith("keras."):
            same = getattr(cls, "call", None) is getattr(type(operation), "call", None)
            return cls.__name__ if same else None
    return None


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
    if name in KINDS and KINDS[name] is Kind.ACTIVATION:
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
        return any(_is_number(leaf) and leaf == 0 for leaf in tree.flatten(step.arguments))
    return activation_name(step.operation) in _RELU


def is_softmax(step: Step) -> bool:
    """Whether a step is a softmax, in any form."""
    return activation_name(step.operation) in _SOFTMAX


def annotate(graph: Graph) -> None:
    """Note in each step what the graph tells of its inputs: sign, gates, nearness to the input."""
    nonnegative: set[int] = set()
    gates: set[int] = set()
    near = {id(tensor) for tensor in graph.flat_inputs}
    for step in graph.steps:
        kind = kind_of(step)
        known = [id(tensor) in nonnegative for tensor in step.inputs]
        step.nonnegative = all(known)
        step.gates = tuple(i for i, x in enumerate(step.inputs) if id(x) in gates)
        if isinstance(step.operation, Linear):
            step.operation.nonnegative = step.nonnegative
        step.first = all(id(tensor) in near for tensor in step.inputs)
        written = set(map(id, step.outputs))
        if _writes_nonnegative(step, kind, known):
            nonnegative |= written
        if _writes_gate(step, kind):
            gates |= written
        if step.first and kind in (Kind.SHAPE, Kind.UNITS):
            near |= written


def _writes_nonnegative(step: Step, kind: Kind, known: list[bool]) -> bool:
    name = keras_name(step.operation)
    if kind is Kind.ACTIVATION and activation_name(step.operation) in _NONNEGATIVE:
        return True
    if name in _NONNEGATIVE_OPERATIONS or is_relu(step):
        return True
    if kind in (Kind.SHAPE, Kind.WINNER, Kind.PRODUCT):
        return all(known) and _constants_nonnegative(step)
    adds = kind is Kind.SUM and name not in _OVERSHOOTING
    return adds and all(known) and _constants_nonnegative(step)


def _writes_gate(step: Step, kind: Kind) -> bool:
    if kind is Kind.ACTIVATION:
        return activation_name(step.operation) in _GATES
    return kind in (Kind.SHAPE, Kind.UNITS) and len(step.gates) == len(step.inputs)


def _one_to_one(step: Step, kind: Kind) -> bool:
    """Whether each output number depends on one input number, by constants that are no summands.

    `x * c` scales for any constant c. `x + c` shifts the scale only for a plain number; an array
    is a summand of its own.
    """
    if len(step.inputs) != 1 or step.inputs[0].shape != step.outputs[0].shape:
        return False
    name = keras_name(step.operation)
    args = step.arguments[0]
    if name in ("Add", "Subtract"):
        return len(args) == 2 and any(_is_number(x) for x in args)
    if name in ("Divide", "TrueDivide", "DivideNoNan"):
        return isinstance(args[0], KerasTensor) and not isinstance(args[1], KerasTensor)
    return name == "Multiply" and len(args) == 2 and len(_constants(step)) == 1


def _constants(step: Step) -> list:
    return [x for x in step.arguments[0] if not isinstance(x, (KerasTensor, list, tuple))]


def _constants_nonnegative(step: Step) -> bool:
    """Whether no constant among a step's arguments could bring a negative number in."""
    leaves = tree.flatten(step.arguments)
    return all(
        isinstance(x, (KerasTensor, str, bool, slice, type(None))) or (_is_number(x) and x >= 0)
        for x in leaves
    )


def _is_number(x) -> bool:
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


_ACTIVATION_NAMES = {_snake_case(name) for name, kind in KINDS.items() if kind is Kind.ACTIVATION}
