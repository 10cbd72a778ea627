"""What Keras's layers and operations are, by name.

One table maps the names of Keras's layers and operations to a kind, another one to traits. A new
layer type needs one word in the first. Layers of the user's own that inherit from a listed layer
count as that layer unless they override `call`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import keras


class Kind(Enum):
    """Kinds of steps. A value reads as the description that `plan()` prints."""

    LINEAR = "linear, with a kernel"
    SUM = "weighted sum, no kernel"
    NORMALIZATION = "normalisation by the sample's own statistics"
    PRODUCT = "product of tensors"
    WINNER = "winner takes all"
    ACTIVATION = "elementwise activation"
    SOFTMAX = "softmax along an axis"
    ATTENTION = "attention in one piece"
    UNITS = "change of units"
    PASS = "a change of its first tensor"
    SHAPE = "shape only"
    LOOKUP = "look-up of vectors"
    RECURRENT = "a loop over time"
    CONSTANT = "constant, whatever is read"
    OPAQUE = "unknown"


class Trait(Enum):
    """What rules, methods and rewrites ask of an operation besides its kind."""

    ADDS = "a sum of two tensors"
    BATCH_NORMALIZATION = "normalisation by fixed statistics"
    CASTS = "changes the type of numbers"
    CONVOLUTION = "a kernel that is applied at many places"
    DENSE = "a kernel for the last axis"
    ELEMENTWISE = "a product or quotient of numbers in the same place"
    EXTREMUM = "the largest or smallest of numbers in the same place"
    INDEXES = "a choice by indices"
    IN_PLACE = "writes numbers at the places of those that it reads"
    IN_PROPORTION = "writes places that lie over those that it reads, fewer or more of them"
    JOINS = "puts tensors one after the other"
    KEEPS_ORDER = "keeps the order of all numbers"
    MATRICES = "a product of matrices, its first argument on the left"
    MASKING = "zeros at places that do not exist"
    DEPENDS = "an activation whose arguments decide what it does"
    MINIMUM = "the smallest of some numbers"
    NONNEGATIVE = "writes no negative number"
    OF_ONE = "of its kind where it reads a single tensor of numbers"
    OVER_TIME = "a layer that is applied to each point in time"
    OVERSHOOTS = "a sum that may be negative though no summand is"
    PADS = "puts numbers around"
    PERMUTES = "puts axes in another order"
    PICKS = "writes some of the numbers that it reads"
    PLAIN_CONVOLUTION = "a convolution whose kernel's last axes are inputs and outputs"
    QUOTIENT = "divides its first argument by the second"
    RESHAPES = "has other axes for the same numbers in their order"
    SLICES = "reads what a key says"
    SOLVES = "solves equations, linear in their right-hand side"
    SORTS = "moves numbers by their size"


_RANDOM = " ".join(name for name in dir(keras.layers) if name.startswith("Random"))
_NAMES = {
    Kind.SUM: """
        Add Subtract Average Mean Sum Cumsum Nanmean Nansum Nancumsum Diff Trapezoid Trace
        Linspace SegmentSum Scatter Fold Solve SolveTriangular
        FFT FFT2 IFFT2 RFFT IRFFT STFT ISTFT
        Resizing Resize RGBToGrayscale GaussianBlur SobelEdges AffineTransform ElasticTransform
        MapCoordinates PerspectiveTransform ScaleAndTranslate
        AveragePooling1D AveragePooling2D AveragePooling3D AveragePool
        GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
        AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
        AdaptiveAveragePool
        """,
    Kind.PRODUCT: """
        Multiply Dot Matmul Einsum Tensordot Inner Outer Cross Kron Vdot Correlate
        Divide TrueDivide DivideNoNan
        """,
    Kind.WINNER: """
        MaxPooling1D MaxPooling2D MaxPooling3D MaxPool
        GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
        AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AdaptiveMaxPool
        Maximum Minimum Fmax Fmin Max Min Amax Amin Nanmax Nanmin SegmentMax SegmentMin TopK Sort
        Median Quantile Percentile Nanmedian Nanquantile Nanpercentile Logsumexp
        """,
    Kind.ACTIVATION: """
        Activation ReLU LeakyReLU PReLU ELU
        Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus
        LogSigmoid LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink
        Threshold
        Abs Absolute Fabs Arccos Arccosh Arcsin Arcsinh Arctan Arctanh Cbrt Clip Cos Cosh Erf Erfc
        Exp Exp2 Expm1 Log Log10 Log1p Log2 NanToNum Power Reciprocal Rsqrt Sigmoid Sin Sinc Sinh
        Sqrt Square Tan Tanh StopGradient Erfinv I0 Floor Ceil Round Trunc Sign Heaviside
        """,
    Kind.SOFTMAX: "Softmax LogSoftmax Sparsemax",
    Kind.ATTENTION: "DotProductAttention",
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
        Diagflat ExtractSequences Full Meshgrid Select SliceUpdate ScatterUpdate Unfold
        """
    + _RANDOM,
    Kind.CONSTANT: "ZerosLike OnesLike FullLike EmptyLike",
    Kind.LOOKUP: "Embedding ReversibleEmbedding OneHot CategoryEncoding",
    Kind.RECURRENT: """
        LSTM GRU SimpleRNN RNN Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D
        """,
}
KINDS: dict[str, Kind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}

