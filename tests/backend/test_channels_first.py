"""Images whose channels come first get the relevance of their twins whose channels come last.

On JAX, whose convolutions run that way on a CPU; TensorFlow's do not.
"""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import warnings
import keras, numpy as np, innvestigate
from keras import layers
warnings.simplefilter("ignore")
METHODS = {
    "gradient": {},
    "lrp.alpha_2_beta_1": {},
    "lrp.epsilon_gamma_box": {"low": -5, "high": 5},
    "deeplift": {},
    "pattern.net": {"pattern_type": "linear"},
}

def network(where):
    axis, last = (-1, True) if where == "channels_last" else (1, False)
    form = {"data_format": where}
    x = keras.Input((9, 8, 3) if last else (3, 9, 8))
    y = layers.BatchNormalization(axis=axis)(layers.Conv2D(4, 3, **form)(x))
    y = layers.ZeroPadding2D(1, **form)(layers.AveragePooling2D(2, **form)(layers.ReLU()(y)))
    y = layers.SeparableConv2D(4, 2, depth_multiplier=2, activation="relu", **form)(y)
    y = layers.Conv2DTranspose(4, 3, **form)(layers.UpSampling2D(2, **form)(y))
    y = layers.GlobalMaxPooling2D(**form)(layers.GroupNormalization(2, axis=axis)(y))
    return keras.Model(x, layers.Dense(3)(y))

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
last, first = network("channels_last"), network("channels_first")
weights = [abs(w) + rng.uniform(-0.2, 0.3, w.shape) for w in last.get_weights()]
last.set_weights(weights)
first.set_weights(weights)
x = rng.normal(size=(3, 9, 8, 3)).astype("float32")
for method, arguments in METHODS.items():
    found = []
    for model, data in ((last, x), (first, x.transpose(0, 3, 1, 2))):
        analyzer = innvestigate.create_analyzer(method, model, **arguments)
        if hasattr(analyzer, "fit"):
            analyzer.fit(data)
        found.append(analyzer.analyze(data))
    expected = found[0].transpose(0, 3, 1, 2)
    assert np.abs(expected).max() > 1e-4, method
    np.testing.assert_allclose(
        found[1], expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max(), err_msg=method
    )
"""


@pytest.mark.slow
def test_channels_may_come_first():
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
