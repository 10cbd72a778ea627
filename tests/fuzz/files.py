"""Damaged and forged files: what is made, and what became of it when it was opened.

A file is either refused, by a `FileRefusedError` in one line, or it loads and can be used: what
was not forged then gives the very arrays of the honest file.
"""

import hashlib
import io
import json
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import keras
import numpy as np
from keras import layers, tree

import innvestigate
from innvestigate import FileRefusedError
from innvestigate.analyzer import PatternStatistics
from innvestigate.cli.session import load_model
from tests.fuzz import hostile
from tests.models import build

TITLE = "Files"
ENDLESS = "arguments without end"
"""The family of files that load in no time and memory, but explain nothing in a lifetime."""


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        family: What is wrong with it.
        make: Writes it into a folder, given a source of random numbers.
        opened_as: `"analyzer"`, `"statistics"` or `"model"`.
        forged: Whether its checksums fit what is in it.
    """

    family: str
    make: Callable
    opened_as: str = "analyzer"
    forged: bool = True


# --- Honest files ---------------------------------------------------------------------------------


def tokens():
    words = layers.TextVectorization(vocabulary=["good", "bad", "film"], output_sequence_length=4)
    parts = words, layers.Embedding(6, 4), layers.GlobalAveragePooling1D(), layers.Dense(2)
    x = np.array(["good film", "bad film here"])
    return keras.Sequential([layers.Input((), dtype="string"), *parts]), x


def operations():
    x = layers.Input((6,))
    y = keras.ops.concatenate([keras.ops.relu(x) * 2 - 1, keras.ops.softmax(x)], -1)
    inner = keras.Sequential([layers.Input((12,)), layers.Dense(5, "relu"), layers.Dropout(0.1)])
    inner.compile("adam", "mse", metrics=["mae"])
    model = keras.Model(x, layers.Dense(2, kernel_initializer="orthogonal")(inner(y)[:, 1:]))
    return model, np.random.default_rng(0).normal(size=(3, 6)).astype("float32")


MAKERS = {
    "boxes": ("lrp.epsilon", partial(build, "mlp"), {"input_layer_rule": (-2, np.full(5, 2.0))}),
    "fitted": ("pattern.net", partial(build, "mlp"), {"pattern_type": "linear"}),
    "path": ("integrated_gradients", operations, {"reference_inputs": np.ones(6), "steps": 4}),
    "text": ("gradient", tokens, {}),
}


@cache
def honest(name):
    """The bytes of an honest file, what may be explained, and the result."""
    warnings.simplefilter("ignore")
    method, network, arguments = MAKERS[name]
    model, x = network()
    analyzer = innvestigate.create_analyzer(method, model, **arguments)
    if hasattr(analyzer, "fit"):
        analyzer.fit(x)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "honest"
        analyzer.save(path)
        return path.read_bytes(), x, analyzer.analyze(x)


@cache
def statistics():
    """A fitted analyzer, and the bytes of its statistics."""
    warnings.simplefilter("ignore")
    model, x = build("mlp")
    analyzer = innvestigate.create_analyzer("pattern.net", model, pattern_type="linear").fit(x)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "honest"
        analyzer.statistics.save(path)
        return analyzer, path.read_bytes()


@cache
def parts_of(name):
    parts = hostile.unzipped(honest(name)[0])
    del parts["manifest.json"]
    return parts


def forged(name, **changes):
    """An honest file with some parts replaced, and checksums that fit."""
    parts = {**parts_of(name), **{n.replace("__", "."): c for n, c in changes.items()}}
    parts = {n: content for n, content in parts.items() if content is not None}
    return signed(parts)


def signed(parts, compression=zipfile.ZIP_STORED, **about):
    digests = {n: hashlib.sha256(content).hexdigest() for n, content in parts.items()}
    manifest = {"format": "an analyzer of innvestigate", "version": 1, "sha256": digests} | about
    return hostile.zipped({**parts, "manifest.json": json.dumps(manifest)}, compression)


def with_model(name, **changes):
    """An honest file with parts of its model replaced."""
    parts = hostile.unzipped(parts_of(name)["model_0.keras"])
    return forged(name, model_0__keras=hostile.zipped(parts | changes))


def configuration(name):
    return json.loads(hostile.unzipped(parts_of(name)["model_0.keras"])["config.json"])


# --- What is done to them -------------------------------------------------------------------------


def flipped(content, random, most=4):
    content = bytearray(content)
    for _ in range(random.integers(1, most + 1)):
        content[random.integers(len(content))] ^= 1 << random.integers(8)
    return bytes(content)


def places(value, path=()):
    """The paths to everything in a piece of JSON."""
    found = [path]
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in inner:
            found += places(each, (*path, key))
    return found


def replaced(value, path, new):
    value = deepcopy(value)
    if not path:
        return new
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return value


def mutated(value, random, pool):
    known = places(value)
    path = known[random.integers(len(known))]
    return replaced(value, path, pool[random.integers(len(pool))])


def write(make):
    """A maker of bytes as one of files."""

    def to_file(folder, random):
        path = folder / "file"
        path.write_bytes(make(folder, random))
        return path

    return to_file


def damaged():
    """Damage without forged checksums."""
    for name in MAKERS:
        for _ in range(25):
            yield "bits flipped", lambda f, r, n=name: flipped(honest(n)[0], r)
        for _ in range(12):
            cut = lambda f, r, n=name: honest(n)[0][: r.integers(len(honest(n)[0]))]  # noqa: E731
            yield "cut off", cut
        for _ in range(4):
            yield "bytes added", lambda f, r, n=name: honest(n)[0] + r.bytes(r.integers(1, 70_000))
            yield "bytes added", lambda f, r, n=name: r.bytes(r.integers(1, 70_000)) + honest(n)[0]
            yield "bytes moved", lambda f, r, n=name: honest(n)[0][:3000] + honest(n)[0][2990:]
    yield "bytes added", lambda f, r: honest("boxes")[0] + honest("text")[0]


def altered():
    """Bits flipped in one part, whose checksum fits."""
    counts = {"analyzer.json": 20, "arrays.npz": 12, "model_0.keras": 12}
    for name in MAKERS:
        for part, count in counts.items():
            for _ in range(count):
                key = part.replace(".", "__")

                def make(folder, random, name=name, part=part, key=key):
                    return forged(name, **{key: flipped(parts_of(name)[part], random)})

                yield f"bits flipped in {part}, checksums forged", make
        inside = {"config.json": 12, "model.weights.h5": 16, "metadata.json": 2}
        for part, count in inside.items():
            for _ in range(count):

                def deep(folder, random, name=name, part=part):
                    parts = hostile.unzipped(parts_of(name)["model_0.keras"])
                    return with_model(name, **{part: flipped(parts[part], random)})

                yield f"bits flipped in {part}, checksums forged", deep


def hostile_json():
    """Values, names and paths in the place of arguments, and all of them once as the analyzer."""
    pool = hostile.arguments()
    for i, value in enumerate(pool):
        name = list(MAKERS)[i % len(MAKERS)]

        def one(folder, random, name=name, value=value):
            description = json.loads(parts_of(name)["analyzer.json"])
            keys = list(description["arguments"])
            description["arguments"][keys[random.integers(len(keys))]] = value
            return forged(name, analyzer__json=json.dumps(description).encode())

        yield "hostile arguments", one
        yield (
            "hostile arguments",
            lambda f, r, n=name, v=value: forged(n, analyzer__json=json.dumps(v).encode()),
        )
    for name in MAKERS:
        for _ in range(12):

            def any_place(folder, random, name=name):
                description = json.loads(parts_of(name)["analyzer.json"])
                return forged(
                    name, analyzer__json=json.dumps(mutated(description, random, pool)).encode()
                )

            yield "hostile arguments", any_place
    for number in range(3):

        def into_model(folder, random, number=number):
            keys = ("neuron_selection_mode", "layers", "output")
            description = json.loads(parts_of("text")["analyzer.json"])
            description["arguments"][keys[number]] = [["x"] * 1000] * 100
            return forged("text", analyzer__json=json.dumps(description).encode())

        yield "hostile arguments", into_model


def hostile_models():
    """Layers and functions that run code, read files or take memory; values in any place."""
    count = len(hostile.layers_of("", ""))
    for number in range(count):
        for name in ("boxes", "path"):

            def layer(folder, random, number=number, name=name):
                given = hostile.layers_of(folder / "canary", folder / "secret")[number]
                config = configuration(name)
                at = 1 + random.integers(len(config["config"]["layers"]) - 1)
                before = config["config"]["layers"][at]
                more = {k: before[k] for k in ("inbound_nodes", "name") if k in before}
                config["config"]["layers"][at] = {**given, **more}
                return with_model(name, **{"config.json": json.dumps(config)})

            yield "hostile layers", layer
    for number in range(len(hostile.functions(""))):
        for key in ("activation", "kernel_initializer"):

            def part(folder, random, number=number, key=key):
                config = configuration("boxes")
                dense = config["config"]["layers"][1]["config"]
                dense[key] = hostile.functions(folder / "canary")[number]
                return with_model("boxes", **{"config.json": json.dumps(config)})

            yield "hostile functions", part
    for change in (_nested, _long, _many_axes, _large_batch):

        def whole(folder, random, change=change):
            return with_model(
                "boxes", **{"config.json": json.dumps(change(configuration("boxes")))}
            )

        yield "hostile configurations", whole
    pool = [
        *(None, True, -1, 0, 10**9, 10**15, 10**30, 1e308, float("nan"), "", "x", "../x", [], {}),
        *("a" * 100_000, [[]], [10**9] * 3, {"class_name": "Dense"}, {"class_name": None}),
        *({"class_name": ["x"], "config": {}}, {"config": {}}, [None] * 10_000, hostile.deep(300)),
    ]
    for name in MAKERS:
        for _ in range(24):

            def any_place(folder, random, name=name):
                config = mutated(configuration(name), random, pool)
                return with_model(name, **{"config.json": json.dumps(config)})

            yield "hostile configurations", any_place


def _nested(config):
    for _ in range(150):
        inner = [config["config"]["layers"][0], config]
        config = {**config, "config": {**config["config"], "layers": inner}}
    return config


def _long(config):
    relu = hostile.of_keras("Activation", {"activation": "relu"})
    config["config"]["layers"] += [relu] * 5_000
    return config


def _many_axes(config):
    config["config"]["layers"][0]["config"]["batch_shape"] = [None] * 1000
    return config


def _large_batch(config):
    config["config"]["layers"][0]["config"]["batch_shape"] = [10**9, 5]
    return config


def bombs():
    """Little that becomes much."""
    zeros, packed = partial(bytes, 200_000_000), zipfile.ZIP_DEFLATED
    parts = parts_of("boxes")
    yield "bombs", lambda f, r: signed({**parts, "model_1.keras": zeros()}, packed)
    yield "bombs", lambda f, r: signed({**parts, "analyzer.json": b" " * 10**8}, packed)
    yield (
        "bombs",
        lambda f, r: forged("boxes", arrays__npz=hostile.zipped({"a.npy": zeros()}, packed)),
    )
    yield (
        "bombs",
        lambda f, r: forged(
            "boxes", model_0__keras=hostile.zipped({"config.json": zeros()}, packed)
        ),
    )
    yield (
        "bombs",
        lambda f, r: forged(
            "boxes",
            model_0__keras=hostile.zipped(
                {**hostile.unzipped(parts["model_0.keras"]), "assets/x": zeros()}, packed
            ),
        ),
    )
    for kind in hostile.WEIGHTS:

        def weights(folder, random, kind=kind):
            content = hostile.weights(kind, folder / "secret")
            return with_model("boxes", **{"model.weights.h5": content})

        yield "hostile weights", weights
    for content in hostile.arrays():
        yield (
            "hostile arrays",
            lambda f, r, c=content: forged("boxes", arrays__npz=hostile.zipped({"array_0.npy": c})),
        )
    yield "bombs", lambda f, r: forged("boxes", analyzer__json=b"[" * 10**6)
    yield "bombs", lambda f, r: forged("boxes", analyzer__json=b"[" * 10**5 + b"]" * 10**5)
    yield "bombs", lambda f, r: forged("boxes", analyzer__json=b"9" * 10**6)
    for steps in (5 * 10**8, 10**15, 10**30):
        for quadrature in ("midpoint", "gauss_legendre", "trapezoid"):
            yield ENDLESS, partial(_argued, "path", steps=steps, quadrature=quadrature)
    model = {"is": "model", "name": "model_0.keras"}
    yield "bombs", partial(_argued, "boxes", layers=[model] * 10_000)
    gradient = {"is": "analyzer", "class": "GradientAnalyzer", "state": {}}
    gradient["arguments"] = {"model": model}
    yield "bombs", partial(_argued, "boxes", layers=[gradient] * 10_000)
    array = {"is": "array", "name": "array_0"}
    yield "bombs", partial(_argued, "path", reference_inputs=[array] * 100_000)
    nested = gradient
    for _ in range(90):
        nested = {
            "is": "analyzer",
            "class": "GaussianSmoother",
            "arguments": {"analyzer": nested, "augment_by_n": 10**9},
            "state": {},
        }
    yield ENDLESS, lambda f, r: forged("boxes", analyzer__json=json.dumps(nested).encode())


def _argued(name, folder, random, **arguments):
    description = json.loads(parts_of(name)["analyzer.json"])
    description["arguments"] |= arguments
    return forged(name, analyzer__json=json.dumps(description).encode())


def tricks():
    """Zips that are read differently by different programs, and names that lead outside."""
    parts = parts_of("boxes")
    pairs = list(parts.items())
    for name in (*("../x", "/tmp/innvestigate-canary", "a\\..\\x", "x/../../y"), "extra.py"):
        yield "names that lead outside", lambda f, r, n=name: signed({**parts, n: b"x"})
        inner = hostile.unzipped(parts["model_0.keras"])
        for each in (name, f"assets/{name}", f"assets/../{name}"):
            content = hostile.zipped({**inner, each: b"x"})
            yield (
                "names that lead outside",
                lambda f, r, c=content: forged("boxes", model_0__keras=c),
            )
    for name, content in pairs:
        twice = hostile.zipped([*hostile.unzipped(honest("boxes")[0]).items(), (name, content)])
        yield "parts that are there twice", lambda f, r, c=twice: c
        key = name.replace(".", "__")
        yield "parts that are missing", lambda f, r, k=key: forged("boxes", **{k: None})
        yield "parts that are missing", lambda f, r, k=key: forged("boxes", **{k: b""})
    yield "parts that are missing", lambda f, r: hostile.zipped(parts)
    for version in (0, 2, None, "1", 1.5, [1], "x" * 10**5, 10**400, True):
        yield "other versions", lambda f, r, v=version: signed(parts, version=v)
    for about in ({"format": "x"}, {"format": None}, {"sha256": []}, {"sha256": {"a": 1}}):
        yield "forged manifests", lambda f, r, a=about: signed(parts, **a)
    for manifest in ("", "1", "null", "[]", "{", '{"a": NaN}', "[" * 10**5):
        content = hostile.zipped({**parts, "manifest.json": manifest})
        yield "forged manifests", lambda f, r, c=content: c
    yield (
        "many parts",
        lambda f, r: signed({**parts, **{f"model_{i}.keras": b"" for i in range(5000)}}),
    )
    for place, value in ((6, 1), (8, 1), (10, 8), (26, 60_000), (30, 0)):

        def header(folder, random, place=place, value=value):
            content = bytearray(honest("boxes")[0])
            content[place : place + 2] = value.to_bytes(2, "little")
            return bytes(content)

        yield "headers that contradict each other", header
    yield "other files", lambda f, r: parts["model_0.keras"]
    yield "other files", lambda f, r: parts["arrays.npz"]
    yield "other files", lambda f, r: b"\x80\x04cos\nsystem\n(S'false'\ntR."
    yield "other files", lambda f, r: r.bytes(10_000)
    yield "other files", lambda f, r: b"PK\x05\x06" + bytes(18)


def sums():
    """Statistics of patterns, altered with a checksum that fits."""
    from innvestigate.analyzer.pattern_sums import digest_of

    def state():
        with np.load(io.BytesIO(statistics()[1])) as file:
            return {name: file[name] for name in file if name != ":sha256"}

    def archived(content):
        buffer = io.BytesIO()
        np.savez(buffer, **content, **{":sha256": np.array(digest_of(content))})
        return buffer.getvalue()

    pool = [
        *(np.array(np.nan), np.array(-1), np.zeros(0), np.array("x"), np.array(10**18)),
        *(np.full((5, 7), np.inf), np.full((1, 7), -1.0), np.full((5, 7), 1e300), np.array(True)),
        *(np.zeros((1, 1)), np.zeros((5, 1)), np.zeros((7, 5)), np.zeros((5, 7), "int8")),
        *(np.zeros((1, 7)), np.zeros((5, 7), complex), np.array(["relu"]), np.array("linear")),
    ]
    for name in state():
        for value in pool:
            yield "forged sums", lambda f, r, n=name, v=value: archived({**state(), n: v})
        yield (
            "forged sums",
            lambda f, r, n=name: archived({k: v for k, v in state().items() if k != n}),
        )
    for extra in ("x:y", "x:xy", "", ":", ":more", "dense:more"):
        yield "forged sums", lambda f, r, n=extra: archived({**state(), n or "a": np.zeros(3)})
    for _ in range(40):
        yield "bits flipped in sums", lambda f, r: flipped(statistics()[1], r)
    for content in hostile.arrays():
        yield "hostile arrays", lambda f, r, c=content: hostile.zipped({":format.npy": c})


def models():
    """Model files of the command line."""
    for name in MAKERS:
        content = parts_of(name)["model_0.keras"]
        for _ in range(5):
            yield "models of the command line", lambda f, r, c=content: flipped(c, r), ".keras"
    for number in range(len(hostile.layers_of("", ""))):

        def layer(folder, random, number=number):
            parts = hostile.unzipped(parts_of("boxes")["model_0.keras"])
            config = json.loads(parts["config.json"])
            given = hostile.layers_of(folder / "canary", folder / "secret")[number]
            config["config"]["layers"][1] = given
            return hostile.zipped({**parts, "config.json": json.dumps(config)})

        yield "models of the command line", layer, ".keras"
        yield "models of the command line", partial(_legacy, number), ".h5"


def _legacy(number, folder, random):
    """A model in Keras's older format."""
    import h5py

    path = folder / "legacy.h5"
    build("mlp")[0].save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        given = hostile.layers_of(folder / "canary", folder / "secret")[number]
        config["config"]["layers"][1] = given
        file.attrs["model_config"] = json.dumps(config)
    return path.read_bytes()


