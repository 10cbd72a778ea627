"""Relevance through steps without a kernel equals what their rules say, written out by hand.

- Steps that move numbers: R_i is the sum of R_j over the places j that number i went to.
- Weighted sums z = J x + c: the z-rule R_i = x_i Σ_j J_ji R_j / z_j; constants absorb a share.
- Pooling by maximum: the winner takes all.
- Normalisation by the sample's statistics: the z-rule with the divisor held constant.
- Products: gates (sigmoid) get none and signals all, otherwise equal parts; of a matrix
  product each factor's part is shared by the z-rule.
- Embeddings: one number for each token, the sum over its vector.

Where a denominator is exactly zero the relevance is dropped. Every model ends in an activation,
which hands relevance on unchanged: R is weights * activation(z), and not proportional to z.
"""

from __future__ import annotations

from math import prod

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate import rules
from tests.frameworks import NAME, not_on_torch

from . import naive
from .naive import signed, softplus

slow = pytest.mark.slow
pytestmark = [
    pytest.mark.usefixtures("step_by_step"),
    pytest.mark.filterwarnings("ignore:The model ends in"),  # whose activations are kept
]


@pytest.fixture(autouse=True)
def _seed():
    """In place of clearing Keras's session, which takes longer than a test: all seeds are here."""


def model_of(call, *shapes, activation="softplus", dtype="float32"):
    """A model with one input for each shape, weights of both signs, and a final activation."""
    inputs = [layers.Input(shape, dtype=dtype) for shape in shapes]
    outputs = layers.Activation(activation)(call(*inputs))
    model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)
    model.set_weights(naive.weights(model, np.random.default_rng(1), signed))
    return model


def lrp(model, xs, weights, rule="Z", **kwargs):
    kwargs |= {"neuron_selection_mode": "weights", "keep_output_activation": True}
    analyzer = innvestigate.create_analyzer("lrp", model, rule=rule, **kwargs)
    return analyzer.analyze(xs if len(xs) > 1 else xs[0], weights)


def check(model, xs, expected, weights, tolerance=1e-5):
    """Compare the relevance of all inputs, flat and side by side."""
    found = lrp(model, xs, weights)
    naive.assert_close(joined(found if len(xs) > 1 else [found]), expected, tolerance)


def joined(arrays):
    return np.concatenate([naive.flat(a) for a in arrays], axis=1)


def samples(shapes, draw=naive.samples):
    rng = np.random.default_rng(2)
    return [draw(rng, *shape) for shape in shapes]


def output_of(model, xs):
    return np.array(model(xs if len(xs) > 1 else xs[0]), "float64")


def weights_for(model, xs):
    return naive.grid(np.random.default_rng(3), *output_of(model, xs).shape)


def signed_samples(rng, *shape):
    return signed(rng, 4, *shape)


