"""The guard: what differs from the model is refused and named, and nothing else is.

Faults are planted where the engine could have them: in the trace, in a rewrite, in an opened layer.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops, tree

import innvestigate
from innvestigate.analyzer import (
    DeepLIFT,
    GradientAnalyzer,
    IntegratedGradients,
    LRPEpsilon,
    Occlusion,
    PathIntegrator,
)
from innvestigate.engine import base as engine
from innvestigate.engine.guard import ForwardDiffersError
from innvestigate.graph import rewrite
from innvestigate.graph.linear import Linear
from innvestigate.graph.rewrite import split
from innvestigate.graph.trace import trace
from tests.frameworks import examples
from tests.models import MODELS, build, floats, randomize
from tests.test_table import slow_but

METHODS = {
    "gradient": {},
    "lrp.epsilon": {},
    "deeplift": {},
    "integrated_gradients": {"steps": 4},
    "occlusion": {},
}
pytestmark = pytest.mark.filterwarnings("ignore:The model ends in", "ignore:The relevance of")


def explain(method, model, x, **arguments):
    arguments = {**METHODS[method], **arguments}
    return innvestigate.create_analyzer(method, model, **arguments).analyze(x)


def raises_no_alarm(method, model, x, **arguments):
    """Whether what the guard lets pass is an explanation: finite, and not all zero."""
    found = tree.flatten(explain(method, model, x, **arguments))
    return all(np.isfinite(a).all() for a in found) and any(a.any() for a in found)


def raises_naming(name):
    """What is expected where a layer computes something else."""
    return pytest.raises(ForwardDiffersError, match=f"first layer whose output differs is '{name}'")


# --- A mask is dropped ----------------------------------------------------------------------------


@pytest.fixture
def without_masks(monkeypatch):
    """Traces in which no step knows of a mask."""

    def traced(model):
        graph = trace(model)
        return graph.replaced([_unmasked(step) for step in graph.steps])

    monkeypatch.setattr(engine, "trace", traced)


def _unmasked(step):
    args, kwargs = step.arguments
    kept = {name: value for name, value in kwargs.items() if "mask" not in name}
    return replace(step, arguments=(args, kept), masks=())


def masked(reduction, nested):
    """A model of tokens whose mask matters to the reduction, which may be in a model inside."""
    keras.utils.set_random_seed(0)
    tokens = layers.Input((6,), dtype="int32")
    vectors = layers.Embedding(9, 4, mask_zero=True)(tokens)
    if nested:
        inside = layers.Input((6, 4))
        encoder = keras.Model(inside, reduction(layers.Dense(5)(inside)), name="encoder")
        return keras.Model(tokens, layers.Dense(3)(encoder(vectors)))
    return keras.Model(tokens, layers.Dense(3)(reduction(layers.Dense(5)(vectors))))


TOKENS = np.array([[1, 2, 3, 4, 5, 6], [7, 8, 1, 0, 0, 0]], "int32")
AVERAGE = partial(layers.GlobalAveragePooling1D, name="average")
MEMORY = partial(layers.LSTM, 4, name="memory")
DROPPED = [
    (method, reduction, nested)
    for method in METHODS
    for reduction in (AVERAGE, MEMORY)
    for nested in (False, True)
    if method in ("gradient", "integrated_gradients") or reduction is AVERAGE
]


@pytest.mark.usefixtures("without_masks")
@pytest.mark.parametrize(("method", "reduction", "nested"), DROPPED)
def test_a_dropped_mask_is_noticed(method, reduction, nested):
    model = masked(reduction(), nested)
    with raises_naming(("encoder." if nested else "") + reduction.keywords["name"]):
        explain(method, model, TOKENS)


@pytest.mark.parametrize(("method", "reduction", "nested"), DROPPED)
def test_a_mask_that_is_there_is_no_fault(method, reduction, nested):
    assert raises_no_alarm(method, masked(reduction(), nested), TOKENS)


@pytest.mark.usefixtures("without_masks")
def test_a_mask_that_changes_nothing_may_be_dropped():
    assert raises_no_alarm("gradient", masked(AVERAGE(), False), TOKENS[:1])


# --- A weight is another one ----------------------------------------------------------------------


def swapping(base, layer, change):
    """A method whose rewritten graph reads another kernel in one layer."""

    class Swapping(base):
        def rewrite(self, graph):
            graph = split(super().rewrite(graph))
            steps = [_swapped(step, layer, change) for step in graph.steps]
            assert any(a is not b for a, b in zip(steps, graph.steps, strict=True))
            return graph.replaced(steps)

    return Swapping


def _swapped(step, layer, change):
    linear = step.operation
    if step.layer.name != layer or not isinstance(linear, Linear):
        return step
    return replace(step, operation=replace(linear, read_kernel=change(linear)))


def transposed(linear):
    return lambda: ops.transpose(linear.kernel)


def scaled(factor):
    return lambda linear: lambda: factor * linear.kernel


def frozen(linear):
    kernel = np.array(linear.kernel)
    return lambda: ops.convert_to_tensor(kernel)


def mlp(*further):
    keras.utils.set_random_seed(0)
    first, second = layers.Dense(6, "relu", name="first"), layers.Dense(6, "relu", name="second")
    return keras.Sequential([layers.Input((5,)), first, second, *further, layers.Dense(3)])


BASES = {
    "gradient": GradientAnalyzer,
    "lrp.epsilon": LRPEpsilon,
    "deeplift": DeepLIFT,
    "integrated_gradients": lambda cls, model: PathIntegrator(cls(model), steps=4),
    "occlusion": Occlusion,
}


def swapped(method, layer, change, model, **arguments):
    """An analyzer of a method that reads another kernel."""
    if method == "integrated_gradients":
        inner = swapping(GradientAnalyzer, layer, change)(model, **arguments)
        return PathIntegrator(inner, steps=4)
    return swapping(BASES[method], layer, change)(model, **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_a_swapped_weight_is_noticed(method):
    with raises_naming("second"):
        swapped(method, "second", transposed, mlp()).analyze(floats(5))


@pytest.mark.parametrize("mode", ["max_activation", "index", "weights", "all"])
@pytest.mark.parametrize("method", slow_but("lrp.epsilon", METHODS))
def test_it_is_noticed_for_every_neuron_selection(method, mode):
    selection = {"index": 1, "weights": [1, 2, 3]}.get(mode)
    analyzer = swapped(method, "second", transposed, mlp(), neuron_selection_mode=mode)
    with raises_naming("second"):
        analyzer.analyze(floats(5), selection)


@pytest.mark.parametrize("factor", [1.01, 1.0001])
def test_it_is_noticed_if_it_matters(factor):
    analyzer = swapped("lrp.epsilon", "first", scaled(factor), mlp())
    with raises_naming("first") if factor > 1.001 else nullcontext():
        analyzer.analyze(floats(5))


def test_a_fault_before_a_softmax_that_was_taken_off_is_noticed():
    with raises_naming("second"):
        swapped("gradient", "second", transposed, mlp(layers.Softmax())).analyze(floats(5))


def test_nothing_is_noticed_without_a_check():
    model, x = mlp(), floats(5)
    found = swapped("lrp.epsilon", "second", transposed, model, check=False).analyze(x)
    assert np.abs(found - explain("lrp.epsilon", model, x)).max() > 0


def test_a_saved_analyzer_keeps_its_mind(tmp_path):
    innvestigate.create_analyzer("gradient", mlp(), check=False).save(tmp_path / "a")
    assert innvestigate.load_analyzer(tmp_path / "a").get_config()["check"] is False


def nested_mlp():
    keras.utils.set_random_seed(0)
    x = layers.Input((5,))
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(6, name="fault")], name="inner")
    y = layers.Input((5,))
    outer = keras.Model(y, inner(layers.Dense(6, "tanh")(y)), name="outer")
    return keras.Model(x, layers.Dense(3)(outer(x)))


@pytest.mark.parametrize("method", METHODS)
def test_a_fault_in_a_model_inside_is_named_by_its_path(method):
    with raises_naming("outer.inner.fault"):
        swapped(method, "fault", transposed, nested_mlp()).analyze(floats(5))


class Custom(layers.Layer):
    """A layer that is opened."""

    def build(self, shape):
        self.fault = layers.Dense(shape[-1], name="fault")
        self.fault.build(shape)

    def call(self, x):
        return ops.sin(self.fault(x))


def test_a_fault_in_an_opened_layer_is_named_by_its_path():
    with raises_naming("custom.fault"):
        swapped("lrp.epsilon", "fault", transposed, mlp(Custom(name="custom"))).analyze(floats(5))


def test_a_fault_in_the_second_call_of_a_layer_is_named():
    x = layers.Input((5,))
    twice = layers.Dense(5, "tanh", name="twice")
    model = keras.Model(x, layers.Dense(3)(twice(twice(x))))

    class Second(LRPEpsilon):
        def rewrite(self, graph):
            graph = super().rewrite(graph)
            steps = [
                _swapped(step, "twice", transposed) if step.name == "twice.2" else step
                for step in graph.steps
            ]
            return graph.replaced(steps)

    with raises_naming("twice.2"):
        Second(model).analyze(floats(5))


@pytest.mark.parametrize(("output", "noticed"), [("a", True), ("b", False)])
@pytest.mark.parametrize("form", [list, dict])
def test_of_several_outputs_the_one_explained_counts(form, output, noticed):
    x = layers.Input((5,))
    heads = {"b": layers.Dense(5, name="b")(x), "a": layers.Dense(5, name="a")(x)}
    model = keras.Model(x, heads if form is dict else list(heads.values()))
    analyzer = swapped("lrp.epsilon", "a", transposed, model, output=output)
    with raises_naming("a") if noticed else nullcontext():
        analyzer.analyze(floats(5))


def test_inputs_by_name():
    _, x = build("dict_inputs")
    inputs = {name: layers.Input((size,), name=name) for name, size in (("right", 5), ("left", 3))}
    parts = [layers.Dense(5, name="fault")(inputs["right"]), layers.Dense(5)(inputs["left"])]
    model = keras.Model(inputs, layers.Dense(3)(layers.Add()(parts)))
    for method in METHODS:
        explain(method, model, x)
        with raises_naming("fault"):
            swapped(method, "fault", transposed, model).analyze(x)


class Several(keras.Model):
    """A model that is called on several arguments, which mean different things."""

    def __init__(self):
        super().__init__()
        self.fault, self.last = layers.Dense(5, name="fault"), layers.Dense(3)

    def build(self, x_shape, y_shape):
        self.fault.build(x_shape)
        self.last.build((None, 5))

    def call(self, x, y, training=None):
        return self.last(self.fault(x) - 2 * y)


def test_a_model_of_several_arguments():
    model, x = Several(), [floats(5), floats(5, seed=2)]
    model(*x)
    explain("lrp.epsilon", model, x)
    with raises_naming("fault"):
        swapped("lrp.epsilon", "fault", transposed, model).analyze(x)


# --- A size is another one ------------------------------------------------------------------------


def opener(monkeypatch, call):
    """TimeDistributed is opened by another function."""
    monkeypatch.setitem(rewrite._OPENERS, "TimeDistributed", call)


def truncated(layer, x, training=None, mask=None):
    """Leaves the last time step out, and puts zeros in its place."""
    y = ops.reshape(layer.layer(ops.reshape(x, (-1, *x.shape[2:]))), (-1, x.shape[1], 4))
    return ops.pad(y[:, :-1], ((0, 0), (0, 1), (0, 0)))


def mixed(layer, x, training=None, mask=None):
    """Takes time for samples: the sizes are right, what is in them is not."""
    y = layer.layer(ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, x.shape[2])))
    return ops.reshape(y, (-1, x.shape[1], 4))


def over_time(*further):
    keras.utils.set_random_seed(0)
    steps = layers.TimeDistributed(layers.EinsumDense("ab,bc->ac", 4), name="steps")
    return keras.Sequential([layers.Input((6, 3)), steps, *further])


@pytest.mark.parametrize("call", [truncated, mixed])
@pytest.mark.parametrize("tail", [(), (layers.GlobalAveragePooling1D, lambda: layers.Dense(3))])
def test_a_wrong_size_in_an_opened_layer_is_noticed(monkeypatch, call, tail):
    model = over_time(*(create() for create in tail))
    explain("lrp.epsilon", model, floats(6, 3))
    opener(monkeypatch, call)
    with raises_naming("steps"):
        explain("lrp.epsilon", model, floats(6, 3))


class Free(layers.Layer):
    """A layer that is opened, for sequences of any length."""

    def call(self, x):
        return x * ops.cast(ops.shape(x)[1], x.dtype)


def test_a_length_that_is_baked_in_is_noticed():
    class Baked(GradientAnalyzer):
        def rewrite(self, graph):
            steps = [
                replace(step, operation=lambda x: 6.0 * x) if step.name == "free" else step
                for step in graph.steps
            ]
            return graph.replaced(steps)

    parts = Free(name="free"), layers.GlobalMaxPooling1D(), layers.Dense(3)
    model = keras.Sequential([layers.Input((None, 3)), *parts])
    Baked(model).analyze(floats(6, 3))
    with raises_naming("free"):
        Baked(model).analyze(floats(7, 3))


def test_another_shape_is_told():
    class Shorter(GradientAnalyzer):
        def rewrite(self, graph):
            steps = [
                replace(step, operation=lambda x: x[:, :-1]) if step.name == "free" else step
                for step in graph.steps
            ]
            return graph.replaced(steps)

    model = keras.Sequential([layers.Input((None, 3)), Free(name="free")])
    with pytest.raises(ForwardDiffersError, match=r"\(., 5, 3\) for \(., 6, 3\)"):
        Shorter(model, neuron_selection_mode="all").analyze(floats(6, 3))


# --- A weight is frozen ---------------------------------------------------------------------------


def train(model, x):
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.5
    model.fit(x, np.ones((len(x), *model.output_shape[1:])), verbose=0)


def set_weights(model, x):
    model.set_weights([w + 0.3 for w in model.get_weights()])


def assign(model, x):
    model.layers[1].kernel.assign(-model.layers[1].kernel)


CHANGES = [train, set_weights, assign]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_weight_is_noticed_at_first_use(method, change):
    model, x = mlp(), floats(5)
    analyzer = swapped(method, "second", frozen, model)
    change(model, x)
    with raises_naming("second"):
        analyzer.analyze(x)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("method", METHODS)
def test_a_frozen_weight_is_noticed_after_training_on(method, change):
    model, x = mlp(), floats(5)
    analyzer = swapped(method, "second", frozen, model)
    analyzer.analyze(x)
    change(model, x)
    with raises_naming("second"):
        analyzer.analyze(x)


def test_a_head_alone_may_be_trained():
    model, x = mlp(), floats(5)
    for layer in model.layers[:-1]:
        layer.trainable = False
    analyzer = swapped("lrp.epsilon", model.layers[-1].name, frozen, model)
    analyzer.analyze(x)
    train(model, x)
    with raises_naming(model.layers[-1].name):
        analyzer.analyze(x)


def count_calls(model):
    """How often a model is run by itself."""
    calls, call = [], type(model).__call__

    class Counted(type(model)):
        def __call__(self, *args, **kwargs):
            calls.append(args)
            return call(self, *args, **kwargs)

    model.__class__ = Counted
    return calls


@pytest.mark.parametrize("method", METHODS)
def test_one_batch_is_compared_and_one_more_after_training(method):
    model, x = mlp(), np.concatenate([floats(5)] * 4)
    analyzer, calls = innvestigate.create_analyzer(method, model, **METHODS[method]), None
    calls = count_calls(model)
    analyzer.analyze(x, batch_size=2)
    first = len(calls)
    analyzer.analyze(x, batch_size=3)
    assert len(calls) == first <= 2  # a forward model and a mirror
    set_weights(model, x)
    analyzer.analyze(x)
    assert len(calls) == 2 * first


# --- No false alarm -------------------------------------------------------------------------------


def noisy():
    """Layers that are something else in training."""
    parts = (
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
        layers.GaussianNoise(1.0),
        layers.SpatialDropout2D(0.5),
        layers.Flatten(),
        layers.Dense(3),
    )
    return randomize(keras.Sequential([layers.Input((6, 6, 2)), *parts])), floats(6, 6, 2)


class Droppy(layers.Layer):
    """A layer of one's own that is something else in training."""

    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.drop(x, training=training) * (3.0 if training else 1.0)


