"""What every method says of ten models, for a comparison of frameworks.

    KERAS_BACKEND=jax python -m tests.backend.agreement FILE

writes an array for each model, method and input; for a method that refuses a model, the text of the
error is left out and only its type is kept.
"""

import sys
import warnings

import keras
import numpy as np
from keras import tree

import innvestigate
from tests.models import ARGUMENTS, as_letters, build
from tests.test_table import METHODS, OF_LETTERS, REQUIRED

MODELS = (
    *("cnn_bn", "residual", "separable", "squeeze_excite", "segmentation"),
    *("embedding_masked", "lstm", "attention", "two_inputs", "float64"),
)


def reweighted(name: str):
    """A model of the table and its input, with weights that no framework has drawn."""
    model, x = build(name)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            fan = np.prod(variable.shape[:-1])
            variable.assign(random.normal(0, 1 / np.sqrt(fan), variable.shape))
    return model, x


def explained(name: str) -> dict[str, np.ndarray]:
    """What all methods say of a model."""
    model, floats = reweighted(name)
    found = {}
    for method in METHODS:
        keras.utils.set_random_seed(0)
        x = as_letters(floats) if method in OF_LETTERS else floats
        seed = {"seed": 0} if method == "random" else {}
        arguments = {**REQUIRED.get(method, {}), **ARGUMENTS.get(name, {}), **seed}
        try:
            analyzer = innvestigate.create_analyzer(method, model, **arguments)
            analyzer = analyzer.fit(x) if hasattr(analyzer, "fit") else analyzer
            results = tree.flatten(analyzer.analyze(x))
        except ValueError as error:
            results = [np.array(type(error).__name__)]
        found |= {f"{name} {method} {i}": result for i, result in enumerate(results)}
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    np.savez(sys.argv[1], **{k: v for name in MODELS for k, v in explained(name).items()})
