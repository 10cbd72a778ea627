"""Every method on every model, every form of input and every form of target.

A result is finite, not all zero, and has the structure and shape of the input in the model's float
type. Where a method refuses a model or warns of it, the table `EXPECTED` says so.
"""

import warnings
from contextlib import contextmanager, nullcontext
from functools import cache, lru_cache, partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops, tree

import innvestigate
from tests.frameworks import gradients, run_step_by_step
from tests.models import (
    ARGUMENTS,
    MODELS,
    SOFTMAX_MODELS,
    TOKEN_MODELS,
    as_letters,
    build,
    makes_map,
)

BOX = {"low": -5, "high": 5}
REQUIRED = {
    "lrp": {"rule": "Epsilon"},
    "lrp.alpha_beta": {"alpha": 2},
    "lrp.epsilon_gamma_box": BOX,
    "deep_taylor.bounded": BOX,
    "pattern.net": {"pattern_type": "linear"},  # three samples do not activate every neuron
    "pattern.attribution": {"pattern_type": "linear"},
    "smoothgrad": {"seed": 0},
    "expected_gradients": {"seed": 0},
    "shapley_sampling": {"seed": 0, "samples": 2},
    "rise": {"seed": 0, "masks": 4},
    "kernel_shap": {"seed": 0, "samples": 600, "sampling_axes": (1,)},
    "lime": {"seed": 0, "samples": 20},
}
METHODS = list(innvestigate.analyzers)
OF_LETTERS = ["in_silico_mutagenesis"]
"""Methods for one-hot samples."""
UNSTABLE = {"lrp.z": 1e-4, "lrp.flat": 1e-4, "lrp.z_IB": 1e-3, "lrp.epsilon_IB": 1e-3}
"""Tolerances of rules whose divisors nearly cancel: float32 differs as much between processors."""
TRACED = (
    *("gradient", "guided_backprop", "integrated_gradients", "lrp.epsilon", "lrp.alpha_2_beta_1"),
    *("lrp.attn", "deeplift", "deeplift.reveal_cancel", "pattern.net", "guided_grad_cam"),
)
"""A method of each family: with all models these run as graphs, others step by step."""
_FIRST = {
    getattr(made, "func", made): name for name, made in [*innvestigate.analyzers.items()][::-1]
}
IN_ALL = [name for name in METHODS if name in _FIRST.values()]
"""A name of each class or preset: it runs on all models, further settings of it on `FEW`."""
FEW = ("mlp", "cnn_bn", "two_inputs", "embedding_masked", "gru")
DEEP_TAYLOR = [name for name in METHODS if name.startswith("deep_taylor")]
LRP = [name for name in METHODS if name.startswith(("lrp", "elrp"))]
RECTIFIER = [
    *("deconvnet", "guided_backprop", "guided", "guided_grad_cam"),
    *("pattern.net", "pattern.attribution"),
]
MAPS = [name for name in METHODS if makes_map(name)]


def refused(methods, error, match):
    return methods, partial(pytest.raises, error, match=match)


def warned(methods, match):
    return methods, partial(pytest.warns, UserWarning, match=match)


def recurrent(gate):
    """What is expected for a recurrent layer, `gate` being the first activation inside."""
    return [refused(DEEP_TAYLOR, ValueError, gate), warned(RECTIFIER, "'memory'")]


TOKENS = [
    refused(["gradient.baseline"], ValueError, "integers"),
    refused(OF_LETTERS, ValueError, "one-hot inputs. Input .* holds int32"),
    warned(["deep_taylor.bounded"], "applies to no layer"),
]
EXPECTED = {
    "lstm": recurrent("'sigmoid' at 'memory.loop"),
    "gru": recurrent("'sigmoid' at 'memory.forward_gru.*.loop"),
    "attention": [
        refused(DEEP_TAYLOR, ValueError, "attention.dot_product_attention"),
        warned(RECTIFIER, "attention.dot_product_attention"),
    ],
    "mlp_tanh": [refused(DEEP_TAYLOR, ValueError, "'tanh'"), warned(RECTIFIER, "tanh")],
    "squeeze_excite": [
        refused(DEEP_TAYLOR, ValueError, "'sigmoid' at 'gate.sigmoid'"),
        warned(RECTIFIER, "'gate.sigmoid'"),
    ],
    **dict.fromkeys(TOKEN_MODELS, TOKENS),
    "uint8": [refused(OF_LETTERS, ValueError, "one-hot inputs. Input .* holds uint8")],
    "embedding_masked": [
        *TOKENS,
        refused(["shapley_sampling", "kernel_shap"], ValueError, "reference_inputs is not finite"),
        refused(["lime"], ValueError, "not finite where some features"),
    ],
}

