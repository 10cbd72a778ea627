"""The small models and the methods of `export_table.py`, and how each format is run."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

METHODS = (
    *("gradient", "saliency", "input_t_gradient", "deconvnet", "guided_backprop"),
    *("lrp.z", "lrp.epsilon", "lrp.epsilon_IB", "lrp.gamma", "lrp.alpha_beta", "lrp.z_plus"),
    *("lrp.alpha_1_beta_0", "lrp.flat", "lrp.w_square", "lrp.sequential_preset_a"),
    *("lrp.sequential_preset_b_flat", "lrp.epsilon_plus_flat", "lrp.epsilon_alpha_2_beta_1"),
    *("lrp.epsilon_gamma_box", "lrp.attn", "lrp.excitation_backprop", "deep_taylor"),
    *("deep_taylor.bounded", "deeplift", "deeplift.reveal_cancel", "pattern.net"),
    "pattern.attribution",
)
ARGUMENTS: dict[str, dict] = {
    "lrp.alpha_beta": {"alpha": 2},
    "lrp.epsilon_gamma_box": {"low": -4.0, "high": 4.0},
    "deep_taylor.bounded": {"low": -4.0, "high": 4.0},
}


def mlp():
    """Dense layers with rectifiers and a softmax."""
    return keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, "relu"),
            layers.Dense(7, "relu"),
            layers.Dense(4, "softmax"),
        ]
    )


def cnn():
    """Convolutions, BatchNormalization, overlapping max pooling, average pooling."""
    return keras.Sequential(
        [
            layers.Input((12, 12, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(3, strides=2, padding="same"),
            layers.Conv2D(5, 3, strides=2, activation="relu"),
            layers.AveragePooling2D(2, strides=1),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


def transformer():
    """One block with self-attention."""
    x = layers.Input((6, 4))
    y = layers.Dense(8)(x)
    y = layers.LayerNormalization()(layers.Add()([y, layers.MultiHeadAttention(2, 4)(y, y)]))
    y = layers.LayerNormalization()(layers.Add()([y, layers.Dense(8, "relu")(y)]))
    return keras.Model(x, layers.Dense(4)(layers.GlobalAveragePooling1D()(y)))


def lstm():
    """A recurrent layer over three points in time."""
    return keras.Sequential(
        [layers.Input((3, 3)), layers.Dense(4, "relu"), layers.LSTM(4), layers.Dense(4)]
    )


MODELS: dict[str, Callable] = {f.__name__: f for f in (mlp, cnn, transformer, lstm)}


def built(name: str, rows: int = 5):
    """A model with random weights, biases and statistics, and samples for it."""
    keras.utils.set_random_seed(1)
    model, random = MODELS[name](), np.random.default_rng(2)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "moving_mean")):
            weight.assign(random.normal(0.3, 0.2, weight.shape))
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model, random.normal(size=(rows, *model.input_shape[1:])).astype("float32")


def run_saved_model(path: str, x):
    import tensorflow as tf

    explainer = tf.saved_model.load(path)
    return explainer.serve(x).numpy()


def run_onnx(path: str, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def run_litert(path: str, x):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite.python.interpreter import Interpreter
    runner = Interpreter(path).get_signature_runner()
    (name,) = runner.get_input_details()
    (relevance,) = runner(**{name: x}).values()
    return relevance


RUNTIMES: dict[str, Callable] = {
    "tf_saved_model": run_saved_model,
    "onnx": run_onnx,
    "litert": run_litert,
}