def cases():
    """All files, in an order that any part of them represents."""
    found = [Case(family, write(make), forged=False) for family, make in damaged()]
    for families in (altered, hostile_json, hostile_models, bombs, tricks):
        found += [Case(family, write(make)) for family, make in families()]
    found += [Case(family, write(make), "statistics") for family, make in sums()]
    for family, make, suffix in models():
        found.append(Case(family, partial(_renamed, write(make), suffix), "model"))
    for kind in hostile.SPECIAL:
        special = partial(_special, kind)
        found += [Case("no files", special, as_what) for as_what in ("analyzer", "statistics")]
    return found


def _renamed(make, suffix, folder, random):
    return make(folder, random).rename(folder / f"file{suffix}")


def _special(kind, folder, random):
    return Path(hostile.special(folder, kind))


# --- What becomes of them -------------------------------------------------------------------------


def opened(case, path):
    """Open a file as somebody would who trusts it, and say what became of it.

    Raises:
        Exception: Of any type, where a file is neither refused nor right.
    """
    try:
        found = _OPENERS[case.opened_as](path)
    except (FileRefusedError, FileNotFoundError) as error:
        if isinstance(error, FileRefusedError) and ("\n" in str(error) or len(str(error)) > 700):
            raise AssertionError(f"The message is not one line: {error}") from error
        return "refused"
    if case.opened_as == "statistics":
        _merged(found)
    elif case.opened_as == "analyzer" and case.family != ENDLESS:
        result = _explained(found)
        if not case.forged and not any(_equal(result, honest(name)[2]) for name in MAKERS):
            raise AssertionError("A damaged file was loaded as something else.")
    return "loaded"