# Moves: the step, the shapes it reads, and the same move in numpy on one sample.
image = (4, 5, 2)
MOVES = {
    "flatten": (layers.Flatten(), [image], np.ravel),
    "reshape": (layers.Reshape((5, -1)), [image], lambda a: a.reshape(5, -1)),
    "permute": (layers.Permute((3, 1, 2)), [image], lambda a: a.transpose(2, 0, 1)),
    "repeat vector": (layers.RepeatVector(3), [(4,)], lambda a: np.stack([a] * 3)),
    "concatenate": (
        lambda *x: layers.Concatenate(axis=-1)(list(x)),
        [(3, 2), (3, 1), (3, 4)],
        lambda *a: np.concatenate(a, -1),
    ),
    "concatenate axis 1": (
        lambda *x: layers.Concatenate(axis=1)(list(x)),
        [(3, 2), (1, 2)],
        lambda *a: np.concatenate(a, 0),
    ),
    "concatenate itself": (
        lambda x: layers.Concatenate()([x, x]),
        [(3, 2)],
        lambda a: np.concatenate([a, a], -1),
    ),
    "stack": (lambda *x: ops.stack(x, axis=1), [(3,), (3,)], lambda *a: np.stack(a)),
    "cropping1d": (layers.Cropping1D((1, 2)), [(6, 2)], lambda a: a[1:-2]),
    "cropping2d": (layers.Cropping2D(((1, 0), (2, 1))), [image], lambda a: a[1:, 2:-1]),
    "cropping3d": (layers.Cropping3D(1), [(3, 4, 3, 2)], lambda a: a[1:-1, 1:-1, 1:-1]),
    "padding1d": (
        layers.ZeroPadding1D((1, 2)),
        [(4, 2)],
        lambda a: np.pad(a, ((1, 2), (0, 0)), constant_values=-1),
    ),
    "padding2d": (
        layers.ZeroPadding2D(((1, 0), (2, 1))),
        [image],
        lambda a: np.pad(a, ((1, 0), (2, 1), (0, 0)), constant_values=-1),
    ),
    "padding3d": (
        layers.ZeroPadding3D(1),
        [(2, 1, 2, 2)],
        lambda a: np.pad(a, ((1, 1), (1, 1), (1, 1), (0, 0)), constant_values=-1),
    ),
    "reflected padding": (
        lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 0)), "reflect"),
        [(4, 2)],
        lambda a: np.pad(a, ((1, 2), (0, 0)), "reflect"),
    ),
    "upsampling1d": (layers.UpSampling1D(3), [(4, 2)], lambda a: a.repeat(3, 0)),
    "upsampling2d": (layers.UpSampling2D((2, 3)), [image], lambda a: a.repeat(2, 0).repeat(3, 1)),
    "upsampling3d": (
        layers.UpSampling3D((1, 2, 2)),
        [(2, 2, 1, 2)],
        lambda a: a.repeat(2, 1).repeat(2, 2),
    ),
    "slice": (lambda x: x[:, 1:3], [image], lambda a: a[1:3]),
    "strided slice": (lambda x: x[..., ::2], [(3, 5)], lambda a: a[:, ::2]),
    "one entry": (lambda x: x[:, -1], [(3, 4)], lambda a: a[-1]),
    "split": (lambda x: ops.split(x, 3, axis=-1)[1], [(2, 6)], lambda a: a[:, 2:4]),
    "split and joined": (
        lambda x: ops.concatenate(ops.split(x, 2, axis=1)[::-1], axis=1),
        [(4, 3)],
        lambda a: np.concatenate([a[2:], a[:2]]),
    ),
    "take": (lambda x: ops.take(x, [2, 0, 2], axis=1), [(3, 4)], lambda a: a[[2, 0, 2]]),
    "flip": (lambda x: ops.flip(x, 1), [(3, 4)], lambda a: a[::-1]),
    "roll": (lambda x: ops.roll(x, 2, axis=2), [(3, 4)], lambda a: np.roll(a, 2, axis=1)),
    "tile": (lambda x: ops.tile(x, (1, 2, 1)), [(2, 3)], lambda a: np.tile(a, (2, 1))),
    "broadcast": (
        lambda x: ops.broadcast_to(x, (6, 3, 4)),
        [(1, 4)],
        lambda a: np.broadcast_to(a, (3, 4)),
    ),
    "transpose": (lambda x: ops.transpose(x, (0, 3, 2, 1)), [image], lambda a: a.transpose()),
}
QUICK_MOVES = ("concatenate", "cropping2d", "padding2d", "upsampling2d", "permute", "slice")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK_MOVES else slow) for n in MOVES]
)
def test_moved_numbers_keep_their_relevance(name):
    call, shapes, move = MOVES[name]
    model = model_of(call, *shapes)
    J = naive.moves(move, *shapes)
    xs = samples(shapes)
    z = joined(xs) @ J.T
    naive.assert_close(output_of(model, xs), softplus(z), 1e-6)
    w = weights_for(model, xs)
    check(model, xs, (naive.flat(w) * softplus(z)) @ J, w)


# Sums: the step, the shapes it reads, and its matrix J.


def summed(shapes, *moves):
    """The sum of several moves of the same inputs."""
    return sum(naive.moves(move, *shapes) for move in moves)


def pooled(shape, window, strides, padding):
    held = naive.pooling(shape, window, strides, padding)
    return held / held.sum(1, keepdims=True)


def averaged(shape, axes):
    """The mean over all numbers that share their other coordinates."""
    rows = np.arange(prod(shape)).reshape(shape)
    rows = np.moveaxis(rows, axes, range(len(axes))).reshape(prod(shape[a] for a in axes), -1)
    J = np.zeros((rows.shape[1], rows.size))
    for o, read in enumerate(rows.T):
        J[o, read] = 1 / len(read)
    return J


def bilinear(size, factor):
    """Interpolation between the two nearest pixel centres; beyond the last one, its value."""
    J = np.zeros((size * factor, size))
    for o in range(size * factor):
        at = np.clip((o + 0.5) / factor - 0.5, 0, size - 1)
        left = min(int(at), size - 2)
        J[o, left], J[o, left + 1] = left + 1 - at, at - left
    return J


