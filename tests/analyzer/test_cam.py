"""Class activation maps against derivations in numpy, on networks of one to three dimensions."""

import warnings
from functools import cache

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.lib.stride_tricks import sliding_window_view

import innvestigate
from innvestigate.analyzer import GaussianSmoother
from tests.frameworks import on_tensorflow
from tests.models import build, floats

MAPS = [name for name in innvestigate.analyzers if "cam" in name]
GRADIENT_MAPS = ("grad_cam", "grad_cam_plus_plus", "layer_cam")
SIZES = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
NEURON = 1
pytestmark = pytest.mark.usefixtures("step_by_step")


def make(name, model, mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


@cache
def network(rank):
    """Two convolutions and a dense layer in double precision, and samples."""
    keras.utils.set_random_seed(rank)
    convolution = getattr(layers, f"Conv{rank}D")
    kwargs = {"dtype": "float64", "bias_initializer": "random_normal"}
    model = keras.Sequential(
        [
            layers.Input((*SIZES[rank], 2), dtype="float64"),
            convolution(4, 2, activation="relu", name="first", **kwargs),
            convolution(3, 2, activation="relu", name="second", **kwargs),
            layers.Flatten(dtype="float64"),
            layers.Dense(3, **kwargs),
        ]
    )
    return model, floats(*SIZES[rank], 2, dtype="float64")


# --- The same in numpy ----------------------------------------------------------------------------


def convolved(x, kernel, bias):
    """A valid convolution of one sample `(*places, channels)`."""
    window = kernel.shape[:-2]
    windows = sliding_window_view(x, window, axis=tuple(range(len(window))))
    return np.tensordot(windows, np.moveaxis(kernel, -2, 0), len(window) + 1) + bias


def relu(x):
    return np.maximum(x, 0)


def after_first(rank, values):
    """The outputs, given what the first layer writes for one sample."""
    *_, kernel, bias, dense, offset = network(rank)[0].get_weights()
    return relu(convolved(values, kernel, bias)).reshape(-1) @ dense + offset


def matrix(rank, layer, shape):
    """The matrix of a convolution, by its columns, without its bias."""
    kernel = network(rank)[0].get_weights()[2 * layer]
    units = np.eye(np.prod(shape)).reshape(-1, *shape)
    return np.stack([convolved(unit, kernel, 0).reshape(-1) for unit in units], axis=1)


def first(rank, x):
    kernel, bias, *_ = network(rank)[0].get_weights()
    return relu(convolved(x, kernel, bias))


def gradient(rank, values, weights):
    """The gradient of weighted outputs at what the first layer writes."""
    *_, kernel, bias, dense, _ = network(rank)[0].get_weights()
    on = convolved(values, kernel, bias).reshape(-1) > 0
    signal = on * (dense @ weights)
    return (matrix(rank, 1, values.shape).T @ signal).reshape(values.shape)


def resized(found, sizes):
    """Linear interpolation between the middles of places, one axis after the other."""
    for axis, size in enumerate(sizes):
        known = found.shape[axis]
        at = (np.arange(size) + 0.5) * known / size - 0.5
        line = lambda values: np.interp(at, np.arange(known), values)  # noqa: B023, E731
        found = np.apply_along_axis(line, axis, found)
    return found


def grad_cam(values, slopes):
    places = tuple(range(values.ndim - 1))
    return relu((values * slopes.mean(axis=places)).sum(axis=-1))


def grad_cam_plus_plus(values, slopes):
    """By the paper's quotient of powers, place by place and channel by channel."""
    found = np.zeros(values.shape[:-1])
    for k in range(values.shape[-1]):
        a, g = values[..., k], slopes[..., k]
        weight = 0.0
        for at in np.ndindex(g.shape):
            if g[at] > 0:
                weight += g[at] ** 2 / (2 * g[at] ** 2 + a.sum() * g[at] ** 3) * g[at]
        found += weight * a
    return relu(found)


def layer_cam(values, slopes):
    return relu((relu(slopes) * values).sum(axis=-1))


def eigen_cam(values, slopes):
    """By the largest eigenvector of the channels' products."""
    places = values.reshape(-1, values.shape[-1])
    _, vectors = np.linalg.eigh(places.T @ places)
    found = places @ vectors[:, -1]
    return (found * np.sign(found[np.abs(found).argmax()])).reshape(values.shape[:-1])


def score_cam(rank, x, weights):
    values, scores = first(rank, x), []
    for k in range(values.shape[-1]):
        mask = resized(values[..., k], SIZES[rank])
        span = mask.max() - mask.min()
        mask = (mask - mask.min()) / span if span else 0 * mask
        scores.append(after_first(rank, first(rank, x * mask[..., None])) @ weights)
    shares = np.exp(scores) / np.exp(scores).sum()
    return relu((values * shares).sum(axis=-1))


def guided(rank, x, weights):
    """Guided Backprop at the input."""
    kernel, bias, second, offset, dense, _ = network(rank)[0].get_weights()
    z = convolved(x, kernel, bias)
    z2 = convolved(relu(z), second, offset)
    signal = (z2.reshape(-1) > 0) * relu(dense @ weights)
    signal = (z.reshape(-1) > 0) * relu(matrix(rank, 1, z.shape).T @ signal)
    return (matrix(rank, 0, x.shape).T @ signal).reshape(x.shape)


NAIVE = {f.__name__: f for f in (grad_cam, grad_cam_plus_plus, layer_cam, eigen_cam)}


def naive(name, rank, x, weights):
    """A map of the first layer for one sample."""
    if name == "score_cam":
        return score_cam(rank, x, weights)
    values = first(rank, x)
    return NAIVE[name](values, gradient(rank, values, weights))


def at_input(found, x):
    """A map at the places of an input, shared out among the channels."""
    return np.repeat(resized(found, x.shape[:-1])[..., None], x.shape[-1], -1) / x.shape[-1]


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("rank", SIZES)
def test_the_network_in_numpy_is_that_of_keras(rank):
    model, x = network(rank)
    assert_close([after_first(rank, first(rank, sample)) for sample in x], np.array(model(x)))


@pytest.mark.parametrize("rank", SIZES)
@pytest.mark.parametrize("name", [*NAIVE, "score_cam"])
def test_maps_are_those_of_their_formulas(name, rank):
    model, x = network(rank)
    expected = [naive(name, rank, sample, np.eye(3)[NEURON]) for sample in x]
    found = make(name, model, layer="first", upsample=False).analyze(x, NEURON)
    assert np.any(expected)
    assert_close(found, np.array(expected))
    found = make(name, model, layer="first").analyze(x, NEURON)
    assert_close(found, np.stack([at_input(*pair) for pair in zip(expected, x, strict=True)]))


@pytest.mark.parametrize("rank", SIZES)
def test_guided_grad_cam_is_a_product(rank):
    model, x = network(rank)
    weights = np.eye(3)[NEURON]
    expected = [
        guided(rank, sample, weights)
        * resized(naive("grad_cam", rank, sample, weights), SIZES[rank])[..., None]
        for sample in x
    ]
    assert_close(make("guided_grad_cam", model, layer="first").analyze(x, NEURON), expected)


@pytest.mark.parametrize("name", [*GRADIENT_MAPS, "score_cam"])
def test_any_weights_of_outputs_are_explained(name):
    model, x = network(2)
    chosen = {
        "contrast": ((2, 0), np.array([[-1.0, 0, 1]] * 3)),
        "all": (None, np.ones((3, 3))),
        "weights": (np.arange(9).reshape(3, 3) / 9 - 0.4,) * 2,
    }
    for mode, (selection, weights) in chosen.items():
        found = make(name, model, mode, layer="first", upsample=False).analyze(x, selection)
        expected = [naive(name, 2, *pair) for pair in zip(x, weights, strict=True)]
        assert_close(found, np.array(expected))


# --- Which layer ----------------------------------------------------------------------------------


def chosen(model, name="grad_cam", **arguments):
    """The layer that a map is made of, as the plan says."""
    return make(name, model, "max_activation", **arguments).plan()[0]


def test_the_last_layer_with_places_and_channels_is_the_default():
    line = chosen(network(2)[0])
    assert (line.step, line.layer, line.rule) == ("second", "Conv2D", "map of GradCAM")
    assert "last layer with places and channels" in line.why
    assert "layer='first'" in chosen(network(2)[0], layer="first").why


def of(x, *parts):
    for part in parts:
        x = part(x)
    return x


def mobile(x):
    """Global pooling that keeps its axes, and convolutions behind it."""
    x = layers.Conv2D(4, 2, activation="relu", name="wanted")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return layers.Flatten()(layers.Conv2D(3, 1)(x))


def gated(x):
    """Squeeze and excitation."""
    x = layers.Conv2D(4, 2, activation="relu")(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(
        layers.GlobalAveragePooling2D(keepdims=True)(x)
    )
    x = layers.Multiply(name="wanted")([x, gate])
    return layers.Dense(3)(layers.GlobalMaxPooling2D()(x))


def dense_prediction(x):
    x = layers.Conv2D(4, 2, padding="same", activation="relu", name="wanted")(x)
    return layers.Activation("tanh")(layers.Conv2D(4, 1)(x))


def nested(x):
    inner = layers.Input(x.shape[1:])
    parts = layers.Conv2D(4, 2), layers.ReLU(name="wanted")
    backbone = keras.Model(inner, of(inner, *parts), name="backbone")
    return layers.Dense(3)(layers.GlobalAveragePooling2D()(backbone(x)))


def aside(x):
    """A branch that the output does not depend on comes later."""
    y = layers.Conv2D(4, 2, name="wanted")(x)
    return layers.Dense(3)(layers.Flatten()(y)), layers.Conv2D(2, 2)(layers.Conv2D(2, 2)(y))


@pytest.mark.parametrize("body", [mobile, gated, dense_prediction, nested, aside])
def test_the_default_has_several_places_and_leads_to_the_output(body):
    x = layers.Input((6, 6, 2))
    model = keras.Model(x, body(x))
    assert chosen(model, output=0).step.split(".")[-1] == "wanted"


def test_nested_layers_by_their_names():
    x = layers.Input((6, 6, 2))
    model, images = keras.Model(x, nested(x)), floats(6, 6, 2)
    found = make("grad_cam", model, layer="backbone.wanted").analyze(images, NEURON)
    np.testing.assert_array_equal(
        found, make("grad_cam", model, layer="wanted").analyze(images, NEURON)
    )
    with pytest.raises(ValueError, match=r"'other' is unknown\. Expected in layer: one of"):
        make("grad_cam", model, layer="other")


@pytest.mark.parametrize("name", MAPS)
def test_models_without_places_are_refused(name):
    with pytest.raises(ValueError, match="makes a map of a layer with places and channels"):
        make(name, build("mlp")[0])


@pytest.mark.parametrize("name", MAPS)
def test_layers_without_a_map_are_refused(name):
    x = layers.Input((6, 6, 2))
    y = layers.Conv2D(3, 2, name="last")(x)
    aside = layers.Conv2D(3, 2, name="aside")(x)
    model = keras.Model(x, [layers.Dense(3, name="flat")(layers.Flatten()(y)), aside])
    with pytest.raises(ValueError, match=r"'flat'.* writes float32 of the shape \(None, 3\)"):
        make(name, model, output=0, layer="flat")
    with pytest.raises(ValueError, match=r"'aside'.* is not one that the chosen output depends on"):
        make(name, model, output=0, layer="aside")
    with pytest.raises(ValueError, match=r"makes one map, of the layer `layer`.*'last'"):
        make(name, model, output=0, layers=["last"])
    with pytest.raises(TypeError, match="layer must be a text"):
        make(name, model, output=0, layer=3)


def test_a_flatten_does_not_make_places_of_what_it_reads():
    """Any table of numbers may be flattened. By its name a layer of such numbers has a map."""
    x = layers.Input((6, 4))
    y = layers.Dense(5, "relu", name="rows")(x)
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))
    with pytest.raises(ValueError, match="layer with places and channels"):
        make("layer_cam", model)
    assert make("layer_cam", model, layer="rows").analyze(floats(6, 4), NEURON).shape == (3, 6, 4)


