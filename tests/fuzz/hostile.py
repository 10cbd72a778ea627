"""What an attacker puts into a file: values, names, configurations, zips, arrays."""

import base64
import io
import json
import marshal
import os
import struct
import zipfile

import h5py
import keras
import numpy as np

SEEN: list[str] = []
"""What was executed."""


@keras.saving.register_keras_serializable("fuzz")
def exploding(*args, **kwargs):
    """A function that no file may call with arguments of its own."""
    SEEN.append(f"the function was called with {args} {kwargs}")


@keras.saving.register_keras_serializable("fuzz")
class Exploding:
    """A class that is no part of models."""

    def __init__(self, *args, **kwargs):
        SEEN.append(f"the class was constructed with {args} {kwargs}")

    @classmethod
    def from_config(cls, config):
        return cls(config)

    def get_config(self):
        return {}


def code(canary):
    """A Python lambda as Keras writes it, which leaves a file when it is run."""
    run = compile(f"(lambda x: (open({str(canary)!r}, 'w').close(), x)[1])", "x", "eval")
    inner = next(c for c in run.co_consts if hasattr(c, "co_code"))
    text = base64.b64encode(marshal.dumps(inner)).decode()
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}


def of_keras(name, config, module="keras.layers", **more):
    return {"module": module, "class_name": name, "config": config, "registered_name": None, **more}


def function(name, module="builtins"):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def deep(depth):
    return json.loads("[" * 500 + "1" + "]" * 500) if depth < 500 else None


def arguments():
    """Values in the place of any argument."""
    return [
        *(None, True, False, -1, 0, 2, 10**9, 10**30, -(10**30), 0.5, -0.0, 1e308, 1e-320),
        *(float("nan"), float("inf"), "", "x", "a" * 100_000, "\x00", "\n", "\x1b[31m", "../x"),
        *([], {}, [None], [[[]]], {"is": "tuple", "of": []}, {"is": "dict", "of": [[1, 2]]}),
        *({"is": "dict", "of": [[[], 2]]}, {"is": "dict"}, {"is": ["tuple"]}, {"is": None}),
        *({"is": "tuple", "of": 5}, {"is": "array", "name": "no"}, {"is": "array", "name": [1]}),
        {"is": "array", "name": "array_0"},
        *({"is": "name", "name": name} for name in NAMES),
        *({"is": "object", "class": name, "arguments": {"command": "false"}} for name in NAMES),
        *({"is": "object", "class": name, "arguments": {}} for name in NAMES),
        *(
            {"is": "analyzer", "class": name, "arguments": {}, "state": {}}
            for name in (*NAMES, "Analyzer", "Wrapper", "MirrorAnalyzer", "Configured", "Input")
        ),
        {"is": "object", "class": "ShuffledReferences", "arguments": {"n": 10**12, "seed": 1}},
        {"is": "object", "class": "Composite", "arguments": {"lines": [1]}},
        {"is": "object", "class": "Epsilon", "arguments": {"epsilon": "much"}},
        {"is": "object", "class": "Rule", "arguments": {}},
        {"is": "object", "class": "KernelRule", "arguments": {}},
        {"is": "object", "class": "Z", "arguments": {"self": 1}},
        *({"is": "model", "name": name} for name in PATHS),
        deep(400),
    ]


NAMES = (
    *("fuzz>exploding", "fuzz>Exploding", "os.system", "builtins.eval", "subprocess.run", ""),
    *("__import__", "Epsilon", "Rule", "Composite", "Line", "DifferenceRule", "_Decoder"),
)
PATHS = (
    *("../outside.keras", "/tmp/outside.keras", "model_0.keras/../../outside.keras"),
    *("outside.h5", "folder.keras", "pipe.keras", "model_9.keras", "hf://user/model", "", None),
    *("gs://bucket/model.keras", "arrays.npz", "model_0.keras\x00", 5, "model_٣.keras"),
)