def upsampled_bilinearly(height, width, channels, factor):
    return np.kron(np.kron(bilinear(height, factor), bilinear(width, factor)), np.eye(channels))


SUMS = {
    "add": (
        lambda a, b: layers.Add()([a, b]),
        [(3, 2)] * 2,
        lambda s: summed(s, lambda a, b: a, lambda a, b: b),
    ),
    "add three": (
        lambda *x: layers.Add()(list(x)),
        [(4,)] * 3,
        lambda s: summed(s, lambda a, b, c: a, lambda a, b, c: b, lambda a, b, c: c),
    ),
    "+": (lambda a, b: a + b, [(4,)] * 2, lambda s: summed(s, lambda a, b: a, lambda a, b: b)),
    "add itself": (lambda x: layers.Add()([x, x]), [(4,)], lambda s: 2 * np.eye(4)),
    "add a broadcast": (
        lambda a, b: layers.Add()([a, b]),
        [(3, 2, 2), (1, 1, 2)],
        lambda s: summed(s, lambda a, b: a, lambda a, b: np.broadcast_to(b, a.shape)),
    ),
    "add of another rank": (
        lambda a, b: layers.Add()([a, b]),
        [(3, 2), (2,)],
        lambda s: summed(s, lambda a, b: a, lambda a, b: np.broadcast_to(b, a.shape)),
    ),
    "subtract": (
        lambda a, b: layers.Subtract()([a, b]),
        [(3, 2)] * 2,
        lambda s: summed(s, lambda a, b: a) - summed(s, lambda a, b: b),
    ),
    "average": (
        lambda *x: layers.Average()(list(x)),
        [(4,)] * 4,
        lambda s: np.tile(np.eye(4), 4) / 4,
    ),
    "average pooling1d": (
        layers.AveragePooling1D(4, strides=2),
        [(6, 2)],
        lambda s: pooled(s[0], (4,), (2,), "valid"),
    ),
    "average pooling2d": (
        layers.AveragePooling2D(2),
        [image],
        lambda s: pooled(s[0], (2, 2), (2, 2), "valid"),
    ),
    "average pooling2d same": (
        layers.AveragePooling2D(2, strides=(1, 2), padding="same"),
        [image],
        lambda s: pooled(s[0], (2, 2), (1, 2), "same"),
    ),
    "average pooling3d": (
        layers.AveragePooling3D(2, strides=1, padding="same"),
        [(2, 3, 2, 1)],
        lambda s: pooled(s[0], (2, 2, 2), (1, 1, 1), "same"),
    ),
    "global average1d": (layers.GlobalAveragePooling1D(), [(4, 3)], lambda s: averaged(s[0], [0])),
    "global average2d": (
        layers.GlobalAveragePooling2D(),
        [(2, 4, 3)],
        lambda s: averaged(s[0], [0, 1]),
    ),
    "global average2d keepdims": (
        layers.GlobalAveragePooling2D(keepdims=True),
        [(2, 4, 3)],
        lambda s: averaged(s[0], [0, 1]),
    ),
    "global average3d": (
        layers.GlobalAveragePooling3D(),
        [(2, 2, 1, 3)],
        lambda s: averaged(s[0], [0, 1, 2]),
    ),
    "mean": (lambda x: ops.mean(x, axis=2), [(3, 4)], lambda s: averaged(s[0], [1])),
    "sum": (lambda x: ops.sum(x, axis=1), [(3, 4)], lambda s: 3 * averaged(s[0], [0])),
    "cumsum": (lambda x: ops.cumsum(x, axis=1), [(4,)], lambda s: np.tril(np.ones((4, 4)))),
    "bilinear": (
        layers.UpSampling2D(2, interpolation="bilinear"),
        [(2, 3, 2)],
        lambda s: upsampled_bilinearly(*s[0], 2),
    ),
    "bilinear resizing": (
        layers.Resizing(4, 6, interpolation="bilinear"),
        [(2, 3, 2)],
        lambda s: upsampled_bilinearly(*s[0], 2),
    ),
}
QUICK_SUMS = ("add", "subtract", "average", "average pooling2d same", "global average2d")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK_SUMS else slow) for n in SUMS]
)
def test_sums_share_by_the_z_rule(name):
    call, shapes, matrix = SUMS[name]
    model = model_of(call, *shapes)
    J = matrix(shapes)
    xs = samples(shapes)
    layer = naive.Affine(J, J != 0, np.zeros(len(J)))
    z = layer(joined(xs))
    naive.assert_close(output_of(model, xs), softplus(z), 1e-6)
    w = weights_for(model, xs)
    check(model, xs, naive.z(layer, joined(xs), naive.flat(w) * softplus(z)), w)