def patches():
    """Tokens of an image, as vision transformers have them: their axis is none of the image's."""
    x = layers.Input((6, 6, 2))
    y = layers.Reshape((9, 4))(layers.Conv2D(4, 2, strides=2, name="patches")(x))
    y = layers.Dense(4, "relu", name="tokens")(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


def test_places_that_are_no_inputs_are_refused_or_returned_as_they_are():
    model, x = patches(), floats(6, 6, 2)
    assert chosen(model).step == "patches"
    with pytest.raises(ValueError, match=r"'tokens'.* upsample=False returns it as it is"):
        make("grad_cam", model, layer="tokens")
    found = make("grad_cam", model, layer="tokens", upsample=False).analyze(x, NEURON)
    assert found.shape == (3, 9) and found.any()


class Windows(layers.Layer):
    """A convolution of each half of an image, as samples of their own."""

    def __init__(self):
        super().__init__(name="windows")
        self.inside = layers.Conv2D(2, 1, name="inside")

    def call(self, x):
        return ops.reshape(self.inside(ops.reshape(x, (-1, 3, 6, 2))), (-1, 6, 6, 2))


def test_rows_that_are_no_samples_are_refused():
    x = layers.Input((6, 6, 2))
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(Windows()(x))))
    with pytest.raises(ValueError, match=r"'inside'.* first axis known to be that of samples"):
        make("grad_cam", model, layer="inside", upsample=False)
    with pytest.raises(ValueError, match="none before its output whose places"):
        make("grad_cam", model)


