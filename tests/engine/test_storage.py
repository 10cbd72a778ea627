"""A saved analyzer comes back as it was, in another process too, or the file is refused."""

import inspect
import io
import json
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops, tree

import innvestigate
from innvestigate import rules
from innvestigate.analyzer import GaussianSmoother, Input, PathIntegrator
from innvestigate.cli.session import load_model
from innvestigate.engine.storage import _Decoder, _Encoder
from innvestigate.genomics import ShuffledReferences
from innvestigate.utils.archive import Section, pack
from innvestigate.utils.files import FileRefusedError
from tests.fuzz import hostile
from tests.models import ARGUMENTS, as_letters, build, makes_map
from tests.test_table import METHODS, OF_LETTERS, REQUIRED

register = keras.saving.register_keras_serializable(package="storage_tests")


@register
def is_dense(layer):
    return isinstance(layer, layers.Dense)


@register
def everywhere(layer):
    return True


@register
def halves(x):
    return x / 2


@register
@dataclass(frozen=True)
class Scaled(rules.Z):
    """A rule of the user's own, with a field."""

    factor: float = 1.0

    def relevance(self, *arguments):
        return self.factor * super().relevance(*arguments)


@register
class Shifted(rules.Rule):
    """A rule of the user's own that states its arguments."""

    def __init__(self, shift):
        self.shift = shift

    def __eq__(self, other):
        return type(other) is Shifted and other.shift == self.shift

    def get_config(self):
        return {"shift": self.shift}


@register
class Doubled(layers.Layer):
    """A layer of the user's own that Keras knows."""

    def call(self, x):
        return 2 * x


class Tripled(layers.Layer):
    """A layer of the user's own that Keras does not know."""

    def call(self, x):
        return 3 * x


@register
class Holder(Input):
    """An analyzer that takes any argument."""

    def __init__(self, model, value=None, **kwargs):
        self.value = value
        super().__init__(model, **kwargs)


def create(name, model="mlp", **kwargs):
    """An analyzer of the table, with a seed if it takes one, fitted if it has to be."""
    factory = innvestigate.analyzers[name]
    model = "conv1d" if model == "mlp" and makes_map(name) else model
    arguments = {**REQUIRED.get(name, {}), **ARGUMENTS.get(model, {}), **kwargs}
    if "seed" in inspect.signature(factory).parameters:
        arguments["seed"] = 3
    network, x = build(model)
    analyzer = innvestigate.create_analyzer(name, network, **arguments)
    if hasattr(analyzer, "fit"):
        analyzer.fit(x)
    return analyzer, as_letters(x) if name in OF_LETTERS else x


def reload(analyzer, path, **kwargs):
    analyzer.save(path)
    return innvestigate.load_analyzer(path, **kwargs)


