"""The checks that are offered to others: the library passes them, and what is broken is named."""

import inspect
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.analyzer import GradientAnalyzer, SmoothGrad
from innvestigate.engine.selection import MODES
from innvestigate.rules import Deconvolution, Epsilon, Guided, KernelRule, Rule, Share, Z
from innvestigate.rules.composite import RULES
from innvestigate.testing import check_analyzer, check_rule
from tests.models import ClosedCell, build, floats, makes_map
from tests.test_table import IN_ALL, OF_LETTERS, REQUIRED, samples, slow

pytestmark = pytest.mark.usefixtures("step_by_step")
NOISY = ("random", "smoothgrad", "expected_gradients", "shapley_sampling")
SOME = ("random", "gradient", "integrated_gradients", "lrp.epsilon", "deeplift", "pattern.net")
QUICK = ("random", "gradient", "integrated_gradients", "occlusion", "lrp.gamma", "deeplift")
LAYERS = {
    "dense": (partial(layers.Dense, 4, use_bias=False), (5,)),
    "convolution": (partial(layers.Conv2D, 3, 3, padding="same", use_bias=False), (5, 5, 2)),
    "separable": (partial(layers.SeparableConv2D, 3, 2, use_bias=False), (5, 5, 2)),
    "normalization": (layers.BatchNormalization, (5,)),
    "fused": (partial(layers.Dense, 4, "tanh"), (2, 5)),
}
CONSERVING = [name for name in RULES if not name.startswith(("Alpha2", "AlphaBeta"))]


# --- What the library promises --------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_keeps_its_promises(rule, layer):
    create, shape = LAYERS[layer]
    check_rule(rule, create(), floats(*shape))


@pytest.mark.parametrize("rule", CONSERVING)
def test_rules_conserve_relevance_in_a_layer_without_bias(rule):
    check_rule(rule, layers.Dense(4, use_bias=False), floats(9), conserves=True)


@pytest.mark.parametrize("rule", [Guided(), Deconvolution()])
def test_rules_may_be_nonlinear(rule):
    check_rule(rule, layers.ReLU(), floats(6), linear=False)


def test_layers_of_several_inputs_and_rules_of_structure():
    check_rule("Epsilon", Both(), [floats(3), floats(3, seed=2)])


@keras.saving.register_keras_serializable("tests")
class Both(layers.Layer):
    """A dense layer on the sum of two tensors, with a product."""

    def build(self, shapes):
        self.kernel = self.add_weight(shape=(3, 3))

    def call(self, inputs):
        x, y = inputs
        return ops.matmul(x + y, self.kernel) * ops.sigmoid(y)


def analyzers():
    """Methods with models: some with all, all with one; most of them marked as slow."""
    for method in dict.fromkeys((*IN_ALL, *SOME)):
        for model in ("cnn_bn", "dict_inputs", "mlp", "embedding", "two_inputs"):
            if makes_map(method) and model != "cnn_bn":
                continue
            quick = method in QUICK and model in ("mlp", "dict_inputs")
            refuses = method in OF_LETTERS and model == "embedding"
            some = quick or method in SOME or model == "dict_inputs" or makes_map(method)
            if some and not refuses:
                yield pytest.param(method, model, marks=() if quick else slow)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("method", "model"), list(analyzers()))
def test_every_analyzer_keeps_its_promises(method, model):
    network, x = build(model)[0], samples(method, model)
    arguments = {**REQUIRED.get(method, {}), **({"seed": 0} if method == "random" else {})}

    def create(network, **kwargs):
        made = innvestigate.create_analyzer(method, network, **arguments, **kwargs)
        return made.fit(x) if hasattr(made, "fit") else made

    # Without the bias a sum may be near zero where the output is not: rounding is amplified.
    tolerance = 1e-3 if method.endswith("_IB") else 1e-4
    check_analyzer(create, network, x, noisy=method in NOISY, tolerance=tolerance)


def test_noise_is_no_failure_only_if_it_is_announced():
    model, x = build("mlp")
    create = partial(SmoothGrad, seed=0)
    check_analyzer(create, model, x, noisy=True)
    with pytest.raises(AssertionError, match="Each sample is on its own"):
        check_analyzer(create, model, x)


