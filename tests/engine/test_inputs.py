"""What is handed to `analyze`: every form that Keras takes, and errors for what means nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import innvestigate
from innvestigate.engine.inputs import InputSpec
from innvestigate.graph.step import Graph

RANDOM = np.random.default_rng(0)


def network(*shape, dtype=None):
    """A model for samples of a shape."""
    parts = [layers.Input(shape, dtype=dtype), layers.Flatten(), layers.Dense(4, activation="relu")]
    return keras.Sequential([*parts, layers.Dense(2)])


def explain(model, name="input_t_gradient", **arguments):
    return innvestigate.create_analyzer(name, model, **arguments).analyze


def generator(x):
    """A data set of batches of two."""
    return (x[i : i + 2] for i in range(0, len(x), 2))


# --- Masked arrays --------------------------------------------------------------------------------

X = RANDOM.normal(size=(5, 4)).astype("float32")
MASKED = np.ma.masked_equal(X, X.max())


@pytest.mark.parametrize(
    "x",
    [MASKED, list(MASKED), {"x": MASKED}, [MASKED], generator(MASKED)],
    ids=["array", "rows", "dict", "list of one", "data set"],
)
def test_masked_entries_are_refused(x):
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match=r"Input 'x' is a masked array.*filled"):
        explain(model)(x)


def test_a_masked_array_without_a_masked_entry_is_an_array():
    run = explain(network(4))
    expected = run(X)
    for mask in (False, np.zeros(X.shape, bool)):
        np.testing.assert_array_equal(run(np.ma.array(X, mask=mask)), expected)
        batches = generator(np.ma.array(X, mask=mask))
        np.testing.assert_allclose(run(batches), expected, rtol=1e-5, atol=1e-7)


def test_masked_references_and_weights_are_refused():
    model = network(4)
    with pytest.raises(ValueError, match=r"reference_inputs .*is a masked array"):
        explain(model, "deeplift", reference_inputs=MASKED)
    weights = np.ma.masked_equal([1.0, 2.0], 2)
    with pytest.raises(ValueError, match="neuron_selection is a masked array"):
        explain(model, neuron_selection_mode="weights")(X, weights)


# --- Numbers beyond the model's type --------------------------------------------------------------


@pytest.mark.parametrize("form", [lambda x: x, np.ndarray.tolist, generator])
def test_numbers_that_single_precision_cannot_hold(form):
    x = np.ones((70, 4))
    x[[3, 66], 1] = 1e39
    samples = "in sample 3" if form is generator else "in sample 3, 66"
    with pytest.raises(ValueError, match=rf"Input '.*' holds numbers that float32.*{samples}\."):
        explain(network(4))(form(x), batch_size=100)


@pytest.mark.parametrize(
    ("dtype", "largest", "beyond"),
    [("float16", 65504.0, 70000), ("bfloat16", 3e38, 3.4e38), ("float64", 1e300, None)],
)
def test_numbers_that_other_types_cannot_hold(dtype, largest, beyond):
    spec = InputSpec(Graph([], keras.Input((2,), dtype=dtype, name="x"), []))
    spec.flat(np.array([[largest, 0]]), 0)
    if beyond is not None:
        with pytest.raises(ValueError, match=f"'x' holds numbers that {dtype}.*in sample 9"):
            spec.flat(np.array([[beyond, 0]]), 9)


def test_whole_numbers_beyond_half_precision():
    spec = InputSpec(Graph([], keras.Input((2,), dtype="float16", name="x"), []))
    with pytest.raises(ValueError, match="holds numbers that float16"):
        spec.flat(np.array([[0, 100_000]]), 0)


# --- A missing or superfluous last axis -----------------------------------------------------------

SHAPES = {
    "vector for a column": ((1,), (5,)),
    "matrix for columns": ((4, 1), (5, 4)),
    "images without channels": ((6, 6, 1), (5, 6, 6)),
    "columns for a matrix": ((4,), (5, 4, 1)),
    "images with a further axis": ((6, 6, 3), (5, 6, 6, 3, 1)),
    "samples of any length": ((None, 1), (5, 4)),
    "a single sample": ((1,), (1,)),
}


def of_any_length():
    inputs = keras.Input((None, 1))
    pooled = layers.GlobalAveragePooling1D()(layers.Conv1D(3, 2)(inputs))
    return keras.Model(inputs, layers.Dense(2)(pooled))


METHODS = ["input_t_gradient", "integrated_gradients", "deeplift", "shapley_sampling", "occlusion"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("case", SHAPES)
def test_a_last_axis_of_size_one_is_seen_to_as_keras_does(case, name):
    own, given = SHAPES[case]
    x = RANDOM.normal(size=given)
    model = of_any_length() if None in own else network(*own)
    model.predict(x, verbose=0)
    arguments = {"samples": 2, "seed": 0} if name == "shapley_sampling" else {}
    analyzer = innvestigate.create_analyzer(name, model, **arguments)
    expected = analyzer.analyze(x[..., None] if len(given) == len(own) else x[..., 0])
    found = analyzer.analyze(x)
    assert found.shape == x.shape
    np.testing.assert_array_equal(found, expected.reshape(x.shape))
    batches = analyzer.analyze(tf.data.Dataset.from_tensor_slices(x).batch(2))
    np.testing.assert_allclose(batches, found, rtol=1e-5, atol=1e-6)


def test_a_list_is_a_vector_too():
    assert explain(network(1))([0.5, 1.0, 2.0]).shape == (3,)


def test_each_of_several_inputs_has_its_own_axes():
    a, b = keras.Input((1,), name="a"), keras.Input((4,), name="b")
    model = keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([a, b])))
    found = explain(model, layers=("input",))([X[:, 0], X[..., None]])["input"]
    assert [y.shape for y in found] == [(5,), (5, 4, 1)]
    found = explain(model)({"b": X, "a": X[:, 0]})
    assert {name: y.shape for name, y in found.items()} == {"a": (5,), "b": (5, 4)}


@pytest.mark.parametrize("asked", [{}, {"layers": ("input",)}])
def test_windows_belong_to_the_input_of_their_name(asked):
    b, a = keras.Input((1,), name="b"), keras.Input((4,), name="a")
    model = keras.Model([b, a], layers.Dense(2)(layers.Concatenate()([b, a])))
    run = explain(model, "occlusion", window_shape={"a": 3, "b": 1}, step=2, **asked)
    with pytest.warns(UserWarning, match="No window covers 1 features"):
        found = run({"a": X, "b": X[:, 0]})
    found = found["input"] if asked else found
    assert found["b"].shape == (5,)
    np.testing.assert_array_equal(np.isnan(found["a"]).any(axis=0), [False, False, False, True])


@pytest.mark.parametrize(
    ("own", "given"),
    [((None, None, 1), (8, 8, 1)), ((8, 8, 1), (8, 8)), ((8, 8, 3), (8, 8, 3)), ((4,), (4,))],
)
def test_a_missing_batch_axis_is_not_guessed(own, given):
    spec = InputSpec(Graph([], keras.Input(own, name="x"), []))
    with pytest.raises(ValueError, match="Input 'x' has the wrong shape"):
        spec.flat(np.zeros(given), 0)


# --- What is no input at all ----------------------------------------------------------------------


def batches_of_two():
    yield from generator(X)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, r"Input 'x' must hold real numbers\. .*NoneType"),
        ("cat.png", r"Input 'x' must hold real numbers\. .*str"),
        (object(), r"Input 'x' must hold real numbers\. .*object"),
        (batches_of_two, r"Input 'x' must hold real numbers\. .*function.* called: x\(\)"),
        ({"y": X}, r"Received the keys: \['y'\]; expected: \['x'\]"),
        ({}, "Received the keys"),
        ([], "wrong shape"),
        ([[1, 2], [3]], "Input 'x' is not an array"),
        (np.zeros((0, 4)), "holds no sample"),
        (3, "wrong shape"),
    ],
)
@pytest.mark.parametrize("name", ["gradient", "smoothgrad", "occlusion"])
def test_what_is_no_input(name, x, message):
    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match=message):
        explain(model, name)(x)


@pytest.mark.parametrize(("batches", "message"), [([], "holds no sample"), (["ab"], "Input")])
def test_what_is_no_data_set(batches, message):
    with pytest.raises(ValueError, match=message):
        explain(network(4))(iter(batches))


def test_what_pattern_net_cannot_be_fitted_to():
    analyzer = innvestigate.create_analyzer("pattern.net", network(4))
    for x in (None, "text", batches_of_two, MASKED):
        with pytest.raises(ValueError, match="Input"):
            analyzer.fit(x)
    with pytest.raises(ValueError, match="verbose"):
        analyzer.fit(X, verbose="loud")


class Weight(layers.Layer):
    """Whole numbers as weights, of which a mask is made, too: they stay whole in the mirror."""

    supports_masking = True

    def call(self, x):
        return keras.ops.cast(x, "float32")

    def compute_mask(self, x, mask=None):
        return keras.ops.not_equal(x, 0)


@pytest.mark.parametrize("name", ["input_t_gradient", "deeplift"])
def test_whole_numbers_that_make_a_mask_and_weigh(name):
    """Contributions to a network that is linear in the weights."""
    tokens, weights = (keras.Input((4,), dtype="int32") for _ in range(2))
    embedding, dense = layers.Embedding(9, 3), layers.Dense(2, use_bias=False)
    place = keras.ops.expand_dims(Weight()(weights), -1)
    model = keras.Model(
        [tokens, weights],
        dense(layers.GlobalAveragePooling1D()(layers.Multiply()([embedding(tokens), place]))),
    )
    x = [np.array([[1, 2, 3, 4]]), np.array([[2, 0, 1, 3]])]
    compared = {"reference_inputs": [x[0], np.zeros((1, 4))]} if name == "deeplift" else {}
    found = explain(model, name, neuron_selection_mode="index", **compared)(x, 1)[1]
    vectors = embedding.get_weights()[0][x[0]] * x[1][..., None]
    expected = vectors @ dense.get_weights()[0][:, 1] / 4
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["input_t_gradient", "lrp.epsilon", "deeplift"])
def test_whole_numbers_that_are_a_factor_and_a_mask(method):
    """The mirror keeps them whole for the mask, and a signal arrives at them as a factor."""
    tokens, exists = (keras.Input((4,), dtype="int32", name=n) for n in ("tokens", "exists"))
    y = layers.Embedding(6, 3)(tokens) * ops.cast(exists, "float32")[:, :, None]
    y = layers.LSTM(3)(y, mask=ops.not_equal(exists, 0))
    model = keras.Model([tokens, exists], layers.Dense(2)(y))
    x = [np.array([[1, 2, 3, 4], [5, 1, 2, 0]]), np.array([[1, 1, 1, 1], [2, 1, 1, 0]])]
    references = [0 * x[0], x[1]]
    arguments = {"reference_inputs": references} if method == "deeplift" else {}
    found = innvestigate.create_analyzer(method, model, **arguments).analyze(x)
    assert [r.dtype for r in found] == ["float32"] * 2
    assert not found[1][1, 3].any()
    if method == "deeplift":
        y, y0 = np.array(model(x)), np.array(model(references))
        change = np.take_along_axis(y - y0, y.argmax(axis=1)[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(sum(r.sum(axis=1) for r in found), change, rtol=1e-4)
    else:
        assert found[1][x[1] > 0].all()