def droppy():
    return mlp(Droppy()), floats(5)


def mixed_precision(policy):
    parts = (
        layers.Conv2D(4, 3, activation="relu", dtype=policy),
        layers.BatchNormalization(dtype=policy),
        layers.GlobalAveragePooling2D(dtype=policy),
        layers.Dense(16, "gelu", dtype=policy),
        layers.Dense(3, "softmax", dtype=policy),
    )
    return randomize(keras.Sequential([layers.Input((6, 6, 2)), *parts])), floats(6, 6, 2)


def scaled_output(size):
    model, x = mlp(), floats(5)
    model.layers[-1].set_weights([w * size for w in model.layers[-1].get_weights()])
    return model, x


def constant_output():
    model, x = mlp(), floats(5)
    model.layers[-1].set_weights([0 * model.layers[-1].kernel, np.ones(3)])
    return model, x


def overflowing():
    model, x = mlp(), floats(5)
    model.layers[-1].set_weights([np.full((6, 3), 3e38), np.zeros(3)])
    return model, np.abs(x) * 1e3


def not_a_number():
    x = layers.Input((5,))
    y = layers.Dense(4)(x)
    return keras.Model(x, layers.Concatenate()([ops.sqrt(y), y])), floats(5)


def stateful():
    parts = layers.LSTM(4, stateful=True), layers.Dense(2)
    return keras.Sequential([layers.Input(batch_shape=(3, 5, 3)), *parts]), floats(5, 3)


