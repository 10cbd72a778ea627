"""Writes the reference values of the original program, `innvestigate/<network>.npz`.

    pip install innvestigate==2.1.2 tensorflow==2.14.1    # Python 3.10, from PyPI
    python tests/references/make_innvestigate.py [network ...]

Eager execution is off and the learning phase 0, as the program asks for. Every value comes from a
fresh model in a fresh session. Defects that ours does not share (docs/differences.md) are mended
below by changing what the original is handed or what it looks up; its formulas are untouched.
"""

import itertools
import sys
from pathlib import Path

import cases
import networks
import numpy as np
import tensorflow as tf
from innvestigate.analyzer.relevance_based import relevance_analyzer, relevance_rule
from keras.src.engine import base_layer_utils

import innvestigate
from innvestigate.analyzer import deeptaylor, gradient_based
from innvestigate.backend import checks, graph

keras = tf.keras
FOLDER = Path(__file__).parent / "innvestigate"


class Statistics:
    """A BatchNormalization as the original's formulas should have read it.

    They are gamma / sqrt(variance^2 + eps) and beta - mean / sqrt(variance^2 + eps): handed
    sqrt(variance) and gamma * mean, they give the layer's own kernel and bias.
    """

    def __init__(self, layer):
        self.layer = layer
        gamma, beta, mean, variance = layer.weights
        self.weights = [gamma, beta, gamma * mean, tf.sqrt(variance)]

    def __getattr__(self, name):
        return getattr(self.layer, name)


def mend_batch_normalization():
    original = graph.apply_mapping_to_fused_bn_layer

    def mended(mapping, fuse_mode="one_linear"):
        create = original(mapping, fuse_mode=fuse_mode)
        return lambda layer, reverse_state: create(Statistics(layer), reverse_state)

    graph.apply_mapping_to_fused_bn_layer = mended


class Turns:
    """Two layers that take turns."""

    def __init__(self, *layers):
        self.layers = itertools.cycle(layers)

    def __call__(self, x):
        return next(self.layers)(x)


def mend_alpha_beta_bias():
    """z+ = W+ x+ + W- x- + b+ (and z- alike): the rule adds b+ + b- to both.

    It calls the positive layer, then the negative one, for z+; in the other order for z-. The
    second call of each pair, on the negative inputs, must not bring a bias in.
    """
    rule = relevance_rule.AlphaBetaRule
    original = rule.__init__

    def mended(self, layer, *args, bias=True, **kwargs):
        original(self, layer, *args, bias=False, **kwargs)
        if bias and getattr(layer, "use_bias", False):
            up, down = self._layer_wo_act_positive, self._layer_wo_act_negative
            up._name, down._name = f"{up.name}_without_bias", f"{down.name}_without_bias"
            original(self, layer, *args, bias=True, **kwargs)
            if self._beta:
                self._layer_wo_act_positive = Turns(self._layer_wo_act_positive, up)
                self._layer_wo_act_negative = Turns(down, self._layer_wo_act_negative)
            else:
                self._layer_wo_act_negative = down

    rule.__init__ = mended


def mend_start_of_rectifier_methods():
    """DeconvNet and Guided Backprop start from one, as the gradient does, not from the output."""
    head = gradient_based.Gradient._head_mapping
    gradient_based.Deconvnet._head_mapping = head
    gradient_based.GuidedBackprop._head_mapping = head


def mend_deep_taylor():
    """The line for rectifiers takes every layer without a kernel, before the lines for them.

    Rectifiers then pass relevance as they do inside a layer, sums and averages share it.
    """
    share = {
        "deep_taylor_add": relevance_analyzer.AddReverseLayer,
        "deep_taylor_average_pooling": relevance_analyzer.AveragePoolingReverseLayer,
    }
    original = deeptaylor.DeepTaylor._add_conditional_reverse_mapping

    def mended(self, condition, mapping, priority=-1, name=None):
        if name == "deep_taylor_relu":
            condition = lambda layer: isinstance(layer, keras.layers.ReLU)  # noqa: E731
            passed = lambda layer: isinstance(layer, keras.layers.Activation)  # noqa: E731
            original(self, passed, lambda _x, _y, r, _state: r, priority, name="passed")
        original(self, condition, share.get(name, mapping), priority, name)

    deeptaylor.DeepTaylor._add_conditional_reverse_mapping = mended


def mend_first_layers():
    """A layer behind padding only is a first layer too."""
    original = checks.is_input_layer

    def mended(layer, *args, **kwargs):
        sources = checks.get_input_layers(layer)
        padded = sources and all(isinstance(s, keras.layers.ZeroPadding2D) for s in sources)
        return all(map(mended, sources)) if padded else original(layer, *args, **kwargs)

    checks.is_input_layer = mended


def explain(network, label, mode):
    """The original's value in one mode."""
    keras.backend.clear_session()
    keras.backend.set_learning_phase(0)
    arguments = cases.arguments(label)
    x = networks.inputs(network)
    if network == "separable" and label not in cases.ON_LAYERS_AS_THEY_ARE:
        network = "separable_opened"
        if "until_layer_idx" in arguments:
            arguments["until_layer_idx"] = 4  # both separable layers are four here
    analyzer = innvestigate.create_analyzer(
        cases.CASES[label][0],
        networks.build(network, keras),
        neuron_selection_mode=mode,
        disable_model_checks=True,
        **arguments,
    )
    return analyzer.analyze(x, *([cases.INDEX] if mode == "index" else []))


def main(chosen):
    tf.compat.v1.disable_eager_execution()
    base_layer_utils._UNSAFE_GRAPH_OP_LAYER_CREATION = True  # constants stay symbolic: faster
    mend_batch_normalization()
    mend_alpha_beta_bias()
    mend_start_of_rectifier_methods()
    mend_deep_taylor()
    mend_first_layers()
    names = {name for name, _ in cases.CASES.values()} | set(cases.NOT_COMPARED)
    assert set(innvestigate.analyzer.analyzers) <= names
    FOLDER.mkdir(exist_ok=True)
    for network in chosen or cases.COMPARED:
        labels = [label for other, label in cases.table() if other == network]
        values = [[explain(network, label, mode) for mode in cases.MODES] for label in labels]
        np.savez_compressed(FOLDER / f"{network}.npz", labels=labels, values=values)
        print(network, np.shape(values), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
