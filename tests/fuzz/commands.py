"""Command lines that nobody should write, made from every option of every command."""

import os
import struct
import zlib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image
from typer.main import get_command

import innvestigate
from innvestigate.cli import app
from innvestigate.engine.config import argument_names
from innvestigate.evaluation import METRICS
from tests.fuzz import hostile

TITLE = "Command lines"
SEED = 12


@dataclass(frozen=True)
class Command:
    """One command line.

    Attributes:
        family: What is wrong with it, in words.
        arguments: What stands behind `innvestigate`.
        expected: If it is right, the method whose numbers `x.npz` holds then.
    """

    family: str
    arguments: tuple[str, ...]
    expected: str | None = None


LINES = {
    "methods": {"TEXT": ["lrp"]},
    "plan": {"MODEL": ["image.keras"], "METHOD": ["lrp.epsilon"]},
    "explain": {
        "MODEL": ["image.keras"],
        "INPUT": ["images.npy"],
        "--method": ["gradient"],
        "--out": ["x.npz"],
    },
    "evaluate": {
        "MODEL": ["image.keras"],
        "INPUT": ["images.npy"],
        "--method": ["gradient"],
        "--metric": ["region_perturbation(region_shape=3, steps=2)"],
        "--out": ["x.csv"],
    },
}
"""For each command a line that is right."""

VALUES = (
    *("", " ", "-", "--", "-1", "0", "1e3", "nan", "-inf", "1e400", "0x10", "1,2,3", "true"),
    *("9" * 400, "-" * 100_000, "a" * 100_000, "(" * 5_000, "\n", "\x1b[31m", "\udcff", "名前 🦉"),
    *("$x$", "<script>alert(1)</script>", "%s{0}", "../../x", "x" * 300 + ".npy", "~", "*"),
    *("missing.npy", "folder", "folder.png", "pipe.npy", "loop.png", "nowhere.png", "image.keras"),
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/self/mem", "/", "."),
)
"""What stands in the place of any argument."""
OF_METHODS = (
    *("None", "True", "-1", "0", "0.5", "1e308", "'x'", "''", "b'x'", "[]", "{}", "()", "[[1]]"),
    *("'" + "x" * 9_000 + "'", "{1: 2}", "1j", "{1}", "...", "[None]", "(0, -1)"),
)
"""What stands in the place of any argument of a method."""
OUTPUTS = (
    *("x.npy", "x.npz", "x.png", "x.svg", "x.pdf", "x.jpg", "x.webp", "x.csv", "x.html", "x.htm"),
    *("x.zarr", "x.parquet", "job.zarr", "folder/x.zarr", "photo0.png/x.zarr", "x.ZARR"),
    *("x", "x.", ".", "..", "/", "", ".png", "x.gif", "x.tif", "x.keras", "x.PNG", "new/x/y.png"),
    *(
        "photo0.png",
        "./folder/../photo0.png",
        "no/../photo0.png",
        "soft.png",
        "hard.png",
        "photos",
        "photos/x.png",
    ),
    *("photos/x", "photos/x.npz", "image.keras", "images.npy", "classes.txt", "train.npy"),
    *("folder", "folder.png", "old.npz", "old", "loop.png", "nowhere.png", "pipe.npy"),
    *("/dev/null", "/dev/full", "/dev/stdout", "/proc/x.npz", "/proc/self/x.png"),
    *(
        "old.npz/x.npz",
        "x" * 250 + ".npz",
        "x" * 300 + ".npz",
        "\udcff.npz",
        "名前🦉.html",
        "\n.png",
    ),
    *("$x$.png", "\n.png", "-.npz", "<b>.html", "%s.csv", "x\x1b[31m.npz"),
)
"""What is written: outputs of every kind, on inputs, folders, devices, links, old results."""
STORES = ("x.zarr", "x.npy", "x.parquet", "x.npz", "job.zarr", "folder", "images.npy", "old.zarr")
"""What jobs without end are written to, or cannot be."""
# Not "auto", which is whatever runs on this machine: tests/cli/test_jobs.py.
ADDRESSES = ("", "-", "nonsense", "127.0.0.1:1", "ray://127.0.0.1:1", "http://127.0.0.1:1")
"""Where no cluster of Ray is."""
OUTSIDE = ("/", "..")
"""Outputs that must not be forced."""