# --- Which input ----------------------------------------------------------------------------------


def two_images():
    """Two images of different sizes, a vector, and a layer that sees the images."""
    small, large = layers.Input((4, 6, 1), name="small"), layers.Input((8, 12, 2), name="large")
    vector = layers.Input((3,), name="vector")
    parts = layers.Conv2D(3, 1)(small), layers.Conv2D(3, 2, strides=2)(large)
    y = layers.ReLU(name="both")(layers.Add()(parts))
    y = layers.Concatenate()([layers.Flatten()(y), vector])
    x = {"small": floats(4, 6, 1), "large": floats(8, 12, 2, seed=2), "vector": floats(3, seed=3)}
    return keras.Model([small, large, vector], layers.Dense(3)(y)), x


@pytest.mark.parametrize("name", MAPS)
def test_a_map_lies_on_all_inputs_that_it_sees(name):
    model, x = two_images()
    with pytest.warns(UserWarning, match="'both' does not lie on the input 'vector'"):
        found = make(name, model).analyze(x, NEURON)
    assert not found["vector"].any() and found["small"].any() and found["large"].any()
    if name == "guided_grad_cam":
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        places = make(name, model, upsample=False).analyze(x, NEURON)
    assert places.shape == (3, 4, 6)
    np.testing.assert_allclose(found["small"][..., 0], places, rtol=1e-5)
    expected = [at_input(*pair) for pair in zip(places, x["large"], strict=True)]
    np.testing.assert_allclose(found["large"], expected, rtol=1e-4, atol=1e-6)


