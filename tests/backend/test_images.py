"""Operations on images that TensorFlow has no right derivative of: the same function, and its."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

import innvestigate
from innvestigate.backend import DIFFERENTIABLE
from tests.frameworks import NAME, run_step_by_step

SHAPES = {
    "channels_last": [(2, 5, 7, 3), (5, 7, 3)],
    "channels_first": [(2, 3, 5, 7), (3, 5, 7)],
}
TURNS = np.float32([[0.8, -0.5, 1.3, 0.4, 1.1, -2.2, 0.01, -0.02]])
CORNERS = np.float32([[[0, 0], [0, 6], [4, 0], [4, 6]]])
MOVED = CORNERS + np.float32([[0.3, 1], [0.5, -0.2], [-1, 0.4], [0.1, 0.9]])
GIVEN = {"neuron_selection_mode": "all", "keep_output_activation": True}


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape).astype("float32")


def turned(x, angles):
    """Each image turned by its own angle."""
    c, s, nothing = ops.cos(angles), ops.sin(angles), ops.zeros_like(angles)
    rows = [c, -s, nothing + 0.7, s, c, nothing - 0.4, nothing, nothing]
    return ops.image.affine_transform(x, ops.concatenate(rows, axis=1))


def spatial_transformer():
    """Turns an image by what a second input says, and weighs its pixels."""
    x, angles = keras.Input((5, 7, 3)), keras.Input((1,))
    y = ops.reshape(turned(x, angles), (-1, 105))
    weights = keras.initializers.RandomUniform(seed=3)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=weights)
    return keras.Model([x, angles], dense(y)), [pixels(2, 5, 7, 3), np.float32([[0.3], [-0.5]])]


@pytest.mark.only("tensorflow")
@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("rank", [0, 1])
class TestFunctionsAreThoseOfKeras:
    @pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
    @pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect", "wrap"])
    @pytest.mark.parametrize("shift", [0, 3, -9])
    def test_affine(self, layout, rank, interpolation, fill_mode, shift):
        operation = keras.src.ops.image.AffineTransform(
            interpolation, fill_mode, fill_value=0.3, data_format=layout
        )
        turn = TURNS + np.float32([0, 0, shift, 0, 0, shift, 0, 0])
        self.assert_the_same(operation, pixels(*SHAPES[layout][rank]), turn[0] if rank else turn)

    @pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
    def test_perspective(self, layout, rank, interpolation):
        operation = keras.src.ops.image.PerspectiveTransform(interpolation, 0.3, layout)
        points = (CORNERS[0], MOVED[0]) if rank else (CORNERS, MOVED)
        self.assert_the_same(operation, pixels(*SHAPES[layout][rank]), *points)

    def test_colours(self, layout, rank):
        operation = keras.src.ops.image.HSVToRGB(layout)
        self.assert_the_same(operation, pixels(*SHAPES[layout][rank]))

    def assert_the_same(self, operation, *arguments):
        tensors = [ops.convert_to_tensor(x) for x in arguments]
        found = DIFFERENTIABLE[type(operation).__name__](operation, *tensors)
        np.testing.assert_allclose(found, operation(*tensors), atol=2e-5)


@pytest.mark.parametrize("turn", ["image", "angle"])
def test_a_spatial_transformer_has_the_gradient_of_its_function(turn):
    model, x = spatial_transformer()
    found = innvestigate.create_analyzer("gradient", model, **GIVEN).analyze(x)
    place, step = ("image", "angle").index(turn), 1e-3
    direction = np.random.default_rng(1).normal(size=x[place].shape).astype("float32")
    there, back = ([*x], [*x])
    there[place], back[place] = x[place] + step * direction, x[place] - step * direction
    change = (model.predict(there, verbose=0) - model.predict(back, verbose=0)).sum(axis=-1)
    expected = np.sum(found[place] * direction, axis=tuple(range(1, direction.ndim)))
    np.testing.assert_allclose(change / (2 * step), expected, rtol=2e-2, atol=1e-3)


def test_lrp_balances_where_places_are_constant_and_refuses_where_they_move():
    x = keras.Input((5, 7, 3))
    y = ops.image.affine_transform(x, np.repeat(TURNS, 2, axis=0))
    model = keras.Model(x, ops.reshape(y, (-1, 105)))
    found = innvestigate.create_analyzer("lrp.z", model, **GIVEN).analyze(pixels(2, 5, 7, 3))
    expected = model.predict(pixels(2, 5, 7, 3), verbose=0).sum(axis=-1)
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), expected, rtol=1e-4)
    with pytest.raises(innvestigate.NoRuleError, match="AffineTransform"):
        innvestigate.create_analyzer("lrp.z", spatial_transformer()[0], **GIVEN)


@pytest.mark.only("tensorflow")
@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), [(2, None), ((2, 1, 3), 1), ((1, 2, 2), (3, 1, 2))])
def test_the_largest_of_a_volume_is_that_of_keras(size, strides, padding, layout):
    given = size, strides, padding
    operations = keras.layers.MaxPooling3D(*given), keras.src.ops.nn.MaxPool(*given, layout)
    operations[0].data_format = layout  # which TensorFlow cannot compute on a processor
    x = pixels(2, 4, 5, 6, 3).round(1)
    turned = np.moveaxis(x, -1, 1) if layout == "channels_first" else x
    for operation in operations:
        name = type(operation).__name__
        found = ops.convert_to_numpy(DIFFERENTIABLE[name](operation, ops.convert_to_tensor(turned)))
        found = np.moveaxis(found, 1, -1) if layout == "channels_first" else found
        np.testing.assert_array_equal(found, ops.max_pool(x, *given, "channels_last"))


@pytest.mark.parametrize("method", ["gradient", "lrp.z", "deeplift"])
@pytest.mark.parametrize("shape", [(3, 4, 5, 2), (None, None, None, 2)])
@pytest.mark.parametrize("form", ["layer", "operation"])
@pytest.mark.parametrize("step_by_step", [False, True])
def test_one_of_equal_voxels_gets_the_signal_once(method, shape, form, step_by_step):
    """TensorFlow's kernel sends all of it to each."""
    x = keras.Input(shape)
    like = {"layer": keras.layers.MaxPooling3D(2), "operation": lambda x: ops.max_pool(x, 2, 2)}
    model = keras.Model(x, keras.layers.GlobalAveragePooling3D()(like[form](x)))
    with run_step_by_step() if step_by_step else contextlib.nullcontext():
        analyzer = innvestigate.create_analyzer(method, model, **GIVEN)
        found = analyzer.analyze(np.ones((2, 3, 4, 5, 2)))
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3, 4)), 2, rtol=1e-6)  # of two channels
    assert np.count_nonzero(found) == 2 * 4 * 2


def test_what_is_read_is_not_written_over():
    """As torch's own form does, whose caller then computes the gradient with another turn."""
    operation = keras.src.ops.image.AffineTransform("bilinear")
    turn = ops.convert_to_tensor(TURNS)
    DIFFERENTIABLE.get("AffineTransform", type(operation).__call__)(
        operation, ops.convert_to_tensor(pixels(1, 5, 7, 3)), turn
    )
    np.testing.assert_array_equal(turn, TURNS)


def test_jax_needs_none_of_them():
    assert bool(DIFFERENTIABLE) == (NAME != "jax")