@cache
def cases():
    """All command lines."""
    random = np.random.default_rng(SEED)
    found = [*_honest(), *_values(), *_left_out(), *_shuffled(random), *_outputs()]
    found += [*_stores(), *_files(), *_methods(random), *_metrics(random), *_tokens()]
    return [Command(c.family, tuple(map(str, c.arguments)), c.expected) for c in found]


def written(command, line):
    """The arguments of a command out of their values by name."""
    values = [
        [value] if name[0] != "-" else [name, value] for name, of in line.items() for value in of
    ]
    return [command, *(word for pair in values for word in pair)]


def parameters(command):
    """The names of a command's arguments, and of its options with and without a value."""
    taken = get_command(app).commands[command].params
    arguments = [p.metavar or p.name.upper() for p in taken if p.param_type_name == "argument"]
    options = [p for p in taken if p.param_type_name == "option"]
    valued = [max(p.opts, key=len) for p in options if not p.is_flag]
    return arguments, valued, [max(p.opts, key=len) for p in options if p.is_flag]


NEEDED = {
    "lrp": "rule='Epsilon'",
    "lrp.alpha_beta": "alpha=2, beta=1",
    "lrp.epsilon_gamma_box": "low=0, high=1",
    "deep_taylor.bounded": "low=0, high=1",
    "region_perturbation": "region_shape=3, steps=2",
    "deletion": "region_shape=3, steps=2",
    "insertion": "region_shape=3, steps=2",
    "road": "fractions=[0.5]",
    "sensitivity_n": "region_shape=2",
    "infidelity": "region_shape=2",
}
"""Arguments without which a method or metric does not work here."""


def _honest():
    for name in innvestigate.analyzers:
        if name == "in_silico_mutagenesis":
            continue  # the images have one channel, and no letters
        method = f"{name}({NEEDED[name]})" if name in NEEDED else name
        line = LINES["explain"] | {"--method": [method]}
        if name.startswith("pattern"):
            line |= {"--fit": ["train.npy"]}
        if name == "occlusion":
            line |= {"--reference": ["0"]}
        yield Command("right", written("explain", line), method)
    for name in METRICS:
        metric = f"{name}({NEEDED.get(name, '')})"
        line = LINES["evaluate"] | {"--metric": [metric], "--out": ["x.csv"]}
        yield Command("right", written("evaluate", line))
    for name in ("photo0.png", "deep.png", "float.tif", "photos", "\udcffphoto.png", "$x$.png"):
        line = LINES["explain"] | {"INPUT": [name], "--out": ["x.npz", "x.png", "x.html", "x"]}
        yield Command("right", written("explain", line | {"--scale": ["0.01"]}))
        yield Command("right", [*written("explain", line | {"--scale": ["0.01"]}), "-r"])
    for command in LINES:
        yield Command("right", [command, "--help"])
        yield Command("right", written(command, LINES[command]))
    for line in ([], ["--help"], ["--version"], ["methods"], ["methods", "--details"]):
        yield Command("right", line)


def _values():
    """Values in the place of each argument and option, dealt out among those of long commands."""
    for command, line in LINES.items():
        arguments, valued, flags = parameters(command)
        every = {"explain": 4, "evaluate": 9}.get(command, 1)
        for i, name in enumerate(arguments + valued):
            for value in VALUES[i % every :: every]:
                yield Command("wrong values", written(command, line | {name: [value]}))
        for flag in flags:
            for value in ("", "x", "true"):
                yield Command("flags with a value", [*written(command, line), f"{flag}={value}"])


def _left_out():
    for command, line in LINES.items():
        _, valued, flags = parameters(command)
        for name in line:
            rest = {key: value for key, value in line.items() if key != name}
            yield Command("arguments left out", written(command, rest))
        for name in valued:
            yield Command("options without a value", [*written(command, line), name])
            yield Command("options that do not exist", [*written(command, line), f"{name}x", "1"])
        for name in line:
            twice = line | {name: line[name] * 2}
            yield Command("arguments given twice", written(command, twice))
        for name in flags:
            yield Command("arguments given twice", [*written(command, line), name, name])
    for text in ("explian", "", "-", "--", "-x", "---", "-" * 100_000, "\udcff", "名前", "Explain"):
        yield Command("commands that do not exist", [text])
        yield Command("commands that do not exist", [text, "image.keras", "images.npy"])