def channels_first(model):
    """The same model for images whose channels come first."""
    x = layers.Input((2, *SIZES[2]), dtype="float64")
    return keras.Model(x, model(layers.Permute((2, 3, 1), dtype="float64")(x)))


@pytest.mark.parametrize("name", MAPS)
def test_axes_are_followed_through_permutations(name):
    model, x = network(2)
    expected = make(name, model).analyze(x, NEURON)
    found = make(name, channels_first(model)).analyze(np.moveaxis(x, -1, 1), NEURON)
    assert_close(np.moveaxis(found, 1, -1), expected)


@pytest.mark.parametrize("name", GRADIENT_MAPS)
def test_places_that_change_their_order_are_put_back(name):
    x = layers.Input((*SIZES[2][::-1], 2), dtype="float64")
    swapped = keras.Model(x, network(2)[0](layers.Permute((2, 1, 3), dtype="float64")(x)))
    images = network(2)[1]
    expected = make(name, network(2)[0]).analyze(images, NEURON)
    found = make(name, swapped).analyze(images.swapaxes(1, 2), NEURON)
    assert_close(found.swapaxes(1, 2), expected)


@pytest.mark.parametrize(
    "turn",
    [
        lambda x: ops.flip(x, axis=1),
        lambda x: ops.roll(x, 2, axis=1),
        layers.Reshape((6, 8)),
        layers.SimpleRNN(4, return_sequences=True, go_backwards=True),
    ],
)
def test_axes_are_not_followed_through_what_moves_places(turn):
    x = layers.Input((12, 4))
    y = layers.Conv1D(3, 2, activation="relu", name="last")(turn(x))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))
    with pytest.raises(ValueError, match="has places of its own"):
        make("layer_cam", model, layer="last")
    found = make("layer_cam", model, layer="last", upsample=False).analyze(floats(12, 4), NEURON)
    assert found.shape[0] == 3 and found.any()