SAME = pytest.param("same", marks=not_on_torch)  # whose own averages count what is padded


@pytest.mark.parametrize("padding", ["valid", SAME])
def test_average_over_windows_of_odd_size(padding):
    """Thirds are not exact, so no sum is zero here; R / z is well conditioned for tanh."""
    model = model_of(layers.AveragePooling2D(3, 2, padding=padding), image, activation="tanh")
    J = pooled(image, (3, 3), (2, 2), padding)
    layer = naive.Affine(J, J != 0, np.zeros(len(J)))
    xs = samples([image], signed_samples)
    z = layer(xs[0])
    w = weights_for(model, xs)
    check(model, xs, naive.z(layer, naive.flat(xs[0]), naive.flat(w) * np.tanh(z)), w)


@pytest.mark.parametrize(("call", "sign"), [(ops.add, 1), (lambda x, c: ops.subtract(c, x), -1)])
def test_a_constant_array_absorbs_its_share(call, sign):
    constant = np.array([0.5, -1, 0, 1], "float32")
    model = model_of(lambda x: call(x, constant), (4,))
    layer = naive.Affine(sign * np.eye(4), np.eye(4), constant)
    xs = samples([(4,)])
    w = weights_for(model, xs)
    check(model, xs, naive.z(layer, xs[0], w * softplus(layer(xs[0]))), w)


def test_a_plain_number_is_a_change_of_units():
    """x + 1 and 2 x move the scale: relevance passes."""
    model = model_of(lambda x: 2 * (x + 1.0) - 0.5, (4,))
    xs = samples([(4,)])
    w = weights_for(model, xs)
    check(model, xs, w * softplus(2 * xs[0] + 1.5), w)


# Winners: the step, the shapes it reads, which numbers each output chooses from, and the sign of
# what it looks for.
WINNERS = {
    "max pooling1d": (
        layers.MaxPooling1D(2, strides=1, padding="same"),
        [(5, 2)],
        lambda s: naive.pooling(s[0], (2,), (1,), "same"),
        1,
    ),
    "max pooling2d": (
        layers.MaxPooling2D(2),
        [image],
        lambda s: naive.pooling(s[0], (2, 2), (2, 2), "valid"),
        1,
    ),
    "max pooling2d same": (
        layers.MaxPooling2D(3, strides=(1, 2), padding="same"),
        [image],
        lambda s: naive.pooling(s[0], (3, 3), (1, 2), "same"),
        1,
    ),
    "max pooling3d": (
        layers.MaxPooling3D((2, 1, 2)),
        [(2, 2, 4, 2)],
        lambda s: naive.pooling(s[0], (2, 1, 2), (2, 1, 2), "valid"),
        1,
    ),
    "global max1d": (layers.GlobalMaxPooling1D(), [(4, 3)], lambda s: averaged(s[0], [0]), 1),
    "global max2d": (layers.GlobalMaxPooling2D(), [image], lambda s: averaged(s[0], [0, 1]), 1),
    "maximum": (
        lambda *x: layers.Maximum()(list(x)),
        [(3, 2)] * 3,
        lambda s: np.tile(np.eye(6), 3),
        1,
    ),
    "minimum": (
        lambda *x: layers.Minimum()(list(x)),
        [(4,)] * 2,
        lambda s: np.tile(np.eye(4), 2),
        -1,
    ),
    "ops.max": (lambda x: ops.max(x, axis=1), [(3, 4)], lambda s: averaged(s[0], [0]), 1),
    "ops.min": (lambda x: ops.min(x, axis=2), [(3, 4)], lambda s: averaged(s[0], [1]), -1),
}
QUICK_WINNERS = ("max pooling2d same", "maximum")


def distinct(shapes):
    """Halves of both signs that are all different within a sample."""
    rng = np.random.default_rng(2)
    size = sum(map(prod, shapes))
    values = np.stack([rng.permutation(size) - size // 2 for _ in range(5)]) / 2
    parts = np.split(values, np.cumsum([prod(s) for s in shapes])[:-1], axis=1)
    return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK_WINNERS else slow) for n in WINNERS]
)
def test_the_winner_takes_all(name):
    call, shapes, choices, sign = WINNERS[name]
    model = model_of(call, *shapes)
    xs = distinct(shapes)
    w = weights_for(model, xs)
    r = naive.flat(w * output_of(model, xs))
    check(model, xs, naive.winner(choices(shapes), joined(xs), r, sign), w)