def assert_equal(found, expected):
    tree.assert_same_structure(found, expected)
    for a, b in zip(tree.flatten(found), tree.flatten(expected), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@pytest.fixture
def path(tmp_path):
    return tmp_path / "analyzer.zip"


# --- What comes back ------------------------------------------------------------------------------


def names():
    """All methods, all but one of each family marked as slow."""
    quick = ("random", "gradient", "lrp", "deep_taylor.bounded", "pattern.net", "smoothgrad")
    slow = pytest.mark.slow
    return [pytest.param(name, marks=[] if name in quick else slow) for name in METHODS]


@pytest.mark.parametrize("name", names())
def test_every_method_comes_back(name, path):
    analyzer, x = create(name)
    loaded = reload(analyzer, path)
    assert type(loaded) is type(analyzer)
    assert_equal(loaded.analyze(x), analyzer.analyze(x))


@pytest.mark.parametrize("model", ["two_inputs", "two_outputs", "embedding", "nested", "cnn_bn"])
def test_models_of_every_form_come_back(model, path):
    analyzer, x = create("lrp.epsilon", model, neuron_selection_mode="all")
    assert_equal(reload(analyzer, path).analyze(x), analyzer.analyze(x))


INPUT = np.linspace(-1, 1, 15, dtype="float32").reshape(3, 5)
LISTED = [(is_dense, Scaled(factor=0.5)), (everywhere, Scaled)]
BOX = rules.ZBox(low=np.full(5, -2.0), high=np.float32(2))
ARGUMENT_LISTS = {
    "numpy number": ("lrp.epsilon", {"epsilon": np.float32(0.1), "bias": np.bool_(False)}),
    "rule": ("lrp", {"rule": rules.AlphaBeta(alpha=3)}),
    "rule without fields": ("lrp", {"rule": "Z", "input_layer_rule": rules.Flat()}),
    "class": ("lrp", {"rule": rules.ZPlus}),
    "list of registered": ("lrp", {"rule": LISTED}),
    "box": ("lrp", {"rule": "Z", "input_layer_rule": (-2, np.full(5, 2.0))}),
    "rule with an array": ("lrp", {"rule": "Z", "input_layer_rule": BOX}),
    "places": ("gradient", {"layers": ("input",), "postprocess": "square"}),
    "mode": ("gradient", {"neuron_selection_mode": "all", "keep_output_activation": True}),
    "array": ("integrated_gradients", {"reference_inputs": INPUT, "steps": 3}),
    "tensor": ("integrated_gradients", {"reference_inputs": ops.ones(5), "steps": 3}),
    "registered function": ("integrated_gradients", {"reference_inputs": halves, "steps": 3}),
}


@pytest.mark.parametrize("case", ARGUMENT_LISTS)
def test_every_kind_of_argument_comes_back(case, path):
    name, arguments = ARGUMENT_LISTS[case]
    analyzer = create(name, **arguments)[0]
    expected = analyzer.analyze(INPUT)
    assert_equal(reload(analyzer, path).analyze(INPUT), expected)
    assert np.any(tree.flatten(expected)[0] != tree.flatten(create("lrp.z")[0].analyze(INPUT))[0])


def test_wrapped_analyzers_come_back_with_their_state(path):
    fitted = create("pattern.net", neuron_selection_mode="weights")[0]
    analyzer = GaussianSmoother(PathIntegrator(fitted, steps=2), augment_by_n=2, seed=1)
    loaded = reload(analyzer, path)
    weights = np.eye(4)[:3]
    assert_equal(loaded.analyze(INPUT, weights), analyzer.analyze(INPUT, weights))
    with zipfile.ZipFile(path) as file:
        assert [n for n in file.namelist() if n.startswith("model")] == ["model_0.keras"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_plain_values_come_back_in_their_types(value):
    encoder = _Encoder()
    text = json.dumps(encoder.encode(value, "value"))
    found = _Decoder({}, encoder.arrays, None).decode(json.loads(text))
    assert repr(found) == repr(value)


def test_objects_come_back_in_their_types(path):
    value = {
        "references": ShuffledReferences(n=2, seed=5),
        ("key", 1): [rules.Gamma(0.5), rules.Gradient, np.int64(3), halves, Shifted(2)],
        "arrays": (np.array(["a", "bc"]), np.zeros((0, 2), "int8"), np.array(2.5)),
        "infinite": -np.inf,
    }
    found = reload(Holder(build("mlp")[0], value), path).value
    arrays, expected = found.pop("arrays"), value.pop("arrays")
    assert_equal(arrays, expected)
    assert found == value
    assert type(found["key", 1][2]) is int


def test_what_is_saved_is_what_the_analyzer_was_created_with(path):
    lines, x = [(everywhere, "Z")], build("mlp")[1]
    analyzer = innvestigate.create_analyzer("lrp", build("mlp")[0], rule=lines)
    lines.insert(0, (everywhere, "Flat"))
    assert_equal(reload(analyzer, path).analyze(x), analyzer.analyze(x))


def test_a_model_is_saved_as_it_is_now(path):
    model = keras.Sequential([layers.Input((5,)), layers.Dense(3)])
    analyzer = innvestigate.create_analyzer("gradient", model)
    before = analyzer.analyze(INPUT)
    model.set_weights([w + 1 for w in model.get_weights()])
    found = reload(analyzer, path).analyze(INPUT)
    assert_equal(found, analyzer.analyze(INPUT))
    assert np.all(found != before)


def test_a_loaded_analyzer_can_be_saved(path):
    analyzer, x = create("pattern.attribution")
    again = reload(reload(analyzer, path), path)
    assert_equal(again.analyze(x), analyzer.analyze(x))


def test_registered_and_custom_layers(path):
    model = keras.Sequential([layers.Input((5,)), Doubled(), layers.Dense(3)])
    analyzer = innvestigate.create_analyzer("gradient", model)
    assert_equal(reload(analyzer, path).analyze(INPUT), analyzer.analyze(INPUT))
    model = keras.Sequential([layers.Input((5,)), Tripled(), layers.Dense(3)])
    analyzer = innvestigate.create_analyzer("gradient", model)
    analyzer.save(path)
    with pytest.raises(FileRefusedError, match=r"needs 'Tripled'.*custom_objects={'Tripled'"):
        innvestigate.load_analyzer(path)
    loaded = innvestigate.load_analyzer(path, custom_objects={"Tripled": Tripled})
    assert_equal(loaded.analyze(INPUT), analyzer.analyze(INPUT))


SAVE = """
import sys
import numpy as np
from tests.engine.test_storage import INPUT, some_analyzers

*paths, results = sys.argv[1:]
analyzers = some_analyzers()
for analyzer, path in zip(analyzers, paths, strict=True):
    analyzer.save(path)
np.savez(results, *(analyzer.analyze(INPUT) for analyzer in analyzers))
"""
LOAD = """
import sys
import numpy as np
import innvestigate

*paths, x, results = sys.argv[1:]
analyzers = [innvestigate.load_analyzer(path) for path in paths]
np.savez(results, *(analyzer.analyze(np.load(x)) for analyzer in analyzers))
"""
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
"""With more of them TensorFlow itself rounds differently from process to process."""


def some_analyzers():
    box = {"input_layer_rule": (np.full(5, -2.0), 2), "epsilon": 0.1}
    return [
        innvestigate.create_analyzer("lrp.epsilon", build("mlp")[0], **box),
        GaussianSmoother(create("input_t_gradient")[0], augment_by_n=3, seed=1),
        create("pattern.attribution")[0],
        create("shapley_sampling")[0],
    ]


def test_another_process_gives_identical_arrays(tmp_path):
    def run(script, *arguments):
        subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            check=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | ONE_THREAD,
        )

    files = [tmp_path / f"{i}.zip" for i in range(len(some_analyzers()))]
    x, saved, loaded = (tmp_path / name for name in ("x.npy", "saved.npz", "loaded.npz"))
    np.save(x, INPUT)
    run(SAVE, *files, saved)
    run(LOAD, *files, x, loaded)
    with np.load(saved) as expected, np.load(loaded) as found:
        for name in expected:
            assert np.any(expected[name])
            np.testing.assert_array_equal(found[name], expected[name])


# --- What cannot be saved -------------------------------------------------------------------------


def own_function(x):
    return x


class OwnRule(rules.Z):
    pass


@register
class Stateful(rules.Rule):
    """A rule with an attribute and no `get_config` of its own."""

    def __init__(self, scale):
        self.scale = scale


class OwnAnalyzer(Input):
    pass


UNSAVABLE = {
    "condition": ([(lambda layer: True, "Z")], r"value of storage_tests>Holder\[0\]\[0\].*lambda"),
    "function": ({"a": own_function}, r"value of .*\['a'\] cannot .*own_function.*your own"),
    "numpy function": (np.negative, "value of .* cannot be saved: <ufunc 'negative'>"),
    "rule": (OwnRule(), "OwnRule.*Register the function or class"),
    "class of a rule": (OwnRule, "OwnRule.*Register the function or class"),
    "rule with attributes": (Stateful(2), "Stateful.*Give its class a get_config"),
    "field of a rule": (Scaled(factor=own_function), r"value of .*\.factor cannot be saved"),
    "array of objects": (np.array([None]), "an array of the type object. Expected numbers"),
    "object of many lines": (pd.Series([1, 2]), r"an array \(of type Series\).*your own"),
    "set": ({1}, "cannot be saved: {1}"),
    "iterator": (iter([1]), "cannot be saved: <list_iterator"),
}


def assert_not_saved(analyzer, path, error, message):
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        analyzer.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("case", UNSAVABLE)
def test_arguments_that_cannot_be_saved_are_named(case, path):
    value, message = UNSAVABLE[case]
    assert_not_saved(Holder(build("mlp")[0], value), path, TypeError, message)


def test_an_analyzer_class_of_the_users_own(path):
    assert_not_saved(OwnAnalyzer(build("mlp")[0]), path, TypeError, "OwnAnalyzer.*Register")


class Subclassed(keras.Model):
    def __init__(self, function):
        super().__init__()
        self.function, self.dense = function, layers.Dense(2)

    def call(self, x):
        return self.dense(self.function(x))


def subclassed():
    model = Subclassed(lambda x: x)
    model(INPUT)
    return model


def with_lambda():
    return keras.Sequential([layers.Input((5,)), layers.Lambda(lambda x: 2 * x), layers.Dense(2)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: innvestigate.model_wo_softmax(build("mlp")[0]), "was made by innvestigate"),
        (subclassed, r"Keras cannot save the model 'subclassed.*get_config.*rebuild it as"),
        (with_lambda, "a layer that holds a Python lambda"),
    ],
)
def test_models_that_cannot_be_saved(make, message, path):
    analyzer = innvestigate.create_analyzer("gradient", make())
    assert_not_saved(analyzer, path, ValueError, rf"(?s){message}")


