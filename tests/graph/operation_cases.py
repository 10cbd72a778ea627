"""Every operation of keras.ops in a small functional model.

What can be guessed is: an operation is called on one, two or a list of tensors. `CASES` says how to
call the others, `OUTSIDE` which ones no functional model can hold.
"""

import inspect

import keras
import numpy as np
from keras import ops

from tests.frameworks import NAME

FLAT, SQUARE, IMAGE = (6,), (4, 4), (8, 8, 3)
WINDOW = np.hanning(5).astype("float32")[:, None, None]
KERNEL = np.random.default_rng(7).normal(size=(3, 3, 3, 2)).astype("float32")
MATRIX = np.eye(4, dtype="float32") + 0.1
SHIFT = np.float32([[1, 0, 0.5, 0, 1, 0.25, 0, 0]])
CORNERS = np.float32([[[0, 0], [7, 0], [0, 7], [7, 7]]])
IDS = np.array([0, 1, 1, 0, 2, 2])
STRIDES = 2 if NAME == "jax" else None  # Keras's pooling has no default of them on JAX


def by_column(x):
    """x with its second axis first, as for operations along the first axis."""
    return ops.transpose(x, [1, 0, *range(2, len(x.shape))])


def symmetric(x):
    """A symmetric, positive definite matrix for each sample."""
    return ops.matmul(x, ops.transpose(x, (0, 2, 1))) + np.eye(4, dtype="float32")


def along(function, **kwargs):
    return lambda x: function(x, axis=1, **kwargs)


def added(carry, x):
    return carry + x, carry * x


