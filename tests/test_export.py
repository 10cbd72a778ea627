"""Exported explainers compute what `analyze` computes, without the library."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import innvestigate
from innvestigate import ExportError
from tests.models import build

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
import export_models  # noqa: E402
import export_table  # noqa: E402

pytestmark = pytest.mark.only("tensorflow")

CELLS = [
    ("mlp", "lrp.epsilon"),
    ("mlp", "pattern.attribution"),
    ("cnn", "deep_taylor"),
    ("cnn", "guided_backprop"),
    ("transformer", "lrp.attn"),
    ("lstm", "gradient"),
    ("mlp", "deeplift"),
]
FORMATS = [
    "tf_saved_model",
    *(["onnx"] if importlib.util.find_spec("tf2onnx") else []),
    "litert",
]


@pytest.mark.parametrize("model, method", CELLS)
def test_files_compute_what_analyze_computes(model, method, monkeypatch):
    """For batches of two sizes, by the script of the table."""
    runtimes = {name: run for name, run in export_table.RUNTIMES.items() if name in FORMATS}
    monkeypatch.setattr(export_table, "RUNTIMES", runtimes)
    rows = export_table.measure(model, method)
    assert [row["format"] for row in rows] == FORMATS
    assert all(float(row["difference"] or "inf") < 1e-4 for row in rows), rows


def test_the_page_tells_of_every_method_and_model():
    page = (ROOT / "docs" / "export.md").read_text()
    made = page.partition(export_table.BEGIN)[2].partition(export_table.END)[0]
    assert all(f"| `{method}` |" in made for method in export_table.METHODS)
    assert all(f" {name} |" in made for name in export_models.MODELS)


@pytest.fixture
def explainer(tmp_path):
    return tmp_path / "explainer"


def served(path, x):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return keras.tree.map_structure(np.asarray, loaded.serve(x))


@pytest.mark.parametrize("name", ["two_inputs", "dict_inputs", "embedding", "uint8"])
def test_relevance_comes_in_the_structure_of_the_inputs(name, explainer):
    model, x = build(name)
    analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
    analyzer.export(explainer)
    found, expected = served(explainer, x), analyzer.analyze(x)
    keras.tree.assert_same_structure(found, expected)
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected
    )


@pytest.mark.parametrize(
    "mode, selection",
    [("index", 2), ("contrast", (2, 0)), ("all", None), ("weights", np.array([0.5, 0, -1, 2]))],
)
def test_neurons_are_fixed(mode, selection, explainer):
    model, x = build("cnn")
    analyzer = innvestigate.create_analyzer("gradient", model, neuron_selection_mode=mode)
    analyzer.export(explainer, neuron_selection=selection)
    expected = analyzer.analyze(x, selection)
    np.testing.assert_allclose(served(explainer, x), expected, atol=1e-6)


def test_results_at_layers_have_their_names(explainer):
    model, x = build("cnn")
    analyzer = innvestigate.create_analyzer("lrp.z", model, layers=["input", model.layers[1].name])
    analyzer.export(explainer)
    found, expected = served(explainer, x), analyzer.analyze(x)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_wrappers_export_what_they_run_and_say_so(explainer):
    model, x = build("mlp")
    analyzer = innvestigate.create_analyzer("integrated_gradients", model)
    with pytest.warns(UserWarning, match="explainer of one point"):
        analyzer.export(explainer)
    gradient = innvestigate.create_analyzer("gradient", model).analyze(x)
    np.testing.assert_allclose(served(explainer, x), gradient, atol=1e-6)


@pytest.mark.parametrize("name", ["occlusion", "shapley_sampling", "random", "input"])
def test_methods_without_a_mirror_are_refused(name, explainer):
    analyzer = innvestigate.create_analyzer(name, build("mlp")[0])
    with pytest.raises(ExportError, match="no mirror"):
        analyzer.export(explainer)
    assert not explainer.exists()


@pytest.mark.parametrize(
    "arguments, call, says",
    [
        ({}, {"format": "pickle"}, "format"),
        ({}, {"batch_size": 0}, "batch_size"),
        ({}, {"neuron_selection": 1}, "max_activation"),
        ({"neuron_selection_mode": "index"}, {}, "neuron_selection"),
        ({"neuron_selection_mode": "index"}, {"neuron_selection": 9}, "out of range"),
        ({"neuron_selection_mode": "index"}, {"neuron_selection": [1, 2]}, "entries"),
        ({"reference_inputs": np.zeros((1, 2, 5))}, {}, "one reference_inputs"),
        ({"reference_inputs": lambda x: x}, {}, "one reference_inputs"),
    ],
)
def test_what_cannot_be_exported_is_said(arguments, call, says, explainer):
    analyzer = innvestigate.create_analyzer("deeplift", build("mlp")[0], **arguments)
    with pytest.raises(ValueError, match=says):
        analyzer.export(explainer, **call)
    assert list(explainer.parent.iterdir()) == []


def test_operations_that_a_runtime_lacks_are_named(explainer):
    x = keras.layers.Input((4,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.ops.erfinv(keras.layers.Dense(3)(x))))
    analyzer = innvestigate.create_analyzer("gradient", model)
    with pytest.raises(ExportError, match=r"'litert'.*Erfinv"):
        analyzer.export(explainer, "litert")
    assert list(explainer.parent.iterdir()) == []


def test_an_explainer_replaces_its_own_folder_and_no_other(explainer):
    model, x = build("mlp")
    for name in ("gradient", "lrp.z"):
        innvestigate.create_analyzer(name, model).export(explainer)
    expected = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    np.testing.assert_allclose(served(explainer, x), expected, atol=1e-6)
    assert [path.name for path in explainer.parent.iterdir()] == ["explainer"]
    foreign = explainer.with_name("photographs")
    foreign.mkdir()
    (foreign / "cat.png").write_bytes(b"cat")
    analyzer = innvestigate.create_analyzer("lrp.z", model)
    with pytest.raises(FileExistsError, match="not replaced"):
        analyzer.export(foreign)
    with pytest.raises(FileExistsError):
        analyzer.export(foreign, "litert")
    with pytest.raises(FileNotFoundError):
        analyzer.export(foreign / "no" / "where")
    assert [path.name for path in foreign.iterdir()] == ["cat.png"]


def test_exporting_leaves_the_analyzer_as_it_is(explainer):
    model, x = build("lstm")
    analyzer = innvestigate.create_analyzer("gradient", model)
    before, weights = analyzer.analyze(x), model.get_weights()
    analyzer.export(explainer, "litert")
    np.testing.assert_array_equal(analyzer.analyze(x), before)
    assert all(map(np.array_equal, model.get_weights(), weights))
    assert not model.layers[1].unroll


def test_other_backends_say_where_to_export(tmp_path):
    code = (
        "import keras, innvestigate\n"
        "model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])\n"
        "innvestigate.create_analyzer('gradient', model).export('explainer')"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert "ExportError: Only the backend TensorFlow exports" in ran.stderr


def test_the_example_serves_without_the_library():
    command = [sys.executable, str(ROOT / "examples" / "serve_export.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "differs from analyze() by" in ran.stdout and "innvestigate'" not in ran.stdout