def test_a_crash_while_writing_leaves_the_old_file(path, monkeypatch):
    def crash(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    assert_not_saved(create("gradient")[0], path, KeyboardInterrupt, "^$")


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        create("gradient")[0].save(tmp_path / "nowhere" / "analyzer.zip")


# --- What is not loaded ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The parts of a file that holds a fitted analyzer."""
    path = tmp_path_factory.mktemp("saved") / "analyzer.zip"
    create("pattern.net")[0].save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist() if name != "manifest.json"}


def write(folder, parts, kind="an analyzer", version=1):
    writers = {name: lambda stream, c=content: stream.write(c) for name, content in parts.items()}
    with (folder / "analyzer.zip").open("wb") as file:
        pack(file, writers, kind, version)
    return folder / "analyzer.zip"


def test_a_file_from_these_parts_is_loaded(saved, tmp_path):
    assert innvestigate.load_analyzer(write(tmp_path, saved)).patterns


def test_no_such_file(path):
    with pytest.raises(FileNotFoundError):
        innvestigate.load_analyzer(path)


@pytest.mark.parametrize("kept", [0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, tmp_path, kept):
    path = write(tmp_path, saved)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match="cannot be loaded as an analyzer: it is damaged"):
        innvestigate.load_analyzer(path)


@pytest.mark.parametrize("part", ["analyzer.json", "arrays.npz", "model_0.keras"])
def test_an_altered_file_is_refused(saved, tmp_path, part):
    path = write(tmp_path, saved)
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    content = bytearray(contents[part])
    content[len(content) // 2] ^= 1
    contents[part] = bytes(content)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    with pytest.raises(ValueError, match=f"'{part}' in it was altered"):
        innvestigate.load_analyzer(path)


def test_a_model_is_no_analyzer(path):
    build("mlp")[0].save(path.with_suffix(".keras"))
    with pytest.raises(ValueError, match="damaged, or something else"):
        innvestigate.load_analyzer(path.with_suffix(".keras"))


def test_a_newer_format_is_refused(saved, tmp_path):
    with pytest.raises(ValueError, match=r"has the version 2, and this version .* reads version 1"):
        innvestigate.load_analyzer(write(tmp_path, saved, version=2))


def test_unexpected_parts_are_refused(saved, tmp_path):
    path = write(tmp_path, {**saved, "extra.py": b"print()"})
    with pytest.raises(ValueError, match="its parts are not those that were written"):
        innvestigate.load_analyzer(path)


def test_pickled_arrays_are_refused(saved, tmp_path):
    class Exploding:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was run",))

    arrays = io.BytesIO()
    np.savez(arrays, array_0=np.array([Exploding()]), allow_pickle=True)
    path = write(tmp_path, {**saved, "arrays.npz": arrays.getvalue()})
    with pytest.raises(ValueError, match="holds no numbers or text, but the type object"):
        innvestigate.load_analyzer(path)


def test_code_in_the_model_is_refused(saved, tmp_path):
    with_lambda().save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    path = write(tmp_path, {**saved, "model_0.keras": content})
    with pytest.raises(ValueError, match="a layer that holds a Python lambda"):
        innvestigate.load_analyzer(path)


@register
def exploding(**kwargs):
    pytest.fail("the function was called")


CALLS = [
    {"is": "object", "class": "os.system", "arguments": {"command": "false"}},
    {"is": "object", "class": "storage_tests>exploding", "arguments": {}},
    {"is": "analyzer", "class": "subprocess.run", "arguments": {}, "state": {}},
    {"is": "analyzer", "class": "Epsilon", "arguments": {}, "state": {}},
    {"is": "name", "name": "builtins.eval"},
    {"is": "_find", "name": "eval"},
    {"is": "tuple", "of": []},
    [1, 2],
]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_calls_of_anything_else_are_refused(saved, tmp_path, call):
    path = write(tmp_path, {**saved, "analyzer.json": json.dumps(call).encode()})
    with pytest.raises(ValueError, match=r"not known here|not a class|holds no analyzer"):
        innvestigate.load_analyzer(path)


@register
class Thing:
    """A class that is no part of analyzers."""

    made = 0

    def __init__(self):
        Thing.made += 1

    def __call__(self, x):
        return np.zeros_like(x)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def test_other_classes_are_constructed_if_they_are_handed_over(path):
    create("integrated_gradients", reference_inputs=Thing(), steps=2)[0].save(path)
    made = Thing.made
    with pytest.raises(FileRefusedError, match="Thing', which is registered, but no rule, layer"):
        innvestigate.load_analyzer(path)
    assert Thing.made == made
    name = "storage_tests>Thing"
    loaded = innvestigate.load_analyzer(path, custom_objects={name: Thing})
    assert isinstance(loaded.get_config()["reference_inputs"], Thing)


def with_config(saved, change):
    """The parts of a file whose model's configuration is changed."""
    parts = hostile.unzipped(saved["model_0.keras"])
    config = json.loads(parts["config.json"])
    change(config["config"]["layers"][1], config)
    model = hostile.zipped(parts | {"config.json": json.dumps(config)})
    return {**saved, "model_0.keras": model}


@pytest.fixture
def unsafe():
    """Keras told to load unsafe files, as it may be anywhere in a program."""
    keras.config.enable_unsafe_deserialization()
    yield
    keras.src.saving.serialization_lib.global_state.set_global_attribute("safe_mode_saving", None)


def test_a_lambda_is_not_run_whatever_keras_is_told(saved, tmp_path, unsafe):
    canary = tmp_path / "canary"
    lines = {"name": "l", "function": hostile.code(canary), "arguments": {}}

    def change(layer, config):
        config["config"]["layers"].insert(2, hostile.of_keras("Lambda", lines))

    parts = with_config(saved, change)
    (tmp_path / "model.keras").write_bytes(parts["model_0.keras"])
    keras.saving.load_model(tmp_path / "model.keras")  # to see that it would be
    assert canary.exists()
    canary.unlink()
    with pytest.raises(FileRefusedError, match="a Python lambda, and files hold no code"):
        innvestigate.load_analyzer(write(tmp_path, parts))
    with pytest.raises(FileRefusedError, match="which the command line does not run"):
        load_model(tmp_path / "model.keras")
    assert not canary.exists()


REFUSED_LAYERS = {
    "more weights than values": ({"units": 10**9}, "more weights than the file has values for"),
    "a file elsewhere": ({"vocabulary": "/etc/hostname"}, "reads another file: vocabulary="),
    "a registered class": ({"activation": "storage_tests>Thing"}, "Thing', which is registered"),
    "another function": (
        {"activation": hostile.function("load_data", "keras.datasets.mnist")},
        "keras.datasets.mnist.load_data is no part of models",
    ),
    "a module that is none": (
        {"activation": hostile.of_keras("Test", {}, "keras.src.layers.core.dense_test")},
        "dense_test.Test is no part of models",
    ),
    "a long list": ({"ngrams": 10**9}, "ngrams=1000000000 is more than 100"),
}


@pytest.mark.parametrize("case", REFUSED_LAYERS)
def test_layers_that_ask_for_too_much_are_refused(case, saved, tmp_path):
    config, message = REFUSED_LAYERS[case]
    parts = with_config(saved, lambda layer, _: layer["config"].update(config))
    with pytest.raises(FileRefusedError, match=message):
        innvestigate.load_analyzer(write(tmp_path, parts))


def test_how_a_model_inside_was_trained_is_left_out(saved, tmp_path):
    def change(layer, config):
        layer["compile_config"] = {"optimizer": {"class_name": "os.system", "config": {}}}

    assert innvestigate.load_analyzer(write(tmp_path, with_config(saved, change))).patterns


def test_a_model_that_is_named_many_times_is_loaded_once(saved, monkeypatch):
    parts = {name: Section(io.BytesIO(c), 0, len(c)) for name, c in saved.items()}
    names = [{"is": "model", "name": "model_0.keras"}] * 100
    found = _Decoder(parts, {}, None).decode(names)
    assert len(found) == 100 and len({id(model) for model in found}) == 1


def test_analyzers_of_endless_steps_take_no_memory(path):
    network = build("mlp")[0]
    made = innvestigate.create_analyzer("integrated_gradients", network, steps=5 * 10**12)
    assert reload(made, path).get_config()["steps"] == 5 * 10**12
    with pytest.raises(ValueError, match="<= 1000 for 'gauss_legendre'"):
        made.rebuilt(quadrature="gauss_legendre")


@pytest.mark.parametrize("name", ["Analyzer", "Wrapper", "_PathAnalyzer", "PerturbationAnalyzer"])
def test_what_only_others_are_made_of_is_refused(saved, tmp_path, name):
    call = json.dumps({"is": "analyzer", "class": name, "arguments": {}, "state": {}})
    with pytest.raises(FileRefusedError, match=f"needs '{name}'"):
        innvestigate.load_analyzer(write(tmp_path, {**saved, "analyzer.json": call.encode()}))


def test_statistics_without_patterns_are_refused(saved, tmp_path):
    description = json.loads(saved["analyzer.json"])
    state = description["state"]
    description["state"] = {k: v for k, v in state.items() if not k.startswith("pattern:")}
    parts = {**saved, "analyzer.json": json.dumps(description).encode()}
    with pytest.raises(FileRefusedError, match="no patterns that were made of them"):
        innvestigate.load_analyzer(write(tmp_path, parts))


REFUSED_WEIGHTS = {
    **dict.fromkeys(["compressed", "external", "virtual", "objects"], "is no plain array"),
    **dict.fromkeys(["external link", "soft link"], "is a link to somewhere else"),
    **dict.fromkeys(["empty", "many"], "they are larger than the file"),
    "circle": "could not be loaded",
    "none": "could not be loaded",
}


@pytest.mark.parametrize("kind", hostile.WEIGHTS)
def test_weights_that_lead_elsewhere_or_are_too_large_are_refused(kind, saved, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(200))
    parts = hostile.unzipped(saved["model_0.keras"])
    parts["model.weights.h5"] = hostile.weights(kind, tmp_path / "secret")
    path = write(tmp_path, {**saved, "model_0.keras": hostile.zipped(parts)})
    with pytest.raises(FileRefusedError, match=REFUSED_WEIGHTS[kind]):
        innvestigate.load_analyzer(path)


def test_a_full_disk_is_no_damage(saved, tmp_path):
    path = write(tmp_path, saved)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            innvestigate.load_analyzer(path)
        with pytest.raises(OSError, match="File too large"):
            create("gradient")[0].save(tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["analyzer.zip"]
    assert innvestigate.load_analyzer(path).patterns


def test_a_function_that_is_not_registered_where_the_file_is_loaded(path):
    analyzer = Holder(build("mlp")[0], halves)
    analyzer.save(path)
    name = "storage_tests>halves"
    registry = keras.saving.get_custom_objects()
    del registry[name]
    try:
        with pytest.raises(ValueError, match=f"needs '{name}', which is not known here"):
            innvestigate.load_analyzer(path)
        loaded = innvestigate.load_analyzer(path, custom_objects={name: halves})
        assert loaded.value is halves
    finally:
        registry[name] = halves


# --- In memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_are_whole(copied):
    made, x = create("pattern.net", project_bottlenecks=False)
    copy = copied(made)
    assert_equal(copy.analyze(x), made.analyze(x))
    assert copy.statistics.samples == made.statistics.samples
    model, found = (analyzer.get_config()["model"] for analyzer in (made, copy))
    assert found is not model and found.get_weights()[0] is not model.get_weights()[0]


def test_copies_know_what_was_registered_and_other_classes():
    lines = [(is_dense, Scaled(factor=0.5)), (everywhere, Scaled)]
    made = create("lrp", rule=lines)[0]
    assert_equal(deepcopy(made).analyze(INPUT), made.analyze(INPUT))
    made = create("integrated_gradients", reference_inputs=Thing(), steps=2)[0]
    copy = pickle.loads(pickle.dumps(made))
    assert_equal(copy.analyze(INPUT), made.analyze(INPUT))
    with pytest.raises(TypeError, match=r"lambda.*code of your own"):
        deepcopy(create("lrp", rule=[(lambda layer: True, "Z")])[0])


def test_an_analyzer_says_what_it_is():
    network = build("mlp")[0]
    model = f"model=<Sequential {network.name!r}>"
    made = innvestigate.create_analyzer("lrp.epsilon", network, epsilon=0.5, bias=False)
    assert repr(made) == f"LRPEpsilon({model}, epsilon=0.5, bias=False)"
    smooth = GaussianSmoother(create("gradient")[0], seed=1)
    assert repr(smooth) == f"GaussianSmoother(analyzer=GradientAnalyzer({model}), seed=1)"
    path = create("integrated_gradients", reference_inputs=INPUT)[0]
    assert repr(path) == f"IntegratedGradients({model}, reference_inputs=<array (3, 5)>)"