REDUCTIONS = (
    *("all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "logsumexp"),
    *("max", "mean", "median", "min", "nanargmax", "nanargmin", "nanmax", "nanmean", "nanmin"),
    *("nanprod", "nanstd", "nansum", "nanvar", "prod", "ptp", "std", "sum", "var", "norm"),
    *("cumprod", "cumsum", "nancumprod", "nancumsum"),
)
WHOLE = (
    *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift"),
    *("left_shift", "right_shift", "gcd", "lcm", "bitwise_invert", "bitwise_not"),
)
MATRICES = ["cholesky", "det", "eigh", "inv", "logdet", "pinv", "qr", "svd"]

# The shape of the input, and what is called on it.
CASES = {
    **{name: (FLAT, along(getattr(ops, name))) for name in REDUCTIONS},
    **{name: (FLAT, lambda x, name=name: _on_whole(name, x)) for name in WHOLE},
    **{name: (SQUARE, lambda x, name=name: getattr(ops, name)(symmetric(x))) for name in MATRICES},
    "append": (FLAT, lambda x: ops.append(x, 2 * x, axis=1)),
    "argpartition": (FLAT, lambda x: ops.argpartition(x, 2)),
    "arccosh": (FLAT, lambda x: ops.arccosh(1 + x)),
    "array_split": (FLAT, lambda x: ops.array_split(x, 2, axis=1)),
    "associative_scan": (FLAT, lambda x: ops.associative_scan(ops.multiply, x, axis=1)),
    "average_pool": (IMAGE, lambda x: ops.average_pool(x, 2, STRIDES)),
    "batch_normalization": (
        FLAT,
        lambda x: ops.batch_normalization(
            x, 0.1 * np.ones(6, "float32"), np.ones(6, "float32"), -1, *affine()
        ),
    ),
    "bincount": (FLAT, lambda x: ops.bincount(ops.cast(x, "int32"), minlength=3)),
    "broadcast_to": (FLAT, lambda x: ops.broadcast_to(ops.sum(x), (2, 6))),
    "cast": (FLAT, lambda x: ops.cast(x, "float64")),
    "cdist": (SQUARE, lambda x: ops.cdist(x, 2 * x + 1)),
    "cholesky_inverse": (SQUARE, lambda x: ops.cholesky_inverse(ops.cholesky(symmetric(x)))),
    "clip": (FLAT, lambda x: ops.clip(x, 0.3, 0.6)),
    "concatenate": (FLAT, lambda x: ops.concatenate([x, 2 * x], axis=1)),
    "conv": (IMAGE, lambda x: ops.conv(x, KERNEL)),
    "correlate": (FLAT, lambda x: ops.correlate(ops.mean(x, axis=0), np.float32([1, 2]))),
    "cross": (SQUARE, lambda x: ops.cross(x[:, :, :3], 1 - ops.flip(x, 1)[:, :, :3])),
    "depth_to_space": (
        (4, 4, 4),
        lambda x: ops.depth_to_space(x, 2, data_format="channels_last"),
    ),
    "depthwise_conv": (IMAGE, lambda x: ops.depthwise_conv(x, KERNEL)),
    "diag": (FLAT, lambda x: ops.diag(ops.mean(x, axis=0))),
    "diagflat": (FLAT, lambda x: ops.diagflat(ops.mean(x, axis=0))),
    "diagonal": (SQUARE, lambda x: ops.diagonal(x, axis1=1, axis2=2)),
    "digitize": (FLAT, lambda x: ops.digitize(x, np.float32([0.2, 0.5]))),
    "dot": (FLAT, lambda x: ops.dot(x, np.ones((6, 2), "float32"))),
    "dot_product_attention": (
        (4, 2, 3),
        lambda x: ops.dot_product_attention(x, 2 * x, 1 - x),
    ),
    "dsplit": (SQUARE, lambda x: ops.dsplit(x, 2)),
    "einsum": (SQUARE, lambda x: ops.einsum("bij,bkj->bik", x, 1 - x)),
    "expand_dims": (FLAT, lambda x: ops.expand_dims(x, 1)),
    "extract_sequences": (FLAT, lambda x: ops.extract_sequences(x, 3, 1)),
    "fft": (FLAT, lambda x: ops.fft((x, 1 - x))),
    "fft2": (SQUARE, lambda x: ops.fft2((x, 1 - x))),
    "flip": (FLAT, along(ops.flip)),
    "fliplr": (SQUARE, ops.fliplr),
    "fold": ((4, 9), lambda x: ops.nn.fold(x, (4, 4), 2)),
    "fori_loop": (FLAT, lambda x: ops.fori_loop(0, 2, lambda i, y: 2.0 * y + 1.0, x)),
    "full": (FLAT, lambda x: ops.full((3,), ops.mean(x))),
    "full_like": (FLAT, lambda x: x + ops.full_like(x, 2.0)),
    "geomspace": (FLAT, lambda x: ops.geomspace(x, x + 1, num=3)),
    "get_item": (FLAT, lambda x: ops.get_item(x, (slice(None), 1))),
    "glu": (FLAT, ops.glu),
    "heaviside": (FLAT, lambda x: ops.heaviside(x - 0.5, np.float32(0.5))),
    "histogram": (FLAT, lambda x: ops.histogram(x[0], bins=3, range=(0, 1))[0]),
    "hsplit": (FLAT, lambda x: ops.hsplit(x, 2)),
    "ifft2": (SQUARE, lambda x: ops.ifft2((x, 1 - x))),
    "in_top_k": (FLAT, lambda x: ops.in_top_k(ops.cast(x[:, 0], "int32"), x, 2)),
    "irfft": (FLAT, lambda x: ops.irfft((x, 1 - x))),
    "isin": (FLAT, lambda x: ops.isin(x, np.float32([0.5]))),
    "istft": (SQUARE, lambda x: ops.istft((x[:, :, :3], 1 - x[:, :, 1:]), 4, 2, 4)),
    "layer_normalization": (FLAT, lambda x: ops.layer_normalization(x, *affine())),
    "ldexp": (FLAT, lambda x: ops.ldexp(x, np.int32([1, 2, 3, 0, 1, 2]))),
    "linspace": (FLAT, lambda x: ops.linspace(x, 2 * x + 1, num=3)),
    "logspace": (FLAT, lambda x: ops.logspace(x, x + 1, num=3)),
    "lstsq": (SQUARE, lambda x: ops.lstsq(x[0] + MATRIX, x[0, :, 0])),
    "map": (SQUARE, lambda x: ops.map(lambda y: y * y + 1.0, by_column(x))),
    "matmul": (SQUARE, lambda x: ops.matmul(x, 1 - x)),
    "matrix_rank": (SQUARE, ops.matrix_rank),
    "max_pool": (IMAGE, lambda x: ops.max_pool(x, 2, STRIDES)),
    "meshgrid": (FLAT, lambda x: ops.meshgrid(ops.mean(x, axis=0), ops.max(x, axis=0))),
    "moments": (FLAT, lambda x: ops.moments(x, axes=[1])),
    "moveaxis": (SQUARE, lambda x: ops.moveaxis(x, 1, 2)),
    "multi_hot": (FLAT, lambda x: ops.multi_hot(ops.cast(3 * x, "int32"), 3)),
    "one_hot": (FLAT, lambda x: ops.one_hot(ops.cast(3 * x, "int32"), 3)),
    "pad": (FLAT, lambda x: ops.pad(x, ((0, 0), (1, 2)))),
    "percentile": (FLAT, lambda x: ops.percentile(x, 30, axis=1)),
    "power": (FLAT, lambda x: ops.power(x + 1, 2 * ops.flip(x, 1))),
    "psnr": (FLAT, lambda x: ops.psnr(x, 1 - x, 1.0)),
    "quantile": (FLAT, lambda x: ops.quantile(x, 0.3, axis=1)),
    "rearrange": (SQUARE, lambda x: ops.rearrange(x, "b i j -> b (i j)")),
    "repeat": (FLAT, along(ops.repeat, repeats=2)),
    "reshape": (FLAT, lambda x: ops.reshape(x, (-1, 2, 3))),
    "rms_normalization": (FLAT, lambda x: ops.rms_normalization(x, affine()[0])),
    "roll": (FLAT, along(ops.roll, shift=1)),
    "rot90": (SQUARE, lambda x: ops.rot90(x, axes=(1, 2))),
    "saturate_cast": (FLAT, lambda x: ops.saturate_cast(x, "float64")),
    "scan": (SQUARE, lambda x: ops.scan(added, x[:, 0], by_column(x))),
    "scatter": (
        FLAT,
        lambda x: ops.scatter(np.array([[0], [1], [1], [2], [2], [4]]), by_column(x), (5, 3)),
    ),
    "scatter_update": (
        FLAT,
        lambda x: ops.scatter_update(by_column(x), np.array([[1], [3]]), 2 * by_column(x[:, :2])),
    ),
    "searchsorted": (FLAT, lambda x: ops.searchsorted(np.float32([0.2, 0.5]), x[0])),
    "segment_max": (FLAT, lambda x: ops.segment_max(by_column(x), IDS, 3)),
    "segment_min": (FLAT, lambda x: ops.segment_min(by_column(x), IDS, 3)),
    "segment_prod": (FLAT, lambda x: ops.segment_prod(by_column(x), IDS, 3)),
    "segment_sum": (FLAT, lambda x: ops.segment_sum(by_column(x), IDS, 3)),
    "select": (FLAT, lambda x: ops.select([np.array([True, False] * 3)], [2 * x], 1 - x)),
    "separable_conv": (
        IMAGE,
        lambda x: ops.separable_conv(x, KERNEL, np.ones((1, 1, 6, 2), "float32")),
    ),
    "slice": (FLAT, lambda x: ops.slice(x, (0, 1), (3, 2))),
    "slice_update": (FLAT, lambda x: ops.slice_update(x, (0, 1), 2 * x[:, :2])),
    "solve": (SQUARE, lambda x: ops.solve(x + 4 * np.eye(4, dtype="float32"), x)),
    "solve_triangular": (
        SQUARE,
        lambda x: ops.solve_triangular(np.tril(np.ones((3, 4, 4), "float32")), x, lower=True),
    ),
    "space_to_depth": (
        (4, 4, 1),
        lambda x: ops.space_to_depth(x, 2, data_format="channels_last"),
    ),
    "split": (FLAT, lambda x: ops.split(x, 2, axis=1)),
    "squeeze": ((6, 1), along(lambda x, axis: ops.squeeze(x, 2))),
    "stft": ((32,), lambda x: ops.stft(x, 8, 4, 8)),
    "swapaxes": (SQUARE, lambda x: ops.swapaxes(x, 1, 2)),
    "take": (FLAT, along(ops.take, indices=np.array([0, 2]))),
    "take_along_axis": (FLAT, lambda x: ops.take_along_axis(x, ops.argsort(x, axis=1), axis=1)),
    "tensordot": (SQUARE, lambda x: ops.tensordot(x, np.ones((4, 2), "float32"), 1)),
    "threshold": (FLAT, lambda x: ops.threshold(x, 0.4, 0.1)),
    "tile": (FLAT, lambda x: ops.tile(x, (1, 2))),
    "top_k": (FLAT, lambda x: ops.top_k(x, 2)[0]),
    "trace": (SQUARE, lambda x: ops.trace(x, axis1=1, axis2=2)),
    "tril": (SQUARE, ops.tril),
    "triu": (SQUARE, ops.triu),
    "unfold": ((3, 4, 4), lambda x: ops.unfold(x, 2)),
    "unravel_index": (FLAT, lambda x: ops.unravel_index(ops.cast(3 * x, "int32"), (2, 2))),
    "unstack": (FLAT, along(ops.unstack, num=6)),
    "vander": (FLAT, lambda x: ops.vander(ops.mean(x, axis=0), 3)),
    "vdot": (FLAT, lambda x: ops.vdot(ops.mean(x, axis=0), ops.max(x, axis=0))),
    "vectorized_map": (
        SQUARE,
        lambda x: ops.vectorized_map(lambda y: y * y + 1.0, by_column(x)),
    ),
    "view": (FLAT, lambda x: ops.view(x, "int32")),
    "vsplit": (SQUARE, lambda x: ops.vsplit(by_column(x), 2)),
    "where": (FLAT, lambda x: ops.where(np.array([True, False] * 3), 2 * x, 1 - x)),
    "while_loop": (
        FLAT,
        lambda x: ops.while_loop(lambda y: ops.max(y) < 9.0, lambda y: (2.0 * y,), (x,)),
    ),
    "binary_crossentropy": (FLAT, lambda x: ops.binary_crossentropy(ops.flip(x, 1), x)),
    "categorical_crossentropy": (FLAT, lambda x: ops.categorical_crossentropy(ops.flip(x, 1), x)),
    "sparse_categorical_crossentropy": (
        FLAT,
        lambda x: ops.sparse_categorical_crossentropy(ops.cast(x[:, 0], "int32"), x),
    ),
    "image.affine_transform": (
        IMAGE,
        lambda x: ops.image.affine_transform(x, np.repeat(SHIFT, 3, axis=0)),
    ),
    "image.crop_images": (IMAGE, lambda x: ops.image.crop_images(x, 1, 1, 1, 1)),
    "image.extract_patches": (IMAGE, lambda x: ops.image.extract_patches(x, (2, 2))),
    "image.extract_patches_3d": (
        (4, 4, 4, 1),
        lambda x: ops.image.extract_patches_3d(x, (2, 2, 2)),
    ),
    "image.map_coordinates": (
        IMAGE,
        lambda x: ops.image.map_coordinates(x[:, :, 0, 0], np.ones((2, 3), "float32") * 0.5, 1),
    ),
    "image.pad_images": (IMAGE, lambda x: ops.image.pad_images(x, 1, 1, 1, 1)),
    "image.perspective_transform": (
        IMAGE,
        lambda x: ops.image.perspective_transform(
            x, np.repeat(CORNERS, 3, axis=0), np.repeat(CORNERS * 0.9, 3, axis=0)
        ),
    ),
    "image.resize": (IMAGE, lambda x: ops.image.resize(x, (5, 5))),
    "image.scale_and_translate": (
        IMAGE,
        lambda x: ops.image.scale_and_translate(
            x, (3, 5, 5, 3), np.float32([0.6, 0.6]), np.float32([0, 0]), (1, 2), "linear"
        ),
    ),
    "image.sobel_edges": ((4, 5, 1), ops.image.sobel_edges),
    "image.ssim": ((16, 16, 1), lambda x: ops.image.ssim(x, 1 - x)),
}

# Operations that no functional model of this kind can hold, and why.
OUTSIDE = {
    name: why
    for why, listed in {
        "makes a constant": """
            arange array bartlett blackman empty eye hamming hanning identity kaiser ones tri zeros
            """,
        "tells of a tensor, or takes it out of the model": """
            convert_to_numpy dtype is_tensor ndim shape size
            """,
        "takes functions, which read other tensors": "cond custom_gradient jvp vectorize",
        "chooses a function by a number": "switch",
        "a search, run on results": "ctc_decode",
        "a loss, which a model is trained by": "ctc_loss",
        "draws random numbers, to augment images": "image.elastic_transform",
        "Keras 3.15 takes it to write another shape or type than it does": """
            adaptive_average_pool adaptive_max_pool eig lu_factor slogdet unique
            """,
        "Keras 3.15 cannot run it, or not on TensorFlow for any number of samples": """
            conv_transpose corrcoef inner kron nanmedian nanpercentile nanquantile view_as_complex
            view_as_real
            """,
    }.items()
    for name in listed.split()
}


def names() -> list[str]:
    """All operations of keras.ops, each by its shortest name."""
    found = {}
    for prefix, module in (
        ("", ops),
        *((f"{m}.", getattr(ops, m)) for m in ("image", "nn", "linalg")),
    ):
        for name in dir(module):
            operation = getattr(module, name)
            if inspect.isfunction(operation) and not name.startswith("_"):
                found.setdefault(operation, prefix + name)
    return sorted(found.values())


class Called(keras.layers.Layer):
    """A layer of the user's own that calls an operation."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def model_of(name: str, within=lambda call: call) -> keras.Model:
    """A functional model of one operation.

    Args:
        name: The operation's name.
        within: Makes of what calls the operation what the model holds, such as `Called`.

    Raises:
        ValueError: If nobody knows how to call it.
    """
    shape, calls = FLAT, _guesses(name)
    if name.removeprefix("nn.") in CASES:
        shape, call = CASES[name.removeprefix("nn.")]
        calls = [call]
    errors = []
    for call in calls:
        x = keras.Input(batch_shape=(3, *shape))
        try:
            found = keras.tree.flatten(within(call)(x))
            numbers = [y for y in found if "float" in y.dtype] or found
            return keras.Model(x, _one_row_each(numbers[0]))
        except Exception as error:
            errors.append(repr(error)[:200])
    raise ValueError(f"How is ops.{name} called? Add it to CASES or OUTSIDE. {errors}")


def sample(model: keras.Model) -> np.ndarray:
    """An input in (0, 1), where all operations are defined."""
    return np.random.default_rng(0).uniform(0.1, 0.9, model.input_shape).astype("float32")


def _one_row_each(y):
    """All numbers of y for each sample: its own, or those of all where samples are mixed."""
    own = y.shape and y.shape[0] == 3
    return ops.reshape(y, (3, -1)) if own else ops.repeat(ops.reshape(y, (1, -1)), 3, axis=0)


def _guesses(name: str) -> list:
    operation = ops
    for part in name.split("."):
        operation = getattr(operation, part)
    image = lambda x: ops.reshape(ops.repeat(x, 2, axis=1), (-1, 2, 2, 3))  # noqa: E731
    return [
        operation,
        lambda x: operation(x, 1 - ops.flip(x, 1)),
        lambda x: operation([x, 1 - ops.flip(x, 1)]),
        lambda x: operation(image(x)),
    ]


def _on_whole(name: str, x):
    whole = ops.cast(9 * x, "int32")
    operation = getattr(ops, name)
    return (
        operation(whole)
        if name in ("bitwise_invert", "bitwise_not")
        else operation(whole, np.int32([1, 2, 3, 1, 2, 3]))
    )


def affine():
    """A scale and a shift for six numbers."""
    return np.linspace(0.5, 1.5, 6).astype("float32"), np.linspace(-0.1, 0.2, 6).astype("float32")
