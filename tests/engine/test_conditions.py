"""Heatmaps of parts of a layer alone: what of the signal at hidden layers goes on."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import innvestigate
from tests.frameworks import examples
from tests.models import randomize

METHODS = {
    "gradient": {},
    "lrp.epsilon": {},
    "lrp.alpha_2_beta_1": {},
    "lrp.epsilon_plus_flat": {},
    "deep_taylor": {},
    "deeplift": {},
    "deeplift.reveal_cancel": {},
    "integrated_gradients": {"steps": 3},
    "smoothgrad": {"seed": 0, "augment_by_n": 3},
}


def create(name, model, **arguments):
    return innvestigate.create_analyzer(name, model, **arguments)


def samples(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def residual():
    """Two convolutions, of which one is passed by, and a head."""
    keras.utils.set_random_seed(3)
    x = layers.Input((5, 4, 2))
    first = layers.Conv2D(3, 2, activation="relu", name="first")(x)
    second = layers.Conv2D(3, 3, padding="same", activation="relu", name="second")(first)
    y = layers.Flatten()(layers.Add(name="sum")([first, second]))
    model = keras.Model(x, layers.Dense(4, name="head")(y))
    randomize(model)
    return model


def dense(*sizes, activation="relu"):
    keras.utils.set_random_seed(1)
    hidden = [layers.Dense(n, activation=activation, name=f"h{i}") for i, n in enumerate(sizes[1:])]
    model = keras.Sequential([layers.Input((sizes[0],)), *hidden, layers.Dense(3, name="out")])
    randomize(model)
    return model


# --- Against the formula --------------------------------------------------------------------------


def naive_epsilon(model, x, index, shares, epsilon):
    """LRP-epsilon through dense rectified layers, what arrives at each weighted by a share."""
    kernels = [tuple(np.array(w, "float64") for w in layer.weights) for layer in model.layers]
    values, sums = [np.array(x, "float64")], []
    for kernel, bias in kernels:
        sums.append(values[-1] @ kernel + bias)
        values.append(np.maximum(sums[-1], 0))
    r = np.zeros_like(sums[-1])
    r[:, index] = sums[-1][:, index]
    for layer, (kernel, _), z, a in zip(
        model.layers[::-1], kernels[::-1], sums[::-1], values[-2::-1], strict=True
    ):
        r = r * shares.get(layer.name, 1)
        r = a * ((r / (z + epsilon * np.where(z >= 0, 1, -1))) @ kernel.T)
    return r


@pytest.mark.parametrize(
    "shares",
    [
        {"h1": [0, 3]},
        {"h0": [2]},
        {"h0": [1, 4], "h1": [0, 2]},
        {"h1": np.linspace(-1, 2, 5)},
        {"h1": np.linspace(-1, 2, 15).reshape(3, 5), "h0": np.array([True, False] * 3)},
    ],
)
def test_shares_of_each_layer(shares):
    model, x = dense(4, 6, 5), samples(3, 4)
    sizes, weights = {"h0": 6, "h1": 5}, {}
    for name, share in shares.items():
        channels = isinstance(share, list)
        weights[name] = np.isin(np.arange(sizes[name]), share) if channels else share
    analyzer = create("lrp.epsilon", model, neuron_selection_mode="index", epsilon=0.1)
    found = analyzer.analyze(x, 1, conditions=shares, batch_size=2)
    expected = naive_epsilon(model, x, 1, weights, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_gradient_through_one_neuron():
    model, x = dense(4, 6, 5, activation="tanh"), samples(3, 4)
    analyzer = create("gradient", model, neuron_selection_mode="index")
    found = analyzer.analyze(x, 2, conditions={"h0": 3})
    w = [np.array(layer.kernel, "float64") for layer in model.layers]
    b = [np.array(layer.bias, "float64") for layer in model.layers]
    first = np.tanh(x @ w[0] + b[0])
    second = np.tanh(first @ w[1] + b[1])
    at_neuron = ((1 - second**2) * w[2][:, 2]) @ w[1][3]
    expected = (at_neuron * (1 - first[:, 3] ** 2))[:, None] * w[0][:, 3]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


# --- All channels add up --------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("layer", ["first", "sum"])
def test_channels_add_up(name, layer):
    model, x = residual(), samples(3, 5, 4, 2)
    analyzer = create(name, model, **METHODS[name])
    whole = analyzer.analyze(x)
    parts = [analyzer.analyze(x, conditions={layer: [c]}, batch_size=2) for c in range(3)]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-5 * np.abs(whole).max())
    assert all(np.abs(part).max() > 0 for part in parts)


@examples(4)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    name=st.sampled_from(["lrp.epsilon", "lrp.z_plus", "gradient", "deeplift"]),
    seed=st.integers(0, 9),
)
@pytest.mark.usefixtures("step_by_step")
def test_channels_of_any_network_add_up(sizes, name, seed):
    model, x = dense(4, *sizes), samples(2, 4, seed=seed)
    analyzer = create(name, model)
    whole, layer = analyzer.analyze(x), f"h{len(sizes) - 1}"
    parts = [analyzer.analyze(x, conditions={layer: [c]}) for c in range(sizes[-1])]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-5 * max(np.abs(whole).max(), 1e-3))


def test_what_goes_past_a_layer_is_left_behind():
    model, x = residual(), samples(3, 5, 4, 2)
    analyzer = create("lrp.epsilon", model, layers=["second", "input"])
    found = analyzer.analyze(x, conditions={"second": [0, 1, 2]})
    passed, axes = found["second"].sum(axis=(1, 2, 3)), (1, 2, 3)
    assert not np.allclose(passed, create("lrp.epsilon", model).analyze(x).sum(axis=axes))
    unbiased = create("lrp.epsilon_IB", model, layers=["second", "input"])
    found = unbiased.analyze(x, conditions={"second": [0, 1, 2]})
    at_input, at_layer = (found[name].sum(axis=axes) for name in ("input", "second"))
    np.testing.assert_allclose(at_input, at_layer, rtol=1e-4, atol=1e-4)


def test_relevance_at_the_layer_itself_is_the_share():
    model, x = residual(), samples(2, 5, 4, 2)
    analyzer = create("lrp.epsilon", model, layers=["first"])
    whole = analyzer.analyze(x)["first"]
    found = analyzer.analyze(x, conditions={"first": [1]})["first"]
    np.testing.assert_array_equal(found[..., 1], whole[..., 1])
    assert not found[..., [0, 2]].any()


# --- Tokens, heads, loops, sizes ------------------------------------------------------------------


def transformer():
    keras.utils.set_random_seed(2)
    tokens = layers.Input((None,), dtype="int32")
    y = layers.Embedding(9, 6, name="vectors")(tokens)
    y = layers.MultiHeadAttention(2, 3, name="attention")(y, y)
    y = layers.LSTM(4, return_sequences=True, name="memory")(y)
    model = keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))
    randomize(model)
    return model, np.array([[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.mark.parametrize("name", ["lrp.attn", "gradient", "integrated_gradients"])
@pytest.mark.parametrize("layer", ["vectors", "attention", "memory"])
def test_tokens_add_up(name, layer):
    model, x = transformer()
    postprocess = {"steps": 3} if name.startswith("integrated") else {}
    name = "input_t_gradient" if name == "gradient" else name
    analyzer = create(name, model, **postprocess)
    whole = analyzer.analyze(x)
    places = [np.arange(4)[:, None] == i for i in range(4)]
    parts = [analyzer.analyze(x, conditions={layer: place}) for place in places]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-5 * np.abs(whole).max())


def test_heads_add_up():
    model, x = transformer()
    analyzer = create("lrp.attn", model)
    name = next(n for n in analyzer.task.graph.layer_outputs if n.endswith("value"))
    heads = [analyzer.analyze(x, conditions={name: np.eye(2)[h][:, None]}) for h in range(2)]
    both = analyzer.analyze(x, conditions={name: np.ones((2, 1))})
    np.testing.assert_allclose(sum(heads), both, atol=1e-5 * np.abs(both).max())
    assert all(np.abs(head).max() > 0 for head in heads)


def of_known_sizes():
    class Places(layers.Layer):
        def call(self, x):
            return x * ops.cast(ops.arange(1, ops.shape(x)[1] + 1), x.dtype)[None, :, None]

    x = layers.Input((None, 2))
    y = layers.Conv1D(3, 2, activation="relu", name="first")(Places()(x))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))
    randomize(model)
    return model


def test_models_of_known_sizes():
    analyzer, data = create("lrp.epsilon", of_known_sizes()), samples(3, 6, 2)
    parts = [analyzer.analyze(data, conditions={"first": c}, batch_size=2) for c in range(3)]
    np.testing.assert_allclose(sum(parts), analyzer.analyze(data), atol=1e-6)


# --- In every form of a call ----------------------------------------------------------------------


def test_rows_bring_their_own_shares():
    model, x = residual(), samples(4, 5, 4, 2)
    analyzer = create("lrp.epsilon", model, neuron_selection_mode="index")
    own = np.eye(3)[[0, 1, 2, 0]][:, None, None]
    expected = [analyzer.analyze(x[i : i + 1], 1, conditions={"first": i % 3}) for i in range(4)]
    found = analyzer.analyze(x, 1, conditions={"first": own}, batch_size=3)
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-6)
    streamed = analyzer.stream(x, 1, conditions={"first": own}, batch_size=3)
    np.testing.assert_array_equal(np.concatenate(list(streamed)), found)
    several = analyzer.analyze(x, [[[1], [2]]], conditions={"first": own}, batch_size=3)
    np.testing.assert_allclose(several[:, 0], found, atol=1e-6)
    batches = iter([x[:3], x[3:]])
    found_in_data = [analyzer.analyze(part, 1, conditions={"first": [0]}) for part in batches]
    alone = analyzer.analyze(x, 1, conditions={"first": [0]})
    np.testing.assert_allclose(np.concatenate(found_in_data), alone, atol=1e-6)


def test_channels_that_come_first():
    keras.utils.set_random_seed(1)
    x = layers.Input((2, 6))
    y = layers.Conv1D(3, 2, data_format="channels_first", name="first")(x)
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(layers.ReLU()(y))))
    randomize(model)
    analyzer = create("gradient", model, layers=["first"])
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow's CPU kernels take channels last.")
    found = analyzer.analyze(samples(2, 2, 6), conditions={"first": [1]})["first"]
    assert found[:, 1].any() and not found[:, [0, 2]].any()


def test_a_job_goes_on_with_its_own_conditions_only(tmp_path):
    model, x = residual(), samples(4, 5, 4, 2)
    analyzer, path = create("lrp.epsilon", model), str(tmp_path / "r.npy")
    analyzer.analyze(x, out=path, conditions={"first": [0]})
    expected = analyzer.analyze(x, conditions={"first": [0]})
    np.testing.assert_array_equal(np.load(path), expected)
    analyzer.analyze(x, out=path, conditions={"first": [0]}, resume=True)
    with pytest.raises(innvestigate.FileRefusedError):
        analyzer.analyze(x, out=path, conditions={"first": [1]}, resume=True)
    with pytest.raises(innvestigate.FileRefusedError):
        analyzer.analyze(x, out=path, resume=True)


def test_the_model_stays_as_it_is():
    model, x = residual(), samples(2, 5, 4, 2)
    analyzer, before = create("lrp.epsilon", model), model.get_weights()
    whole = analyzer.analyze(x)
    analyzer.analyze(x, conditions={"first": [0]})
    np.testing.assert_array_equal(analyzer.analyze(x), whole)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# --- Bad conditions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "error", "message"),
    [
        (3, TypeError, "conditions must be a dict"),
        ({1: [0]}, TypeError, "conditions must be a dict"),
        ({"frist": [0]}, ValueError, "'frist' is unknown"),
        ({"first": [3]}, ValueError, r"from 0 to 2.*Received: \[3\]"),
        ({"first": [-1]}, ValueError, "from 0 to 2"),
        ({"first": []}, ValueError, "first"),
        ({"first": np.ones(4)}, ValueError, r"\(4,\) does not broadcast to .*'batch', 4, 3, 3"),
        ({"first": np.ones((2, 1, 1, 1))}, ValueError, "2 entries for 3 samples"),
        ({"first": np.nan}, ValueError, "NaN"),
        ({"first": "all"}, (TypeError, ValueError), "conditions"),
        ({"first": None}, (TypeError, ValueError), "conditions"),
    ],
)
def test_wrong_conditions(conditions, error, message):
    analyzer = create("lrp.epsilon", residual())
    with pytest.raises(error, match=message):
        analyzer.analyze(samples(3, 5, 4, 2), conditions=conditions)


def test_layers_beside_each_other():
    keras.utils.set_random_seed(0)
    x = layers.Input((4,))
    left, right = (layers.Dense(3, name=name)(x) for name in ("left", "right"))
    analyzer = create("lrp.epsilon", keras.Model(x, layers.Add()([left, right])))
    with pytest.raises(ValueError, match="must lie behind each other"):
        analyzer.analyze(samples(2, 4), conditions={"left": [0], "right": [0]})


def test_more_entries_than_a_data_set_has_samples():
    analyzer, x = create("lrp.epsilon", residual()), samples(3, 5, 4, 2)
    own = np.ones((5, 1, 1, 1))
    with pytest.raises(ValueError, match="5 entries for 3 samples"):
        analyzer.analyze((x[i : i + 1] for i in range(3)), conditions={"first": own})


@pytest.mark.parametrize("name", ["input", "random", "occlusion", "grad_cam"])
def test_methods_without_a_signal(name):
    with pytest.raises(ValueError, match="sends no signal back through the layers"):
        create(name, residual()).analyze(samples(3, 5, 4, 2), conditions={"first": [0]})


def test_books_are_of_all_relevance():
    analyzer = create("lrp.epsilon", residual())
    with pytest.raises(ValueError, match="Leave `conditions` out"):
        analyzer.analyze(samples(3, 5, 4, 2), check=True, conditions={"first": [0]})


def test_arrays_fit_the_sizes_of_the_data():
    analyzer, data = create("lrp.epsilon", of_known_sizes()), samples(3, 6, 2)
    places = [analyzer.analyze(data, conditions={"first": np.eye(5)[i][:, None]}) for i in range(5)]
    np.testing.assert_allclose(sum(places), analyzer.analyze(data), atol=1e-6)
    with pytest.raises(ValueError, match=r"\(3, 7, 1\) does not broadcast to .*5, 3"):
        analyzer.analyze(data, conditions={"first": np.ones((3, 7, 1))})
