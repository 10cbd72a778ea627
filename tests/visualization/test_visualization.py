"""Heatmaps keep the sign and the scale of the relevance they show."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from innvestigate.visualization import plot_comparison, plot_heatmap

R = np.random.default_rng(0).normal(size=(6, 5, 3))
PHOTO = np.random.default_rng(1).uniform(size=(6, 5, 3))


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


def pixel(ax, row, column):
    """The colour that is drawn at the middle of a pixel of an image, 0 to 255."""
    ax.figure.canvas.draw()
    x, y = ax.transData.transform((column, row))
    canvas = np.asarray(ax.figure.canvas.buffer_rgba())
    return canvas[len(canvas) - 1 - int(y), int(x), :3].astype(int)


def test_signed_relevance_is_centred_at_zero_and_summed_over_channels():
    before = R.copy()
    image = plot_heatmap(R, percentile=100).images[0]
    np.testing.assert_allclose(image.get_array(), R.sum(-1))
    limit = np.abs(R.sum(-1)).max()
    assert image.get_clim() == pytest.approx((-limit, limit))
    np.testing.assert_allclose(image.cmap(image.norm(0.0))[:3], image.cmap(0.5)[:3], atol=0.02)
    np.testing.assert_array_equal(R, before)


def test_positive_relevance_starts_at_zero():
    image = plot_heatmap(np.abs(R[..., 0]), percentile=100).images[0]
    assert image.get_clim() == pytest.approx((0, np.abs(R[..., 0]).max()))


def test_positive_relevance_in_signed_colours():
    image = plot_heatmap(np.abs(R[..., 0]), percentile=100, signed=True).images[0]
    assert image.get_clim() == pytest.approx(np.array([-1, 1]) * np.abs(R[..., 0]).max())


def test_zeros_are_drawn():
    assert plot_heatmap(np.zeros((3, 3))).images[0].get_clim() == (0, 1)


def test_colours_saturate_at_the_percentile():
    values = np.arange(-10, 91.0).reshape(1, -1)
    assert plot_heatmap(values, percentile=50).images[0].get_clim() == (-40, 40)


def test_a_percentile_of_zero_does_not_hide_the_rest():
    values = np.zeros((20, 20))
    values[3, 4] = -2
    assert plot_heatmap(values, percentile=90).images[0].get_clim() == (-2, 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_red_is_for_and_blue_against(sign):
    values = np.zeros((3, 3))
    values[0, 0], values[2, 1], values[1, 2] = sign, -sign, -sign / 2
    ax = plot_heatmap(values, percentile=100)
    first, second = (pixel(ax, 0, 0), pixel(ax, 2, 1))[::sign]
    np.testing.assert_allclose(first, [103, 0, 31], atol=1)
    np.testing.assert_allclose(second, [5, 48, 97], atol=1)
    half = pixel(ax, 1, 2)
    assert (half[2] > half[0] + 50) == (sign == 1)
    assert np.ptp(pixel(ax, 1, 1)) <= 2 and pixel(ax, 1, 1).min() > 240


def test_opacity_over_an_image_grows_with_the_absolute_relevance():
    values = np.array([[4.0, -2.0], [0.0, -4.0]])
    photo = np.full((2, 2, 3), [0.2, 0.9, 0.1])
    ax = plot_heatmap(values, image=photo, percentile=100, alpha=0.8, grey=False)
    below, above = ax.images
    np.testing.assert_allclose(below.get_array(), photo)
    np.testing.assert_allclose(above.get_alpha(), [[0.8, 0.4], [0, 0.8]])
    assert above.get_clim() == (-4, 4)
    np.testing.assert_allclose(pixel(ax, 1, 0), [51, 230, 26], atol=1)
    red = 0.8 * np.array([103, 0, 31]) + 0.2 * np.array([51, 230, 26])
    np.testing.assert_allclose(pixel(ax, 0, 0), red, atol=2)


def test_the_image_below_is_grey():
    before = PHOTO.copy()
    ax = plot_heatmap(R, image=PHOTO)
    background = ax.images[0].get_array()
    np.testing.assert_array_equal(background[..., 0], background[..., 2])
    grey = PHOTO @ [0.299, 0.587, 0.114]
    order = np.argsort(grey.ravel())
    assert (np.diff(background[..., 0].ravel()[order]) >= 0).all()
    np.testing.assert_array_equal(PHOTO, before)


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (np.array([[[0, 128, 255]]], "uint8"), [0, 128 / 255, 1]),
        (np.array([[[0, 0.5, 1]]]), [0, 0.5, 1]),
        (np.array([[[-1, 0, 1.0]]]), [0, 0.5, 1]),
        (np.array([[[50, 100, 150.0]]]), [0, 0.5, 1]),
    ],
)
def test_ranges_of_images(image, shown):
    drawn = plot_heatmap(np.ones((1, 1)), image=image, grey=False).images[0]
    np.testing.assert_allclose(drawn.get_array()[0, 0], shown, atol=1e-6)


def test_images_of_one_channel():
    image = np.array([[[0.0], [1.0]]])
    ink = plot_heatmap(np.ones((1, 2)), image=image, grey=False).images[0].get_array()
    np.testing.assert_allclose(ink[0], [[1, 1, 1], [0, 0, 0]])
    photo = plot_heatmap(np.ones((1, 2)), image=image[..., 0], grey=False, image_cmap="gray")
    np.testing.assert_allclose(photo.images[0].get_array()[0], [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("values", "extend"),
    [(np.r_[-9, np.ones(9), 9], "both"), (np.r_[np.ones(9), 9], "max"), (np.ones(9), "neither")],
)
def test_the_colour_bar_shows_what_lies_beyond_it(values, extend):
    ax = plot_heatmap(values[None], percentile=50, colorbar=True)
    bar = ax.images[0].colorbar
    assert bar.extend == extend
    assert (bar.vmin, bar.vmax) == ax.images[0].get_clim()


def test_given_axes_are_used():
    figure, axes = mpl.pyplot.subplots(1, 2)
    assert plot_heatmap(R, axes[1], image=PHOTO, colorbar=True) is axes[1]
    assert not axes[0].images and len(axes[1].images) == 2
    assert len(figure.axes) == 3


NAN = np.where(np.arange(30).reshape(6, 5) == 7, np.nan, 1.0)


@pytest.mark.parametrize(
    ("relevance", "arguments", "match"),
    [
        (R[None], {}, r"pass relevance\[i\]"),
        (np.zeros((0, 3)), {}, r"Received the shape: \(0, 3\)"),
        (NAN, {}, r"not finite at 1 of 30 places, first at \(1, 2\): nan"),
        (R, {"image": PHOTO[:5]}, r"the relevance's height and width \(6, 5\)"),
        (R, {"image": PHOTO[..., :2]}, "with 1, 3 or 4 channels"),
        (R, {"image": PHOTO[0, 0]}, "Expected as image"),
        (R, {"image": NAN}, "image is not finite"),
        (R, {"image": PHOTO, "alpha": 0}, r"alpha must be in \(0, 1\]"),
        (R, {"percentile": 0}, r"percentile must be in \(0, 100\]"),
        (R, {"signed": False}, "signed=False has no colour for negative relevance"),
    ],
)
def test_errors(relevance, arguments, match):
    with pytest.raises(ValueError, match=match):
        plot_heatmap(relevance, **arguments)


def test_relevance_must_be_numbers():
    with pytest.raises(TypeError, match="real numbers"):
        plot_heatmap(np.array([["a"]]))


def test_comparison_has_a_row_for_each_image_and_a_column_for_each_method():
    images = np.random.default_rng(1).uniform(size=(2, 6, 5, 3))
    figure = plot_comparison(
        images, {"one": images, "two": -images, "three": images}, ["a", "b"], max_columns=2
    )
    bands = figure.subfigs
    assert [len(band.axes) for band in bands] == [6, 6]
    titles = [ax.get_title() for ax in bands[0].axes[:3]]
    assert titles == ["input", "one", "two"]
    np.testing.assert_allclose(bands[0].axes[0].images[0].get_array(), images[0])
    np.testing.assert_allclose(bands[0].axes[5].images[0].get_array(), -images[1].sum(-1))
    assert [band.axes[3].get_ylabel() for band in bands] == ["b", "b"]
    assert not bands[1].axes[2].get_visible()


def test_a_method_has_one_colour_map_for_all_images():
    relevance = np.stack([np.ones((4, 4)), -2 * np.ones((4, 4))])
    figure = plot_comparison(relevance, {"one": relevance}, percentile=100)
    limits = [ax.images[0].get_clim() for ax in figure.subfigs[0].axes[1::2]]
    assert limits == [(-1, 1), (-2, 2)]


@pytest.mark.parametrize("name", ["m", "a.method.with.a.very.long.name, 123"])
def test_titles_and_captions_stay_inside_and_apart(name):
    relevance = np.ones((2, 8, 8))
    figure = plot_comparison(relevance, {name: relevance, name + "2": relevance}, ["a caption"] * 2)
    figure.canvas.draw()
    axes = figure.subfigs[0].axes
    boxes = [ax.title.get_window_extent() for ax in axes[:3]]
    boxes += [ax.yaxis.label.get_window_extent() for ax in axes[::3]]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    if name == "m":
        assert boxes[1].x1 < boxes[2].x0


@pytest.mark.parametrize(
    ("relevances", "captions"), [({}, None), ({"one": R[None]}, None), ({"one": R[:2]}, [])]
)
def test_comparison_counts(relevances, captions):
    with pytest.raises(ValueError, match="as many captions and relevances as images"):
        plot_comparison(np.zeros((2, 6, 5, 3)), relevances, captions)


def test_comparison_checks_sizes_and_columns():
    images = np.zeros((2, 6, 5, 3))
    with pytest.raises(ValueError, match="height and width"):
        plot_comparison(images, {"one": images[:, :4]})
    with pytest.raises(ValueError, match="max_columns"):
        plot_comparison(images, {"one": images}, max_columns=0)


def test_physical_units():
    """Edges of the image are at the extent, so a pixel's colour is at its place in units."""
    values = np.zeros((4, 6))
    values[1, 4] = 1
    ax = plot_heatmap(values, image=np.ones((4, 6)), extent=(0, 3, 2, 0), unit="µm")
    assert [tuple(image.get_extent()) for image in ax.images] == [(0, 3, 2, 0)] * 2
    assert ax.get_xlabel() == ax.get_ylabel() == "µm" and len(ax.get_xticks()) > 2
    red = pixel(ax, 0.75, 2.25)  # the middle of row 1 and column 4, of half a unit each
    assert red[0] > red[2] + 50
    assert len(plot_heatmap(values).get_xticks()) == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"unit": "µm"}, "unit is that of extent="),
        ({"extent": (0, 1, 2)}, "left, right, bottom, top"),
        ({"extent": (0, 0, 1, 2)}, "left, right, bottom, top"),
        ({"extent": (0, 1, np.nan, 2)}, "extent must be"),
    ],
)
def test_an_extent_that_is_none(arguments, why):
    with pytest.raises(ValueError, match=why):
        plot_heatmap(np.eye(3), **arguments)