W = np.random.default_rng(1).normal(size=(9, 4)).astype("float32")


class Latents(layers.Layer):
    """Learned queries, the same for all samples."""

    def build(self, shape):
        self.queries = self.add_weight(shape=(1, 4, 3))

    def call(self, x):
        return layers.Attention()([ops.broadcast_to(self.queries, (ops.shape(x)[0], 4, 3)), x])


ENDS = {
    "latents": Latents(),
    "attention to one another": lambda v: layers.Dot((1, 1))([v, v]),
    "kernel over places": lambda v: ops.matmul(W.T[None], v),
    "kernel between permutations": lambda v: of(
        v, layers.Permute((2, 1)), lambda h: ops.matmul(h, W), layers.Permute((2, 1))
    ),
    "channels as places": lambda v: layers.Permute((2, 1))(layers.Conv1D(5, 1)(v)),
    "EinsumDense over places": layers.EinsumDense("btc,ts->bsc", (4, 3)),
    "einsum over places": lambda v: ops.einsum("ts,btc->bsc", W, v),
    "tensordot": lambda v: ops.transpose(ops.tensordot(v, W, [[1], [0]]), (0, 2, 1)),
    "sort": lambda v: ops.sort(v, axis=1),
    "cropping": layers.Cropping1D((6, 0)),
    "even cropping": layers.Cropping1D(2),
    "slice": lambda v: v[:, 6:],
    "padding on one side": layers.ZeroPadding1D((0, 5)),
    "padding by an operation": lambda v: ops.pad(v, ((0, 0), (5, 0), (0, 0))),
    "broadcast": lambda v: ops.add(ops.mean(v, axis=1, keepdims=True), W[None, :, :3]),
    "two orders": lambda v: ops.concatenate([v, ops.flip(v, axis=1)], axis=1),
    "cumulative sum": lambda v: ops.cumsum(v, axis=1),
}


def behind(turn):
    """A convolution of what becomes of places in time."""
    v = layers.Input((9, 3))
    y = layers.Conv1D(3, 2, activation="relu", name="last")(turn(v))
    return keras.Model(v, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))


@pytest.mark.parametrize("turn", ENDS.values(), ids=ENDS)
def test_the_trail_ends_at_what_is_not_known_to_keep_places(turn):
    model, x = behind(turn), floats(9, 3)
    for name in ("grad_cam", "guided_grad_cam"):
        with pytest.raises(ValueError, match="has places of its own"):
            make(name, model, layer="last")
    found = make("eigen_cam", model, layer="last", upsample=False).analyze(x, NEURON)
    assert found.shape[0] == 3 and np.isfinite(found).all()