SOUND = {
    "noise in training": noisy,
    "noise in a layer": droppy,
    "float16": partial(mixed_precision, "float16"),
    "mixed_float16": partial(mixed_precision, "mixed_float16"),
    "mixed_bfloat16": partial(mixed_precision, "mixed_bfloat16"),
    "float64": partial(build, "float64"),
    "bytes": partial(build, "uint8"),
    "huge": partial(scaled_output, 1e20),
    "tiny": partial(scaled_output, 1e-20),
    "zero": partial(scaled_output, 0),
    "subnormal": partial(scaled_output, 1e-42),
    "constant": constant_output,
    "overflowing": overflowing,
    "not a number": not_a_number,
    "stateful": stateful,
}
CANNOT = ["integrated_gradients", "occlusion"]  # a stateful LSTM has a fixed batch size


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("method", "model"),
    [(a, b) for a in METHODS for b in SOUND if not (b == "stateful" and a in CANNOT)],
)
def test_what_is_sound_raises_no_alarm(method, model):
    explain(method, *SOUND[model](), neuron_selection_mode="all")


def test_rounding_is_no_fault_where_nothing_else_is_left():
    """The output is the sum of numbers whose mean is zero, computed in two ways."""
    parts = layers.Dense(50), layers.BatchNormalization(), layers.LayerNormalization()
    last = layers.Dense(3, use_bias=False, kernel_initializer="ones")
    model = randomize(keras.Sequential([layers.Input((50,)), *parts, last]))
    model.layers[-2].set_weights([np.ones(50), np.zeros(50)])
    assert raises_no_alarm("lrp.epsilon", model, floats(50), fold_batch_norm=True)


