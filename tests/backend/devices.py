"""What methods say of models whose weights two devices hold, beside one device.

    KERAS_BACKEND=jax XLA_FLAGS=... python -m tests.backend.devices FILE

writes for each model and method both arrays. The devices are two halves of one processor, which JAX
makes when a flag asks for it.
"""

import importlib
import sys
import warnings

import keras
import numpy as np
from keras import tree

import innvestigate
from tests.models import build

MODELS = ("cnn_bn", "two_inputs")
METHODS = ("gradient", "lrp.epsilon", "integrated_gradients", "pattern.net")
ROWS = 7
"""Two devices cannot share them equally."""


def on_two_devices(model):
    """The model, its weights copied to two devices."""
    if keras.backend.backend() == "jax":
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        twin = keras.models.clone_model(model)
        copies = len(twin.variables[0].value.devices())
    else:
        tf = importlib.import_module("tensorflow")
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            twin = keras.models.clone_model(model)
        copies = len(twin.variables[0].value.values)
    assert copies == 2
    twin.set_weights(model.get_weights())
    return twin


def split_processor() -> None:
    """Two devices out of one."""
    if keras.backend.backend() == "tensorflow":
        tf = importlib.import_module("tensorflow")
        (processor,) = tf.config.list_physical_devices("CPU")
        half = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(processor, [half, half])


def explained(method: str, model, x) -> np.ndarray:
    """What a method says in batches of four and three; LRP with books that balance."""
    analyzer = innvestigate.create_analyzer(method, model)
    if method == "pattern.net":
        analyzer.fit(x, batch_size=4)
    check = method.startswith("lrp.")
    results = analyzer.analyze(x, batch_size=4, check=check)
    one = tree.map_structure(lambda x: x[-1:], x)  # fewer than devices
    alone = analyzer.analyze(one)
    pairs = zip(tree.flatten(results), tree.flatten(alone), strict=True)
    return np.concatenate([np.append(r, a) for r, a in pairs])


def main(path: str) -> None:
    warnings.simplefilter("ignore")
    split_processor()
    models = {name: build(name) for name in MODELS}
    found = {}
    for name, (model, x) in models.items():
        x = tree.map_structure(lambda x: np.resize(x, (ROWS, *x.shape[1:])), x)
        for method in METHODS:
            found[f"{name} {method} one"] = explained(method, model, x)
    for name, (model, x) in models.items():
        twin = on_two_devices(model)
        x = tree.map_structure(lambda x: np.resize(x, (ROWS, *x.shape[1:])), x)
        for method in METHODS:
            found[f"{name} {method} two"] = explained(method, twin, x)
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