def layers_of(canary, secret):
    """Layers that run code, read files, or take memory."""
    lookup = {"max_tokens": None, "num_oov_indices": 1, "vocabulary": str(secret)}
    text = {"max_tokens": None, "standardize": None, "split": None, "ngrams": 10**9}
    return [
        of_keras("Lambda", {"name": "l", "function": code(canary), "arguments": {}}),
        of_keras("Lambda", {"name": "l", "function": [code(canary)["config"]["code"], None, None]}),
        of_keras("Lambda", {"function": function("relu"), "output_shape": code(canary)}),
        {"class_name": "Lambda", "config": {"name": "l", "function": code(canary)}},
        of_keras("Lambda", {"name": "l", "function": "fuzz>exploding", "arguments": {"a": 1}}),
        of_keras("TFSMLayer", {"filepath": str(secret), "call_endpoint": "serve"}),
        of_keras("TorchModuleWrapper", {"module": "gASVHgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU"}),
        of_keras("TorchModuleWrapper", {"module": "x"}, "keras.src.utils.torch_utils"),
        of_keras("StringLookup", lookup),
        of_keras("IntegerLookup", lookup),
        of_keras("TextVectorization", {"vocabulary": str(secret)}),
        of_keras("TextVectorization", text),
        of_keras("StringLookup", {"num_oov_indices": 10**10, "vocabulary": ["a"]}),
        of_keras("Exploding", {}, "tests.fuzz.hostile", registered_name="fuzz>Exploding"),
        of_keras("Dense", {"units": 3}, registered_name="fuzz>Exploding"),
        of_keras("fuzz>Exploding", {}),
        of_keras("Popen", {"args": ["false"]}, "subprocess"),
        of_keras("Progbar", {"target": 3}, "keras.utils"),
        of_keras("CSVLogger", {"filename": str(canary)}, "keras.callbacks"),
        of_keras("PyDataset", {}, "keras.utils"),
        of_keras("get_file", {"fname": "x", "origin": "http://localhost"}, "keras.utils"),
        of_keras("system", {}, "keras.src.utils.os"),
        of_keras("Test", {}, "keras.src.layers.core.dense_test"),
        of_keras("WordPieceTokenizer", {"vocabulary": str(secret)}, "keras_hub.tokenizers"),
        of_keras("SentencePieceTokenizer", {"proto": str(secret)}, "keras_hub.tokenizers"),
        {"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []},
        {"class_name": "__numpy__", "config": {"value": [1] * 100, "dtype": "V10000000"}},
        {"class_name": "__numpy__", "config": {"value": [1], "dtype": "U100000000"}},
        of_keras("Dense", {"units": 10**9}),
        of_keras("Dense", {"units": 10**30}),
        of_keras("Dense", {"units": 4}, build_config={"input_shape": [None, 10**12]}),
        of_keras("Embedding", {"input_dim": 10**10, "output_dim": 64}, build_config={"a": 1}),
        of_keras(
            "Embedding", {"input_dim": 10**8, "output_dim": 8}, build_config={"input_shape": [None]}
        ),
        of_keras("LSTM", {"units": 100_000}),
        of_keras("Dense", {"units": 3, "dtype": "float" * 1000}),
    ]


def functions(canary):
    """What stands in the place of an activation or an initializer."""
    return [
        *(code(canary), "fuzz>Exploding", {"class_name": "fuzz>Exploding", "config": {}}),
        *(function("exploding", "tests.fuzz.hostile"), function("system", "os")),
        *(function("load_data", "keras.datasets.mnist"), function("set_floatx", "keras.config")),
        *(function("enable_unsafe_deserialization", "keras.config"), function("eval")),
        *(function("load_model", "keras.saving"), function("get_file", "keras.utils")),
        *(function("ResNet50", "keras.applications"), function("clone_model", "keras.models")),
        of_keras("Exploding", {}, None, registered_name="fuzz>Exploding"),
        of_keras("Orthogonal", {"gain": "x"}, "keras.initializers"),
        of_keras("Constant", {"value": [[1] * 1000]}, "keras.initializers"),
        *("", "no such", 5, [], {}, None, "../..", of_keras("Dense", {"units": 10**9})),
    ]


def zipped(parts, compression=zipfile.ZIP_STORED):
    """A zip of named parts: a dict, or pairs where names repeat."""
    buffer = io.BytesIO()
    pairs = parts.items() if isinstance(parts, dict) else parts
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in pairs:
            file.writestr(name, content)
    return buffer.getvalue()


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def npy(shape, descr="<f8", data=b""):
    """An array that says that it has a shape."""
    header = str({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


ODD = [npy((3,), "<f8", np.array([np.nan, np.inf, 1]).tobytes()), npy((0, 10**18))]
"""Arrays, if not such as anybody would use."""


def arrays():
    """Files of arrays that are none, or odd."""
    pickled = io.BytesIO()
    np.save(pickled, np.array([Exploding]), allow_pickle=True)
    return [
        *(npy((10**10,)), npy((10**18, 10**18)), npy((-1, -8)), npy((2,))),
        *(npy((1,), "|O", b"\x00" * 8), npy((10**9,), "|V0"), npy((10**9,), "<U0")),
        *(npy((1,), [("a", "<f8")], b"\x00" * 8), npy((1,), "x"), pickled.getvalue(), b"", b"\x93"),
        *(
            npy((True,), data=b"\x00" * 8),
            npy("x"),
            npy(((1,),)),
            npy((1,) * 100, data=b"\x00" * 8),
        ),
        *(*ODD, npy((1,), "<M8[s]", bytes(8))),
    ]


def weights(kind, secret):
    """A file of weights that points elsewhere, or says that it is larger than it is."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("layers/dense/vars")
        if kind == "compressed":
            group.create_dataset("0", (5, 300_000_000), "f4", chunks=(5, 10**6), compression="gzip")
        elif kind == "empty":
            group.create_dataset("0", (10**6, 10**6), "f4")
        elif kind == "external":
            group.create_dataset("0", (5, 7), "f4", external=[(str(secret), 0, 140)])
        elif kind == "external link":
            group["0"] = h5py.ExternalLink(str(secret), "/x")
        elif kind == "soft link":
            group["0"] = h5py.SoftLink("/layers/dense/vars/0")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((5, 7), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "x", (5, 7))
            group.create_virtual_dataset("0", layout)
        elif kind == "objects":
            group.create_dataset("0", data=["a"], dtype=h5py.string_dtype())
        elif kind == "circle":
            group["0"] = file["layers"]
        elif kind == "many":
            data = group.create_dataset("0", data=np.zeros(10_000, "f4"))
            for i in range(1, 500):
                group[str(i)] = data
    return buffer.getvalue()


WEIGHTS = (
    *("compressed", "empty", "external", "external link", "soft link", "virtual", "objects"),
    *("circle", "many", "none"),
)


def special(folder, kind):
    """Things that are no files."""
    path = folder / "thing"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "empty":
        path.touch()
    else:
        return kind
    return path


SPECIAL = ("pipe", "folder", "loop", "empty", "/dev/zero", "/dev/null", "/proc/self/mem", "/")
