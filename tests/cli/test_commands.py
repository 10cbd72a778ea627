"""The command line, as a user meets it."""

import errno
import json
import os
import struct
import subprocess
import sys
import zlib
from html import unescape
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image

import innvestigate
from tests.cli.helpers import one_line, run
from tests.fuzz import hostile


def raw(name, size=(6, 6)):
    return np.asarray(Image.open(name).convert("L").resize(size), "float32")[None, ..., None]


# What goes right


def test_the_methods_are_listed_with_a_line_and_their_papers():
    result = run("methods")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert set(innvestigate.analyzers) <= set(lines)
    assert "Bach et al. 2015" in lines["lrp.epsilon"] and "R_x = x ⊙ Wᵀ" in lines["lrp.epsilon"]
    assert "Lapuschkin et al. 2019" in lines["lrp.flat"] and "rule='Flat'" in lines["lrp.flat"]
    assert "Kohlbrenner et al. 2020" in lines["lrp.epsilon_plus"]


@pytest.mark.parametrize(
    "name", [n for n in innvestigate.analyzers if n not in ("input", "random")]
)
def test_every_method_has_a_line_and_a_paper(name):
    from innvestigate.cli.catalogue import catalogue

    (entry,) = [e for e in catalogue(name) if e.name == name]
    assert len(entry.summary) > 20
    assert entry.papers[-4:].isdigit()


def test_methods_are_filtered_and_told_in_full():
    assert run("methods", "smooth").stdout.splitlines()[1].startswith("smoothgrad")
    details = run("methods", "smooth", "--details").stdout
    assert "noise_scale" in details and "removing noise by adding noise" in details


def test_the_plan_is_that_of_the_analyzer(capsys):
    result = run("plan", "image.keras", "lrp.gamma(gamma=0.5)")
    assert result.exit_code == 0
    assert "Gamma(gamma=0.5, bias=True)" in result.stdout


def test_a_wrapper_has_the_plan_of_what_it_runs():
    assert "Gradient()" in run("plan", "image.keras", "integrated_gradients").stdout


def test_the_numbers_are_those_of_python():
    result = run(
        *("explain", "image.keras", "photo0.png", "-m", "lrp.epsilon(epsilon=0.5)"),
        *("-o", "new/folder/x.npy", "--preprocessing", "0-1", "--neuron", "2"),
    )
    assert result.exit_code == 0, result.stderr
    model = keras.models.load_model("image.keras")
    analyzer = innvestigate.create_analyzer(
        "lrp.epsilon", model, epsilon=0.5, neuron_selection_mode="index"
    )
    expected = analyzer.analyze(raw("photo0.png") / 255, 2)
    found = np.load("new/folder/x.npy")
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), lambda x: x),
        (("--preprocessing", "none"), lambda x: x),
        (("--preprocessing", "0-1"), lambda x: x / 255),
        (("--preprocessing", "tf"), lambda x: x / 127.5 - 1),
        (
            ("--preprocessing", "torch"),
            lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
        (("--preprocessing", "caffe"), lambda x: x[..., ::-1] - [103.939, 116.779, 123.68]),
        (("--scale", 0.5, "--offset", -2), lambda x: x * 0.5 - 2),
        (("--preprocessing", "0-1", "--scale", 2), lambda x: x / 255 * 2),
    ],
)
def test_pixels_are_preprocessed_as_asked(options, expected):
    run("explain", "colour.keras", "photo0.png", "-m", "input", "-o", "x.npy", *options)
    pixels = np.asarray(Image.open("photo0.png"), "float64")
    np.testing.assert_allclose(np.load("x.npy")[0], expected(pixels), rtol=1e-4, atol=1e-4)


def test_a_wide_image_is_cropped_in_its_middle_or_stretched():
    command = ("explain", "colour.keras", "photo1.png", "-m", "input", "-o", "x.npy")
    pixels = np.asarray(Image.open("photo1.png"), "float32")
    run(*command)
    np.testing.assert_array_equal(np.load("x.npy")[0], pixels[:, 3:9])
    run(*command, "--resize", "stretch", "--force")
    assert np.abs(np.load("x.npy")[0] - pixels[:, 3:9]).max() > 10