KEEPS = {
    "kernel of channels": lambda v: ops.matmul(v, W[:3]),
    "einsum of channels": lambda v: ops.einsum("btc,cd->btd", v, W[:3]),
    "EinsumDense of channels": layers.EinsumDense("...c,cd->...d", 4),
    "even padding": layers.ZeroPadding1D(2),
    "padding as same": layers.ZeroPadding1D((0, 1)),
    "upsampling": layers.UpSampling1D(2),
    "some channels": lambda v: v[..., :2],
    "an axis more and less": lambda v: ops.squeeze(v[:, None], axis=1),
    "normalisation": layers.LayerNormalization(),
    "dropout": layers.Dropout(0.5),
    "recurrent": layers.LSTM(4, return_sequences=True),
    "attention to itself": lambda v: layers.Add()([v, layers.Attention()([v, v])]),
    "each point in time": layers.TimeDistributed(layers.Dense(4)),
    "gate": lambda v: layers.Multiply()([v, layers.GlobalAveragePooling1D(keepdims=True)(v)]),
    "concatenation": lambda v: layers.Concatenate()([v, layers.Conv1D(2, 3, padding="same")(v)]),
}


@pytest.mark.parametrize("turn", KEEPS.values(), ids=KEEPS)
def test_axes_are_followed_through_what_keeps_places(turn):
    model, x = behind(turn), floats(9, 3)
    places = make("eigen_cam", model, layer="last", upsample=False).analyze(x, NEURON)
    found = make("eigen_cam", model, layer="last").analyze(x, NEURON)
    expected = [at_input(*pair) for pair in zip(places, x, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert make("guided_grad_cam", model, layer="last").analyze(x, NEURON).shape == x.shape


def test_axes_are_followed_through_the_letters_of_an_einsum():
    x = layers.Input((6, 6, 2))
    turned = ops.einsum("bhwc->bwhc", layers.Conv2D(2, 1)(x))
    y = layers.Conv2D(3, (2, 1), activation="relu", name="last")(turned)
    model, images = keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling2D()(y))), floats(6, 6, 2)
    places = make("eigen_cam", model, upsample=False).analyze(images, NEURON)
    expected = [at_input(m.T, image) for m, image in zip(places, images, strict=True)]
    found = make("eigen_cam", model).analyze(images, NEURON)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_a_sum_of_two_orders_has_neither():
    x = layers.Input((6, 6, 2))
    turned = layers.Add()([x, layers.Permute((2, 1, 3))(x)])
    y = layers.Conv2D(3, 2, activation="relu", name="last")(turned)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling2D()(y)))
    with pytest.raises(ValueError, match="has places of its own"):
        make("grad_cam", model, layer="last")


@pytest.mark.parametrize("name", ["grad_cam", "guided_grad_cam"])
def test_attention_has_the_places_of_its_queries(name):
    q, v = layers.Input((4, 3), name="q"), layers.Input((9, 3), name="v")
    y = layers.GlobalAveragePooling1D()(layers.Attention()([q, v]))
    model, x = keras.Model([q, v], layers.Dense(3)(y)), [floats(4, 3), floats(9, 3, seed=2)]
    with pytest.warns(UserWarning, match="does not lie on the input 'v'"):
        made = make(name, model)
    found = made.analyze(x, NEURON)
    assert found[0].any() and not found[1].any()


def test_layers_that_overflow_have_no_singular_vectors():
    x = layers.Input((9, 3))
    y = layers.Conv1D(2, 2, kernel_initializer="ones")(layers.Rescaling(1e20)(x))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))
    samples = np.ones((3, 9, 3), "float32") * np.array([1, 1e20, 1], "float32")[:, None, None]
    with pytest.raises(ValueError, match=r"not finite for the samples \[1\]"):
        make("eigen_cam", model).analyze(samples, NEURON)