@pytest.mark.slow
@pytest.mark.parametrize("name", WINNERS)
def test_ties_conserve_relevance(name):
    """Whoever wins among equals: nothing is lost or doubled, and non-winners get nothing."""
    call, shapes, choices, sign = WINNERS[name]
    model = model_of(call, *shapes)
    xs = samples(shapes)
    w = abs(weights_for(model, xs)) + 0.5
    r = naive.flat(w * output_of(model, xs))
    found = lrp(model, xs, w)
    found = joined(found if len(xs) > 1 else [found])
    naive.assert_close(found.sum(1, keepdims=True), r.sum(1, keepdims=True))
    assert np.all(found >= 0)
    assert not np.any(found[naive.winner(choices(shapes), joined(xs), r, sign) == 0])


# Normalisations: the layer, the shape it reads, the group of each number, the shape in which gamma
# and beta broadcast over a sample, and what else its formula needs.
rows = np.repeat(np.arange(3), 4).reshape(3, 4)
columns = np.tile(np.arange(4), (3, 1))
everything = np.zeros((3, 4), int)
NORMALIZATIONS = {
    "layer": (layers.LayerNormalization, {}, rows, (1, 4), {}),
    "layer, axis 1": (layers.LayerNormalization, {"axis": 1}, columns, (3, 1), {}),
    "layer, two axes": (layers.LayerNormalization, {"axis": (1, 2)}, everything, (3, 4), {}),
    "layer, plain": (
        layers.LayerNormalization,
        {"center": False, "scale": False, "epsilon": 0.1},
        rows,
        (1, 4),
        {},
    ),
    "group": (layers.GroupNormalization, {"groups": 2}, columns // 2, (1, 4), {}),
    "group, instance": (layers.GroupNormalization, {"groups": -1}, columns, (1, 4), {}),
    "group, one": (
        layers.GroupNormalization,
        {"groups": 1, "center": False},
        everything,
        (1, 4),
        {},
    ),
    "group, axis 1": (
        layers.GroupNormalization,
        {"groups": 3, "axis": 1, "epsilon": 0.1},
        rows,
        (3, 1),
        {},
    ),
    "rms": (layers.RMSNormalization, {}, rows, (1, 4), {"centred": False}),
    "unit": (layers.UnitNormalization, {}, rows, (1, 4), {"centred": False, "total": True}),
    "unit, axis 1": (
        layers.UnitNormalization,
        {"axis": 1},
        columns,
        (1, 4),
        {"centred": False, "total": True},
    ),
}


# Keras's own, along another axis than the last, does not run on torch.
OF_KERAS = ("layer, axis 1",) if NAME == "torch" else ()


@pytest.mark.parametrize("name", sorted({*NORMALIZATIONS} - {*OF_KERAS}))
def test_normalization_divides_by_a_constant(name):
    """R / z is well conditioned near z = 0: R is weights * tanh(z)."""
    cls, config, groups, shape, options = NORMALIZATIONS[name]
    layer = cls(**config)
    model = model_of(layer, (3, 4), activation="tanh")
    values = {v.path.split("/")[-1]: naive.array(v).reshape(shape) for v in layer.weights}
    gamma, beta = (
        np.broadcast_to(values.get(key, default), (3, 4)).ravel()
        for key, default in (("scale" if name == "rms" else "gamma", 1), ("beta", 0))
    )
    xs = samples([(3, 4)], signed_samples)
    if "beta" in values:
        xs[0][0] = 0.5  # all numbers are equal: z is beta
    w = weights_for(model, xs)
    x, epsilon = naive.flat(xs[0]), getattr(layer, "epsilon", 0)
    maps = naive.normalization(x, groups, gamma, beta, epsilon, **options)
    z = np.concatenate([at(x[i : i + 1]) for i, at in enumerate(maps)])
    naive.assert_close(output_of(model, xs), np.tanh(z))
    r = naive.flat(w) * np.tanh(z)
    parts = [naive.z(at, x[i : i + 1], r[i : i + 1]) for i, at in enumerate(maps)]
    check(model, xs, np.concatenate(parts), w)


# Products: what is multiplied, the shapes it reads, and the share of R that each input receives,
# for R of the output's shape.
def _sigmoid(x):
    return layers.Activation("sigmoid")(x)


def _squeeze_and_excite(x):
    squeezed = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Dense(2, activation="sigmoid")(squeezed)
    return layers.Multiply()([x, layers.Reshape((1, 1, 2))(gate)])


def _times(*x):
    return layers.Multiply()(list(x))


PRODUCTS = {
    "gate": (lambda x, g: _times(x, _sigmoid(g)), [(3, 2)] * 2, lambda r: [r, 0]),
    "gate first": (lambda g, x: _sigmoid(g) * x, [(4,)] * 2, lambda r: [0, r]),
    "gate of ops": (lambda x, g: ops.multiply(x, ops.sigmoid(g)), [(4,)] * 2, lambda r: [r, 0]),
    "gate of hard sigmoid": (
        lambda x, g: x * layers.Activation("hard_sigmoid")(g),
        [(4,)] * 2,
        lambda r: [r, 0],
    ),
    "gate of a dense layer": (
        lambda x, g: _times(x, layers.Dense(4, activation="sigmoid")(g)),
        [(4,), (3,)],
        lambda r: [r, 0],
    ),
    "1 - gate": (lambda x, g: x * (1 - _sigmoid(g)), [(4,)] * 2, lambda r: [r, 0]),
    "squeeze and excite": (_squeeze_and_excite, [(3, 2, 2)], lambda r: [r]),
    "gate broadcast": (lambda x, g: x * _sigmoid(g), [(3, 4, 2), (3, 4, 1)], lambda r: [r, 0]),
    "signal broadcast": (
        lambda x, g: x * _sigmoid(g),
        [(1, 4, 2), (3, 4, 2)],
        lambda r: [r.sum(1), 0],
    ),
    "two signals and a gate": (
        lambda x, y, g: _times(x, y, _sigmoid(g)),
        [(4,)] * 3,
        lambda r: [r / 2, r / 2, 0],
    ),
    "gates only": (
        lambda g, h: _sigmoid(g) * _sigmoid(h),
        [(4,)] * 2,
        lambda r: [r / 2, r / 2],
    ),
    "no gates": (_times, [(3, 2)] * 2, lambda r: [r / 2, r / 2]),
    "tanh is no gate": (lambda x, y: x * ops.tanh(y), [(4,)] * 2, lambda r: [r / 2, r / 2]),
    "three factors": (_times, [(4,)] * 3, lambda r: [r / 3] * 3),
    "factors broadcast": (
        _times,
        [(3, 1, 2), (1, 4, 2)],
        lambda r: [r.sum(2) / 2, r.sum(1) / 2],
    ),
    "factors of two ranks": (_times, [(6, 2), (2,)], lambda r: [r / 2, r.sum(1) / 2]),
    "factors of two ranks, not the batch's size": (
        _times,
        [(3, 2), (2,)],
        lambda r: [r / 2, r.sum(1) / 2],
    ),
    "square": (lambda x: _times(x, x), [(4,)], lambda r: [r]),
    "constant": (lambda x: x * np.array([1, -2, 0, 3], "float32"), [(4,)], lambda r: [r]),
    "constant broadcast": (
        lambda x: x * np.array([[1], [-2], [3]], "float32"),
        [(1, 4)],
        lambda r: [r.sum(1)],
    ),
    "quotient": (lambda x, y: x / (y + 2.0), [(4,)] * 2, lambda r: [r, 0]),
    "reciprocal": (lambda x, y: ops.reciprocal(y + 2.0) * x, [(4,)] * 2, lambda r: [r, 0]),
    "rsqrt": (lambda x, y: x * (3.0 * ops.rsqrt(y + 2.0)), [(4,)] * 2, lambda r: [r, 0]),
    "power of -1/2": (lambda x, y: x * (y + 2.0) ** -0.5, [(4,)] * 2, lambda r: [r, 0]),
    "one over": (lambda x, y: x * (1.0 / (y + 2.0)), [(4,)] * 2, lambda r: [r, 0]),
    "square root is no inverse": (
        lambda x, y: x * (y + 2.0) ** 0.5,
        [(4,)] * 2,
        lambda r: [r / 2, r / 2],
    ),
    "quotient broadcast": (
        lambda x, y: ops.divide(x, y + 2.0),
        [(1, 4), (3, 4)],
        lambda r: [r.sum(1), 0],
    ),
}
QUICK_PRODUCTS = ("gate", "no gates", "squeeze and excite", "factors of two ranks")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK_PRODUCTS else slow) for n in PRODUCTS]
)
def test_factors_share_by_role(name):
    call, shapes, shares = PRODUCTS[name]
    model = model_of(call, *shapes)
    xs = samples(shapes)
    w = weights_for(model, xs)
    r = w * output_of(model, xs)
    parts = [
        np.broadcast_to(part, x.shape) if np.ndim(part) == 0 else part
        for part, x in zip(shares(r), xs, strict=True)
    ]
    check(model, xs, joined(parts), w)