@pytest.mark.parametrize("size", [1e20, 1e-20])
def test_a_fault_is_noticed_in_numbers_of_any_size(size):
    model, x = scaled_output(size)
    with raises_naming("second"):
        swapped("lrp.epsilon", "second", transposed, model).analyze(x)


def test_a_fault_next_to_numbers_that_are_not_finite_is_noticed():
    x = layers.Input((5,))
    y = layers.Dense(5, name="fault")(x)
    model = keras.Model(x, layers.Concatenate()([ops.sqrt(y), y]))
    with raises_naming("fault"):
        swapped("gradient", "fault", transposed, model, neuron_selection_mode="all").analyze(
            floats(5)
        )


class Chance(layers.Layer):
    """Draws other numbers each time it is called."""

    def call(self, x):
        return x * (ops.convert_to_tensor(np.random.default_rng().uniform(1, 2, 4), "float32"))


def test_a_model_of_chance_is_told_to_skip_the_check():
    model = keras.Sequential([layers.Input((4,)), Chance(), layers.Dense(3)])
    with pytest.raises(ForwardDiffersError, match=r"draws random numbers.*check=False"):
        explain("gradient", model, floats(4))
    explain("gradient", model, floats(4), check=False)


def test_integrated_gradients_compares_the_samples_not_the_path():
    model, x = mlp(), floats(5)
    IntegratedGradients(model, steps=3, reference_inputs=7.0).analyze(x)