_TRAITS = {
    Trait.ADDS: "Add",
    Trait.BATCH_NORMALIZATION: "BatchNormalization",
    Trait.CASTS: "Cast SaturateCast",
    Trait.CONVOLUTION: """
        Conv1D Conv2D Conv3D Conv DepthwiseConv1D DepthwiseConv2D DepthwiseConv
        Conv1DTranspose Conv2DTranspose Conv3DTranspose ConvTranspose
        SeparableConv1D SeparableConv2D SeparableConv
        """,
    Trait.DENSE: "Dense",
    Trait.DEPENDS: "Clip Threshold Power ReLU Maximum Minimum Fmax Fmin",
    Trait.ELEMENTWISE: "Multiply Divide TrueDivide DivideNoNan",
    Trait.EXTREMUM: "Maximum Minimum Fmax Fmin",
    Trait.INDEXES: "Take TakeAlongAxis",
    Trait.IN_PLACE: """
        Add Subtract Average Multiply Divide TrueDivide DivideNoNan Maximum Minimum Fmax Fmin Where
        Concatenate Append BatchNormalization Dense Matmul Masking Copy ConvertToTensor
        """
    + _RANDOM,
    Trait.IN_PROPORTION: """
        AveragePooling1D AveragePooling2D AveragePooling3D AveragePool
        MaxPooling1D MaxPooling2D MaxPooling3D MaxPool
        AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
        AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D
        AdaptiveAveragePool AdaptiveMaxPool
        UpSampling1D UpSampling2D UpSampling3D Resizing Resize
        """,
    Trait.JOINS: "Concatenate Append Stack",
    Trait.KEEPS_ORDER: """
        Reshape Flatten Ravel ExpandDims Squeeze Identity ActivityRegularization
        Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout GaussianDropout
        GaussianNoise
        """,
    Trait.MASKING: "Masking",
    Trait.MINIMUM: "Minimum Fmin Min Amin Nanmin SegmentMin",
    Trait.NONNEGATIVE: "Abs Absolute Fabs Exp Exp2 Square Sqrt Rsqrt ZerosLike OnesLike",
    Trait.OF_ONE: """
        Average AffineTransform MapCoordinates PerspectiveTransform ScaleAndTranslate Solve
        SolveTriangular Power Heaviside
        """,
    Trait.OVER_TIME: "TimeDistributed",
    Trait.OVERSHOOTS: """
        Subtract Resizing Resize UpSampling2D Cross Diff Linspace Trapezoid Solve SolveTriangular
        FFT FFT2 IFFT2 RFFT IRFFT STFT ISTFT AffineTransform ElasticTransform MapCoordinates
        PerspectiveTransform ScaleAndTranslate SobelEdges
        """,
    Trait.PADS: "ZeroPadding1D ZeroPadding2D ZeroPadding3D Pad",
    Trait.PERMUTES: "Permute Transpose Swapaxes Moveaxis",
    Trait.PICKS: """
        MaxPooling1D MaxPooling2D MaxPooling3D MaxPool
        GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
        Maximum Minimum Max Min Amax Amin
        """,
    Trait.PLAIN_CONVOLUTION: "Conv1D Conv2D Conv3D",
    Trait.QUOTIENT: "Divide TrueDivide DivideNoNan",
    Trait.RESHAPES: "Reshape View Ravel Flatten",
    Trait.MATRICES: "Matmul",
    Trait.SLICES: "GetItem",
    Trait.SOLVES: "Solve SolveTriangular",
    Trait.SORTS: """
        TopK Sort Median Quantile Percentile Nanmedian Nanquantile Nanpercentile Logsumexp
        """,
}
TRAITS: dict[Trait, frozenset[str]] = {t: frozenset(names.split()) for t, names in _TRAITS.items()}


def keras_name(operation) -> str | None:
    """The name of the Keras class whose `call` the operation runs; None if it is not Keras's."""
    for cls in type(operation).__mro__:
        if cls.__module__.startswith("keras."):
            same = getattr(cls, "call", None) is getattr(type(operation), "call", None)
            return cls.__name__ if same else None
    return None


def has(operation: Any, trait: Trait) -> bool:
    """Whether an operation is one of Keras's that have a trait."""
    return keras_name(operation) in TRAITS[trait]
