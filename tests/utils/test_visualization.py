"""Heatmaps keep the sign and the scale of the relevance they show."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from innvestigate.utils.visualization import plot_comparison, plot_heatmap

R = np.random.default_rng(0).normal(size=(6, 5, 3))


@pytest.fixture(autouse=True)
def _close():
    yield
    mpl.pyplot.close("all")


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


def test_zeros_are_drawn():
    assert plot_heatmap(np.zeros((3, 3))).images[0].get_clim() == (0, 1)


def test_wrong_rank():
    with pytest.raises(ValueError, match=r"pass relevance\[i\]"):
        plot_heatmap(R[None])


def test_comparison_has_a_row_for_each_image_and_a_column_for_each_method():
    images = np.random.default_rng(1).uniform(size=(2, 6, 5, 3))
    figure = plot_comparison(
        images, {"one": images, "two": -images, "three": images}, ["a", "b"], max_columns=2
    )
    bands = figure.subfigs
    assert [len(band.axes) for band in bands] == [6, 6]
    titles = [ax.get_title() for ax in bands[0].axes[:3]]
    assert titles == ["input", "one", "two"]
    np.testing.assert_allclose(bands[0].axes[5].images[0].get_array(), -images[1].sum(-1))
    assert not bands[1].axes[2].get_visible()


@pytest.mark.parametrize("relevances", [{}, {"one": R[None]}])
def test_comparison_counts(relevances):
    with pytest.raises(ValueError, match="as many captions and relevances as images"):
        plot_comparison(np.zeros((2, 6, 5, 3)), relevances)