# Matrix products of two tensors: the call, the shapes, which softmax is a gate, and the einsum of
# one sample.
MATRIX_PRODUCTS = {
    "dot of vectors": (lambda a, b: layers.Dot(-1)([a, b]), [(4,)] * 2, "k,k->"),
    "dot": (lambda a, b: layers.Dot((2, 1))([a, b]), [(2, 3), (3, 4)], "ik,kj->ij"),
    "dot of last axes": (lambda a, b: layers.Dot(2)([a, b]), [(2, 3), (4, 3)], "ik,jk->ij"),
    "matmul": (ops.matmul, [(2, 3), (3, 4)], "ik,kj->ij"),
    "einsum": (
        lambda a, b: ops.einsum("nihk,njhk->nhij", a, b),
        [(2, 2, 3), (3, 2, 3)],
        "ihk,jhk->hij",
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "dot" else slow) for n in MATRIX_PRODUCTS]
)
def test_matrix_products_share_each_half_by_the_z_rule(name):
    """R_ik = Σ_j a_ik b_kj (R_ij / 2) / z_ij, and likewise for b."""
    call, shapes, equation = MATRIX_PRODUCTS[name]
    model = model_of(call, *shapes)
    a, b = xs = samples(shapes)
    one, other, out = ("n" + part for part in equation.replace("->", ",").split(","))
    z = np.einsum(f"{one},{other}->{out}", a, b)
    w = weights_for(model, xs)
    r = w.reshape(z.shape) * softplus(z)
    s = np.divide(r / 2, z, out=np.zeros_like(z), where=z != 0)
    parts = [
        a * np.einsum(f"{other},{out}->{one}", b, s),
        b * np.einsum(f"{one},{out}->{other}", a, s),
    ]
    check(model, xs, joined(parts), w)