def test_pixels_that_nothing_scales_are_noted():
    command = ("explain", "image.keras", "photo0.png", "-m", "gradient", "-o", "x.npy")
    result = run(*command)
    assert one_line(result.stderr) and "--preprocessing" in result.stderr
    assert run(*command, "--preprocessing", "none", "--force").stderr == ""


def test_it_says_what_was_explained_and_written():
    result = run(
        *("explain", "image.keras", "photo0.png", "images.npy", "-m", "gradient", "-o", "x.npz"),
        *("--class-names", "classes.txt", "--neuron", "night bird", "--scale", 0.01),
    )
    assert result.exit_code == 0, result.stderr
    x = np.concatenate([raw("photo0.png") * 0.01, np.load("images.npy")])
    p = keras.models.load_model("image.keras").predict(x, verbose=0)[:, 2]
    names = ["photo0.png", *(f"images.npy[{i}]" for i in range(3))]
    assert result.stdout.splitlines() == [
        *(f"{n}: owl, night bird (2), probability {v:.3g}" for n, v in zip(names, p, strict=True)),
        "wrote x.npz",
    ]


def test_it_says_what_results_add_up_to():
    """LRP shares out the output, DeepLIFT its change from a reference."""
    methods = ("-m", "lrp.z", "-m", "deeplift")
    result = run("explain", "image.keras", "images.npy", *methods, "-o", "x.npz", "-o", "x.html")
    assert result.exit_code == 0, result.stderr
    lrp, deeplift = (line for line in result.stdout.splitlines() if "adds up" in line)
    assert lrp.startswith("lrp.z: adds up to ") and lrp.endswith("% of the explained output")
    change = "adds up to 100.00% of the output's change from the reference"
    assert deeplift == f"deeplift: {change.replace('100.00%', '100.00% to 100.00%')}"
    assert unescape(Path("x.html").read_text("utf-8")).count(change) == 3


def test_the_largest_output_is_explained_by_default():
    result = run("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.npz")
    p = keras.models.load_model("image.keras").predict(np.load("images.npy"), verbose=0)
    for line, row in zip(result.stdout.splitlines(), p, strict=False):
        assert f"neuron {row.argmax()}, probability {row.max():.3g}" in line


@pytest.mark.parametrize(
    ("model", "inputs", "methods"),
    [
        ("image", "photo0.png", ["gradient"]),
        ("image", "images.npy", ["gradient", "lrp.epsilon"]),
        ("table", "table.csv", ["gradient", "lrp.epsilon"]),
        ("series", "series.npy", ["gradient"]),
    ],
)
def test_pictures_are_drawn_of_every_kind_of_data(model, inputs, methods):
    chosen = [word for name in methods for word in ("-m", name)]
    out = f"{model}{len(methods)}.png"
    result = run("explain", f"{model}.keras", inputs, *chosen, "-o", out, "--scale", 0.01)
    assert result.exit_code == 0, result.stderr
    pixels = np.asarray(Image.open(out).convert("RGB"), int)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert min(pixels.shape[:2]) > 100
    assert (red > green + 60).any() or (blue > green + 60).any()


def test_a_folder_gets_a_picture_of_each_input_and_the_numbers():
    os.mkdir("photos")
    for name in ("photo0.png", "photo1.png"):
        Image.open(name).save(f"photos/{name}")
    result = run("explain", "image.keras", "photos", "-m", "gradient", "-o", "all", "--scale", 0.01)
    assert result.exit_code == 0, result.stderr
    assert sorted(os.listdir("all")) == ["0_photo0.png", "1_photo1.png", "relevance.npz"]
    assert np.load("all/relevance.npz")["gradient"].shape == (2, 6, 6, 1)


def test_tables_are_written_with_their_names():
    run("explain", "table.keras", "table.csv", "-m", "gradient", "-m", "lrp.z", "-o", "x.csv")
    table = pd.read_csv("x.csv")
    assert list(table.columns) == ["sample", "method", "age", "size", "dose", "rate"]
    assert list(table["method"]) == ["gradient"] * 3 + ["lrp.z"] * 3
    model = keras.models.load_model("table.keras")
    x = pd.read_csv("table.csv").to_numpy()
    expected = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    np.testing.assert_allclose(table.iloc[3:, 2:].astype(float), expected, rtol=1e-4)