WITHOUT_CONVOLUTIONS = [
    "attention",
    "lstm",
    "gru",
    "mlp",
    "mlp_tanh",
    "embedding",
    "embedding_masked",
    "dict_inputs",
    "two_outputs",
    "nested",
    "shared",
    "custom_layer",
    "raw_ops",
]
for name in WITHOUT_CONVOLUTIONS:
    boxless = warned(["lrp.epsilon_gamma_box"], "applies to no layer")
    EXPECTED[name] = [*EXPECTED.get(name, []), boxless]

WITHOUT_PLACES = [
    *("mlp", "mlp_tanh", "lstm", "gru", "dict_inputs", "two_outputs", "nested", "shared"),
    *("custom_layer", "raw_ops"),
]
for name in WITHOUT_PLACES:
    placeless = refused(MAPS, ValueError, "a layer with places and channels")
    EXPECTED[name] = [placeless, *EXPECTED.get(name, [])]
for name in (*TOKEN_MODELS, "uint8"):
    EXPECTED[name] = [
        *EXPECTED.get(name, []),
        refused(["score_cam"], ValueError, "holds whole numbers"),
    ]
EXPECTED["two_inputs"] = [warned(MAPS, "does not lie on the input 'vector'")]
EXPECTED["timedistributed"] = [
    refused(["guided_grad_cam"], ValueError, "a layer with places and channels")
]

slow = pytest.mark.slow


def slow_but(quick, values):
    """Parameters of a test, all but one marked as slow."""
    return [pytest.param(value, marks=[] if value == quick else slow) for value in values]


def samples(method, model):
    """Samples for a model of the table, as a method takes them."""
    x = build(model)[1]
    return as_letters(x) if method in OF_LETTERS else x


@lru_cache(maxsize=100)
def analyzer(method, model, mode="max_activation", **kwargs):
    """The analyzer of a name for a model of the table, fitted if it needs to be."""
    kwargs = {**REQUIRED.get(method, {}), **ARGUMENTS.get(model, {}), **kwargs}
    network, x = build(model)
    created = innvestigate.create_analyzer(method, network, neuron_selection_mode=mode, **kwargs)
    return created.fit(x) if hasattr(created, "fit") else created