def test_norms_in_a_cosine_are_constants():
    """A normalised Dot shares as one that is not: both norms are scales, as in normalisation."""
    model = model_of(lambda a, b: layers.Dot(-1, normalize=True)([a, b]), (4,), (4,))
    a, b = xs = samples([(4,), (4,)], signed_samples)
    w = weights_for(model, xs)
    z = (a * b).sum(1, keepdims=True)
    half = a * b / z * w * output_of(model, xs) / 2
    check(model, xs, joined([half, half]), w)


# Embeddings


@pytest.mark.filterwarnings("ignore:The model ends in")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mask_zero", [False, True])
def test_a_token_gets_the_sum_over_its_vector(mask_zero):
    embedding = layers.Embedding(5, 3, mask_zero=mask_zero)
    model = model_of(embedding, (4,), dtype="int32")
    tokens = np.array([[0, 1, 2, 3], [4, 4, 0, 1]])
    w = weights_for(model, [tokens])
    vectors = naive.array(embedding.embeddings)[tokens]
    found = lrp(model, [tokens], w)
    assert found.shape == tokens.shape
    naive.assert_close(found, (w * softplus(vectors)).sum(-1))


def test_masked_tokens_are_no_summands():
    """An average over the tokens that are not masked shares its relevance among these alone."""
    embedding = layers.Embedding(5, 3, mask_zero=True)
    pool = layers.GlobalAveragePooling1D()
    model = model_of(lambda x: pool(embedding(x)), (4,), activation="tanh", dtype="int32")
    tokens = np.array([[1, 2, 3, 4], [2, 0, 4, 0], [0, 0, 0, 3]])
    vectors = naive.array(embedding.embeddings)[tokens] * (tokens != 0)[..., None]
    z = vectors.sum(1) / (tokens != 0).sum(1, keepdims=True)
    naive.assert_close(output_of(model, [tokens]), np.tanh(z))
    w = weights_for(model, [tokens])
    s = w * np.tanh(z) / vectors.sum(1)
    naive.assert_close(lrp(model, [tokens], w), (vectors * s[:, None]).sum(-1))