def test_a_table_without_header_is_read_from_its_first_line():
    pd.read_csv("table.csv").to_csv("bare.csv", index=False, header=False)
    run("explain", "table.keras", "bare.csv", "-m", "input", "-o", "x.npy")
    np.testing.assert_allclose(np.load("x.npy"), pd.read_csv("table.csv"), rtol=1e-6)


def test_references_are_a_number_or_all_samples_of_a_file():
    command = ("explain", "table.keras", "table.csv", "-m", "deeplift", "-o", "x.npy")
    model, x = keras.models.load_model("table.keras"), pd.read_csv("table.csv").to_numpy()
    for given, reference in [("0.5", 0.5), ("table.csv", x[None])]:
        assert run(*command, "--reference", given, "--force").exit_code == 0
        analyzer = innvestigate.create_analyzer("deeplift", model, reference_inputs=reference)
        np.testing.assert_allclose(np.load("x.npy"), analyzer.analyze(x), rtol=1e-4, atol=1e-6)


def test_patterns_are_fitted_first():
    command = ("explain", "table.keras", "table.csv", "-m", "pattern.net", "-o", "x.npy")
    random = np.random.default_rng(1).random((40, 4)).astype("float32")
    np.save("train.npy", random)
    assert run(*command, "--fit", "train.npy").exit_code == 0
    model, x = keras.models.load_model("table.keras"), pd.read_csv("table.csv").to_numpy()
    expected = innvestigate.create_analyzer("pattern.net", model).fit(random).analyze(x)
    np.testing.assert_allclose(np.load("x.npy"), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "names",
    [["a", "b", "c"], {"0": "a", "1": "b", "2": "c"}, {str(i): ["n0", "abc"[i]] for i in range(3)}],
)
def test_class_names_come_as_json_too(names):
    with open("classes.json", "w") as file:
        json.dump(names, file)
    result = run(
        *("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.npy"),
        *("--class-names", "classes.json", "--neuron", "b"),
    )
    assert "images.npy[0]: b (1), probability" in result.stdout


def test_evaluate_prints_and_writes_the_scores_of_python():
    result = run(
        *("evaluate", "image.keras", "images.npy", "-m", "gradient", "-m", "lrp.epsilon"),
        *("--metric", "region_perturbation(region_shape=2)", "-o", "s.csv", "-o", "curves.png"),
    )
    assert result.exit_code == 0, result.stderr
    from innvestigate.evaluation import RegionPerturbation, evaluate

    model = keras.models.load_model("image.keras")
    methods = {n: innvestigate.create_analyzer(n, model) for n in ("gradient", "lrp.epsilon")}
    metric = RegionPerturbation(region_shape=2)
    expected = evaluate(model, methods, np.load("images.npy"), metrics=metric, seed=0).scores
    written = pd.read_csv("s.csv")
    assert list(written["method"]) == list(expected["method"])
    np.testing.assert_allclose(written["mean"], expected["mean"], rtol=1e-4, atol=1e-6)
    assert "aopc_most_relevant" in result.stdout
    assert Image.open("curves.png").size[0] > 300


# What goes wrong: one line that says what to do


def explain(**changes):
    """The command that works, with something changed."""
    given = {"model": "image.keras", "input": "images.npy", "m": "gradient", "o": "x.npy"} | changes
    more = given.pop("more", ())
    model, inputs, method, out = given.values()
    return ("explain", model, inputs, "-m", method, "-o", out, *more)