# --- Broken rules ---------------------------------------------------------------------------------


class OfOutputShape(Rule):
    def __call__(self, at, signals):
        return [signals[0]]


class TooMany(Rule):
    def __call__(self, at, signals):
        return [at.inputs[0]] * 2


class Unguarded(KernelRule):
    def relevance(self, linear, x, z, r):
        return x * ops.matmul(r / z, ops.transpose(linear.kernel))


class Squared(KernelRule):
    def relevance(self, linear, x, z, r):
        return Share([(x, linear.kernel)], r * r).relevance(linear)


class Centred(KernelRule):
    def relevance(self, linear, x, z, r):
        return Share([(x, linear.kernel)], r - ops.mean(r, axis=0)).relevance(linear)


class ByPlace(KernelRule):
    def relevance(self, linear, x, z, r):
        number = ops.cast(ops.arange(ops.shape(x)[0]), "float32")
        return Share([(x, linear.kernel)], r).relevance(linear) * number[:, None]


class OtherwiseInMirrors(KernelRule):
    def relevance(self, linear, x, z, r):
        callers = [frame.frame.f_locals.get("self") for frame in inspect.stack(context=0)]
        factor = 1.01 if any(isinstance(caller, keras.Model) for caller in callers) else 1
        return factor * Share([(x, linear.kernel)], r).relevance(linear)


class Lossy(KernelRule):
    def relevance(self, linear, x, z, r):
        return 0.9 * Share([(x, linear.kernel)], r).relevance(linear)


BROKEN_RULES = {
    "Relevance has its input's shape: .*4.* for .*5": OfOutputShape,
    r"Relevance has its input's shape: .*\(3, 5\).*\(3, 5\).* for ": TooMany,
    r"Relevance of zeros is finite: \d+ numbers": Unguarded,
    r"A rule is linear: .* off": Squared,
    r"Each sample is on its own \(rows \[0, 0, 0\]\): ": Centred,
    r"Each sample is on its own \(rows \[2, 1, 0\]\): ": ByPlace,
    r"A mirror finds the same: .* off, with numbers up to": OtherwiseInMirrors,
    r"Relevance is conserved: .* off": Lossy,
}


@pytest.mark.parametrize("message", BROKEN_RULES)
def test_what_a_broken_rule_breaks_is_named(message):
    with pytest.raises(AssertionError, match=message):
        rule = BROKEN_RULES[message]()
        check_rule(rule, layers.Dense(4, use_bias=False), floats(5), conserves=True)


def test_a_bias_takes_its_share():
    layer = layers.Dense(4, bias_initializer="ones")
    with pytest.raises(AssertionError, match="Relevance is conserved"):
        check_rule(Epsilon(), layer, floats(5), conserves=True)
    check_rule(Z(bias=False), layer, floats(5), conserves=True)


@pytest.mark.parametrize(("rule", "layer"), [("Z", layers.ReLU()), (Guided(), layers.Dense(3))])
def test_a_rule_that_is_not_used_is_not_checked(rule, layer):
    match = "A rule serves" if rule == "Z" else "is linear|has its input's shape"
    with pytest.raises(AssertionError, match=match):
        check_rule(rule, layer, floats(5))


def test_rules_are_checked_with_numbers():
    with pytest.raises(ValueError, match=r"arrays of at least two samples.*type <U1"):
        check_rule("Z", layers.Dense(3), np.array(["a", "b"]))


def test_a_layer_without_a_rule_is_no_case():
    with pytest.raises(AssertionError, match="serves the layer 'memory': NoRuleError"):
        check_rule("Z", layers.RNN(ClosedCell(3), name="memory"), floats(4, 2))


def test_rules_are_checked_inside_a_loop():
    layer = layers.LSTM(3, use_bias=False)
    check_rule(Z(), layer, floats(4, 2), conserves=True)
    check_rule(Epsilon(), layers.Bidirectional(layers.GRU(3)), floats(4, 2))


# --- Broken analyzers -----------------------------------------------------------------------------


class Registered(GradientAnalyzer):
    """A gradient, as a base of broken ones that can be saved."""

    def __init_subclass__(cls):
        keras.saving.register_keras_serializable("tests")(cls)