def test_embedding_behind_a_dense_layer():
    embedding, dense = layers.Embedding(5, 3), layers.Dense(4)
    model = model_of(lambda x: dense(layers.Flatten()(embedding(x))), (2,), dtype="int32")
    tokens = np.array([[0, 1], [2, 2], [4, 3]])
    vectors = naive.flat(naive.array(embedding.embeddings)[tokens])
    (layer,) = naive.affine_maps(dense, (6,))
    w = weights_for(model, [tokens])
    relevance = naive.alpha_beta(layer, vectors, w * softplus(layer(vectors)), 2, 1)
    found = lrp(model, [tokens], w, rules.AlphaBeta(2, 1))
    naive.assert_close(found, relevance.reshape(3, 2, 3).sum(-1))


# Graphs in which relevances meet. R is weights * tanh of a sum z that is close to zero for no
# sample, as numbers are no halves here.


def check_shared(call, shapes, relevance):
    """The α-β relevance in a model around one Dense layer, and that of a formula on its map."""
    dense = layers.Dense(3)
    model = model_of(lambda *x: call(dense, *x), *shapes, activation="tanh")
    (layer,) = naive.affine_maps(dense, (3,))
    xs = samples(shapes, signed_samples)
    w = weights_for(model, xs)
    found = lrp(model, xs, w, rules.AlphaBeta(2, 1))
    rule = lambda x, r: naive.alpha_beta(layer, x, r, 2, 1)  # noqa: E731
    expected = relevance(layer, rule, *xs, w * output_of(model, xs))
    naive.assert_close(joined(found if len(xs) > 1 else [found]), joined(expected))


def test_shared_layer_on_two_inputs():
    def relevance(layer, rule, a, b, r):
        s = r / (layer(a) + layer(b))
        return [rule(a, layer(a) * s), rule(b, layer(b) * s)]

    check_shared(lambda d, a, b: layers.Add()([d(a), d(b)]), [(3,)] * 2, relevance)


def test_shared_layer_twice_in_a_row():
    check_shared(
        lambda d, x: d(d(x)), [(3,)], lambda layer, rule, x, r: [rule(x, rule(layer(x), r))]
    )


def test_shared_layer_twice_on_one_input():
    def relevance(layer, rule, x, r):
        return [rule(x, r[:, :3]) + rule(x, r[:, 3:])]

    check_shared(lambda d, x: layers.Concatenate()([d(x), d(x)]), [(3,)], relevance)


def test_residual_connection():
    def relevance(layer, rule, x, r):
        s = r / (x + layer(x))
        return [x * s + rule(x, layer(x) * s)]

    check_shared(lambda d, x: layers.Add()([x, d(x)]), [(3,)], relevance)


def test_shared_model():
    """A nested model that is called twice."""

    def call(dense, a, b):
        inputs = layers.Input((3,))
        nested = keras.Model(inputs, layers.ReLU()(dense(inputs)))
        return layers.Concatenate()([nested(a), nested(b)])

    check_shared(
        call, [(3,)] * 2, lambda layer, rule, a, b, r: [rule(a, r[:, :3]), rule(b, r[:, 3:])]
    )


# Nothing to divide by

ZEROS = {
    "difference": lambda x: layers.Subtract()([x, x]),
    "mean": lambda x: ops.mean(x - x, axis=1),
    "average pooling": lambda x: layers.AveragePooling1D(2)(
        x * np.float32([[1, 1, 1, 1], [-1] * 4])
    ),
    "layer norm": layers.LayerNormalization(),
    "group norm": layers.GroupNormalization(2),
    "rms norm": lambda x: layers.RMSNormalization()(layers.Subtract()([x, x])),
    "unit norm": lambda x: layers.UnitNormalization()(layers.Subtract()([x, x])),
    "dot": lambda x: layers.Dot(2)([x, x * np.float32([1, -1, 1, -1])]),
    "dense": layers.Dense(2, kernel_initializer="zeros"),
    "conv": layers.Conv1D(2, 2, kernel_initializer="zeros"),
    "batch norm": layers.BatchNormalization(gamma_initializer="zeros"),
}


@pytest.mark.parametrize("name", ZEROS)
def test_zero_denominators_drop_relevance(name):
    """z is exactly zero but its relevance, weights * sigmoid(0), is not: all of it is dropped."""
    inputs = layers.Input((2, 4))
    model = keras.Model(inputs, ops.sigmoid(ZEROS[name](inputs)))
    x = np.stack([np.full((2, 4), value, "float32") for value in (0, 0.5, -3)])
    assert np.all(output_of(model, [x]) == 0.5)
    found = lrp(model, [x], 1.0)
    assert found.shape == x.shape
    assert np.all(found == 0)