@pytest.mark.parametrize("model", slow_but("mlp", [*MODELS]))
def test_the_models_of_the_suite_raise_no_alarm(model):
    arguments = {"output": "b"} if model == "two_outputs" else {}
    network, x = build(model)
    assert raises_no_alarm("gradient", network, x, **arguments)


PARTS = st.sampled_from(
    [
        partial(layers.Dense, 6, "relu"),
        partial(layers.Dense, 6, "tanh", use_bias=False),
        layers.BatchNormalization,
        layers.LayerNormalization,
        partial(layers.Dropout, 0.5),
        partial(layers.GaussianNoise, 1.0),
        partial(layers.Activation, "softmax"),
        partial(layers.Rescaling, 1e-3, 5.0),
        partial(layers.UnitNormalization),
        partial(layers.Reshape, (-1,)),
    ]
)


@examples(15)
@given(st.lists(PARTS, min_size=1, max_size=8), st.sampled_from([1e-6, 1.0, 1e6]))
def test_random_models_raise_no_alarm(parts, scale):
    keras.utils.set_random_seed(0)
    stack = [layers.Input((6,)), *(create() for create in parts), layers.Dense(3)]
    model = randomize(keras.Sequential(stack))
    for method in ("gradient", "lrp.epsilon"):
        found = explain(method, model, scale * floats(6))
        assert found.shape == (3, 6) and np.isfinite(found).all()