_OPENERS = {
    "analyzer": innvestigate.load_analyzer,
    "statistics": PatternStatistics.load,
    "model": load_model,
}


def _explained(analyzer):
    """The result for data of the shapes that the model takes; None where no data is of them."""
    (shape,) = (tuple(t.shape) for t in analyzer.input_spec.tensors)
    known = [honest(name)[1] for name in MAKERS]
    x = next((k for k in known if (None, *k.shape[1:]) == shape), None)
    if shape == (None, 4):  # tokens of text
        x = known[-1]
    elif x is None:
        size = [3, *(n or 3 for n in shape[1:])]
        if len(size) > 64 or np.prod(size, dtype=object) > 10**6:
            return None
        x = np.ones(size, "float32")
    selection = {"index": 0, "contrast": (0, 0), "weights": 1.0}
    return analyzer.analyze(x, selection.get(analyzer.neuron_selection_mode))


def _equal(found, expected):
    found, expected = tree.flatten(found), tree.flatten(expected)
    same = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(np.array_equal(a, b) for a, b in same)


def _merged(loaded):
    analyzer, _ = statistics()
    other = analyzer.rebuilt()
    other.statistics.clear()
    try:
        other.statistics.merge(loaded)
    except ValueError as error:
        assert "cannot be merged" in str(error)
        return
    if loaded.sums:
        assert all(np.isfinite(pattern).all() for pattern in other.patterns.values())