SCORES = ("evaluate", "image.keras", "images.npy", "-m", "gradient")
WRONG = {
    "no such command": (("explian",), "Did you mean 'explain'"),
    "no such option": (explain(more=("--foo",)), "--foo"),
    "no method": (("explain", "image.keras", "images.npy", "-o", "x.npy"), "--method"),
    "no output": (("explain", "image.keras", "images.npy", "-m", "gradient"), "--out"),
    "missing model": (explain(model="no.keras"), "There is no file no.keras"),
    "a text as model": (explain(model="classes.txt"), "not a Keras model file"),
    "damaged model": (explain(model="damaged.keras"), "cannot be loaded as a Keras model"),
    "own code": (explain(model="custom.keras"), "custom_objects"),
    "a lambda": (explain(model="lambda.keras"), "Use Python"),
    "two inputs": (explain(model="two.keras"), "2 inputs and 1 outputs"),
    "unknown method": (explain(m="lrp.epsilo"), "Did you mean 'lrp.epsilon'"),
    "unknown argument": (explain(m="lrp.epsilon(epsilom=1)"), "Did you mean 'epsilon'"),
    "argument out of range": (explain(m="lrp.epsilon(epsilon=-1)"), "epsilon must be a fin"),
    "method that cannot be read": (explain(m="lrp.epsilon(1"), "cannot be read"),
    "method that needs arguments": (explain(m="deep_taylor.bounded"), "low=..., high=..."),
    "unfitted": (explain(m="pattern.net"), "--fit DATA.npy"),
    "needless fit": (explain(more=("--fit", "images.npy")), "pattern.attribution"),
    "needless reference": (explain(more=("--reference", "0")), "DeepLIFT"),
    "missing reference": (explain(m="deeplift", more=("--reference", "no.npy")), "no file no.npy"),
    "missing input": (explain(input="no.png"), "There is no file no.png"),
    "unknown extension": (explain(input="classes.txt"), "'.txt'"),
    "not an image": (explain(input="broken.png"), "broken.png cannot be loaded as an image"),
    "a cut image": (explain(input="cut.png"), "cut.png cannot be loaded as an image"),
    "a very large image": (explain(input="huge.png"), "huge.png cannot be loaded as an image"),
    "a pipe": (explain(input="pipe.npy"), "a folder, a device or a pipe"),
    "an array without end": (explain(input="endless.npy"), "it is not as large as it says"),
    "image for a table": (explain(model="table.keras", input="photo0.png"), "use .npy"),
    "three channels": (
        explain(input="photo0.png", more=("--preprocessing", "torch")),
        "for 3 channels",
    ),
    "unknown preprocessing": (explain(more=("--preprocessing", "vgg")), "caffe"),
    "pickle": (explain(input="pickle.npy"), "cannot be loaded as a .npy file of numbers"),
    "wrong shape": (explain(input="series.npy"), "Expected: one sample (6, 6, 1)"),
    "NaN": (explain(input="nan.npy"), "NaN or infinite values in sample 1"),
    "table for images": (explain(input="table.csv"), "table, whose rows"),
    "text in a table": (
        explain(model="table.keras", input="text.csv"),
        "text in the column 'name'",
    ),
    "gap in a table": (
        explain(model="table.keras", input="gap.csv"),
        "empty cell in the column 'b'",
    ),
    "too many columns": (explain(model="table.keras", input="wide.csv"), "has 5 columns"),
    "neuron out of range": (explain(more=("--neuron", "3")), "from 0 to 2"),
    "too many indices": (explain(more=("--neuron", "0,1")), "has 1 index"),
    "name without names": (explain(more=("--neuron", "cat")), "--class-names FILE"),
    "unknown class": (
        explain(more=("--neuron", "cta", "--class-names", "classes.txt")),
        "Did you mean 'cat'",
    ),
    "wrong number of names": (
        explain(model="table.keras", input="table.csv", more=("--class-names", "classes.txt")),
        "names 3 classes; the model has 2",
    ),
    "names in other JSON": (explain(more=("--class-names", "odd.json")), "JSON list of names"),
    "unknown output": (explain(o="x.gif"), "'.gif'"),
    "csv of images": (explain(o="x.csv"), "use .npy or .npz"),
    "npy of two methods": (explain(more=("-m", "saliency")), "Use .npz"),
    "output below a file": (explain(o="LICENCE/x.npy"), "LICENCE is no folder"),
    "output is a file": (explain(o="LICENCE"), "is a file"),
    "batch of zero": (explain(more=("--batch-size", "0")), "--batch-size"),
    "no plan": (("plan", "image.keras", "occlusion"), "has no plan"),
    "no such methods": (("methods", "nonsense"), "innvestigate methods"),
    "unknown metric": (
        ("evaluate", "image.keras", "images.npy", "-m", "gradient", "--metric", "max_sensitivty"),
        "Did you mean 'max_sensitivity'",
    ),
    "scores as npy": (
        ("evaluate", "image.keras", "images.npy", "-m", "gradient", "-o", "x.npy"),
        "numbers (.csv)",
    ),
    "curves of no curves": (
        (*SCORES, "-o", "x.png", "--metric", "infidelity"),
        "Received: none of them",
    ),
    "curves of two metrics": (
        (*SCORES, "-o", "x.png", "--metric", "deletion", "--metric", "road"),
        "the curves of one metric",
    ),
}