def test_axes_are_not_followed_through_permutations_over_time():
    x = layers.Input((3, 4, 5, 2))
    turned = layers.TimeDistributed(layers.Permute((2, 1, 3)))(x)
    y = layers.Conv3D(3, 2, activation="relu", name="last")(turned)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling3D()(y)))
    with pytest.raises(ValueError, match="has places of its own"):
        make("layer_cam", model, layer="last")


@pytest.mark.only("jax", "torch")
@pytest.mark.parametrize("name", MAPS)
def test_layers_whose_channels_come_first(name):
    def small(**kwargs):
        keras.utils.set_random_seed(0)
        x = layers.Input((5, 6, 2) if not kwargs else (2, 5, 6))
        y = layers.Conv2D(3, 2, activation="relu", **kwargs)(x)
        return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D(**kwargs)(y)))

    x = floats(5, 6, 2)
    expected = make(name, small()).analyze(x, NEURON)
    first = small(data_format="channels_first")
    found = make(name, first).analyze(np.moveaxis(x, -1, 1), NEURON)
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
def test_axes_are_followed_through_added_channels(shape):
    x = layers.Input(shape)
    y = layers.Conv1D(3, 2, activation="relu")(layers.Reshape((12, 1))(x))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalMaxPooling1D()(y)))
    found = make("layer_cam", model).analyze(floats(*shape), NEURON)
    raw = make("layer_cam", model, upsample=False).analyze(floats(*shape), NEURON)
    expected = [resized(row, (12,)) for row in raw]
    np.testing.assert_allclose(found.reshape(3, 12), expected, rtol=1e-5, atol=1e-7)


def test_score_cam_masks_no_whole_numbers():
    with pytest.raises(ValueError, match=r"Score-CAM multiplies inputs by masks.* whole numbers"):
        make("score_cam", build("embedding_masked")[0])


# --- What holds for them --------------------------------------------------------------------------


def test_grad_cam_of_an_average_and_a_dense_layer_is_cam():
    """Zhou et al. 2016: the map of a class is the sum of channels by its weights, up to 1 / Z."""
    keras.utils.set_random_seed(0)
    x = layers.Input((6, 5, 2))
    values = layers.Conv2D(4, 2, activation="relu", name="last")(x)
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(values)))
    images = floats(6, 5, 2)
    channels = np.array(keras.Model(x, values)(images))
    expected = relu(channels @ model.layers[-1].get_weights()[0][:, NEURON]) / (5 * 4)
    found = make("grad_cam", model, upsample=False).analyze(images, NEURON)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", MAPS)
def test_the_order_of_channels_does_not_matter(name):
    model, x = network(2)
    order = [2, 0, 3, 1]
    kernel, bias, second, *rest = model.get_weights()
    mixed = keras.models.clone_model(model)
    mixed.set_weights([kernel[..., order], bias[order], second[:, :, order], *rest])
    expected = make(name, model, layer="first").analyze(x, NEURON)
    assert_close(make(name, mixed, layer="first").analyze(x, NEURON), expected)


@pytest.mark.parametrize("name", MAPS)
def test_samples_are_explained_one_by_one_and_for_several_neurons(name):
    model, x = network(2)
    made = make(name, model)
    neurons = np.array([[[0], [2]]])
    found = made.analyze(x, neurons)
    each = np.stack([made.analyze(x, n) for n in (0, 2)], axis=1)
    assert_close(found, each)
    alone = np.concatenate(list(made.stream(x, neurons, batch_size=1)))
    np.testing.assert_allclose(alone, found, rtol=1e-6, atol=1e-12)
    largest = make(name, model, "max_activation").analyze(x)
    assert_close(largest, made.analyze(x, np.argmax(model(x), axis=1)))


