"""Every kind of analyzer, saved by one process and loaded by another one.

`python -m tests.engine.round_trip save folder` and then `load folder`: each writes its results.
"""

import pickle
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

import innvestigate
from innvestigate import rules
from innvestigate.analyzer import GaussianSmoother, PathIntegrator
from innvestigate.genomics import ShuffledReferences
from tests.engine.test_storage import create
from tests.models import build, floats
from tests.test_table import METHODS


@innvestigate.register_rule("linear")
@keras.saving.register_keras_serializable("round_trip")
class Scaled(layers.Layer):
    """A layer of the user's own whose kind is registered."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="random_normal")

    def call(self, x):
        return self.scale * x


@innvestigate.register_rule(rules.Gradient())
@keras.saving.register_keras_serializable("round_trip")
class Waves(layers.Layer):
    """A layer of the user's own that has a rule."""

    def call(self, x):
        return x + keras.ops.sin(x)


def own_layers():
    parts = layers.Dense(6, "relu"), Scaled(), Waves(), layers.Dense(4)
    return keras.Sequential([layers.Input((5,)), *parts]), floats(5)


def sentences():
    words = layers.TextVectorization(output_sequence_length=5)
    x = np.array(["a good film", "the film was bad", "good"])
    words.adapt(x)
    parts = words, layers.Embedding(10, 4, mask_zero=True), layers.GRU(4), layers.Dense(2)
    return keras.Sequential([layers.Input((), dtype="string"), *parts]), x


def letters():
    x = layers.Input((3,), dtype="string")
    y = layers.Embedding(5, 4)(layers.StringLookup(vocabulary=["a", "b"])(x))
    return keras.Model(x, layers.Dense(2)(layers.Flatten()(y))), np.array([["a", "b", "c"]])


def quantized():
    model = keras.Sequential([layers.Input((6,)), layers.Dense(8, "relu"), layers.Dense(2)])
    model.quantize("int8")
    return model, floats(6)


def sequences():
    x = np.eye(4, dtype="float32")[np.random.default_rng(0).integers(0, 4, (3, 12))]
    parts = layers.Conv1D(5, 3, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(2)
    return keras.Sequential([layers.Input((12, 4)), *parts]), x


def language_model():
    import keras_hub

    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    backbone = keras_hub.models.BertBackbone(20, **sizes, max_sequence_length=6)
    tokens = np.array([[1, 2, 3, 4], [5, 6, 0, 0]], "int32")
    x = {"token_ids": tokens, "segment_ids": 0 * tokens, "padding_mask": tokens > 0}
    return keras_hub.models.BertTextClassifier(backbone, 2, preprocessor=None), x


MODELS = (own_layers, sentences, letters, quantized, sequences, language_model)
CASES = {
    "own_layers": [("lrp.epsilon", {}), ("deeplift", {})],
    "sentences": [("gradient", {}), ("integrated_gradients", {"steps": 3}), ("lrp.attn", {})],
    "letters": [("input_t_gradient", {})],
    "quantized": [("lrp.epsilon", {})],
    "sequences": [
        ("deeplift", {"reference_inputs": ShuffledReferences(n=2, seed=5)}),
        ("deeplift", {"hypothetical": True}),
        ("in_silico_mutagenesis", {"subtract_mean": True}),
    ],
    "language_model": [("lrp.attn", {"neuron_selection_mode": "all"}), ("gradient", {})],
    "lstm": [("lrp.epsilon", {}), ("deeplift", {}), ("gradient", {})],
    "gru": [("lrp.attn", {}), ("saliency", {})],
    "attention": [("lrp.attn", {"attention_rule": "cp"}), ("lrp.attn", {}), ("lrp.z", {})],
    "cnn_bn": [("lrp.sequential_preset_b_flat", {}), ("lrp.epsilon_plus", {}), ("occlusion", {})],
    "two_inputs": [("lrp.gamma", {}), ("shapley_sampling", {"samples": 2, "seed": 1})],
    "dict_inputs": [("integrated_gradients", {"steps": 3})],
    "two_outputs": [("deep_taylor", {"output": "b"})],
    "variable_size": [("guided_backprop", {})],
    "embedding_masked": [("smoothgrad", {"seed": 0, "augment_by_n": 3})],
    "nested": [("lrp.alpha_2_beta_1", {"layers": ["input"]})],
}


def analyzers():
    """Each analyzer by a name, and what it explains."""
    keras.utils.set_random_seed(0)
    own = {maker.__name__: maker() for maker in MODELS}
    for name in METHODS:
        yield name, *create(name)
    for model, methods in CASES.items():
        network, x = own.get(model) or build(model)
        for i, (method, arguments) in enumerate(methods):
            made = innvestigate.create_analyzer(method, network, **arguments)
            yield f"{model}.{i}.{method}", made, x
    fitted, x = create("pattern.net", neuron_selection_mode="all")
    path = PathIntegrator(fitted, steps=2, reference_inputs=np.ones(5))
    yield "wrapped", GaussianSmoother(path, augment_by_n=2, seed=1), x


def save(folder):
    """Save all analyzers, and what they explain."""
    for name, analyzer, x in analyzers():
        analyzer.save(folder / f"{name}.zip")
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(x))
        keep(folder, name, "saved", analyzer.analyze(x))


def load(folder):
    """Load all analyzers and let them explain the same."""
    for path in sorted(folder.glob("*.zip")):
        x = pickle.loads(path.with_name(f"{path.stem}.pickle").read_bytes())
        keep(folder, path.stem, "loaded", innvestigate.load_analyzer(path).analyze(x))


def keep(folder, name, kind, result):
    arrays = keras.tree.flatten(result)
    np.savez(folder / f"{name}.{kind}.npz", *arrays)


if __name__ == "__main__":
    {"save": save, "load": load}[sys.argv[1]](Path(sys.argv[2]))