def _shuffled(random):
    """The words of a line in other orders, or without one of them."""
    for command in ("plan", "explain", "evaluate"):
        words = written(command, LINES[command])
        for _ in range(12):
            yield Command("words in another order", [command, *random.permutation(words[1:])])
            keep = random.permutation(len(words))[1:]
            yield Command("words left out", [words[i] for i in sorted(keep)])


def _outputs():
    for out in OUTPUTS:
        for more in ([], ["--force"] * (out not in OUTSIDE)):
            line = LINES["explain"] | {"INPUT": ["photo0.png", "photos"], "--out": [out]}
            line |= {"--scale": ["0.01"], "--class-names": ["classes.txt"]}
            yield Command("outputs", written("explain", line) + more)
    for out in OUTPUTS[::3]:
        yield Command("outputs", written("evaluate", LINES["evaluate"] | {"--out": [out]}))
    for out in ("photos/sub/x.png", "photos/sub", "photos/new", "photos/x.csv"):
        for more in (["--force"], ["--force", "--recursive"]):
            line = LINES["explain"] | {"INPUT": ["photos"], "--out": [out], "--scale": ["0.01"]}
            yield Command("outputs", written("explain", line) + more)


def _stores():
    """Jobs of any length: half done, limited, with images that cannot be read, on a cluster."""
    line = LINES["explain"] | {"--scale": ["0.01"], "--batch-size": ["1"]}
    for out in STORES:
        for data in (["images.npy"], ["photo0.png", "cut.png", "$x$.png"], ["photos", "-r"]):
            for more in (["--resume"], ["--limit", "1"], ["--skip-unreadable"], ["--force"]):
                words = written("explain", line | {"INPUT": data[:1], "--out": [out]})
                yield Command("stores", [*words, *data[1:], *more])
    for address in ADDRESSES:
        words = written("explain", line | {"--out": ["x.zarr"], "--ray": [address]})
        yield Command("stores", words)


def _files():
    """Hostile and odd files in the place of each file."""
    names = (*HOSTILE, "pipe.npy", "folder", "folder.png", "loop.png", "nowhere.png")
    methods = {"--reference": ["deeplift"], "--fit": ["pattern.net"]}
    for i, name in enumerate(names):
        further = ("--reference", "--fit", "--class-names")[i % 3]
        for option in ("INPUT", "MODEL", further):
            line = LINES["explain"] | {"--method": methods.get(option, ["gradient"])}
            yield Command("hostile files", written("explain", line | {option: [name]}))
    for name in ("surrogate.json", "no.json", "deep.json", "latin.txt", "many.txt", "zeros.txt"):
        line = LINES["explain"] | {"--class-names": [name]}
        yield Command("hostile files", written("explain", line))


def _methods(random):
    """Arguments of methods that are of the wrong kind."""
    pairs = [
        (name, argument)
        for name, create in innvestigate.analyzers.items()
        for argument in argument_names(create)
    ]
    for i in random.permutation(len(pairs))[:80]:
        name, argument = pairs[i]
        value = random.choice(OF_METHODS)
        line = LINES["explain"] | {"--method": [f"{name}({argument}={value})"]}
        if name.startswith("pattern"):
            line |= {"--fit": ["train.npy"]}
        yield Command("arguments of methods", written("explain", line))
    for text in (
        *("lrp.epsilon(", "lrp.epsilon)", "lrp.epsilon()()", "lrp.epsilon(1)", "lrp.epsilon(*[1])"),
        *(
            "lrp.epsilon(**{'a': 1})",
            "lrp.epsilon(epsilon=1, epsilon=2)",
            "()",
            "(",
            "a b",
            "lambda",
        ),
        *("lrp.epsilon(epsilon=__import__('os'))", "lrp.epsilon(epsilon=" + "-" * 9_000 + "1)"),
        *("lrp.epsilon(epsilon=" + "[" * 9_000, "lrp.epsilon(epsilon=" + "9" * 9_000 + ")"),
        *("lrp.epsilon(model=1)", "lrp.epsilon(name='x')", "lrp.z(neuron_selection_mode='all')"),
        *("lrp.z(layers=['conv2d'])", "lrp.z(layers=['input', 'dense'])", "lrp.z(layers='x')"),
        *("lrp.z(layers=5)", "lrp.z(layers=[])", "lrp.z(layers={})", "gradient(output='dense')"),
    ):
        for out in ("x.npz", "x.npy", "x.html") if "layers" in text else ("x.npz",):
            line = LINES["explain"] | {"--method": [text], "--out": [out]}
            yield Command(
                "methods that cannot be read, or explain layers", written("explain", line)
            )
        yield Command("arguments of methods", ["plan", "image.keras", text])