@pytest.mark.parametrize("name", [n for n in MAPS if n != "eigen_cam"])
def test_pixels_of_a_dense_prediction(name):
    """The neurons of a region are weights; of one pixel an index."""
    model, x = build("segmentation")
    model = innvestigate.model_wo_softmax(model)
    one = make(name, model).analyze(x, (2, 3, 1))
    weights = np.zeros((6, 6, 3), "float32")
    weights[2, 3, 1] = 1
    np.testing.assert_allclose(make(name, model, "weights").analyze(x, weights), one, rtol=1e-5)
    weights[:3, :, 1] = 0.5
    assert make(name, model, "weights").analyze(x, weights).any()


def test_the_map_of_a_pixel_is_the_gradient_of_its_logit():
    model, x = build("segmentation")
    model = innvestigate.model_wo_softmax(model)
    kernel = model.layers[-1].get_weights()[0][0, 0, :, 1]  # one pixel has 1 / 36 of the places
    values = np.array(keras.Model(model.input, model.layers[-2].output)(x))
    found = make("grad_cam", model, upsample=False).analyze(x, (2, 3, 1))
    np.testing.assert_allclose(found, relu(values @ kernel) / 36, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", MAPS)
def test_the_sum_of_channels_is_the_map(name):
    model, x = network(2)
    if name != "guided_grad_cam":
        raw = make(name, model, upsample=False).analyze(x, NEURON)
        found = make(name, model).analyze(x, NEURON).sum(axis=-1)
        assert_close(found, [resized(sample, SIZES[2]) for sample in raw])


def test_a_channel_without_places_masks_all_of_the_input():
    """Of a dead channel the score is the output at zeros, with no division by zero."""
    keras.utils.set_random_seed(0)
    x = layers.Input((5, 5, 1))
    y = layers.Conv2D(2, 2, activation="relu", name="last")(x)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    kernel, bias, *rest = model.get_weights()
    bias[1], kernel[..., 1] = -1, 0
    model.set_weights([kernel, bias, *rest])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = make("score_cam", model, upsample=False).analyze(floats(5, 5, 1), 0)
    assert np.isfinite(found).all() and found.any()


def test_an_analyzer_may_be_run_at_many_points():
    model, x = network(2)
    made = GaussianSmoother(make("grad_cam", model), noise_scale=0, augment_by_n=2)
    assert_close(made.analyze(x, NEURON), make("grad_cam", model).analyze(x, NEURON))
    raw = make("grad_cam", model, upsample=False)
    smooth = GaussianSmoother(raw, noise_scale=0, augment_by_n=2).analyze(x, NEURON)
    assert_close(smooth, raw.analyze(x, NEURON))


def test_tokens_cannot_be_moved_below_a_map():
    with pytest.raises(ValueError, match="cannot start from their vectors"):
        GaussianSmoother(make("grad_cam", build("embedding_masked")[0]))


def test_maps_add_up_to_nothing():
    model, x = network(2)
    with pytest.raises(ValueError, match="add up to nothing"):
        make("grad_cam", model).audit(x, NEURON)


@pytest.mark.parametrize("name", MAPS)
def test_a_saved_analyzer_keeps_its_layer(name, tmp_path):
    model, x = network(1)
    made = make(name, model, layer="first")
    made.save(tmp_path / "map.zip")
    loaded = innvestigate.load_analyzer(tmp_path / "map.zip")
    assert "layer='first'" in repr(loaded)
    np.testing.assert_array_equal(loaded.analyze(x, NEURON), made.analyze(x, NEURON))


@on_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{}, {"upsample": False}])
def test_exported_maps_are_those_of_analyze(arguments, tmp_path):
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model, x = build("variable_size")
    made = make("grad_cam", model, **arguments)
    made.export(tmp_path / "map", neuron_selection=NEURON)
    exported = tf.saved_model.load(str(tmp_path / "map"))
    found = exported.serve(x)
    np.testing.assert_allclose(found, made.analyze(x, NEURON), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["eigen_cam", "score_cam"])
def test_maps_without_a_mirror_are_not_exported(name, tmp_path):
    with pytest.raises(innvestigate.ExportError, match=r"no mirror|Only the backend"):
        make(name, network(1)[0]).export(tmp_path / "map", neuron_selection=NEURON)
