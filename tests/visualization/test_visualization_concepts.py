"""Pictures of single channels and their reference samples."""

import matplotlib as mpl
import numpy as np
import pytest

from innvestigate.visualization import plot_concepts

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.uniform(size=(8, 6, 3))
MAPS = RANDOM.normal(size=(2, 8, 6, 3))
SAMPLES = RANDOM.uniform(size=(2, 4, 8, 6, 3))


@pytest.fixture(autouse=True)
def _closed():
    mpl.use("Agg")
    yield
    mpl.pyplot.close("all")


def test_a_row_for_each_channel():
    figure = plot_concepts(IMAGE, MAPS, SAMPLES, names=["a", "$b"])
    axes = np.array(figure.axes).reshape(2, 5)
    assert [row[0].get_ylabel() for row in axes] == ["a", "$b"]
    for row, heatmap, samples in zip(axes, MAPS, SAMPLES, strict=True):
        np.testing.assert_allclose(row[0].images[-1].get_array(), heatmap.sum(axis=-1))
        for ax, sample in zip(row[1:], samples, strict=True):
            np.testing.assert_allclose(ax.images[-1].get_array(), sample)
    figure.canvas.draw()


def test_heatmaps_over_reference_samples():
    over = RANDOM.normal(size=SAMPLES.shape)
    figure = plot_concepts(IMAGE, MAPS, SAMPLES, reference_heatmaps=over)
    axes = np.array(figure.axes).reshape(2, 5)
    found = axes[1, 2].images[-1].get_array()
    np.testing.assert_allclose(found, over[1, 1].sum(axis=-1))
    assert axes[1, 0].get_ylabel() == "1"


def test_images_of_one_channel():
    figure = plot_concepts(IMAGE[..., :1], MAPS[..., :1], SAMPLES[..., :1])
    found = figure.axes[0].images[-1].get_array()
    np.testing.assert_allclose(found, MAPS[0, ..., 0])
    figure.canvas.draw()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "kind",
    [
        lambda x: (255 * x).astype("uint8"),
        lambda x: (255 * x).astype("int64"),
        lambda x: (4 * x - 2).astype("float32"),
        lambda x: x,
    ],
)
def test_references_are_drawn_as_the_image_is(kind, channels):
    """Bytes in any type and standardised inputs: the same sample looks the same in all places."""
    image = kind(IMAGE[..., :channels])
    figure = plot_concepts(image, np.zeros((1, 8, 6)), image[None, None])
    left, right = (ax.images[0].get_array() for ax in figure.axes)
    grey = right @ [0.299, 0.587, 0.114]  # the image is pale grey below its heatmap
    np.testing.assert_allclose(left[..., 0], 0.55 + 0.45 * grey, atol=0.005)
    assert np.ptp(right) > 0.5


@pytest.mark.parametrize(
    "arguments",
    [
        {"heatmaps": MAPS[:1]},
        {"heatmaps": MAPS[0, 0]},
        {"references": SAMPLES[0, 0]},
        {"references": SAMPLES[:, :0]},
        {"references": np.zeros((2, 4, 8, 6, 2))},
        {"names": ["a"]},
        {"reference_heatmaps": SAMPLES[:1]},
        {"cell": 0},
    ],
)
def test_what_does_not_fit(arguments):
    with pytest.raises(ValueError, match=r"Received|cell"):
        plot_concepts(IMAGE, **{"heatmaps": MAPS, "references": SAMPLES, **arguments})
