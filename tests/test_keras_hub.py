"""Backbones of KerasHub, which the library does not know by name: every method goes through them.

`benchmarks/keras_hub_coverage.py` runs all of them; here are a few of different kinds.
"""

import keras_hub
import numpy as np
import pytest
from keras import tree, utils

import innvestigate
from benchmarks.keras_hub_models import MODELS, data, model

pytestmark = pytest.mark.usefixtures("step_by_step")

ABSTRACT = {"", "FeaturePyramid"}  # the base class; a part that is built on a given backbone
NAMES = ["Bert", "Llama", "Bart", "SwinTransformer"]


@pytest.fixture(scope="module", params=NAMES)
def network(request):
    utils.set_random_seed(0)
    return model(request.param)


def test_every_backbone_is_in_the_list():
    classes = {name: getattr(keras_hub.models, name) for name in dir(keras_hub.models)}
    is_backbone = lambda x: isinstance(x, type) and issubclass(x, keras_hub.models.Backbone)  # noqa: E731
    every = {name.removesuffix("Backbone") for name, x in classes.items() if is_backbone(x)}
    assert every - ABSTRACT == set(MODELS)


@pytest.mark.parametrize("method", ["gradient", "lrp.attn"])
def test_what_carries_a_signal_gets_a_result(network, method):
    x = data(network)
    found = innvestigate.create_analyzer(method, network).analyze(x)
    tree.assert_same_structure(found, x)
    named = found if isinstance(found, dict) else {"image": found}
    for name, result in named.items():
        assert np.isfinite(result).all()
        assert result.any() != ("mask" in name), name


def test_contributions_add_up(network):
    """DeepLIFT's to 1e-5 of the change of the output; those of a path nearly."""
    x, x0 = data(network), reference(data(network))
    y, y0 = network.predict(x, verbose=0), network.predict(x0, verbose=0)
    best = np.arange(len(y)), y.argmax(axis=1)
    change = (y - y0)[best]
    for method, options, gap in (
        ("deeplift", {}, 1e-5),
        ("integrated_gradients", {"steps": 64}, 2e-2),
    ):
        analyzer = innvestigate.create_analyzer(method, network, reference_inputs=x0, **options)
        found = tree.flatten(analyzer.analyze(x))
        total = sum(r.reshape(len(y), -1).sum(axis=1) for r in found)
        np.testing.assert_allclose(total, change, atol=gap * np.abs(change).max())


def reference(x):
    """Grey, or token 0 with the masks and segments of the sample.

    From black on, a normalisation changes so fast that a path needs 1,000 steps.
    """
    if not isinstance(x, dict):
        return np.full_like(x, 0.5)
    kept = ("mask", "segment")
    return {n: v if any(k in n for k in kept) else np.zeros_like(v) for n, v in x.items()}
