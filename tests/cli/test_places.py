"""What is written where: no input is ever replaced, no result by accident."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import innvestigate
from tests.cli.helpers import assert_refused, run

LINE = ("explain", "colour.keras", "photo0.png", "-m", "gradient", "--scale", 0.01)


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "forced"])
@pytest.mark.parametrize(
    "name",
    ["photo0.png", "./photo0.png", "soft.png", "hard.png", "up/../photo0.png", "no/../photo0.png"],
)
def test_a_photograph_is_never_replaced(name, force):
    os.mkdir("up")
    os.symlink("photo0.png", "soft.png")
    os.link("photo0.png", "hard.png")
    before = Path("photo0.png").read_bytes()
    assert_refused(run(*LINE, "-o", name, *force), "is an input, which is never replaced")
    assert Path("photo0.png").read_bytes() == before
    assert os.path.islink("soft.png")


@pytest.mark.parametrize(
    ("option", "name"),
    [("--class-names", "names.csv"), ("--reference", "reference.npy"), ("--fit", "reference.npy")],
)
def test_no_other_file_that_is_read_is_replaced(option, name):
    Path("names.csv").write_text("a\nb\nc\n")
    np.save("reference.npy", np.zeros((2, 6, 6, 3)))
    before = Path(name).read_bytes()
    line = ("explain", "colour.keras", "photo0.png", "-m", "deeplift", option, name)
    assert_refused(run(*line, "-o", name, "--force"), "never replaced")
    assert Path(name).read_bytes() == before


def test_a_picture_in_a_folder_does_not_replace_an_input():
    """It gets its name from its sample and number, which may be that of another sample."""
    os.mkdir("out")
    for name in ("photo0.png", "out/0_photo0.png"):
        if not os.path.exists(name):
            Image.open("photo0.png").save(name)
    before = Path("out/0_photo0.png").read_bytes()
    line = ("explain", "colour.keras", "photo0.png", "out/0_photo0.png", "-m", "gradient")
    assert_refused(
        run(*line, "-o", "out", "--force", "--scale", 0.01), "out/0_photo0.png is an input"
    )
    assert Path("out/0_photo0.png").read_bytes() == before


def test_what_exists_is_replaced_when_asked():
    assert run(*LINE, "-o", "x.npy").exit_code == 0
    first = Path("x.npy").read_bytes()
    assert_refused(run(*LINE, "-o", "x.npy", "--neuron", 2), "x.npy exists. --force replaces it.")
    assert Path("x.npy").read_bytes() == first
    assert run(*LINE, "-o", "x.npy", "--neuron", 2, "--force").exit_code == 0
    assert np.load("x.npy").shape == (1, 6, 6, 3)


def test_a_folder_with_something_in_it_is_written_into_when_asked():
    os.mkdir("empty")
    assert run(*LINE, "-o", "empty").exit_code == 0
    assert_refused(run(*LINE, "-o", "empty"), "empty is not empty. --force")
    assert run(*LINE, "-o", "empty", "-f").exit_code == 0


@pytest.mark.parametrize("out", ["photos/x.png", "photos"])
def test_an_output_does_not_become_an_input(out):
    os.mkdir("photos")
    Image.open("photo0.png").save("photos/a.png")
    line = ("explain", "colour.keras", "photos", "-m", "gradient", "--scale", 0.01, "--force")
    assert_refused(run(*line, "-o", out), "would be one of its inputs the next time")
    assert_refused(run(*line, "-o", "photos/new", "--recursive"), "would be one of its inputs")
    assert run(*line, "-o", "photos/x.npz").exit_code == 0  # no image
    assert run(*line, "-o", "photos/new").exit_code == 0


@pytest.mark.parametrize("out", ["/dev/null", "pipe.png", "folder.png", "new/.."])
def test_only_files_and_folders_are_written(out):
    os.mkfifo("pipe.png")
    os.mkdir("folder.png")
    assert_refused(run(*LINE, "-o", out, *["--force"] * (out != "new/..")))
    assert Path("pipe.png").is_fifo() and Path("folder.png").is_dir() and not Path("new").exists()


def test_sub_folders_are_read_when_asked():
    os.makedirs("photos/sub/deep")
    for name in ("photos/b.png", "photos/sub/a.png", "photos/sub/deep/a.jpg"):
        Image.open("photo0.png").save(name)
    line = ("explain", "colour.keras", "photos", "-m", "gradient", "--scale", 0.01)
    told = run(*line, "-o", "x.npz", "--recursive").stdout.splitlines()
    assert [text.split(":")[0] for text in told[:3]] == ["b.png", "sub/a.png", "sub/deep/a.jpg"]
    assert len(run(*line, "-o", "y.npz").stdout.splitlines()) == 2
    assert_refused(
        run(*line[:2], "photos/sub/deep/..", *line[3:], "-o", "photos/sub/z.png"), "next time"
    )
    os.mkdir("photos/none")
    os.rename("photos/b.png", "photos/none/b.png")
    assert_refused(run(*line, "-o", "z.npz"), "--recursive finds those in its sub-folders")


def test_results_at_layers_have_names():
    method = "lrp.epsilon(layers=['conv2d', 'input'])"
    model = keras.models.load_model("image.keras")
    name = model.layers[0].name
    method = f"lrp.epsilon(layers=['{name}', 'input'])"
    line = ("explain", "image.keras", "images.npy", "-m", method, "-m", "gradient")
    assert run(*line, "-o", "x.npz").exit_code == 0
    found = np.load("x.npz", allow_pickle=False)
    assert set(found) == {f"{method}/{name}", f"{method}/input", "gradient"}
    expected = innvestigate.create_analyzer("lrp.epsilon", model, layers=[name, "input"])
    for layer, values in expected.analyze(np.load("images.npy")).items():
        np.testing.assert_allclose(found[f"{method}/{layer}"], values, rtol=1e-5, atol=1e-7)
    for out in ("y.npy", "y.png", "y.html", "y"):
        assert_refused(run(*line, "-o", out), "has a result at each layer", "--out y.npz")


def test_occlusion_takes_a_reference():
    line = ("explain", "image.keras", "images.npy", "-m", "occlusion", "-o", "x.npy", "-f")
    model, x = keras.models.load_model("image.keras"), np.load("images.npy")
    for given, reference in {"0.5": 0.5, "images.npy": x[None]}.items():
        assert run(*line, "--reference", given).exit_code == 0
        analyzer = innvestigate.create_analyzer("occlusion", model, reference_inputs=reference)
        np.testing.assert_allclose(np.load("x.npy"), analyzer.analyze(x), rtol=1e-4, atol=1e-6)
    assert_refused(run(*line, "--reference", "inf"), "inf is no finite number")


@pytest.mark.parametrize(
    "name", ["\udcff.png", "a\nb.png", "$x$.png", "\x1b[31m.png", "名前🦉.png"]
)
def test_names_of_any_bytes(name):
    """They are printed in letters that can be printed, in every kind of file."""
    Image.open("photo0.png").save(name)
    outs = [word for kind in ("png", "svg", "html", "npz") for word in ("-o", f"x.{kind}")]
    result = run(
        "explain", "colour.keras", name, "-m", "gradient", "--scale", 0.01, *outs, "-o", "x"
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert all(line.isprintable() for line in result.stdout.splitlines())
    assert len(result.stdout.splitlines()) == 7


def test_class_names_of_any_letters():
    Path("names.json").write_text('["\\ud800", "\\u001b[31m<b>\\n", "$\\\\frac{$"]')
    for neuron in range(3):
        line = (*LINE, "--class-names", "names.json", "--neuron", neuron)
        result = run(*line, "-o", "x.png", "-o", "x.html", "-f")
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[0].isprintable()
        assert "<b>" not in Path("x.html").read_text("utf-8")


def test_dollar_signs_are_no_formulas():
    Path("money.csv").write_text("a$b,c$,$\\frac{$,<x>\n1,2,3,4\n5,6,7,8\n")
    outs = ("-o", "x.png", "-o", "x.html", "-o", "x.csv")
    result = run("explain", "table.keras", "money.csv", "-m", "gradient", *outs)
    assert result.exit_code == 0, result.output
    assert Path("x.csv").read_text().splitlines()[0] == "sample,method,a$b,c$,$\\frac{$,<x>"