class Unregistered(layers.Layer):
    """A layer that the command line does not know."""

    def call(self, x):
        return 2 * x


@pytest.fixture(scope="module", autouse=True)
def _wrong_files(folder):
    """Files that do not hold what they should."""
    (folder / "damaged.keras").write_bytes(b"PK not a zip")
    (folder / "broken.png").write_bytes(b"not an image")
    whole = (folder / "photo0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    start = b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (folder / "huge.png").write_bytes(whole[:12] + start + whole[33:])
    os.mkfifo(folder / "pipe.npy")
    (folder / "endless.npy").write_bytes(hostile.npy((10**12, 6, 6, 1)))
    (folder / "LICENCE").write_text("text")
    (folder / "odd.json").write_text('{"a": 1}')
    np.save(folder / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    nan = np.zeros((2, 6, 6, 1))
    nan[1, 2, 3] = np.nan
    np.save(folder / "nan.npy", nan)
    (folder / "text.csv").write_text("name,b,c,d\n1,2,3,4\nBob,2,3,4\n")
    (folder / "gap.csv").write_text("a,b,c,d\n1,,3,4\n")
    (folder / "wide.csv").write_text("a,b,c,d,e\n1,2,3,4,5\n")
    x = layers.Input((6, 6, 1))
    keras.Model(x, Unregistered()(x)).save(folder / "custom.keras")
    keras.Model(x, layers.Lambda(lambda x: 2 * x)(x)).save(folder / "lambda.keras")
    y = layers.Input((6, 6, 1))
    keras.Model([x, y], layers.Add()([x, y])).save(folder / "two.keras")


@pytest.mark.parametrize(("command", "hint"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_gives_one_helpful_line(command, hint):
    result = run(*command)
    assert result.exit_code == 2, result.output
    assert one_line(result.stderr), result.stderr
    assert result.stderr.startswith("Error: ")
    assert hint in result.stderr
    assert "Traceback" not in result.stdout


def test_too_many_samples_for_one_picture_are_sent_to_a_folder():
    np.save("many.npy", np.zeros((101, 4)))
    result = run("explain", "table.keras", "many.npy", "-m", "gradient", "-o", "many.png")
    assert result.exit_code == 2 and one_line(result.stderr)
    assert "at most 100" in result.stderr and "--out many.npz" in result.stderr


def test_a_layer_without_a_rule_ends_with_1():
    x = keras.Input((2, 2))
    keras.Model(x, layers.Dense(2)(layers.Flatten()(keras.ops.inv(x)))).save("inverse.keras")
    np.save("inverse.npy", np.eye(2)[None])
    result = run("explain", "inverse.keras", "inverse.npy", "-m", "lrp.epsilon", "-o", "x.npy")
    assert result.exit_code == 1
    assert one_line(result.stderr) and "has no rule for the step 'inv" in result.stderr


def test_what_cannot_be_written_ends_with_1(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path("x.npy").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    result = run(*explain(more=["--force"]))
    assert result.exit_code == 1
    assert one_line(result.stderr) and "No space left" in result.stderr
    assert Path("x.npy").read_bytes() == b"old" and not list(Path().glob(".innvestigate-*"))


def test_no_command_shows_the_help():
    assert "Usage" in run().stdout and run().exit_code == 0
    assert "--preprocessing" in run("explain", "--help").stdout


# As a process of its own


def process(*arguments):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "innvestigate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_it_starts_without_keras():
    code = (
        "import sys, innvestigate.cli; print([m for m in sys.modules if m in ('keras', 'numpy')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert process("--version").stdout == f"innvestigate {innvestigate.__version__}\n"


@pytest.mark.slow
def test_a_process_writes_nothing_but_its_results():
    done = process("explain", "image.keras", "images.npy", "-m", "gradient", "-o", "x.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "wrote x.png" and len(done.stdout.splitlines()) == 4


@pytest.mark.slow
def test_a_process_fails_in_one_line():
    done = process("explain", "no.keras", "images.npy", "-m", "gradient", "-o", "x.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr) and "There is no file no.keras" in done.stderr