def _metrics(random):
    pairs = [(name, f.name) for name, metric in METRICS.items() for f in fields(metric)]
    for name, argument in pairs:
        for value in random.choice(OF_METHODS, 2, replace=False):
            line = LINES["evaluate"] | {"--metric": [f"{name}({argument}={value})"]}
            line |= {"--out": ["x.csv"]}
            yield Command("arguments of metrics", written("evaluate", line))


def _tokens():
    for name in ("tokens.npy", "large.npy", "negative.npy", "fractions.npy", "images.npy"):
        for method in ("gradient", "lrp.epsilon", "occlusion", "integrated_gradients"):
            line = {"MODEL": ["tokens.keras"], "INPUT": [name], "--method": [method]}
            yield Command("tokens", written("explain", line | {"--out": ["x.npz"]}))


class Own(layers.Layer):
    """A layer that the command line does not know."""

    def call(self, x):
        return 2 * x


def png(width, height, bits=8, rows=b""):
    """A PNG of grey levels that says how large it is."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def make_folder(folder):
    """Models and inputs, right and hostile."""
    os.chdir(folder)
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(SEED)
    _make_models()
    np.save("images.npy", random.random((2, 6, 6, 1)).astype("float32"))
    np.save("train.npy", random.random((8, 6, 6, 1)).astype("float32"))
    np.save("tokens.npy", random.integers(0, 9, (2, 5)))
    for name, value in {"large.npy": 99, "negative.npy": -1, "fractions.npy": 0.5}.items():
        np.save(name, np.full((2, 5), value))
    for path in ("photos/sub", "folder", "folder.png", "old"):
        os.makedirs(path)
    for name in ("photo0.png", "photos/a.png", "photos/sub/b.jpg", "\udcffphoto.png", "$x$.png"):
        Image.fromarray(random.integers(0, 255, (9, 7, 3)).astype("uint8")).save(name)
    Image.fromarray(random.integers(0, 65535, (6, 6)).astype("uint16")).save("deep.png")
    Image.fromarray(random.normal(size=(6, 6)).astype("float32")).save("float.tif")
    Path("classes.txt").write_text("cat\ndog\nowl\n")
    model = keras.models.load_model("image.keras")
    innvestigate.create_analyzer("gradient", model).analyze(np.load("images.npy"), out="job.zarr")
    for name in ("old.npz", "old/relevance.npz", "old.zarr", "hard.png"):
        Path(name).write_bytes(b"an old result")
    os.remove("hard.png")
    os.link("photo0.png", "hard.png")
    for name, to in {"soft.png": "photo0.png", "loop.png": "loop.png", "nowhere.png": "no"}.items():
        os.symlink(to, name)
    os.mkfifo("pipe.npy")
    for name, content in HOSTILE.items():
        Path(name).write_bytes(content() if callable(content) else content)


def _make_models():
    first = [layers.Input((6, 6, 1)), layers.Conv2D(2, 3, activation="relu", name="conv2d")]
    last = [layers.Flatten(), layers.Dense(3, activation="softmax", name="dense")]
    keras.Sequential([*first, *last]).save("image.keras")
    keras.Sequential([*first, *last]).save("image.h5")
    words = [layers.Input((5,), dtype="int32"), layers.Embedding(9, 4), layers.Flatten()]
    keras.Sequential([*words, layers.Dense(2)]).save("tokens.keras")


def saved(model):
    """The bytes of a `.keras` file."""

    def make():
        model().save("temporary.keras")
        content = Path("temporary.keras").read_bytes()
        os.remove("temporary.keras")
        return content

    return make


def layer():
    """The bytes of a `.keras` file that holds a layer."""
    dense = layers.Dense(2)
    dense.build((None, 3))
    keras.saving.save_model(dense, "temporary.keras")
    content = Path("temporary.keras").read_bytes()
    os.remove("temporary.keras")
    return content


def pages():
    """The bytes of a TIFF of two pages."""
    image = Image.fromarray(np.zeros((6, 6), "uint8"))
    image.save("temporary.tif", save_all=True, append_images=[image])
    content = Path("temporary.tif").read_bytes()
    os.remove("temporary.tif")
    return content


def array(value):
    """The bytes of a `.npy` file."""

    def make():
        np.save("temporary.npy", value, allow_pickle=True)
        content = Path("temporary.npy").read_bytes()
        os.remove("temporary.npy")
        return content

    return make


X = layers.Input((6, 6, 1))
HOSTILE = {
    "empty.png": b"",
    "text.png": b"not an image",
    "cut.png": png(60, 60)[:50],
    "wide.png": png(60_000, 60_000),
    "bomb.png": lambda: png(20_000, 20_000, 1, bytes(2501 * 20_000)),
    "none.png": png(0, 0),
    "thin.png": png(1, 3_000, 8, bytes(6_000)),
    "cut.jpg": b"\xff\xd8\xff\xe0" + bytes(30),
    "pages.tif": pages,
    "cut.tif": b"II*\x00\x08\x00\x00\x00",
    "circle.tif": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
    "cut.dcm": bytes(128) + b"DICM" + bytes(20),
    "text.dcm": b"no DICOM",
    "empty.npy": b"",
    "none.npy": array(np.zeros((0, 6, 6, 1))),
    "nan.npy": array(np.full((1, 6, 6, 1), np.nan)),
    "huge.npy": array(np.full((1, 6, 6, 1), 1e300)),
    "complex.npy": array(np.zeros((1, 6, 6, 1), complex)),
    "words.npy": array(np.full((1, 6, 6, 1), "x")),
    "pickle.npy": array(np.array([{}], object)),
    "endless.npy": hostile.npy((10**12, 6, 6, 1)),
    "negative_shape.npy": hostile.npy((-1, 6, 6, 1)),
    "whole.npy": array(np.ones((2, 6, 6, 1), "int8")),
    "flags.npy": array(np.ones((2, 6, 6, 1), bool)),
    "long.npy": array(np.ones((2, 6, 6, 1), "longdouble")),
    "empty.csv": b"",
    "latin.csv": "größe,b\n1,2\n".encode("latin-1"),
    "zeros.csv": bytes(1_000),
    "text.csv": b"a,b\nx,y\n",
    "wide.csv": b"1," * 100_000 + b"1\n",
    "ragged.csv": b"1,2\n1,2,3\n",
    "quotes.csv": b'"a,b\n1,2\n',
    "empty.keras": b"",
    "text.keras": b"no model",
    "layer.keras": layer,
    "own.keras": saved(lambda: keras.Model(X, Own()(X))),
    "lambda.keras": saved(lambda: keras.Model(X, layers.Lambda(lambda x: 2 * x)(X))),
    "two.keras": saved(lambda: keras.Model(X, [X, layers.Flatten()(X)])),
    "unbuilt.keras": saved(lambda: keras.Sequential([layers.Dense(2)])),
    "nan.keras": saved(lambda: keras.Model(X, layers.Rescaling(float("nan"))(layers.Flatten()(X)))),
    "text.h5": b"no model",
    "no.json": b"{",
    "deep.json": b"[" * 100_000,
    "numbers.json": b"[1, 2, 3]",
    "odd.json": b'{"a": 1}',
    "surrogate.json": b'["\\ud800", "b", "c"]',
    "escape.json": b'["\\u001b[31m", "<b>", "$x$"]',
    "latin.txt": "größe\nb\nc\n".encode("latin-1"),
    "many.txt": b"a\n" * 100_000,
    "same.txt": b"a\na\na\n",
    "zeros.txt": bytes(100),
    "x.exe": b"MZ",
    "noextension": b"1,2\n",
}
"""Files that do not hold what they should, or hold it in an odd form."""