class NoSum(Registered):
    def __init__(self, model, neuron_selection_mode="max_activation"):
        if neuron_selection_mode == "all":
            raise TypeError("no")
        super().__init__(model, neuron_selection_mode=neuron_selection_mode)


class OtherStructure(Registered):
    def restore(self, results, batch):
        return [super().restore(results, batch)]


class OtherShape(Registered):
    def restore(self, results, batch):
        return super().restore(results, batch).sum(axis=-1)


class OtherType(Registered):
    def restore(self, results, batch):
        return super().restore(results, batch).astype("float64")


class NotFinite(Registered):
    def restore(self, results, batch):
        return super().restore(results, batch) / 0


class PerBatch(Registered):
    def restore(self, results, batch):
        return super().restore(results, batch) / len(batch)


class BySample(Registered):
    def explain(self, batch):
        found = super().explain(batch)
        return {**found, "input:0": found["input:0"] * np.float32(1 + batch.samples[:, None])}


class OtherIndex(Registered):
    def weights(self, selection, inputs, offset):
        found = super().weights(selection, inputs, offset)
        return found if found is None or self.neuron_selection_mode != "index" else found[:, ::-1]


class OtherWeights(Registered):
    def weights(self, selection, inputs, offset):
        found = super().weights(selection, inputs, offset)
        return 2 * found if self.neuron_selection_mode == "weights" else found


class OtherSum(Registered):
    def weights(self, selection, inputs, offset):
        found = super().weights(selection, inputs, offset)
        return 2 * found if self.neuron_selection_mode == "all" else found


class TakesNaN(Registered):
    def analyze(self, x, *args, **kwargs):
        return super().analyze(np.nan_to_num(x), *args, **kwargs)


class TakesAnyShape(Registered):
    def analyze(self, x, *args, **kwargs):
        return super().analyze(x.reshape(len(x), -1)[:, :5], *args, **kwargs)


class NoPlan(Registered):
    def plan(self):
        return self.composite(self.task)


class NotSaved(GradientAnalyzer):
    pass


class OtherwiseWhenLoaded(Registered):
    made = 0

    def __init__(self, model, **kwargs):
        super().__init__(model, **kwargs)
        type(self).made += 1
        self.factor = 1 + self.made // (len(MODES) + 1)

    def restore(self, results, batch):
        return self.factor * super().restore(results, batch)


class Trains(Registered):
    def finished(self, result):
        dense = self.guard._model.layers[0]
        dense.set_weights([w * (1 + 1e-7) for w in dense.get_weights()])
        return super().finished(result)


class LeavesCalls(Registered):
    def __init__(self, model, **kwargs):
        model(keras.Input((5,)))
        super().__init__(model, **kwargs)


class Freezes(Registered):
    def __init__(self, model, **kwargs):
        model.layers[0].trainable = False
        super().__init__(model, **kwargs)


BROKEN_ANALYZERS = {
    "can be created for each neuron selection: TypeError: no": NoSum,
    "Results have the input's structure": OtherStructure,
    r"Results have the input's shape: \(3,\) for \(3, 5\)": OtherShape,
    "Results have the model's float type: float64 for float32": OtherType,
    r"Results are finite: \d+ numbers": NotFinite,
    r"The batch size is no matter \(1\): .* off, with": PerBatch,
    "Each sample is on its own": BySample,
    "The largest neuron can be given by its index": OtherIndex,
    "The largest neuron can be given by weights": OtherWeights,
    "All neurons count alike": OtherSum,
    "NaN is refused": TakesNaN,
    "A wrong shape is refused": TakesAnyShape,
    "The plan prints": NoPlan,
    "An analyzer can be saved: TypeError": NotSaved,
    "A saved analyzer finds the same numbers": OtherwiseWhenLoaded,
    "its weights changed": Trains,
    "its calls changed": LeavesCalls,
    "its config changed": Freezes,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:The relevance of sample")
@pytest.mark.parametrize("message", BROKEN_ANALYZERS)
def test_what_a_broken_analyzer_breaks_is_named(message):
    model = keras.Sequential([layers.Input((5,)), layers.Dense(6, "relu"), layers.Dense(4)])
    with pytest.raises(AssertionError, match=message):
        check_analyzer(BROKEN_ANALYZERS[message], model, floats(5), saves="saved" in message)
