"""The same numbers on every backend that is installed: TensorFlow here, the others in a process
of their own, on the same saved models."""

import importlib.util
import logging
import os
import subprocess
import sys
from contextlib import suppress

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.backend import first_numbers, scan, vjp
from innvestigate.graph.decompositions import DECOMPOSITIONS
from tests.frameworks import on_tensorflow
from tests.graph import operation_cases

OTHERS = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
SCRIPT = """
import sys, warnings, numpy as np, keras, innvestigate
warnings.simplefilter("ignore")
model = keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
results = {}
for method in sys.argv[4:]:
    results[method] = innvestigate.create_analyzer(method, model).analyze(x)
np.savez(sys.argv[3], **results)
"""


def sentence_model():
    text = keras.Input((), dtype="string")
    words = layers.TextVectorization(vocabulary=["a", "good", "film"], output_sequence_length=5)
    y = layers.Dense(4, "tanh")(layers.Embedding(5, 4, mask_zero=True)(words(text)))
    return keras.Model(text, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


def recurrent_model():
    x = keras.Input((6, 4))
    y = layers.Masking()(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    cells = [layers.SimpleRNNCell(4), layers.GRUCell(3)]
    return keras.Model(x, layers.Dense(3)(layers.RNN(cells)(y)))


CASES = {
    "sentences": (
        sentence_model,
        ("gradient", "lrp.epsilon", "deeplift", "integrated_gradients", "occlusion"),
        lambda rng: np.array(["a good film", "a film of a kind", "good one"]),
    ),
    "recurrent": (
        recurrent_model,
        ("gradient", "lrp.epsilon", "lrp.alpha_2_beta_1", "deeplift", "deeplift.reveal_cancel"),
        lambda rng: rng.normal(size=(3, 6, 4)).astype("float32") * (np.arange(6) != 3)[:, None],
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int8"])
def test_the_first_numbers_of_a_variable_are_read(dtype):
    variable = keras.Variable(np.arange(12).reshape(3, 4), dtype=dtype, trainable=False)
    read = first_numbers(variable.value, 4)
    assert isinstance(read, np.ndarray)
    before = read.tobytes()
    np.testing.assert_array_equal(np.asarray(read, "float64"), [0, 1, 2, 3])
    assert first_numbers(keras.Variable(7.0, dtype="float32").value, 4).shape == (1,)
    variable.assign(variable.value + 1)
    np.testing.assert_array_equal(
        np.asarray(first_numbers(variable.value, 4), "float64"), [1, 2, 3, 4]
    )
    assert first_numbers(variable.value, 4).tobytes() != before


def test_vjp_gives_zeros_where_an_output_does_not_depend_on_an_input():
    a, b = keras.ops.ones((2, 3)), keras.ops.ones((2, 3))
    outputs, pullback = vjp(lambda a, b: [a * 2.0], [a, b])
    first, second = pullback([keras.ops.ones((2, 3))])
    np.testing.assert_array_equal(outputs[0], np.full((2, 3), 2))
    np.testing.assert_array_equal(first, np.full((2, 3), 2))
    np.testing.assert_array_equal(second, np.zeros((2, 3)))


def test_the_way_back_has_a_derivative_where_numbers_are_gathered():
    x = keras.ops.convert_to_tensor(np.arange(6.0, dtype="float32").reshape(3, 2))
    picked = lambda x: [keras.ops.take(x, [2, 0, 2], axis=0)]  # noqa: E731
    back = lambda signal: vjp(picked, [x])[1]([signal])  # noqa: E731
    _, pushed = vjp(back, [keras.ops.zeros((3, 2))])
    np.testing.assert_array_equal(pushed([x])[0], picked(x)[0])


@pytest.mark.parametrize("backwards", [False, True])
def test_scan_stacks_what_it_carries(backwards):
    """s = 2 s' + x, t = t' + 1, for elements in any structure."""
    x = np.arange(6.0).reshape(3, 2)
    start = {"s": keras.ops.ones((2,), "float64"), "t": [keras.ops.zeros((), "float64")]}

    def function(carry, elements):
        return {"s": 2.0 * carry["s"] + elements[0]["x"], "t": [carry["t"][0] + 1.0]}

    found = scan(function, start, [{"x": keras.ops.convert_to_tensor(x)}], backwards)
    expected, s = np.zeros((3, 2)), np.ones(2)
    for i in [2, 1, 0] if backwards else [0, 1, 2]:
        expected[i] = s = 2 * s + x[i]
    np.testing.assert_array_equal(found["s"], expected)
    np.testing.assert_array_equal(found["t"][0], [3, 2, 1] if backwards else [1, 2, 3])


MISSING = """
import sys

class Finder:
    def find_spec(self, name, *args):
        if name == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
import innvestigate
innvestigate.analyzers
"""


def test_a_framework_that_is_missing_is_named():
    run = subprocess.run(
        [sys.executable, "-c", MISSING],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
    )
    last = run.stderr.strip().splitlines()[-1]
    assert "pip install 'innvestigate[tensorflow]'" in last and "KERAS_BACKEND" in last


def test_jax_is_tested():
    assert "jax" in OTHERS


@pytest.mark.slow
@on_tensorflow
@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("case", CASES)
def test_other_backends_give_the_same_numbers(backend, case, tmp_path):
    build, methods, make = CASES[case]
    model, x = build(), make(np.random.default_rng(0))
    files = [tmp_path / name for name in ("model.keras", "x.npy", "results.npz")]
    model.save(files[0])
    np.save(files[1], x)
    command = [sys.executable, "-c", SCRIPT, *map(str, files), *methods]
    run = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    with np.load(files[2]) as results:
        for method in methods:
            expected = innvestigate.create_analyzer(method, model).analyze(x)
            tolerance = 2e-5 * np.abs(expected).max()
            np.testing.assert_allclose(results[method], expected, rtol=1e-4, atol=tolerance)


DECOMPOSED = """
import sys, numpy as np
from tests.backend.test_backends import explained_operations
np.savez(sys.argv[1], **explained_operations(sys.argv[2:]))
"""


def decomposed() -> list[str]:
    """The operations of keras.ops that are taken apart."""
    known = {str(name).lower() for name in DECOMPOSITIONS}
    inside = {*operation_cases.names()} - {*operation_cases.OUTSIDE, "multi_hot"}  # of integers
    return sorted(n for n in inside if n.split(".")[-1].replace("_", "") in known)


def explained_operations(names: list[str]) -> dict[str, np.ndarray]:
    """What LRP makes of operations; nothing where it has a reason.

    Norms and quantiles are called by a layer: by itself, Keras's operation does not run on JAX.
    """
    found, in_layers = {}, dict.fromkeys(("norm", "quantile"), operation_cases.Called)
    for name in names:
        model = operation_cases.model_of(name, in_layers.get(name, lambda call: call))
        x = operation_cases.sample(model)
        y = np.array(model(x))
        weights = np.random.default_rng(1).normal(size=y.shape).astype("float32")
        found[name] = np.zeros(())
        with suppress(innvestigate.NoRuleError):
            analyzer = innvestigate.create_analyzer(
                "lrp.epsilon", model, neuron_selection_mode="weights", keep_output_activation=True
            )
            found[name] = analyzer.analyze(x, weights)
    return found


@pytest.mark.slow
@on_tensorflow
def test_operations_that_are_taken_apart_give_the_same_numbers_on_jax(tmp_path):
    """Quantiles and norms among them, along an axis."""
    names = [*decomposed(), "quantile"]
    assert "norm" in names and len(names) > 20
    command = [sys.executable, "-W", "ignore", "-c", DECOMPOSED, str(tmp_path / "found.npz")]
    run = subprocess.run(
        [*command, *names],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    expected = explained_operations(names)
    with np.load(tmp_path / "found.npz") as found:
        assert {*found} == {*expected}
        for key, values in expected.items():
            tolerance = 1e-4 * np.abs(values).max()
            np.testing.assert_allclose(found[key], values, rtol=0, atol=tolerance, err_msg=key)


@on_tensorflow
def test_many_analyzers_bring_no_advice_of_tensorflow(caplog):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    x = np.ones((1, 3), "float32")
    for _ in range(8):
        innvestigate.create_analyzer("lrp.z", model).analyze(x)
    assert "retracing" not in caplog.text


@on_tensorflow
def test_the_advice_is_kept_back_only_while_an_analyzer_runs(caplog):
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    innvestigate.create_analyzer("lrp.z", model).analyze(np.ones((1, 3), "float32"))
    logging.getLogger("tensorflow").warning("This triggered tf.function retracing.")
    assert "retracing" in caplog.text
