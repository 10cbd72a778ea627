"""The helpers of iNNvestigate give what the original gives, and leave their argument alone."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from innvestigate import visualization
from innvestigate.utils import visualizations
from innvestigate.utils.visualizations import (
    batch_flatten,
    clip_quantile,
    gamma,
    graymap,
    heatmap,
    project,
)

with np.load(Path(__file__).parents[1] / "references" / "visualizations.npz") as stored:
    REFERENCES = dict(stored)
X = REFERENCES.pop("x")
CASES = {
    "project": (project, X, {}),
    "project, range": (project, X, {"output_range": (-3, 5)}),
    "project, absmax": (project, X, {"absmax": 0.7}),
    "project, positive": (project, np.abs(X), {"input_is_positive_only": True}),
    "project, zeros": (project, 0 * X[:1], {}),
    "heatmap": (heatmap, X, {}),
    "heatmap, map": (heatmap, X, {"cmap_type": "viridis", "alpha_cmap": True}),
    "heatmap, absmax": (heatmap, np.abs(X), {"reduce_op": "absmax"}),
    "heatmap, positive": (heatmap, np.abs(X), {"input_is_positive_only": True}),
    "graymap": (graymap, X, {}),
    "gamma": (gamma, X, {}),
    "gamma, arguments": (gamma, X, {"gamma": 2.0, "minamp": 0.3, "maxamp": 1.5}),
    "clip_quantile": (clip_quantile, X, {"quantile": 10}),
    "clip_quantile, pair": (clip_quantile, X, {"quantile": (20, 95)}),
}


def test_every_reference_has_a_case():
    assert set(CASES) == set(REFERENCES)


@pytest.mark.parametrize("name", CASES)
def test_values_of_the_original(name):
    function, x, arguments = CASES[name]
    x = x.copy()
    before = x.copy()
    found = function(x, **arguments)
    np.testing.assert_allclose(found, REFERENCES[name], rtol=1e-6, atol=1e-12)
    assert found.dtype == REFERENCES[name].dtype
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(found, x)


def test_batch_flatten():
    x = X.copy()
    found = batch_flatten(x)
    found[:] = 0
    assert found.shape == (3, 40)
    np.testing.assert_array_equal(batch_flatten(x)[1], X[1].ravel())


def test_the_old_name_of_the_module_has_the_same_functions():
    assert visualizations.__all__ == visualization.__all__
    for name in visualization.__all__:
        assert getattr(visualizations, name) is getattr(visualization, name)


def test_each_sample_is_projected_by_its_own_or_its_given_absmax():
    x = np.array([[1.0, -2.0, 0.0], [10.0, 20.0, -40.0]])
    np.testing.assert_allclose(project(x), [[0.75, 0, 0.5], [0.625, 0.75, 0]])
    np.testing.assert_allclose(
        project(x, absmax=[4, 80]), [[0.625, 0.25, 0.5], [0.5625, 0.625, 0.25]]
    )


def test_absmax_of_channels_keeps_the_sign():
    x = np.array([0.5, -2.0, 1.0]).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(
        heatmap(x, reduce_op="absmax")[0, 0, 0], mpl.colormaps["seismic"](0)[:3], rtol=1e-6
    )


def test_channels_of_a_heatmap_may_come_first():
    last = heatmap(X)
    first = heatmap(np.moveaxis(X, -1, 1), reduce_axis=1)
    np.testing.assert_array_equal(np.moveaxis(first, 1, -1), last)


def test_integers_and_single_precision():
    np.testing.assert_allclose(project(np.array([[1, -2]])), [[0.75, 0]])
    np.testing.assert_allclose(gamma(np.array([4, -1, 0])), [4, -2, 0])
    assert project(X.astype("float32")).dtype == "float32"
    assert clip_quantile(X.astype("float32")).dtype == "float32"


def test_gamma_of_zeros_is_zeros():
    np.testing.assert_array_equal(gamma(np.zeros(3)), np.zeros(3))


def test_errors():
    with pytest.raises(ValueError, match="one for each of the 3 samples"):
        project(X, absmax=np.ones(4))
    with pytest.raises(ValueError, match="'sum', 'absmax'"):
        heatmap(X, reduce_op="mean")
