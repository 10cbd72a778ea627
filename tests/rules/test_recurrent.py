"""Relevance and multipliers through recurrent layers: derivations, twins and what is kept."""

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import innvestigate
from tests.frameworks import examples, in_float32
from tests.models import randomize
from tests.rules import naive_recurrent as naive

pytestmark = pytest.mark.usefixtures("step_by_step")

DOUBLE = {"dtype": "float64"}


def samples(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def explained(model, method, xs, weights=None, **arguments):
    """The result at each input for a weighted sum of the outputs, all of them by default."""
    made = innvestigate.create_analyzer(method, model, neuron_selection_mode="weights", **arguments)
    return made.analyze(xs, np.ones((1,)) if weights is None else weights)


def built(outputs, *inputs, seed=0):
    """A model with biases that count."""
    return randomize(keras.Model(list(inputs) if len(inputs) > 1 else inputs[0], outputs), seed)


def gap(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


# --- Derivations ----------------------------------------------------------------------------------

CELLS = {
    "simple": (layers.SimpleRNN, naive.simple_rnn),
    "lstm": (layers.LSTM, naive.lstm),
    "lstm, gate by gate": (partial(layers.LSTM, implementation=1), naive.lstm),
    "gru": (layers.GRU, naive.gru),
    "gru, reset before": (partial(layers.GRU, reset_after=False), naive.gru),
}


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize(
    ("name", "epsilon"),
    [*((name, 0.0) for name in CELLS), *((name, 0.1) for name in CELLS if "by" not in name)],
)
def test_relevance_by_the_book(name, epsilon, sequences):
    """Gate by gate, an LSTM adds its bias to x W before h U, which stabilises other numbers."""
    make, formula = CELLS[name]
    x = keras.Input((5, 3), **DOUBLE)
    layer = make(4, return_sequences=sequences, **DOUBLE)
    model, data = built(layer(x), x), samples(2, 5, 3)
    rule = innvestigate.rules.Epsilon(epsilon) if epsilon else "Z"
    y = np.array(model(data))
    w = samples(*y.shape, seed=1)
    found = explained(model, "lrp", data, w, rule=rule)
    weights = [np.array(v, "float64") for v in layer.get_weights()]
    for sample, R, relevance in zip(data, w * y, found, strict=True):
        arriving = R if sequences else np.concatenate([np.zeros((4, 4)), R[None]])
        expected = formula(sample, weights, arriving, epsilon)
        np.testing.assert_allclose(relevance, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore:No signal can reach the input")
@pytest.mark.parametrize("zeroes", [False, True])
@pytest.mark.parametrize("name", ["simple", "lstm", "gru"])
def test_masked_points_in_time_are_passed_by(name, zeroes):
    """Where the output before stays, so does its relevance; zeros get none."""
    make, formula = CELLS[name]
    x, mask = keras.Input((6, 3), **DOUBLE), keras.Input((6,), dtype="bool")
    layer = make(4, return_sequences=True, **DOUBLE)
    layer.zero_output_for_mask = zeroes
    model = built(layer(x, mask=mask), x, mask)
    data = samples(2, 6, 3)
    exists = np.array([[1, 1, 0, 1, 0, 1], [0, 1, 1, 1, 0, 0]], bool)
    y = np.array(model([data, exists]))
    w = samples(*y.shape, seed=1)
    found = explained(model, "lrp.z", [data, exists], w)[0]
    weights = [np.array(v, "float64") for v in layer.get_weights()]
    for k in range(2):
        R = (w * y)[k]
        if zeroes:
            R = np.where(exists[k][:, None], R, 0.0)
        expected = formula(data[k], weights, R, exists=exists[k])
        np.testing.assert_allclose(found[k], expected, rtol=1e-7, atol=1e-9)
        assert not found[k][~exists[k]].any()


def test_relevance_of_both_ways():
    x = keras.Input((4, 3), **DOUBLE)
    layer = layers.Bidirectional(layers.LSTM(3, **DOUBLE), **DOUBLE)
    model, data = built(layer(x), x), samples(2, 4, 3)
    y = np.array(model(data))
    found = explained(model, "lrp.z", data)
    weights = [np.array(v, "float64") for v in layer.get_weights()]
    for sample, R, relevance in zip(data, y, found, strict=True):
        arriving = np.zeros((2, 4, 3))
        arriving[:, -1] = R.reshape(2, 3)
        there = naive.lstm(sample, weights[:3], arriving[0])
        back = naive.lstm(sample[::-1], weights[3:], arriving[1])[::-1]
        np.testing.assert_allclose(relevance, there + back, rtol=1e-7, atol=1e-9)


def test_multipliers_by_the_book():
    x = keras.Input((5, 3), **DOUBLE)
    layer = layers.LSTM(4, return_sequences=True, **DOUBLE)
    model = built(layer(x), x)
    data, reference, w = samples(2, 5, 3), samples(5, 3, seed=2), samples(2, 5, 4, seed=1)
    arguments = {"reference_inputs": reference, "return_multipliers": True}
    found = explained(model, "deeplift", data, w, **arguments)
    weights = [np.array(v, "float64") for v in layer.get_weights()]
    for sample, arriving, multipliers in zip(data, w, found, strict=True):
        expected = naive.lstm_multipliers(sample, reference, weights, arriving)
        np.testing.assert_allclose(multipliers, expected, rtol=1e-7, atol=1e-9)


# --- Twins ----------------------------------------------------------------------------------------

LENGTH = 4
TWINS = {
    "lstm": (layers.LSTM, layers.LSTMCell, 2),
    "gru": (layers.GRU, layers.GRUCell, 1),
    "simple": (partial(layers.SimpleRNN, activation="relu"), None, 1),
}
RULES = ["Epsilon", "Alpha1Beta0", "Gamma", "Flat", "WSquare"]


@pytest.fixture(scope="module", params=["lstm", "gru"])
def twins(request):
    """A loop over time, and the same cell called once for each point in time."""
    make, make_cell, count = TWINS[request.param]
    x = keras.Input((LENGTH, 3), **DOUBLE)
    states = [keras.Input((5,), **DOUBLE) for _ in range(count)]
    layer, cell = make(5, return_sequences=True, **DOUBLE), make_cell(5, **DOUBLE)
    loop = built(layer(x, initial_state=states), x, *states)
    carried, written = states, []
    for t in range(LENGTH):
        y, carried = cell(x[:, t], carried)
        written.append(y)
    unrolled = keras.Model([x, *states], ops.stack(written, axis=1))
    cell.set_weights(layer.get_weights())
    return loop, unrolled, [samples(3, LENGTH, 3), *(samples(3, 5, seed=s) for s in range(count))]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        *(("lrp", {"rule": rule}) for rule in RULES),
        ("lrp", {"rule": "Epsilon", "input_layer_rule": (-3, 3)}),
        ("lrp", {"rule": "Epsilon", "input_layer_rule": "Flat"}),
        ("deeplift", {"reference_inputs": 0.3}),
        ("deeplift.reveal_cancel", {}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_loop_explains_as_its_steps_one_after_the_other(twins, method, arguments):
    loop, unrolled, xs = twins
    w = samples(3, LENGTH, 5, seed=3)
    found, expected = (explained(m, method, xs, w, **arguments) for m in (loop, unrolled))
    pairs = list(zip(found, expected, strict=True))
    for a, b in pairs[:1] if "input_layer_rule" in arguments else pairs:
        assert gap(a, b) < 1e-6  # one after the other, the first step of states is a first layer


def recurrent(layer, shape=(6, 3), **arguments):
    x = keras.Input(shape, **arguments)
    return built(layers.Dense(2)(layer(x)), x)


@pytest.mark.parametrize("method", ["lrp.epsilon", "deeplift"])
def test_unrolled_and_shorter_ones_are_the_same(method):
    """A layer that Keras unrolls, and one whose length is open."""
    x = samples(3, 6, 3).astype("float32")
    model = recurrent(layers.LSTM(4))
    expected = explained(model, method, x)
    for twin in (recurrent(layers.LSTM(4, unroll=True)), recurrent(layers.LSTM(4), (None, 3))):
        twin.set_weights(model.get_weights())
        assert gap(explained(twin, method, x), expected) < 1e-6


def stateful():
    """A model with a stateful layer that has seen data, and its twin whose states are inputs."""
    x = keras.Input(batch_shape=(3, 4, 3))
    layer = layers.LSTM(4, stateful=True)
    model = built(layers.Dense(2)(layer(x)), x)
    data = samples(3, 4, 3).astype("float32")
    model(data)
    states = [np.array(state) for state in layer.states]
    x, h, c = keras.Input((4, 3)), keras.Input((4,)), keras.Input((4,))
    twin = keras.Model([x, h, c], layers.Dense(2)(layers.LSTM(4)(x, initial_state=[h, c])))
    twin.set_weights(model.get_weights())
    return model, twin, data, states


COMPARE = ("deeplift", "integrated_gradients")


@pytest.mark.parametrize(
    "method", ["gradient", "lrp.epsilon", "deeplift", "integrated_gradients", "occlusion"]
)
def test_a_stateful_layer_starts_from_its_present_state(method):
    """Each point of a path and each window starts from the state of its sample, too."""
    model, twin, data, states = stateful()
    arguments = {"reference_inputs": [0 * data, *states]} if method in COMPARE else {}
    expected = explained(twin, method, [data, *states], **arguments)[0]
    assert gap(explained(model, method, data), expected) < 1e-5
    for state, before in zip(model.layers[1].states, states, strict=True):
        np.testing.assert_array_equal(state, before)


def test_noise_on_the_input_of_a_stateful_layer():
    model, _, data, _ = stateful()
    still = innvestigate.create_analyzer("smoothgrad", model, noise_scale=0.0, augment_by_n=5)
    gradient = innvestigate.create_analyzer("gradient", model)
    np.testing.assert_allclose(still.analyze(data), gradient.analyze(data), rtol=1e-5, atol=1e-7)


def test_a_stateful_layer_takes_as_many_samples_as_it_has_states():
    model, _, data, _ = stateful()
    analyzer = innvestigate.create_analyzer("integrated_gradients", model, steps=3)
    twice = np.concatenate([data, data])
    for wrong, size in ((data[:1], 32), (twice, 32), (twice, 4)):
        with pytest.raises(ValueError, match=r"holds the states of 3 samples.*with batch_size=3"):
            analyzer.analyze(wrong, batch_size=size)
    found = analyzer.analyze(twice, batch_size=3)
    np.testing.assert_array_equal(found[3:], found[:3])


# --- What is kept ---------------------------------------------------------------------------------


class Peephole(layers.Layer):
    """A cell of its own: its output is none of its states, one of which counts time."""

    def __init__(self, units, bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.output_size = units, [units, 1], units
        self.inner = layers.Dense(units, use_bias=bias)
        self.gate = layers.Dense(units, activation="sigmoid", use_bias=bias)

    def build(self, shape):
        self.inner.build((shape[0], shape[-1]))
        self.gate.build((shape[0], self.units))
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")
        self.built = True

    def call(self, x, states):
        before, time = states
        state = ops.tanh(self.inner(x) + ops.matmul(before, self.recurrent))
        return state * self.gate(state), [state, time + 1.0]


def images(layer):
    return layer, (3, 4, 4, 2)


def kinds(bias):
    """Recurrent layers of all kinds, and shapes of their input."""
    lstm = partial(layers.LSTM, use_bias=bias, unit_forget_bias=bias)
    conv = {"padding": "same", "use_bias": bias, "unit_forget_bias": bias}
    cells = [layers.GRUCell(3, use_bias=bias), Peephole(2, bias)]
    cells = [*cells, layers.SimpleRNNCell(3, use_bias=bias, dropout=0.5)]
    two = partial(layers.Bidirectional, merge_mode="concat")
    return {
        "lstm": lstm(3),
        "lstm, gate by gate": lstm(3, implementation=1),
        "gru": layers.GRU(3, use_bias=bias),
        "gru, reset before": layers.GRU(3, use_bias=bias, reset_after=False),
        "simple": layers.SimpleRNN(3, use_bias=bias, dropout=0.5),
        "own cell": layers.RNN(Peephole(3, bias), return_sequences=True),
        "stacked": layers.RNN(cells, return_sequences=True),
        "backwards": lstm(3, go_backwards=True, return_sequences=True),
        "concat": two(lstm(3, return_sequences=True)),
        "sum": two(layers.GRU(3, use_bias=bias), merge_mode="sum"),
        "ave": two(lstm(3), merge_mode="ave"),
        "mul": two(lstm(3, return_sequences=True), merge_mode="mul"),
        "for each time": (layers.TimeDistributed(lstm(3)), (2, 4, 3)),
        "conv 1d": (layers.ConvLSTM1D(2, 3, **conv), (3, 5, 2)),
        "conv 2d": images(layers.ConvLSTM2D(2, 3, return_sequences=True, **conv)),
        "conv 3d": (layers.ConvLSTM3D(1, 2, **conv), (2, 3, 3, 3, 1)),
    }


def around(layer, bias=True, seed=0):
    layer, shape = layer if isinstance(layer, tuple) else (layer, (4, 3))
    keras.utils.set_random_seed(seed)
    x = keras.Input(shape)
    y = layers.Dense(2, use_bias=bias)(layers.Flatten()(layer(x)))
    data = samples(3, *shape, seed=seed).astype("float32")
    return (built(y, x) if bias else keras.Model(x, y)), data


def totals(results):
    return sum(r.astype("float64").sum(axis=tuple(range(1, r.ndim))) for r in results)


@pytest.mark.parametrize("name", kinds(False))
def test_relevance_is_conserved(name):
    with in_float32():  # a GRU without a bias does not run in JAX's 64-bit mode
        model, x = around(kinds(False)[name], bias=False)
        found = explained(model, "lrp.z", x)
        expected = np.array(model(x)).sum(1)
    np.testing.assert_allclose(
        totals([found]), expected, atol=1e-4 * np.abs(found).sum((-1, -2)).max()
    )


@pytest.mark.parametrize("name", kinds(True))
def test_contributions_add_up(name):
    model, x = around(kinds(True)[name])
    reference = samples(*x.shape[1:], seed=5).astype("float32")
    expected = np.array(model(x)).sum(1) - np.array(model(reference[None])).sum()
    found = explained(model, "deeplift", x, reference_inputs=reference)
    np.testing.assert_allclose(totals([found]), expected, atol=1e-5)


class Late(Peephole):
    """A cell that starts with activations: what comes from the step before, and what goes in."""

    def call(self, x, states):
        before, time = states
        state = self.inner(ops.tanh(x)) + ops.matmul(ops.relu(before), self.recurrent)
        return state, [state, time]


@pytest.mark.parametrize("rule", ["rescale", "reveal_cancel"])
def test_activations_at_both_ends_of_a_loop(rule):
    """Where pairs of multipliers arrive at it, and leave it."""
    x = keras.Input((4, 3))
    y = layers.Dense(3)(x)
    y = layers.Activation("relu")(layers.RNN(Late(3), return_sequences=True)(y))
    model = built(layers.Dense(2)(layers.Flatten()(y)), x)
    data = samples(3, 4, 3).astype("float32")
    found = explained(model, f"deeplift.{rule}", data)
    expected = np.array(model(data)).sum(1) - np.array(model(0 * data)).sum(1)
    np.testing.assert_allclose(totals([found]), expected, atol=1e-5)


@examples(6)
@given(
    st.sampled_from(["deeplift.rescale", "deeplift.reveal_cancel", "deeplift.genomics_default"]),
    st.sampled_from(["tanh", "relu"]),
    st.integers(0, 9),
)
def test_contributions_add_up_for_each_rule(method, activation, seed):
    x = keras.Input((5, 3))
    y = layers.SimpleRNN(4, activation=activation, return_sequences=True)(x)
    model = built(layers.Dense(2)(layers.GRU(3, activation=activation)(y)), x, seed=seed)
    data, reference = (samples(3, 5, 3, seed=s).astype("float32") for s in (seed, seed + 10))
    expected = np.array(model(data)).sum(1) - np.array(model(reference)).sum(1)
    found = explained(model, method, data, reference_inputs=reference[:, None])
    np.testing.assert_allclose(totals([found]), expected, atol=1e-5)


@pytest.mark.parametrize("method", ["lrp.epsilon", "lrp.alpha_1_beta_0", "deeplift"])
@examples(3)
@given(st.sampled_from(["lstm", "gru", "both"]), st.integers(1, 4), st.integers(0, 9))
def test_padding_gets_nothing_and_changes_nothing(method, kind, count, seed):
    x = keras.Input((None, 3))
    layer = {
        "lstm": layers.LSTM(4),
        "gru": layers.GRU(4, return_sequences=True),
        "both": layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
    }[kind]
    y = layer(layers.Masking()(x))
    y = layers.GlobalAveragePooling1D()(y) if kind != "lstm" else y
    model = built(layers.Dense(2)(y), x, seed=seed)
    short = samples(2, 5, 3, seed=seed).astype("float32")
    short[0, 3] = short[1, 0] = 0
    long = np.concatenate([short, np.zeros((2, count, 3), "float32")], axis=1)
    found, padded = (explained(model, method, data) for data in (short, long))
    assert not padded[:, 5:].any() and not found[0, 3].any() and not found[1, 0].any()
    np.testing.assert_allclose(padded[:, :5], found, rtol=1e-5, atol=1e-6 * np.abs(found).max())


def test_final_states_and_initial_ones_take_part():
    """An encoder's states start a decoder, both ways."""
    x, y = keras.Input((4, 3)), keras.Input((3, 2))
    both = layers.Bidirectional(layers.LSTM(3, return_state=True))
    encoded, *states = both(x)
    decoded = layers.Bidirectional(layers.LSTM(3))(y, initial_state=states)
    model = built(layers.Dense(2)(layers.Concatenate()([encoded, decoded])), x, y)
    data = [samples(2, 4, 3).astype("float32"), samples(2, 3, 2).astype("float32")]
    found = explained(model, "deeplift", data)
    expected = np.array(model(data)).sum(1) - np.array(model([0 * a for a in data])).sum(1)
    np.testing.assert_allclose(totals(found), expected, atol=1e-5)


# --- Rules for the steps of a loop ----------------------------------------------------------------


def test_each_step_of_a_loop_has_its_line():
    model = recurrent(layers.LSTM(4, name="memory"))
    rules = [(lambda layer: layer.name == "memory", "Gamma"), (lambda layer: True, "Epsilon")]
    made = innvestigate.create_analyzer("lrp", model, rule=rules, input_layer_rule="Flat")
    plan = [(line.kind, line.rule) for line in made.plan() if line.step.startswith("memory.loop")]
    assert plan[0] == ("a loop over time", "")
    kernels = [rule for kind, rule in plan if kind == "linear, with a kernel"]
    assert kernels == ["Flat()", "Gamma(gamma=0.25, bias=True)"]
    assert sum(kind == "product of tensors" for kind, _ in plan) == 3


def test_deep_taylor_looks_inside_a_loop():
    x = samples(2, 6, 3).astype("float32")
    found = explained(recurrent(layers.SimpleRNN(4, activation="relu")), "deep_taylor", x)
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match=r"ReLU activations only. Found: 'sigmoid' at 'lstm"):
        innvestigate.create_analyzer("deep_taylor", recurrent(layers.LSTM(4)))


def test_the_box_is_taken_along_to_a_loop():
    x, data = keras.Input((6, 3)), samples(2, 6, 3).astype("float32")
    layer, head = layers.LSTM(4, go_backwards=True), layers.Dense(2)
    model = built(head(layer(layers.Rescaling(2.0, 0.5)(x))), x)
    found = explained(model, "lrp.epsilon", data, input_layer_rule=(-4, 4))
    own = keras.Model(x, head(layer(x)))
    expected = explained(own, "lrp.epsilon", 2 * data + 0.5, input_layer_rule=(-7.5, 8.5))
    assert gap(found, expected) < 1e-5


def test_a_box_without_a_first_layer_is_told():
    x = keras.Input((6, 3))
    model = keras.Model(x, layers.LSTM(2)(layers.LayerNormalization()(x)))
    with pytest.warns(UserWarning, match="applies to no layer"):
        innvestigate.create_analyzer("lrp.epsilon", model, input_layer_rule=(-3, 3))


def test_a_comparison_inside_a_loop_is_refused():
    class Step(Peephole):
        def call(self, x, states):
            before, time = states
            state = self.inner(x) + ops.matmul(before, self.recurrent)
            return ops.where(state > 0, state, 0.1 * state), [state, time]

    model = recurrent(layers.RNN(Step(3)))
    with pytest.raises(innvestigate.NoRuleError, match="by comparing"):
        innvestigate.create_analyzer("deeplift", model)
