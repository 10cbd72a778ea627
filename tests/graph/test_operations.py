"""What the graph is told about steps: kinds, activations by name, signs, gates, first layers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from innvestigate.graph.facts import annotate
from innvestigate.graph.operations import KINDS, Kind, activation_name, is_relu, kind_of
from innvestigate.graph.rewrite import is_opaque, open_layers, split
from innvestigate.graph.run import run
from innvestigate.graph.step import is_float
from innvestigate.graph.trace import trace


def relu(x):
    """Not Keras's relu: lets negative numbers pass."""
    return ops.leaky_relu(x, 0.3)


def annotated(model):
    graph = trace(model)
    graph = split(open_layers(graph, is_opaque))
    annotate(graph)
    return graph


def chain(*operations, shape=(6, 6, 4)):
    x = y = keras.Input(shape)
    for operation in operations:
        y = operation(y)
    return keras.Model(x, y)


RELUS = [
    layers.ReLU(),
    layers.ReLU(6),
    layers.Activation("relu"),
    ops.relu,
    ops.relu6,
    lambda x: ops.maximum(x, 0.0),
    lambda x: ops.maximum(0, x),
    layers.Dense(4, activation="relu"),
    layers.Dense(4, activation=ops.relu),
    layers.Dense(4, activation=layers.ReLU()),
]
NOT_RELUS = [
    layers.ReLU(negative_slope=0.1),
    layers.LeakyReLU(),
    layers.Activation(relu),
    ops.tanh,
    lambda x: ops.maximum(x, 1.0),
    layers.Dense(4, activation=relu),
]


@pytest.mark.parametrize("operation", RELUS)
def test_every_form_of_relu_is_one_thing(operation):
    assert is_relu(annotated(chain(operation)).steps[-1])


@pytest.mark.parametrize("operation", NOT_RELUS)
def test_other_activations_are_not_relus(operation):
    step = annotated(chain(operation)).steps[-1]
    assert not is_relu(step)


def test_activations_are_named():
    assert activation_name(layers.Activation("gelu")) == "gelu"
    assert activation_name(layers.ReLU(negative_slope=0.1)) == "leaky_relu"
    assert activation_name(relu) == "relu (custom)"


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (lambda x: x * 2.0, Kind.UNITS),
        (lambda x: x + 1.0, Kind.UNITS),
        (lambda x: 1.0 - x, Kind.UNITS),
        (lambda x: x / np.ones(4), Kind.UNITS),
        (lambda x: x * np.ones((6, 6, 4), "float32"), Kind.UNITS),
        (lambda x: x + np.ones(4, "float32"), Kind.SUM),
        (lambda x: x + x, Kind.SUM),
        (lambda x: x * x, Kind.PRODUCT),
        (lambda x: ops.matmul(x, np.ones((4, 2), "float32")), Kind.LINEAR),
        (lambda x: x[:, 1:], Kind.SHAPE),
        (lambda x: ops.mean(x, axis=1), Kind.SUM),
        (lambda x: ops.exp(x), Kind.ACTIVATION),
        (layers.UpSampling2D(interpolation="bilinear"), Kind.SUM),
        (layers.UpSampling2D(), Kind.SHAPE),
        (layers.GroupNormalization(2), Kind.NORMALIZATION),
    ],
)
def test_kinds(operation, kind):
    assert kind_of(annotated(chain(operation)).steps[-1]) is kind


def test_every_name_in_the_table_exists():
    known = {c.__name__ for c in _subclasses(keras.Operation)} | set(dir(layers))
    assert set(KINDS) - known == set()


def _subclasses(cls):
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))


POOL = [
    ops.relu,
    ops.tanh,
    ops.exp,
    ops.square,
    ops.abs,
    lambda x: x + 1.0,
    lambda x: x - 2.0,
    lambda x: x * -1.5,
    lambda x: x + x,
    lambda x: x * x,
    lambda x: ops.flip(x, 1),
    lambda x: ops.where(x > 0.5, x, -1.0),
    lambda x: ops.minimum(x, -0.5),
    layers.MaxPooling2D(2, 1, "same"),
    layers.AveragePooling2D(2, 1, "same"),
    layers.BatchNormalization(beta_initializer="random_normal"),
    layers.Softmax(),
    layers.ReLU(threshold=0.5),
    layers.ELU(),
    layers.Resizing(6, 6, "bicubic"),
    layers.Conv2D(4, 3, padding="same", activation="softplus"),
    ops.sigmoid,
]


@pytest.mark.parametrize("seed", range(12))
def test_tensors_called_nonnegative_are(seed):
    rng = np.random.default_rng(seed)
    model = chain(*(POOL[i] for i in rng.integers(0, len(POOL), 6)))
    graph = annotated(model)
    x = rng.normal(size=(3, 6, 6, 4)).astype("float32")
    for step in graph.steps:
        if step.nonnegative:
            floats = [t for t in step.inputs if is_float(t)]
            for value in run(graph, [ops.convert_to_tensor(x)], floats):
                assert np.min(np.array(value)) >= 0, step


def test_gates_are_found_through_shape_steps():
    x = keras.Input((4, 4, 3))
    gate = layers.Reshape((1, 1, 3))(
        layers.Dense(3, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    )
    step = annotated(keras.Model(x, layers.Multiply()([gate, x]))).steps[-1]
    assert step.gates == (0,)


def test_weights_of_attention_are_no_gates():
    """A softmax is a kind of its own; its output is known behind dropout and masks."""
    x, mask = keras.Input((4, 3)), keras.Input((4, 3), dtype="bool")
    weights = ops.where(mask, layers.Dropout(0.5)(ops.softmax(x)), 0.0)
    steps = annotated(keras.Model([x, mask], ops.einsum("btd,btd->bd", x, weights))).steps
    kinds = [kind_of(step) for step in steps]
    assert kinds == [Kind.SOFTMAX, Kind.SHAPE, Kind.SHAPE, Kind.PRODUCT]
    assert steps[-1].gates == () and steps[-1].weights == (1,)


def test_first_kernel_layers_are_found_through_shape_steps():
    model = chain(
        layers.Rescaling(2.0, 1.0),
        layers.ZeroPadding2D(),
        layers.Permute((2, 1, 3)),
        layers.Conv2D(4, 3, activation="relu", name="first"),
        layers.Conv2D(4, 3, name="second"),
    )
    first = {step.name: step.first for step in annotated(model).steps}
    assert first["first"] and not first["second"]
