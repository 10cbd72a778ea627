"""Recurrent layers as loops: what is in the graph, what is not, and what stays as it was."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.graph.operations import Kind, body_of, kind_of
from innvestigate.graph.recurrent import deep_steps, deep_writers
from innvestigate.graph.trace import count_nodes
from tests.models import floats

pytestmark = pytest.mark.usefixtures("step_by_step")


def model_of(layer, shape=(5, 3)):
    return keras.Sequential([layers.Input(shape), layer, layers.Flatten(), layers.Dense(2)])


def analyzer(layer, method="lrp.epsilon", shape=(5, 3), **arguments):
    return innvestigate.create_analyzer(method, model_of(layer, shape), **arguments)


def loops(made):
    return [step for step in made.task.graph.steps if body_of(step) is not None]


def test_the_graph_does_not_grow_with_time():
    sizes = set()
    for length in (3, 30):
        made = analyzer(layers.GRU(4), shape=(length, 3))
        sizes.add((len(made.model.layers), len(list(deep_steps(made.task)))))
    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("layer", "products"),
    [(layers.LSTM(4), 3), (layers.GRU(4), 3), (layers.GRU(4, reset_after=False), 3)],
)
def test_every_product_of_a_cell_has_one_gate(layer, products):
    """1 - z is one as well."""
    steps = deep_steps(analyzer(layer).task)
    gates = [step.gates for step in steps if kind_of(step) is Kind.PRODUCT]
    assert [len(found) for found in gates] == [1] * products


@pytest.mark.parametrize("layer", [layers.LSTM(4), layers.GRU(4), layers.SimpleRNN(4)])
def test_the_kernel_of_the_input_is_a_first_one(layer):
    made = analyzer(layer)
    kernels = [s for s in deep_steps(made.task) if kind_of(s) is Kind.LINEAR]
    assert [step.first for step in kernels if "loop" in step.name].count(True) == 1
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.Dense(2)(layer(layers.Dense(3)(x))))
    made = innvestigate.create_analyzer("lrp.epsilon", model)
    assert [s.first for s in deep_steps(made.task) if "loop" in s.name].count(True) == 0


def test_what_is_known_of_the_input_is_known_inside():
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(4)(layers.Dense(3, "relu")(x))))
    (loop,) = loops(innvestigate.create_analyzer("lrp.epsilon", model))
    known = [s.nonnegative for s in loop.operation.body.steps if kind_of(s) is Kind.LINEAR]
    assert known == [True, False]


def test_bodies_are_sound_and_say_where_they_are():
    inner = keras.Sequential([layers.Input((5, 3)), layers.LSTM(4, name="memory")], name="inner")
    x = keras.Input((5, 3))
    model = keras.Model(x, layers.Dense(2)(inner(x)))
    made = innvestigate.create_analyzer("lrp.epsilon", model)
    (loop,) = loops(made)
    body = loop.operation.body
    body.check()
    assert all(step.name.startswith("inner.memory.loop.") for step in body.steps)
    assert all([layer.name for layer in s.layers] == ["inner", "memory"] for s in body.steps)
    assert set(deep_writers(made.task.graph)) >= {t for s in body.steps for t in s.outputs}


def test_the_cells_of_a_stack_have_rules_of_their_own():
    cells = [layers.LSTMCell(3, name="below"), layers.GRUCell(2, name="above")]
    rules = [(lambda layer: layer.name == "above", "Flat"), (lambda layer: True, "Z")]
    made = analyzer(layers.RNN(cells, name="stack"), "lrp", rule=rules)
    kernels = [line for line in made.plan() if line.kind.startswith("linear")]
    found = {line.layer: line.rule for line in kernels}
    assert found == {"LSTMCell": "Z(bias=True)", "GRUCell": "Flat()", "Dense": "Z(bias=True)"}


@pytest.mark.parametrize("method", ["lrp.epsilon", "deeplift"])
def test_the_layer_stays_as_it_is(method):
    """Also what SimpleRNN keeps of its dropout while it runs, which is none outside of a run."""
    cells = [layers.SimpleRNNCell(3, dropout=0.5, recurrent_dropout=0.5), layers.LSTMCell(3)]
    layer = layers.Bidirectional(layers.RNN(cells))
    model = model_of(layer)
    nodes, weights = count_nodes(model), model.get_weights()
    made = innvestigate.create_analyzer(method, model)
    for rnn in (layer.forward_layer, layer.backward_layer):
        assert getattr(rnn.cell.cells[0], "_dropout_mask", None) is None
    made.analyze(floats(5, 3))
    assert count_nodes(model) == nodes
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    for rnn in (layer.forward_layer, layer.backward_layer):
        assert getattr(rnn.cell.cells[0], "_dropout_mask", None) is None
    model.compile(loss="mse")
    model.fit(floats(5, 3), np.zeros((3, 2)), verbose=0)


def test_training_on_is_seen():
    model = model_of(layers.GRU(4, name="memory"))
    made, x = innvestigate.create_analyzer("lrp.epsilon", model), floats(5, 3)
    before = made.analyze(x, None)
    memory = model.get_layer("memory")
    memory.set_weights([0.5 * w for w in memory.get_weights()])
    fresh = innvestigate.create_analyzer("lrp.epsilon", model).analyze(x)
    np.testing.assert_array_equal(made.analyze(x), fresh)
    assert np.abs(fresh - before).max() > 1e-3


def test_gradients_do_not_look_inside():
    made = analyzer(layers.LSTM(4, name="memory"), "gradient")
    assert "memory" in {step.name for step in made.task.graph.steps} and not loops(made)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("mixed_float16", 1e-2)])
def test_other_types(dtype, tolerance):
    x = keras.Input((5, 3), dtype="float64" if dtype == "float64" else "float32")
    y = layers.LSTM(4, dtype=dtype)(layers.Masking(dtype=dtype)(x))
    model = keras.Model(x, layers.Dense(2, dtype=dtype, use_bias=False)(y))
    data = floats(5, 3, dtype=x.dtype)
    found = innvestigate.create_analyzer("deeplift", model).analyze(data)
    assert found.dtype == x.dtype
    index = np.array(model(data)).argmax(1)
    difference = np.array(model(data), "float64") - np.array(model(1e-9 * data), "float64")
    total = found.sum((1, 2), dtype="float64")
    np.testing.assert_allclose(total, difference[np.arange(3), index], atol=tolerance)


def test_hidden_layers_around_a_loop():
    x = keras.Input((5, 3))
    y = layers.LSTM(4, return_sequences=True, name="memory")(x)
    model = keras.Model(x, layers.Dense(2)(ops.mean(y, axis=1)))
    made = innvestigate.create_analyzer("lrp.z", model, layers=["memory", "input"])
    found = made.analyze(floats(5, 3))
    assert found["memory"].shape == (3, 5, 4) and found["input"].shape == (3, 5, 3)