def assert_close(found, expected, tolerance=1e-5):
    """Equal up to a fraction of the largest expected number."""
    tree.assert_same_structure(found, expected)
    for a, b in zip(tree.flatten(found), tree.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@contextmanager
def silence(softmax=True):
    """No warning, other than the one of a softmax if that is allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        if softmax:
            warnings.filterwarnings("ignore", "The model ends in a softmax")
        yield


def expectation(method, model):
    """What the table says of creating a method for a model: an error, a warning or silence."""
    found = [expected for methods, expected in EXPECTED.get(model, []) if method in methods]
    return found[0]() if found else silence()


def table():
    """Pairs of a method and a model, but two methods and one model marked as slow."""
    for model in MODELS:
        everywhere = (*IN_ALL, *TRACED)
        for method in METHODS if model in FEW else filter(everywhere.__contains__, METHODS):
            quick = method in ("gradient", "lrp.epsilon") or model == "mlp"
            yield pytest.param(method, model, marks=[] if quick else slow)


@pytest.mark.parametrize(("method", "model"), list(table()))
def test_every_method_on_every_model(method, model):
    x, found = samples(method, model), None
    traced = nullcontext() if method in TRACED else run_step_by_step()
    with traced, expectation(method, model):
        found = analyzer(method, model).analyze(x)
    if found is None:
        return
    tree.assert_same_structure(found, x)
    dtype = "float64" if model == "float64" else "float32"
    for result, value in zip(tree.flatten(found), tree.flatten(x), strict=True):
        assert result.shape == value.shape
        assert result.dtype == dtype
        assert np.isfinite(result).all()
        assert result.any() or (method in MAPS and result.ndim == 2 and model == "two_inputs")


NOISY = ("random", "smoothgrad", "expected_gradients")  # whose noise is that of the sample's place


@slow
@pytest.mark.parametrize("model", ["cnn_bn", "two_inputs"])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in NOISY])
def test_samples_are_explained_one_by_one(method, model):
    """In a batch, alone and in another order: the same result."""
    x, order = samples(method, model), [2, 0, 1]
    found = analyzer(method, model).analyze(x)
    alone = analyzer(method, model).analyze(x, batch_size=1)
    permuted = analyzer(method, model).analyze(tree.map_structure(lambda a: a[order], x))
    tolerance = UNSTABLE.get(method, 1e-5)
    assert_close(alone, found, tolerance)
    assert_close(permuted, tree.map_structure(lambda a: a[order], found), tolerance)


@pytest.mark.parametrize("model", SOFTMAX_MODELS)
def test_a_softmax_is_taken_off_with_a_warning_at_the_users_line(model):
    network, arguments = build(model)[0], ARGUMENTS.get(model, {})
    with pytest.warns(UserWarning, match="The model ends in a softmax") as caught:
        innvestigate.create_analyzer("gradient", network, **arguments)
    assert [warning.filename for warning in caught] == [__file__]
    with silence(softmax=False):
        arguments = {**arguments, "keep_output_activation": True}
        innvestigate.create_analyzer("gradient", network, **arguments)


class Batches(keras.utils.PyDataset):
    """Batches of two samples, with targets if wanted."""

    def __init__(self, x, targets):
        super().__init__()
        self.x, self.targets = x, targets

    def __len__(self):
        return (len(tree.flatten(self.x)[0]) + 1) // 2

    def __getitem__(self, i):
        batch = tree.map_structure(lambda a: a[2 * i : 2 * i + 2], self.x)
        return (batch, np.zeros(2)) if self.targets else batch


def dataset(x, *targets):
    x = tuple(x) if isinstance(x, list) else x
    return tf.data.Dataset.from_tensor_slices((x, *targets) if targets else x).batch(2)


def cast(dtype):
    return lambda x: tree.map_structure(lambda a: a.astype(dtype), x)


def each(function):
    return lambda x: tree.map_structure(function, x)


NUMBERS = {dtype: cast(dtype) for dtype in ("float64", "float32", "float16", "int64", "uint8")}
ANY_STRUCTURE = {
    **NUMBERS,
    "tensor": each(ops.convert_to_tensor),
    "dataset with targets": lambda x: dataset(x, np.zeros(3)),
    "PyDataset with targets": lambda x: Batches(x, targets=True),
    "generator": lambda x: iter([x]),
}
ONE_INPUT = {
    "nested list": each(np.ndarray.tolist),
    "dataset": dataset,
    "PyDataset": lambda x: Batches(x, targets=False),
    "list of one": lambda x: [x],
    "tuple of one": lambda x: (x,),
}
FORMS = {
    "mlp": {**ANY_STRUCTURE, **ONE_INPUT},
    "uint8": {**ANY_STRUCTURE, **ONE_INPUT},
    "embedding": {**ANY_STRUCTURE, **ONE_INPUT},
    "two_inputs": {
        **ANY_STRUCTURE,
        "tuple": tuple,
        "dict": lambda x: dict(zip(("image", "vector"), x, strict=True)),
        "dict in another order": lambda x: {"vector": x[1], "image": x[0]},
    },
    "dict_inputs": {
        **ANY_STRUCTURE,
        "dataset": dataset,
        "another order": lambda x: {key: x[key] for key in sorted(x)},
    },
}


def whole_numbers(model):
    """An input of the table, rounded so that every number type can hold it."""
    rounded = lambda a: np.abs(np.round(2 * a)).astype(a.dtype) if a.dtype.kind == "f" else a  # noqa: E731
    return tree.map_structure(rounded, build(model)[1])


def forms():
    return [(model, form) for model, table in FORMS.items() for form in table]


@pytest.mark.parametrize(("model", "form"), forms())
@pytest.mark.parametrize("method", slow_but("lrp.epsilon", ["input_t_gradient", "lrp.epsilon"]))
def test_forms_of_input_give_equal_results(method, model, form):
    x = whole_numbers(model)
    expected = analyzer(method, model).analyze(x)
    found = analyzer(method, model).analyze(FORMS[model][form](x))
    if "dict" in form:
        found = [found["image"], found["vector"]]
    assert_close(list(tree.flatten(found)), list(tree.flatten(expected)))


@pytest.mark.parametrize(
    ("form", "kind"),
    [("list of one", list), ("tuple of one", tuple), ("float16", np.ndarray)],
)
def test_results_have_the_structure_of_the_form(form, kind):
    found = analyzer("gradient", "mlp").analyze(FORMS["mlp"][form](whole_numbers("mlp")))
    assert type(found) is kind


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize("model", FORMS)
@pytest.mark.parametrize("mode", ["max_activation", "index"])
def test_batch_sizes_give_equal_results(mode, model, batch_size):
    x, selection = build(model)[1], np.array([2, 0, 1]) if mode == "index" else None
    explain = analyzer("lrp.epsilon", model, mode).analyze
    assert_close(explain(x, selection, batch_size=batch_size), explain(x, selection))


def one_hot(shape, index):
    """Weights of the shape of an output: one at the index of each sample."""
    weights = np.zeros(shape, "float32")
    for sample, place in zip(weights, index, strict=True):
        sample[tuple(place)] = 1
    return weights


def argmax(y):
    return [np.unravel_index(sample.argmax(), sample.shape) for sample in y]


RANDOM = np.random.default_rng(3).normal(size=(3, 6, 6, 3)).astype("float32")
VECTOR = [
    ("max_activation", None, lambda y: one_hot(y.shape, argmax(y))),
    ("index", 2, lambda y: one_hot(y.shape, [(2,)] * 3)),
    ("index", np.int64(0), lambda y: one_hot(y.shape, [(0,)] * 3)),
    ("index", (3,), lambda y: one_hot(y.shape, [(3,)] * 3)),
    ("index", [2, 0, 3], lambda y: one_hot(y.shape, [(2,), (0,), (3,)])),
    ("index", np.array([[1], [1], [0]]), lambda y: one_hot(y.shape, [(1,), (1,), (0,)])),
    ("index", argmax, lambda y: one_hot(y.shape, argmax(y))),
    ("all", None, np.ones_like),
    ("weights", 2, lambda y: np.full_like(y, 2)),
    ("weights", [1, 0, -2, 0.5], lambda y: np.broadcast_to([1, 0, -2, 0.5], y.shape)),
    ("weights", RANDOM[:, 0, 0, :1], lambda y: np.broadcast_to(RANDOM[:, 0, 0, :1], y.shape)),
]
IMAGE = [
    ("max_activation", None, lambda y: one_hot(y.shape, argmax(y))),
    ("index", (4, 5, 2), lambda y: one_hot(y.shape, [(4, 5, 2)] * 3)),
    ("index", np.array([4, 5, 2]), lambda y: one_hot(y.shape, [(4, 5, 2)] * 3)),
    ("index", np.array([[4, 5, 2], [0, 0, 0], [1, 2, 1]]), None),
    ("index", argmax, lambda y: one_hot(y.shape, argmax(y))),
    ("all", None, np.ones_like),
    ("weights", RANDOM[0, 0, 0], lambda y: np.broadcast_to(RANDOM[0, 0, 0], y.shape)),
    ("weights", RANDOM[:1], lambda y: np.broadcast_to(RANDOM[:1], y.shape)),
]
TARGETS = {"mlp": VECTOR, "two_outputs": VECTOR, "segmentation": IMAGE, "variable_output": IMAGE}


def targets():
    return [(model, *case) for model, cases in TARGETS.items() for case in cases]


def without_softmax(model):
    """The model of the table's name, its softmax taken off if it has one."""
    network = build(model)[0]
    has_one = model in SOFTMAX_MODELS
    return innvestigate.model_wo_softmax(network) if has_one else network


@cache
def logits(model):
    x = build(model)[1]
    y = without_softmax(model)(x)
    return np.array(y[1] if isinstance(y, list) else y)


@pytest.mark.parametrize(("model", "mode", "selection", "expected"), targets())
@pytest.mark.parametrize("method", slow_but("gradient", ["gradient", "lrp.epsilon", "deep_taylor"]))
def test_forms_of_target_are_weights_of_the_output(method, model, mode, selection, expected):
    x, y = build(model)[1], logits(model)
    selection = np.array(selection(y)) if callable(selection) else selection
    weights = one_hot(y.shape, selection) if expected is None else expected(y)
    found = analyzer(method, model, mode).analyze(x, selection)
    assert found.any() or method == "deep_taylor"
    assert_close(found, analyzer(method, model, "weights").analyze(x, np.array(weights)))


@pytest.mark.parametrize("model", TARGETS)
def test_weights_are_those_of_a_sum_of_outputs(model):
    x = build(model)[1]
    weights = RANDOM[:, 0, 0, :1] * np.ones((3, 4)) if TARGETS[model] is VECTOR else RANDOM

    def weighted(x):
        y = without_softmax(model)(x)
        return ops.multiply(weights, y[1] if isinstance(y, list) else y)

    found = analyzer("gradient", model, "weights").analyze(x, weights)
    assert_close(found, gradients(weighted, x))
